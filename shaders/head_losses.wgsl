// Losses of a row in the kernels of a network's head, each with δ of the last layer, which takes the place of its outputs.
// One invocation per row. The losses' own shaders state the formulas; numbers that are not finite are found by
// their bits, as there.

const LINEAR = 0u;
const RELU = 1u;
const SIGMOID = 2u;
const LEAKY_RELU = 3u;

const SQUARED = 0u;
const HUBER = 1u;
const BINARY_CROSS_ENTROPY = 2u;

fn activate(kind: u32, slope: f32, z: f32) -> f32 {
    if (kind == RELU) {
        return rectified(z);
    }
    if (kind == SIGMOID) {
        let e = exp(-abs(z));
        return select(e, 1.0, z >= 0.0) / (1.0 + e);
    }
    if (kind == LEAKY_RELU) {
        return z * select(slope, 1.0, z > 0.0);
    }
    return z;
}

// The derivative of an activation, from its output a.
fn derivative(kind: u32, slope: f32, a: f32) -> f32 {
    if (kind == RELU) {
        return select(1.0, 0.0, a <= 0.0);
    }
    if (kind == SIGMOID) {
        return (1.0 - a) * a;
    }
    if (kind == LEAKY_RELU) {
        return select(slope, 1.0, a > 0.0);
    }
    return 1.0;
}

// Of one output: its part of the loss, the derivative of that, and whether both operands are what the loss takes.
struct Term {
    loss: f32,
    slope: f32,
    is_sound: bool,
}

// Of zero of both signs, and of positive numbers up to 1, whose bits are in their order.
fn is_probability(value: f32) -> bool {
    let bits = bitcast<u32>(value);
    return bits <= 0x3f800000u || bits == 0x80000000u;
}

fn loss_of_value(a: f32, expected: f32) -> Term {
    let difference = a - expected;
    if (head.loss == HUBER) {
        let distance = abs(difference);
        let linear = head.delta * (distance - 0.5 * head.delta);
        let loss = select(linear, 0.5 * difference * difference, distance <= head.delta);
        let is_sound = is_finite(a) && is_finite(expected);
        return Term(loss, clamp(difference, -head.delta, head.delta), is_sound);
    }
    if (head.loss == BINARY_CROSS_ENTROPY) {
        let e = exp(-abs(a));
        let sigmoid = select(e, 1.0, a >= 0.0) / (1.0 + e);
        let loss = max(a, 0.0) - a * expected + log(1.0 + e);
        return Term(loss, sigmoid - expected, is_finite(a) && is_probability(expected));
    }
    return Term(difference * difference, 2.0 * difference, is_finite(a) && is_finite(expected));
}

fn compare_values(first: u32, rows: u32, local: u32) {
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    let last = head.layers - 1u;
    let outputs = head.layer[last].outputs;
    for (var row = local; row < rows; row += INVOCATIONS) {
        let at = row * head.pitch + head.layer[last].column;
        var sum = 0.0;
        var is_sound = true;
        for (var c = 0u; c < outputs; c++) {
            let a = value(at + c);
            let term = loss_of_value(a, targets[(first + row) * outputs + c]);
            sum += term.loss;
            is_sound = is_sound && term.is_sound;
            let da = select(bitcast<f32>(not_a_number), head.scale * term.slope, term.is_sound);
            set_value(at + c, da * derivative(head.layer[last].activation, head.layer[last].slope, a));
        }
        let mean = sum / f32(outputs);
        let in_range = select(bitcast<f32>(infinite), mean, is_finite(mean));
        losses[first + row] = select(bitcast<f32>(not_a_number), in_range, is_sound);
    }
    synchronize();
}

fn compare_classes(first: u32, rows: u32, local: u32) {
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    let last = head.layers - 1u;
    let classes = head.layer[last].outputs;
    for (var row = local; row < rows; row += INVOCATIONS) {
        let at = row * head.pitch + head.layer[last].column;
        let label = min(labels[first + row], classes - 1u);
        var largest = value(at);
        var is_sound = label == labels[first + row];
        for (var c = 0u; c < classes; c++) {
            let z = value(at + c);
            largest = max(largest, z);
            is_sound = is_sound && is_finite(z);
        }
        var sum = 0.0;
        for (var c = 0u; c < classes; c++) {
            sum += exp(value(at + c) - largest);
        }
        let loss = log(sum) - (value(at + label) - largest);
        for (var c = 0u; c < classes; c++) {
            let z = value(at + c);
            let dz = head.scale * (exp(z - largest) / sum - select(0.0, 1.0, c == label));
            set_value(at + c, dz * derivative(head.layer[last].activation, head.layer[last].slope, z));
        }
        let in_range = select(bitcast<f32>(infinite), loss, is_finite(loss));
        losses[first + row] = select(bitcast<f32>(not_a_number), in_range, is_sound);
    }
    synchronize();
}
