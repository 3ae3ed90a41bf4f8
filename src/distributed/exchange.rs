//! Means of the gradients of all shards, in an order that does not depend on the number of processes.

use std::ops::Range;
use std::sync::Arc;

use super::World;
use crate::error::Error;

/// Adds up what processes have computed, a shard after another.
///
/// Shards are added in pairs: those of a range are the sum of its first half and its second. A process adds those of
/// the largest such ranges that are all its own, its blocks. It then gets from every process the same slice of all
/// blocks, adds them on in the same tree, and sends the slice of the mean to all. With as many processes as a power of 2
/// that divides the shards, each has one block: a step sends as much as the best known all-reduce, about twice the
/// parameters (Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH", 2005).
#[derive(Debug)]
pub(crate) struct Exchange {
    world: Arc<dyn World>,
    shards: usize,
    /// Blocks of each process.
    blocks: Vec<Vec<Range<usize>>>,
    /// Room for sums, of each height of the tree.
    sums: Vec<Vec<f32>>,
    received: Vec<f32>,
    mean: Vec<f32>,
}

impl Exchange {
    /// Of so many shards in all.
    ///
    /// # Errors
    /// [`Error::Setting`] when there are fewer than processes.
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
            received: Vec::new(),
            mean: Vec::new(),
        })
    }

    /// The shards of this process.
    pub(crate) fn own(&self) -> Range<usize> {
        own(self.world.rank(), self.world.size(), self.shards)
    }

    /// The mean over all shards of so many numbers, which `of_shard` writes for each of this process, in their order.
    pub(crate) fn mean(
        &mut self,
        count: usize,
        mut of_shard: impl FnMut(usize, &mut [f32]) -> Result<(), Error>,
    ) -> Result<&[f32], Error> {
        let size = self.world.size();
        let slice = count.div_ceil(size);
        // A message for each block that a process has; others may have fewer.
        let messages = self.blocks.iter().map(Vec::len).max().unwrap_or_default();
        // Where the slices of a process's blocks are.
        let mut places = vec![Vec::new(); size];
        let mut end = 0;
        for message in 0..messages {
            let has_one = |blocks: &Vec<_>| message < blocks.len();
            let of_each = self
                .blocks
                .iter()
                .map(|of| slice * usize::from(has_one(of)));
            let counts: Vec<usize> = of_each.collect();
            let start = end;
            for (places, count) in places.iter_mut().zip(&counts) {
                places.push(end);
                end += count;
            }
            self.received.resize(end.max(self.received.len()), 0.0);
            let block = self.blocks[self.world.rank()].get(message).cloned();
            let lengths = [count, slice * size];
            let sent = match &block {
                None => &[],
                Some(block) => sum(block, lengths, &mut self.sums, &mut of_shard)?,
            };
            let received = bytemuck::cast_slice_mut(&mut self.received[start..end]);
            self.world
                .all_to_all(bytemuck::cast_slice(sent), received, &counts)?;
        }
        let all = 0..self.shards;
        let start = self.add_received(&all, &mut vec![0; size], (&places, slice));
        let total = &mut self.received[start..start + slice];
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let share = 1.0 / self.shards as f32;
        total.iter_mut().for_each(|value| *value *= share);
        self.mean.resize(size * slice, 0.0);
        let mean = bytemuck::cast_slice_mut(&mut self.mean);
        self.world.all_gather(bytemuck::cast_slice(total), mean)?;
        Ok(&self.mean[..count])
    }

    /// Adds up what was received of a range of shards; where the sum begins. So many blocks of each process are in it
    /// already.
    fn add_received(
        &mut self,
        range: &Range<usize>,
        done: &mut [usize],
        (places, slice): (&[Vec<usize>], usize),
    ) -> usize {
        let is_block = |blocks: &Vec<Range<usize>>| blocks.contains(range);
        if let Some(process) = self.blocks.iter().position(is_block) {
            done[process] += 1;
            return places[process][done[process] - 1];
        }
        let [first, second] = halves(range);
        let first = self.add_received(&first, done, (places, slice));
        let second = self.add_received(&second, done, (places, slice));
        let (low, high) = (first.min(second), first.max(second));
        let (before, behind) = self.received.split_at_mut(high);
        let (low, high) = (&mut before[low..low + slice], &mut behind[..slice]);
        match first < second {
            true => add(low, high),
            false => add(high, low),
        }
        first
    }
}

