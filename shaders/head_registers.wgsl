// Sizes, bindings and memory access for a network's head on the software driver lavapipe. lavapipe has no fast
// workgroup memory and runs eight invocations in lockstep. A load costs as much as dozens of multiplications. So the
// values of a block are in storage, and an invocation computes large tiles. The driver unrolls loops of constant length
// and keeps tiles in registers.

const INVOCATIONS = 8u;
// Tile of an invocation in the forward pass and in the backward pass to the inputs: ROWS × COLUMNS sums.
const ROWS = 10u;
const COLUMNS = 8u;
// Tile of an invocation in a weight gradient: WEIGHT_INPUTS × WEIGHT_OUTPUTS sums.
const WEIGHT_INPUTS = 8u;
const WEIGHT_OUTPUTS = 8u;

@group(0) @binding(0) var<storage, read> head: Head;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;       // all parameters of the network
@group(0) @binding(2) var<storage, read> x: array<f32>;                // (rows, inputs)
@group(0) @binding(3) var<storage, read_write> scratch: array<f32>;    // (workgroups, rows per block, pitch)
@group(0) @binding(4) var<storage, read> targets: array<f32>;          // (rows, outputs), in train_values
@group(0) @binding(4) var<storage, read> labels: array<u32>;           // (1, rows), in train_classes
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;     // (1, rows)
@group(0) @binding(6) var<storage, read_write> slots: array<f32>;      // (workgroups, slot)
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;         // (rows, inputs)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;          // (rows, outputs), in forward

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
