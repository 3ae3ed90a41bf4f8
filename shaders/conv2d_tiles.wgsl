// The products of conv2d_view.wgsl for GPUs: conv2d_tile.wgsl says how. The summed dimension is (d, u, v): channels of the
// images that are summed, and places of the kernel.

@group(0) @binding(4) var<storage, read> bias: array<f32>; // (1, outputs), of forward

// Next of an invocation's elements, and where they lie: its position's, every fourth (d, u, v), and those of the weights of
// two columns, every sixteenth.
struct Cursor {
    view: View,
    is_position: bool,
    row: u32,
    y: vec2u,
    x: vec2u,
    d: u32,
    u: u32,
    v: u32,
    column: u32,
    of_weight: vec2u, // d, and its place in the kernel
}

fn first_column(workgroup: u32, view: View) -> u32 {
    return workgroup % ((view.columns + COLUMNS - 1u) / COLUMNS) * COLUMNS;
}

fn first_position(workgroup: u32, view: View) -> u32 {
    return workgroup / ((view.columns + COLUMNS - 1u) / COLUMNS) * POSITIONS;
}

fn cursor_of(workgroup: u32, local: u32, view: View) -> Cursor {
    let of_kernel = shape.kernel_height * shape.kernel_width;
    let at = first_position(workgroup, view) + local % POSITIONS;
    let place = position(at, view.height, view.width);
    let y = origin(place.y, shape.stride_height, shape.padding_height, view.is_gradient);
    let x = origin(place.z, shape.stride_width, shape.padding_width, view.is_gradient);
    let first = local / POSITIONS;
    let weight = first % of_kernel;
    let column = first_column(workgroup, view) + local / SLAB;
    let of_weight = vec2u(local % SLAB / of_kernel, local % SLAB % of_kernel);
    return Cursor(view, place.x < shape.rows, place.x * view.row, y, x, first / of_kernel, weight / shape.kernel_width,
                  weight % shape.kernel_width, column, of_weight);
}

fn left_at(local: u32, e: u32) -> u32 {
    return (local / POSITIONS + 4u * e) * LEFT_STEP + local % POSITIONS;
}

fn right_at(local: u32, e: u32) -> u32 {
    return local % SLAB * RIGHT_STEP + local / SLAB + SIDE * e;
}

fn fetch(cursor: ptr<function, Cursor>) -> Fetched {
    var next = *cursor;
    let view = next.view;
    let of_kernel = shape.kernel_height * shape.kernel_width;
    var fetched = Fetched();
    for (var e = 0u; e < 4u; e++) {
        let down = shift(next.u, shape.dilation_height, shape.stride_height, view.is_gradient);
        let along = shift(next.v, shape.dilation_width, shape.stride_width, view.is_gradient);
        let p = next.y.x + down.x;
        let q = next.x.x + along.x;
        let is_inside = (p < view.from_height) & (q < view.from_width) & (next.y.y == down.y) & (next.x.y == along.y);
        if (is_inside && next.is_position && next.d < view.depth) {
            fetched.left[e] = left[next.row + (next.d * view.from_height + p) * view.from_width + q];
        }
        // Four on, as an odometer.
        next.v += 4u % of_kernel % shape.kernel_width;
        let over_v = next.v >= shape.kernel_width;
        next.v -= select(0u, shape.kernel_width, over_v);
        next.u += 4u % of_kernel / shape.kernel_width + u32(over_v);
        let over_u = next.u >= shape.kernel_height;
        next.u -= select(0u, shape.kernel_height, over_u);
        next.d += 4u / of_kernel + u32(over_u);
    }
    for (var e = 0u; e < 2u; e++) {
        let column = next.column + SIDE * e;
        if (column < view.columns && next.of_weight.x < view.depth) {
            fetched.right[e] = right[next.of_weight.x * view.depth_step + column * view.column_step + next.of_weight.y];
        }
    }
    let weight = next.of_weight.y + SLAB % of_kernel;
    let over = weight >= of_kernel;
    next.of_weight = vec2u(next.of_weight.x + SLAB / of_kernel + u32(over), weight - select(0u, of_kernel, over));
    *cursor = next;
    return fetched;
}

fn store(workgroup: u32, local: u32, view: View, sums: Sums) {
    let pixels = view.height * view.width;
    for (var i = 0u; i < 4u; i++) {
        let at = first_position(workgroup, view) + local % SIDE + SIDE * i;
        let to = at / pixels * view.columns * pixels + at % pixels;
        for (var j = 0u; j < 2u; j++) {
            let column = first_column(workgroup, view) + local / SIDE + SIDE * j;
            if (at < shape.rows * pixels && column < view.columns) {
                product[to + column * pixels] = sums[j][i];
            }
        }
    }
}

fn slabs(view: View) -> u32 {
    return (view.depth * shape.kernel_height * shape.kernel_width + SLAB - 1u) / SLAB;
}

@compute @workgroup_size(256)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let view = forward_view(shape.channels * shape.height * shape.width);
    var sums = multiply(local, slabs(view), cursor_of(workgroup, local, view));
    for (var j = 0u; j < 2u; j++) {
        let column = first_column(workgroup, view) + local / SIDE + SIDE * j;
        let sum = sums[j] + bias[min(column, shape.outputs - 1u)];
        sums[j] = select(sum, vec4f(), (sum <= vec4f()) & vec4<bool>(shape.relu == 1u));
    }
    store(workgroup, local, view, sums);
}

@compute @workgroup_size(256)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let view = backward_view();
    store(workgroup, local, view, multiply(local, slabs(view), cursor_of(workgroup, local, view)));
}
