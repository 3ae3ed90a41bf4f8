// Batch normalization (Ioffe and Szegedy, 2015), as in PyTorch. Each channel has n = rows · positions values:
//
//   y        = weight · x̂ + bias       with x̂ = (x − mean) · inverse, inverse = 1 / √(variance + eps)
//   variance = Σ (x − mean)² / n       the running variance divides by max(n − 1, 1) instead
//   running  ← (1 − momentum) · running + momentum · (mean, variance)
//   dweight  = Σ dy · x̂,  dbias = Σ dy
//   dx       = weight · inverse · (dy − share · (dbias + x̂ · dweight))   with share = 1 / n
//
// Outside of training, the running mean and variance are used. They do not depend on x, so share = 0.
//
// The values of a channel, row after row, are split into pieces of fixed size. A workgroup sums one piece of `width`
// channels, with 256 / width invocations per channel. Then one invocation merges the sums of a channel's pieces, in the
// order of the pieces. So the same values always give the same bits. For each piece, the squared deviations from the
// mean of the piece are summed. So a mean far from 0 costs no precision.

struct Shape {
    values: u32,    // values per channel, n
    channels: u32,
    positions: u32,
    width: u32,     // channels per workgroup: a power of two up to 16
    pieces: u32,    // pieces per channel
    piece: u32,     // values per piece; the last piece may have fewer
    hop: u32,       // growth of an index in x when the invocation advances by 256 / width values of its channel
    shift: u32,     // growth of the position at the same time
    elements: u32,  // elements of x
    stride_position: u32, // growth of an element's position when its index in x grows by 256
    stride_channel: u32,  // growth of the element's channel at the same time
    eps: f32,
    momentum: f32,
    share: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (rows, channels, positions)

var<workgroup> partial: array<vec2f, 256>;

// Returns the sum of `mine` over all invocations of the same channel.
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

// The state of an invocation that iterates over its values in a piece.
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
    // Invocations of channels past the last channel have no values.
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
    // Skip the other channels, to the same channel of the next row.
    let between = (shape.channels - 1u) * shape.positions;
    return Walk(at + between, position - shape.positions, value, walk.end);
}

// Number of values in a piece. It is the same for all channels.
fn count_of(piece: u32) -> f32 {
    return f32(min(shape.piece, shape.values - piece * shape.piece));
}

// The state of an invocation that iterates over four elements of x, 256 apart, in any channels.
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
