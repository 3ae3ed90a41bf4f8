// The first linear layer of a network for inputs stored as bytes, for the software driver SwiftShader.
// linear_bytes.wgsl has the formulas. software_vectors.wgsl, which precedes this file, explains why each sum is a
// variable with a name. There is no input gradient, because the first layer needs none.

@group(0) @binding(1) var<storage, read> x: array<u32>;        // (rows, words)
@group(0) @binding(2) var<storage, read> w: array<f32>;        // (inputs, outputs)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // (rows, outputs)
@group(0) @binding(4) var<storage, read> bias: array<f32>;     // (1, outputs)

// A block of y has ROWS × COLUMNS = 32 sums. For four inputs, it needs 8 loads of words of four bytes, and 16 loads of
// weights. A block of dw has the weights of 4 · WORDS inputs and COLUMNS outputs.
const ROWS = 8u;
const WORDS = 7u;
const COLUMNS = 4u;

fn words() -> u32 {
    return (shape.inputs + 3u) / 4u;
}

fn column_blocks() -> u32 {
    return (shape.outputs + COLUMNS - 1u) / COLUMNS;
}

// Returns four columns from `first` on. Columns past the last one are clamped to it.
fn columns_from(first: u32) -> vec4u {
    return min(first + FOUR, vec4u(shape.outputs - 1u));
}

// Loads the four inputs of a word in four rows, one matrix column per row. Rows past the last one are clamped to it.
fn load_rows(row: u32, word: u32) -> mat4x4f {
    let at = min(row + FOUR, vec4u(shape.rows - 1u)) * words() + word;
    return mat4x4f(
        unpack4x8unorm(x[at.x]),
        unpack4x8unorm(x[at.y]),
        unpack4x8unorm(x[at.z]),
        unpack4x8unorm(x[at.w]),
    );
}

// Loads the weights of one input in four columns. They are 0 past the last input.
fn load_weights(input: u32, columns: vec4u) -> vec4f {
    let at = min(input, shape.inputs - 1u) * shape.outputs + columns;
    let read = vec4f(w[at.x], w[at.y], w[at.z], w[at.w]);
    return select(vec4f(), read, vec4<bool>(input < shape.inputs));
}

fn store_output(at: u32, value: f32, is_there: bool) {
    if (is_there) {
        y[at] = select(value, rectified(value), shape.relu == 1u);
    }
}

fn store_row(row: u32, column: u32, values: vec4f) {
    let at = row * shape.outputs + column;
    let end = select(0u, shape.outputs, row < shape.rows);
    store_output(at, values.x, column < end);
    store_output(at + 1u, values.y, column + 1u < end);
    store_output(at + 2u, values.z, column + 2u < end);
    store_output(at + 3u, values.w, column + 3u < end);
}

fn store_rows(row: u32, column: u32, sums: mat4x4f) {
    let columns = columns_from(column);
    let b = vec4f(bias[columns.x], bias[columns.y], bias[columns.z], bias[columns.w]);
    store_row(row, column, b + sums[0]);
    store_row(row + 1u, column, b + sums[1]);
    store_row(row + 2u, column, b + sums[2]);
    store_row(row + 3u, column, b + sums[3]);
}

// Sums of a block of y. Each matrix has the sums of four rows.
struct Rows {
    a: mat4x4f,
    b: mat4x4f,
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let row = block / column_blocks() * ROWS;
    let column = block % column_blocks() * COLUMNS;
    if (row >= shape.rows) {
        return;
    }
    let columns = columns_from(column);
    var sums = Rows();
    for (var word = 0u; word < words(); word++) {
        let input = 4u * word;
        let four = mat4x4f(
            load_weights(input, columns),
            load_weights(input + 1u, columns),
            load_weights(input + 2u, columns),
            load_weights(input + 3u, columns),
        );
        sums = Rows(
            sums.a + four * load_rows(row, word),
            sums.b + four * load_rows(row + 4u, word),
        );
    }
    store_rows(row, column, sums.a);
    store_rows(row + 4u, column, sums.b);
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (rows, outputs)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>; // (inputs, outputs)

fn store_gradient(at: u32, value: f32, is_there: bool) {
    if (is_there) {
        dw[at] = value;
    }
}

fn store_input(input: u32, column: u32, values: vec4f) {
    let at = input * shape.outputs + column;
    let end = select(0u, shape.outputs, input < shape.inputs);
    store_gradient(at, values.x, column < end);
    store_gradient(at + 1u, values.y, column + 1u < end);
    store_gradient(at + 2u, values.z, column + 2u < end);
    store_gradient(at + 3u, values.w, column + 3u < end);
}

fn store_inputs(input: u32, column: u32, sums: mat4x4f) {
    store_input(input, column, sums[0]);
    store_input(input + 1u, column, sums[1]);
    store_input(input + 2u, column, sums[2]);
    store_input(input + 3u, column, sums[3]);
}

// Loads the four inputs of a word in one row. Words past the last one are clamped to it; their sums are not stored.
fn load_word(row: u32, word: u32) -> vec4f {
    return unpack4x8unorm(x[row * words() + min(word, words() - 1u)]);
}

// Sums of a block of dw. Each matrix has the sums of the four inputs of one word.
struct Words {
    a: mat4x4f,
    b: mat4x4f,
    c: mat4x4f,
    d: mat4x4f,
    e: mat4x4f,
    f: mat4x4f,
    g: mat4x4f,
}

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = (shape.first + id.x + id.y * count.x) * 8u + local;
    let word = block / column_blocks() * WORDS;
    let column = block % column_blocks() * COLUMNS;
    if (word >= words()) {
        return;
    }
    let columns = columns_from(column);
    var sums = Words();
    for (var row = 0u; row < shape.rows; row++) {
        let at = row * shape.outputs + columns;
        let gradients = vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
        sums = Words(
            sums.a + outer(load_word(row, word), gradients),
            sums.b + outer(load_word(row, word + 1u), gradients),
            sums.c + outer(load_word(row, word + 2u), gradients),
            sums.d + outer(load_word(row, word + 3u), gradients),
            sums.e + outer(load_word(row, word + 4u), gradients),
            sums.f + outer(load_word(row, word + 5u), gradients),
            sums.g + outer(load_word(row, word + 6u), gradients),
        );
    }
    let input = 4u * word;
    store_inputs(input, column, sums.a);
    store_inputs(input + 4u, column, sums.b);
    store_inputs(input + 8u, column, sums.c);
    store_inputs(input + 12u, column, sums.d);
    store_inputs(input + 16u, column, sums.e);
    store_inputs(input + 20u, column, sums.f);
    store_inputs(input + 24u, column, sums.g);
}
