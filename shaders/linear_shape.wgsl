// Sizes of a linear layer. This file precedes the layer's shaders.

struct Shape {
    rows: u32,     // rows of the minibatch
    inputs: u32,
    outputs: u32,
    relu: u32,     // 1: `forward` stores ReLU(y), which is y where y > 0, else 0
    first: u32,    // index of this dispatch's first workgroup, because a long dispatch is split
}

@group(0) @binding(0) var<uniform> shape: Shape;
