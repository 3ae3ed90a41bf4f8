// What the products have in common whose sums run along the kernel. Each makes images out of images:
//
//   forward          y[r,o,i,j]  = b[o] + Σ_{c,u,v} w[o,c,u,v] · x[r,c,p,q]
//   backward_input   dx[r,c,p,q] = Σ_{o,u,v} w[o,c,u,v] · dy[r,o,i,j]   over the places (i, j) whose weight (u, v) covers (p, q)

struct View {
    height: u32,      // of the images that are made
    width: u32,
    columns: u32,     // channels of those images
    from_height: u32, // of the images that are summed
    from_width: u32,
    depth: u32,       // channels of those images
    row: u32,         // elements of a row of them
    column_step: u32, // from a weight to that of the next column
    depth_step: u32,  // from a weight to that of the next summed channel
    is_gradient: bool,
}

fn forward_view(row: u32) -> View {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    return View(shape.out_height, shape.out_width, shape.outputs, shape.height, shape.width, shape.channels, row,
                shape.channels * of_kernel, of_kernel, false);
}

fn backward_view() -> View {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let row = shape.outputs * shape.out_height * shape.out_width;
    return View(shape.height, shape.width, shape.channels, shape.out_height, shape.out_width, shape.outputs, row,
                of_kernel, shape.channels * of_kernel, true);
}

// How far a weight lies from the first one, which is added to an origin: a position has an element there if what is left
// of a stride is the same. What is above or left of an image wraps around, to far more than there is.
fn shift(weight: u32, dilation: u32, stride: u32, is_gradient: bool) -> vec2u {
    let distance = weight * dilation;
    let of_gradient = vec2u(0u - distance / stride, distance % stride);
    return select(vec2u(distance, 0u), of_gradient, is_gradient);
}
