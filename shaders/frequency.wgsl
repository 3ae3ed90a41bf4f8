// Frequency encoding (Mildenhall et al. 2020): sines and cosines of each input in L octaves, l = 0, …, L − 1.
//
//   forward    y[r,d,l,0] = sin(2^l·π·x[r,d])         y[r,d,l,1] = cos(2^l·π·x[r,d])
//   backward   dx[r,d]    = Σ_l 2^l·π·(dy[r,d,l,0]·y[r,d,l,1] − dy[r,d,l,1]·y[r,d,l,0])
//
// WGSL allows errors of 2^-11 in sin and cos for angles from −π to π, and any error for other angles. So this shader
// computes both itself. It measures the angle in full turns, t = 2^(l−1)·x, which is exact. Let f be the signed
// distance of t from the nearest integer, and p the signed distance of f from q/4, the nearest multiple of 1/4. f and p
// are exact, too. Since |p| ≤ 1/8, two polynomials give sin(2πp) and cos(2πp) with a relative error of at most 3·2^-24.
// The integer q decides which of the two is the sine of the angle, and which signs the results have.

struct Shape {
    elements: u32, // elements of x
    octaves: u32,  // L
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // (rows, inputs), in both passes
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (rows, inputs, L, 2)

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// Returns sine and cosine of 2^l·π·value, or NaN if value is infinite or NaN.
fn wave(value: f32, octave: u32) -> vec2f {
    let size = bitcast<u32>(value) & 0x7fffffffu;
    // From 2^24 on, every float is an even integer. Then t is an integer, so the result is that of the value 0.
    let turns = select(0.0, value, size < 0x4b800000u) * power_of_two(i32(octave) - 1);
    let f = turns - round(turns);
    let quarter = round(4.0 * f);
    let p = f - 0.25 * quarter;
    let z = p * p;
    let sine = p * (6.28318548 + z * (-41.3416634 + z * (81.5925446 + z * -75.4016113)));
    let cosine = 1.0 + z * (-19.7392082 + z * (64.9393692 + z * (-85.4488220 + z * 59.4241066)));
    let q = i32(quarter) & 3;
    let turned = select(vec2f(sine, cosine), vec2f(cosine, -sine), (q & 1) == 1);
    let found = select(turned, -turned, q >= 2);
    var not_a_number = 0x7fc00000u;
    return select(found, vec2f(bitcast<f32>(not_a_number)), size >= 0x7f800000u);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements * shape.octaves) {
            let found = wave(x[i / shape.octaves], i % shape.octaves);
            y[2u * i] = found.x;
            y[2u * i + 1u] = found.y;
        }
    }
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (rows, inputs, L, 2)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (rows, inputs)

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            var sum = 0.0;
            for (var octave = 0u; octave < shape.octaves; octave++) {
                let at = 2u * (i * shape.octaves + octave);
                let of_octave = wave(x[i], octave);
                let slope = dy[at] * of_octave.y - dy[at + 1u] * of_octave.x;
                sum += 3.14159274 * power_of_two(i32(octave)) * slope;
            }
            dx[i] = sum;
        }
    }
}
