// Hyperbolic tangent.
//
//   forward    y  = tanh x: see hyperbolic_tangent.wgsl
//   backward   dx = dy · (1 − y²), computed as dy · (1 − y) · (1 + y)

struct Shape {
    elements: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (elements), like all arrays here
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            y[i] = hyperbolic_tangent(x[i]);
        }
    }
}

@group(0) @binding(1) var<storage, read> output: array<f32>; // y of the forward pass
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            dx[i] = dy[i] * (1.0 - output[i]) * (1.0 + output[i]);
        }
    }
}
