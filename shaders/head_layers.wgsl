// The multilayer perceptron at the end of a network, its head, as described to its kernels. This file precedes them.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // start of its weight (inputs, outputs) in the parameters
    bias: u32,       // start of its bias (1, outputs) in the parameters, or NO_BIAS
    activation: u32, // after the layer: see `activate`
    slope: f32,      // negative slope of a leaky ReLU
    column: u32,     // start of its outputs in a row of values; a GELU's inputs precede its outputs
    start: u32,      // start of the gradient by its weight in a slot; the gradient by its bias follows
}

struct Head {
    rows: u32,       // of the minibatch
    layers: u32,     // linear layers
    pitch: u32,      // stride from one row of values to the next
    block: u32,      // rows that a workgroup takes at a time
    workgroups: u32, // number of workgroups, which take the blocks in turn
    first: u32,      // number of this dispatch's first workgroup: a long dispatch is split
    loss: u32,       // see `loss_of_value`
    setting: f32,    // parameter of the loss
    scale: f32,      // factor of the loss's derivatives, because the loss is a mean
    slot: u32,       // gradients per workgroup
    rectified: u32,  // 1: x is the output of a ReLU, and dx is the gradient by the ReLU's input
    has_dx: u32,     // 1: dx is written
    layer: array<Layer, 8>,
}

const NO_BIAS = 0xffffffffu;
