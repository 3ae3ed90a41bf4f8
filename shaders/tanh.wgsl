// Hyperbolic tangent.
//
//   forward    y  = tanh x
//                 = x · (945 + 105s + s²) / (945 + 420s + 15s²), s = x², where |x| < ½
//                 = ± (1 − e) / (1 + e), e = e^−2|x|, elsewhere
//   backward   dx = dy · (1 − y²), as dy · (1 − y) · (1 + y)
//
// WGSL's own `tanh` may be made of e^x and e^−x: a NaN for a large |x|, and cancelled for a small
// one. The fraction is Lambert's x/(1 + s/(3 + s/(5 + s/(7 + s/9)))), which below ½ is 1e-10 off.

struct Shape {
    elements: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            let a = abs(x[i]);
            let s = a * a;
            let small = a * ((945.0 + s * (105.0 + s)) / (945.0 + s * (420.0 + s * 15.0)));
            // Beyond 16 the result is 1 to its last bit; −2|x| could overflow.
            let e = exp(-2.0 * min(a, 16.0));
            let magnitude = select((1.0 - e) / (1.0 + e), small, a < 0.5);
            y[i] = select(select(magnitude, -magnitude, x[i] < 0.0), x[i], is_nan(x[i]));
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
