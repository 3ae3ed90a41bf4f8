// Dropout with probability p (Srivastava et al., 2014), scaled during training as in PyTorch.
//
//   drop      y = x / (1 − p) where an element is kept, else 0     in training
//   pass_on   y = x                                                outside of training
//
// The backward pass uses the same entry points to compute dx from dy.
//
// Element i of step t is kept if the first word of threefry(key, (t, i)) is at least p · 2³². So the forward pass, the
// backward pass and src/reference/dropout.rs keep the same elements. threefry.wgsl precedes this file.

struct Settings {
    key0: u32,
    key1: u32,
    elements: u32,
    threshold: u32, // p · 2³²
    scale: f32,     // 1 / (1 − p)
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (elements), or dy
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (elements), or dx
@group(0) @binding(3) var<storage, read> step_count: array<u32>; // (1, 1)

@compute @workgroup_size(256)
fn drop(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
        @builtin(local_invocation_index) local: u32) {
    let step = step_count[0];
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            let random = threefry(vec2u(settings.key0, settings.key1), vec2u(step, i)).x;
            y[i] = select(0.0, x[i] * settings.scale, random >= settings.threshold);
        }
    }
}

@compute @workgroup_size(256)
fn pass_on(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            y[i] = x[i];
        }
    }
}
