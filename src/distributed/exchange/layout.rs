//! Divides the vectors that processes average into messages.

/// How the vectors that processes average are divided into messages: one message for each long vector, and one message,
/// `packed`, for all other elements.
#[derive(Debug)]
pub(super) struct MessageLayout {
    /// For each vector, the number of leading elements that are sent from its own memory: a multiple of the number of
    /// processes.
    in_place: Vec<usize>,
    /// Number of elements that are not sent from their vector's own memory, rounded up to a multiple of the number of
    /// processes.
    pub(super) packed: usize,
}

impl MessageLayout {
    pub(super) fn new(vectors: &[&mut [f32]], size: usize, least: usize) -> Self {
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

    /// Returns the messages that are not empty: first the leading elements of each long vector, in the vector's own
    /// memory; then `packed`, which has all other elements.
    pub(super) fn messages<'a>(
        &self,
        vectors: &'a mut [&mut [f32]],
        packed: &'a mut [f32],
    ) -> Vec<&'a mut [f32]> {
        let in_place = vectors.iter_mut().zip(&self.in_place);
        let in_place = in_place.map(|(vector, &length)| &mut vector[..length]);
        let all = in_place.chain([&mut packed[..self.packed]]);
        all.filter(|message| !message.is_empty()).collect()
    }

    /// Returns the part of each vector that is not sent from the vector's own memory, but in one message with the parts
    /// of other vectors.
    fn rests<'a>(&self, vectors: &'a mut [&mut [f32]]) -> impl Iterator<Item = &'a mut [f32]> {
        let rests = vectors.iter_mut().zip(self.in_place.clone());
        rests.map(|(vector, length)| &mut vector[length..])
    }

    pub(super) fn pack(&self, vectors: &mut [&mut [f32]], packed: &mut [f32]) {
        let mut left = packed;
        for rest in self.rests(vectors) {
            let (to, after) = left.split_at_mut(rest.len());
            to.copy_from_slice(rest);
            left = after;
        }
    }

    pub(super) fn unpack(&self, packed: &[f32], vectors: &mut [&mut [f32]]) {
        let mut left = packed;
        for rest in self.rests(vectors) {
            let (from, after) = left.split_at(rest.len());
            rest.copy_from_slice(from);
            left = after;
        }
    }
}
