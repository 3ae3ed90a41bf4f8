//! Counter-based random numbers: each is a function of a key and a counter, so it is the same on every device and in
//! any order.

/// Threefry-2x32 with 20 rounds: computes 64 random bits from a key and a counter.
///
/// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
#[must_use]
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    threefry_inlined(key, counter)
}

/// [`threefry`], inlined into the calling loop so that the loop vectorizes.
#[inline(always)]
pub(crate) fn threefry_inlined(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]];
    let x = [
        counter[0].wrapping_add(keys[0]),
        counter[1].wrapping_add(keys[1]),
    ];
    let x = add_keys(four_rounds(x, EVEN), [keys[1], keys[2]], 1);
    let x = add_keys(four_rounds(x, ODD), [keys[2], keys[0]], 2);
    let x = add_keys(four_rounds(x, EVEN), [keys[0], keys[1]], 3);
    let x = add_keys(four_rounds(x, ODD), [keys[1], keys[2]], 4);
    add_keys(four_rounds(x, EVEN), [keys[2], keys[0]], 5)
}

const EVEN: [u32; 4] = [13, 15, 26, 6];
const ODD: [u32; 4] = [17, 29, 16, 24];

#[inline(always)]
fn four_rounds(x: [u32; 2], [a, b, c, d]: [u32; 4]) -> [u32; 2] {
    round(round(round(round(x, a), b), c), d)
}

#[inline(always)]
fn round([x, y]: [u32; 2], rotation: u32) -> [u32; 2] {
    let x = x.wrapping_add(y);
    [x, y.rotate_left(rotation) ^ x]
}

#[inline(always)]
fn add_keys([x, y]: [u32; 2], keys: [u32; 2], group: u32) -> [u32; 2] {
    let y = y.wrapping_add(keys[1]).wrapping_add(group);
    [x.wrapping_add(keys[0]), y]
}

/// The key for the draws of minibatches.
pub(crate) fn minibatch_key(seed: u64) -> [u32; 2] {
    threefry(halves(seed), [1, 0])
}

/// The key for the shuffling of rows before a split. It differs from the minibatch key: with equal keys, minibatches
/// would draw the rows in the order of the split.
pub(crate) fn split_key(seed: u64) -> [u32; 2] {
    threefry(halves(seed), [4, 0])
}

/// The key for the draws of a layer.
pub(crate) fn layer_key(seed: u64, layer: u32) -> [u32; 2] {
    threefry(halves(seed), [2, layer])
}

/// The key for a layer's draws in one of the minibatches that a step accumulates. The first minibatch uses the layer's
/// key itself.
pub(crate) fn part_key(key: [u32; 2], part: u32) -> [u32; 2] {
    match part {
        0 => key,
        _ => threefry(key, [3, part]),
    }
}

/// The key for the draws of classes by their probabilities.
pub(crate) fn sampling_key(seed: u64) -> [u32; 2] {
    threefry(halves(seed), [5, 0])
}

fn halves(seed: u64) -> [u32; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
    let halves = [seed as u32, (seed >> 32) as u32];
    halves
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{layer_key, minibatch_key, sampling_key, split_key, threefry};

    #[test]
    fn no_two_layers_or_networks_draw_under_one_key() {
        let seeds = [0, 1, 2, 1 << 32, u64::MAX];
        let of_layers = seeds
            .iter()
            .flat_map(|&seed| (0..20).map(move |i| layer_key(seed, i)));
        let others = seeds
            .map(minibatch_key)
            .into_iter()
            .chain(seeds.map(split_key))
            .chain(seeds.map(sampling_key));
        let all: HashSet<_> = of_layers.chain(others).collect();
        assert_eq!(all.len(), seeds.len() * 23);
    }

    /// The expected values come from Random123, the authors' own implementation.
    #[test]
    fn threefry_gives_the_known_answers() {
        let all = u32::MAX;
        assert_eq!(threefry([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry([all, all], [all, all]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(
            threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]),
            [0xc492_3a9c, 0x483d_f7a0]
        );
    }
}
