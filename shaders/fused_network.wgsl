// What both kernels of a fused step for GPUs know of the network. It stands before fused_middle.wgsl and
// fused_slices.wgsl, behind fused_mlp.wgsl.
//
// Sizes are constants of the pipeline. A driver that knows them folds divisions and conditions, and waits
// for no setting: on an H200 a step takes 9.2 µs, and took 10.5 with sizes in `mlp`. Those there are read
// by the kernels for software drivers alone.

override batch: u32;   // rows of the minibatch
override layers: u32;  // linear layers
override group: u32;   // rows that a workgroup of `middle` takes, a power of two
// Inputs of an example, and outputs of each layer; 0 where there is no such layer.
override width_0: u32;
override width_1: u32;
override width_2: u32;
override width_3: u32;
override width_4: u32;
override width_5: u32;
override width_6: u32;
override width_7: u32;
override width_8: u32;

@group(0) @binding(0) var<uniform> mlp: Mlp;

// Inputs and outputs of a tile of a weight.
const SIDE = 16u;

fn width(at: u32) -> u32 {
    switch (at) {
        case 0u: { return width_0; }
        case 1u: { return width_1; }
        case 2u: { return width_2; }
        case 3u: { return width_3; }
        case 4u: { return width_4; }
        case 5u: { return width_5; }
        case 6u: { return width_6; }
        case 7u: { return width_7; }
        default: { return width_8; }
    }
}

fn inputs_of(layer: u32) -> u32 {
    return width(layer);
}

fn outputs_of(layer: u32) -> u32 {
    return width(layer + 1u);
}

// Where the outputs of a layer start in a row of those of all layers.
fn column_of(layer: u32) -> u32 {
    switch (layer) {
        case 0u: { return 0u; }
        case 1u: { return width_1; }
        case 2u: { return width_1 + width_2; }
        case 3u: { return width_1 + width_2 + width_3; }
        case 4u: { return width_1 + width_2 + width_3 + width_4; }
        case 5u: { return width_1 + width_2 + width_3 + width_4 + width_5; }
        case 6u: { return width_1 + width_2 + width_3 + width_4 + width_5 + width_6; }
        case 7u: { return width_1 + width_2 + width_3 + width_4 + width_5 + width_6 + width_7; }
        default: { return columns(); }
    }
}

// Outputs of all layers together.
fn columns() -> u32 {
    return width_1 + width_2 + width_3 + width_4 + width_5 + width_6 + width_7 + width_8;
}

// Words of an example: its bytes, four to a word.
fn words() -> u32 {
    return (width_0 + 3u) / 4u;
}

fn slices() -> u32 {
    return (width_0 + SIDE - 1u) / SIDE;
}

// `scratch` has parts of z₁ (slices, batch, outputs of layer 0), outputs (batch, columns), δ (batch, columns)
// and losses (1, batch). Where those behind the first start:
fn outputs_start() -> u32 {
    return slices() * batch * width_1;
}

fn deltas_start() -> u32 {
    return outputs_start() + batch * columns();
}

fn losses_start() -> u32 {
    return outputs_start() + 2u * batch * columns();
}
