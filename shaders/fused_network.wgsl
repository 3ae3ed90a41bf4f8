// The sizes of the network, for both kernels of a fused step for GPUs. This file follows fused_mlp.wgsl and
// precedes fused_middle.wgsl and fused_slices.wgsl.
//
// The sizes are pipeline-overridable constants. So the driver evaluates divisions and conditions at compile time, and
// no kernel waits for a load of a size. On an H200, a step takes 9.2 µs; with the sizes in `mlp`, it takes 10.5 µs.
// Only the kernels for software drivers read the sizes in `mlp`.

override batch: u32;   // rows of the minibatch
override layers: u32;  // number of linear layers
override group: u32;   // rows per workgroup of `middle`, a power of two
// width_0 is the number of inputs of an example. width_1 to width_8 are the numbers of outputs of layers 0 to 7, and 0
// for layers that do not exist.
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

// A tile of a weight has SIDE inputs and SIDE outputs.
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

// Returns the start of a layer's outputs in a row of all layers' outputs.
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

// Number of outputs per row of all layers together.
fn columns() -> u32 {
    return width_1 + width_2 + width_3 + width_4 + width_5 + width_6 + width_7 + width_8;
}

// Number of words of four bytes per example.
fn words() -> u32 {
    return (width_0 + 3u) / 4u;
}

fn slices() -> u32 {
    return (width_0 + SIDE - 1u) / SIDE;
}

// `scratch` has four arrays, one after another: parts of z₁ (slices, batch, outputs of layer 0), outputs (batch,
// columns), δ (batch, columns) and losses (1, batch). These functions return the starts of the second to the fourth
// array.
fn outputs_start() -> u32 {
    return slices() * batch * width_1;
}

fn deltas_start() -> u32 {
    return outputs_start() + batch * columns();
}

fn losses_start() -> u32 {
    return outputs_start() + 2u * batch * columns();
}
