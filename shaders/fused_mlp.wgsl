// A multilayer perceptron, as the kernels of its fused steps have it. It stands before them.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // where its weight (inputs, outputs) starts in the parameters
    bias: u32,       // where its bias (1, outputs) starts there
    activation: u32, // behind it: 0 none, 1 ReLU, 2 sigmoid
    column: u32,     // where its outputs start in a row of those of all layers
    tiles: u32,      // blocks of its weight, in whole workgroups
    start: u32,      // where its outputs of row 0 start in `scratch`, behind the parts of z₁
}

struct Mlp {
    rows: u32,       // of the minibatch
    words: u32,      // of an example: its bytes, four to a word
    layers: u32,     // linear layers
    columns: u32,    // outputs of all layers together
    group: u32,      // rows that a workgroup of `middle` takes on a GPU
    list_mask: u32,  // minibatches that `list` holds, less 1
    capacity: u32,   // losses that `history` holds
    learning_rate: f32,
    layer: array<Layer, 8>,
}
