// Sizes of a convolution. They stand before its shaders.
//
// An image is (channels, height, width), what becomes of it (outputs, out_height, out_width). Place (i, j) of the kernel
// covers, with its weight (u, v), the pixel
//
//   p = i·stride_height + u·dilation_height − padding_height,  q = j·stride_width + v·dilation_width − padding_width
//
// which is 0 outside of the image.

struct Shape {
    rows: u32, // of the batch
    channels: u32,
    height: u32,
    width: u32,
    outputs: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_height: u32,
    padding_width: u32,
    dilation_height: u32,
    dilation_width: u32,
    relu: u32,   // 1: `forward` stores what a ReLU makes of y, which is y where y > 0, else 0
    bias: u32,   // 1: the layer has a bias, whose gradient stands behind those of an output's weights
    parts: u32,  // of the sum over all places that a gradient by the weights is
    share: u32,  // places (r, i, j) of a part
    begin: u32,  // those of each part that earlier dispatches have summed
    end: u32,    // those of each part that are summed behind this dispatch
    first: u32,  // workgroup that is the first of this dispatch: a long one is several
}

@group(0) @binding(0) var<uniform> shape: Shape;
