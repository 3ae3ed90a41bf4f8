// The products of conv2d_view.wgsl for the software driver lavapipe, without workgroup memory and barriers. A file with
// the entry points follows this one. That file also defines `pixel`, which reads an element of the images.
//
// On lavapipe, a load costs as much as dozens of multiplications. So each invocation computes a block of
// POSITIONS × COLUMNS sums of neighboring positions. It loads POSITIONS + COLUMNS values for POSITIONS · COLUMNS
// products. The driver unrolls loops of constant length and keeps `sums` in registers. The indices of the pixels under
// a weight of the kernel are computed once for all channels.

@group(0) @binding(2) var<storage, read> right: array<f32>;         // (outputs, channels, kernel_height, kernel_width)
@group(0) @binding(3) var<storage, read_write> product: array<f32>; // y or dx
@group(0) @binding(4) var<storage, read> bias: array<f32>;          // (1, outputs), used by forward

const POSITIONS = 16u;
const COLUMNS = 16u;
const LANES = 8u;

alias Sums = array<array<f32, COLUMNS>, POSITIONS>;

// The blocks of one workgroup have the same columns and consecutive positions.
fn first_column(workgroup: u32, view: View) -> u32 {
    return workgroup % ((view.columns + COLUMNS - 1u) / COLUMNS) * COLUMNS;
}

// For one position, along one axis: returns the coordinate of the source element under the first weight of the kernel,
// and the remainder of the division by the stride (0 in the forward pass).
fn origin(at: u32, stride: u32, padding: u32, is_gradient: bool) -> vec2u {
    let of_gradient = vec2u((at + padding) / stride, (at + padding) % stride);
    return select(vec2u(at * stride - padding, 0u), of_gradient, is_gradient);
}

fn first_position(workgroup: u32, local: u32, view: View) -> u32 {
    return (workgroup / ((view.columns + COLUMNS - 1u) / COLUMNS) * LANES + local) * POSITIONS;
}

// Computes the sums of one block. Positions and columns past the last one are clamped to it, and are not stored.
fn multiply(first: u32, column: u32, view: View, sums: ptr<function, Sums>) {
    var row: array<u32, POSITIONS>;
    var y: array<vec2u, POSITIONS>;
    var x: array<vec2u, POSITIONS>;
    let last = shape.rows * view.height * view.width - 1u;
    for (var i = 0u; i < POSITIONS; i++) {
        let place = position(min(first + i, last), view.height, view.width);
        row[i] = place.x * view.row;
        y[i] = origin(place.y, shape.stride_height, shape.padding_height, view.is_gradient);
        x[i] = origin(place.z, shape.stride_width, shape.padding_width, view.is_gradient);
    }
    var of_column: array<u32, COLUMNS>;
    for (var j = 0u; j < COLUMNS; j++) {
        of_column[j] = min(column + j, view.columns - 1u) * view.column_step;
    }
    let pixels = view.from_height * view.from_width;
    for (var u = 0u; u < shape.kernel_height; u++) {
        let down = shift(u, shape.dilation_height, shape.stride_height, view.is_gradient);
        for (var v = 0u; v < shape.kernel_width; v++) {
            let along = shift(v, shape.dilation_width, shape.stride_width, view.is_gradient);
            var at: array<u32, POSITIONS>;
            var is_inside: array<bool, POSITIONS>;
            for (var i = 0u; i < POSITIONS; i++) {
                let p = y[i].x + down.x;
                let q = x[i].x + along.x;
                is_inside[i] = (p < view.from_height) & (q < view.from_width) & (y[i].y == down.y) & (x[i].y == along.y);
                at[i] = row[i] + select(0u, p * view.from_width + q, is_inside[i]);
            }
            let weight = u * shape.kernel_width + v;
            for (var d = 0u; d < view.depth; d++) {
                var weights: array<f32, COLUMNS>;
                for (var j = 0u; j < COLUMNS; j++) {
                    weights[j] = right[of_column[j] + d * view.depth_step + weight];
                }
                for (var i = 0u; i < POSITIONS; i++) {
                    let value = select(0.0, pixel(at[i] + d * pixels), is_inside[i]);
                    for (var j = 0u; j < COLUMNS; j++) {
                        (*sums)[i][j] += value * weights[j];
                    }
                }
            }
        }
    }
}

// Stores the elements of one block, except those outside of the product.
fn store(first: u32, column: u32, view: View, sums: ptr<function, Sums>) {
    let pixels = view.height * view.width;
    for (var i = 0u; i < POSITIONS; i++) {
        let at = first + i;
        let to = at / pixels * view.columns * pixels + at % pixels;
        for (var j = 0u; j < COLUMNS; j++) {
            if (at < shape.rows * pixels && column + j < view.columns) {
                product[to + (column + j) * pixels] = (*sums)[i][j];
            }
        }
    }
}

// Computes one block of y. `row` is the number of elements per row of x. The elements of x are divided by `scale`.
fn forward_block(workgroup: u32, local: u32, row: u32, scale: f32) {
    let view = forward_view(row);
    let first = first_position(workgroup, local, view);
    if (first >= shape.rows * view.height * view.width) {
        return;
    }
    let column = first_column(workgroup, view);
    var sums: Sums;
    multiply(first, column, view, &sums);
    for (var j = 0u; j < COLUMNS; j++) {
        let b = bias[min(column + j, shape.outputs - 1u)];
        for (var i = 0u; i < POSITIONS; i++) {
            let sum = b + sums[i][j] / scale;
            sums[i][j] = select(sum, rectified(sum), shape.relu == 1u);
        }
    }
    store(first, column, view, &sums);
}
