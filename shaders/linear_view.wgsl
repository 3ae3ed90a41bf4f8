// Describes matrices for the shaders of linear products, which follow this file.

// A matrix (rows, columns) whose element (r, c) has the index r·row_step + c·column_step.
struct View {
    rows: u32,
    columns: u32,
    row_step: u32,
    column_step: u32,
}
