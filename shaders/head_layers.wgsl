// Describes the head of a network, the multilayer perceptron at its end, for the head's kernels. This file precedes the
// files of these kernels.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // start of the layer's weight (inputs, outputs) in the parameters
    bias: u32,       // start of the layer's bias (1, outputs) in the parameters, or NO_BIAS
    activation: u32, // activation after the layer: see `activate`
    slope: f32,      // negative slope of a leaky ReLU
    column: u32,     // start of the layer's outputs in a row of values; inputs of a GELU precede them
    start: u32,      // start of the layer's weight gradient in a slot; the bias gradient follows
}

struct Head {
    rows: u32,       // rows of the minibatch
    layers: u32,     // number of linear layers
    pitch: u32,      // stride from one row of values to the next
    block: u32,      // rows per block; a workgroup handles one block at a time
    workgroups: u32, // number of workgroups; workgroup w handles the blocks w, w + workgroups, …
    first: u32,      // index of this dispatch's first workgroup, because a long dispatch is split
    loss: u32,       // see `loss_of_value`
    setting: f32,    // parameter of the loss
    scale: f32,      // factor of the loss's derivatives; it turns the sum of the terms into a mean
    slot: u32,       // elements per slot; a slot has the parameter gradients of one workgroup
    rectified: u32,  // 1: x is the output of a ReLU, and dx is the gradient with respect to the ReLU's input
    has_dx: u32,     // 1: the kernel writes dx
    layer: array<Layer, 8>,
}

const NO_BIAS = 0xffffffffu;
