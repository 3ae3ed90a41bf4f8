// Adds the parts of the weight gradient of a convolution, in a fixed order:
//
//   sum             dw[o,k] = Σ_s parts[s,o,k]
//   sum_with_bias   as sum, and db[o] = Σ_s parts[s,o,weights]
//
// A workgroup computes 16 sums with 16 invocations per sum. An invocation adds every 16th part.

struct Shape {
    parts: u32,
    outputs: u32,
    weights: u32, // weights per output, without the bias
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> parts: array<f32>;    // (parts, outputs, weights), or weights + 1 with a bias
@group(0) @binding(2) var<storage, read_write> dw: array<f32>; // (outputs, weights)
@group(0) @binding(3) var<storage, read_write> db: array<f32>; // (1, outputs)

const SUMS = 16u;
const LANES = 16u;

var<workgroup> partial: array<f32, 256>; // (LANES, SUMS)

// Returns the sum of element `at` over all parts. Each part has `elements` elements. Only the first 16 invocations get
// the sum.
fn total(at: u32, elements: u32, local: u32) -> f32 {
    let place = min(at, elements - 1u);
    var sum = 0.0;
    for (var s = local / SUMS; s < shape.parts; s += 4u * LANES) {
        // Four loads are in flight at once. Indices past the last part are clamped to it, and their values are dropped.
        let four = s + LANES * vec4u(0u, 1u, 2u, 3u);
        let from_ = min(four, vec4u(shape.parts - 1u)) * elements + place;
        let read = vec4f(parts[from_.x], parts[from_.y], parts[from_.z], parts[from_.w]);
        let added = select(vec4f(), read, four < vec4u(shape.parts));
        sum += (added.x + added.y) + (added.z + added.w);
    }
    partial[local] = sum;
    workgroupBarrier();
    if (local >= SUMS) {
        return 0.0;
    }
    sum = 0.0;
    for (var lane = 0u; lane < LANES; lane++) {
        sum += partial[lane * SUMS + local];
    }
    return sum;
}

@compute @workgroup_size(256)
fn sum(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
       @builtin(local_invocation_index) local: u32) {
    let at = (id.x + id.y * count.x) * SUMS + local % SUMS;
    let elements = shape.outputs * shape.weights;
    let found = total(at, elements, local);
    if (local < SUMS && at < elements) {
        dw[at] = found;
    }
}

@compute @workgroup_size(256)
fn sum_with_bias(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                 @builtin(local_invocation_index) local: u32) {
    let at = (id.x + id.y * count.x) * SUMS + local % SUMS;
    let columns = shape.weights + 1u;
    let elements = shape.outputs * columns;
    let found = total(at, elements, local);
    if (local >= SUMS || at >= elements) {
        return;
    }
    let output = at / columns;
    let weight = at % columns;
    if (weight < shape.weights) {
        dw[output * shape.weights + weight] = found;
    } else {
        db[output] = found;
    }
}
