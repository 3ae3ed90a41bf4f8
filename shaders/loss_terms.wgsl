// Losses over values (not classes). Each function returns the term of one output in the loss of its row, and the
// derivative of the term with respect to the output. is_finite.wgsl and logistic.wgsl precede this file.

struct Term {
    loss: f32,
    slope: f32,
    is_sound: bool, // whether both the output and the target are valid for the loss
}

// The Huber loss and its derivative, with d = y − t:
//
//   h(d) = d² / 2                     where |d| ≤ delta
//          delta · (|d| − delta / 2)  elsewhere
//   h′   = min(max(d, −delta), delta)
fn huber_term(y: f32, expected: f32, delta: f32) -> Term {
    let difference = y - expected;
    let distance = abs(difference);
    let squared = 0.5 * difference * difference;
    let linear = delta * (distance - 0.5 * delta);
    let loss = select(linear, squared, distance <= delta);
    return Term(loss, clamp(difference, -delta, delta), is_finite(y) & is_finite(expected));
}

// The relative L2 loss, and half of its derivative with the denominator treated as a constant:
//
//   loss  = (y − t)² / (y² + epsilon)
//   slope = (y − t) / (y² + epsilon)
//
// If the square of a finite number is too large for f32, the loss is infinite.
fn relative_term(y: f32, expected: f32, epsilon: f32) -> Term {
    var infinite = 0x7f800000u;
    let difference = y - expected;
    let squared = difference * difference;
    let size = y * y + epsilon;
    let in_range = is_finite(squared) & is_finite(size);
    let loss = select(bitcast<f32>(infinite), squared / size, in_range);
    return Term(loss, difference / size, is_finite(y) & is_finite(expected));
}

// Whether a value is from 0 to 1; −0 counts as 0. The function compares bits, which for positive floats have the same
// order as the values. So NaN is no probability.
fn is_probability(value: f32) -> bool {
    let bits = bitcast<u32>(value);
    return bits <= 0x3f800000u || bits == 0x80000000u;
}

// Binary cross-entropy of sigmoid(z) and its derivative. No power of e overflows:
//
//   loss  = max(z, 0) − z·t + log(1 + e^−|z|)
//   slope = 1 / (1 + e^−z) − t
fn binary_term(z: f32, probability: f32) -> Term {
    let loss = max(z, 0.0) - z * probability + log(1.0 + exp(-abs(z)));
    return Term(loss, logistic(z) - probability, is_finite(z) & is_probability(probability));
}
