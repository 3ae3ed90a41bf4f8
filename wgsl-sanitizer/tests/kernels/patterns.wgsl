// What kernels are made of: reductions, prefix sums, products of matrices, double buffers.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;

override width: u32 = 8;

var<workgroup> tile: array<f32, 64>;
var<workgroup> tiles: array<array<f32, 64>, 2>;
var<workgroup> tile_a: array<array<f32, 8>, 8>;
var<workgroup> tile_b: array<array<f32, 8>, 8>;
var<workgroup> fold_tile: array<f32, 2 * width>;

//# tree workgroups=4 x=256 y=4
@compute @workgroup_size(64)
fn tree(
    @builtin(local_invocation_index) i: u32,
    @builtin(global_invocation_id) global: vec3u,
    @builtin(workgroup_id) group: vec3u,
) {
    tile[i] = x[global.x];
    for (var half = 32u; half > 0; half /= 2) {
        workgroupBarrier();
        if (i < half) {
            tile[i] += tile[i + half];
        }
    }
    if (i == 0) {
        y[group.x] = tile[0];
    }
}

// The barrier before the loop is enough for its first step alone.
//# tree_with_a_barrier_before_the_loop order=y
@compute @workgroup_size(64)
fn tree_with_a_barrier_before_the_loop(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    for (var half = 32u; half > 0; half /= 2) {
        if (i < half) {
            tile[i] += tile[i + half]; //~ race tile
        }
    }
    if (i == 0) {
        y[0] = tile[0];
    }
}

// The first step reads what was written before it.
//# tree_without_the_first_barrier order=y
@compute @workgroup_size(64)
fn tree_without_the_first_barrier(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i]; //~ A:
    for (var half = 32u; half > 0; half /= 2) {
        if (i < half) {
            tile[i] += tile[i + half]; //~ race tile A
        }
        workgroupBarrier();
    }
    if (i == 0) {
        y[0] = tile[0];
    }
}

// All read the sum, and only its writer may without a barrier.
//# tree_without_the_last_barrier order=y
@compute @workgroup_size(64)
fn tree_without_the_last_barrier(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    for (var half = 32u; half > 0; half /= 2) {
        workgroupBarrier();
        if (i < half) {
            tile[i] += tile[i + half]; //~ A:
        }
    }
    y[i] = tile[0]; //~ race tile A
}

// `<=` for `<`: another invocation takes part, reads what the first one writes, and in the first step leaves the array.
//# tree_with_one_too_many order=y
@compute @workgroup_size(64)
fn tree_with_one_too_many(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    for (var half = 32u; half > 0; half /= 2) {
        workgroupBarrier();
        if (i <= half) {
            tile[i] += tile[i + half]; //~ race tile, bounds tile
        }
    }
    if (i == 0) {
        y[0] = tile[0];
    }
}

// Steps of neighbours: each reads behind what it writes.
//# strided_tree
@compute @workgroup_size(64)
fn strided_tree(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    for (var step = 1u; step < 64; step *= 2) {
        workgroupBarrier();
        let at = 2 * step * i;
        if (at < 64) {
            tile[at] += tile[at + step];
        }
    }
    if (i == 0) {
        y[0] = tile[0];
    }
}

//# prefix_sums
@compute @workgroup_size(64)
fn prefix_sums(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    for (var step = 1u; step < 64; step *= 2) {
        var sum = tile[i];
        if (i >= step) {
            sum += tile[i - step];
        }
        workgroupBarrier();
        tile[i] = sum;
        workgroupBarrier();
    }
    y[i] = tile[i];
}

// What is read of a neighbour may be of this step or of the next.
//# prefix_sums_with_one_barrier order=y
@compute @workgroup_size(64)
fn prefix_sums_with_one_barrier(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    for (var step = 1u; step < 64; step *= 2) {
        var sum = tile[i];
        if (i >= step) {
            sum += tile[i - step]; //~ A:
        }
        tile[i] = sum; //~ race tile A
        workgroupBarrier();
    }
    y[i] = tile[i];
}

// Sweeps up and down, in place (Blelloch).
//# prefix_sums_in_place
@compute @workgroup_size(32)
fn prefix_sums_in_place(@builtin(local_invocation_index) i: u32) {
    tile[2 * i] = x[2 * i];
    tile[2 * i + 1] = x[2 * i + 1];
    var step = 1u;
    for (var pairs = 32u; pairs > 0; pairs /= 2) {
        workgroupBarrier();
        if (i < pairs) {
            tile[step * (2 * i + 2) - 1] += tile[step * (2 * i + 1) - 1];
        }
        step *= 2;
    }
    if (i == 0) {
        tile[63] = 0;
    }
    for (var pairs = 1u; pairs < 64; pairs *= 2) {
        step /= 2;
        workgroupBarrier();
        if (i < pairs) {
            let left = step * (2 * i + 1) - 1;
            let right = step * (2 * i + 2) - 1;
            let sum = tile[right];
            tile[right] += tile[left];
            tile[left] = sum;
        }
    }
    workgroupBarrier();
    y[2 * i] = tile[2 * i];
    y[2 * i + 1] = tile[2 * i + 1];
}

// The last of the sweep up and what sets its end to zero are of one invocation; the first of the sweep down is not.
//# prefix_sums_in_place_with_a_barrier_too_few order=y
@compute @workgroup_size(32)
fn prefix_sums_in_place_with_a_barrier_too_few(@builtin(local_invocation_index) i: u32) {
    tile[2 * i] = x[2 * i];
    tile[2 * i + 1] = x[2 * i + 1];
    workgroupBarrier();
    if (i == 0) {
        tile[63] = 0; //~ A:
    }
    if (i < 16) {
        tile[4 * i + 3] += tile[4 * i + 1]; //~ race tile A
    }
    workgroupBarrier();
    y[2 * i] = tile[2 * i];
    y[2 * i + 1] = tile[2 * i + 1];
}

