//! IDX files, checked in full before anything else reads them.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{CLASSES, COLUMNS, PIXELS, ROWS};
use crate::data::DataError;

/// The most bytes an unpacked file may have: more than a million images, and little enough for a
/// hostile gzip file not to exhaust memory.
const MAX_BYTES: u64 = 1 << 30;

/// What an IDX file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Images,
    Labels,
}

impl Kind {
    /// Two zero bytes, `08` for unsigned bytes, the number of dimensions.
    fn magic(self) -> u32 {
        match self {
            Self::Images => 0x0803,
            Self::Labels => 0x0801,
        }
    }

    /// Bytes of the magic number and one big-endian size per dimension.
    fn header(self) -> usize {
        match self {
            Self::Images => 16,
            Self::Labels => 8,
        }
    }

    fn bytes_per_example(self) -> usize {
        match self {
            Self::Images => PIXELS,
            Self::Labels => 1,
        }
    }
}

/// One of the four files, as its distributors name it.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) name: &'static str,
    /// The name of the gzipped file.
    pub(super) gz_name: &'static str,
    pub(super) kind: Kind,
    /// Of the unpacked contents, in hexadecimal.
    pub(super) sha256: &'static str,
}

impl Original {
    /// The path of this file in `directory`: plain before gzipped.
    pub(super) fn locate(&self, directory: &Path) -> Result<PathBuf, DataError> {
        let mut not_a_file = None;
        for path in self.spellings().map(|name| directory.join(name)) {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => return Ok(path),
                Ok(_) => not_a_file = not_a_file.or(Some(path)),
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(DataError::Read { file: path, source }),
            }
        }
        Err(match not_a_file {
            Some(file) => DataError::NotAFile { file },
            None => DataError::MissingFile {
                file: directory.join(self.name),
            },
        })
    }

    /// The names that it may have, best first.
    pub(super) fn spellings(&self) -> [String; 4] {
        let dotted = self.name.replace("-idx", ".idx");
        let dotted_gz = format!("{dotted}.gz");
        [self.name.into(), dotted, self.gz_name.into(), dotted_gz]
    }

    /// Reads and checks this file at `path`, gzipped when that ends in `.gz`.
    pub(super) fn read(&self, path: PathBuf) -> Result<Idx, DataError> {
        match File::open(&path) {
            Ok(file) => self.parse(path, BufReader::new(file)),
            Err(source) => Err(DataError::Read { file: path, source }),
        }
    }

    /// Reads and checks this file's bytes, gzipped when `path` ends in `.gz`.
    pub(super) fn parse(&self, path: PathBuf, bytes: impl BufRead) -> Result<Idx, DataError> {
        let kind = self.kind;
        if path.extension().is_some_and(|extension| extension == "gz") {
            return self.unpack(path, bytes);
        }
        let failed = |file, source| DataError::Read { file, source };
        checked(path, kind, bytes, failed)
    }

    /// Unpacks and checks gzipped contents of this file, which errors call `path`.
    pub(super) fn unpack(&self, path: PathBuf, mut gz: impl BufRead) -> Result<Idx, DataError> {
        let kind = self.kind;
        let mut found = Vec::new();
        if let Err(source) = gz.by_ref().take(2).read_to_end(&mut found) {
            return Err(DataError::Read { file: path, source });
        }
        if found != [0x1f, 0x8b] {
            return Err(DataError::NotGzip { file: path, found });
        }
        let unpacked = MultiGzDecoder::new(found.chain(gz));
        let failed = |file, source| DataError::Gzip { file, source };
        checked(path, kind, unpacked, failed)
    }
}

/// A file whose contents agree with its header.
#[derive(Debug)]
pub(super) struct Idx {
    path: PathBuf,
    kind: Kind,
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Idx {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the whole unpacked file.
    pub(super) fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(&self.header)?;
        file.write_all(&self.body)
    }

    /// The pixels or labels, without the header.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Number of examples.
    pub(super) fn count(&self) -> usize {
        self.body.len() / self.kind.bytes_per_example()
    }

    /// Fails on a label that names no class.
    pub(super) fn check_labels(&self) -> Result<(), DataError> {
        let out_of_range = |&(_, label): &(usize, &u8)| usize::from(*label) >= CLASSES;
        match self.body.iter().enumerate().find(out_of_range) {
            Some((example, &found)) if self.kind == Kind::Labels => Err(DataError::IdxLabel {
                file: self.path.clone(),
                classes: CLASSES,
                example,
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Fails unless the contents are those of `original`.
    pub(super) fn check_sha256(&self, original: &Original) -> Result<(), DataError> {
        let unpacked = Sha256::new().chain_update(&self.header);
        let found = format!("{:x}", unpacked.chain_update(&self.body).finalize());
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

/// Reads a whole IDX file, and never more than one byte beyond what its header announces.
fn checked(
    path: PathBuf,
    kind: Kind,
    mut reader: impl Read,
    failed: impl Fn(PathBuf, io::Error) -> DataError,
) -> Result<Idx, DataError> {
    let mut read_up_to = |bytes: u64| {
        let mut read = Vec::new();
        match reader.by_ref().take(bytes).read_to_end(&mut read) {
            Ok(_) => Ok(read),
            Err(source) => Err(failed(path.clone(), source)),
        }
    };
    let header = read_up_to(kind.header() as u64)?;
    let expected = announced(&path, kind, &header)?;
    let body = read_up_to(expected + 1 - header.len() as u64)?;
    let found = (header.len() + body.len()) as u64;
    match found.cmp(&expected) {
        Ordering::Less => Err(DataError::IdxTruncated {
            file: path,
            expected,
            found,
        }),
        Ordering::Greater => Err(DataError::IdxTrailing {
            file: path,
            expected,
        }),
        Ordering::Equal => Ok(Idx {
            path,
            kind,
            header,
            body,
        }),
    }
}

/// Bytes that a header announces for the whole file, itself included.
fn announced(path: &Path, kind: Kind, header: &[u8]) -> Result<u64, DataError> {
    let file = || path.to_owned();
    let (words, _) = header.as_chunks();
    let mut words = words.iter().map(|&word| u32::from_be_bytes(word));
    let mut word = || {
        words.next().ok_or_else(|| DataError::IdxTruncated {
            file: file(),
            expected: kind.header() as u64,
            found: header.len() as u64,
        })
    };
    let (expected, found) = (kind.magic(), word()?);
    if found != expected {
        return Err(DataError::IdxMagic {
            file: file(),
            expected,
            found,
        });
    }
    let count = word()?;
    if kind == Kind::Images {
        let (expected, found) = ((ROWS, COLUMNS), (word()? as usize, word()? as usize));
        if found != expected {
            return Err(DataError::IdxDimensions {
                file: file(),
                expected,
                found,
            });
        }
    }
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
    Ok(bytes)
}
