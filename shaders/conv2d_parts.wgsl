// The gradient by the weights out of its parts, which are added in the order of their numbers:
//
//   sum             dw[o,k] = Σ_s parts[s,o,k]
//   sum_with_bias   the same, and db[o] = Σ_s parts[s,o,weights]

struct Shape {
    parts: u32,
    outputs: u32,
    weights: u32, // of an output
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> parts: array<f32>;    // (parts, outputs, weights, and 1 with a bias)
@group(0) @binding(2) var<storage, read_write> dw: array<f32>; // (outputs, weights)
@group(0) @binding(3) var<storage, read_write> db: array<f32>; // (1, outputs)

fn total(at: u32, part: u32) -> f32 {
    var sum = 0.0;
    for (var s = 0u; s < shape.parts; s++) {
        sum += parts[s * part + at];
    }
    return sum;
}

@compute @workgroup_size(64)
fn sum(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
       @builtin(local_invocation_index) local: u32) {
    let at = (id.x + id.y * count.x) * 64u + local;
    let part = shape.outputs * shape.weights;
    if (at < part) {
        dw[at] = total(at, part);
    }
}

@compute @workgroup_size(64)
fn sum_with_bias(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                 @builtin(local_invocation_index) local: u32) {
    let at = (id.x + id.y * count.x) * 64u + local;
    let columns = shape.weights + 1u;
    let part = shape.outputs * columns;
    if (at >= part) {
        return;
    }
    let output = at / columns;
    let weight = at % columns;
    if (weight < shape.weights) {
        dw[output * shape.weights + weight] = total(at, part);
    } else {
        db[output] = total(at, part);
    }
}
