// The products of linear_product.wgsl for the software driver SwiftShader, without workgroup memory and barriers.
// software_vectors.wgsl, which precedes this file, explains why each sum is a variable with a name.
//
// Each invocation computes a block of 8×8 sums, and loads 8 + 8 values for 64 products.

const SIDE = 8u;

// Eight neighboring lines, rows of `left` or columns of `right`. Places has the indices of the lines. Values has one
// element of each line, at the same index of the summed dimension.
struct Places {
    near: vec4u,
    far: vec4u,
}

struct Values {
    near: vec4f,
    far: vec4f,
}

// Sums of a block. A column of a matrix has the sums of one row.
struct Sums {
    upper_left: mat4x4f,
    upper_right: mat4x4f,
    lower_left: mat4x4f,
    lower_right: mat4x4f,
}

// Row and column of a block's first output.
struct Block {
    row: u32,
    column: u32,
}

fn block_of(index: u32, columns: u32) -> Block {
    let across = (columns + SIDE - 1u) / SIDE;
    return Block(index / across * SIDE, index % across * SIDE);
}

// Returns eight lines from `first` on. Lines past the last line are clamped to it; their outputs are not stored.
fn places_of(first: u32, lines: u32) -> Places {
    return Places(min(first + FOUR, vec4u(lines - 1u)), min(first + 4u + FOUR, vec4u(lines - 1u)));
}

fn load_left(at: vec4u) -> vec4f {
    return vec4f(left[at.x], left[at.y], left[at.z], left[at.w]);
}

fn load_right(at: vec4u) -> vec4f {
    return vec4f(right[at.x], right[at.y], right[at.z], right[at.w]);
}

// Computes the sums of one block of left·right. The sums of a column start with the column's value in `start`.
fn multiply(block: Block, a: View, b: View, start: Values) -> Sums {
    let rows = places_of(block.row, a.rows);
    let columns = places_of(block.column, b.columns);
    let upper = rows.near * a.row_step;
    let lower = rows.far * a.row_step;
    let near = columns.near * b.column_step;
    let far = columns.far * b.column_step;
    let first = mat4x4f(start.near, start.near, start.near, start.near);
    let second = mat4x4f(start.far, start.far, start.far, start.far);
    var sums = Sums(first, second, first, second);
    for (var k = 0u; k < a.columns; k++) {
        let x = Values(load_left(upper + k * a.column_step), load_left(lower + k * a.column_step));
        let y = Values(load_right(near + k * b.row_step), load_right(far + k * b.row_step));
        sums = Sums(
            sums.upper_left + outer(x.near, y.near),
            sums.upper_right + outer(x.near, y.far),
            sums.lower_left + outer(x.far, y.near),
            sums.lower_right + outer(x.far, y.far),
        );
    }
    return sums;
}

fn store_one(at: u32, value: f32, is_there: bool) {
    if (is_there) {
        product[at] = select(value, rectified(value), shape.relu == 1u);
    }
}

fn store_row(row: u32, column: u32, a: View, b: View, values: vec4f) {
    let at = row * b.columns + column;
    let end = select(0u, b.columns, row < a.rows);
    store_one(at, values.x, column < end);
    store_one(at + 1u, values.y, column + 1u < end);
    store_one(at + 2u, values.z, column + 2u < end);
    store_one(at + 3u, values.w, column + 3u < end);
}

fn store_quarter(row: u32, column: u32, a: View, b: View, values: mat4x4f) {
    store_row(row, column, a, b, values[0]);
    store_row(row + 1u, column, a, b, values[1]);
    store_row(row + 2u, column, a, b, values[2]);
    store_row(row + 3u, column, a, b, values[3]);
}

fn store(block: Block, a: View, b: View, sums: Sums) {
    store_quarter(block.row, block.column, a, b, sums.upper_left);
    store_quarter(block.row, block.column + 4u, a, b, sums.upper_right);
    store_quarter(block.row + 4u, block.column, a, b, sums.lower_left);
    store_quarter(block.row + 4u, block.column + 4u, a, b, sums.lower_right);
}

// Converts four values to the gradient with respect to a ReLU's input; x is the ReLU's output. Rows past the last one
// are clamped to it.
fn masked_row(row: u32, columns: vec4u, values: vec4f) -> vec4f {
    let at = min(row, shape.rows - 1u) * shape.inputs + columns;
    let read = vec4f(x[at.x], x[at.y], x[at.z], x[at.w]);
    return select(values, vec4f(), read <= vec4f());
}

fn masked_quarter(row: u32, columns: vec4u, values: mat4x4f) -> mat4x4f {
    return mat4x4f(
        masked_row(row, columns, values[0]),
        masked_row(row + 1u, columns, values[1]),
        masked_row(row + 2u, columns, values[2]),
        masked_row(row + 3u, columns, values[3]),
    );
}

fn masked(block: Block, sums: Sums) -> Sums {
    let columns = places_of(block.column, shape.inputs);
    return Sums(
        masked_quarter(block.row, columns.near, sums.upper_left),
        masked_quarter(block.row, columns.far, sums.upper_right),
        masked_quarter(block.row + 4u, columns.near, sums.lower_left),
        masked_quarter(block.row + 4u, columns.far, sums.lower_right),
    );
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = block_of((shape.first + id.x + id.y * count.x) * 8u + local, shape.outputs);
    if (block.row >= shape.rows) {
        return;
    }
    let x = View(shape.rows, shape.inputs, shape.inputs, 1u);
    let w = View(shape.inputs, shape.outputs, shape.outputs, 1u);
    let places = places_of(block.column, shape.outputs);
    let near = vec4f(bias[places.near.x], bias[places.near.y], bias[places.near.z], bias[places.near.w]);
    let far = vec4f(bias[places.far.x], bias[places.far.y], bias[places.far.z], bias[places.far.w]);
    store(block, x, w, multiply(block, x, w, Values(near, far)));
}

@compute @workgroup_size(8)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = block_of((shape.first + id.x + id.y * count.x) * 8u + local, shape.inputs);
    if (block.row >= shape.rows) {
        return;
    }
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    store(block, dy, w_transposed, multiply(block, dy, w_transposed, Values()));
}

@compute @workgroup_size(8)
fn backward_input_relu(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = block_of((shape.first + id.x + id.y * count.x) * 8u + local, shape.inputs);
    if (block.row >= shape.rows) {
        return;
    }
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    store(block, dy, w_transposed, masked(block, multiply(block, dy, w_transposed, Values())));
}

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let block = block_of((shape.first + id.x + id.y * count.x) * 8u + local, shape.outputs);
    if (block.row >= shape.inputs) {
        return;
    }
    let x_transposed = View(shape.inputs, shape.rows, 1u, shape.inputs);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    store(block, x_transposed, dy, multiply(block, x_transposed, dy, Values()));
}
