// The weight gradient of a convolution for GPUs, as partial sums. conv2d_tile.wgsl explains the method.
//
//   backward_weight   parts[s,o,k] = Σ_{r,i,j} dy[r,o,i,j] · x[r,c,p,q]   over the places (r, i, j) of part s
//
// with k = (c, u, v), the index of a weight of an output. A place (r, i, j) is row r of the minibatch with the kernel
// at (i, j). If the layer has a bias, one more k follows, and its pixel is always 1. conv2d_parts.wgsl adds the parts.
// The "positions" of conv2d_tile.wgsl are the weights k here, and its "columns" are the outputs.

// State of an invocation's loads. An invocation takes every 16th place. At each place, it loads the pixels under two
// groups of four weights, eight apart, and the gradients of four outputs.
struct Cursor {
    place: vec3u, // row, y and x
    at: u32,      // index of the place
    end: u32,
    first: Weights,
    second: Weights,
    output: vec4u, // indices of four outputs' gradients at place (i, j) = (0, 0) of row 0
    has_output: vec4<bool>,
}

// Four weights: index, y and x of the pixel under each weight at place (i, j) = (0, 0) of row 0.
struct Weights {
    pixel: vec4u,
    y: vec4u,
    x: vec4u,
    is_weight: vec4<bool>,
    outside: vec4f, // value that replaces a pixel outside of the image: 1 for a bias, else 0
}

struct Fetched {
    first: vec4f,
    second: vec4f,
    right: vec4f,
    in_first: vec4<bool>, // whether the pixel lies within its image
    in_second: vec4<bool>,
    in_right: vec4<bool>,
    beside_first: vec4f, // value that replaces a pixel outside of the image
    beside_second: vec4f,
}

// Returns the part, the first output and the first weight of a workgroup's tile.
fn tile_of(workgroup: u32) -> vec3u {
    let weights = weights_of_output();
    let across = (weights + POSITIONS - 1u) / POSITIONS;
    let tiles = across * ((shape.outputs + COLUMNS - 1u) / COLUMNS);
    return vec3u(workgroup / tiles, workgroup % tiles / across * COLUMNS, workgroup % across * POSITIONS);
}

// Number of weights per output, including the bias.
fn weights_of_output() -> u32 {
    return shape.channels * shape.kernel_height * shape.kernel_width + shape.bias;
}

// Returns begin and end of the places that this dispatch sums for a part.
fn span_of(part: u32) -> vec2u {
    let places = shape.rows * shape.out_height * shape.out_width;
    let begin = min(places, part * shape.share + shape.begin);
    return vec2u(begin, min(places, part * shape.share + shape.end));
}

fn weights_from(k: vec4u) -> Weights {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let weights = shape.channels * of_kernel;
    let y = k % of_kernel / shape.kernel_width * shape.dilation_height - shape.padding_height;
    let x = k % of_kernel % shape.kernel_width * shape.dilation_width - shape.padding_width;
    return Weights((k / of_kernel * shape.height + y) * shape.width + x, y, x, k < vec4u(weights),
                   select(vec4f(), vec4f(1.0), (k == vec4u(weights)) & vec4<bool>(shape.bias == 1u)));
}

fn cursor_of(tile: vec3u, span: vec2u, local: u32) -> Cursor {
    let at = span.x + local % SLAB;
    let k = tile.z + local / SLAB;
    let output = four_columns(tile.y + local / SLAB);
    return Cursor(position(at, shape.out_height, shape.out_width), at, span.y, weights_from(four_positions(k)),
                  weights_from(four_positions(k + ACROSS)), output * shape.out_height * shape.out_width,
                  output < vec4u(shape.outputs));
}

// For four weights at one place: the indices of the pixels to load, and whether each pixel lies within its image.
struct Pixels {
    at: vec4u,
    is_inside: vec4<bool>,
}

fn pixels_of(weights: Weights, cursor: Cursor) -> Pixels {
    let down = cursor.place.y * shape.stride_height;
    let along = cursor.place.z * shape.stride_width;
    let is_inside = weights.is_weight & (weights.y + down < vec4u(shape.height)) & (weights.x + along < vec4u(shape.width))
        & vec4<bool>(cursor.at < cursor.end);
    let step = (cursor.place.x * shape.channels * shape.height + down) * shape.width + along;
    return Pixels(select(vec4u(), weights.pixel + step, is_inside), is_inside);
}

// Loads the next slab. No loaded value is used before `put`, so all loads are in flight while the current slab is
// multiplied.
fn fetch(cursor: ptr<function, Cursor>) -> Fetched {
    var next = *cursor;
    let first = pixels_of(next.first, next);
    let second = pixels_of(next.second, next);
    let has_output = next.has_output & vec4<bool>(next.at < next.end);
    let pixels = shape.out_height * shape.out_width;
    let step = next.place.x * shape.outputs * pixels + next.place.y * shape.out_width + next.place.z;
    let output = select(vec4u(), next.output + step, has_output);
    let fetched = Fetched(
        vec4f(left[first.at.x], left[first.at.y], left[first.at.z], left[first.at.w]),
        vec4f(left[second.at.x], left[second.at.y], left[second.at.z], left[second.at.w]),
        vec4f(right[output.x], right[output.y], right[output.z], right[output.w]),
        first.is_inside, second.is_inside, has_output, next.first.outside, next.second.outside,
    );
    // Advance by 16 places: x carries over into y, and y into the row, as digits do in an addition.
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

fn put(local: u32, fetched: Fetched) {
    let to = local % SLAB * LEFT_PITCH + local / SLAB;
    left_tile[to] = select(fetched.beside_first, fetched.first, fetched.in_first);
    left_tile[to + ACROSS] = select(fetched.beside_second, fetched.second, fetched.in_second);
    right_tile[local % SLAB * RIGHT_PITCH + local / SLAB] = select(vec4f(), fetched.right, fetched.in_right);
}

fn store_four(to: vec4u, is_weight: vec4<bool>, sums: vec4f) {
    if (is_weight.x) { store(to.x, sums.x); }
    if (is_weight.y) { store(to.y, sums.y); }
    if (is_weight.z) { store(to.z, sums.z); }
    if (is_weight.w) { store(to.w, sums.w); }
}

// Stores a sum; if earlier dispatches have summed other places of the part, adds it to their sum.
fn store(to: u32, sum: f32) {
    if (shape.begin > 0u) {
        product[to] += sum;
    } else {
        product[to] = sum;
    }
}

@compute @workgroup_size(128)
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
    let k = four_positions(tile.z + local % DOWN);
    let is_weight = k < vec4u(weights);
    let output = four_columns(tile.y + local / DOWN);
    let first = tile.x * shape.outputs;
    if (output.x < shape.outputs) { store_four((first + output.x) * weights + k, is_weight, sums[0]); }
    if (output.y < shape.outputs) { store_four((first + output.y) * weights + k, is_weight, sums[1]); }
    if (output.z < shape.outputs) { store_four((first + output.z) * weights + k, is_weight, sums[2]); }
    if (output.w < shape.outputs) { store_four((first + output.w) * weights + k, is_weight, sums[3]); }
}
