// Reads of memory that nobody wrote.

struct Pair { a: f32, b: vec3f }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> pairs: array<Pair>;

var<workgroup> tile: array<f32, 64>;
var<workgroup> four: vec4f;
var<workgroup> pair: Pair;
var<workgroup> bins: array<atomic<u32>, 16>;
var<private> own: f32;

// WebGPU sets workgroup memory to zero.
//# zeroed_workgroup_memory
@compute @workgroup_size(64)
fn zeroed_workgroup_memory(@builtin(local_invocation_index) i: u32) {
    y[i] = tile[i] + four.x + pair.b.y + f32(atomicLoad(&bins[i % 16]));
}

//# workgroup_memory_as_it_is zero=off order=y
@compute @workgroup_size(64)
fn workgroup_memory_as_it_is(@builtin(local_invocation_index) i: u32) {
    if (i < 32) {
        tile[i] = x[i]; //~ A:
    }
    y[i] = tile[i ^ 1]; //~ unwritten tile, race tile A
}

//# half_of_the_memory zero=off
@compute @workgroup_size(64)
fn half_of_the_memory(@builtin(local_invocation_index) i: u32) {
    if (i < 32) {
        tile[i] = x[i];
    }
    workgroupBarrier();
    y[i] = tile[63 - i]; //~ unwritten tile
}

//# all_of_the_memory zero=off workgroups=2 y=128
@compute @workgroup_size(64)
fn all_of_the_memory(
    @builtin(local_invocation_index) i: u32,
    @builtin(global_invocation_id) global: vec3u,
) {
    tile[i] = x[i];
    workgroupBarrier();
    y[global.x] = tile[63 - i];
}

// What one workgroup wrote is nothing to the next.
//# of_another_workgroup zero=off workgroups=2 y=128
@compute @workgroup_size(64)
fn of_another_workgroup(
    @builtin(local_invocation_index) i: u32,
    @builtin(global_invocation_id) global: vec3u,
    @builtin(workgroup_id) group: vec3u,
) {
    if (group.x == 0) {
        tile[i] = x[i];
    }
    workgroupBarrier();
    y[global.x] = tile[i]; //~ unwritten tile
}

//# a_component zero=off
@compute @workgroup_size(1)
fn a_component() {
    four.x = 1.0;
    y[0] = four.x;
    y[1] = four.y; //~ unwritten four
}

//# a_member zero=off
@compute @workgroup_size(1)
fn a_member() {
    pair.a = 1.0;
    let both = pair; //~ unwritten pair
    y[0] = both.a;
}

//# an_atomic zero=off
@compute @workgroup_size(16)
fn an_atomic(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&bins[i], 1u); //~ unwritten bins
}

//# an_atomic_that_is_set zero=off
@compute @workgroup_size(16)
fn an_atomic_that_is_set(@builtin(local_invocation_index) i: u32) {
    atomicStore(&bins[i], 0u);
    workgroupBarrier();
    y[i] = f32(atomicAdd(&bins[15 - i], 1u));
}

//# storage_as_it_is y=unwritten:64
@compute @workgroup_size(64)
fn storage_as_it_is(@builtin(local_invocation_index) i: u32) {
    z[i] = y[i]; //~ unwritten y
    y[i] = x[i];
}

//# storage_that_is_written y=unwritten:64
@compute @workgroup_size(64)
fn storage_that_is_written(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i];
    storageBarrier();
    z[i] = y[63 - i];
}

//# adding_to_what_is_not_there y=unwritten:64
@compute @workgroup_size(64)
fn adding_to_what_is_not_there(@builtin(local_invocation_index) i: u32) {
    y[i] += x[i]; //~ unwritten y
}

//# an_atomic_in_storage counts=unwritten:4
@compute @workgroup_size(16)
fn an_atomic_in_storage(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&counts[i % 4], 1u); //~ unwritten counts
}

// Nobody asks for what lies between members.
//# gaps_of_a_struct pairs=unwritten:64
@compute @workgroup_size(8)
fn gaps_of_a_struct(@builtin(local_invocation_index) i: u32) {
    pairs[i].a = 1.0;
    pairs[i].b = vec3f(x[i]);
    let both = pairs[i];
    y[i] = both.a + both.b.z;
}

// A part that is written first, then all.
//# the_rest_of_a_vector pairs=unwritten:64
@compute @workgroup_size(8)
fn the_rest_of_a_vector(@builtin(local_invocation_index) i: u32) {
    pairs[i].b.x = x[i];
    y[i] = pairs[i].b.x;
    let whole = pairs[i].b; //~ unwritten pairs
    y[i] += whole.x;
}

// WGSL gives variables of functions, and private ones, zeros.
//# variables_without_a_value
@compute @workgroup_size(8)
fn variables_without_a_value(@builtin(local_invocation_index) i: u32) {
    var local: array<vec2f, 3>;
    y[i] = local[i % 3].y + own;
}
