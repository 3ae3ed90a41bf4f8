// Variables of each kind, and what invocations and workgroups share of them.

struct Cell { count: atomic<u32>, plain: u32, pair: vec2u }
struct Tail { length: u32, cells: array<Cell> }

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<storage, read_write> cells: array<Cell>;
@group(0) @binding(3) var<storage, read_write> tail: Tail;

var<private> count: u32;
var<private> numbers = array<u32, 4>(1, 2, 3, 4);
var<workgroup> flag: bool;
var<workgroup> flags: array<vec4<bool>, 16>;
var<workgroup> grid: array<array<vec2u, 8>, 8>;
var<workgroup> square: mat2x2f;
var<workgroup> bins: array<array<atomic<u32>, 4>, 4>;

// Private variables begin anew in each invocation of each workgroup.
//# private_begins_anew workgroups=4 y=256
@compute @workgroup_size(64)
fn private_begins_anew(@builtin(global_invocation_id) global: vec3u) {
    count += 1;
    numbers[count] += count;
    y[global.x] = count + numbers[1];
    if (count != 1) {
        y[512] = 0;
    }
}

//# a_flag_without_barrier order=y
@compute @workgroup_size(64)
fn a_flag_without_barrier(@builtin(local_invocation_index) i: u32) {
    if (x[i] == 40) {
        flag = true; //~ A:
    }
    y[i] = select(0u, 1u, flag); //~ race flag A
}

//# a_flag_and_barrier
@compute @workgroup_size(64)
fn a_flag_and_barrier(@builtin(local_invocation_index) i: u32) {
    if (x[i] == 40) {
        flag = true;
    }
    workgroupBarrier();
    y[i] = select(0u, 1u, flag);
}

// Whoever finds it sets the flag: several do.
//# a_flag_of_several
@compute @workgroup_size(64)
fn a_flag_of_several(@builtin(local_invocation_index) i: u32) {
    if (x[i] > 40) {
        flag = true; //~ race flag
    }
}

//# vectors_of_flags
@compute @workgroup_size(16)
fn vectors_of_flags(@builtin(local_invocation_index) i: u32) {
    flags[i] = vec4u(x[i]) < vec4u(4, 8, 12, 16);
    workgroupBarrier();
    y[i] = select(0u, 1u, all(flags[15 - i]) || flags[i].x);
}

// Members beside an atomic one are plain: each invocation has a cell of its own, but for its count.
//# members_beside_an_atomic cells=64
@compute @workgroup_size(16)
fn members_beside_an_atomic(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&cells[0].count, 1u);
    cells[i].plain = i;
    cells[i].pair = vec2u(i);
}

//# a_member_of_another cells=64 order=y
@compute @workgroup_size(16)
fn a_member_of_another(@builtin(local_invocation_index) i: u32) {
    cells[i].plain = 100; //~ A:
    y[i] = cells[i ^ 1].plain; //~ race cells A
}

//# the_length_by_a_pointer tail=18
@compute @workgroup_size(8)
fn the_length_by_a_pointer(@builtin(local_invocation_index) i: u32) {
    let list = &tail.cells;
    if (i < arrayLength(list)) {
        (*list)[i].plain = i;
    }
}

//# one_behind_the_length_by_a_pointer tail=18
@compute @workgroup_size(8)
fn one_behind_the_length_by_a_pointer(@builtin(local_invocation_index) i: u32) {
    let list = &tail.cells;
    if (i <= arrayLength(list)) {
        let cell = &(*list)[i];
        (*cell).plain = i; //~ bounds tail
    }
}

//# a_component_by_a_pointer
@compute @workgroup_size(8)
fn a_component_by_a_pointer(@builtin(local_invocation_index) i: u32) {
    let place = &grid[3][3];
    if (i == 2) {
        (*place).x = 1; //~ A:
    }
    if (i == 5) {
        place.y = 2; //~ race grid A
    }
}

//# rows_and_columns order=y
@compute @workgroup_size(8, 8)
fn rows_and_columns(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) i: u32) {
    grid[local.y][local.x] = local.xy; //~ A:
    y[i] = grid[local.x][local.y].x; //~ race grid A
}

//# rows_and_columns_and_barrier
@compute @workgroup_size(8, 8)
fn rows_and_columns_and_barrier(
    @builtin(local_invocation_id) local: vec3u,
    @builtin(local_invocation_index) i: u32,
) {
    grid[local.y][local.x] = local.xy;
    workgroupBarrier();
    y[i] = grid[local.x][local.y].x;
}

// The whole matrix is read, of which the other writes a column.
//# a_matrix_and_a_column
@compute @workgroup_size(2)
fn a_matrix_and_a_column(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        square[1] = vec2f(1.0); //~ A:
    } else {
        y[0] = u32((square * vec2f(1.0, 0.0)).x); //~ race square A
    }
}

//# bins_of_bins workgroups=2
@compute @workgroup_size(64)
fn bins_of_bins(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&bins[x[i] % 4][x[i] / 4 % 4], 1u);
    workgroupBarrier();
    if (i < 16) {
        atomicMax(&cells[0].count, atomicLoad(&bins[i / 4][i % 4]));
    }
}

//# behind_the_bins
@compute @workgroup_size(8)
fn behind_the_bins(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&bins[1][i], 1u); //~ bounds bins
}

// A barrier of textures orders neither kind of memory, though all wait there.
//# a_barrier_of_textures
@compute @workgroup_size(64)
fn a_barrier_of_textures(@builtin(local_invocation_index) i: u32) {
    grid[i / 8][i % 8] = vec2u(i); //~ A:
    textureBarrier();
    y[i] = grid[i % 8][i / 8].x; //~ race grid A
}

// A local copy of all, by value, is no shared memory any more.
//# a_copy_of_the_memory
@compute @workgroup_size(64)
fn a_copy_of_the_memory(@builtin(local_invocation_index) i: u32) {
    grid[i / 8][i % 8] = vec2u(i);
    workgroupBarrier();
    let copy = grid;
    workgroupBarrier();
    grid[i / 8][i % 8] = vec2u(0);
    y[i] = copy[i % 8][i / 8].x;
}

//# a_copy_too_late order=y
@compute @workgroup_size(64)
fn a_copy_too_late(@builtin(local_invocation_index) i: u32) {
    grid[i / 8][i % 8] = vec2u(i);
    workgroupBarrier();
    let copy = grid; //~ A:
    grid[i / 8][i % 8] = vec2u(0); //~ race grid A
    y[i] = copy[i % 8][i / 8].x;
}

// The index of each is read from memory: some meet.
//# scatter x=3,5,7,5 order=y
@compute @workgroup_size(4)
fn scatter(@builtin(local_invocation_index) i: u32) {
    y[x[i]] = i; //~ race y
}

//# scatter_to_different_places x=3,5,7,4
@compute @workgroup_size(4)
fn scatter_to_different_places(@builtin(local_invocation_index) i: u32) {
    y[x[i]] = i;
}
