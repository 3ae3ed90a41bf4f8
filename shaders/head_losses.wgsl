// Activations and losses for the kernels of a network's head. loss_terms.wgsl and softmax_cross_entropy.wgsl have the
// formulas of the losses. A loss also computes δ of the last layer, and stores it in place of the layer's outputs.
// Losses have one invocation per row. As in those files, bits are tested to find infinities and NaN.

const LINEAR = 0u;
const RELU = 1u;
const SIGMOID = 2u;
const LEAKY_RELU = 3u;
const TANH = 4u;
const GELU = 5u;

const SQUARED = 0u;
const HUBER = 1u;
const BINARY_CROSS_ENTROPY = 2u;
const RELATIVE = 3u;

// Applies the layer's activation to the value at `at`. ReLU is not handled here, because forward_layer applies it. For
// GELU, the input is stored, too, `outputs` elements before the output, because GELU's derivative cannot be computed
// from its output.
fn activate(layer: u32, at: u32) {
    let z = value(at);
    switch head.layer[layer].activation {
        case SIGMOID: {
            set_value(at, logistic(z));
        }
        case LEAKY_RELU: {
            set_value(at, z * select(head.layer[layer].slope, 1.0, z > 0.0));
        }
        case TANH: {
            set_value(at, hyperbolic_tangent(z));
        }
        default: {
            set_value(at - head.layer[layer].outputs, z);
            set_value(at, z * gaussian(z).distribution);
        }
    }
}

// Returns the derivative of a layer's activation, computed from the activation's output at `at`.
fn derivative(layer: u32, at: u32) -> f32 {
    let a = value(at);
    switch head.layer[layer].activation {
        case RELU: {
            return select(1.0, 0.0, a <= 0.0);
        }
        case SIGMOID: {
            return (1.0 - a) * a;
        }
        case LEAKY_RELU: {
            return select(head.layer[layer].slope, 1.0, a > 0.0);
        }
        case TANH: {
            return (1.0 - a) * (1.0 + a);
        }
        case GELU: {
            let z = value(at - head.layer[layer].outputs);
            let normal = gaussian(z);
            return normal.distribution + z * normal.density;
        }
        default: {
            return 1.0;
        }
    }
}

fn loss_of_value(a: f32, expected: f32) -> Term {
    switch head.loss {
        case HUBER: {
            return huber_term(a, expected, head.setting);
        }
        case BINARY_CROSS_ENTROPY: {
            return binary_term(a, expected);
        }
        case RELATIVE: {
            return relative_term(a, expected, head.setting);
        }
        default: {
            let difference = a - expected;
            return Term(difference * difference, difference, is_finite(a) & is_finite(expected));
        }
    }
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
            is_sound = is_sound & term.is_sound;
            let da = select(bitcast<f32>(not_a_number), head.scale * term.slope, term.is_sound);
            set_value(at + c, da * derivative(last, at + c));
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
            is_sound = is_sound & is_finite(z);
        }
        var sum = 0.0;
        for (var c = 0u; c < classes; c++) {
            sum += exp(value(at + c) - largest);
        }
        let loss = log(sum) - (value(at + label) - largest);
        for (var c = 0u; c < classes; c++) {
            let z = value(at + c);
            let dz = head.scale * (exp(z - largest) / sum - select(0.0, 1.0, c == label));
            set_value(at + c, dz * derivative(last, at + c));
        }
        let in_range = select(bitcast<f32>(infinite), loss, is_finite(loss));
        losses[first + row] = select(bitcast<f32>(not_a_number), in_range, is_sound);
    }
    synchronize();
}
