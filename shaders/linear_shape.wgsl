// Sizes of a linear layer. This file precedes its shaders.

struct Shape {
    rows: u32,     // of the minibatch
    inputs: u32,
    outputs: u32,
    relu: u32,     // 1: `forward` stores ReLU(y), which is y where y > 0, else 0
    first: u32,    // number of this dispatch's first workgroup: a long dispatch is split
}

@group(0) @binding(0) var<uniform> shape: Shape;
