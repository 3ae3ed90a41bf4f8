// Blocks of weights in the second dispatch of a fused step for the software driver SwiftShader, without workgroup
// memory and barriers. fused_slices_shared.wgsl has the formulas. Two files precede this one: software_vectors.wgsl
// explains why each sum is a variable with a name, and fused_slices_software.wgsl has the entry point.
//
// An invocation handles a block of W₁ with 112 weights. For each row, it loads 7 words of four bytes and 4 values of δ,
// and adds to 112 sums. For the next step, it loads 7 words per row and computes 112 products.

// A block of W₁ has INPUTS × OUTPUTS weights; its inputs are in WORDS words of four bytes. A block of a later layer's
// weight has LATER_INPUTS × LATER_OUTPUTS weights.
const INPUTS = 28u; // 4 · WORDS
const WORDS = 7u;
const OUTPUTS = 4u;
const LATER_INPUTS = 4u;
const LATER_OUTPUTS = 4u;
// Number of biases that an invocation updates.
const BIASES = 4u;

// Values of a block of W₁. Each matrix has the four inputs of one word, one column per input.
struct Block {
    a: mat4x4f,
    b: mat4x4f,
    c: mat4x4f,
    d: mat4x4f,
    e: mat4x4f,
    f: mat4x4f,
    g: mat4x4f,
}

struct Inputs {
    a: vec4f,
    b: vec4f,
    c: vec4f,
    d: vec4f,
    e: vec4f,
    f: vec4f,
    g: vec4f,
}

// Loads the four inputs of a word of an example. Words past the last one are clamped to it; their weights are 0.
fn load_word(example: u32, word: u32) -> vec4f {
    return unpack4x8unorm(minibatch[example * mlp.words + min(word, mlp.words - 1u)]);
}

fn load_inputs(example: u32, input: u32) -> Inputs {
    let word = input / 4u;
    return Inputs(
        load_word(example, word),
        load_word(example, word + 1u),
        load_word(example, word + 2u),
        load_word(example, word + 3u),
        load_word(example, word + 4u),
        load_word(example, word + 5u),
        load_word(example, word + 6u),
    );
}

fn load_scratch(at: vec4u) -> vec4f {
    return vec4f(scratch[at.x], scratch[at.y], scratch[at.z], scratch[at.w]);
}

fn add_row(sums: Block, x: Inputs, dy: vec4f) -> Block {
    return Block(
        sums.a + outer(x.a, dy),
        sums.b + outer(x.b, dy),
        sums.c + outer(x.c, dy),
        sums.d + outer(x.d, dy),
        sums.e + outer(x.e, dy),
        sums.f + outer(x.f, dy),
        sums.g + outer(x.g, dy),
    );
}

// Updates a weight and returns it. A weight outside of the matrix is 0.
fn update_weight(at: u32, sum: f32, is_there: bool) -> f32 {
    var w = 0.0;
    if (is_there) {
        w = parameters[at] - mlp.learning_rate * sum;
        parameters[at] = w;
    }
    return w;
}

fn update_outputs(layer: u32, input: u32, output: u32, sums: vec4f) -> vec4f {
    let outputs = mlp.layer[layer].outputs;
    let end = select(0u, outputs, input < mlp.layer[layer].inputs);
    let at = mlp.layer[layer].weight + input * outputs + output;
    return vec4f(
        update_weight(at, sums.x, output < end),
        update_weight(at + 1u, sums.y, output + 1u < end),
        update_weight(at + 2u, sums.z, output + 2u < end),
        update_weight(at + 3u, sums.w, output + 3u < end),
    );
}

fn update_four(layer: u32, input: u32, output: u32, sums: mat4x4f) -> mat4x4f {
    return mat4x4f(
        update_outputs(layer, input, output, sums[0]),
        update_outputs(layer, input + 1u, output, sums[1]),
        update_outputs(layer, input + 2u, output, sums[2]),
        update_outputs(layer, input + 3u, output, sums[3]),
    );
}

fn update_block(start: vec2u, sums: Block) -> Block {
    return Block(
        update_four(0u, start.x, start.y, sums.a),
        update_four(0u, start.x + 4u, start.y, sums.b),
        update_four(0u, start.x + 8u, start.y, sums.c),
        update_four(0u, start.x + 12u, start.y, sums.d),
        update_four(0u, start.x + 16u, start.y, sums.e),
        update_four(0u, start.x + 20u, start.y, sums.f),
        update_four(0u, start.x + 24u, start.y, sums.g),
    );
}

