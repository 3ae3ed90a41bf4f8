// Accesses of storage: within a workgroup, between workgroups, and of one buffer by two bindings.

struct Pair { a: f32, b: f32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
@group(0) @binding(3) var<uniform> scale: vec4f;
@group(0) @binding(4) var<storage, read_write> fours: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> pairs: array<Pair>;
@group(0) @binding(6) var<storage, read_write> threes: array<vec3f>;

//# elements_of_its_own workgroups=4 x=256 y=unwritten:256
@compute @workgroup_size(64)
fn elements_of_its_own(@builtin(global_invocation_id) global: vec3u) {
    y[global.x] = scale.x * x[global.x];
    y[global.x] += 1.0;
}

//# neighbours_in_a_workgroup order=z
@compute @workgroup_size(64)
fn neighbours_in_a_workgroup(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i] + 1.0; //~ A:
    z[i] = y[(i + 1) % 64]; //~ race y A
}

//# neighbours_and_barrier_of_storage
@compute @workgroup_size(64)
fn neighbours_and_barrier_of_storage(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i] + 1.0;
    storageBarrier();
    z[i] = y[(i + 1) % 64];
}

// A workgroupBarrier does not order storage, though all wait there.
//# neighbours_and_barrier_of_the_workgroup
@compute @workgroup_size(64)
fn neighbours_and_barrier_of_the_workgroup(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i] + 1.0; //~ A:
    workgroupBarrier();
    z[i] = y[(i + 1) % 64]; //~ race y A
}

//# neighbours_and_both_barriers
@compute @workgroup_size(64)
fn neighbours_and_both_barriers(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i] + 1.0;
    workgroupBarrier();
    storageBarrier();
    z[i] = y[(i + 1) % 64];
}

//# writes_of_several_workgroups workgroups=2 order=y
@compute @workgroup_size(64)
fn writes_of_several_workgroups(
    @builtin(local_invocation_index) i: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    y[i] = f32(group.x); //~ race y
}

//# writes_of_the_same_value workgroups=2
@compute @workgroup_size(64)
fn writes_of_the_same_value(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i] + 1.0; //~ race y
}

//# reads_of_another_workgroup workgroups=2 x=128 y=128 z=128 order=z
@compute @workgroup_size(64)
fn reads_of_another_workgroup(@builtin(global_invocation_id) global: vec3u) {
    y[global.x] = x[global.x] + 1.0; //~ A:
    z[global.x] = y[(global.x + 64) % 128]; //~ race y A
}

// No barrier orders workgroups.
//# reads_of_another_workgroup_and_barrier workgroups=2 x=128 y=128 z=128 order=z
@compute @workgroup_size(64)
fn reads_of_another_workgroup_and_barrier(@builtin(global_invocation_id) global: vec3u) {
    y[global.x] = x[global.x] + 1.0; //~ A:
    storageBarrier();
    z[global.x] = y[(global.x + 64) % 128]; //~ race y A
}

// Only elements at the seam between workgroups race.
//# a_stencil_in_place workgroups=2 y=129 order=y
@compute @workgroup_size(64)
fn a_stencil_in_place(@builtin(global_invocation_id) global: vec3u) {
    let sum = y[global.x] + y[global.x + 1]; //~ A:
    storageBarrier();
    y[global.x] = sum; //~ race y A
}

//# a_stencil_out_of_place workgroups=2 x=129 y=128
@compute @workgroup_size(64)
fn a_stencil_out_of_place(@builtin(global_invocation_id) global: vec3u) {
    y[global.x] = x[global.x] + x[global.x + 1];
}

//# all_read workgroups=8
@compute @workgroup_size(64)
fn all_read(
    @builtin(local_invocation_index) i: u32,
    @builtin(workgroup_id) group: vec3u,
) {
    if (group.x == 7) {
        y[i] = x[0] + x[63] + scale.y;
    }
}

