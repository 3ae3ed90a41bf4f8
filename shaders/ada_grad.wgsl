// AdaGrad (Duchi, Hazan, Singer 2011), the same as torch.optim.Adagrad without learning rate decay.
// η is the learning rate of the step, λ the weight decay.
//
//   g = gradient + λ·p
//   s ← s + g²
//   p ← p − η·g / (√s + ε)

struct Settings {
    elements: u32,
    slots: u32, // number of steps whose coefficients are in `coefficients`
    rate: f32,  // factor on the learning rate of the step
    weight_decay: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>; // (elements), like parameters and sums
@group(0) @binding(2) var<storage, read> coefficients: array<f32>; // (slots, 4): η is the first of each four
@group(0) @binding(3) var<storage, read> step_count: array<u32>; // (1, 1)
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // s

@compute @workgroup_size(256)
fn update(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let rate = settings.rate * coefficients[4u * (step_count[0] % settings.slots)];
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            let p = parameters[i];
            let g = gradients[i] + settings.weight_decay * p;
            let s = sums[i] + g * g;
            sums[i] = s;
            parameters[i] = p - rate * g / (sqrt(s) + settings.epsilon);
        }
    }
}
