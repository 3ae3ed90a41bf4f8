// Gradient clipping by global norm (Pascanu, Mikolov, Bengio, 2013), as torch.nn.utils.clip_grad_norm_:
//
//   sum_squares   sums[first + j] = Σ g_i² over i ≡ j modulo parts
//   combine       factor[0] = min(1, max_norm / (√(Σ sums) + 10⁻⁶))
//   scale         g ← factor[0] · g
//
// Every sum has a fixed order, so that the same gradients give the same bits.

struct Settings {
    elements: u32, // of gradients; combine: of sums
    first: u32,    // sum_squares: where its sums begin
    parts: u32,    // sum_squares: number of its sums
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn sum_squares(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
               @builtin(local_invocation_index) local: u32) {
    let part = (id.x + id.y * count.x) * 64u + local;
    if (part < settings.parts) {
        var sum = 0.0;
        for (var i = part; i < settings.elements; i += settings.parts) {
            sum += gradients[i] * gradients[i];
        }
        sums[settings.first + part] = sum;
    }
}

@group(0) @binding(1) var<storage, read> all_sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> factor: array<f32>; // (1, 1)

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn combine(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < settings.elements; i += 64u) {
        sum += all_sums[i];
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
        factor[0] = min(1.0, settings.max_norm / (sqrt(partial[0]) + 1e-6));
    }
}

@group(0) @binding(1) var<storage, read> by: array<f32>;          // (1, 1)
@group(0) @binding(2) var<storage, read_write> scaled: array<f32>;

@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < settings.elements) {
            scaled[i] *= by[0];
        }
    }
}
