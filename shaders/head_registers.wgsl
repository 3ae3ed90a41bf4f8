// The head of a network on lavapipe, which has no memory of workgroups and runs eight invocations as one: values of a block
// lie in storage, and an invocation holds large tiles. There a load costs as much as dozens of multiplications. Loops of
// constant length are unrolled by the driver, which keeps tiles in registers.

const INVOCATIONS = 8u;
// Sums of an invocation in a product with the rows.
const ROWS = 10u;
const COLUMNS = 8u;
// Sums of an invocation in a gradient by weights.
const WEIGHT_INPUTS = 8u;
const WEIGHT_OUTPUTS = 8u;

@group(0) @binding(0) var<storage, read> head: Head;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;       // all of the network's
@group(0) @binding(2) var<storage, read> x: array<f32>;                // (rows, inputs)
@group(0) @binding(3) var<storage, read_write> scratch: array<f32>;    // (workgroups, rows of a block, pitch)
@group(0) @binding(4) var<storage, read> targets: array<f32>;          // (rows, outputs), of train_values
@group(0) @binding(4) var<storage, read> labels: array<u32>;           // (1, rows), of train_classes
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;     // (1, rows)
@group(0) @binding(6) var<storage, read_write> slots: array<f32>;      // (workgroups, slot)
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;         // (rows, inputs)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;          // (rows, outputs), of forward

var<private> place: u32;

fn take_place(workgroup: u32) {
    place = workgroup * head.block * head.pitch;
}

fn value(at: u32) -> f32 {
    return scratch[place + at];
}

fn set_value(at: u32, to: f32) {
    scratch[place + at] = to;
}

fn synchronize() {
    storageBarrier();
}
