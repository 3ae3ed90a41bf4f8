// Copies a range of columns from one matrix to another: for concatenation and its backward pass, and for the inputs
// of a network that has several.
//
//   copy_columns   to[r, to_first + c] = from[r, from_first + c]   for c < columns

struct Shape {
    rows: u32,
    columns: u32,
    from_columns: u32,
    from_first: u32,
    to_columns: u32,
    to_first: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> source: array<f32>;      // (rows, from_columns)
@group(0) @binding(2) var<storage, read_write> destination: array<f32>; // (rows, to_columns)

@compute @workgroup_size(256)
fn copy_columns(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.rows * shape.columns) {
            let row = i / shape.columns;
            let column = i % shape.columns;
            destination[row * shape.to_columns + shape.to_first + column] =
                source[row * shape.from_columns + shape.from_first + column];
        }
    }
}
