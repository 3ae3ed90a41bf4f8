// How the shaders of linear products that follow this file index matrices.

// A matrix (rows, columns) whose element (r, c) has the index r·row_step + c·column_step.
struct View {
    rows: u32,
    columns: u32,
    row_step: u32,
    column_step: u32,
}
