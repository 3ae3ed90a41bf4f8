//! Means over all shards (minibatches of a step). The order of additions does not depend on the number of processes.

mod layout;

use std::ops::Range;
use std::sync::Arc;

use super::World;
use crate::error::Error;

use layout::MessageLayout;

/// A vector with at least this many elements per process is sent directly from its own memory, as a separate message.
/// Shorter vectors are copied into one packed message. Copying this many elements there and back took a Xeon core 90
/// µs. Without the copy, two more messages are needed for each other process, one to it and one from it. They take 40
/// µs on a network with 20 µs latency.
const IN_PLACE: usize = 1 << 16;

/// Vectors that an [`Exchange`] averages. They have the same lengths in all processes.
pub(crate) trait Averaged {
    /// Computes shard `shard` and writes its values into the vectors. Called once per shard of this process, in
    /// ascending order.
    fn compute(&mut self, shard: usize) -> Result<(), Error>;

    /// The vectors: the values of the latest shard, or the sums or means that the exchange wrote there.
    fn vectors(&mut self) -> Vec<&mut [f32]>;
}

/// Averages the values of all shards over all processes.
///
/// The additions form a binary tree: the sum over a range of shards is the sum over the range's first half plus the sum
/// over its second half.
///
/// 1. Each process computes its own shards. It adds the shards of every range of the tree that contains only its own
///    shards. The largest such ranges are called its blocks.
/// 2. Each process is responsible for one slice of the vectors: a range of their elements. It receives this slice of
///    every block of the other processes, and adds all slices in the order of the tree.
/// 3. It multiplies the sum by 1/shards, and sends the result, its slice of the mean, to all other processes.
///
/// If the number of processes is a power of 2 that divides the number of shards, each process has exactly one block.
/// Then each process sends about twice the size of the parameters per step, as the best known all-reduce does (Thakur,
/// Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH", 2005).
#[derive(Debug)]
pub(crate) struct Exchange {
    world: Arc<dyn World>,
    shards: usize,
    /// The blocks of each process, as ranges of shards.
    blocks: Vec<Vec<Range<usize>>>,
    /// Sums over the first halves of ranges, stored while the second halves are computed: at most one sum for each
    /// level of the tree of ranges.
    sums: Vec<Vec<Vec<f32>>>,
    /// The packed message: all elements that are not sent from their vector's own memory.
    packed: Vec<f32>,
    /// Vectors of at least this length are sent from their own memory.
    in_place: usize,
    /// Slices of all blocks of other processes, and of this process's blocks except the last.
    slices: Vec<f32>,
}

impl Exchange {
    /// Makes an exchange for `shards` shards, counted over all processes.
    ///
    /// # Errors
    /// [`Error::Setting`] when there are fewer shards than processes.
    pub(crate) fn new(world: Arc<dyn World>, shards: usize) -> Result<Self, Error> {
        let size = world.size();
        if shards < size {
            let expected = format!("at least {size}, one for each process: see accumulate");
            return Err(Error::setting("minibatches of a step", expected, shards));
        }
        let all = 0..shards;
        let blocks = (0..size).map(|rank| {
            let mut blocks = Vec::new();
            add_blocks(&all, &own(rank, size, shards), &mut blocks);
            blocks
        });
        Ok(Self {
            blocks: blocks.collect(),
            world,
            shards,
            sums: Vec::new(),
            packed: Vec::new(),
            in_place: IN_PLACE * size,
            slices: Vec::new(),
        })
    }

    /// The range of shards that this process computes.
    pub(crate) fn own(&self) -> Range<usize> {
        own(self.world.rank(), self.world.size(), self.shards)
    }

    /// Memory for the exchange's stored sums and received slices, as a multiple of the memory of the averaged vectors.
    pub(crate) fn kept(&self) -> usize {
        let sums = self.own().len().max(1).next_power_of_two().ilog2() as usize;
        let blocks: usize = self.blocks.iter().map(Vec::len).sum();
        sums + blocks.div_ceil(self.world.size())
    }

