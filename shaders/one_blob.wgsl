// One-blob encoding (Müller et al. 2019). The range 0…1 has K bins. An input is encoded by the values at the bin
// centers of a Gaussian around the input. The Gaussian has the height 1, and its standard deviation is the width of a
// bin.
//
//   forward    y[r,d,k] = e^(−u²/2)     with u = K·x[r,d] − (k + ½)
//   backward   dx[r,d]  = −K · Σ_k dy[r,d,k] · u · e^(−u²/2)

struct Shape {
    elements: u32, // elements of x
    bins: u32,     // K
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // (rows, inputs), in both passes
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (rows, inputs, K)

// Returns u and the value of the Gaussian. For |u| > 15, the Gaussian underflows f32, and u² could overflow. `clamp`
// may lose a NaN; the last line restores it.
fn blob(value: f32, bin: u32) -> vec2f {
    let u = clamp(f32(shape.bins) * value - (f32(bin) + 0.5), -15.0, 15.0);
    var not_a_number = 0x7fc00000u;
    let height = exp(-0.5 * (u * u));
    return vec2f(u, select(height, bitcast<f32>(not_a_number), is_nan(value)));
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements * shape.bins) {
            y[i] = blob(x[i / shape.bins], i % shape.bins).y;
        }
    }
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (rows, inputs, K)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (rows, inputs)

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            var sum = 0.0;
            for (var bin = 0u; bin < shape.bins; bin++) {
                let of_bin = blob(x[i], bin);
                sum += dy[i * shape.bins + bin] * (of_bin.x * of_bin.y);
            }
            dx[i] = -f32(shape.bins) * sum;
        }
    }
}
