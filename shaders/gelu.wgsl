// Gaussian error linear unit, Φ and φ being the normal distribution function and density.
//
//   forward    y  = x · Φ(x),   Φ(x) = (1 + erf(x/√2)) / 2
//   backward   dx = dy · (Φ(x) + x · φ(x))
//
// WGSL has no erf. With a = |x|, t = 1/(1 + 0.27a) and a polynomial P of degree 9 without a constant,
//
//   Φ(−a) = e^(−a²/2) · P(t)
//
// (the form of Abramowitz and Stegun, 26.2.17). This P is fitted to the least *relative* error, which
// is 2.5e-8 up to a = 15: nothing cancels for negative x, as 1 + erf would.

struct Shape {
    elements: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // of both passes
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

struct Gaussian {
    below: f32, // Φ(−|x|)
    density: f32, // φ(x)
}

fn gaussian(x: f32) -> Gaussian {
    // Beyond 15 both are less than f32 has; a² could overflow. (`min` may lose a NaN; the factor x brings it back.)
    let a = min(abs(x), 15.0);
    let e = exp(-0.5 * (a * a));
    let t = 1.0 / (1.0 + 0.27 * a);
    var p = 0.0289935538817;
    p = p * t - 0.126649640889;
    p = p * t + 0.170138477243;
    p = p * t - 0.0696316840586;
    p = p * t + 0.108130285493;
    p = p * t + 0.0719131986285;
    p = p * t + 0.101847403586;
    p = p * t + 0.107537422516;
    p = p * t + 0.107720995564;
    return Gaussian(e * (p * t), 0.3989422804 * e);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            let tail = gaussian(x[i]);
            let cdf = select(tail.below, 1.0 - tail.below, x[i] > 0.0);
            y[i] = x[i] * cdf;
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
            let tail = gaussian(x[i]);
            let cdf = select(tail.below, 1.0 - tail.below, x[i] > 0.0);
            dx[i] = dy[i] * (cdf + x[i] * tail.density);
        }
    }
}
