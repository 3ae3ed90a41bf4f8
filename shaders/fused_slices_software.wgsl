// The entry point of a fused step's second dispatch for software drivers, and code common to these drivers.
// fused_slices_registers.wgsl or fused_slices_vectors.wgsl follows this file. That file computes blocks of INPUTS ×
// OUTPUTS weights of W₁, of LATER_INPUTS × LATER_OUTPUTS weights of later layers, and of BIASES biases.
//
// `mlp` is a storage buffer, because with a uniform buffer lavapipe would recompile the kernel at every change of
// pipeline.

@group(0) @binding(0) var<storage, read> mlp: Mlp;

// Returns the first input and the first output of a block of W₁.
fn start_of(block: u32) -> vec2u {
    let across = (mlp.layer[0].outputs + OUTPUTS - 1u) / OUTPUTS;
    return vec2u(block / across * INPUTS, block % across * OUTPUTS);
}

// Updates the bias of a column; columns are counted over the outputs of all layers. `sum` is the bias gradient.
fn update_bias(column: u32, sum: f32) {
    if (column < mlp.columns) {
        var layer = 0u;
        for (var l = 1u; l < mlp.layers; l++) {
            if (column >= mlp.layer[l].column) {
                layer = l;
            }
        }
        parameters[mlp.layer[layer].bias + column - mlp.layer[layer].column] -= mlp.learning_rate * sum;
    }
}

fn log_step() {
    var sum = 0.0;
    for (var row = 0u; row < mlp.rows; row++) {
        sum += scratch[mlp.layer[0].start + 2u * mlp.rows * mlp.columns + row];
    }
    history[step_count[0] % mlp.capacity] = sum / f32(mlp.rows);
    step_count[0] += 1u;
}

@compute @workgroup_size(8)
fn backward_forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    var block = (id.x + id.y * count.x) * 8u + local;
    if (block < mlp.layer[0].tiles) {
        first_layer(block);
        return;
    }
    block -= mlp.layer[0].tiles;
    for (var layer = 1u; layer < mlp.layers; layer++) {
        let tiles = mlp.layer[layer].tiles;
        if (block < tiles) {
            later_layer(layer, block);
            return;
        }
        block -= tiles;
    }
    let biases = (mlp.columns + BIASES - 1u) / BIASES;
    if (block < biases) {
        update_biases(block);
    } else if (block == biases) {
        log_step();
    }
}
