// Max pooling over images.
//
//   forward          y[i,j] = max x[p]             over the pixels p of window (i, j)
//   backward         dx[p]  = Σ dy[i,j]            over the windows whose winner is p
//   backward_apart   the same sum if windows do not overlap, so that each pixel is in at most one window
//
// `winner` is the index of the largest pixel within its window, counted row by row. Of equal pixels, the first one
// wins. NaN counts as larger than any number, and the first NaN wins. The shader compares bits, because drivers may
// assume that no value is NaN.
//
// If x is the output of a ReLU (`relu` is 1), dx is the gradient with respect to the ReLU's input: a window whose
// largest pixel is 0 or less passes no gradient on. pool_window.wgsl precedes this file and defines the windows.

@group(0) @binding(1) var<storage, read> x: array<f32>;             // (planes, image)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // (planes, output)
@group(0) @binding(3) var<storage, read_write> winner: array<f32>;  // (planes, output)

// Maps a value to an integer, so that larger values have larger integers. 0 and −0 have the same integer, and NaN has
// the largest.
fn order_of(value: f32) -> i32 {
    let bits = bitcast<u32>(value);
    let magnitude = i32(bits & 0x7fffffffu);
    let order = select(magnitude, -magnitude, bits >> 31u == 1u);
    return select(order, 0x7fffffff, magnitude > 0x7f800000);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let n = (id.x + id.y * count.x) * 256u + local;
    if (n >= shape.elements) {
        return;
    }
    let at = place_of(n, shape.output);
    let covered = pixels_of(at.yz);
    // Start with −∞ and the first pixel, so that the first pixel wins if all values are −∞.
    var infinite = 0xff800000u;
    var largest = bitcast<f32>(infinite);
    var order = order_of(largest);
    var best = covered.first;
    for (var row = covered.first.x; row < covered.end.x; row++) {
        let line = line_of(at.x, row, shape.image);
        for (var column = covered.first.y; column < covered.end.y; column++) {
            let value = x[line + column];
            if (order_of(value) > order) {
                largest = value;
                order = order_of(value);
                best = vec2u(row, column);
            }
        }
    }
    let within = best + shape.padding - at.yz * shape.stride;
    y[n] = largest;
    winner[n] = f32(within.x * shape.kernel.y + within.y);
}

@group(0) @binding(1) var<storage, read> winners: array<f32>;  // `winner` of the forward pass: (planes, output)
@group(0) @binding(2) var<storage, read> dy: array<f32>;       // (planes, output)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (planes, image)
@group(0) @binding(4) var<storage, read> output: array<f32>;   // y of the forward pass: (planes, output)

fn gradient_of(window: u32) -> f32 {
    if (shape.relu == 1u) {
        return select(dy[window], 0.0, output[window] <= 0.0);
    }
    return dy[window];
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let n = (id.x + id.y * count.x) * 256u + local;
    if (n >= shape.elements) {
        return;
    }
    let at = place_of(n, shape.image);
    let covering = windows_of(at.yz);
    var sum = 0.0;
    for (var i = covering.first.x; i < covering.end.x; i++) {
        let line = line_of(at.x, i, shape.output);
        for (var j = covering.first.y; j < covering.end.y; j++) {
            let within = at.yz + shape.padding - vec2u(i, j) * shape.stride;
            if (u32(winners[line + j]) == within.x * shape.kernel.y + within.y) {
                sum += gradient_of(line + j);
            }
        }
    }
    dx[n] = sum;
}

// Each invocation handles one window and writes dx for the window's pixels. The last windows also write dx for the
// pixels between the window and the edge of the image.
@compute @workgroup_size(256)
fn backward_apart(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                  @builtin(local_invocation_index) local: u32) {
    let n = (id.x + id.y * count.x) * 256u + local;
    if (n >= shape.elements) {
        return;
    }
    let at = place_of(n, shape.output);
    let covered = pixels_of(at.yz);
    let end = select(covered.end, shape.image, at.yz + 1u == shape.output);
    let won = u32(winners[n]);
    let row_won = won / shape.kernel.y;
    let within = vec2u(row_won, won - row_won * shape.kernel.y);
    let best = at.yz * shape.stride + within - shape.padding;
    let gradient = gradient_of(n);
    for (var row = covered.first.x; row < end.x; row++) {
        let line = line_of(at.x, row, shape.image);
        for (var column = covered.first.y; column < end.y; column++) {
            dx[line + column] = select(0.0, gradient, all(vec2u(row, column) == best));
        }
    }
}
