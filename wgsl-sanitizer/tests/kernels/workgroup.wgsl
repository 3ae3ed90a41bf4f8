// Accesses of workgroup memory, within one workgroup of 64.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

struct Pair { a: f32, b: f32 }

var<workgroup> tile: array<f32, 64>;
var<workgroup> one: f32;
var<workgroup> four: vec4f;
var<workgroup> pair: Pair;
var<workgroup> square: mat4x4f;
var<workgroup> rows: array<array<f32, 8>, 8>;
var<workgroup> fours: array<vec4f, 16>;
var<private> own: array<f32, 4>;

//# read_after_write order=y
@compute @workgroup_size(64)
fn read_after_write(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i]; //~ A:
    y[i] = tile[(i + 1) % 64]; //~ race tile A
}

//# read_after_write_and_barrier
@compute @workgroup_size(64)
fn read_after_write_and_barrier(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    y[i] = tile[(i + 1) % 64];
}

//# read_after_write_of_its_own
@compute @workgroup_size(64)
fn read_after_write_of_its_own(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    tile[i] += 1.0;
    y[i] = tile[i];
}

//# write_after_read order=y
@compute @workgroup_size(64)
fn write_after_read(@builtin(local_invocation_index) i: u32) {
    let old = tile[63 - i]; //~ A:
    tile[i] = x[i] + 1.0; //~ race tile A
    y[i] = old;
}

//# write_after_read_and_barrier
@compute @workgroup_size(64)
fn write_after_read_and_barrier(@builtin(local_invocation_index) i: u32) {
    let old = tile[63 - i];
    workgroupBarrier();
    tile[i] = x[i] + 1.0;
    y[i] = old;
}

// All write other values.
//# write_write order=y
@compute @workgroup_size(64)
fn write_write(@builtin(local_invocation_index) i: u32) {
    one = x[i]; //~ race one
    workgroupBarrier();
    y[i] = one;
}

// All write the same value: WGSL has no benign races.
//# write_write_of_the_same_value
@compute @workgroup_size(64)
fn write_write_of_the_same_value(@builtin(local_invocation_index) i: u32) {
    one = 1.0; //~ race one
    workgroupBarrier();
    y[i] = one;
}

//# two_places_write order=y
@compute @workgroup_size(64)
fn two_places_write(@builtin(local_invocation_index) i: u32) {
    if (i == 3) {
        one = 3.0; //~ A:
    }
    if (i == 4) {
        one = 4.0; //~ race one A
    }
    workgroupBarrier();
    y[i] = one;
}

//# two_places_write_in_turn
@compute @workgroup_size(64)
fn two_places_write_in_turn(@builtin(local_invocation_index) i: u32) {
    if (i == 3) {
        one = 3.0;
    }
    workgroupBarrier();
    if (i == 4) {
        one = 4.0;
    }
    workgroupBarrier();
    y[i] = one;
}

//# broadcast order=y
@compute @workgroup_size(64)
fn broadcast(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        one = x[5]; //~ A:
    }
    y[i] = one; //~ race one A
}

//# broadcast_and_barrier
@compute @workgroup_size(64)
fn broadcast_and_barrier(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        one = x[5];
    }
    workgroupBarrier();
    y[i] = one;
}

// A storageBarrier does not order workgroup memory, though all wait there.
//# broadcast_and_barrier_of_storage
@compute @workgroup_size(64)
fn broadcast_and_barrier_of_storage(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        one = x[5]; //~ A:
    }
    storageBarrier();
    y[i] = one; //~ race one A
}

// Half of them read what they wrote themselves: the others do not.
//# half_are_right order=y
@compute @workgroup_size(64)
fn half_are_right(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i]; //~ A:
    y[i] = tile[i & 62]; //~ race tile A
}

// One workgroup after another uses the same memory: each has its own.
//# workgroups_have_their_own workgroups=4 y=256
@compute @workgroup_size(64)
fn workgroups_have_their_own(
    @builtin(local_invocation_index) i: u32,
    @builtin(global_invocation_id) global: vec3u,
) {
    tile[i] = x[i];
    workgroupBarrier();
    y[global.x] = tile[63 - i];
}

// The last iteration's reads meet the next one's writes.
//# reuse_in_a_loop_with_one_barrier order=y
@compute @workgroup_size(64)
fn reuse_in_a_loop_with_one_barrier(@builtin(local_invocation_index) i: u32) {
    var sum = 0.0;
    for (var step = 0u; step < 4; step++) {
        tile[i] = x[(i + step) % 64]; //~ A:
        workgroupBarrier();
        sum += tile[63 - i]; //~ race tile A
    }
    y[i] = sum;
}

