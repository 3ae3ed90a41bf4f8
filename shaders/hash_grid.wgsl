// Computes the features of points by a multiresolution hash grid, and the gradient with respect to the points:
//
//   forward         y[level] = Σ_corner weight(corner) · table[entry(corner)]
//   backward_input  dx[d]    = Σ_level N · Σ_corner ±(Π_{e≠d} of weight(corner)) · product(corner)
//                   with product(corner) = Σ_features dy[level] · table[entry(corner)]
//
// N is the number of cells along an axis of the level. weight(corner) is the product over all axes d of fraction[d], if
// the corner is the upper one along d, or 1 − fraction[d], if it is the lower one. ± is + for an upper corner along d.
// A coordinate outside of 0…1 is clamped, so its dx is 0. If a coordinate is NaN, all results of its row are NaN in
// both passes.

@group(0) @binding(2) var<storage, read> table: array<f32>;     // (entries, features)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;   // (rows, levels, features)

// Returns the factors of a corner's weight, one for each axis.
fn weights(cell: Cell, corner: u32) -> vec3f {
    let is_upper = ((vec3u(corner) >> vec3u(0u, 1u, 2u)) & vec3u(1u)) == vec3u(1u);
    return vec3f(select(vec3u(ONE) - cell.fraction, cell.fraction, is_upper)) / f32(ONE);
}

// A workgroup handles 256 rows of one level. Consecutive workgroups handle the other levels of the same rows.
@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let index = workgroup % shape.levels;
    let row = workgroup / shape.levels * 256u + local;
    if (row >= shape.rows) {
        return;
    }
    let level = shape.of_level[index];
    let at = point(row);
    let cell = cell_of(at, level.y);
    var sums = array<f32, 8>();
    for (var corner = 0u; corner < (1u << dimensions); corner++) {
        let along = weights(cell, corner);
        // In two dimensions, along.z is 1.
        let weight = along.x * along.y * along.z;
        let first = entry_of(level, cell, corner) * features;
        for (var f = 0u; f < features; f++) {
            sums[f] += weight * table[first + f];
        }
    }
    var not_a_number = 0x7fc00000u;
    let is_nan = any(are_nan(at));
    let to = (row * shape.levels + index) * features;
    for (var f = 0u; f < features; f++) {
        y[to + f] = select(sums[f], bitcast<f32>(not_a_number), is_nan);
    }
}

@group(0) @binding(3) var<storage, read> dy: array<f32>;        // (rows, levels, features)
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;  // (rows, dimensions)

@compute @workgroup_size(256)
fn backward_input(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                  @builtin(local_invocation_index) local: u32) {
    let row = (shape.first + id.x + id.y * count.x) * 256u + local;
    if (row >= shape.rows) {
        return;
    }
    let at = point(row);
    var sums = vec3f();
    for (var index = 0u; index < shape.levels; index++) {
        let level = shape.of_level[index];
        let cell = cell_of(at, level.y);
        let from_dy = (row * shape.levels + index) * features;
        var slopes = vec3f();
        for (var corner = 0u; corner < (1u << dimensions); corner++) {
            let along = weights(cell, corner);
            let first = entry_of(level, cell, corner) * features;
            var product = 0.0;
            for (var f = 0u; f < features; f++) {
                product += dy[from_dy + f] * table[first + f];
            }
            let is_upper = ((vec3u(corner) >> vec3u(0u, 1u, 2u)) & vec3u(1u)) == vec3u(1u);
            let others = vec3f(along.y * along.z, along.x * along.z, along.x * along.y);
            slopes += product * select(-others, others, is_upper);
        }
        sums += f32(level.y) * slopes;
    }
    var not_a_number = 0x7fc00000u;
    let is_inside = (at >= vec3f()) & (at <= vec3f(1.0));
    sums = select(vec3f(), sums, is_inside);
    sums = select(sums, vec3f(bitcast<f32>(not_a_number)), any(are_nan(at)));
    for (var d = 0u; d < dimensions; d++) {
        dx[row * dimensions + d] = sums[d];
    }
}
