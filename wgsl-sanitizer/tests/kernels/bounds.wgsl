// Accesses out of bounds, of memory of each kind.

struct Params { count: u32, rows: array<vec4u, 3> }
struct Tail { head: vec2f, count: u32, numbers: array<f32> }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read_write> tail: Tail;
@group(0) @binding(4) var<storage, read> fixed: array<f32, 16>;
@group(0) @binding(5) var<storage, read> square: mat4x4f;
@group(0) @binding(6) var<storage, read_write> nested: array<array<f32, 8>, 8>;
@group(0) @binding(7) var<storage, read_write> counts: array<atomic<u32>>;

var<workgroup> tile: array<f32, 64>;
var<workgroup> four: vec4f;
var<private> own: array<f32, 4>;

const table = array<f32, 4>(1, 2, 3, 4);

//# within
@compute @workgroup_size(64)
fn within(@builtin(local_invocation_index) i: u32) {
    y[i] = x[63 - i];
}

//# a_read_of_storage
@compute @workgroup_size(64)
fn a_read_of_storage(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i + 1]; //~ bounds x
}

//# a_write_of_storage
@compute @workgroup_size(64)
fn a_write_of_storage(@builtin(local_invocation_index) i: u32) {
    y[i + 1] = x[i]; //~ bounds y
}

// The value of what was read out of bounds is dropped: the read is not.
//# a_read_whose_value_is_dropped x=60
@compute @workgroup_size(64)
fn a_read_whose_value_is_dropped(@builtin(local_invocation_index) i: u32) {
    let value = x[i]; //~ bounds x
    if (i < 60) {
        y[i] = value;
    }
}

//# a_guarded_read x=60
@compute @workgroup_size(64)
fn a_guarded_read(@builtin(local_invocation_index) i: u32) {
    if (i < arrayLength(&x)) {
        y[i] = x[i];
    }
}

//# a_guard_with_one_too_many x=60
@compute @workgroup_size(64)
fn a_guard_with_one_too_many(@builtin(local_invocation_index) i: u32) {
    if (i <= arrayLength(&x)) {
        y[i] = x[i]; //~ bounds x
    }
}

// `select` computes both values.
//# a_guard_by_select x=60
@compute @workgroup_size(64)
fn a_guard_by_select(@builtin(local_invocation_index) i: u32) {
    y[i] = select(0.0, x[i], i < 60); //~ bounds x
}

//# a_guard_by_and x=60
@compute @workgroup_size(64)
fn a_guard_by_and(@builtin(local_invocation_index) i: u32) {
    if (i < 60 && x[i] > 3) {
        y[i] = 1.0;
    }
}

// The buffer has 64, and the binding half of them.
//# a_range_of_a_buffer x=64[0..128]
@compute @workgroup_size(64)
fn a_range_of_a_buffer(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i]; //~ bounds x
}

//# the_length_of_a_range x=64[64..192] y=32
@compute @workgroup_size(64)
fn the_length_of_a_range(@builtin(local_invocation_index) i: u32) {
    if (i < arrayLength(&x)) {
        y[i] = x[i];
    }
}

//# a_negative_index
@compute @workgroup_size(64)
fn a_negative_index(@builtin(local_invocation_index) i: u32) {
    let before = i32(i) - 1;
    y[i] = x[before]; //~ bounds x
}

//# an_index_that_wraps
@compute @workgroup_size(64)
fn an_index_that_wraps(@builtin(local_invocation_index) i: u32) {
    y[i] = x[i - 1]; //~ bounds x
}

//# an_array_of_fixed_length fixed=64
@compute @workgroup_size(64)
fn an_array_of_fixed_length(@builtin(local_invocation_index) i: u32) {
    y[i] = fixed[i]; //~ bounds fixed
}

//# uniform_memory params=64
@compute @workgroup_size(4)
fn uniform_memory(@builtin(local_invocation_index) i: u32) {
    y[i] = f32(params.rows[i].x); //~ bounds params
}

//# workgroup_memory
@compute @workgroup_size(64)
fn workgroup_memory(@builtin(local_invocation_index) i: u32) {
    tile[i + 1] = x[i]; //~ bounds tile
    workgroupBarrier();
    y[i] = tile[i];
}

//# private_memory
@compute @workgroup_size(8)
fn private_memory(@builtin(local_invocation_index) i: u32) {
    own[i] = x[i]; //~ bounds own
    y[i] = own[i]; //~ bounds own
}

