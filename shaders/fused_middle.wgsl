// The first dispatch of a fused step for GPUs. fused_middle_shared.wgsl, which precedes this file, has the formulas.
// All values of a row depend only on the same row. A workgroup handles a few rows, and keeps their outputs and δ in
// workgroup memory. A step of a small network is slow because of many dependent memory accesses, not because of its
// arithmetic. So several invocations share the terms of a sum, and weights, biases and labels are loaded before they
// are needed.
//
// Further workgroups copy the rows of the next minibatch to adjacent memory. In the second dispatch, many workgroups
// read each of these bytes, and reading rows that are scattered over a data set would cost accesses to page tables.

// Maximum number of outputs of all layers and all rows of a workgroup.
const ROOM = 1800u;
// Maximum number of rows per workgroup.
const MOST_ROWS = 32u;
// Maximum number of invocations that share one sum.
const MOST_PARTS = 16u;

// Outputs of all layers (rows, columns); from index ROOM on, the δ of these outputs (rows, columns).
var<workgroup> values: array<f32, 2 * ROOM>;
var<workgroup> parts: array<f32, 256>;
var<workgroup> row_labels: array<u32, MOST_ROWS>;

fn are_finite(four: vec4f) -> bool {
    return all((bitcast<vec4u>(four) & vec4u(0x7f800000u)) != vec4u(0x7f800000u));
}

// Loads four of `count` values that start at `at`. Indices past the last value are clamped to it.
fn four_values(at: u32, four: vec4u, count: u32) -> vec4f {
    let place = at + min(four, vec4u(count - 1u));
    return vec4f(values[place.x], values[place.y], values[place.z], values[place.w]);
}

// Returns the largest logit of a row. The row's logits start at index `at` of `values`.
fn largest_of(at: u32, classes: u32) -> f32 {
    var largest = values[at];
    for (var first = 0u; first < classes; first += 4u) {
        let z = four_values(at, first + vec4u(0u, 1u, 2u, 3u), classes);
        largest = max(largest, max(max(z.x, z.y), max(z.z, z.w)));
    }
    return largest;
}

// The sum of e^(logit − largest logit) over a row, and whether all logits of the row are finite.
struct Normalizer {
    sum: f32,
    is_finite: bool,
}

fn normalizer_of(at: u32, classes: u32, largest: f32) -> Normalizer {
    var sum = vec4f();
    var is_finite = true;
    for (var first = 0u; first < classes; first += 4u) {
        let four = first + vec4u(0u, 1u, 2u, 3u);
        let z = four_values(at, four, classes);
        sum += select(vec4f(), exp(z - largest), four < vec4u(classes));
        is_finite = is_finite && are_finite(z);
    }
    return Normalizer((sum.x + sum.y) + (sum.z + sum.w), is_finite);
}

// Computes the losses of all rows of the workgroup, and δ of the last layer. Each invocation handles one class of one
// row. There are few classes, so each invocation computes the sum over the classes itself, without waiting for other
// invocations.
fn softmax_cross_entropy(first: u32, rows: u32, local: u32) {
    let classes = outputs_of(layers - 1u);
    let shift = shift_of(classes);
    for (var base = 0u; base < rows << shift; base += 256u) {
        let row = (base + local) >> shift;
        let output = base + local - (row << shift);
        if (row < rows && output < classes) {
            let at = row * columns() + column_of(layers - 1u);
            let largest = largest_of(at, classes);
            let normalizer = normalizer_of(at, classes, largest);
            let z = values[at + output] - largest;
            let is_label = output == row_labels[row];
            values[ROOM + at + output] = (exp(z) / normalizer.sum - select(0.0, 1.0, is_label)) / f32(batch);
            if (is_label) {
                var not_a_number = 0x7fc00000u;
                var infinite = 0x7f800000u;
                let loss = log(normalizer.sum) - z;
                let in_range = select(bitcast<f32>(infinite), loss, are_finite(vec4f(loss)));
                scratch[losses_start() + first + row] =
                    select(bitcast<f32>(not_a_number), in_range, normalizer.is_finite);
            }
        }
    }
    workgroupBarrier();
}

