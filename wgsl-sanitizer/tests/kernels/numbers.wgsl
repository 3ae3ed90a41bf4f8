// Operations that have no result in the type, and loops without end.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> signed: array<i32>;
@group(0) @binding(3) var<storage, read> unsigned: array<u32>;
@group(0) @binding(4) var<storage, read_write> to_signed: array<i32>;
@group(0) @binding(5) var<storage, read_write> to_unsigned: array<u32>;

override step: u32;
override is_fast: bool = true;
@id(7) override scale: f32 = 2.0;

//# division_by_zero
@compute @workgroup_size(8)
fn division_by_zero(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = 12 / unsigned[i]; //~ division
}

//# division_by_what_is_not_zero
@compute @workgroup_size(8)
fn division_by_what_is_not_zero(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = 12 / unsigned[i + 1] + 12 % unsigned[i + 1];
}

//# remainder_by_zero
@compute @workgroup_size(8)
fn remainder_by_zero(@builtin(local_invocation_index) i: u32) {
    to_signed[i] = 12 % signed[i]; //~ division
}

//# a_quotient_that_overflows signed=-2147483648,-1
@compute @workgroup_size(1)
fn a_quotient_that_overflows() {
    to_signed[0] = signed[0] / signed[1]; //~ division
    to_signed[1] = signed[0] % signed[1]; //~ division
    to_signed[2] = signed[1] / signed[0];
}

//# division_of_vectors
@compute @workgroup_size(1)
fn division_of_vectors() {
    let quotient = vec2u(5, 6) / vec2u(unsigned[1], unsigned[0]); //~ division
    to_unsigned[0] = quotient.x + quotient.y;
}

//# division_of_floats
@compute @workgroup_size(8)
fn division_of_floats(@builtin(local_invocation_index) i: u32) {
    y[i] = 1.0 / x[i] + 1.0 % x[i];
}

//# division_that_is_guarded
@compute @workgroup_size(8)
fn division_that_is_guarded(@builtin(local_invocation_index) i: u32) {
    if (unsigned[i] != 0) {
        to_unsigned[i] = 12 / unsigned[i];
    }
}

//# shift_by_the_width
@compute @workgroup_size(64)
fn shift_by_the_width(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = 1u << unsigned[i]; //~ shift
}

//# shift_to_the_right_by_the_width
@compute @workgroup_size(64)
fn shift_to_the_right_by_the_width(@builtin(local_invocation_index) i: u32) {
    to_signed[i] = -1i >> unsigned[i]; //~ shift
    to_unsigned[i] = unsigned[63] >> unsigned[i]; //~ shift
}

//# shift_by_a_negative_number signed=-1,
@compute @workgroup_size(1)
fn shift_by_a_negative_number() {
    to_unsigned[0] = 1u << u32(signed[0]); //~ shift
}

//# shift_below_the_width
@compute @workgroup_size(32)
fn shift_below_the_width(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = 1u << i >> (31 - i);
}

//# conversion_to_signed x=2147483648.0,-2147483648.0,2147483520.0
@compute @workgroup_size(3)
fn conversion_to_signed(@builtin(local_invocation_index) i: u32) {
    to_signed[i] = i32(x[i]); //~ conversion
}

//# conversion_to_signed_at_the_ends x=-2147483648.0,2147483520.0,-0.9,0.9
@compute @workgroup_size(4)
fn conversion_to_signed_at_the_ends(@builtin(local_invocation_index) i: u32) {
    to_signed[i] = i32(x[i]);
}

//# conversion_to_unsigned x=4294967296.0,4294967040.0
@compute @workgroup_size(2)
fn conversion_to_unsigned(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = u32(x[i]); //~ conversion
}

//# conversion_of_a_negative_number x=-1.0,
@compute @workgroup_size(1)
fn conversion_of_a_negative_number() {
    to_unsigned[0] = u32(x[0]); //~ conversion
}

//# conversion_to_unsigned_at_the_ends x=-0.9,4294967040.0,0.0
@compute @workgroup_size(3)
fn conversion_to_unsigned_at_the_ends(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = u32(x[i]);
}

//# conversion_of_nan x=0.0,NaN
@compute @workgroup_size(2)
fn conversion_of_nan(@builtin(local_invocation_index) i: u32) {
    to_signed[i] = i32(x[i]); //~ conversion
}

//# conversion_of_infinity x=0.0,
@compute @workgroup_size(1)
fn conversion_of_infinity() {
    to_unsigned[0] = u32(1.0 / x[0]); //~ conversion
}

//# a_bitcast_is_no_conversion x=NaN,-1.0
@compute @workgroup_size(2)
fn a_bitcast_is_no_conversion(@builtin(local_invocation_index) i: u32) {
    to_unsigned[i] = bitcast<u32>(x[i]);
}

// Integers wrap.
//# integers_that_overflow signed=2147483647,-2147483648
@compute @workgroup_size(1)
fn integers_that_overflow() {
    to_signed[0] = signed[0] + 1;
    to_signed[1] = signed[1] - 1;
    to_signed[2] = signed[0] * signed[0];
    to_signed[3] = -signed[1] + abs(signed[1]);
}

//# no_end budget=1000
@compute @workgroup_size(1)
fn no_end() {
    var count = 0u;
    loop { //~ endless
        count++;
        if (count == 0) {
            break;
        }
    }
    to_unsigned[0] = count;
}

// Counted down, an unsigned number is never less than 0.
//# down_below_zero budget=1000
@compute @workgroup_size(1)
fn down_below_zero() {
    var sum = 0u;
    for (var at = 7u; at >= 0; at--) { //~ endless
        sum += at;
    }
    to_unsigned[0] = sum;
}

//# a_while_loop budget=1000
@compute @workgroup_size(1)
fn a_while_loop() {
    var rest = 10i;
    while (rest != 1) { //~ endless
        rest -= 2;
    }
    to_signed[0] = rest;
}

// The budget is of all loops of one invocation together.
//# nested_loops budget=100
@compute @workgroup_size(1)
fn nested_loops() {
    for (var outer = 0u; outer < 20; outer++) {
        for (var inner = 0u; inner < 10; inner++) { //~ endless
            to_unsigned[outer] += inner;
        }
    }
}

//# within_the_budget budget=220
@compute @workgroup_size(4)
fn within_the_budget(@builtin(local_invocation_index) i: u32) {
    for (var outer = 0u; outer < 20; outer++) {
        for (var inner = 0u; inner < 10; inner++) {
            to_unsigned[i] += inner;
        }
    }
}

//# a_constant const.step=0 const.is_fast=0 budget=50
@compute @workgroup_size(4)
fn a_constant(@builtin(local_invocation_index) i: u32) {
    for (var at = 0u; at < 8; at += step) { //~ endless
        y[i] += scale * select(1.0, 2.0, is_fast);
    }
}

//# another_constant const.step=2 const.7=0.5
@compute @workgroup_size(4)
fn another_constant(@builtin(local_invocation_index) i: u32) {
    for (var at = 0u; at < 8; at += step) {
        y[i] += scale * select(1.0, 2.0, is_fast);
    }
}
