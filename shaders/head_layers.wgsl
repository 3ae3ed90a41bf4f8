// The multilayer perceptron at the end of a network, its head, as its kernels have it. It stands before them.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // where its weight (inputs, outputs) starts in the parameters
    bias: u32,       // where its bias (1, outputs) starts there, or NO_BIAS
    activation: u32, // behind it: see `activate`
    slope: f32,      // of a leaky ReLU
    column: u32,     // where its outputs start in a row of values; before those of a GELU are its inputs
    start: u32,      // where the gradient by its weight starts in a slot; that by its bias is behind it
}

struct Head {
    rows: u32,       // of the minibatch
    layers: u32,     // linear layers
    pitch: u32,      // from a row of values to the next
    block: u32,      // rows that a workgroup takes at a time
    workgroups: u32, // which take the blocks in turns
    first: u32,      // workgroup that is the first of this dispatch: a long one is several
    loss: u32,       // see `loss_of_value`
    setting: f32,    // of the loss
    scale: f32,      // of the derivatives of a mean
    slot: u32,       // gradients of a workgroup
    rectified: u32,  // 1: a ReLU has made x, and dx is the gradient by its input
    has_dx: u32,     // 1: dx is written
    layer: array<Layer, 8>,
}

const NO_BIAS = 0xffffffffu;
