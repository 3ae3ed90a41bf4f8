// How linear.wgsl and linear_registers.wgsl, behind this, index matrices.

// A matrix (rows, columns) whose element (r, c) lies at r·row_step + c·column_step.
struct View {
    rows: u32,
    columns: u32,
    row_step: u32,
    column_step: u32,
}
