// Sizes of a convolution. This file precedes the convolution's shaders.
//
// An image has the shape (channels, height, width), and its result (outputs, out_height, out_width). With the kernel at
// place (i, j), the weight (u, v) covers the pixel (p, q) with
//
//   p = i·stride_height + u·dilation_height − padding_height,  q = j·stride_width + v·dilation_width − padding_width
//
// Pixels outside of the image count as 0. The shapes are
//
//   x, dx  (rows, channels, height, width)         w, dw  (outputs, channels, kernel_height, kernel_width)
//   y, dy  (rows, outputs, out_height, out_width)

struct Shape {
    rows: u32, // rows of the minibatch
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
    relu: u32,   // 1: `forward` stores ReLU(y), which is y where y > 0, else 0
    bias: u32,   // 1: the layer has a bias; its gradient follows the gradients of the same output's weights
    parts: u32,  // number of parts into which the weight gradient's sum over all places is split
    share: u32,  // places (r, i, j) per part
    begin: u32,  // first place of each part that this dispatch sums; earlier dispatches sum the places before
    end: u32,    // end of the places of each part that this dispatch sums
    first: u32,  // index of this dispatch's first workgroup, because a long dispatch is split
}

@group(0) @binding(0) var<uniform> shape: Shape;
