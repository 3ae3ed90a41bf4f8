// Adds the contributions of all rows to the table gradient of a multiresolution hash grid. hash_grid_unit.wgsl explains
// the method. A row with a NaN coordinate contributes nothing.

@group(0) @binding(2) var<storage, read> dy: array<f32>;                  // (rows, levels, features)
@group(0) @binding(3) var<storage, read> measured: array<u32>;            // (slots, levels): bits of the largest |dy|
@group(0) @binding(4) var<storage, read_write> largest_of: array<u32>;    // (1, levels): the largest of all slots
@group(0) @binding(5) var<storage, read_write> low: array<atomic<u32>>;   // (entries, features)
@group(0) @binding(6) var<storage, read_write> high: array<atomic<i32>>;  // (entries, features)

var<workgroup> largest_here: atomic<u32>;

// Returns the bits of the largest |dy| of a level, over all slots. A slot has the result of one workgroup of `measure`
// in hash_grid_table.wgsl.
fn largest_in(level: u32, local: u32) -> u32 {
    if (local == 0u) {
        atomicStore(&largest_here, 0u);
    }
    workgroupBarrier();
    if (local < shape.slots) {
        atomicMax(&largest_here, measured[local * shape.levels + level]);
    }
    workgroupBarrier();
    return atomicLoad(&largest_here);
}

// Returns value · fraction, rounded to an integer. The product of 31 bits and 25 bits is computed in halves of 16 bits,
// because WGSL's integers have only 32 bits.
fn share(value: i32, fraction: u32) -> i32 {
    let magnitude = u32(abs(value));
    let a = vec2u(magnitude & 0xffffu, magnitude >> 16u);
    let b = vec2u(fraction & 0xffffu, fraction >> 16u);
    let middle = a.y * b.x + a.x * b.y + ((a.x * b.x) >> 16u);
    let product = i32(((a.y * b.y) << 8u) + ((middle + 128u) >> 8u));
    return select(product, -product, value < 0);
}

// Returns the contributions of one gradient to the corners of its cell: splits it along one axis after the other.
fn contributions(whole: i32, fraction: vec3u) -> array<i32, 8> {
    var parts = array<i32, 8>();
    parts[0] = whole;
    for (var d = 0u; d < dimensions; d++) {
        for (var corner = 0u; corner < (1u << d); corner++) {
            let upper = share(parts[corner], fraction[d]);
            parts[corner + (1u << d)] = upper;
            parts[corner] -= upper;
        }
    }
    return parts;
}

fn entries_of(level: vec4u, cell: Cell) -> array<u32, 8> {
    var entries = array<u32, 8>();
    for (var corner = 0u; corner < (1u << dimensions); corner++) {
        entries[corner] = entry_of(level, cell, corner);
    }
    return entries;
}

// Adds 2³² · upper + lower to the sum at index `to`.
fn add(to: u32, lower: u32, upper: i32) {
    let before = atomicAdd(&low[to], lower);
    let over = upper + i32(before + lower < lower);
    if (over != 0) {
        atomicAdd(&high[to], over);
    }
}

// A workgroup handles 256 rows of one level. scatter_small handles the first `small` levels instead.
@compute @workgroup_size(256)
fn scatter(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let index = shape.small + workgroup % (shape.levels - shape.small);
    let row = workgroup / (shape.levels - shape.small) * 256u + local;
    let bits = largest_in(index, local);
    if (row == 0u) {
        largest_of[index] = bits;
    }
    let level = shape.of_level[index];
    let scale = power_of_two(-unit_of(bits));
    if (row >= shape.rows || bits >= INFINITE) {
        return;
    }
    let at = point(row);
    if (any(are_nan(at))) {
        return;
    }
    let cell = cell_of(at, level.y);
    var entries = entries_of(level, cell);
    for (var f = 0u; f < features; f++) {
        let whole = i32(dy[row * shape.columns + index * features + f] * scale);
        var parts = contributions(whole, cell.fraction);
        for (var corner = 0u; corner < (1u << dimensions); corner++) {
            add(entries[corner] * features + f, bitcast<u32>(parts[corner]), parts[corner] >> 31u);
        }
    }
}

// Rows per workgroup of scatter_small.
const ROWS = 2048u;

// Sums of one level's table entries, two words per sum.
var<workgroup> sums: array<atomic<u32>, 4080>;

// Handles levels with few entries. There, each entry gets contributions from many rows, and atomic additions in storage
// would be slow. So a workgroup sums the contributions of its rows to the whole level in workgroup memory first.
@compute @workgroup_size(256)
fn scatter_small(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                 @builtin(local_invocation_index) local: u32) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let index = workgroup % shape.small;
    let first_row = workgroup / shape.small * ROWS;
    let level = shape.of_level[index];
    let numbers = level.z * features;
    for (var i = local; i < numbers; i += 256u) {
        atomicStore(&sums[2u * i], ZERO);
        atomicStore(&sums[2u * i + 1u], 0u);
    }
    let bits = largest_in(index, local);
    if (first_row + local == 0u) {
        largest_of[index] = bits;
    }
    let scale = power_of_two(-unit_of(bits));
    let end = select(0u, min(first_row + ROWS, shape.rows), bits < INFINITE);
    for (var row = first_row + local; row < end; row += 256u) {
        let at = point(row);
        if (any(are_nan(at))) {
            continue;
        }
        let cell = cell_of(at, level.y);
        var entries = entries_of(level, cell);
        for (var f = 0u; f < features; f++) {
            let whole = i32(dy[row * shape.columns + index * features + f] * scale);
            var parts = contributions(whole, cell.fraction);
            for (var corner = 0u; corner < (1u << dimensions); corner++) {
                let to = (entries[corner] - level.x) * features + f;
                let part = bitcast<u32>(parts[corner]);
                let before = atomicAdd(&sums[2u * to], part);
                let over = (parts[corner] >> 31u) + i32(before + part < part);
                if (over != 0) {
                    atomicAdd(&sums[2u * to + 1u], bitcast<u32>(over));
                }
            }
        }
    }
    workgroupBarrier();
    for (var i = local; i < numbers; i += 256u) {
        let sum = atomicLoad(&sums[2u * i]);
        let over = bitcast<i32>(atomicLoad(&sums[2u * i + 1u]));
        add(level.x * features + i, sum - ZERO, over - i32(sum < ZERO));
    }
}
