// The products of linear_product.wgsl for GPUs: tiles of 32×32 outputs in workgroup memory.
//
// Each workgroup computes one tile of the product left·right. It iterates over the summed dimension in slabs of 16
// elements, which its 256 invocations copy to workgroup memory. Each invocation computes 2×2 outputs.

const TILE = 32u;
const SLAB = 16u;
const SIDE = 16u; // invocations along one side of a tile
const INVOCATIONS = SIDE * SIDE;

var<workgroup> left_tile: array<f32, 512>;  // (SLAB, TILE), transposed
var<workgroup> right_tile: array<f32, 512>; // (SLAB, TILE)

struct Place {
    workgroup: u32,
    local: u32,
}

fn row_of_tile(place: Place, columns: u32) -> u32 {
    return place.workgroup / ((columns + TILE - 1u) / TILE) * TILE;
}

fn column_of_tile(place: Place, columns: u32) -> u32 {
    return place.workgroup % ((columns + TILE - 1u) / TILE) * TILE;
}

fn tiles_of(rows: u32, columns: u32) -> u32 {
    return ((rows + TILE - 1u) / TILE) * ((columns + TILE - 1u) / TILE);
}

fn load_slab(place: Place, a: View, b: View, slab: u32) {
    let row = row_of_tile(place, b.columns);
    let column = column_of_tile(place, b.columns);
    for (var at = place.local; at < SLAB * TILE; at += INVOCATIONS) {
        // Choose the elements so that neighboring invocations read neighboring elements, whether `a` is stored in
        // row-major or column-major order.
        let by_depth = a.column_step == 1u;
        let depth = select(at / TILE, at % SLAB, by_depth);
        let across = select(at % TILE, at / SLAB, by_depth);
        let k = slab + depth;
        let r = row + across;
        var value = 0.0;
        if (r < a.rows && k < a.columns) {
            value = left[r * a.row_step + k * a.column_step];
        }
        left_tile[depth * TILE + across] = value;
    }
    for (var at = place.local; at < SLAB * TILE; at += INVOCATIONS) {
        let by_depth = b.row_step == 1u;
        let depth = select(at / TILE, at % SLAB, by_depth);
        let across = select(at % TILE, at / SLAB, by_depth);
        let k = slab + depth;
        let c = column + across;
        var value = 0.0;
        if (c < b.columns && k < b.rows) {
            value = right[k * b.row_step + c * b.column_step];
        }
        right_tile[depth * TILE + across] = value;
    }
}

// Computes the four outputs of this invocation, at (r, c), (r, c + 16), (r + 16, c) and (r + 16, c + 16) of the tile.
fn multiply(place: Place, a: View, b: View) -> vec4f {
    let r = place.local / SIDE;
    let c = place.local % SIDE;
    var sum = vec4f();
    for (var slab = 0u; slab < a.columns; slab += SLAB) {
        load_slab(place, a, b, slab);
        workgroupBarrier();
        for (var k = 0u; k < SLAB; k++) {
            let x = vec2f(left_tile[k * TILE + r], left_tile[k * TILE + r + SIDE]);
            let y = vec2f(right_tile[k * TILE + c], right_tile[k * TILE + c + SIDE]);
            sum += x.xxyy * y.xyxy;
        }
        workgroupBarrier();
    }
    return sum;
}

// Converts outputs to the gradient with respect to a ReLU's input; x is the ReLU's output. Indices past the last row or
// column are clamped to it; those outputs are not stored.
fn masked(place: Place, sum: vec4f) -> vec4f {
    let r = row_of_tile(place, shape.inputs) + place.local / SIDE;
    let c = column_of_tile(place, shape.inputs) + place.local % SIDE;
    let rows = min(vec2u(r, r + SIDE), vec2u(shape.rows - 1u));
    let columns = min(vec2u(c, c + SIDE), vec2u(shape.inputs - 1u));
    let at = rows.xxyy * shape.inputs + columns.xyxy;
    let read = vec4f(x[at.x], x[at.y], x[at.z], x[at.w]);
    return select(sum, vec4f(), read <= vec4f());
}

fn store(place: Place, a: View, b: View, sum: vec4f) {
    let stored = select(sum, rectified_four(sum), shape.relu == 1u);
    for (var i = 0u; i < 4u; i++) {
        let r = row_of_tile(place, b.columns) + place.local / SIDE + (i / 2u) * SIDE;
        let c = column_of_tile(place, b.columns) + place.local % SIDE + (i % 2u) * SIDE;
        if (r < a.rows && c < b.columns) {
            product[r * b.columns + c] = stored[i];
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let place = Place(shape.first + id.x + id.y * count.x, local);
    let x = View(shape.rows, shape.inputs, shape.inputs, 1u);
    let w = View(shape.inputs, shape.outputs, shape.outputs, 1u);
    let c = column_of_tile(place, shape.outputs) + local % SIDE;
    let last = shape.outputs - 1u;
    let b = vec2f(bias[min(c, last)], bias[min(c + SIDE, last)]);
    store(place, x, w, multiply(place, x, w) + b.xyxy);
}

@compute @workgroup_size(INVOCATIONS)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let place = Place(shape.first + id.x + id.y * count.x, local);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    store(place, dy, w_transposed, multiply(place, dy, w_transposed));
}

@compute @workgroup_size(INVOCATIONS)
fn backward_input_relu(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let place = Place(shape.first + id.x + id.y * count.x, local);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    store(place, dy, w_transposed, masked(place, multiply(place, dy, w_transposed)));
}

fn gradient_by_weight(workgroup: u32, local: u32) {
    let place = Place(workgroup, local);
    let x_transposed = View(shape.inputs, shape.rows, 1u, shape.inputs);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    store(place, x_transposed, dy, multiply(place, x_transposed, dy));
}
