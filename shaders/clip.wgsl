// Gradient clipping by global norm (Pascanu, Mikolov, Bengio, 2013), the same as torch.nn.utils.clip_grad_norm_:
//
//   sum_squares   sums[first + j] = Σ g_i² over all i with i mod parts = j
//   combine       factor[0] = min(1, max_norm / (√(Σ sums) + 10⁻⁶))
//   scale         g ← factor[0] · g
//
// The square of a gradient above 10¹⁹ overflows f32. So each sum has two parts: Σ g² over gradients up to 2⁴⁰, and
// Σ (2⁻⁸⁰·g)² over larger gradients. With very large gradients, the factor for g could be so small that a GPU flushes
// it to 0. Then factor[1] is 1, and factor[0] is the factor for 2⁻⁸⁰·g; otherwise factor[1] is 0.
//
// If a gradient is infinite, the factor is 0. If a gradient is NaN, the factor is NaN. The shader finds NaN by the
// bits, because drivers may assume that no value is NaN. All sums are added in a fixed order, so the same gradients
// give the same bits.

struct Settings {
    elements: u32, // number of gradients; in combine, number of sums
    first: u32,    // in sum_squares, index of the first sum that it writes
    parts: u32,    // in sum_squares, number of sums that it writes
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>; // (elements)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // (parts of all blocks of gradients, 2)

// LARGE = 2⁴⁰, DOWN = 2⁻⁸⁰.
const LARGE = 1099511627776.0;
const DOWN = 8.271806125530277e-25;

@compute @workgroup_size(64)
fn sum_squares(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
               @builtin(local_invocation_index) local: u32) {
    let part = (id.x + id.y * count.x) * 64u + local;
    if (part < settings.parts) {
        var sum = vec2f();
        for (var i = part; i < settings.elements; i += settings.parts) {
            let g = gradients[i];
            let is_large = abs(g) > LARGE;
            let scaled = select(g, DOWN * g, is_large);
            let square = scaled * scaled;
            sum += select(vec2f(square, 0.0), vec2f(0.0, square), is_large);
        }
        sums[2u * (settings.first + part)] = sum.x;
        sums[2u * (settings.first + part) + 1u] = sum.y;
    }
}

@group(0) @binding(1) var<storage, read> all_sums: array<f32>;      // sums: (elements, 2)
@group(0) @binding(2) var<storage, read_write> factor: array<f32>; // (1, 2)

var<workgroup> partial: array<vec2f, 64>;

// Returns factor[0] and factor[1]: see above.
fn factor_of(sum: vec2f) -> vec2f {
    let norm = sqrt(sum.x);
    if (sum.y > 0.0) {
        // Here, norms are in units of 2⁸⁰, so the 10⁻⁶ in the formula is negligible.
        let small = DOWN * norm;
        let of_small = settings.max_norm / sqrt(sum.y + small * small);
        return select(vec2f(of_small, 1.0), vec2f(1.0, 0.0), of_small * DOWN > 1.0);
    }
    return vec2f(min(1.0, settings.max_norm / (norm + 1e-6)), 0.0);
}

@compute @workgroup_size(64)
fn combine(@builtin(local_invocation_index) local: u32) {
    var sum = vec2f();
    for (var i = local; i < settings.elements; i += 64u) {
        sum += vec2f(all_sums[2u * i], all_sums[2u * i + 1u]);
    }
    partial[local] = sum;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (local < width) {
            partial[local] += partial[local + width];
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        let sum = partial[0];
        var not_a_number = 0x7fc00000u;
        let found = factor_of(sum);
        factor[0] = select(found.x, bitcast<f32>(not_a_number), is_nan(sum.x + sum.y));
        factor[1] = found.y;
    }
}

@group(0) @binding(1) var<storage, read> by: array<f32>;          // factor: (1, 2)
@group(0) @binding(2) var<storage, read_write> scaled: array<f32>; // gradients: (elements)

@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            scaled[i] = select(scaled[i], DOWN * scaled[i], by[1] == 1.0) * by[0];
        }
    }
}
