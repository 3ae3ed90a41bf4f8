//! Means over all shards, in an order that does not depend on the number of processes.

use std::ops::Range;
use std::sync::Arc;

use super::World;
use crate::error::Error;

/// A vector with at least this many numbers per process is sent from its own memory; shorter ones are packed. Copying
/// this many numbers there and back took a Xeon core 90 µs. Separate messages to and from one more process take 40 µs
/// on a network with 20 µs latency.
const IN_PLACE: usize = 1 << 16;

/// The values that an exchange averages: vectors with the same lengths in all processes.
pub(crate) trait Averaged {
    /// Writes the shard's values into the vectors. Called for the shards of a process in order.
    fn compute(&mut self, shard: usize) -> Result<(), Error>;

    /// The present vectors.
    fn vectors(&mut self) -> Vec<&mut [f32]>;
}

/// Averages the values of all shards over all processes.
///
/// The additions form a binary tree: the sum over a range of shards is the sum over its first half plus the sum over
/// its second half.
///
/// 1. Each process computes its own shards. If all shards of a range of the tree are its own, it adds them; the largest
///    such ranges are its blocks.
/// 2. Each process is responsible for one slice of the vectors. It receives this slice of every other process's blocks,
///    and adds them to its own in the order of the tree.
/// 3. It multiplies the sum by 1/shards, and sends this slice of the mean to all other processes.
///
/// If the number of processes is a power of 2 that divides the number of shards, each process has one block. Then a
/// step sends as much as the best known all-reduce, about twice the parameters (Thakur, Rabenseifner, Gropp,
/// "Optimization of collective communication operations in MPICH", 2005).
#[derive(Debug)]
pub(crate) struct Exchange {
    world: Arc<dyn World>,
    shards: usize,
    /// Blocks of each process: ranges of shards.
    blocks: Vec<Vec<Range<usize>>>,
    /// Sums of first halves whose second half is still being computed: at most one for each level of the tree.
    sums: Vec<Vec<Vec<f32>>>,
    /// The packed numbers: all that are not sent from their own memory.
    packed: Vec<f32>,
    /// Vectors of at least this length are sent from their own memory.
    in_place: usize,
    /// Slices of blocks: those of other processes, and those of this process's blocks except the last.
    slices: Vec<f32>,
}

/// Division of vectors into messages.
#[derive(Debug)]
struct Cut {
    /// Numbers of each vector that are sent from its own memory: a multiple of the number of processes.
    in_place: Vec<usize>,
    /// Number of packed numbers, rounded up to a multiple of the number of processes.
    packed: usize,
}

impl Cut {
    fn new(vectors: &[&mut [f32]], size: usize, least: usize) -> Self {
        let in_place = |vector: &&mut [f32]| match vector.len() {
            length if length < least => 0,
            length => length - length % size,
        };
        let in_place: Vec<usize> = vectors.iter().map(in_place).collect();
        let all: usize = vectors.iter().map(|vector| vector.len()).sum();
        let packed = all - in_place.iter().sum::<usize>();
        Self {
            in_place,
            packed: packed.next_multiple_of(size),
        }
    }

    /// The messages: the first part of each long vector, and the packed numbers.
    fn messages<'a>(
        &self,
        vectors: &'a mut [&mut [f32]],
        packed: &'a mut [f32],
    ) -> Vec<&'a mut [f32]> {
        let in_place = vectors.iter_mut().zip(&self.in_place);
        let in_place = in_place.map(|(vector, &length)| &mut vector[..length]);
        let all = in_place.chain([&mut packed[..self.packed]]);
        all.filter(|message| !message.is_empty()).collect()
    }

    /// The part of each vector that is packed.
    fn rests<'a>(&self, vectors: &'a mut [&mut [f32]]) -> impl Iterator<Item = &'a mut [f32]> {
        let rests = vectors.iter_mut().zip(self.in_place.clone());
        rests.map(|(vector, length)| &mut vector[length..])
    }

    fn pack(&self, vectors: &mut [&mut [f32]], packed: &mut [f32]) {
        let mut left = packed;
        for rest in self.rests(vectors) {
            let (to, behind) = left.split_at_mut(rest.len());
            to.copy_from_slice(rest);
            left = behind;
        }
    }

    fn unpack(&self, packed: &[f32], vectors: &mut [&mut [f32]]) {
        let mut left = packed;
        for rest in self.rests(vectors) {
            let (from, behind) = left.split_at(rest.len());
            rest.copy_from_slice(from);
            left = behind;
        }
    }
}

