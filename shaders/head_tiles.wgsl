// Sizes, bindings and memory access for a network's head on GPUs. The values of a block are in workgroup memory, and an
// invocation computes small tiles.

const INVOCATIONS = 256u;
// Tile of an invocation in the forward pass and in the backward pass to the inputs: ROWS × COLUMNS sums.
const ROWS = 4u;
const COLUMNS = 2u;
// Tile of an invocation in a weight gradient: WEIGHT_INPUTS × WEIGHT_OUTPUTS sums.
const WEIGHT_INPUTS = 4u;
const WEIGHT_OUTPUTS = 4u;
// Maximum number of values in all rows of a block.
const ROOM = 4096u;

@group(0) @binding(0) var<uniform> head: Head;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;       // all parameters of the network
@group(0) @binding(2) var<storage, read> x: array<f32>;                // (rows, inputs)
@group(0) @binding(3) var<storage, read> targets: array<f32>;          // (rows, outputs), in train_values
@group(0) @binding(3) var<storage, read> labels: array<u32>;           // (1, rows), in train_classes
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;     // (1, rows)
@group(0) @binding(5) var<storage, read_write> slots: array<f32>;      // (workgroups, slot)
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;         // (rows, inputs)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;          // (rows, outputs), in forward

var<workgroup> values: array<f32, ROOM>;

fn take_place(workgroup: u32) {}

fn value(at: u32) -> f32 {
    return values[at];
}

fn set_value(at: u32, to: f32) {
    values[at] = to;
}

fn synchronize() {
    workgroupBarrier();
}
