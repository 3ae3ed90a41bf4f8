// The products of conv2d_view.wgsl for GPUs. conv2d_tile.wgsl explains the method. The summed dimension is (d, u, v): d
// is the channel of the summed images, u the row and v the column of the kernel.

@group(0) @binding(4) var<storage, read> bias: array<f32>; // (1, outputs), used by forward

// An index of the summed dimension.
struct Walk {
    d: u32,
    u: u32,
    v: u32,
}

// State of an invocation's loads. From each slab, it loads the elements of four positions at two indices of the summed
// dimension, eight apart, and the weights of four columns at one index.
struct Cursor {
    view: View,
    pixel: vec4u, // index of the element under the first weight of the kernel
    y: vec4u,     // the element's y; NOWHERE if the position does not exist
    x: vec4u,
    y_left: vec4u, // remainders of y and x divided by the stride
    x_left: vec4u,
    first: Walk,
    second: Walk,
    weight: vec4u, // index of each column's weight at (d, u, v) = (0, 0, 0)
    has_column: vec4<bool>,
    of_weight: vec2u, // d, and the weight's index in the kernel
}

struct Fetched {
    first: vec4f,
    second: vec4f,
    right: vec4f,
    in_first: vec4<bool>, // whether the element lies within its image
    in_second: vec4<bool>,
    in_right: vec4<bool>,
}

// A y past the last row of every image, even after a kernel's offset is added or subtracted.
const NOWHERE = 1u << 30u;

struct Origins {
    at: vec4u,
    left: vec4u,
}

// For four positions, along one axis: returns the coordinates of the source elements under the first weight of the
// kernel, and the remainders of the division by the stride (0 in the forward pass).
fn origins(at: vec4u, stride: u32, padding: u32, is_gradient: bool) -> Origins {
    let is_gradients = vec4<bool>(is_gradient);
    return Origins(select(at * stride - padding, (at + padding) / stride, is_gradients),
                   select(vec4u(), (at + padding) % stride, is_gradients));
}

fn first_column(workgroup: u32, view: View) -> u32 {
    return workgroup % ((view.columns + COLUMNS - 1u) / COLUMNS) * COLUMNS;
}

fn first_position(workgroup: u32, view: View) -> u32 {
    return workgroup / ((view.columns + COLUMNS - 1u) / COLUMNS) * POSITIONS;
}

fn walk_from(k: u32) -> Walk {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let weight = k % of_kernel;
    return Walk(k / of_kernel, weight / shape.kernel_width, weight % shape.kernel_width);
}

// Returns the index one slab further: v carries over into u, and u into d, as digits do in an addition.
fn slab_on(from_: Walk) -> Walk {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let v = from_.v + SLAB % of_kernel % shape.kernel_width;
    let over_v = v >= shape.kernel_width;
    let u = from_.u + SLAB % of_kernel / shape.kernel_width + u32(over_v);
    let over_u = u >= shape.kernel_height;
    return Walk(from_.d + SLAB / of_kernel + u32(over_u), u - select(0u, shape.kernel_height, over_u),
                v - select(0u, shape.kernel_width, over_v));
}

fn cursor_of(workgroup: u32, local: u32, view: View) -> Cursor {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let at = four_positions(first_position(workgroup, view) + local % DOWN);
    let row = at / view.width / view.height;
    let height = at / view.width % view.height;
    let width = at % view.width;
    let y = origins(height, shape.stride_height, shape.padding_height, view.is_gradient);
    let x = origins(width, shape.stride_width, shape.padding_width, view.is_gradient);
    let pixel = row * view.row + y.at * view.from_width + x.at;
    let column = four_columns(first_column(workgroup, view) + local / SLAB);
    return Cursor(view, pixel, select(vec4u(NOWHERE), y.at, row < vec4u(shape.rows)), x.at, y.left, x.left,
                  walk_from(local / DOWN), walk_from(local / DOWN + SLAB / 2u), column * view.column_step,
                  column < vec4u(view.columns), vec2u(local % SLAB / of_kernel, local % SLAB % of_kernel));
}

// For four positions and one index of the summed dimension: the indices of the elements to load, and whether each
// element lies within its image.
struct Elements {
    at: vec4u,
    is_inside: vec4<bool>,
}