fn store_part(at: u32, value: f32, is_there: bool) {
    if (is_there) {
        scratch[at] = value;
    }
}

// Computes the part of the next step's z₁ that the block contributes.
fn forward_block(start: vec2u, w: Block) {
    let outputs = mlp.layer[0].outputs;
    let rows = mlp.rows;
    for (var row = 0u; row < rows; row++) {
        let x = load_inputs(row, start.x);
        let z = w.a * x.a + w.b * x.b + w.c * x.c + w.d * x.d + w.e * x.e + w.f * x.f + w.g * x.g;
        let part = (start.x / INPUTS * rows + row) * outputs + start.y;
        store_part(part, z.x, start.y < outputs);
        store_part(part + 1u, z.y, start.y + 1u < outputs);
        store_part(part + 2u, z.z, start.y + 2u < outputs);
        store_part(part + 3u, z.w, start.y + 3u < outputs);
    }
}

fn first_layer(block: u32) {
    let start = start_of(block);
    if (start.x >= mlp.layer[0].inputs) {
        return;
    }
    let rows = mlp.rows;
    let columns = mlp.columns;
    let output = min(start.y + FOUR, vec4u(mlp.layer[0].outputs - 1u));
    let delta = mlp.layer[0].start + rows * columns + output;
    var sums = Block();
    for (var row = 0u; row < rows; row++) {
        sums = add_row(sums, load_inputs(rows + row, start.x), load_scratch(delta + row * columns));
    }
    forward_block(start, update_block(start, sums));
}

fn later_layer(layer: u32, block: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let across = (outputs + LATER_OUTPUTS - 1u) / LATER_OUTPUTS;
    let input = block / across * LATER_INPUTS;
    let output = block % across * LATER_OUTPUTS;
    if (input >= inputs) {
        return;
    }
    let rows = mlp.rows;
    let columns = mlp.columns;
    let before = mlp.layer[layer - 1u].start + min(input + FOUR, vec4u(inputs - 1u));
    let delta = mlp.layer[layer].start + rows * columns + min(output + FOUR, vec4u(outputs - 1u));
    var sums = mat4x4f();
    for (var row = 0u; row < rows; row++) {
        sums += outer(load_scratch(before + row * columns), load_scratch(delta + row * columns));
    }
    update_four(layer, input, output, sums);
}

// Updates four neighboring biases, counted over all layers.
fn update_biases(block: u32) {
    let column = block * BIASES + FOUR;
    let delta = mlp.layer[0].start + mlp.rows * mlp.columns + min(column, vec4u(mlp.columns - 1u));
    var sums = vec4f();
    for (var row = 0u; row < mlp.rows; row++) {
        sums += load_scratch(delta + row * mlp.columns);
    }
    update_bias(column.x, sums.x);
    update_bias(column.y, sums.y);
    update_bias(column.z, sums.z);
    update_bias(column.w, sums.w);
}

// Loads the weights of four inputs and one output. They are 0 past the last input.
fn load_weights(input: u32, output: u32) -> vec4f {
    let row = input + FOUR;
    let inputs = mlp.layer[0].inputs;
    let at = mlp.layer[0].weight + min(row, vec4u(inputs - 1u)) * mlp.layer[0].outputs + output;
    let read = vec4f(weights[at.x], weights[at.y], weights[at.z], weights[at.w]);
    return select(vec4f(), read, row < vec4u(inputs));
}

// Computes the parts of z₁ before the first step of a call. An invocation handles one output of one slice.
@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (id.x + id.y * count.x) * 8u + local;
    let outputs = mlp.layer[0].outputs;
    let input = index / outputs * INPUTS;
    let output = index % outputs;
    if (input >= mlp.layer[0].inputs) {
        return;
    }
    let w = Inputs(
        load_weights(input, output),
        load_weights(input + 4u, output),
        load_weights(input + 8u, output),
        load_weights(input + 12u, output),
        load_weights(input + 16u, output),
        load_weights(input + 20u, output),
        load_weights(input + 24u, output),
    );
    let rows = mlp.rows;
    for (var row = 0u; row < rows; row++) {
        let x = load_inputs(row, input);
        scratch[(input / INPUTS * rows + row) * outputs + output] = dot(x.a, w.a) + dot(x.b, w.b) + dot(x.c, w.c)
            + dot(x.d, w.d) + dot(x.e, w.e) + dot(x.f, w.f) + dot(x.g, w.g);
    }
}
