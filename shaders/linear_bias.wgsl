// The entry points of the weight gradient, without or with the bias gradient. The workgroups of the bias gradient have
// the last indices, after all tiles of the weight gradient, so that they do not delay the tiles.
//
//   db = Σ_rows dy    db[o] = Σ_r dy[r,o]
//
// A workgroup sums 16 columns of dy, with BIAS_PARTS invocations per column. Each of them sums every BIAS_PARTS-th row.
// This file follows linear_product.wgsl, whose `right` is dy here. The file that follows this one defines INVOCATIONS,
// the number of tiles (`tiles_of`) and the code for one tile (`gradient_by_weight`).

@group(0) @binding(4) var<storage, read_write> db: array<f32>; // (1, outputs)

const BIAS_COLUMNS = 16u;
const BIAS_PARTS = INVOCATIONS / BIAS_COLUMNS;

var<workgroup> bias_parts: array<f32, INVOCATIONS>;

fn backward_bias(workgroup: u32, local: u32) {
    let column = workgroup * BIAS_COLUMNS + local % BIAS_COLUMNS;
    let place = min(column, shape.outputs - 1u);
    var sum = 0.0;
    for (var row = local / BIAS_COLUMNS; row < shape.rows; row += 4u * BIAS_PARTS) {
        // Four loads are in flight at once. Indices past the last row are clamped to it, and their values are dropped.
        let rows = row + BIAS_PARTS * vec4u(0u, 1u, 2u, 3u);
        let at = min(rows, vec4u(shape.rows - 1u)) * shape.outputs + place;
        let read = vec4f(right[at.x], right[at.y], right[at.z], right[at.w]);
        let four = select(vec4f(), read, rows < vec4u(shape.rows));
        sum += (four.x + four.y) + (four.z + four.w);
    }
    bias_parts[local] = sum;
    workgroupBarrier();
    if (local >= BIAS_COLUMNS || column >= shape.outputs) {
        return;
    }
    sum = 0.0;
    for (var part = 0u; part < BIAS_PARTS; part++) {
        sum += bias_parts[part * BIAS_COLUMNS + local];
    }
    db[column] = sum;
}

@compute @workgroup_size(INVOCATIONS)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    gradient_by_weight(shape.first + id.x + id.y * count.x, local);
}

@compute @workgroup_size(INVOCATIONS)
fn backward_weight_and_bias(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let tiles = tiles_of(shape.inputs, shape.outputs);
    if (workgroup < tiles) {
        gradient_by_weight(workgroup, local);
    } else {
        backward_bias(workgroup - tiles, local);
    }
}