// Returns the base-2 logarithm of a layer's outputs per row, rounded up. Invocations are assigned to 2^shift outputs
// per row, some of which do not exist. So row and output are computed by shifts. A division would take as long as a
// dozen additions.
fn shift_of(width: u32) -> u32 {
    return 32u - countLeadingZeros(width - 1u);
}

// Returns the base-2 logarithm of the number of sums that the workgroup computes at a time.
fn lanes_of(shift: u32) -> u32 {
    return min(shift + firstTrailingBit(group), 8u);
}

// An invocation's part of the sums that the workgroup computes at a time.
struct Share {
    lane: u32,  // index of the invocation's sum
    part: u32,  // index of its first term; it adds every `parts`-th term from there on
    parts: u32,
}

fn share_of(lanes: u32, local: u32) -> Share {
    return Share(local & ((1u << lanes) - 1u), local >> lanes, min(256u >> lanes, MOST_PARTS));
}

// A product of the workgroup's rows with a weight matrix or its transpose.
struct Product {
    width: u32,  // sums per row
    terms: u32,  // terms per sum
    weight: u32, // index of the first sum's first weight
    across: u32, // stride from a weight to the same term's weight in the next sum
    along: u32,  // stride from a weight to the next term's weight
    start: u32,  // index of the first factor of row 0 in `values`
}

// Describes z of a layer after the first: the product of the previous layer's outputs and this layer's weights.
fn forward_product(layer: u32) -> Product {
    let outputs = outputs_of(layer);
    return Product(outputs, inputs_of(layer), mlp.layer[layer].weight, 1u, outputs, column_of(layer - 1u));
}

// Describes the gradient with respect to a layer's inputs: the product of its δ and its transposed weights.
fn backward_product(layer: u32) -> Product {
    let outputs = outputs_of(layer);
    return Product(inputs_of(layer), outputs, mlp.layer[layer].weight, outputs, 1u, ROOM + column_of(layer));
}

// Loads the weights of four terms of a sum, which are `parts` terms apart. Past the last term, the weights are 0. There
// is no branch between the loads, so that all are in flight at once.
fn four_weights(product: Product, sum: u32, first: u32, parts: u32) -> vec4f {
    let term = first + parts * vec4u(0u, 1u, 2u, 3u);
    let at = product.weight + sum * product.across + min(term, vec4u(product.terms - 1u)) * product.along;
    let read = vec4f(weights[at.x], weights[at.y], weights[at.z], weights[at.w]);
    return select(vec4f(), read, term < vec4u(product.terms));
}

// The weights and the bias that an invocation needs first in a layer. They are loaded during the previous layer, so
// that no invocation waits for them.
struct Ahead {
    weights: vec4f,
    bias: f32,
}

fn ahead_of(product: Product, local: u32) -> vec4f {
    let shift = shift_of(product.width);
    let share = share_of(lanes_of(shift), local);
    let sum = min(share.lane & ((1u << shift) - 1u), product.width - 1u);
    return four_weights(product, sum, share.part, share.parts);
}

fn bias_of(layer: u32, local: u32) -> f32 {
    let outputs = outputs_of(layer);
    let output = local & ((1u << shift_of(outputs)) - 1u);
    return weights[mlp.layer[layer].bias + min(output, outputs - 1u)];
}

fn ahead_of_forward(layer: u32, local: u32) -> Ahead {
    return Ahead(ahead_of(forward_product(layer), local), bias_of(layer, local));
}

fn ahead_of_backward(layer: u32, local: u32) -> Ahead {
    return Ahead(ahead_of(backward_product(layer), local), 0.0);
}

// Loads the parts of z₁ of four slices, for one output of one row. Past the last slice, the parts are 0.
fn four_slices(slice: vec4u, at: u32) -> vec4f {
    let place = min(slice, vec4u(slices() - 1u)) * batch * width_1 + at;
    let read = vec4f(scratch[place.x], scratch[place.y], scratch[place.z], scratch[place.w]);
    return select(vec4f(), read, slice < vec4u(slices()));
}

