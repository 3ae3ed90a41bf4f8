// Sizes of a convolution. This file precedes its shaders.
//
// An image is (channels, height, width); its result is (outputs, out_height, out_width). With the kernel at place
// (i, j), the weight (u, v) covers the pixel
//
//   p = i·stride_height + u·dilation_height − padding_height,  q = j·stride_width + v·dilation_width − padding_width
//
// which is 0 outside of the image. So shapes are
//
//   x, dx  (rows, channels, height, width)         w, dw  (outputs, channels, kernel_height, kernel_width)
//   y, dy  (rows, outputs, out_height, out_width)

struct Shape {
    rows: u32, // of the minibatch
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
    bias: u32,   // 1: the layer has a bias, whose gradient follows those of an output's weights
    parts: u32,  // parts of the sum over all places in the gradient by the weights
    share: u32,  // places (r, i, j) per part
    begin: u32,  // places of each part that earlier dispatches have summed
    end: u32,    // places of each part that are summed after this dispatch
    first: u32,  // number of this dispatch's first workgroup: a long dispatch is split
}

@group(0) @binding(0) var<uniform> shape: Shape;
