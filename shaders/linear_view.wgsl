// What linear.wgsl and linear_registers.wgsl, behind this, have as well as products: matrices that are read
// either way, and the gradient by the bias.
//
//   backward_bias    db = Σ_rows dy    db[o]   = Σ_r dy[r,o]

// A matrix (rows, columns) whose element (r, c) lies at r·row_step + c·column_step.
struct View {
    rows: u32,
    columns: u32,
    row_step: u32,
    column_step: u32,
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;       // (rows, outputs)
@group(0) @binding(2) var<storage, read_write> db: array<f32>; // (1, outputs)
