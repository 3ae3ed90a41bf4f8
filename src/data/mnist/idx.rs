//! Reads IDX files and checks them completely.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::foreign::{self, Foreign};
use super::gzip::{self, Members, Tail};
use super::names::Original;
use super::{COLUMNS, PIXELS, ROWS};
use crate::data::DataError;
use crate::data::digest::hash_bytes;

/// Largest allowed size of an unpacked file, in bytes: more than a million images.
const MAX_BYTES: u64 = 1 << 30;
/// Unpacked size that every gzip file may have, in bytes.
const SMALL: u64 = 64 << 20;
/// Additional unpacked bytes that are allowed per byte of a gzip file. MNIST unpacks to 5 times its size, and its
/// black-and-white version to 25 times. A file made to exhaust memory unpacks to 1,000 times its size.
const RATIO: u64 = 100;
/// Number of zero bytes that may follow the values of an IDX file, because tapes and disks pad their blocks.
const PADDING: u64 = 1 << 20;
/// Smallest number of bytes to reserve before reading, unless the file is smaller.
const FIRST_PIECE: u64 = 1 << 16;
/// Bytes per read from the disk.
const READ: usize = 1 << 16;
/// Unpacked bytes per call of `fed`, the caller's function for the contents. They are few enough to be still in the
/// core's cache when `fed` reads them.
const BLOCK: u64 = 1 << 18;

/// The contents of an IDX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Images,
    Labels,
}

impl Kind {
    /// The magic number: two zero bytes, `08` for unsigned bytes, the number of dimensions.
    pub(super) fn magic(self) -> [u8; 4] {
        match self {
            Self::Images => [0, 0, 8, 3],
            Self::Labels => [0, 0, 8, 1],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Labels => "labels",
        }
    }

    /// Describes the expected contents in an error message.
    fn described(self) -> &'static str {
        match self {
            Self::Images => "images (unsigned bytes in 3 dimensions)",
            Self::Labels => "labels (unsigned bytes in 1 dimension)",
        }
    }

    /// Size of the header in bytes: the magic number, and one big-endian `u32` size per dimension.
    fn header(self) -> usize {
        match self {
            Self::Images => 16,
            Self::Labels => 8,
        }
    }

    pub(super) fn bytes_per_example(self) -> usize {
        match self {
            Self::Images => PIXELS,
            Self::Labels => 1,
        }
    }
}

