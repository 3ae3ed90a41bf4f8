// The backward pass of batch normalization. batch_norm_shape.wgsl, which precedes this file, has the formulas.

@group(0) @binding(2) var<storage, read> mean: array<f32>;    // (1, channels)
@group(0) @binding(3) var<storage, read> inverse: array<f32>; // (1, channels)
@group(0) @binding(4) var<storage, read> dy: array<f32>;      // (rows, channels, positions)
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // (pieces, channels, 2): Σ dy · x̂, Σ dy

@compute @workgroup_size(256)
fn sum_gradients(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                 @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * count.x;
    let piece = workgroup % shape.pieces;
    let channel = workgroup / shape.pieces * shape.width + local % shape.width;
    let c = min(channel, shape.channels - 1u);
    let center = mean[c];
    let scale = inverse[c];
    var sum = vec2f();
    for (var walk = begin(channel, piece, local); walk.value < walk.end; walk = next(walk)) {
        let gradient = dy[walk.at];
        sum += vec2f(gradient * ((x[walk.at] - center) * scale), gradient);
    }
    let all = summed(local, sum);
    if (local < shape.width && channel < shape.channels) {
        let at = 2u * (piece * shape.channels + channel);
        sums[at] = all.x;
        sums[at + 1u] = all.y;
    }
}

@group(0) @binding(1) var<storage, read> pieces: array<f32>;        // sums
@group(0) @binding(2) var<storage, read_write> dweight: array<f32>; // (1, channels)
@group(0) @binding(3) var<storage, read_write> dbias: array<f32>;   // (1, channels)

@compute @workgroup_size(64)
fn merge_gradients(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                   @builtin(local_invocation_index) local: u32) {
    let channel = (id.x + id.y * count.x) * 64u + local;
    if (channel >= shape.channels) {
        return;
    }
    var sum = vec2f();
    for (var piece = 0u; piece < shape.pieces; piece++) {
        let at = 2u * (piece * shape.channels + channel);
        sum += vec2f(pieces[at], pieces[at + 1u]);
    }
    dweight[channel] = sum.x;
    dbias[channel] = sum.y;
}

@group(0) @binding(5) var<storage, read> weight: array<f32>;    // (1, channels), like the following two arrays
@group(0) @binding(6) var<storage, read> of_weight: array<f32>; // dweight
@group(0) @binding(7) var<storage, read> of_bias: array<f32>;   // dbias
@group(0) @binding(8) var<storage, read_write> dx: array<f32>;  // (rows, channels, positions)

@compute @workgroup_size(256)
fn backward_input(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                  @builtin(local_invocation_index) local: u32) {
    var element = begin_element((id.x + id.y * count.x) * 1024u + local);
    for (var j = 0u; j < 4u; j++) {
        if (element.at < shape.elements) {
            let c = element.channel;
            let normal = (x[element.at] - mean[c]) * inverse[c];
            let shared_part = shape.share * (of_bias[c] + normal * of_weight[c]);
            dx[element.at] = weight[c] * inverse[c] * (dy[element.at] - shared_part);
        }
        element = next_element(element);
    }
}
