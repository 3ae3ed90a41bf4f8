// The fused head of a network: a multilayer perceptron on rows of floats. One workgroup computes forward pass, loss and
// backward pass of a block of rows. head_tiles.wgsl (for GPUs) or head_registers.wgsl (for lavapipe) defines the
// bindings, the storage of the values and the sizes of tiles.
//
//   z_l = a_{l−1}·W_l + b_l     a_l = f_l(z_l)     with a_0 = x
//   δ_L = ∂loss/∂a_L ∘ f_L′(z_L)                 δ_l = (δ_{l+1}·W_{l+1}ᵀ) ∘ f_l′(z_l)     dx = δ_1·W_1ᵀ
//   dW_l = Σ_rows a_{l−1}ᵀ·δ_l                   db_l = Σ_rows δ_l
//
// Workgroup w of n handles the blocks w, w + n, … and adds the parameter gradients of its rows in slot w. Each element
// of a slot is always added by the same invocation. head_sum.wgsl adds the slots in order. So the same rows give the
// same bits on the same device.
//
// A row of values has a_0, a_1, …, a_L. After dW_l is summed, a_{l−1} is needed only to compute f_{l−1}′ (for GELU, the
// stored z_{l−1} is used). After that, δ_{l−1} is stored in place of a_{l−1}.

alias RowSums = array<array<f32, COLUMNS>, ROWS>;
alias WeightSums = array<array<f32, WEIGHT_OUTPUTS>, WEIGHT_INPUTS>;

// Returns the number of tiles of `size` elements that cover `count` elements.
fn tiles_of(count: u32, size: u32) -> u32 {
    return (count + size - 1u) / size;
}

// Returns the start of a layer's inputs in a row of values.
fn input_column(layer: u32) -> u32 {
    if (layer == 0u) {
        return 0u;
    }
    return head.layer[layer - 1u].column;
}

fn load_rows(first: u32, rows: u32, local: u32) {
    let inputs = head.layer[0].inputs;
    for (var at = local; at < rows * inputs; at += INVOCATIONS) {
        let row = at / inputs;
        set_value(row * head.pitch + at - row * inputs, x[first * inputs + at]);
    }
    synchronize();
}

// Computes the outputs a_l of a layer. The columns of a tile are not adjacent, so that neighboring invocations read
// neighboring weights. Rows and columns past the last one are clamped to it, and their sums are not stored. A driver
// that unrolls the loops over a tile copies the code of the activation once per sum. So only ReLU, whose code is short,
// is applied in these loops.
fn forward_layer(layer: u32, rows: u32, local: u32) {
    let inputs = head.layer[layer].inputs;
    let outputs = head.layer[layer].outputs;
    let bias = head.layer[layer].bias;
    let source = input_column(layer);
    let goal = head.layer[layer].column;
    let is_relu = head.layer[layer].activation == RELU;
    let down = tiles_of(rows, ROWS);
    let across = tiles_of(outputs, COLUMNS);
    for (var tile = local; tile < down * across; tile += INVOCATIONS) {
        let row = tile / across;
        let column = tile - row * across;
        var row_at = array<u32, ROWS>();
        for (var i = 0u; i < ROWS; i++) {
            row_at[i] = min(row + i * down, rows - 1u) * head.pitch + source;
        }
        var column_at = array<u32, COLUMNS>();
        var sums = RowSums();
        for (var j = 0u; j < COLUMNS; j++) {
            column_at[j] = min(column + j * across, outputs - 1u);
            var start = 0.0;
            if (bias != NO_BIAS) {
                start = parameters[bias + column_at[j]];
            }
            for (var i = 0u; i < ROWS; i++) {
                sums[i][j] = start;
            }
        }
        for (var k = 0u; k < inputs; k++) {
            let weight = head.layer[layer].weight + k * outputs;
            var w = array<f32, COLUMNS>();
            for (var j = 0u; j < COLUMNS; j++) {
                w[j] = parameters[weight + column_at[j]];
            }
            for (var i = 0u; i < ROWS; i++) {
                let a = value(row_at[i] + k);
                for (var j = 0u; j < COLUMNS; j++) {
                    sums[i][j] += a * w[j];
                }
            }
        }
        for (var i = 0u; i < ROWS; i++) {
            for (var j = 0u; j < COLUMNS; j++) {
                if (row + i * down < rows && column + j * across < outputs) {
                    let at = (row + i * down) * head.pitch + goal + column + j * across;
                    set_value(at, select(sums[i][j], rectified(sums[i][j]), is_relu));
                }
            }
        }
    }
    synchronize();
    if (head.layer[layer].activation > RELU) {
        for (var at = local; at < rows * outputs; at += INVOCATIONS) {
            let place = at / outputs * head.pitch + goal + at % outputs;
            activate(layer, place);
        }
        synchronize();
    }
}

fn forward_block(first: u32, rows: u32, local: u32) {
    load_rows(first, rows, local);
    for (var layer = 0u; layer < head.layers; layer++) {
        forward_layer(layer, rows, local);
    }
}

// Computes the parameter gradients of a layer over the rows of the block. Stores them in the slot if this is the first
// block of the workgroup, otherwise adds them to the slot.
fn add_gradients(layer: u32, rows: u32, slot: u32, is_first: bool, local: u32) {
    let inputs = head.layer[layer].inputs;
    let outputs = head.layer[layer].outputs;
    let source = input_column(layer);
    let goal = head.layer[layer].column;
    let down = tiles_of(inputs, WEIGHT_INPUTS);
    let across = tiles_of(outputs, WEIGHT_OUTPUTS);
    for (var tile = local; tile < down * across; tile += INVOCATIONS) {
        let input = tile / across;
        let output = tile - input * across;
        var input_at = array<u32, WEIGHT_INPUTS>();
        for (var i = 0u; i < WEIGHT_INPUTS; i++) {
            input_at[i] = source + min(input + i * down, inputs - 1u);
        }
        var output_at = array<u32, WEIGHT_OUTPUTS>();
        for (var j = 0u; j < WEIGHT_OUTPUTS; j++) {
            output_at[j] = goal + min(output + j * across, outputs - 1u);
        }
        var sums = WeightSums();
        var of_bias = array<f32, WEIGHT_OUTPUTS>();
        for (var row = 0u; row < rows; row++) {
            let at = row * head.pitch;
            var dy = array<f32, WEIGHT_OUTPUTS>();
            for (var j = 0u; j < WEIGHT_OUTPUTS; j++) {
                dy[j] = value(at + output_at[j]);
                of_bias[j] += dy[j];
            }
            for (var i = 0u; i < WEIGHT_INPUTS; i++) {
                let a = value(at + input_at[i]);
                for (var j = 0u; j < WEIGHT_OUTPUTS; j++) {
                    sums[i][j] += a * dy[j];
                }
            }
        }
        let start = slot + head.layer[layer].start;
        for (var j = 0u; j < WEIGHT_OUTPUTS; j++) {
            if (output + j * across < outputs) {
                for (var i = 0u; i < WEIGHT_INPUTS; i++) {
                    if (input + i * down < inputs) {
                        add(start + (input + i * down) * outputs + output + j * across, sums[i][j], is_first);
                    }
                }
                if (input == 0u) {
                    add(start + inputs * outputs + output + j * across, of_bias[j], is_first);
                }
            }
        }
    }
    synchronize();
}

fn add(at: u32, part: f32, is_first: bool) {
    if (is_first) {
        slots[at] = part;
    } else {
        slots[at] += part;
    }
}
