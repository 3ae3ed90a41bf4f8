//! Parses MNIST with the crate `mnist`, on input that is guaranteed to have the size that the crate expects.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::mnist::{Mnist, MnistBuilder};

use self::ways::{Sink, Ways};
use super::idx::Kind;
use super::names::FILES;
use super::{COLUMNS, ROWS};

const TRAIN_EXAMPLES: u32 = 60_000;
const TEST_EXAMPLES: u32 = 10_000;

/// Number of examples in each of [`FILES`]. The crate `mnist` reads no other numbers of examples.
pub(super) const COUNTS: [u32; FILES.len()] =
    [TRAIN_EXAMPLES, TRAIN_EXAMPLES, TEST_EXAMPLES, TEST_EXAMPLES];

/// The crate `mnist` with its input.
///
/// The crate reads plain files by path, and panics on unexpected input. So this module passes it the paths of four
/// [`Feed`]s, to which only this module can write.
pub(super) struct Parser {
    ways: Ways,
    has_failed: Arc<AtomicBool>,
}

/// The input that the crate `mnist` reads instead of one file. It always has the expected header and the expected
/// number of bytes: if bytes are missing when a feed is dropped, the feed writes zeros. If a file is too short or
/// damaged, the caller must discard the crate's result.
pub(super) struct Feed {
    sink: Sink,
    left: usize,
    has_failed: Arc<AtomicBool>,
}

impl Parser {
    /// Creates a parser and its feeds, in the order of [`FILES`]. The crate `mnist` reads the feeds one after another,
    /// so writing to a feed may block until the earlier feeds have ended.
    ///
    /// # Errors
    /// On Unix, when the system has no directory that lists a process's open files. On other systems, when temporary
    /// files cannot be created.
    pub(super) fn start() -> io::Result<(Self, Vec<Feed>)> {
        let (ways, sinks) = Ways::open()?;
        let has_failed = Arc::new(AtomicBool::new(false));
        let feeds = sinks.into_iter().enumerate().map(|(file, sink)| {
            let kind = FILES[file].kind;
            let count = COUNTS[file];
            let mut feed = Feed {
                sink,
                left: usize::MAX,
                has_failed: Arc::clone(&has_failed),
            };
            feed.write(&header(kind, count));
            feed.left = count as usize * kind.bytes_per_example();
            feed
        });
        let feeds = feeds.collect();
        Ok((Self { ways, has_failed }, feeds))
    }

    /// Runs the crate `mnist` until all feeds have ended. `None` if a feed failed.
    pub(super) fn parse(self) -> Option<Mnist> {
        self.ways.wait();
        if self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        let [train_images, train_labels, test_images, test_labels] = self.ways.names();
        let parsed = MnistBuilder::new()
            .base_path(self.ways.directory())
            .training_images_filename(train_images)
            .training_labels_filename(train_labels)
            .test_images_filename(test_images)
            .test_labels_filename(test_labels)
            .label_format_digit()
            .training_set_length(TRAIN_EXAMPLES)
            .validation_set_length(0)
            .test_set_length(TEST_EXAMPLES)
            .finalize();
        Some(parsed)
    }
}

impl Feed {
    /// Writes pixels or labels, in one call or in several. Ignores bytes beyond the expected number.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.left)];
        self.left -= bytes.len();
        if self.sink.write_all(bytes).is_err() {
            self.left = 0;
            self.has_failed.store(true, Ordering::Release);
        }
    }

    /// Ends the feed without writing zeros, for a parser that will never read it.
    pub(super) fn abandon(mut self) {
        self.left = 0;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        while self.left > 0 {
            self.write(&[0; 1 << 13]);
        }
    }
}

/// Returns the header of an IDX file of this kind with `count` examples.
fn header(kind: Kind, count: u32) -> Vec<u8> {
    let of_image: &[usize] = match kind {
        Kind::Images => &[ROWS, COLUMNS],
        Kind::Labels => &[],
    };
    let of_image = of_image.iter().flat_map(|size| {
        // The last four of eight bytes are enough: no size is larger.
        let [_, _, _, _, bytes @ ..] = (*size as u64).to_be_bytes();
        bytes
    });
    let sizes = count.to_be_bytes().into_iter().chain(of_image);
    kind.magic().into_iter().chain(sizes).collect()
}

/// Pipes, from which the crate `mnist` reads while the feeds write. Nothing is written to disk.
#[cfg(unix)]
mod ways {
    use std::fs::{self, File};
    use std::io::{self, PipeReader, PipeWriter};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::FILES;

    /// Directories that list a process's open files.
    const OPEN_FILES: [&str; 2] = ["/proc/self/fd", "/dev/fd"];

    pub(super) type Sink = PipeWriter;

    pub(super) struct Ways {
        directory: &'static str,
        names: [String; FILES.len()],
        /// The reading ends stay open so that the crate `mnist` can open them by path. If the crate panics, they are
        /// closed, so that the feeds do not block.
        _readers: Vec<PipeReader>,
    }

    impl Ways {
        pub(super) fn open() -> io::Result<(Self, Vec<Sink>)> {
            let pipes = FILES.iter().map(|_| io::pipe());
            let pipes = pipes.collect::<io::Result<Vec<_>>>()?;
            let (readers, sinks): (Vec<_>, _) = pipes.into_iter().unzip();
            let names = std::array::from_fn(|at| readers[at].as_raw_fd().to_string());
            let shows_all = |directory: &&str| {
                let mut pairs = readers.iter().zip(&names);
                pairs.all(|(reader, name)| is_same(reader, &Path::new(directory).join(name)))
            };
            let directory = OPEN_FILES.into_iter().find(shows_all);
            let ways = Self {
                directory: directory.ok_or(io::ErrorKind::Unsupported)?,
                names,
                _readers: readers,
            };
            Ok((ways, sinks))
        }

