// Stochastic gradient descent.
//
//   parameter ← parameter − learning_rate · gradient

struct Settings {
    elements: u32,
    learning_rate: f32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> parameters: array<f32>;

@compute @workgroup_size(64)
fn update(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let i = (id.x + id.y * count.x) * 64u + local;
    if (i < settings.elements) {
        parameters[i] -= settings.learning_rate * gradients[i];
    }
}
