// Batch normalization (Ioffe and Szegedy, 2015) of each channel over n = rows · positions values, as in PyTorch:
//
//   y        = weight · x̂ + bias       with x̂ = (x − mean) · inverse, inverse = 1 / √(variance + eps)
//   variance = Σ (x − mean)² / n       the running variance divides by max(n − 1, 1) instead
//   running  ← (1 − momentum) · running + momentum · (mean, variance)
//   dweight  = Σ dy · x̂,  dbias = Σ dy
//   dx       = weight · inverse · (dy − share · (dbias + x̂ · dweight))   with share = 1 / n
//
// Outside of training, mean and variance are the running ones. They do not depend on x, so share = 0.
//
// The values of a channel, row after row, are cut into pieces; the cuts depend only on the shape. A workgroup sums one
// piece of `width` channels, with 256 / width invocations per channel. Then one invocation merges the pieces of a
// channel in order. So the same values give the same bits. A piece sums the squared deviations from its own mean, so
// that a mean far from 0 costs no precision.

struct Shape {
    values: u32,    // per channel: n
    channels: u32,
    positions: u32,
    width: u32,     // channels per workgroup: a power of two up to 16
    pieces: u32,    // per channel
    piece: u32,     // values per piece; the last piece may have fewer
    hop: u32,       // step of an invocation's index in x when it advances by 256 / width values of its channel
    shift: u32,     // the same step of its position
    elements: u32,  // of x
    stride_position: u32, // step of an element's position when its index in x grows by 256
    stride_channel: u32,  // the same step of its channel
    eps: f32,
    momentum: f32,
    share: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (rows, channels, positions)

var<workgroup> partial: array<vec2f, 256>;

// The sums of `mine` over all invocations of the same channel.
fn summed(local: u32, mine: vec2f) -> vec2f {
    partial[local] = mine;
    workgroupBarrier();
    for (var stride = 128u; stride >= shape.width; stride /= 2u) {
        if (local < stride) {
            partial[local] += partial[local + stride];
        }
        workgroupBarrier();
    }
    let sum = partial[local % shape.width];
    workgroupBarrier();
    return sum;
}

// The walk of one invocation over its values in a piece.
struct Walk {
    at: u32, // index in x
    position: u32,
    value: u32,
    end: u32,
}

fn begin(channel: u32, piece: u32, local: u32) -> Walk {
    let first = piece * shape.piece;
    let value = first + local / shape.width;
    let position = value % shape.positions;
    let at = (value / shape.positions * shape.channels + channel) * shape.positions + position;
    // Channels past the last one have no values.
    let end = select(0u, min(first + shape.piece, shape.values), channel < shape.channels);
    return Walk(at, position, value, end);
}

fn next(walk: Walk) -> Walk {
    let position = walk.position + shape.shift;
    let at = walk.at + shape.hop;
    let value = walk.value + 256u / shape.width;
    if (position < shape.positions) {
        return Walk(at, position, value, walk.end);
    }
    // Skips the other channels, to the next row.
    let between = (shape.channels - 1u) * shape.positions;
    return Walk(at + between, position - shape.positions, value, walk.end);
}

// Number of values in a piece, also for channels past the last one.
fn count_of(piece: u32) -> f32 {
    return f32(min(shape.piece, shape.values - piece * shape.piece));
}

// The walk of one invocation over four values of any channels, 256 apart.
struct Element {
    at: u32, // index in x
    position: u32,
    channel: u32,
}

fn begin_element(at: u32) -> Element {
    return Element(at, at % shape.positions, at / shape.positions % shape.channels);
}

fn next_element(element: Element) -> Element {
    var position = element.position + shape.stride_position;
    var channel = element.channel + shape.stride_channel;
    if (position >= shape.positions) {
        position -= shape.positions;
        channel += 1u;
    }
    if (channel >= shape.channels) {
        channel -= shape.channels;
    }
    return Element(element.at + 256u, position, channel);
}
