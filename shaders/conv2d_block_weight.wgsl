// The weight gradient of a convolution for lavapipe, as partial sums:
//
//   backward_weight   parts[s,o,k] = Σ_{r,i,j} dy[r,o,i,j] · x[r,c,p,q]   over the places (r, i, j) of part s
//
// with k = (c, u, v), the index of a weight of an output. A place (r, i, j) is row r of the minibatch with the kernel
// at (i, j). If the layer has a bias, one more k follows, and its pixel is always 1. conv2d_parts.wgsl adds the parts.
// As in conv2d_block.wgsl, each invocation computes a block of sums, here of WEIGHTS × OUTPUTS.

const WEIGHTS = 13u;
const OUTPUTS = 16u;

fn weight_block(workgroup: u32, local: u32, row: u32, scale: f32) {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let columns = shape.channels * of_kernel + shape.bias;
    let across = (columns + WEIGHTS - 1u) / WEIGHTS;
    let output_blocks = (shape.outputs + OUTPUTS - 1u) / OUTPUTS;
    let index = workgroup * LANES + local;
    let part = index % shape.parts;
    let block = index / shape.parts;
    let first = block % across * WEIGHTS;
    let output = block / across * OUTPUTS;
    if (output >= shape.outputs) {
        return;
    }
    // For each weight: index, y and x of the pixel that it covers with the kernel at (0, 0), in row 0 of the minibatch.
    var at: array<u32, WEIGHTS>;
    var y: array<u32, WEIGHTS>;
    var x: array<u32, WEIGHTS>;
    for (var k = 0u; k < WEIGHTS; k++) {
        let weight = min(first + k, shape.channels * of_kernel - 1u);
        let of_channel = weight % of_kernel;
        y[k] = of_channel / shape.kernel_width * shape.dilation_height - shape.padding_height;
        x[k] = of_channel % shape.kernel_width * shape.dilation_width - shape.padding_width;
        at[k] = (weight / of_kernel * shape.height + y[k]) * shape.width + x[k];
    }
    let places = shape.out_height * shape.out_width;
    var of_output: array<u32, OUTPUTS>;
    for (var o = 0u; o < OUTPUTS; o++) {
        of_output[o] = min(output + o, shape.outputs - 1u) * places;
    }
    let begin = part * shape.share + shape.begin;
    let end = min(shape.rows * places, part * shape.share + shape.end);
    var place = position(begin, shape.out_height, shape.out_width);
    var sums: array<array<f32, OUTPUTS>, WEIGHTS>;
    for (var n = begin; n < end; n++) {
        let dy = place.x * shape.outputs * places + place.y * shape.out_width + place.z;
        var gradients: array<f32, OUTPUTS>;
        for (var o = 0u; o < OUTPUTS; o++) {
            gradients[o] = right[of_output[o] + dy];
        }
        let down = place.y * shape.stride_height;
        let along = place.z * shape.stride_width;
        let moved = place.x * row + down * shape.width + along;
        for (var k = 0u; k < WEIGHTS; k++) {
            let is_inside = (y[k] + down < shape.height) & (x[k] + along < shape.width);
            let read = select(0.0, pixel(select(0u, at[k] + moved, is_inside)), is_inside);
            let value = select(read, scale, first + k == columns - shape.bias);
            for (var o = 0u; o < OUTPUTS; o++) {
                sums[k][o] += value * gradients[o];
            }
        }
        place.z += 1u;
        if (place.z == shape.out_width) {
            place = vec3u(place.x, place.y + 1u, 0u);
        }
        if (place.y == shape.out_height) {
            place = vec3u(place.x + 1u, 0u, place.z);
        }
    }
    for (var k = 0u; k < WEIGHTS; k++) {
        for (var o = 0u; o < OUTPUTS; o++) {
            if (first + k < columns && output + o < shape.outputs) {
                let to = (part * shape.outputs + output + o) * columns + first + k;
                let sum = sums[k][o] / scale;
                if (shape.begin > 0u) {
                    product[to] += sum;
                } else {
                    product[to] = sum;
                }
            }
        }
    }
}
