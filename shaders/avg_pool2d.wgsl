// Average pooling over images. Pixels in the padding count as zeros.
//
//   forward    y[i,j] = Σ x[p] / pixels        over the pixels p of window (i, j)
//   backward   dx[p]  = Σ dy[i,j] / pixels     over the windows that cover p
//
// pool_window.wgsl precedes this file and defines the windows.

// Pixels per window, including those in the padding.
fn pixels() -> f32 {
    return f32(shape.kernel.x * shape.kernel.y);
}

@group(0) @binding(1) var<storage, read> x: array<f32>;       // (planes, image)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (planes, output)

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let n = (id.x + id.y * count.x) * 256u + local;
    if (n >= shape.elements) {
        return;
    }
    let at = place_of(n, shape.output);
    let covered = pixels_of(at.yz);
    var sum = 0.0;
    for (var row = covered.first.x; row < covered.end.x; row++) {
        let line = line_of(at.x, row, shape.image);
        for (var column = covered.first.y; column < covered.end.y; column++) {
            sum += x[line + column];
        }
    }
    y[n] = sum / pixels();
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;       // (planes, output)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // (planes, image)

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
            sum += dy[line + j];
        }
    }
    dx[n] = sum / pixels();
}
