//! Changes files at random, and measures the time and memory of reading them. The changes are the same for the same
//! seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::allocation::Counting;
use crate::gpu::Numbers;

/// The maximum memory for reading a file, in bytes, in addition to the file's size.
const MOST_MEMORY: usize = 100_000_000;
/// The maximum time for reading a small file.
const MOST_TIME: Duration = Duration::from_secs(1);
/// The default number of files in each test, if the environment variable `WGRAD_MUTATIONS` is not set.
const FILES: usize = 3_000;

/// Numbers with which readers of files often fail.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Creates new files by changing existing files at random.
pub(crate) struct Mutator {
    pub(crate) numbers: Numbers,
    corpus: Vec<(String, Vec<u8>)>,
}

impl Mutator {
    /// Uses all files in the folder `tests/corpus/<name>`, and the files in `made`, as originals.
    pub(crate) fn new(seed: u64, name: &str, made: Vec<(String, Vec<u8>)>) -> Self {
        let mut corpus = made;
        for file in std::fs::read_dir(format!("tests/corpus/{name}")).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            corpus.push((path.display().to_string(), bytes));
        }
        // A directory may list its files in any order, so they are sorted.
        corpus.sort();
        assert!(!corpus.is_empty(), "no files to start from");
        Self {
            numbers: Numbers::new(seed),
            corpus,
        }
    }

    /// Returns the original files with their names.
    pub(crate) fn corpus(&self) -> &[(String, Vec<u8>)] {
        &self.corpus
    }

    /// Returns one of the original files.
    pub(crate) fn original(&mut self) -> Vec<u8> {
        let at = self.numbers.below(self.corpus.len());
        self.corpus[at].1.clone()
    }

    /// Changes a file at one place. It changes bits, bytes or numbers of 16 to 64 bits in both byte orders, or it cuts,
    /// inserts or repeats bytes, or inserts a piece of another file.
    pub(crate) fn change_bytes(&mut self, bytes: &mut Vec<u8>) {
        let at = self.place(bytes.len());
        let end = at + self.place((bytes.len() - at).min(64));
        match self.numbers.below(10) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.numbers.below(8),
            1 if at < bytes.len() => bytes[at] = self.byte(),
            2 | 3 => self.write_number(bytes, at),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..end)),
            6 => {
                let inserted: Vec<u8> = (0..self.numbers.below(16)).map(|_| self.byte()).collect();
                bytes.splice(at..at, inserted);
            }
            7 => {
                let times = self.numbers.below(100);
                let repeated = bytes[at..end].repeat(times);
                bytes.splice(at..at, repeated);
            }
            8 => {
                let other = self.original();
                let from = self.place(other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            _ => bytes[at..end].fill(0),
        }
    }

    fn byte(&mut self) -> u8 {
        self.numbers.bits().to_le_bytes()[0]
    }

    /// Returns a random position below `length`. It is often among the first bytes, where a file has its header.
    fn place(&mut self, length: usize) -> usize {
        let length = match self.numbers.below(2) {
            0 => length.min(32),
            _ => length,
        };
        self.numbers.below(length + 1)
    }

    fn write_number(&mut self, bytes: &mut [u8], at: usize) {
        let size = [2, 4, 8][self.numbers.below(3)];
        let value = self.edge();
        let little = value.to_le_bytes();
        let big = value.to_be_bytes();
        let written = match self.numbers.below(2) {
            0 => &little[..size],
            _ => &big[8 - size..],
        };
        if let Some(place) = bytes.get_mut(at..at + size) {
            place.copy_from_slice(written);
        }
    }

    /// Returns a number with which readers often fail, or a neighbor of it.
    pub(crate) fn edge(&mut self) -> u64 {
        let edge = EDGES[self.numbers.below(EDGES.len())];
        match self.numbers.below(4) {
            0 => edge.wrapping_add(1),
            1 => edge.wrapping_sub(1),
            _ => edge,
        }
    }
}

/// Returns the number of files to try.
pub(crate) fn count() -> usize {
    match std::env::var("WGRAD_MUTATIONS") {
        Ok(count) => count.parse().expect("WGRAD_MUTATIONS should be a number"),
        Err(_) => FILES,
    }
}

/// Returns a guard that a test must hold while it runs, because memory is counted for the whole program.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `read`, which reads a file of `size` bytes. Fails with `case` in the message if `read` panics, takes a second,
/// or uses 100 MB more than the file's size.
pub(crate) fn within_bounds<T>(case: &str, size: usize, mut read: impl FnMut() -> T) -> T {
    // Another program may use the machine at the same time, so the fastest of three runs counts.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let (result, peak) = Counting::peak_of(|| catch_unwind(AssertUnwindSafe(&mut read)));
        fastest = fastest.min(start.elapsed());
        let result = result.unwrap_or_else(|panic| {
            eprintln!("{case}: panicked");
            resume_unwind(panic)
        });
        let beyond = peak.saturating_sub(size);
        assert!(
            beyond <= MOST_MEMORY,
            "{case}: {beyond} bytes beyond its size"
        );
        if fastest < MOST_TIME {
            return result;
        }
    }
    panic!("{case}: took {fastest:?}");
}
