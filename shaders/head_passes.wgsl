// The backward pass and the entry points of a network's head. This file follows head_rows.wgsl.

// Replaces the outputs of an activation by its derivatives f′. ReLU does not need this, because its derivative is 1
// where its output is above 0, else 0.
fn derive(layer: u32, rows: u32, local: u32) {
    let outputs = head.layer[layer].outputs;
    for (var at = local; at < rows * outputs; at += INVOCATIONS) {
        let place = at / outputs * head.pitch + head.layer[layer].column + at % outputs;
        set_value(place, derivative(layer, place));
    }
    synchronize();
}

// Computes the gradient with respect to the input of the activation before a layer, and stores it in place of the
// layer's inputs. Neighboring invocations handle neighboring rows and the same weights.
fn backward_layer(layer: u32, rows: u32, kind: u32, local: u32) {
    let inputs = head.layer[layer].inputs;
    let outputs = head.layer[layer].outputs;
    let source = head.layer[layer].column;
    let goal = input_column(layer);
    let down = tiles_of(rows, ROWS);
    let across = tiles_of(inputs, COLUMNS);
    for (var tile = local; tile < down * across; tile += INVOCATIONS) {
        let column = tile / down;
        let row = tile - column * down;
        var row_at = array<u32, ROWS>();
        for (var i = 0u; i < ROWS; i++) {
            row_at[i] = min(row + i * down, rows - 1u) * head.pitch + source;
        }
        var weight_at = array<u32, COLUMNS>();
        for (var j = 0u; j < COLUMNS; j++) {
            weight_at[j] = head.layer[layer].weight + min(column + j * across, inputs - 1u) * outputs;
        }
        var sums = RowSums();
        for (var k = 0u; k < outputs; k++) {
            var w = array<f32, COLUMNS>();
            for (var j = 0u; j < COLUMNS; j++) {
                w[j] = parameters[weight_at[j] + k];
            }
            for (var i = 0u; i < ROWS; i++) {
                let dy = value(row_at[i] + k);
                for (var j = 0u; j < COLUMNS; j++) {
                    sums[i][j] += dy * w[j];
                }
            }
        }
        for (var i = 0u; i < ROWS; i++) {
            for (var j = 0u; j < COLUMNS; j++) {
                if (row + i * down < rows && column + j * across < inputs) {
                    let at = (row + i * down) * head.pitch + goal + column + j * across;
                    let a = value(at);
                    let through = select(sums[i][j] * a, select(sums[i][j], 0.0, a <= 0.0), kind == RELU);
                    set_value(at, select(through, sums[i][j], kind == LINEAR));
                }
            }
        }
    }
    synchronize();
}

// Returns the activation before a layer. Before layer 0, it is RELU or LINEAR.
fn activation_before(layer: u32) -> u32 {
    if (layer == 0u) {
        return head.rectified;
    }
    return head.layer[layer - 1u].activation;
}

fn backward_block(workgroup: u32, first: u32, rows: u32, is_first: bool, local: u32) {
    for (var behind = head.layers; behind > 0u; behind--) {
        let layer = behind - 1u;
        add_gradients(layer, rows, workgroup * head.slot, is_first, local);
        if (layer > 0u || head.has_dx == 1u) {
            let kind = activation_before(layer);
            if (kind > RELU) {
                derive(layer - 1u, rows, local);
            }
            backward_layer(layer, rows, kind, local);
        }
    }
    if (head.has_dx == 1u) {
        let inputs = head.layer[0].inputs;
        for (var at = local; at < rows * inputs; at += INVOCATIONS) {
            dx[first * inputs + at] = value(at / inputs * head.pitch + at % inputs);
        }
        synchronize();
    }
}

@compute @workgroup_size(INVOCATIONS)
fn train_values(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = head.first + id.x + id.y * count.x;
    if (workgroup >= head.workgroups) {
        return;
    }
    take_place(workgroup);
    var is_first = true;
    for (var first = workgroup * head.block; first < head.rows; first += head.workgroups * head.block) {
        let rows = min(head.block, head.rows - first);
        forward_block(first, rows, local);
        compare_values(first, rows, local);
        backward_block(workgroup, first, rows, is_first, local);
        is_first = false;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn train_classes(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = head.first + id.x + id.y * count.x;
    if (workgroup >= head.workgroups) {
        return;
    }
    take_place(workgroup);
    var is_first = true;
    for (var first = workgroup * head.block; first < head.rows; first += head.workgroups * head.block) {
        let rows = min(head.block, head.rows - first);
        forward_block(first, rows, local);
        compare_classes(first, rows, local);
        backward_block(workgroup, first, rows, is_first, local);
        is_first = false;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = head.first + id.x + id.y * count.x;
    if (workgroup >= head.workgroups) {
        return;
    }
    take_place(workgroup);
    let last = head.layer[head.layers - 1u];
    for (var first = workgroup * head.block; first < head.rows; first += head.workgroups * head.block) {
        let rows = min(head.block, head.rows - first);
        forward_block(first, rows, local);
        for (var at = local; at < rows * last.outputs; at += INVOCATIONS) {
            let row = at / last.outputs;
            y[first * last.outputs + at] = value(row * head.pitch + last.column + at - row * last.outputs);
        }
        synchronize();
    }
}
