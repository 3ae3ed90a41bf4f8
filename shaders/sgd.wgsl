// Stochastic gradient descent, the same as torch.optim.SGD without dampening. λ is the weight decay, μ the momentum,
// and η the learning rate of the step.
//
//   update      p ← p − η·g            with g = gradient + λ·p
//   momentum    v ← μ·v + g,  p ← p − η·v        (Nesterov: p ← p − η·(g + μ·v))

struct Settings {
    elements: u32,
    slots: u32, // number of steps whose coefficients are in `coefficients`
    rate: f32,  // factor on the learning rate of the step
    weight_decay: f32,
    momentum: f32,
    nesterov: u32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>; // (elements), like parameters and velocities
@group(0) @binding(2) var<storage, read> coefficients: array<f32>; // (slots, 4): η is the first of each four
@group(0) @binding(3) var<storage, read> step_count: array<u32>; // (1, 1)
@group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(5) var<storage, read_write> velocities: array<f32>; // v

fn learning_rate() -> f32 {
    return settings.rate * coefficients[4u * (step_count[0] % settings.slots)];
}

@compute @workgroup_size(256)
fn update(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let rate = learning_rate();
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            let p = parameters[i];
            parameters[i] = p - rate * (gradients[i] + settings.weight_decay * p);
        }
    }
}

@compute @workgroup_size(256)
fn momentum(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let rate = learning_rate();
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            let p = parameters[i];
            let g = gradients[i] + settings.weight_decay * p;
            let v = settings.momentum * velocities[i] + g;
            velocities[i] = v;
            let step = select(v, g + settings.momentum * v, settings.nesterov == 1u);
            parameters[i] = p - rate * step;
        }
    }
}
