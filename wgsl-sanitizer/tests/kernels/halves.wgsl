// Numbers of 16 bits: two lie in a word, and each is a location of its own.

enable f16;

@group(0) @binding(0) var<storage, read> x: array<f16>;
@group(0) @binding(1) var<storage, read_write> y: array<f16>;
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2h>;
@group(0) @binding(3) var<storage, read> floats: array<f32>;

var<workgroup> tile: array<f16, 64>;

//# neighbours_in_a_word
@compute @workgroup_size(64)
fn neighbours_in_a_word(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i] * 2.0h;
}

//# neighbours_in_two_workgroups workgroups=64
@compute @workgroup_size(1)
fn neighbours_in_two_workgroups(@builtin(workgroup_id) group: vec3u) {
    y[group.x] = x[group.x] + 1.0h;
}

//# a_neighbour_is_read order=y
@compute @workgroup_size(64)
fn a_neighbour_is_read(@builtin(local_invocation_index) i: u32) {
    y[i] = 3.0h; //~ A:
    let next = y[i ^ 1]; //~ race y A
    y[64 + i] = next;
}

//# neighbours_in_workgroup_memory
@compute @workgroup_size(64)
fn neighbours_in_workgroup_memory(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    y[i] = tile[63 - i];
}

// Components of one vector, again.
//# components_in_a_word
@compute @workgroup_size(2)
fn components_in_a_word(@builtin(local_invocation_index) i: u32) {
    pairs[5][i] = 1.0h; //~ race pairs
}

//# the_last_half x=8 y=8
@compute @workgroup_size(16)
fn the_last_half(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i];
}

//# behind_the_last_half x=8 y=8
@compute @workgroup_size(17)
fn behind_the_last_half(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i]; //~ bounds x, bounds y
}

//# one_half_is_written y=unwritten:32
@compute @workgroup_size(32)
fn one_half_is_written(@builtin(local_invocation_index) i: u32) {
    y[2 * i] = x[i];
    y[2 * i] += 1.0h;
}

//# the_other_half_is_not y=unwritten:32
@compute @workgroup_size(32)
fn the_other_half_is_not(@builtin(local_invocation_index) i: u32) {
    y[2 * i] = x[i];
    let other = y[2 * i + 1]; //~ unwritten y
    pairs[i].x = other;
}

//# too_large_for_half floats=65504.0,65520.0
@compute @workgroup_size(2)
fn too_large_for_half(@builtin(local_invocation_index) i: u32) {
    y[i] = f16(floats[i]); //~ conversion
}
