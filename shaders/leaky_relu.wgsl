// Leaky rectified linear unit.
//
//   forward    y  = x  where x > 0, else negative_slope · x
//   backward   dx = dy where x > 0, else negative_slope · dy    (at x = 0 the slope applies, as in PyTorch)

struct Slope {
    elements: u32,
    negative_slope: f32,
}

@group(0) @binding(0) var<uniform> slope: Slope;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (elements), like all arrays here; in both passes
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < slope.elements) {
            y[i] = x[i] * select(slope.negative_slope, 1.0, x[i] > 0.0);
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
        if (i < slope.elements) {
            dx[i] = dy[i] * select(slope.negative_slope, 1.0, x[i] > 0.0);
        }
    }
}
