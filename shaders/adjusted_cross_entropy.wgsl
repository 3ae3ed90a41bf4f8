// Softmax with cross-entropy loss, with class weights and label smoothing.
//
//   z            = logits[r] − max(logits[r])                 (so that e^z never overflows)
//   l[c]         = log Σ_k e^z[k] − z[c]                      (negative logarithm of the probability of class c)
//   q[c]         = weights[c] · (smoothing / classes + (1 − smoothing) · onehot(label)[c])
//   weight_sum   = Σ_r weights[label of r], or the number of rows if this sum is 0   (sum_weights)
//   losses[r]    = Σ_c q[c] · l[c] · rows / weight_sum                                (forward_backward)
//   dlogits[r,c] = (Σ_k q[k] · e^z[c] / Σ_k e^z[k] − q[c]) / weight_sum
//
// So the mean of the losses is Σ_r Σ_c q[c] · l[c] / weight_sum.
//
// sum_weights runs as one workgroup. Each of its 64 invocations sums every 64th row; then a tree reduction adds the 64
// sums. So the order of the additions is fixed. forward_backward has one invocation per row.
//
// The loss of a row is NaN if one of its logits is infinite or NaN. The shader tests the bits of the logits, because
// drivers may assume that no value is infinite or NaN. If a row's label is not below `classes`, the row has the loss
// NaN and the weight 0. If all logits are finite but the loss is too large for f32, the loss is infinite.

struct Shape {
    rows: u32,
    classes: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> labels: array<u32>;              // (1, rows)
@group(0) @binding(2) var<storage, read> weights: array<f32>;             // (1, classes)
@group(0) @binding(3) var<storage, read_write> weight_sum: array<f32>;    // (1, 1)

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn sum_weights(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var row = local; row < shape.rows; row += 64u) {
        let label = min(labels[row], shape.classes - 1u);
        sum += select(0.0, weights[label], label == labels[row]);
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
        weight_sum[0] = select(f32(shape.rows), partial[0], partial[0] > 0.0);
    }
}

@group(0) @binding(3) var<storage, read> divisor: array<f32>;        // weight_sum, (1, 1)
@group(0) @binding(4) var<storage, read> logits: array<f32>;         // (rows, classes)
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;   // (1, rows)
@group(0) @binding(6) var<storage, read_write> dlogits: array<f32>;  // (rows, classes)

// q[c] of a row with the label `label`.
fn share(c: u32, label: u32) -> f32 {
    let uniform_part = shape.smoothing / f32(shape.classes);
    return weights[c] * (uniform_part + select(0.0, 1.0 - shape.smoothing, c == label));
}

@compute @workgroup_size(64)
fn forward_backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                    @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * 64u + local;
    if (row >= shape.rows) {
        return;
    }
    let first = row * shape.classes;
    var largest = logits[first];
    let label = min(labels[row], shape.classes - 1u);
    var finite = label == labels[row];
    for (var c = 0u; c < shape.classes; c++) {
        largest = max(largest, logits[first + c]);
        finite = finite && is_finite(logits[first + c]);
    }
    var sum = 0.0;
    var all_shares = 0.0;
    for (var c = 0u; c < shape.classes; c++) {
        let e = exp(logits[first + c] - largest);
        dlogits[first + c] = e;
        sum += e;
        all_shares += share(c, label);
    }
    let log_sum = log(sum);
    let scale = 1.0 / divisor[0];
    var loss = 0.0;
    for (var c = 0u; c < shape.classes; c++) {
        let q = share(c, label);
        // A class with q = 0 adds 0, even if its l[c] is infinite.
        loss += select(0.0, q * (log_sum - (logits[first + c] - largest)), q > 0.0);
        dlogits[first + c] = scale * (all_shares * (dlogits[first + c] / sum) - q);
    }
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    let of_row = loss * (f32(shape.rows) * scale);
    let in_range = select(bitcast<f32>(infinite), of_row, is_finite(of_row));
    losses[row] = select(bitcast<f32>(not_a_number), in_range, finite);
}