fn elements_of(cursor: Cursor, walk: Walk) -> Elements {
    let view = cursor.view;
    let down = shift(walk.u, shape.dilation_height, shape.stride_height, view.is_gradient);
    let along = shift(walk.v, shape.dilation_width, shape.stride_width, view.is_gradient);
    let is_inside = (cursor.y + down.x < vec4u(view.from_height)) & (cursor.x + along.x < vec4u(view.from_width))
        & (cursor.y_left == vec4u(down.y)) & (cursor.x_left == vec4u(along.y)) & vec4<bool>(walk.d < view.depth);
    let step = (walk.d * view.from_height + down.x) * view.from_width + along.x;
    return Elements(select(vec4u(), cursor.pixel + step, is_inside), is_inside);
}

// Loads the next slab. No loaded value is used before `put`, so all loads are in flight while the current slab is
// multiplied.
fn fetch(cursor: ptr<function, Cursor>) -> Fetched {
    var next = *cursor;
    let first = elements_of(next, next.first);
    let second = elements_of(next, next.second);
    let has_weight = next.has_column & vec4<bool>(next.of_weight.x < next.view.depth);
    let weight = select(vec4u(), next.weight + next.of_weight.x * next.view.depth_step + next.of_weight.y, has_weight);
    let fetched = Fetched(
        vec4f(left[first.at.x], left[first.at.y], left[first.at.z], left[first.at.w]),
        vec4f(left[second.at.x], left[second.at.y], left[second.at.z], left[second.at.w]),
        vec4f(right[weight.x], right[weight.y], right[weight.z], right[weight.w]),
        first.is_inside, second.is_inside, has_weight,
    );
    next.first = slab_on(next.first);
    next.second = slab_on(next.second);
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let place = next.of_weight.y + SLAB % of_kernel;
    let over = place >= of_kernel;
    next.of_weight = vec2u(next.of_weight.x + SLAB / of_kernel + u32(over), place - select(0u, of_kernel, over));
    *cursor = next;
    return fetched;
}

fn put(local: u32, fetched: Fetched) {
    let to = local / DOWN * LEFT_PITCH + local % DOWN;
    left_tile[to] = select(vec4f(), fetched.first, fetched.in_first);
    left_tile[to + SLAB / 2u * LEFT_PITCH] = select(vec4f(), fetched.second, fetched.in_second);
    right_tile[local % SLAB * RIGHT_PITCH + local / SLAB] = select(vec4f(), fetched.right, fetched.in_right);
}

fn store_four(to: vec4u, is_position: vec4<bool>, sums: vec4f) {
    if (is_position.x) { product[to.x] = sums.x; }
    if (is_position.y) { product[to.y] = sums.y; }
    if (is_position.z) { product[to.z] = sums.z; }
    if (is_position.w) { product[to.w] = sums.w; }
}

fn store(workgroup: u32, local: u32, view: View, sums: mat4x4f) {
    let pixels = view.height * view.width;
    let at = four_positions(first_position(workgroup, view) + local % DOWN);
    let is_position = at < vec4u(shape.rows * pixels);
    let to = at / pixels * view.columns * pixels + at % pixels;
    let column = four_columns(first_column(workgroup, view) + local / DOWN);
    if (column.x < view.columns) { store_four(to + column.x * pixels, is_position, sums[0]); }
    if (column.y < view.columns) { store_four(to + column.y * pixels, is_position, sums[1]); }
    if (column.z < view.columns) { store_four(to + column.z * pixels, is_position, sums[2]); }
    if (column.w < view.columns) { store_four(to + column.w * pixels, is_position, sums[3]); }
}

fn slabs(view: View) -> u32 {
    return (view.depth * shape.kernel_height * shape.kernel_width + SLAB - 1u) / SLAB;
}

fn with_bias(sums: vec4f, column: u32) -> vec4f {
    let sum = sums + bias[min(column, shape.outputs - 1u)];
    return select(sum, rectified_four(sum), shape.relu == 1u);
}

@compute @workgroup_size(128)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let view = forward_view(shape.channels * shape.height * shape.width);
    let sums = multiply(local, slabs(view), cursor_of(workgroup, local, view));
    let column = four_columns(first_column(workgroup, view) + local / DOWN);
    store(workgroup, local, view, mat4x4f(with_bias(sums[0], column.x), with_bias(sums[1], column.y),
                                          with_bias(sums[2], column.z), with_bias(sums[3], column.w)));
}

@compute @workgroup_size(128)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let view = backward_view();
    store(workgroup, local, view, multiply(local, slabs(view), cursor_of(workgroup, local, view)));
}