impl Exchange {
    /// An exchange of `shards` shards in total.
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

    /// Range of this process's shards.
    pub(crate) fn own(&self) -> Range<usize> {
        own(self.world.rank(), self.world.size(), self.shards)
    }

    /// Numbers that the exchange stores for each number of the vectors.
    pub(crate) fn kept(&self) -> usize {
        let sums = self.own().len().max(1).next_power_of_two().ilog2() as usize;
        let blocks: usize = self.blocks.iter().map(Vec::len).sum();
        sums + blocks.div_ceil(self.world.size())
    }

    /// Computes all shards of this process, and leaves the mean over the shards of all processes in the vectors.
    pub(crate) fn average(&mut self, of: &mut impl Averaged) -> Result<(), Error> {
        let rank = self.world.rank();
        let size = self.world.size();
        let cut = Cut::new(&of.vectors(), size, self.in_place);
        self.packed.resize(cut.packed, 0.0);
        // One round for each block of a process; some processes may have fewer blocks.
        let rounds = self.blocks.iter().map(Vec::len).max().unwrap_or_default();
        // For each message and each process: places of the slices of the process's blocks.
        let mut places: Vec<Vec<Vec<Place>>> = Vec::new();
        let mut end = 0;
        for round in 0..rounds {
            let block = self.blocks[rank].get(round).cloned();
            if let Some(block) = &block {
                sum(block, of, &mut self.sums, 0)?;
                cut.pack(&mut of.vectors(), &mut self.packed);
            }
            let mut vectors = of.vectors();
            let messages = cut.messages(&mut vectors, &mut self.packed);
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
        let messages = cut.messages(&mut vectors, &mut self.packed);
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
        cut.unpack(&self.packed, &mut of.vectors());
        Ok(())
    }
}

/// Place of one slice of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// The slice of this process's last block, in the vectors themselves.
    Own,
    /// The stored slice that begins at this number.
    Stored(usize),
}

/// Slices of all blocks, for one message.
struct Slices<'a> {
    blocks: &'a [Vec<Range<usize>>],
    /// Places of each process's blocks.
    places: &'a [Vec<Place>],
    /// Number of each process's blocks that are already added.
    done: Vec<usize>,
    own: &'a mut [f32],
    stored: &'a mut [f32],
}

impl Slices<'_> {
    /// Adds up a range of shards and multiplies the sum by `factor`; returns the place of the sum. It is the own slice
    /// if the range contains this process's last block.
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

/// The share of one process in `shards` items. Shares differ by at most one item.
pub(super) fn own(rank: usize, size: usize, shards: usize) -> Range<usize> {
    rank * shards / size..(rank + 1) * shards / size
}

fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len().div_ceil(2);
    [range.start..middle, middle..range.end]
}

/// Appends the largest ranges of the tree that lie within `own`.
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

/// Leaves the sum of a range of shards in the vectors. Shards are added in pairs; the sum of the first half waits in
/// `sums` at this height of the tree while the second half is computed.
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

    /// Shortest vector that is sent from its own memory in these tests.
    const LONG: usize = 1000;

    /// A shard's values: their sums are rounded, so the result depends on the order of addition.
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
            // A second step shows that nothing of the first one remains.
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
                    // Each addition on the way to the root, and the multiplication, is off by at most half a unit in
                    // the last place.
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