//# product workgroups=2,2 a=256 b=256 z=256
@compute @workgroup_size(8, 8)
fn product(
    @builtin(global_invocation_id) global: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    var sum = 0.0;
    for (var block = 0u; block < 16; block += 8) {
        tile_a[local.y][local.x] = a[global.y * 16 + block + local.x];
        tile_b[local.y][local.x] = b[(block + local.y) * 16 + global.x];
        workgroupBarrier();
        for (var k = 0u; k < 8; k++) {
            sum += tile_a[local.y][k] * tile_b[k][local.x];
        }
        workgroupBarrier();
    }
    z[global.y * 16 + global.x] = sum;
}

//# product_without_the_first_barrier workgroups=2,2 a=256 b=256 z=256 order=z
@compute @workgroup_size(8, 8)
fn product_without_the_first_barrier(
    @builtin(global_invocation_id) global: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    var sum = 0.0;
    for (var block = 0u; block < 16; block += 8) {
        tile_a[local.y][local.x] = a[global.y * 16 + block + local.x]; //~ A:
        tile_b[local.y][local.x] = b[(block + local.y) * 16 + global.x]; //~ B:
        for (var k = 0u; k < 8; k++) {
            sum += tile_a[local.y][k] * tile_b[k][local.x]; //~ race tile_a A, race tile_b B
        }
        workgroupBarrier();
    }
    z[global.y * 16 + global.x] = sum;
}

//# product_without_the_second_barrier workgroups=2,2 a=256 b=256 z=256 order=z
@compute @workgroup_size(8, 8)
fn product_without_the_second_barrier(
    @builtin(global_invocation_id) global: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    var sum = 0.0;
    for (var block = 0u; block < 16; block += 8) {
        tile_a[local.y][local.x] = a[global.y * 16 + block + local.x]; //~ race tile_a A
        tile_b[local.y][local.x] = b[(block + local.y) * 16 + global.x]; //~ race tile_b A
        workgroupBarrier();
        for (var k = 0u; k < 8; k++) {
            sum += tile_a[local.y][k] * tile_b[k][local.x]; //~ A:
        }
    }
    z[global.y * 16 + global.x] = sum;
}

// Two buffers in turn: one is read while the other is written, and one barrier a step is enough.
//# double_buffer
@compute @workgroup_size(64)
fn double_buffer(@builtin(local_invocation_index) i: u32) {
    tiles[0][i] = x[i];
    var sum = 0.0;
    for (var step = 0u; step < 4; step++) {
        workgroupBarrier();
        tiles[(step + 1) % 2][i] = x[(i + step) % 64];
        sum += tiles[step % 2][63 - i];
    }
    y[i] = sum;
}

// The buffer that is written is the one that is read.
//# double_buffer_the_wrong_one order=y
@compute @workgroup_size(64)
fn double_buffer_the_wrong_one(@builtin(local_invocation_index) i: u32) {
    tiles[0][i] = x[i];
    var sum = 0.0;
    for (var step = 0u; step < 4; step++) {
        workgroupBarrier();
        tiles[step % 2][i] = x[(i + step) % 64]; //~ A:
        sum += tiles[step % 2][63 - i]; //~ race tiles A
    }
    y[i] = sum;
}

// Generations of an automaton, each read from one array and written to the other.
//# ping_pong
@compute @workgroup_size(64)
fn ping_pong(@builtin(local_invocation_index) i: u32) {
    tiles[0][i] = x[i];
    workgroupBarrier();
    for (var step = 0u; step < 3; step++) {
        let old = step & 1;
        tiles[1 - old][i] = tiles[old][(i + 1) % 64] + tiles[old][(i + 63) % 64];
        workgroupBarrier();
    }
    y[i] = tiles[1][i];
}

//# ping_pong_without_pong order=y
@compute @workgroup_size(64)
fn ping_pong_without_pong(@builtin(local_invocation_index) i: u32) {
    tiles[0][i] = x[i];
    workgroupBarrier();
    for (var step = 0u; step < 3; step++) {
        let sum = tiles[0][(i + 1) % 64]; //~ A:
        tiles[0][i] = sum; //~ race tiles A
        workgroupBarrier();
    }
    y[i] = tiles[0][i];
}

//# transpose workgroups=2,2 x=256 y=256
@compute @workgroup_size(8, 8)
fn transpose(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    tile_a[local.y][local.x] = x[(group.y * 8 + local.y) * 16 + group.x * 8 + local.x];
    workgroupBarrier();
    y[(group.x * 8 + local.y) * 16 + group.y * 8 + local.x] = tile_a[local.x][local.y];
}

// In place: the tiles beside the diagonal swap, and each workgroup reads what another writes.
//# transpose_in_place workgroups=2,2 y=256 order=y
@compute @workgroup_size(8, 8)
fn transpose_in_place(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    tile_a[local.y][local.x] = y[(group.y * 8 + local.y) * 16 + group.x * 8 + local.x]; //~ A:
    workgroupBarrier();
    storageBarrier();
    y[(group.x * 8 + local.y) * 16 + group.y * 8 + local.x] = tile_a[local.x][local.y]; //~ race y A
}

// A workgroup of a size that an override gives, and memory of twice its size.
//# fold const.width=16
@compute @workgroup_size(width)
fn fold(@builtin(local_invocation_index) i: u32) {
    fold_tile[i] = x[i];
    fold_tile[i + width] = x[i + width];
    workgroupBarrier();
    y[i] = fold_tile[i] + fold_tile[2 * width - 1 - i];
}
