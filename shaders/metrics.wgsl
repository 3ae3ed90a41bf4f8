// Sums losses and correct predictions over the rows of a minibatch. The order of the additions is fixed, so the same
// rows give the same bits.
//
//   log_step   history[t mod capacity] = Σ_r losses[r] / rows, then t ← t + 1
//   evaluate   totals[slot] = (Σ_r losses[r], number of rows whose largest logit is the logit of their label)
//   evaluate_probabilities
//              totals[slot] = (Σ_r losses[r], number of outputs for which (logit > 0) = (target > 0.5))
//   sum_losses totals[slot] = (Σ_r losses[r], 0), if there are no labels
//   count_step t ← t + 1, for a step without a loss
//
// Each kernel runs as one workgroup. Each of its 64 invocations sums every 64th row; then a tree reduction adds the 64
// sums. Of equal logits, the first counts as the largest. NaN counts as smaller than any number; if all logits of a row
// are NaN, class 0 is predicted. In evaluate_probabilities, a NaN logit is never correct. The shader compares the bits
// of logits, because drivers may assume that no value is NaN.

struct Shape {
    rows: u32,
    classes: u32,
    slot: u32,     // row of totals; in log_step, capacity of the history; in count_step, 1
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> losses: array<f32>;    // (1, rows)
@group(0) @binding(2) var<storage, read_write> history: array<f32>; // (1, capacity)
@group(0) @binding(3) var<storage, read_write> step_count: array<u32>; // (1, 1)

var<workgroup> partial: array<vec2f, 64>;

fn tree_sum(local: u32, value: vec2f) -> vec2f {
    partial[local] = value;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if (local < width) {
            partial[local] += partial[local + width];
        }
        workgroupBarrier();
    }
    return partial[0];
}

@compute @workgroup_size(64)
fn log_step(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var row = local; row < shape.rows; row += 64u) {
        sum += losses[row];
    }
    let total = tree_sum(local, vec2f(sum, 0.0));
    if (local == 0u) {
        history[step_count[0] % shape.slot] = total.x / f32(shape.rows);
        step_count[0] += 1u;
    }
}

@group(0) @binding(2) var<storage, read> logits: array<f32>;       // (rows, classes)
@group(0) @binding(3) var<storage, read> labels: array<u32>;       // (1, rows)
@group(0) @binding(4) var<storage, read_write> totals: array<f32>; // (slots, 2)

// Maps a value to an integer, so that larger values have larger integers. 0 and −0 have the same integer. NaN has the
// lowest integer, below −∞.
fn order_of(value: f32) -> i32 {
    let bits = bitcast<u32>(value);
    let magnitude = i32(bits & 0x7fffffffu);
    let order = select(magnitude, -magnitude, bits >= 0x80000000u);
    return select(order, -0x7fffffff, magnitude > 0x7f800000);
}

@compute @workgroup_size(64)
fn evaluate(@builtin(local_invocation_index) local: u32) {
    var sum = vec2f();
    for (var row = local; row < shape.rows; row += 64u) {
        let first = row * shape.classes;
        var best = 0u;
        var largest = order_of(logits[first]);
        for (var c = 1u; c < shape.classes; c++) {
            let order = order_of(logits[first + c]);
            if (order > largest) {
                best = c;
                largest = order;
            }
        }
        sum += vec2f(losses[row], select(0.0, 1.0, best == labels[row]));
    }
    let total = tree_sum(local, sum);
    if (local == 0u) {
        totals[2u * shape.slot] = total.x;
        totals[2u * shape.slot + 1u] = total.y;
    }
}

@group(0) @binding(3) var<storage, read> targets: array<f32>;      // (rows, classes), 0 to 1

@compute @workgroup_size(64)
fn evaluate_probabilities(@builtin(local_invocation_index) local: u32) {
    var sum = vec2f();
    for (var row = local; row < shape.rows; row += 64u) {
        var right = 0u;
        for (var c = 0u; c < shape.classes; c++) {
            let at = row * shape.classes + c;
            let order = order_of(logits[at]);
            let is_right = (order > 0) == (targets[at] > 0.5);
            right += select(0u, u32(is_right), order > -0x7fffffff);
        }
        sum += vec2f(losses[row], f32(right));
    }
    let total = tree_sum(local, sum);
    if (local == 0u) {
        totals[2u * shape.slot] = total.x;
        totals[2u * shape.slot + 1u] = total.y;
    }
}

@group(0) @binding(2) var<storage, read_write> loss_totals: array<f32>; // (slots, 2)

@compute @workgroup_size(64)
fn sum_losses(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var row = local; row < shape.rows; row += 64u) {
        sum += losses[row];
    }
    let total = tree_sum(local, vec2f(sum, 0.0));
    if (local == 0u) {
        loss_totals[2u * shape.slot] = total.x;
        loss_totals[2u * shape.slot + 1u] = 0.0;
    }
}

@group(0) @binding(1) var<storage, read_write> steps_counted: array<u32>; // (1, 1)

@compute @workgroup_size(1)
fn count_step() {
    steps_counted[0] += shape.slot;
}