/// Of so many things those of a process: as many as the others have, or one more.
pub(super) fn own(rank: usize, size: usize, shards: usize) -> Range<usize> {
    rank * shards / size..(rank + 1) * shards / size
}

fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len().div_ceil(2);
    [range.start..middle, middle..range.end]
}

/// Adds the largest ranges of a tree that lie in `own`.
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

/// The sum of a range of shards, in pairs, so many numbers with as many behind them as there is room for: never more of
/// them at once than the tree is high.
fn sum<'a>(
    range: &Range<usize>,
    [count, room]: [usize; 2],
    sums: &'a mut Vec<Vec<f32>>,
    of_shard: &mut impl FnMut(usize, &mut [f32]) -> Result<(), Error>,
) -> Result<&'a [f32], Error> {
    let height = range.len().next_power_of_two().ilog2() as usize;
    while sums.len() <= height {
        sums.push(Vec::new());
    }
    for sum in &mut sums[..=height] {
        sum.resize(room, 0.0);
    }
    add_shards(range, count, sums, of_shard)?;
    Ok(&sums[0])
}

/// Puts the sum of a range of shards into the first of some rooms.
fn add_shards(
    range: &Range<usize>,
    count: usize,
    sums: &mut [Vec<f32>],
    of_shard: &mut impl FnMut(usize, &mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    if range.len() == 1 {
        return of_shard(range.start, &mut sums[0][..count]);
    }
    let [first, second] = halves(range);
    add_shards(&first, count, sums, of_shard)?;
    let [total, others @ ..] = sums else {
        unreachable!("there is room for each height");
    };
    add_shards(&second, count, others, of_shard)?;
    add(total, &others[0]);
    Ok(())
}

fn add(total: &mut [f32], other: &[f32]) {
    assert_eq!(total.len(), other.len(), "exchange: lengths");
    for (total, other) in total.iter_mut().zip(other) {
        *total += other;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;

    /// What a shard has: numbers whose sums are rounded, and so depend on their order.
    fn numbers(shard: usize, count: usize) -> Vec<f32> {
        let number = |at: usize| ((shard * 7919 + at * 104_729) % 1009) as f32 / 997.0 + 0.1;
        (0..count).map(number).collect()
    }

    fn mean_of(processes: usize, shards: usize, count: usize) -> Result<Vec<Vec<f32>>, Error> {
        Threads::run(processes, |world| {
            let mut exchange = Exchange::new(Arc::new(world), shards)?;
            let mut asked = Vec::new();
            let mean = exchange.mean(count, |shard, to| {
                asked.push(shard);
                to.copy_from_slice(&numbers(shard, count));
                Ok(())
            })?;
            let mean = mean.to_vec();
            assert!(
                asked.into_iter().eq(exchange.own()),
                "all of its own, in order"
            );
            Ok::<_, Error>(mean)
        })
    }

    #[test]
    fn any_number_of_processes_gives_the_same_bits() -> Result<(), Error> {
        for shards in [1, 2, 3, 4, 6, 8, 12, 13] {
            for count in [1, 2, 5, 1000] {
                let alone = &mean_of(1, shards, count)?[0];
                for (at, &found) in alone.iter().enumerate() {
                    let of_all = (0..shards).map(|shard| f64::from(numbers(shard, count)[at]));
                    let expected = of_all.sum::<f64>() / shards as f64;
                    // Each of the additions on the way to the root, and the product, is off by half a unit.
                    let bound =
                        1.2 * (shards as f64).log2().ceil().mul_add(1.0, 1.0) * 2f64.powi(-24);
                    assert!(
                        (f64::from(found) - expected).abs() <= bound,
                        "{shards}: {found}, {expected}"
                    );
                }
                for processes in (2..=shards).filter(|&of| of < 9) {
                    for found in mean_of(processes, shards, count)? {
                        assert_eq!(&found, alone, "{processes} processes, {shards} shards");
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
