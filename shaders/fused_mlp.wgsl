// Describes a multilayer perceptron for the kernels of a fused step. This file precedes the files of these kernels.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // start of the layer's weight (inputs, outputs) in the parameters
    bias: u32,       // start of the layer's bias (1, outputs) in the parameters
    activation: u32, // activation after the layer: 0 none, 1 ReLU, 2 sigmoid
    column: u32,     // start of the layer's outputs in a row of all layers' outputs
    tiles: u32,      // number of blocks of the layer's weight, rounded up to whole workgroups
    start: u32,      // start of the layer's outputs of row 0 in `scratch`, after the parts of z₁
}

struct Mlp {
    rows: u32,       // rows of the minibatch
    words: u32,      // words of four bytes per example
    layers: u32,     // number of linear layers
    columns: u32,    // outputs per row of all layers together
    group: u32,      // rows per workgroup of `middle` on a GPU
    list_mask: u32,  // number of minibatches in `list`, minus 1
    capacity: u32,   // number of losses in `history`
    learning_rate: f32,
    layer: array<Layer, 8>,
}