/// An IDX file that has been read and checked.
#[derive(Debug)]
pub(super) struct Idx {
    path: PathBuf,
    kind: Kind,
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Idx {
    /// Reads and checks the file at `path`. `fed` is called with the pixels or labels, part by part, during unpacking.
    pub(super) fn read(
        kind: Kind,
        path: PathBuf,
        fed: impl FnMut(&[u8]),
    ) -> Result<Self, DataError> {
        let (file, length) = open(&path)?;
        unpack(kind, path, file, length, |reader, contents| {
            reader.read(contents, fed)
        })
    }

    /// Reads and checks a file of `length` bytes, gzipped or plain. Errors call the file `path`.
    pub(super) fn parse(
        kind: Kind,
        path: PathBuf,
        bytes: impl BufRead,
        length: u64,
    ) -> Result<Self, DataError> {
        unpack(kind, path, bytes, length, |reader, contents| {
            reader.read(contents, |_| {})
        })
    }

    /// Reads the number of examples that the header of the file at `path` states. The file may contain fewer.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn announced_count(kind: Kind, path: PathBuf) -> Result<u64, DataError> {
        let (file, length) = open(&path)?;
        unpack(kind, path, file, length, |reader, contents| {
            let header = reader.header(contents)?;
            let bytes = reader.announced(&header)? - header.len() as u64;
            Ok(bytes / kind.bytes_per_example() as u64)
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The pixels or labels, without the header.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The pixels or labels, without the header.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Number of examples.
    pub(super) fn count(&self) -> usize {
        self.body.len() / self.kind.bytes_per_example()
    }

    /// Fails if the SHA-256 of the contents is not that of `original`.
    pub(super) fn check_sha256(&self, original: &Original) -> Result<(), DataError> {
        let mut unpacked = Sha256::new().chain_update(&self.header);
        hash_bytes(&mut unpacked, &self.body);
        let found = format!("{:x}", unpacked.finalize());
        if found == original.sha256 {
            return Ok(());
        }
        Err(DataError::Checksum {
            file: self.path.clone(),
            expected: original.sha256,
            found,
        })
    }
}

/// Opens a file and returns its length in bytes.
fn open(path: &Path) -> Result<(impl BufRead + use<>, u64), DataError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((length, file)) => Ok((BufReader::with_capacity(READ, file), length)),
        Err(source) => Err(DataError::Read {
            file: path.to_owned(),
            source,
        }),
    }
}

/// Calls `read` with a reader of the unpacked contents of a file of `length` bytes, gzipped or plain.
fn unpack<R>(
    kind: Kind,
    path: PathBuf,
    mut bytes: impl BufRead,
    length: u64,
    read: impl FnOnce(&Reader, &mut dyn Read) -> Result<R, DataError>,
) -> Result<R, DataError> {
    let mut start = Vec::new();
    if let Err(source) = bytes.by_ref().take(2).read_to_end(&mut start) {
        return Err(DataError::Read { file: path, source });
    }
    let is_gzip = start == gzip::MAGIC;
    let mut whole = start.chain(bytes);
    let reader = Reader {
        kind,
        path,
        length,
        is_gzip,
    };
    if is_gzip {
        read(&reader, &mut Members::new(whole))
    } else {
        read(&reader, &mut whole)
    }
}

/// A file that is being read.
struct Reader {
    kind: Kind,
    path: PathBuf,
    /// Size of the file on disk in bytes, before unpacking.
    length: u64,
    is_gzip: bool,
}

impl Reader {
    /// Reads and checks the unpacked contents. Stops soon after the size that the header states.
    fn read(&self, contents: &mut dyn Read, fed: impl FnMut(&[u8])) -> Result<Idx, DataError> {
        let header = self.header(contents)?;
        let expected = self.announced(&header)?;
        let body = self.body(&mut *contents, expected - header.len() as u64, fed)?;
        let found = (header.len() + body.len()) as u64;
        if found < expected {
            return Err(self.truncated(expected, found));
        }
        self.check_end(contents, expected)?;
        Ok(Idx {
            path: self.path.clone(),
            kind: self.kind,
            header,
            body,
        })
    }

    /// Reads the header, or only a part if the file is shorter. Fails if the magic number is not that of this kind.
    fn header(&self, contents: &mut dyn Read) -> Result<Vec<u8>, DataError> {
        let kind = self.kind;
        let mut header = Vec::new();
        self.take(&mut *contents, kind.header() as u64, &mut header)?;
        let magic = kind.magic();
        let is_of_kind = header
            .iter()
            .zip(&magic)
            .all(|(found, expected)| found == expected);
        if !is_of_kind {
            self.take(contents, foreign::LOOKED_AT as u64, &mut header)?;
            return Err(self.not_idx(foreign::recognise(kind, &header)));
        }
        Ok(header)
    }

    /// Appends up to `bytes` bytes of the contents to `to`.
    fn take(&self, contents: impl Read, bytes: u64, to: &mut Vec<u8>) -> Result<usize, DataError> {
        contents
            .take(bytes)
            .read_to_end(to)
            .map_err(|error| self.failed(error))
    }

