// The windows of pooling layers. Each channel of each row of the minibatch is a plane of pixels. This file precedes the
// pooling shaders.
//
// Window (i, j) of a plane starts at row i·stride.x − padding.x and column j·stride.y − padding.y. It has kernel.x rows
// and kernel.y columns of pixels, without those outside of the image. Each window covers at least one pixel of the
// image.

struct Shape {
    image: vec2u,   // height and width of a plane of x
    output: vec2u,  // height and width of a plane of y, which has one pixel per window
    kernel: vec2u,
    stride: vec2u,
    padding: vec2u,
    elements: u32,  // number of invocations that compute something
    relu: u32,      // 1: in max pooling, dx is the gradient with respect to the input of the ReLU before the layer
}

@group(0) @binding(0) var<uniform> shape: Shape;

// Returns plane, row and column of an element. `extents` are height and width of the planes.
fn place_of(element: u32, extents: vec2u) -> vec3u {
    let line = element / extents.y;
    let plane = line / extents.x;
    return vec3u(plane, line - plane * extents.x, element - line * extents.y);
}

// Returns the index of the first pixel in a row of a plane.
fn line_of(plane: u32, row: u32, extents: vec2u) -> u32 {
    return (plane * extents.x + row) * extents.y;
}

struct Range {
    first: vec2u,
    end: vec2u,
}

// Returns the pixels of the image that a window covers.
fn pixels_of(window: vec2u) -> Range {
    let corner = window * shape.stride; // upper left corner, counted in the image with its padding
    let first = max(corner, shape.padding) - shape.padding;
    return Range(first, min(corner + shape.kernel, shape.image + shape.padding) - shape.padding);
}

// Returns the windows that cover a pixel.
fn windows_of(pixel: vec2u) -> Range {
    let padded = pixel + shape.padding;
    let behind = (padded - shape.kernel) / shape.stride + 1u; // number of windows that end before the pixel
    let first = select(behind, vec2u(), padded < shape.kernel);
    return Range(first, min(padded / shape.stride + 1u, shape.output));
}
