// Batch normalization (Ioffe and Szegedy, 2015) of each channel over n = rows · positions values, as PyTorch has it:
//
//   y        = weight · x̂ + bias       with x̂ = (x − mean) · inverse, inverse = 1 / √(variance + eps)
//   variance = Σ (x − mean)² / n       and for the running one Σ (x − mean)² / (n − 1), or / 1 where n = 1
//   running  ← (1 − momentum) · running + momentum · (mean, variance)
//   dweight  = Σ dy · x̂,  dbias = Σ dy
//   dx       = weight · inverse · (dy − share · (dbias + x̂ · dweight))   with share = 1 / n
//
// Outside of training mean and variance are the running ones, which no x changes: share = 0.
//
// The values of a channel, row after row, are cut into pieces, a function of the shape alone. A workgroup sums a piece
// of `width` channels, 256 / width invocations to a channel; then one invocation merges the pieces of a channel in
// their order. So the same values give the same bits. The squares of a piece are those of what its values differ from
// the piece's own mean, so that a mean far from 0 costs no digits.

struct Shape {
    values: u32,    // of a channel: n
    channels: u32,
    positions: u32,
    width: u32,     // channels of a workgroup: a power of two up to 16
    pieces: u32,    // of a channel
    piece: u32,     // values of a piece, but for the last
    hop: u32,       // in x, of an invocation that passes 256 / width values of its channel
    shift: u32,     // of its position meanwhile
    elements: u32,  // of x
    stride_position: u32, // of the position and the channel of an element, 256 further on in x
    stride_channel: u32,
    eps: f32,
    momentum: f32,
    share: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (rows, channels, positions)

var<workgroup> partial: array<vec2f, 256>;

// Sums over the invocations of each channel.
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

// A walk of one invocation over its values in a piece.
struct Walk {
    at: u32, // in x
    position: u32,
    value: u32,
    end: u32,
}

fn begin(channel: u32, piece: u32, local: u32) -> Walk {
    let first = piece * shape.piece;
    let value = first + local / shape.width;
    let position = value % shape.positions;
    let at = (value / shape.positions * shape.channels + channel) * shape.positions + position;
    // A channel past the last has no values.
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
    // Past the channels between this row's and the next row's.
    let between = (shape.channels - 1u) * shape.positions;
    return Walk(at + between, position - shape.positions, value, walk.end);
}

// Values in a piece, also of a channel past the last.
fn count_of(piece: u32) -> f32 {
    return f32(min(shape.piece, shape.values - piece * shape.piece));
}

// A walk of one invocation over every 256th of the values of all channels: four of them.
struct Element {
    at: u32, // in x
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
