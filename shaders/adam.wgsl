// Adam (Kingma, Ba 2015) and AdamW (Loshchilov, Hutter 2019), as in torch.optim. η is the learning rate of the step, λ
// the weight decay, and t the number of the step, counted from 1.
//
//   Adam     g = gradient + λ·p
//   AdamW    g = gradient,  p ← p − η·λ·p
//   m ← m + (1 − β₁)·(g − m)
//   v ← β₂·v + (1 − β₂)·g²
//   p ← p − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
//
// Lazy updates leave p, m and v unchanged where the gradient is 0.
//
// The host computes 1/(1 − β₁ᵗ) and 1/√(1 − β₂ᵗ) in f64, because in f32 the power βᵗ would be too inexact where 1 − βᵗ
// is small.

struct Settings {
    elements: u32,
    slots: u32, // number of steps whose coefficients are in `coefficients`
    rate: f32,  // factor on the learning rate of the step
    weight_decay: f32,
    is_decoupled: u32, // 1: AdamW
    is_lazy: u32,      // 1: lazy updates
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>; // (elements), like parameters, means and squares
@group(0) @binding(2) var<storage, read> coefficients: array<f32>; // (slots, 4): η, 1/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ)
@group(0) @binding(3) var<storage, read> step_count: array<u32>; // (1, 1)
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> means: array<f32>;   // m
@group(0) @binding(6) var<storage, read_write> squares: array<f32>; // v

@compute @workgroup_size(256)
fn update(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let slot = 4u * (step_count[0] % settings.slots);
    let rate = settings.rate * coefficients[slot];
    let mean_correction = coefficients[slot + 1u];
    let root_correction = coefficients[slot + 2u];
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            var p = parameters[i];
            var g = gradients[i];
            // Test the bits of g, because a driver may compile a comparison so that NaN equals 0. The shift drops the
            // sign bit, so that −0 counts as 0.
            if (settings.is_lazy == 1u && (bitcast<u32>(g) << 1u) == 0u) {
                continue;
            }
            if (settings.is_decoupled == 1u) {
                p -= rate * settings.weight_decay * p;
            } else {
                g += settings.weight_decay * p;
            }
            let m = means[i] + settings.one_minus_beta1 * (g - means[i]);
            // Multiply by 1 − β₂ before squaring, because g² of a large gradient overflows f32.
            let v = fma(settings.one_minus_beta2 * g, g, settings.beta2 * squares[i]);
            means[i] = m;
            squares[i] = v;
            let root = sqrt(v) * root_correction;
            parameters[i] = p - rate * mean_correction * m / (root + settings.epsilon);
        }
    }
}
