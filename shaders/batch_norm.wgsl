// The forward pass of batch normalization. batch_norm_shape.wgsl, which precedes this file, has the formulas.

@group(0) @binding(2) var<storage, read_write> moments: array<f32>; // (pieces, channels, 2): mean, Σ (x − mean)²

@compute @workgroup_size(256)
fn measure(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * count.x;
    let piece = workgroup % shape.pieces;
    let channel = workgroup / shape.pieces * shape.width + local % shape.width;
    let n = count_of(piece);
    var sum = 0.0;
    for (var walk = begin(channel, piece, local); walk.value < walk.end; walk = next(walk)) {
        sum += x[walk.at];
    }
    let near = summed(local, vec2f(sum, 0.0)).x / n;
    var deviations = vec2f();
    for (var walk = begin(channel, piece, local); walk.value < walk.end; walk = next(walk)) {
        let deviation = x[walk.at] - near;
        deviations += vec2f(deviation, deviation * deviation);
    }
    // The first mean has a rounding error, which is the mean of the deviations. Correct both moments by it.
    let all = summed(local, deviations);
    if (local < shape.width && channel < shape.channels) {
        let at = 2u * (piece * shape.channels + channel);
        moments[at] = near + all.x / n;
        moments[at + 1u] = max(all.y - all.x * all.x / n, 0.0);
    }
}

@group(0) @binding(1) var<storage, read> measured: array<f32>;             // moments
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;           // (1, channels), like the following arrays
@group(0) @binding(3) var<storage, read_write> inverse: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> running_var: array<f32>;

// Merges the moments of a channel's pieces by the formula of Chan, Golub and LeVeque (1979).
@compute @workgroup_size(64)
fn merge(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let channel = (id.x + id.y * count.x) * 64u + local;
    if (channel >= shape.channels) {
        return;
    }
    var center = measured[2u * channel];
    var squares = measured[2u * channel + 1u];
    var n = count_of(0u);
    for (var piece = 1u; piece < shape.pieces; piece++) {
        let at = 2u * (piece * shape.channels + channel);
        let more = count_of(piece);
        let both = n + more;
        let apart = measured[at] - center;
        center += apart * (more / both);
        squares += measured[at + 1u] + apart * apart * (n * more / both);
        n = both;
    }
    mean[channel] = center;
    inverse[channel] = inverseSqrt(squares / n + shape.eps);
    let unbiased = squares / max(n - 1.0, 1.0);
    let before = vec2f(running_mean[channel], running_var[channel]);
    let after = (1.0 - shape.momentum) * before + shape.momentum * vec2f(center, unbiased);
    running_mean[channel] = after.x;
    running_var[channel] = after.y;
}

@group(0) @binding(1) var<storage, read> known_mean: array<f32>; // running_mean: (1, channels)
@group(0) @binding(4) var<storage, read> known_var: array<f32>;  // running_var: (1, channels)

@compute @workgroup_size(64)
fn take_running(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                @builtin(local_invocation_index) local: u32) {
    let channel = (id.x + id.y * count.x) * 64u + local;
    if (channel < shape.channels) {
        mean[channel] = known_mean[channel];
        inverse[channel] = inverseSqrt(known_var[channel] + shape.eps);
    }
}

@group(0) @binding(2) var<storage, read> channel_mean: array<f32>; // (1, channels), like the following three arrays
@group(0) @binding(3) var<storage, read> channel_inverse: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // (rows, channels, positions)

@compute @workgroup_size(256)
fn normalize(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
             @builtin(local_invocation_index) local: u32) {
    var element = begin_element((id.x + id.y * count.x) * 1024u + local);
    for (var j = 0u; j < 4u; j++) {
        if (element.at < shape.elements) {
            let c = element.channel;
            let normal = (x[element.at] - channel_mean[c]) * channel_inverse[c];
            y[element.at] = weight[c] * normal + bias[c];
        }
        element = next_element(element);
    }
}
