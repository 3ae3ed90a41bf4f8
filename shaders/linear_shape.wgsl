// Sizes of a linear layer. They stand before its shaders.

struct Shape {
    rows: u32,     // of the batch
    inputs: u32,
    outputs: u32,
    relu: u32,     // 1: `forward` stores what a ReLU makes of y, which is y where y > 0, else 0
    first: u32,    // workgroup of the product that is the first of this dispatch: a long one is several
}

@group(0) @binding(0) var<uniform> shape: Shape;
