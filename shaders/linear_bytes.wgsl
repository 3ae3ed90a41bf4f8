// The first linear layer of a network for inputs stored as bytes, for the software driver lavapipe.
//
//   forward          y  = x·w + b      y[r,o]  = b[o] + (Σ_i byte[r,i]·w[i,o]) / 255
//   backward_weight  dw = xᵀ·dy        dw[i,o] = (Σ_r byte[r,i]·dy[r,o]) / 255
//
// with x = byte / 255. A word has four bytes, lowest byte first, and each row starts a new word. linear_registers.wgsl
// explains the method. Here, one load reads four values of x, so a block has more rows than columns. There is no input
// gradient, because the first layer needs none.

@group(0) @binding(1) var<storage, read> x: array<u32>;        // (rows, words)
@group(0) @binding(2) var<storage, read> w: array<f32>;        // (inputs, outputs)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // (rows, outputs)
@group(0) @binding(4) var<storage, read> bias: array<f32>;     // (1, outputs)

const ROWS = 28u;
const WORDS = 7u; // words whose 4 · WORDS = ROWS inputs are the rows of a block of dw
const COLUMNS = 13u;

fn column_blocks() -> u32 {
    return (shape.outputs + COLUMNS - 1u) / COLUMNS;
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let r0 = block / column_blocks() * ROWS;
    let c0 = block % column_blocks() * COLUMNS;
    if (r0 >= shape.rows) {
        return;
    }
    let words = (shape.inputs + 3u) / 4u;
    var sums: array<array<f32, COLUMNS>, ROWS>;
    var column: array<u32, COLUMNS>;
    for (var j = 0u; j < COLUMNS; j++) {
        column[j] = min(c0 + j, shape.outputs - 1u);
    }
    for (var word = 0u; word < words; word++) {
        var four: array<u32, ROWS>;
        for (var i = 0u; i < ROWS; i++) {
            four[i] = x[min(r0 + i, shape.rows - 1u) * words + word];
        }
        let used = min(4u, shape.inputs - 4u * word);
        for (var q = 0u; q < used; q++) {
            var weights: array<f32, COLUMNS>;
            for (var j = 0u; j < COLUMNS; j++) {
                weights[j] = w[(4u * word + q) * shape.outputs + column[j]];
            }
            for (var i = 0u; i < ROWS; i++) {
                let value = byte(four[i], q);
                for (var j = 0u; j < COLUMNS; j++) {
                    sums[i][j] += value * weights[j];
                }
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < COLUMNS; j++) {
            if (r0 + i < shape.rows && c0 + j < shape.outputs) {
                let sum = bias[c0 + j] + sums[i][j] / 255.0;
                y[(r0 + i) * shape.outputs + c0 + j] = select(sum, rectified(sum), shape.relu == 1u);
            }
        }
    }
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (rows, outputs)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // (inputs, outputs)

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let i0 = block / column_blocks() * ROWS;
    let c0 = block % column_blocks() * COLUMNS;
    if (i0 >= shape.inputs) {
        return;
    }
    let words = (shape.inputs + 3u) / 4u;
    var sums: array<array<f32, COLUMNS>, ROWS>;
    var column: array<u32, COLUMNS>;
    for (var j = 0u; j < COLUMNS; j++) {
        column[j] = min(c0 + j, shape.outputs - 1u);
    }
    for (var row = 0u; row < shape.rows; row++) {
        var gradients: array<f32, COLUMNS>;
        for (var j = 0u; j < COLUMNS; j++) {
            gradients[j] = dy[row * shape.outputs + column[j]];
        }
        var four: array<u32, WORDS>;
        for (var k = 0u; k < WORDS; k++) {
            four[k] = x[row * words + min(i0 / 4u + k, words - 1u)];
        }
        for (var i = 0u; i < ROWS; i++) {
            let value = byte(four[i / 4u], i % 4u);
            for (var j = 0u; j < COLUMNS; j++) {
                sums[i][j] += value * gradients[j];
            }
        }
    }
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < COLUMNS; j++) {
            if (i0 + i < shape.inputs && c0 + j < shape.outputs) {
                dw[(i0 + i) * shape.outputs + c0 + j] = sums[i][j] / 255.0;
            }
        }
    }
}
