// The gradient by the weights for GPUs, as parts of its sums: conv2d_tile.wgsl says how.
//
//   backward_weight   parts[s,o,k] = Σ_{r,i,j} dy[r,o,i,j] · x[r,c,p,q]   over the places (r, i, j) of part s
//
// with k = (c, u, v), and behind those, where the layer has a bias, one whose pixel is always 1. conv2d_parts.wgsl adds the
// parts. What conv2d_tile.wgsl calls positions are the weights k, its columns are the outputs.

// Next of an invocation's places, of which it takes every sixteenth, and what it copies there: four weights' pixels and
// two outputs' gradients.
struct Cursor {
    place: vec3u, // row, y and x
    at: u32,      // its index
    end: u32,
    // Of each weight: its pixel at the place (0, 0) of row 0, with y and x of that; and whether it is the bias.
    pixel: vec4u,
    y: vec4u,
    x: vec4u,
    is_weight: vec4<bool>,
    is_bias: vec4<bool>,
    output: u32,
}

// What a workgroup makes: part, first output, first weight.
fn tile_of(workgroup: u32) -> vec3u {
    let weights = weights_of_output();
    let across = (weights + POSITIONS - 1u) / POSITIONS;
    let tiles = across * ((shape.outputs + COLUMNS - 1u) / COLUMNS);
    return vec3u(workgroup / tiles, workgroup % tiles / across * COLUMNS, workgroup % across * POSITIONS);
}

// Weights of an output, with the bias.
fn weights_of_output() -> u32 {
    return shape.channels * shape.kernel_height * shape.kernel_width + shape.bias;
}

// Places of a part that this dispatch sums.
fn span_of(part: u32) -> vec2u {
    let places = shape.rows * shape.out_height * shape.out_width;
    let begin = min(places, part * shape.share + shape.begin);
    return vec2u(begin, min(places, part * shape.share + shape.end));
}

fn cursor_of(tile: vec3u, span: vec2u, local: u32) -> Cursor {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let weights = shape.channels * of_kernel;
    let k = tile.z + local / SLAB + SIDE * vec4u(0u, 1u, 2u, 3u);
    let channel = k / of_kernel;
    let y = k % of_kernel / shape.kernel_width * shape.dilation_height - shape.padding_height;
    let x = k % of_kernel % shape.kernel_width * shape.dilation_width - shape.padding_width;
    let at = span.x + local % SLAB;
    let is_bias = (k == vec4u(weights)) & vec4<bool>(shape.bias == 1u);
    return Cursor(position(at, shape.out_height, shape.out_width), at, span.y, (channel * shape.height + y) * shape.width + x,
                  y, x, k < vec4u(weights), is_bias, tile.y + local / SLAB);
}

fn left_at(local: u32, e: u32) -> u32 {
    return local % SLAB * LEFT_STEP + local / SLAB + SIDE * e;
}

fn right_at(local: u32, e: u32) -> u32 {
    return local % SLAB * RIGHT_STEP + local / SLAB + SIDE * e;
}

fn fetch(cursor: ptr<function, Cursor>) -> Fetched {
    var next = *cursor;
    var fetched = Fetched();
    if (next.at < next.end) {
        let down = next.place.y * shape.stride_height;
        let along = next.place.z * shape.stride_width;
        let row = next.place.x * shape.channels * shape.height * shape.width;
        for (var e = 0u; e < 4u; e++) {
            if (next.is_weight[e] && next.y[e] + down < shape.height && next.x[e] + along < shape.width) {
                fetched.left[e] = left[row + next.pixel[e] + down * shape.width + along];
            }
        }
        fetched.left = select(fetched.left, vec4f(1.0), next.is_bias);
        let places = shape.out_height * shape.out_width;
        let of_row = next.place.x * shape.outputs * places + next.place.y * shape.out_width + next.place.z;
        for (var e = 0u; e < 2u; e++) {
            let output = next.output + SIDE * e;
            if (output < shape.outputs) {
                fetched.right[e] = right[of_row + output * places];
            }
        }
    }
    // Sixteen on, as an odometer.
    next.at += SLAB;
    next.place.z += SLAB % shape.out_width;
    let over_x = next.place.z >= shape.out_width;
    next.place.z -= select(0u, shape.out_width, over_x);
    next.place.y += SLAB / shape.out_width % shape.out_height + u32(over_x);
    let over_y = next.place.y >= shape.out_height;
    next.place.y -= select(0u, shape.out_height, over_y);
    next.place.x += SLAB / shape.out_width / shape.out_height + u32(over_y);
    *cursor = next;
    return fetched;
}

@compute @workgroup_size(256)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(shape.first + id.x + id.y * count.x);
    let span = span_of(tile.x);
    let slabs = (span.y - span.x + SLAB - 1u) / SLAB;
    let sums = multiply(local, slabs, cursor_of(tile, span, local));
    let weights = weights_of_output();
    for (var i = 0u; i < 4u; i++) {
        let k = tile.z + local % SIDE + SIDE * i;
        for (var j = 0u; j < 2u; j++) {
            let output = tile.y + local / SIDE + SIDE * j;
            if (k < weights && output < shape.outputs) {
                let to = (tile.x * shape.outputs + output) * weights + k;
                if (shape.begin > 0u) {
                    product[to] += sums[j][i];
                } else {
                    product[to] = sums[j][i];
                }
            }
        }
    }
}