//# a_local_array
@compute @workgroup_size(8)
fn a_local_array(@builtin(local_invocation_index) i: u32) {
    var local = array<f32, 4>();
    for (var j = 0u; j <= i; j++) {
        local[j] += x[j]; //~ bounds local
    }
    y[i] = local[0];
}

//# a_constant_array
@compute @workgroup_size(8)
fn a_constant_array(@builtin(local_invocation_index) i: u32) {
    y[i] = table[i]; //~ bounds a value
}

//# a_component
@compute @workgroup_size(8)
fn a_component(@builtin(local_invocation_index) i: u32) {
    var local = vec4f(1.0);
    y[i] = local[i]; //~ bounds local
}

//# a_component_of_a_value
@compute @workgroup_size(8)
fn a_component_of_a_value(@builtin(local_invocation_index) i: u32) {
    let local = vec4f(x[0]);
    y[i] = local[i]; //~ bounds a value
}

//# a_component_in_workgroup_memory
@compute @workgroup_size(1)
fn a_component_in_workgroup_memory() {
    four[u32(x[4])] = 1.0; //~ bounds four
}

//# a_column
@compute @workgroup_size(8)
fn a_column(@builtin(local_invocation_index) i: u32) {
    y[i] = square[i].x; //~ bounds square
}

//# an_element_of_a_column
@compute @workgroup_size(8)
fn an_element_of_a_column(@builtin(local_invocation_index) i: u32) {
    y[i] = square[1][i]; //~ bounds square
}

// The flat address lies within: in the next row.
//# an_inner_index
@compute @workgroup_size(16)
fn an_inner_index(@builtin(local_invocation_index) i: u32) {
    nested[2][i] = 1.0; //~ bounds nested
}

//# an_outer_index
@compute @workgroup_size(16)
fn an_outer_index(@builtin(local_invocation_index) i: u32) {
    nested[i][3] = 1.0; //~ bounds nested
}

//# the_end_of_a_struct tail=12
@compute @workgroup_size(16)
fn the_end_of_a_struct(@builtin(local_invocation_index) i: u32) {
    if (i < arrayLength(&tail.numbers)) {
        tail.numbers[i] = 1.0;
    }
}

// Nine of twelve words are the array's: three are before it.
//# behind_the_end_of_a_struct tail=12
@compute @workgroup_size(16)
fn behind_the_end_of_a_struct(@builtin(local_invocation_index) i: u32) {
    if (i < 12) {
        tail.numbers[i] = 1.0; //~ bounds tail
    }
}

//# an_atomic counts=8
@compute @workgroup_size(16)
fn an_atomic(@builtin(local_invocation_index) i: u32) {
    atomicAdd(&counts[i], 1u); //~ bounds counts
}

// A pointer to nowhere is no access.
//# a_pointer_that_is_not_used
@compute @workgroup_size(64)
fn a_pointer_that_is_not_used(@builtin(local_invocation_index) i: u32) {
    let place = &y[i + 60];
    if (i < 4) {
        *place = x[i];
    }
}

//# a_pointer_that_is_used
@compute @workgroup_size(64)
fn a_pointer_that_is_used(@builtin(local_invocation_index) i: u32) {
    let place = &y[i + 60];
    if (i < 5) {
        *place = x[i]; //~ bounds y
    }
}

//# a_pointer_into_a_row
@compute @workgroup_size(8)
fn a_pointer_into_a_row(@builtin(local_invocation_index) i: u32) {
    let row = &nested[i];
    (*row)[i + 1] = 1.0; //~ bounds nested
}

// The variable is the one that the pointer is of.
//# an_argument
fn third(numbers: ptr<function, array<f32, 3>>, at: u32) -> f32 {
    return (*numbers)[at]; //~ bounds local
}

@compute @workgroup_size(4)
fn an_argument(@builtin(local_invocation_index) i: u32) {
    var local = array<f32, 3>(1, 2, 3);
    y[i] = third(&local, i);
}

// Each workgroup but the last is full.
//# a_grid_that_is_too_large workgroups=2 x=100 y=100
@compute @workgroup_size(64)
fn a_grid_that_is_too_large(@builtin(global_invocation_id) global: vec3u) {
    y[global.x] = x[global.x]; //~ bounds x, bounds y
}

//# a_grid_with_a_guard workgroups=2 x=100 y=100
@compute @workgroup_size(64)
fn a_grid_with_a_guard(@builtin(global_invocation_id) global: vec3u) {
    if (global.x >= arrayLength(&y)) {
        return;
    }
    y[global.x] = x[global.x];
}