// Returns an invocation's part of z₁ for one output of one row: the sum over every `share.parts`-th slice.
fn part_of_first(share: Share, row: u32, output: u32) -> f32 {
    let at = row * width_1 + output;
    let step = share.parts;
    var sum = vec4f();
    for (var slice = share.part; slice < slices(); slice += 16u * step) {
        let four = slice + step * vec4u(0u, 1u, 2u, 3u);
        let a = four_slices(four, at);
        let b = four_slices(four + 4u * step, at);
        let c = four_slices(four + 8u * step, at);
        let d = four_slices(four + 12u * step, at);
        sum += (a + b) + (c + d);
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Returns an invocation's part of a sum, for one row of the workgroup. `first` has the weights of its first four terms.
fn part_of_sum(product: Product, share: Share, first: vec4f, row: u32, sum: u32) -> f32 {
    var w = first;
    var total = vec4f();
    for (var term = share.part; term < product.terms; term += 4u * share.parts) {
        if (term != share.part) {
            w = four_weights(product, sum, term, share.parts);
        }
        let four = min(term + share.parts * vec4u(0u, 1u, 2u, 3u), vec4u(product.terms - 1u));
        let at = product.start + row * columns() + four;
        total += w * vec4f(values[at.x], values[at.y], values[at.z], values[at.w]);
    }
    return (total.x + total.y) + (total.z + total.w);
}

// Returns a whole sum: adds the parts of all invocations that share it.
fn sum_of_parts(share: Share, lanes: u32) -> f32 {
    var sum = vec4f();
    for (var part = 0u; part < share.parts; part += 4u) {
        let four = part + vec4u(0u, 1u, 2u, 3u);
        let at = (min(four, vec4u(share.parts - 1u)) << vec4u(lanes)) + share.lane;
        let read = vec4f(parts[at.x], parts[at.y], parts[at.z], parts[at.w]);
        sum += select(vec4f(), read, four < vec4u(share.parts));
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

fn forward_first(first: u32, rows: u32, bias: f32, local: u32) {
    let shift = shift_of(width_1);
    let lanes = lanes_of(shift);
    let share = share_of(lanes, local);
    for (var base = 0u; base < rows << shift; base += 1u << lanes) {
        let row = (base + share.lane) >> shift;
        let output = base + share.lane - (row << shift);
        let is_there = row < rows && output < width_1;
        if (is_there && share.part < share.parts) {
            parts[local] = part_of_first(share, first + row, output);
        }
        workgroupBarrier();
        if (is_there && share.part == 0u) {
            var b = bias;
            if (base > 0u) {
                b = weights[mlp.layer[0].bias + output];
            }
            values[row * columns() + output] = activate(mlp.layer[0].activation, b + sum_of_parts(share, lanes));
        }
        workgroupBarrier();
    }
}

// Loads what is needed first after the forward pass of `layer`: for the next layer or, after the last layer, for the
// backward pass.
fn ahead_of_next(layer: u32, local: u32) -> Ahead {
    if (layer + 1u < layers) {
        return ahead_of_forward(layer + 1u, local);
    }
    return ahead_of_backward(layer, local);
}

// Computes the outputs of a layer after the first, if the layer exists. `ahead` has the values that were loaded for
// this layer. Returns the values loaded for the next layer.
fn forward_later(layer: u32, rows: u32, ahead: Ahead, local: u32) -> Ahead {
    if (layer >= layers) {
        return ahead;
    }
    let next = ahead_of_next(layer, local);
    let product = forward_product(layer);
    let shift = shift_of(product.width);
    let lanes = lanes_of(shift);
    let share = share_of(lanes, local);
    for (var base = 0u; base < rows << shift; base += 1u << lanes) {
        let row = (base + share.lane) >> shift;
        let output = base + share.lane - (row << shift);
        let is_there = row < rows && output < product.width;
        var w = ahead;
        if (is_there && base > 0u) {
            w.weights = four_weights(product, output, share.part, share.parts);
            w.bias = weights[mlp.layer[layer].bias + output];
        }
        if (is_there && share.part < share.parts) {
            parts[local] = part_of_sum(product, share, w.weights, row, output);
        }
        workgroupBarrier();
        if (is_there && share.part == 0u) {
            let z = w.bias + sum_of_parts(share, lanes);
            values[row * columns() + column_of(layer) + output] = activate(mlp.layer[layer].activation, z);
        }
        workgroupBarrier();
    }
    return next;
}

// Computes δ of the previous layer from δ of this layer, if this layer exists. Takes and returns values loaded ahead,
// like forward_later.
fn backward_layer(layer: u32, rows: u32, ahead: Ahead, local: u32) -> Ahead {
    if (layer >= layers) {
        return ahead;
    }
    var next = Ahead();
    if (layer > 1u) {
        next = ahead_of_backward(layer - 1u, local);
    }
    let product = backward_product(layer);
    let shift = shift_of(product.width);
    let lanes = lanes_of(shift);
    let share = share_of(lanes, local);
    for (var base = 0u; base < rows << shift; base += 1u << lanes) {
        let row = (base + share.lane) >> shift;
        let input = base + share.lane - (row << shift);
        let is_there = row < rows && input < product.width;
        var w = ahead.weights;
        if (is_there && base > 0u) {
            w = four_weights(product, input, share.part, share.parts);
        }
        if (is_there && share.part < share.parts) {
            parts[local] = part_of_sum(product, share, w, row, input);
        }
        workgroupBarrier();
        if (is_there && share.part == 0u) {
            let x = row * columns() + column_of(layer - 1u) + input;
            values[ROOM + x] = through(mlp.layer[layer - 1u].activation, values[x], sum_of_parts(share, lanes));
        }
        workgroupBarrier();
    }
    return next;
}

// Moves one word of the current minibatch to the second half of `minibatch`, and loads the same word of the next
// minibatch into the first half.
fn copy_word(at: u32) {
    if (at < batch * words()) {
        let row = at / words();
        let next = ((step_now[0] + 1u) & mlp.list_mask) * batch;
        let now = minibatch[at];
        minibatch[at] = bytes[list[next + row] * words() + at - row * words()];
        minibatch[batch * words() + at] = now;
    }
}

@compute @workgroup_size(256)
fn middle(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = id.x + id.y * count.x;
    let groups = (batch + group - 1u) / group;
    if (index >= groups) {
        copy_word((index - groups) * 256u + local);
        return;
    }
    let first = index * group;
    let rows = min(group, batch - first);
    // Load everything that does not depend on a sum before waiting for the first sum.
    let bias = bias_of(0u, local);
    var ahead = Ahead();
    if (layers > 1u) {
        ahead = ahead_of_forward(1u, local);
    }
    var label = 0u;
    if (local < rows) {
        label = labels[(step_now[0] & mlp.list_mask) * batch + first + local];
    }
    forward_first(first, rows, bias, local);
    // Call the second layer outside of the loop, where its sizes are constants for the compiler. NVIDIA's driver does
    // not unroll loops over layers. Most fused networks have only two layers.
    ahead = forward_later(1u, rows, ahead, local);
    for (var layer = 2u; layer < layers; layer++) {
        ahead = forward_later(layer, rows, ahead, local);
    }
    if (local < rows) {
        row_labels[local] = label;
    }
    workgroupBarrier();
    softmax_cross_entropy(first, rows, local);
    for (var layer = layers - 1u; layer > 1u; layer--) {
        ahead = backward_layer(layer, rows, ahead, local);
    }
    ahead = backward_layer(1u, rows, ahead, local);
    for (var at = local; at < rows * columns(); at += 256u) {
        scratch[outputs_start() + first * columns() + at] = values[at];
        scratch[deltas_start() + first * columns() + at] = values[ROOM + at];
    }
}
