// Common code of the products that sum over the kernel. Each product computes images from images:
//
//   forward          y[r,o,i,j]  = b[o] + Σ_{c,u,v} w[o,c,u,v] · x[r,c,p,q]
//   backward_input   dx[r,c,p,q] = Σ_{o,u,v} w[o,c,u,v] · dy[r,o,i,j]
//                    over the places (i, j) whose weight (u, v) covers (p, q)

struct View {
    height: u32,      // height of the computed images
    width: u32,
    columns: u32,     // channels of the computed images
    from_height: u32, // height of the summed images
    from_width: u32,
    depth: u32,       // channels of the summed images
    row: u32,         // elements per row of the summed images
    column_step: u32, // stride from a weight to the same weight of the next column
    depth_step: u32,  // stride from a weight to the same weight of the next summed channel
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

// Along one axis: returns the distance of a weight from the first weight of the kernel, and the remainder of the
// division by the stride. Callers add the distance to the result of `origin` or `origins`. A position has an element
// under the weight if the position's remainder equals the weight's remainder. Coordinates above or left of an image
// wrap around to huge numbers, which are outside of the image.
fn shift(weight: u32, dilation: u32, stride: u32, is_gradient: bool) -> vec2u {
    let distance = weight * dilation;
    let of_gradient = vec2u(0u - distance / stride, distance % stride);
    return select(vec2u(distance, 0u), of_gradient, is_gradient);
}