//# reuse_in_a_loop_with_two_barriers
@compute @workgroup_size(64)
fn reuse_in_a_loop_with_two_barriers(@builtin(local_invocation_index) i: u32) {
    var sum = 0.0;
    for (var step = 0u; step < 4; step++) {
        tile[i] = x[(i + step) % 64];
        workgroupBarrier();
        sum += tile[63 - i];
        workgroupBarrier();
    }
    y[i] = sum;
}

// A write of a component may write the whole vector.
//# components_of_a_vector
@compute @workgroup_size(2)
fn components_of_a_vector(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        four.x = 1.0; //~ A:
    } else {
        four.y = 2.0; //~ race four A
    }
    workgroupBarrier();
    y[i] = four.x + four.y;
}

//# components_by_index
@compute @workgroup_size(4)
fn components_by_index(@builtin(local_invocation_index) i: u32) {
    four[i] = x[i]; //~ race four
    workgroupBarrier();
    y[i] = four[3 - i];
}

//# another_component_is_read
@compute @workgroup_size(2)
fn another_component_is_read(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        four.x = 1.0; //~ A:
    } else {
        y[i] = four.y; //~ race four A
    }
}

//# components_are_read
@compute @workgroup_size(4)
fn components_are_read(@builtin(local_invocation_index) i: u32) {
    if (i == 2) {
        four = vec4f(x[0], x[1], x[2], x[3]);
    }
    workgroupBarrier();
    y[i] = four[i];
}

//# whole_vectors
@compute @workgroup_size(16)
fn whole_vectors(@builtin(local_invocation_index) i: u32) {
    fours[i] = vec4f(x[i]);
    workgroupBarrier();
    y[i] = fours[15 - i].z;
}

//# members_of_a_struct
@compute @workgroup_size(2)
fn members_of_a_struct(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        pair.a = 1.0;
    } else {
        pair.b = 2.0;
    }
    workgroupBarrier();
    y[i] = pair.a + pair.b;
}

//# a_member_and_the_struct
@compute @workgroup_size(2)
fn a_member_and_the_struct(@builtin(local_invocation_index) i: u32) {
    if (i == 0) {
        pair.a = 1.0; //~ A:
    } else {
        let both = pair; //~ race pair A
        y[i] = both.b;
    }
}

//# columns_of_a_matrix
@compute @workgroup_size(4)
fn columns_of_a_matrix(@builtin(local_invocation_index) i: u32) {
    square[i] = vec4f(x[i]);
    workgroupBarrier();
    y[i] = square[3 - i].x;
}

//# elements_of_a_column
@compute @workgroup_size(4)
fn elements_of_a_column(@builtin(local_invocation_index) i: u32) {
    square[1][i] = x[i]; //~ race square
    workgroupBarrier();
    y[i] = square[1][3 - i];
}

//# rows_of_an_array
@compute @workgroup_size(8)
fn rows_of_an_array(@builtin(local_invocation_index) i: u32) {
    for (var j = 0u; j < 8; j++) {
        rows[i][j] = x[8 * i + j];
    }
    workgroupBarrier();
    y[i] = rows[7 - i][i];
}

//# a_row_too_far order=y
@compute @workgroup_size(8)
fn a_row_too_far(@builtin(local_invocation_index) i: u32) {
    for (var j = 0u; j < 8; j++) {
        rows[i][j] = x[8 * i + j]; //~ A:
    }
    for (var j = 0u; j < 8; j++) {
        y[8 * i + j] = rows[j][i]; //~ race rows A
    }
}

// An assignment of the whole array by one, while others write elements.
//# the_array_and_its_elements order=y
@compute @workgroup_size(8)
fn the_array_and_its_elements(@builtin(local_invocation_index) i: u32) {
    if (i == 7) {
        rows[0] = array<f32, 8>(); //~ A:
    } else {
        rows[0][i] = x[i] + 1.0; //~ race rows A
    }
    workgroupBarrier();
    y[i] = rows[0][i];
}

//# private_is_not_shared
@compute @workgroup_size(64)
fn private_is_not_shared(@builtin(local_invocation_index) i: u32) {
    own[0] = x[i];
    var local: array<f32, 4>;
    local[i % 4] = own[0];
    own[i % 4] += local[i % 4];
    y[i] = own[0];
}

//# through_pointers
fn add(at: u32, what: f32) {
    let place = &tile[at];
    *place += what;
}

fn twice(number: ptr<function, f32>) {
    *number *= 2.0;
}

@compute @workgroup_size(64)
fn through_pointers(@builtin(local_invocation_index) i: u32) {
    var here = x[i];
    twice(&here);
    add(i, here);
    workgroupBarrier();
    y[i] = tile[63 - i];
}

// The line is that of the access, in the function.
//# in_a_function order=y
fn put(what: f32) {
    let place = &one;
    *place = what; //~ race one
}

@compute @workgroup_size(64)
fn in_a_function(@builtin(local_invocation_index) i: u32) {
    put(x[i]);
    workgroupBarrier();
    y[i] = one;
}
