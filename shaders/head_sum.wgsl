// Sums the parameter gradients of a network's head over the slots that head_rows.wgsl has filled:
//
//   gradients[p] = Σ_w slots[w, p]
//
// A workgroup handles 32 elements. For each element, eight invocations each add every eighth slot. Then one invocation
// adds their eight sums. The order of the additions is the same on every device.

const COLUMNS = 32u;
const PARTS = 8u;

@group(0) @binding(0) var<uniform> head: Head;
@group(0) @binding(1) var<storage, read> slots: array<f32>;          // (workgroups, slot)
@group(0) @binding(2) var<storage, read_write> gradients: array<f32>; // at the same indices as the parameters

var<workgroup> parts: array<f32, 256>;

// Converts the index of an element in a slot to its index in the parameters. Returns NO_BIAS for the bias gradient of a
// layer without bias.
fn place_of(at: u32) -> u32 {
    var layer = 0u;
    while (layer + 1u < head.layers && head.layer[layer + 1u].start <= at) {
        layer++;
    }
    let within = at - head.layer[layer].start;
    let weights = head.layer[layer].inputs * head.layer[layer].outputs;
    if (within < weights) {
        return head.layer[layer].weight + within;
    }
    if (head.layer[layer].bias == NO_BIAS) {
        return NO_BIAS;
    }
    return head.layer[layer].bias + within - weights;
}

@compute @workgroup_size(256)
fn sum(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let at = (id.x + id.y * count.x) * COLUMNS + local % COLUMNS;
    if (at < head.slot) {
        var part = 0.0;
        for (var slot = local / COLUMNS; slot < head.workgroups; slot += PARTS) {
            part += slots[slot * head.slot + at];
        }
        parts[local] = part;
    }
    workgroupBarrier();
    if (local < COLUMNS && at < head.slot) {
        var total = 0.0;
        for (var part = 0u; part < PARTS; part++) {
            total += parts[part * COLUMNS + local];
        }
        let place = place_of(at);
        if (place != NO_BIAS) {
            gradients[place] = total;
        }
    }
}
