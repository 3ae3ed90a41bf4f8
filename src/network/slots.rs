//! Assigns memory blocks to values. Values that are needed at different times share a block.

/// The steps during which a value is needed, from `first` to `last`, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// The memory blocks that values share.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// For each memory block, the number of elements of the largest value that uses the block.
    pub(crate) sizes: Vec<usize>,
    /// For each value, the index of its memory block in `sizes`; `None` for a value without a memory block.
    pub(crate) of: Vec<Option<usize>>,
}

impl Slots {
    /// Assigns each value the first block that is free during its span. An item has the span and the number of elements
    /// of a value, or `None` for a value that needs no block. A chain of layers needs two blocks, which alternate.
    pub(crate) fn new(values: &[Option<(Span, usize)>]) -> Self {
        let mut slots = Self {
            sizes: Vec::new(),
            of: vec![None; values.len()],
        };
        let mut order: Vec<(usize, Span, usize)> = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let Some((span, size)) = *value else { continue };
            let at = order.partition_point(|(_, other, _)| other.first <= span.first);
            order.insert(at, (index, span, size));
        }
        let mut taken_until: Vec<usize> = Vec::new();
        for (index, span, size) in order {
            let free = taken_until.iter().position(|&last| last < span.first);
            let slot = free.unwrap_or_else(|| {
                taken_until.push(0);
                slots.sizes.push(0);
                taken_until.len() - 1
            });
            taken_until[slot] = span.last;
            slots.sizes[slot] = slots.sizes[slot].max(size);
            slots.of[index] = Some(slot);
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::{Slots, Span};

    fn value(first: usize, last: usize, size: usize) -> Option<(Span, usize)> {
        Some((Span { first, last }, size))
    }

    #[test]
    fn a_chain_takes_two_blocks_in_turn() {
        let chain: Vec<_> = (0..5).map(|i| value(i, i + 1, 10 * i)).collect();
        let slots = Slots::new(&chain);
        assert_eq!(slots.of, [0, 1, 0, 1, 0].map(Some));
        assert_eq!(slots.sizes, [40, 30]);
    }

    #[test]
    fn no_two_values_have_one_block_at_once() {
        // The first value is read again at the end. The third value needs no block.
        let values = [
            value(0, 4, 1),
            value(1, 2, 2),
            None,
            value(2, 3, 3),
            value(3, 4, 4),
        ];
        let slots = Slots::new(&values);
        for (a, of_a) in values.iter().enumerate() {
            for (b, of_b) in values.iter().enumerate().skip(a + 1) {
                if let (Some((one, _)), Some((other, _))) = (of_a, of_b) {
                    let meet = one.first <= other.last && other.first <= one.last;
                    assert!(!meet || slots.of[a] != slots.of[b], "{a} and {b}");
                }
            }
        }
        assert_eq!((slots.of[2], slots.sizes.len()), (None, 3));
    }
}