    /// Computes all shards of this process, and writes the mean over the shards of all processes into the vectors.
    pub(crate) fn average(&mut self, of: &mut impl Averaged) -> Result<(), Error> {
        let rank = self.world.rank();
        let size = self.world.size();
        let layout = MessageLayout::new(&of.vectors(), size, self.in_place);
        self.packed.resize(layout.packed, 0.0);
        // Each round sends one block of each process. Processes with fewer blocks send nothing in the last rounds.
        let rounds = self.blocks.iter().map(Vec::len).max().unwrap_or_default();
        // For each message and each process: places of the slices of the process's blocks.
        let mut places: Vec<Vec<Vec<Place>>> = Vec::new();
        let mut end = 0;
        for round in 0..rounds {
            let block = self.blocks[rank].get(round).cloned();
            if let Some(block) = &block {
                sum(block, of, &mut self.sums, 0)?;
                layout.pack(&mut of.vectors(), &mut self.packed);
            }
            let mut vectors = of.vectors();
            let messages = layout.messages(&mut vectors, &mut self.packed);
            places.resize_with(messages.len(), || vec![Vec::new(); size]);
            for (message, places) in messages.into_iter().zip(&mut places) {
                let slice = message.len() / size;
                let start = end;
                let mut counts = vec![0; size];
                for (process, blocks) in self.blocks.iter().enumerate() {
                    if process != rank && round < blocks.len() {
                        counts[process] = slice;
                        places[process].push(Place::Stored(end));
                        end += slice;
                    }
                }
                self.slices
                    .resize((end + slice).max(self.slices.len()), 0.0);
                let sent: &[f32] = if block.is_some() { message } else { &[] };
                let received = bytemuck::cast_slice_mut(&mut self.slices[start..end]);
                self.world
                    .all_to_all(bytemuck::cast_slice(sent), received, &counts)?;
                if round + 1 < self.blocks[rank].len() {
                    // The next block replaces this one in the vectors.
                    self.slices[end..][..slice].copy_from_slice(&message[rank * slice..][..slice]);
                    places[rank].push(Place::Stored(end));
                    end += slice;
                } else if block.is_some() {
                    places[rank].push(Place::Own);
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let share = 1.0 / self.shards as f32;
        let mut vectors = of.vectors();
        let messages = layout.messages(&mut vectors, &mut self.packed);
        for (message, places) in messages.into_iter().zip(&places) {
            let slice = message.len() / size;
            let mut slices = Slices {
                blocks: &self.blocks,
                places,
                done: vec![0; size],
                own: &mut message[rank * slice..][..slice],
                stored: &mut self.slices,
            };
            let total = slices.add(&(0..self.shards), share);
            assert_eq!(total, Place::Own, "each process has a block");
            self.world.all_gather(bytemuck::cast_slice_mut(message))?;
        }
        layout.unpack(&self.packed, &mut of.vectors());
        Ok(())
    }
}

/// Where a slice of a block, or of a sum of blocks, is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// In the vectors themselves: the slice of this process's last block.
    Own,
    /// In [`Slices::stored`], from this index on.
    Stored(usize),
}

/// Slices of all blocks, for one message.
struct Slices<'a> {
    blocks: &'a [Vec<Range<usize>>],
    /// For each process, where the slices of its blocks are stored.
    places: &'a [Vec<Place>],
    /// For each process, the number of its blocks that are already added.
    done: Vec<usize>,
    own: &'a mut [f32],
    stored: &'a mut [f32],
}

impl Slices<'_> {
    /// Adds the slices of a range of shards and multiplies the sum by `factor`. Returns where the sum is stored:
    /// [`Place::Own`] if the range contains this process's last block.
    fn add(&mut self, range: &Range<usize>, factor: f32) -> Place {
        let length = self.own.len();
        let is_block = |blocks: &Vec<Range<usize>>| blocks.contains(range);
        if let Some(process) = self.blocks.iter().position(is_block) {
            let place = self.places[process][self.done[process]];
            self.done[process] += 1;
            if factor != 1.0 {
                let sum = match place {
                    Place::Own => &mut *self.own,
                    Place::Stored(start) => &mut self.stored[start..][..length],
                };
                sum.iter_mut().for_each(|value| *value *= factor);
            }
            return place;
        }
        let [first, second] = halves(range);
        let first = self.add(&first, 1.0);
        let second = self.add(&second, 1.0);
        // Both orders of two summands give the same bits.
        let (place, sum, other) = match (first, second) {
            (Place::Own, Place::Own) => unreachable!("one block is the last"),
            (Place::Own, Place::Stored(other)) | (Place::Stored(other), Place::Own) => {
                (Place::Own, &mut *self.own, &self.stored[other..][..length])
            }
            (Place::Stored(first), Place::Stored(second)) => {
                let (before, after) = self.stored.split_at_mut(first.max(second));
                let low = &mut before[first.min(second)..][..length];
                (Place::Stored(first.min(second)), low, &after[..length])
            }
        };
        for (sum, other) in sum.iter_mut().zip(other) {
            *sum = (*sum + *other) * factor;
        }
        place
    }
}

/// The range of shards (or other items) that process `rank` of `size` processes computes. The lengths of these ranges
/// differ by at most one.
pub(super) fn own(rank: usize, size: usize, shards: usize) -> Range<usize> {
    rank * shards / size..(rank + 1) * shards / size
}

fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len().div_ceil(2);
    [range.start..middle, middle..range.end]
}

/// Halves `range` repeatedly. Appends the largest of the resulting ranges that lie within `own` to `blocks`.
fn add_blocks(range: &Range<usize>, own: &Range<usize>, blocks: &mut Vec<Range<usize>>) {
    if range.end <= own.start || own.end <= range.start {
        return;
    }
    if own.start <= range.start && range.end <= own.end {
        blocks.push(range.clone());
        return;
    }
    for half in halves(range) {
        add_blocks(&half, own, blocks);
    }
}

