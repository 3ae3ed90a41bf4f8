// Gaussian error linear unit. Φ is the normal distribution function, and φ its density.
//
//   forward    y  = x · Φ(x),   Φ(x) = (1 + erf(x/√2)) / 2
//   backward   dx = dy · (Φ(x) + x · φ(x))
//
// gaussian.wgsl, which precedes this file, computes Φ and φ.

struct Shape {
    elements: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (elements), like all arrays here; in both passes
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            y[i] = x[i] * gaussian(x[i]).distribution;
        }
    }
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            let normal = gaussian(x[i]);
            dx[i] = dy[i] * (normal.distribution + x[i] * normal.density);
        }
    }
}
