//! Synthetic handwritten digits, for machines without MNIST.
//!
//! Each digit is drawn with a few pen strokes. One of several ways of writing the digit is picked from a table. The
//! points of its strokes are moved slightly, and the digit is rotated, slanted, stretched and shifted. A pen of random
//! width and pressure draws it.
//!
//! The images have MNIST's format (28×28 bytes, white ink on black, classes 0 to 9) and are about as hard: a linear
//! classifier reaches about 90 % test accuracy, and a network with one hidden layer of 50 units about 98 %. Results on
//! these digits are not results on MNIST.

mod glyphs;
mod hand;
mod pen;

use std::sync::{Mutex, PoisonError};
use std::thread;

use self::hand::Hand;
use self::pen::PIXELS;
use super::{DataError, Dataset, Labels, Split};

/// Images that a thread draws before it takes the next images from the queue.
const CHUNK: usize = 500;

/// Draws as many digits as MNIST has: 60,000 for training and 10,000 for testing.
///
/// The same seed gives the same bytes on every platform: see [`digits_of`].
///
/// ```no_run
/// let split = wgrad::data::synthetic::digits(42);
/// assert_eq!(split.train.name(), "synthetic digits train");
/// assert_eq!((split.train.len(), split.test.len()), (60_000, 10_000));
/// ```
///
/// # Panics
/// When there is not enough memory for the images, 55 MB.
#[must_use]
#[expect(clippy::expect_used, reason = "both counts are positive and small")]
pub fn digits(seed: u64) -> Split {
    digits_of(seed, 60_000, 10_000).expect("memory for 70,000 images")
}

/// Draws `train` digits for training and `test` other digits for testing.
///
/// Each example depends only on the seed, on its part (training or test) and on its index. So the first 1,000 digits do
/// not depend on the number of digits. The code uses only integer arithmetic and IEEE 754 single-precision addition,
/// multiplication, division and square root, which are exactly specified. So the bytes are the same on every platform
/// that follows the standard.
///
/// ```
/// use wgrad::data::synthetic;
///
/// let split = synthetic::digits_of(42, 100, 20)?;
/// assert_eq!((split.train.len(), split.test.len()), (100, 20));
/// assert_eq!(split.train.row(0).len(), 28 * 28);
/// assert!(split.train.labels().indices().iter().all(|&digit| digit < 10));
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::Empty`] when either count is 0; [`DataError::TooLarge`] when there is not enough memory for the
/// images.
pub fn digits_of(seed: u64, train: usize, test: usize) -> Result<Split, DataError> {
    Drawing::new(seed, train, test)?.finish()
}

/// Draws the digits of [`digits_of`] a few per call, so that a program can update its user interface between two calls.
///
/// ```
/// use wgrad::data::synthetic::{self, Drawing};
///
/// let mut drawing = Drawing::new(42, 100, 20)?;
/// while drawing.remaining() > 0 {
///     drawing.draw(50);
/// }
/// let (split, at_once) = (drawing.finish()?, synthetic::digits_of(42, 100, 20)?);
/// assert_eq!(split.train.features(), at_once.train.features());
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Drawing {
    seed: u64,
    train: Sheet,
    test: Sheet,
}

impl Drawing {
    /// Allocates memory for the digits. No digit is drawn yet.
    ///
    /// # Errors
    /// [`DataError::TooLarge`] when there is not enough memory for the images.
    pub fn new(seed: u64, train: usize, test: usize) -> Result<Self, DataError> {
        // Training examples use the random generator's streams with even numbers, test examples those with odd numbers.
        Ok(Self {
            seed,
            train: Sheet::blank("synthetic digits train", 0, train)?,
            test: Sheet::blank("synthetic digits test", 1, test)?,
        })
    }

    /// Number of digits that are not drawn yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.train.remaining() + self.test.remaining()
    }

    /// Draws the next `count` digits, or all remaining digits if there are fewer.
    pub fn draw(&mut self, count: usize) {
        let of_test = count.min(self.test.remaining());
        self.test.draw(self.seed, of_test);
        let of_train = (count - of_test).min(self.train.remaining());
        self.train.draw(self.seed, of_train);
    }

    /// Draws all remaining digits and returns the data sets.
    ///
    /// # Errors
    /// [`DataError::Empty`] when there are no training digits or no test digits.
    pub fn finish(mut self) -> Result<Split, DataError> {
        self.draw(self.remaining());
        Ok(Split {
            train: self.train.into_dataset()?,
            test: self.test.into_dataset()?,
        })
    }
}

/// The training digits or the test digits. The first `drawn` of them are drawn.
struct Sheet {
    name: &'static str,
    part: u64,
    features: Vec<u8>,
    labels: Vec<u32>,
    drawn: usize,
}

impl Sheet {
    fn blank(name: &'static str, part: u64, count: usize) -> Result<Self, DataError> {
        let too_large = || DataError::TooLarge {
            name: name.to_owned(),
            examples: count,
        };
        let bytes = count.checked_mul(PIXELS).ok_or_else(too_large)?;
        Ok(Self {
            name,
            part,
            features: zeroed(bytes).ok_or_else(too_large)?,
            labels: zeroed(count).ok_or_else(too_large)?,
            drawn: 0,
        })
    }

    fn remaining(&self) -> usize {
        self.labels.len() - self.drawn
    }

    fn draw(&mut self, seed: u64, count: usize) {
        let first = self.drawn;
        let end = self.drawn + count;
        let part = self.part;
        let images = &mut self.features[first * PIXELS..end * PIXELS];
        draw_all(images, &mut self.labels[first..end], |index| {
            Hand::new(seed, 2 * (first as u64 + index) + part)
        });
        self.drawn = end;
    }

    fn into_dataset(self) -> Result<Dataset, DataError> {
        let labels = Labels::from_classes(self.labels, 10)?;
        Dataset::new(self.name, PIXELS, self.features, labels)
    }
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sheet")
            .field("name", &self.name)
            .field("examples", &self.labels.len())
            .field("drawn", &self.drawn)
            .finish_non_exhaustive()
    }
}

/// Returns `len` zeros; `None` if there is not enough memory for them.
fn zeroed<T: Clone + Default>(len: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).ok()?;
    values.resize(len, T::default());
    Some(values)
}

/// Draws every example, with one thread per available core.
fn draw_all(features: &mut [u8], labels: &mut [u32], hand: impl Fn(u64) -> Hand + Sync) {
    let others = labels.len().div_ceil(CHUNK).saturating_sub(1);
    let images = features.chunks_mut(CHUNK * PIXELS);
    let chunks = images.zip(labels.chunks_mut(CHUNK));
    let queue = Mutex::new((0..).step_by(CHUNK).zip(chunks));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((start, (images, labels))) = next() {
            let examples = images.chunks_exact_mut(PIXELS).zip(labels);
            for (index, (image, label)) in (start..).zip(examples) {
                *label = hand(index).draw(image);
            }
        }
    };
    // In a browser without threads, `available_parallelism` fails. Then this thread draws everything.
    let helpers = thread::available_parallelism().map_or(0, |threads| threads.get() - 1);
    thread::scope(|scope| {
        for _ in 0..helpers.min(others) {
            // If a helper thread cannot start, the other threads draw its images.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}
