// Looks up a row of a table for each index, like torch.nn.Embedding:
//
//   forward          y[i] = weight[x[i]]
//   backward_weight  dweight[e] = Σ dy[i] over all i with x[i] = e, in order of i
//   backward_input   dx = 0, because an index has no gradient
//
// An index is an integer from 0 to `count` − 1, stored as f32. If x[i] is any other number, y[i] is NaN, which makes
// the loss NaN, and dy[i] is ignored.

struct Shape {
    indices: u32, // number of indices in the minibatch
    count: u32,
    width: u32,
    begin: u32,   // in backward_weight, the first i whose x[i] this dispatch handles
    end: u32,     // in backward_weight, the end of these i
    first: u32,   // in backward_weight, index of this dispatch's first workgroup
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>;          // (rows, indices per row)
@group(0) @binding(2) var<storage, read> weight: array<f32>;     // (count, width)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;    // (rows, indices per row, width)

// Returns the index that a float represents, or `count` if the float is not a valid index. The shader compares the
// bits, because drivers may assume that no value is NaN. The bits of floats from 0 on are in ascending order, and the
// bits of NaN and of negative floats are greater.
fn index_of(value: f32) -> u32 {
    let given = bitcast<u32>(value);
    let bits = select(given, 0u, given == 0x80000000u); // −0 is 0.
    let is_small = bits <= 0x4b800000u;                 // At most 2²⁴.
    let index = u32(select(0.0, value, is_small));
    let is_index = is_small & (bitcast<u32>(f32(index)) == bits) & (index < shape.count);
    return select(shape.count, index, is_index);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    var not_a_number = 0x7fc00000u;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.indices * shape.width) {
            let index = index_of(x[i / shape.width]);
            let row = min(index, shape.count - 1u);
            let value = weight[row * shape.width + i % shape.width];
            y[i] = select(bitcast<f32>(not_a_number), value, index < shape.count);
        }
    }
}

@group(0) @binding(2) var<storage, read> dy: array<f32>;            // (rows, indices per row, width)
@group(0) @binding(3) var<storage, read_write> dweight: array<f32>; // (count, width)

// One bit for each of 2,048 indices: 1 if the index is the workgroup's row of the table.
var<workgroup> found: array<u32, 64>;

// A workgroup computes 64 columns of one row of dweight, one column per invocation. It handles 2,048 indices at a time:
// each invocation first tests 32 of them and sets their bits in `found`. Then each invocation adds dy to its column for
// all indices found. The first dispatch writes the sums, and later dispatches add to them.
@compute @workgroup_size(64)
fn backward_weight(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                   @builtin(local_invocation_index) local: u32) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let blocks = (shape.width + 63u) / 64u;
    let row = workgroup / blocks;
    let column = workgroup % blocks * 64u + local;
    let is_mine = (row < shape.count) & (column < shape.width);
    let at = row * shape.width + column;
    var sum = 0.0;
    if (is_mine && shape.begin > 0u) {
        sum = dweight[at];
    }
    for (var tile = shape.begin; tile < shape.end; tile += 2048u) {
        let mine = tile + 32u * local;
        var bits = 0u;
        for (var i = mine; i < min(mine + 32u, shape.end); i++) {
            bits |= select(0u, 1u << (i - mine), index_of(x[i]) == row);
        }
        found[local] = bits;
        workgroupBarrier();
        let words = select(0u, min(64u, (shape.end - tile + 31u) / 32u), is_mine);
        for (var word = 0u; word < words; word++) {
            var left = found[word];
            while (left != 0u) {
                let i = tile + 32u * word + firstTrailingBit(left);
                sum += dy[i * shape.width + column];
                left &= left - 1u;
            }
        }
        workgroupBarrier();
    }
    if (is_mine) {
        dweight[at] = sum;
    }
}

@group(0) @binding(1) var<storage, read_write> dx: array<f32>; // (rows, indices per row)

@compute @workgroup_size(256)
fn backward_input(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                  @builtin(local_invocation_index) local: u32) {
    let first = (id.x + id.y * count.x) * 1024u + local;
    for (var j = 0u; j < 4u; j++) {
        let i = first + 256u * j;
        if (i < shape.indices) {
            dx[i] = 0.0;
        }
    }
}
