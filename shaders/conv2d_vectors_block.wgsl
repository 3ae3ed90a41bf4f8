// The products of conv2d_view.wgsl for the software driver SwiftShader, without workgroup memory and barriers.
// software_vectors.wgsl, which precedes this file, explains why each sum is a variable with a name.
//
// Each invocation computes a block of 8×8 sums of neighboring positions and columns, and loads 8 + 8 values for 64
// products. A single loop runs over channel, row and column of the kernel. Nested loops would be slower, because
// SwiftShader stores the sums in memory at the end of each loop.

@group(0) @binding(1) var<storage, read> left: array<f32>;          // x or dy: see conv2d_shape.wgsl
@group(0) @binding(2) var<storage, read> right: array<f32>;         // (outputs, channels, kernel_height, kernel_width)
@group(0) @binding(3) var<storage, read_write> product: array<f32>; // y or dx
@group(0) @binding(4) var<storage, read> bias: array<f32>;          // (1, outputs), used by forward

const SIDE = 8u;
const LANES = 8u;

// For four positions: index of the first element of the row, y and x of the source element under the first weight of
// the kernel, and the remainders of y and x divided by the stride.
struct Positions {
    row: vec4u,
    y: vec4u,
    x: vec4u,
    left_y: vec4u,
    left_x: vec4u,
}

// Sums of 8 positions × 8 columns. A column of a matrix has the sums of one position.
struct Sums {
    upper_left: mat4x4f,
    upper_right: mat4x4f,
    lower_left: mat4x4f,
    lower_right: mat4x4f,
}

// The first position and column of a block.
struct Block {
    position: u32,
    column: u32,
}

// The blocks of one workgroup have the same columns and consecutive positions.
fn block_of(workgroup: u32, local: u32, view: View) -> Block {
    let across = (view.columns + SIDE - 1u) / SIDE;
    return Block((workgroup / across * LANES + local) * SIDE, workgroup % across * SIDE);
}

// For four positions, along one axis: returns the coordinates of the source elements under the first weight of the
// kernel, and the remainders of the division by the stride (0 in the forward pass).
fn origin(at: vec4u, stride: u32, padding: u32, is_gradient: bool) -> array<vec4u, 2> {
    let moved = at + padding;
    return array<vec4u, 2>(
        select(at * stride - padding, moved / stride, is_gradient),
        select(vec4u(), moved % stride, is_gradient),
    );
}

// Four positions from `first` on. Positions past the last one are clamped to it, and their sums are not stored.
fn positions_of(first: u32, view: View) -> Positions {
    let at = min(first + FOUR, vec4u(shape.rows * view.height * view.width - 1u));
    let line = at / view.width;
    let y = origin(line % view.height, shape.stride_height, shape.padding_height, view.is_gradient);
    let x = origin(at % view.width, shape.stride_width, shape.padding_width, view.is_gradient);
    return Positions(line / view.height * view.row, y[0], x[0], y[1], x[1]);
}

// Loads the elements of four positions under a weight of the kernel, in one channel. `down` and `along` are the results
// of `shift` for the weight.
fn load_pixels(positions: Positions, down: vec2u, along: vec2u, channel: u32, view: View) -> vec4f {
    let y = positions.y + down.x;
    let x = positions.x + along.x;
    let is_inside = (y < vec4u(view.from_height)) & (x < vec4u(view.from_width))
        & (positions.left_y == vec4u(down.y)) & (positions.left_x == vec4u(along.y));
    let place = select(vec4u(), y * view.from_width + x, is_inside);
    let at = positions.row + channel * view.from_height * view.from_width + place;
    return select(vec4f(), load_left(at), is_inside);
}

fn load_left(at: vec4u) -> vec4f {
    return vec4f(left[at.x], left[at.y], left[at.z], left[at.w]);
}

fn load_right(at: vec4u) -> vec4f {
    return vec4f(right[at.x], right[at.y], right[at.z], right[at.w]);
}

// Computes the sums of one block. Positions and columns past the last one are clamped to it.
fn multiply(block: Block, view: View) -> Sums {
    let upper = positions_of(block.position, view);
    let lower = positions_of(block.position + 4u, view);
    let near = min(block.column + FOUR, vec4u(view.columns - 1u)) * view.column_step;
    let far = min(block.column + 4u + FOUR, vec4u(view.columns - 1u)) * view.column_step;
    let depth = view.depth * shape.kernel_height * shape.kernel_width;
    var sums = Sums();
    var at = vec3u(); // channel, row of the kernel, column of the kernel
    for (var k = 0u; k < depth; k++) {
        let down = shift(at.y, shape.dilation_height, shape.stride_height, view.is_gradient);
        let along = shift(at.z, shape.dilation_width, shape.stride_width, view.is_gradient);
        let first = load_pixels(upper, down, along, at.x, view);
        let second = load_pixels(lower, down, along, at.x, view);
        let weight = at.x * view.depth_step + at.y * shape.kernel_width + at.z;
        let left = load_right(near + weight);
        let others = load_right(far + weight);
        sums = Sums(
            sums.upper_left + outer(first, left),
            sums.upper_right + outer(first, others),
            sums.lower_left + outer(second, left),
            sums.lower_right + outer(second, others),
        );
        let row_ends = at.z + 1u == shape.kernel_width;
        let kernel_ends = row_ends && at.y + 1u == shape.kernel_height;
        at = vec3u(
            at.x + select(0u, 1u, kernel_ends),
            select(at.y + select(0u, 1u, row_ends), 0u, kernel_ends),
            select(at.z + 1u, 0u, row_ends),
        );
    }
    return sums;
}

fn store_one(at: u32, value: f32, is_there: bool) {
    if (is_there) {
        product[at] = value;
    }
}

// Stores the values of one position and four columns.
fn store_position(position: u32, column: u32, view: View, values: vec4f) {
    let pixels = view.height * view.width;
    let at = position / pixels * view.columns * pixels + position % pixels + column * pixels;
    let end = select(0u, view.columns, position < shape.rows * pixels);
    store_one(at, values.x, column < end);
    store_one(at + pixels, values.y, column + 1u < end);
    store_one(at + 2u * pixels, values.z, column + 2u < end);
    store_one(at + 3u * pixels, values.w, column + 3u < end);
}

fn store_quarter(position: u32, column: u32, view: View, values: mat4x4f) {
    store_position(position, column, view, values[0]);
    store_position(position + 1u, column, view, values[1]);
    store_position(position + 2u, column, view, values[2]);
    store_position(position + 3u, column, view, values[3]);
}

fn store(block: Block, view: View, sums: Sums) {
    store_quarter(block.position, block.column, view, sums.upper_left);
    store_quarter(block.position, block.column + 4u, view, sums.upper_right);
    store_quarter(block.position + 4u, block.column, view, sums.lower_left);
    store_quarter(block.position + 4u, block.column + 4u, view, sums.lower_right);
}

fn finished_column(b: vec4f, sum: vec4f) -> vec4f {
    let y = b + sum;
    let rectified_y = vec4f(rectified(y.x), rectified(y.y), rectified(y.z), rectified(y.w));
    return select(y, rectified_y, shape.relu == 1u);
}

// Converts sums whose first column is `column` to elements of y: adds the bias and applies the ReLU.
fn finished(column: u32, sums: mat4x4f) -> mat4x4f {
    let at = min(column + FOUR, vec4u(shape.outputs - 1u));
    let b = vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
    return mat4x4f(
        finished_column(b, sums[0]),
        finished_column(b, sums[1]),
        finished_column(b, sums[2]),
        finished_column(b, sums[3]),
    );
}