/// Computes a range of shards and writes their sum into the vectors. While the second half of the range is computed,
/// the sum over the first half is stored in `sums[height]`. The first `height` entries of `sums` are already in use:
/// they belong to the larger ranges whose second half contains this range.
fn sum(
    range: &Range<usize>,
    of: &mut impl Averaged,
    sums: &mut Vec<Vec<Vec<f32>>>,
    height: usize,
) -> Result<(), Error> {
    if range.len() == 1 {
        return of.compute(range.start);
    }
    let [first, second] = halves(range);
    sum(&first, of, sums, height)?;
    if sums.len() == height {
        sums.push(of.vectors().iter().map(|vector| vector.to_vec()).collect());
    } else {
        for (kept, vector) in sums[height].iter_mut().zip(of.vectors()) {
            kept.copy_from_slice(vector);
        }
    }
    sum(&second, of, sums, height + 1)?;
    for (vector, kept) in of.vectors().into_iter().zip(&sums[height]) {
        for (total, first) in vector.iter_mut().zip(kept) {
            *total += first;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;

    /// Minimum length of a vector that is sent from its own memory in these tests.
    const LONG: usize = 1000;

    /// Returns a shard's values. Their sums must be rounded, so a wrong order of additions gives other bits.
    fn numbers(shard: usize, count: usize) -> Vec<f32> {
        let number = |at: usize| ((shard * 7919 + at * 104_729) % 1009) as f32 / 997.0 + 0.1;
        (0..count).map(number).collect()
    }

    /// Vectors with given lengths.
    struct Numbers {
        vectors: Vec<Vec<f32>>,
        asked: Vec<usize>,
    }

    impl Averaged for Numbers {
        fn compute(&mut self, shard: usize) -> Result<(), Error> {
            self.asked.push(shard);
            let all = numbers(shard, self.vectors.iter().map(Vec::len).sum());
            let mut left = &all[..];
            for vector in &mut self.vectors {
                let (own, rest) = left.split_at(vector.len());
                vector.copy_from_slice(own);
                left = rest;
            }
            Ok(())
        }

        fn vectors(&mut self) -> Vec<&mut [f32]> {
            self.vectors.iter_mut().map(|of| &mut of[..]).collect()
        }
    }

    fn mean_of(processes: usize, shards: usize, lengths: &[usize]) -> Result<Vec<Vec<f32>>, Error> {
        Threads::run(processes, |world| {
            let mut exchange = Exchange::new(Arc::new(world), shards)?;
            exchange.in_place = LONG;
            let mut numbers = Numbers {
                vectors: lengths.iter().map(|&length| vec![0.0; length]).collect(),
                asked: Vec::new(),
            };
            // Take a second step, to show that no values of the first step remain.
            for _step in 0..2 {
                numbers.asked.clear();
                exchange.average(&mut numbers)?;
                let asked = numbers.asked.iter().copied();
                assert!(asked.eq(exchange.own()), "all of its own, in order");
            }
            Ok::<_, Error>(numbers.vectors.concat())
        })
    }

    #[test]
    fn any_number_of_processes_gives_the_same_bits() -> Result<(), Error> {
        for shards in [1, 2, 3, 4, 6, 8, 12, 13] {
            for lengths in [
                &[1][..],
                &[2],
                &[5],
                &[900, 1, 99],
                &[LONG + 3, 7, 0, LONG, 1],
            ] {
                let count = lengths.iter().sum();
                let alone = &mean_of(1, shards, lengths)?[0];
                let given: Vec<_> = (0..shards).map(|shard| numbers(shard, count)).collect();
                for (at, &found) in alone.iter().enumerate() {
                    let of_all = given.iter().map(|numbers| f64::from(numbers[at]));
                    let expected = of_all.sum::<f64>() / shards as f64;
                    // Each addition on the way to the tree's root, and the multiplication, has a rounding error of at
                    // most half a unit in the last place.
                    let bound =
                        1.2 * (shards as f64).log2().ceil().mul_add(1.0, 1.0) * 2f64.powi(-24);
                    assert!(
                        (f64::from(found) - expected).abs() <= bound,
                        "{shards}: {found}, {expected}"
                    );
                }
                for processes in (2..=shards).filter(|&of| of < 9) {
                    for found in mean_of(processes, shards, lengths)? {
                        assert!(&found == alone, "{processes} processes, {shards} shards");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_power_of_two_of_processes_sends_one_block_each() {
        for (size, shards) in [(1, 8), (2, 8), (4, 8), (8, 8), (4, 12)] {
            for rank in 0..size {
                let mut blocks = Vec::new();
                add_blocks(&(0..shards), &own(rank, size, shards), &mut blocks);
                assert_eq!(blocks, [own(rank, size, shards)]);
            }
        }
    }

    #[test]
    fn fewer_shards_than_processes_are_told() -> Result<(), Error> {
        let errors = Threads::run(2, |world| {
            let error = Exchange::new(Arc::new(world), 1).err();
            Ok::<_, Error>(error.map(|error| error.to_string()))
        })?;
        for error in errors {
            let told = ["minibatches of a step", "accumulate"];
            let is_told = |error: &String| told.iter().all(|word| error.contains(word));
            assert!(error.as_ref().is_some_and(is_told), "{error:?}");
        }
        Ok(())
    }
}
