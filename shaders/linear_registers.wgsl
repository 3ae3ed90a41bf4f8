// The products of linear_product.wgsl for the software driver lavapipe, without workgroup memory and barriers.
//
// On lavapipe, a load costs as much as dozens of multiplications. So each invocation computes a block of
// ROWS × COLUMNS sums, and loads ROWS + COLUMNS values for ROWS · COLUMNS products. The driver unrolls loops of
// constant length and keeps `sums` in registers.

const ROWS = 20u;
const COLUMNS = 17u;

alias Sums = array<array<f32, COLUMNS>, ROWS>;

fn first_row(block: u32, columns: u32) -> u32 {
    return block / ((columns + COLUMNS - 1u) / COLUMNS) * ROWS;
}

fn first_column(block: u32, columns: u32) -> u32 {
    return block % ((columns + COLUMNS - 1u) / COLUMNS) * COLUMNS;
}

// Computes the sums of one block of left·right. The sums of column j start with start[j]. Rows and columns past the
// last one are clamped to it; their outputs are not stored.
fn multiply(block: u32, a: View, b: View, start: array<f32, COLUMNS>, sums: ptr<function, Sums>) {
    let r0 = first_row(block, b.columns);
    let c0 = first_column(block, b.columns);
    if (r0 >= a.rows) {
        return;
    }
    for (var i = 0u; i < ROWS; i++) {
        (*sums)[i] = start;
    }
    var row_at: array<u32, ROWS>;
    for (var i = 0u; i < ROWS; i++) {
        row_at[i] = min(r0 + i, a.rows - 1u) * a.row_step;
    }
    var column_at: array<u32, COLUMNS>;
    for (var j = 0u; j < COLUMNS; j++) {
        column_at[j] = min(c0 + j, b.columns - 1u) * b.column_step;
    }
    for (var k = 0u; k < a.columns; k++) {
        var y: array<f32, COLUMNS>;
        for (var j = 0u; j < COLUMNS; j++) {
            y[j] = right[k * b.row_step + column_at[j]];
        }
        for (var i = 0u; i < ROWS; i++) {
            let value = left[row_at[i] + k * a.column_step];
            for (var j = 0u; j < COLUMNS; j++) {
                (*sums)[i][j] += value * y[j];
            }
        }
    }
}

// Converts a block to the gradient with respect to a ReLU's input; x is the ReLU's output. Rows and columns past the
// last one are clamped to it.
fn mask(block: u32, sums: ptr<function, Sums>) {
    let r0 = first_row(block, shape.inputs);
    let c0 = first_column(block, shape.inputs);
    for (var i = 0u; i < ROWS; i++) {
        let row = min(r0 + i, shape.rows - 1u) * shape.inputs;
        for (var j = 0u; j < COLUMNS; j++) {
            let read = x[row + min(c0 + j, shape.inputs - 1u)];
            (*sums)[i][j] = select((*sums)[i][j], 0.0, read <= 0.0);
        }
    }
}

fn store(block: u32, a: View, b: View, sums: ptr<function, Sums>) {
    let r0 = first_row(block, b.columns);
    let c0 = first_column(block, b.columns);
    for (var i = 0u; i < ROWS; i++) {
        for (var j = 0u; j < COLUMNS; j++) {
            if (r0 + i < a.rows && c0 + j < b.columns) {
                let sum = (*sums)[i][j];
                product[(r0 + i) * b.columns + c0 + j] = select(sum, rectified(sum), shape.relu == 1u);
            }
        }
    }
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let c0 = first_column(block, shape.outputs);
    var start: array<f32, COLUMNS>;
    for (var j = 0u; j < COLUMNS; j++) {
        start[j] = bias[min(c0 + j, shape.outputs - 1u)];
    }
    let x = View(shape.rows, shape.inputs, shape.inputs, 1u);
    let w = View(shape.inputs, shape.outputs, shape.outputs, 1u);
    var sums: Sums;
    multiply(block, x, w, start, &sums);
    store(block, x, w, &sums);
}

@compute @workgroup_size(8)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    var sums: Sums;
    multiply(block, dy, w_transposed, array<f32, COLUMNS>(), &sums);
    store(block, dy, w_transposed, &sums);
}

@compute @workgroup_size(8)
fn backward_input_relu(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    var sums: Sums;
    multiply(block, dy, w_transposed, array<f32, COLUMNS>(), &sums);
    mask(block, &sums);
    store(block, dy, w_transposed, &sums);
}

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let x_transposed = View(shape.inputs, shape.rows, 1u, shape.inputs);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    var sums: Sums;
    multiply(block, x_transposed, dy, array<f32, COLUMNS>(), &sums);
    store(block, x_transposed, dy, &sums);
}

// The bias gradient for all software drivers: db[o] = Σ_r dy[r,o]
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // (rows, outputs)
@group(0) @binding(2) var<storage, read_write> db: array<f32>; // (1, outputs)

@compute @workgroup_size(8)
fn backward_bias(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let column = (id.x + id.y * count.x) * 8u + local;
    if (column >= shape.outputs) {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < shape.rows; row++) {
        sum += dy[row * shape.outputs + column];
    }
    db[column] = sum;
}
