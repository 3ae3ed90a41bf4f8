// The weight gradient of a convolution for SwiftShader, in blocks of 8 weights × 8 outputs. conv2d_block_weight.wgsl
// has the formula and defines the parts of the sums.

// For four weights: index, y and x of the pixel under each weight with the kernel at (0, 0), in row 0 of the minibatch.
struct Weights {
    at: vec4u,
    y: vec4u,
    x: vec4u,
    is_bias: vec4<bool>,
}

// Four weights from `first` on. Weights past the last one are clamped to it.
fn weights_of(first: u32) -> Weights {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let last = shape.channels * of_kernel - 1u;
    let weight = min(first + FOUR, vec4u(last));
    let of_channel = weight % of_kernel;
    let y = of_channel / shape.kernel_width * shape.dilation_height - shape.padding_height;
    let x = of_channel % shape.kernel_width * shape.dilation_width - shape.padding_width;
    let at = (weight / of_kernel * shape.height + y) * shape.width + x;
    return Weights(at, y, x, first + FOUR == vec4u(last + 1u));
}

// Loads the pixels under four weights at one place. The pixels of this place have indices that are larger by `moved`
// than those of place (0, 0) of row 0.
fn load_under(weights: Weights, down: u32, along: u32, moved: u32) -> vec4f {
    let is_inside = (weights.y + down < vec4u(shape.height)) & (weights.x + along < vec4u(shape.width));
    let at = select(vec4u(), weights.at + moved, is_inside);
    let read = select(vec4f(), load_left(at), is_inside);
    return select(read, vec4f(1.0), weights.is_bias);
}

fn store_sum(to: u32, sum: f32, is_there: bool) {
    if (is_there) {
        if (shape.begin > 0u) {
            product[to] += sum;
        } else {
            product[to] = sum;
        }
    }
}

// Stores the sums of one weight and four outputs. The sum of the first output is stored at index `at`.
fn store_weight(at: u32, is_there: bool, output: u32, columns: u32, sums: vec4f) {
    store_sum(at, sums.x, is_there && output < shape.outputs);
    store_sum(at + columns, sums.y, is_there && output + 1u < shape.outputs);
    store_sum(at + 2u * columns, sums.z, is_there && output + 2u < shape.outputs);
    store_sum(at + 3u * columns, sums.w, is_there && output + 3u < shape.outputs);
}

fn store_weights(part: u32, weight: u32, output: u32, columns: u32, sums: mat4x4f) {
    let at = (part * shape.outputs + output) * columns + weight;
    store_weight(at, weight < columns, output, columns, sums[0]);
    store_weight(at + 1u, weight + 1u < columns, output, columns, sums[1]);
    store_weight(at + 2u, weight + 2u < columns, output, columns, sums[2]);
    store_weight(at + 3u, weight + 3u < columns, output, columns, sums[3]);
}

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let columns = shape.channels * shape.kernel_height * shape.kernel_width + shape.bias;
    let across = (columns + SIDE - 1u) / SIDE;
    let index = (shape.first + id.x + id.y * count.x) * LANES + local;
    let part = index % shape.parts;
    let block = index / shape.parts;
    let weight = block % across * SIDE;
    let output = block / across * SIDE;
    if (output >= shape.outputs) {
        return;
    }
    let upper = weights_of(weight);
    let lower = weights_of(weight + 4u);
    let places = shape.out_height * shape.out_width;
    let near = min(output + FOUR, vec4u(shape.outputs - 1u)) * places;
    let far = min(output + 4u + FOUR, vec4u(shape.outputs - 1u)) * places;
    let begin = part * shape.share + shape.begin;
    let end = min(shape.rows * places, part * shape.share + shape.end);
    var place = position(begin, shape.out_height, shape.out_width);
    var sums = Sums();
    for (var n = begin; n < end; n++) {
        let dy = place.x * shape.outputs * places + place.y * shape.out_width + place.z;
        let down = place.y * shape.stride_height;
        let along = place.z * shape.stride_width;
        let moved = place.x * shape.channels * shape.height * shape.width + down * shape.width + along;
        let first = load_under(upper, down, along, moved);
        let second = load_under(lower, down, along, moved);
        let left = load_right(near + dy);
        let others = load_right(far + dy);
        sums = Sums(
            sums.upper_left + outer(first, left),
            sums.upper_right + outer(first, others),
            sums.lower_left + outer(second, left),
            sums.lower_right + outer(second, others),
        );
        let line_ends = place.z + 1u == shape.out_width;
        let image_ends = line_ends && place.y + 1u == shape.out_height;
        place = vec3u(
            place.x + select(0u, 1u, image_ends),
            select(place.y + select(0u, 1u, line_ends), 0u, image_ends),
            select(place.z + 1u, 0u, line_ends),
        );
    }
    store_weights(part, weight, output, columns, sums.upper_left);
    store_weights(part, weight, output + 4u, columns, sums.upper_right);
    store_weights(part, weight + 4u, output, columns, sums.lower_left);
    store_weights(part, weight + 4u, output + 4u, columns, sums.lower_right);
}
