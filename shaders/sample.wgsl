// Chooses the examples of the minibatches for the next steps. Row r of the minibatch of step t gets the index
//
//   with_replacement   threefry(key, (t, r)) mod examples
//   shuffled           permutation(epoch, position): each example once per epoch
//   listed             list[t mod steps][r]
//   range              first + r, for evaluation
//
// Each index depends only on the settings, on t and on r. src/data/sampling.rs computes the same indices in Rust.
// threefry.wgsl precedes this file.

struct Settings {
    key0: u32,
    key1: u32,
    examples: u32,
    rows: u32,     // rows per minibatch
    minibatches: u32, // minibatches per dispatch, a power of two; step t uses the minibatch t mod minibatches
    steps: u32,    // in shuffled, steps per epoch; in listed, number of minibatches in the list
    first: u32,    // in range, the first index
    half_bits: u32, // in shuffled, half the bits of an index: 2^(2·half_bits) ≥ examples
}

@group(0) @binding(0) var<uniform> settings: Settings;
@group(0) @binding(1) var<storage, read_write> indices: array<u32>; // (minibatches, rows)
@group(0) @binding(2) var<storage, read> step_count: array<u32>;    // (1, 1)
@group(0) @binding(3) var<storage, read> list: array<u32>;          // (steps, rows)

fn key() -> vec2u {
    return vec2u(settings.key0, settings.key1);
}

// Permutes the numbers 0 to examples − 1, and returns the number at `position`. A Feistel network permutes the numbers
// 0 to 2^(2·half_bits) − 1. It is applied to its result again until the result is below `examples`. On average, fewer
// than four repetitions are needed.
fn permute(epoch: u32, position: u32) -> u32 {
    let mask = (1u << settings.half_bits) - 1u;
    var value = position;
    loop {
        var left = value >> settings.half_bits;
        var right = value & mask;
        for (var round = 0u; round < 6u; round++) {
            let mixed = left ^ (threefry(key(), vec2u(epoch, (round << 16u) | right)).x & mask);
            left = right;
            right = mixed;
        }
        value = (left << settings.half_bits) | right;
        if (value < settings.examples) {
            break;
        }
    }
    return value;
}

// Returns the index of an invocation. A dispatch of more than 65,535 workgroups has two dimensions.
fn invocation(id: vec3u, count: vec3u, local: u32) -> u32 {
    return (id.x + id.y * count.x) * 64u + local;
}

struct Place {
    step: u32,
    row: u32,
    at: u32, // index in `indices`
}

fn place_of(invocation: u32) -> Place {
    let step = step_count[0] + invocation / settings.rows;
    let row = invocation % settings.rows;
    return Place(step, row, (step % settings.minibatches) * settings.rows + row);
}

@compute @workgroup_size(64)
fn with_replacement(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                    @builtin(local_invocation_index) local: u32) {
    let i = invocation(id, count, local);
    if (i < settings.minibatches * settings.rows) {
        let place = place_of(i);
        indices[place.at] = threefry(key(), vec2u(place.step, place.row)).x % settings.examples;
    }
}

@compute @workgroup_size(64)
fn shuffled(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
            @builtin(local_invocation_index) local: u32) {
    let i = invocation(id, count, local);
    if (i < settings.minibatches * settings.rows) {
        let place = place_of(i);
        let epoch = place.step / settings.steps;
        let position = (place.step % settings.steps) * settings.rows + place.row;
        indices[place.at] = permute(epoch, position);
    }
}

@compute @workgroup_size(64)
fn listed(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) local: u32) {
    let i = invocation(id, count, local);
    if (i < settings.minibatches * settings.rows) {
        let place = place_of(i);
        indices[place.at] = list[(place.step % settings.steps) * settings.rows + place.row];
    }
}

@compute @workgroup_size(64)
fn range(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
         @builtin(local_invocation_index) local: u32) {
    let row = invocation(id, count, local);
    if (row < settings.rows) {
        indices[row] = settings.first + row;
    }
}
