// A multilayer perceptron as described to the kernels of a fused step. This file precedes those kernels.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // start of its weight (inputs, outputs) in the parameters
    bias: u32,       // start of its bias (1, outputs) in the parameters
    activation: u32, // after the layer: 0 none, 1 ReLU, 2 sigmoid
    column: u32,     // start of its outputs in a row of all layers' outputs
    tiles: u32,      // blocks of its weight, rounded up to whole workgroups
    start: u32,      // start of its outputs of row 0 in `scratch`, after the parts of z₁
}

struct Mlp {
    rows: u32,       // of the minibatch
    words: u32,      // per example, of four bytes each
    layers: u32,     // linear layers
    columns: u32,    // outputs of all layers together
    group: u32,      // rows per workgroup of `middle` on a GPU
    list_mask: u32,  // number of minibatches in `list`, minus 1
    capacity: u32,   // number of losses in `history`
    learning_rate: f32,
    layer: array<Layer, 8>,
}