    /// Reads up to `bytes` bytes of the contents. A damaged header may state any size, so memory is reserved step by
    /// step, in proportion to the bytes that have arrived.
    fn body(
        &self,
        contents: &mut dyn Read,
        bytes: u64,
        mut fed: impl FnMut(&[u8]),
    ) -> Result<Vec<u8>, DataError> {
        let mut body = Vec::new();
        let mut piece = self.length.max(FIRST_PIECE).min(bytes);
        loop {
            let room = usize::try_from(piece).ok();
            if room.is_none_or(|room| body.try_reserve_exact(room).is_err()) {
                return Err(self.too_large(bytes));
            }
            let end = body.len() as u64 + piece;
            while (body.len() as u64) < end {
                let start = body.len();
                let block = BLOCK.min(end - body.len() as u64);
                let read = self.take(&mut *contents, block, &mut body)?;
                fed(&body[start..]);
                if (read as u64) < block {
                    return Ok(body);
                }
            }
            if end == bytes {
                return Ok(body);
            }
            // Double the capacity each time. Once an eighth has arrived, reserve memory for all bytes: copying an
            // eighth takes little extra memory.
            let rest = bytes - end;
            piece = if end >= bytes / 8 {
                rest
            } else {
                rest.min(end)
            };
        }
    }

    /// Fails if anything except padding follows the last example.
    fn check_end(&self, contents: impl Read, expected: u64) -> Result<(), DataError> {
        let mut contents = contents.take(PADDING + 1);
        let mut rest = [0; 1 << 13];
        let mut length = 0;
        loop {
            let read = match contents.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            length += read as u64;
            if length > PADDING || rest[..read].iter().any(|byte| *byte != 0) {
                return Err(DataError::IdxTrailing {
                    file: self.path.clone(),
                    expected,
                });
            }
        }
    }

    /// Returns the size of the whole unpacked file, including the header, that the header states, in bytes.
    fn announced(&self, header: &[u8]) -> Result<u64, DataError> {
        let kind = self.kind;
        if header.len() < kind.header() {
            return Err(self.truncated(kind.header() as u64, header.len() as u64));
        }
        let file = || self.path.clone();
        let (words, _) = header.as_chunks();
        let size = |at: usize| u32::from_be_bytes(words[at]);
        if kind == Kind::Images {
            let rows = size(2);
            let columns = size(3);
            let as_usize = |(rows, columns): (u32, u32)| (rows as usize, columns as usize);
            let expected = (ROWS, COLUMNS);
            let found = as_usize((rows, columns));
            if as_usize((rows.swap_bytes(), columns.swap_bytes())) == expected {
                return Err(self.not_idx(foreign::reversed_sizes()));
            }
            if found != expected {
                return Err(DataError::IdxDimensions {
                    file: file(),
                    expected,
                    found,
                });
            }
        }
        let count = size(1);
        if count == 0 {
            return Err(DataError::IdxEmpty { file: file() });
        }
        let bytes = kind.header() as u64 + u64::from(count) * kind.bytes_per_example() as u64;
        if bytes > MAX_BYTES {
            return Err(DataError::IdxTooLarge {
                file: file(),
                maximum: MAX_BYTES,
                found: bytes,
            });
        }
        if self.is_gzip && bytes > SMALL + RATIO * self.length {
            return Err(DataError::GzipRatio {
                file: file(),
                zipped: self.length,
                announced: bytes,
            });
        }
        Ok(bytes)
    }

    fn too_large(&self, bytes: u64) -> DataError {
        let examples = bytes / self.kind.bytes_per_example() as u64;
        DataError::TooLarge {
            name: self.path.display().to_string(),
            examples: usize::try_from(examples).unwrap_or(usize::MAX),
        }
    }

    fn truncated(&self, expected: u64, found: u64) -> DataError {
        DataError::IdxTruncated {
            file: self.path.clone(),
            expected,
            found,
        }
    }

    fn not_idx(&self, found: Foreign) -> DataError {
        DataError::NotIdx {
            file: self.path.clone(),
            expected: self.kind.described(),
            found: found.what,
            remedy: found.remedy,
        }
    }

    fn failed(&self, source: io::Error) -> DataError {
        let file = self.path.clone();
        if !self.is_gzip || source.raw_os_error().is_some() {
            return DataError::Read { file, source };
        }
        if Tail::is_source_of(&source) {
            return DataError::GzipTail { file };
        }
        DataError::Gzip { file, source }
    }
}