// Workgroups in two directions, of which one index leaves out one.
//# a_direction_is_left_out workgroups=2,3 y=192 order=y
@compute @workgroup_size(4, 8)
fn a_direction_is_left_out(
    @builtin(global_invocation_id) global: vec3u,
    @builtin(workgroup_id) group: vec3u,
) {
    y[global.y * 4 + global.x % 4] = f32(group.x); //~ race y
}

//# two_directions workgroups=2,3 y=192
@compute @workgroup_size(4, 8)
fn two_directions(@builtin(global_invocation_id) global: vec3u) {
    y[global.y * 8 + global.x] = f32(global.y);
}

//# three_directions workgroups=2,3,2 y=96
@compute @workgroup_size(2, 2, 2)
fn three_directions(
    @builtin(global_invocation_id) global: vec3u,
    @builtin(num_workgroups) groups: vec3u,
) {
    let size = 2 * groups;
    y[(global.z * size.y + global.y) * size.x + global.x] = 1.0;
}

// One binding reads what the other writes.
//# aliased y=@x order=y
@compute @workgroup_size(64)
fn aliased(@builtin(local_invocation_index) i: u32) {
    let next = x[(i + 1) % 64]; //~ A:
    y[i] = next; //~ race y A
}

//# aliased_in_place y=@x
@compute @workgroup_size(64)
fn aliased_in_place(@builtin(local_invocation_index) i: u32) {
    y[i] = 2.0 * x[i];
}

//# aliased_for_writes z=@y
@compute @workgroup_size(64)
fn aliased_for_writes(@builtin(local_invocation_index) i: u32) {
    y[i] = 1.0; //~ race y A
    z[63 - i] = 1.0; //~ A:
}

// Ranges of one buffer that do not meet.
//# ranges_beside_each_other x=128[0..256] y=@x[256..512]
@compute @workgroup_size(64)
fn ranges_beside_each_other(@builtin(local_invocation_index) i: u32) {
    y[i] = x[63 - i];
}

// Ranges that meet in their last and first elements.
//# ranges_that_overlap x=128[0..256] y=@x[252..508] order=y
@compute @workgroup_size(64)
fn ranges_that_overlap(@builtin(local_invocation_index) i: u32) {
    let old = x[i]; //~ race x A
    y[i] = old; //~ A:
}

//# components_in_storage
@compute @workgroup_size(4)
fn components_in_storage(@builtin(local_invocation_index) i: u32) {
    fours[2][i] = x[i]; //~ race fours
}

//# vectors_in_storage
@compute @workgroup_size(16)
fn vectors_in_storage(@builtin(local_invocation_index) i: u32) {
    fours[i].x = x[i];
    fours[i].w += 1.0;
}

//# members_in_storage
@compute @workgroup_size(64)
fn members_in_storage(@builtin(local_invocation_index) i: u32) {
    if (i % 2 == 0) {
        pairs[i / 2].a = x[i];
    } else {
        pairs[i / 2].b = x[i];
    }
}

// A vector of three has a gap behind it that no write touches: but these are the next vector's.
//# vectors_of_three threes=64
@compute @workgroup_size(16)
fn vectors_of_three(@builtin(local_invocation_index) i: u32) {
    threes[i] = vec3f(x[i]);
    storageBarrier();
    y[i] = threes[15 - i].z;
}

// Each copies a struct that another writes a member of.
//# a_struct_and_a_member order=y
@compute @workgroup_size(32)
fn a_struct_and_a_member(@builtin(local_invocation_index) i: u32) {
    pairs[i].b = -1.0; //~ A:
    let next = pairs[(i + 1) % 32]; //~ race pairs A
    y[i] = next.b;
}

// What two reads of different workgroups and a later write of a third make: the write meets a reader.
//# a_late_writer workgroups=3 order=z
@compute @workgroup_size(1)
fn a_late_writer(@builtin(workgroup_id) group: vec3u) {
    if (group.x < 2) {
        z[group.x] = y[7]; //~ A:
    } else {
        y[7] = -1.0; //~ race y A
    }
}
