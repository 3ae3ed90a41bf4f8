// Multiplies the losses and gradients of rows by the rows' weights. This kernel runs after the kernel of the loss.
//
//   weigh   losses[r] = w[r] · losses[r],  dy[r, c] = w[r] · dy[r, c]

struct Shape {
    elements: u32, // elements of dy: rows · columns
    columns: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> weights: array<f32>;      // (1, rows)
@group(0) @binding(2) var<storage, read_write> losses: array<f32>; // (1, rows)
@group(0) @binding(3) var<storage, read_write> dy: array<f32>;     // (rows, columns)

@compute @workgroup_size(256)
fn weigh(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.elements) {
            let row = i / shape.columns;
            dy[i] *= weights[row];
            if (i == row * shape.columns) {
                losses[row] *= weights[row];
            }
        }
    }
}
