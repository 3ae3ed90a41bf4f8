// Layer normalization (Ba, Kiros and Hinton, 2016) of each row over its n columns, the same as torch.nn.LayerNorm:
//
//   y       = weight · x̂ + bias    with x̂ = (x − mean) · inverse, inverse = 1 / √(Σ (x − mean)² / n + eps)
//   dweight = Σ_rows dy · x̂,  dbias = Σ_rows dy
//   dx      = inverse · (g − (Σ g + x̂ · Σ g · x̂) / n)   with g = dy · weight
//
// `lanes` invocations work on the same row; `lanes` is a power of two up to 256. A workgroup has 256 / lanes rows. The
// mean is computed first. Then the squared deviations from the mean are summed, so that a mean far from 0 costs no
// precision.
//
// backward_input stores g in dx and reads it again for the final subtraction. If it computed g twice, a GPU could fuse
// the second product with the subtraction (fma). Then the difference would contain the rounding error of g, and in a
// row of equal values `inverse` would multiply this error by 1/√eps.

struct Shape {
    rows: u32,
    columns: u32,
    lanes: u32, // invocations per row
    eps: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;      // (rows, columns)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (1, columns)
@group(0) @binding(3) var<storage, read> bias: array<f32>;   // (1, columns)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;       // (rows, columns)
@group(0) @binding(5) var<storage, read_write> mean: array<f32>;    // (rows, 1)
@group(0) @binding(6) var<storage, read_write> inverse: array<f32>; // (rows, 1)

var<workgroup> partial: array<vec2f, 256>;

// Returns the sums of `mine` over all invocations of the same row.
fn summed(local: u32, mine: vec2f) -> vec2f {
    let lane = local % shape.lanes;
    partial[local] = mine;
    workgroupBarrier();
    for (var stride = shape.lanes / 2u; stride > 0u; stride /= 2u) {
        if (lane < stride) {
            partial[local] += partial[local + stride];
        }
        workgroupBarrier();
    }
    let sum = partial[local - lane];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * (256u / shape.lanes) + local / shape.lanes;
    let lane = local % shape.lanes;
    // Invocations of rows past the last row have no columns.
    let end = select(0u, shape.columns, row < shape.rows);
    let first = row * shape.columns;
    let n = f32(shape.columns);
    var sum = 0.0;
    for (var c = lane; c < end; c += shape.lanes) {
        sum += x[first + c];
    }
    let near = summed(local, vec2f(sum, 0.0)).x / n;
    var deviations = vec2f();
    for (var c = lane; c < end; c += shape.lanes) {
        let deviation = x[first + c] - near;
        deviations += vec2f(deviation, deviation * deviation);
    }
    // The first mean has a rounding error, which is the mean of the deviations. Correct both moments by it.
    let all = summed(local, deviations);
    let center = near + all.x / n;
    let scale = inverseSqrt(max(all.y - all.x * all.x / n, 0.0) / n + shape.eps);
    for (var c = lane; c < end; c += shape.lanes) {
        y[first + c] = weight[c] * ((x[first + c] - center) * scale) + bias[c];
    }
    if (lane == 0u && row < shape.rows) {
        mean[row] = center;
        inverse[row] = scale;
    }
}

@group(0) @binding(3) var<storage, read> row_mean: array<f32>;    // mean: (rows, 1)
@group(0) @binding(4) var<storage, read> row_inverse: array<f32>; // inverse: (rows, 1)
@group(0) @binding(5) var<storage, read> dy: array<f32>;          // (rows, columns)
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;    // (rows, columns)

@compute @workgroup_size(256)
fn backward_input(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                  @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * (256u / shape.lanes) + local / shape.lanes;
    let lane = local % shape.lanes;
    let end = select(0u, shape.columns, row < shape.rows);
    let first = row * shape.columns;
    let known = min(row, shape.rows - 1u);
    let center = row_mean[known];
    let scale = row_inverse[known];
    var sums = vec2f();
    for (var c = lane; c < end; c += shape.lanes) {
        let g = dy[first + c] * weight[c];
        dx[first + c] = g;
        sums += vec2f(g, g * ((x[first + c] - center) * scale));
    }
    let means = summed(local, sums) / f32(shape.columns);
    for (var c = lane; c < end; c += shape.lanes) {
        let normal = (x[first + c] - center) * scale;
        dx[first + c] = scale * (dx[first + c] - (means.x + normal * means.y));
    }
}

@group(0) @binding(2) var<storage, read> mean_of_row: array<f32>;    // mean: (rows, 1)
@group(0) @binding(3) var<storage, read> inverse_of_row: array<f32>; // inverse: (rows, 1)
@group(0) @binding(4) var<storage, read> gradient: array<f32>;       // dy: (rows, columns)
@group(0) @binding(5) var<storage, read_write> dweight: array<f32>;  // (1, columns)
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;    // (1, columns)

// A workgroup sums 16 columns with 16 invocations per column. An invocation sums every 16th row.
@compute @workgroup_size(256)
fn backward_parameters(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                       @builtin(local_invocation_index) local: u32) {
    let column = (id.x + id.y * count.x) * 16u + local % 16u;
    let end = select(0u, shape.rows, column < shape.columns);
    var sum = vec2f();
    for (var row = local / 16u; row < end; row += 16u) {
        let at = row * shape.columns + column;
        let normal = (x[at] - mean_of_row[row]) * inverse_of_row[row];
        sum += vec2f(gradient[at] * normal, gradient[at]);
    }
    partial[local] = sum;
    workgroupBarrier();
    if (local >= 16u || column >= shape.columns) {
        return;
    }
    for (var part = 1u; part < 16u; part++) {
        sum += partial[16u * part + local];
    }
    dweight[column] = sum.x;
    dbias[column] = sum.y;
}
