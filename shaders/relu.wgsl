// Rectified linear unit.
//
//   forward    y  = x  where x > 0, else 0
//   backward   dx = dy where y > 0, else 0     (no gradient at 0, as in the book and PyTorch)
//
// rectified.wgsl, which precedes this file, has the forward formula.

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
            y[i] = rectified(x[i]);
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
            dx[i] = select(dy[i], 0.0, output[i] <= 0.0);
        }
    }
}