        /// Returns at once: the crate `mnist` may read from pipes at any time.
        pub(super) fn wait(&self) {}

        pub(super) fn directory(&self) -> &str {
            self.directory
        }

        pub(super) fn names(&self) -> [&str; FILES.len()] {
            self.names.each_ref().map(String::as_str)
        }
    }

    /// Whether `path` opens this pipe. In a bare `chroot`, the directory of open files does not exist.
    fn is_same(pipe: &PipeReader, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let of_pipe = pipe
            .try_clone()
            .and_then(|pipe| File::from(std::os::fd::OwnedFd::from(pipe)).metadata());
        // Read only the metadata: opening a path that is not this pipe could block.
        let found = fs::metadata(path);
        match (of_pipe, found) {
            (Ok(expected), Ok(found)) => identity(expected) == identity(found),
            _ => false,
        }
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used)]

        use super::*;

        #[test]
        fn another_pipe_is_told_from_one() {
            let (one, _to_one) = io::pipe().unwrap();
            let (other, _to_other) = io::pipe().unwrap();
            let path =
                |pipe: &PipeReader| Path::new(OPEN_FILES[1]).join(pipe.as_raw_fd().to_string());
            assert!(is_same(&one, &path(&one)));
            assert!(!is_same(&one, &path(&other)));
            assert!(!is_same(&one, Path::new("/no/such/file")));
        }
    }
}

/// Temporary files in a directory that other users cannot open. The files are removed on drop.
#[cfg(not(unix))]
mod ways {
    use std::fs::File;
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tempfile::TempDir;

    use super::super::names::Original;
    use super::FILES;

    pub(super) struct Ways {
        directory: TempDir,
        /// No message is ever sent on this channel. Receiving fails when all sinks have been dropped: then all files
        /// are written.
        fed: Receiver<()>,
    }

    pub(super) struct Sink {
        file: File,
        _fed: Sender<()>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.file.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    impl Ways {
        pub(super) fn open() -> io::Result<(Self, Vec<Sink>)> {
            let directory = tempfile::tempdir()?;
            if directory.path().to_str().is_none() {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            let (sender, fed) = channel();
            let sinks = FILES.iter().map(|original| {
                Ok(Sink {
                    file: File::create_new(directory.path().join(original.name()))?,
                    _fed: sender.clone(),
                })
            });
            let sinks = sinks.collect::<io::Result<_>>()?;
            Ok((Self { directory, fed }, sinks))
        }

        /// Waits until all files have been written. Then the crate `mnist` may read them.
        pub(super) fn wait(&self) {
            while self.fed.recv().is_ok() {}
        }

        pub(super) fn directory(&self) -> &str {
            self.directory.path().to_str().unwrap_or_default()
        }

        pub(super) fn names(&self) -> [&str; FILES.len()] {
            FILES.each_ref().map(Original::name)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    use super::*;

    /// Parses feeds that each get `short` bytes fewer than expected. A negative number means extra bytes.
    fn parse(short: [isize; FILES.len()]) -> Mnist {
        let (parser, feeds) = Parser::start().unwrap();
        thread::scope(|scope| {
            let parsing = scope.spawn(|| parser.parse());
            for (file, (mut feed, short)) in feeds.into_iter().zip(short).enumerate() {
                let bytes = COUNTS[file] as usize * FILES[file].kind.bytes_per_example();
                let bytes =
                    vec![1 + u8::try_from(file).unwrap(); bytes.saturating_add_signed(-short)];
                for piece in bytes.chunks(100_000) {
                    feed.write(piece);
                }
            }
            parsing.join().unwrap().unwrap()
        })
    }

    #[test]
    fn the_crate_reads_what_is_fed() {
        let parsed = parse([0; 4]);
        let Mnist {
            trn_img,
            trn_lbl,
            tst_img,
            tst_lbl,
            ..
        } = parsed;
        for (file, found) in [trn_img, trn_lbl, tst_img, tst_lbl].iter().enumerate() {
            let expected = COUNTS[file] as usize * FILES[file].kind.bytes_per_example();
            assert_eq!(found.len(), expected);
            assert!(found.iter().all(|byte| usize::from(*byte) == 1 + file));
        }
    }

    #[test]
    fn the_crate_reads_its_count_whatever_is_fed() {
        let parsed = parse([1, 60_000, -1, 5]);
        let zeros = |found: &[u8]| found.iter().rev().take_while(|byte| **byte == 0).count();
        assert_eq!(
            (parsed.trn_img.len(), zeros(&parsed.trn_img)),
            (47_040_000, 1)
        );
        assert_eq!(
            (parsed.trn_lbl.len(), zeros(&parsed.trn_lbl)),
            (60_000, 60_000)
        );
        assert_eq!(
            (parsed.tst_img.len(), zeros(&parsed.tst_img)),
            (7_840_000, 0)
        );
        assert_eq!((parsed.tst_lbl.len(), zeros(&parsed.tst_lbl)), (10_000, 5));
    }

    #[test]
    fn who_feeds_a_parser_that_has_panicked_does_not_wait() {
        let (parser, feeds) = Parser::start().unwrap();
        let panics = || {
            let _parser = parser;
            std::panic::resume_unwind(Box::new(()));
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        drop(feeds);
    }
}
