// Copies a minibatch from the data set in GPU memory.
//
//   batch_labels[r] = labels[indices[first + r]]
//   floats          x[r,c] = bytes[indices[first + r], c] / 255, in [0, 1]
//   words           x[r,c] = bytes[indices[first + r], c], as bytes, for a first layer that reads bytes
//
//   rows            x[r,c] = all[indices[first + r], c], from floats: features or target values
//   classes         labels_out[r] = all_labels[indices[first + r]], for one minibatch or several
//
// A word has four bytes, lowest byte first, and each row of the data set starts a new word.
// There is one workgroup per row, except in `classes`, which has one invocation per row.

struct Shape {
    rows: u32,    // rows of the minibatch
    columns: u32, // features per row
    words: u32,   // words per row of the data set: columns / 4, rounded up
    first: u32,   // position of the minibatch's first index in `indices`
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> indices: array<u32>;           // (1, rows or more)
@group(0) @binding(2) var<storage, read> bytes: array<u32>;             // (examples, words)
@group(0) @binding(3) var<storage, read> labels: array<u32>;            // (1, examples)
@group(0) @binding(4) var<storage, read_write> x: array<f32>;           // (rows, columns)
@group(0) @binding(5) var<storage, read_write> batch_labels: array<u32>; // (1, rows)

@group(0) @binding(4) var<storage, read_write> x_words: array<u32>;     // (rows, words)

@compute @workgroup_size(64)
fn words(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let row = id.x + id.y * count.x;
    if (row >= shape.rows) {
        return;
    }
    let example = indices[shape.first + row];
    for (var word = local; word < shape.words; word += 64u) {
        x_words[row * shape.words + word] = bytes[example * shape.words + word];
    }
    if (local == 0u) {
        batch_labels[row] = labels[example];
    }
}

@compute @workgroup_size(64)
fn floats(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let row = id.x + id.y * count.x;
    if (row >= shape.rows) {
        return;
    }
    let example = indices[shape.first + row];
    for (var word = local; word < shape.words; word += 64u) {
        let values = unpack4x8unorm(bytes[example * shape.words + word]);
        for (var j = 0u; j < 4u; j++) {
            let column = 4u * word + j;
            if (column < shape.columns) {
                x[row * shape.columns + column] = values[j];
            }
        }
    }
    if (local == 0u) {
        batch_labels[row] = labels[example];
    }
}

@group(0) @binding(2) var<storage, read> all_rows: array<f32>;              // (examples, columns)
@group(0) @binding(3) var<storage, read_write> x_rows: array<f32>;          // (rows, columns)

@compute @workgroup_size(64)
fn rows(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
        @builtin(local_invocation_index) local: u32) {
    let row = id.x + id.y * count.x;
    if (row >= shape.rows) {
        return;
    }
    let example = indices[shape.first + row];
    for (var column = local; column < shape.columns; column += 64u) {
        x_rows[row * shape.columns + column] = all_rows[example * shape.columns + column];
    }
}

@group(0) @binding(2) var<storage, read> all_labels: array<u32>;        // (1, examples)
@group(0) @binding(3) var<storage, read_write> labels_out: array<u32>;  // (minibatches, rows), as `indices`

@compute @workgroup_size(64)
fn classes(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * 64u + local;
    if (row < shape.rows) {
        labels_out[row] = all_labels[indices[shape.first + row]];
    }
}
