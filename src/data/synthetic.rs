//! Handwritten digits made up on the spot, for machines without MNIST.
//!
//! Each image is drawn with a few pen strokes: a way of writing the digit is picked from a
//! table, its points are moved about, the whole is turned, slanted, stretched and shifted, and a
//! pen of random width and pressure draws it.
//!
//! The images have MNIST's format (28×28 bytes, white ink on black, classes 0 to 9) and are about
//! as hard: a linear classifier reaches some 90 % test accuracy, a network with one hidden layer
//! of 50 units some 98 %. Results on them are not results on MNIST.

mod glyphs;
mod hand;
mod pen;

use std::sync::{Mutex, PoisonError};
use std::thread;

use self::hand::Hand;
use self::pen::PIXELS;
use super::{DataError, Dataset, Labels, Split};

/// Images a worker draws at a time.
const CHUNK: usize = 500;

/// As many digits as MNIST has: 60,000 to train on and 10,000 to test with.
///
/// The same seed gives the same bytes everywhere: see [`digits_of`].
///
/// ```no_run
/// let split = wgrad::data::synthetic::digits(42);
/// assert_eq!(split.train.name(), "synthetic digits train");
/// assert_eq!((split.train.len(), split.test.len()), (60_000, 10_000));
/// ```
///
/// # Panics
/// When there is no memory for the images, 55 MB.
#[must_use]
#[expect(clippy::expect_used, reason = "both counts are positive and small")]
pub fn digits(seed: u64) -> Split {
    digits_of(seed, 60_000, 10_000).expect("memory for 70,000 images")
}

/// `train` digits to train on and `test` others to test with.
///
/// Every example depends on the seed, its part and its index alone, not on how many there are:
/// the first thousand of a large set are the small set of a thousand. The arithmetic is integer
/// and IEEE 754 single precision addition, multiplication, division and square root, which are
/// exactly specified, so the bytes are the same on every platform that follows the standard.
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
/// [`DataError::Empty`] when either count is 0; [`DataError::TooLarge`] when there is no memory
/// for the images.
pub fn digits_of(seed: u64, train: usize, test: usize) -> Result<Split, DataError> {
    // Streams of the random generator: even ones for training, odd ones for testing.
    Ok(Split {
        train: draw_set("synthetic digits train", seed, 0, train)?,
        test: draw_set("synthetic digits test", seed, 1, test)?,
    })
}

fn draw_set(name: &str, seed: u64, part: u64, count: usize) -> Result<Dataset, DataError> {
    let too_large = || DataError::TooLarge {
        name: name.to_owned(),
        examples: count,
    };
    let bytes = count.checked_mul(PIXELS).ok_or_else(too_large)?;
    let mut features = zeroed::<u8>(bytes).ok_or_else(too_large)?;
    let mut labels = zeroed::<u32>(count).ok_or_else(too_large)?;
    draw_all(&mut features, &mut labels, |index| {
        Hand::new(seed, 2 * index + part)
    });
    Dataset::new(name, PIXELS, features, Labels::from_classes(labels, 10)?)
}

/// `len` zeros, or `None` when there is no memory for them.
fn zeroed<T: Clone + Default>(len: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).ok()?;
    values.resize(len, T::default());
    Some(values)
}

/// Draws every example, on as many threads as the machine runs at once.
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
    // Where there are no threads, as in a browser, the count is an error: this one does it all.
    let helpers = thread::available_parallelism().map_or(0, |threads| threads.get() - 1);
    thread::scope(|scope| {
        for _ in 0..helpers.min(others) {
            // A helper that cannot start is not missed: the others take its share.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}
