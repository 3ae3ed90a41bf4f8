//! Recognizes, by their bytes, files that this crate cannot read.

use Format::{Archive, Ggml, Packed, Page, Picture, Table};

/// A kind of file, recognized by its bytes.
#[derive(Debug)]
pub(crate) struct FileKind {
    /// The name of the kind in messages.
    pub(crate) name: String,
    pub(crate) format: Format,
}

/// The format of a file. It decides which advice an error message gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Archive,
    EmptyArchive,
    Gzip,
    Packed,
    Picture,
    Document,
    Table,
    Idx,
    LfsPointer,
    Page,
    Json,
    /// The index file of a model that is stored in several files.
    Index,
    Text,
    Pickle,
    Torch,
    TorchScript,
    TorchExport,
    Numpy,
    Keras,
    Onnx,
    TensorFlowLite,
    Ggml,
}

/// The first bytes of files, each with the name and the format of its kind.
const BEGINNINGS: [(&[u8], &str, Format); 25] = [
    (b"\x89PNG", "a PNG picture", Picture),
    (b"\xff\xd8\xff", "a JPEG picture", Picture),
    (b"GIF8", "a GIF picture", Picture),
    (b"II*\0", "a TIFF picture", Picture),
    (b"MM\0*", "a TIFF picture", Picture),
    (b"PK\x05\x06", "an empty zip archive", Format::EmptyArchive),
    (b"\x1f\x8b", "a gzip file", Format::Gzip),
    (b"BZh", "a bzip2 file", Packed),
    (b"\xfd7zXZ\0", "an xz file", Packed),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", Packed),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", Archive),
    (b"Rar!", "a RAR archive", Archive),
    (b"\x93NUMPY", "a NumPy array (.npy)", Format::Numpy),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (.h5), the format of Keras",
        Format::Keras,
    ),
    (b"MATLAB 5.0", "a MATLAB file", Table),
    (b"PAR1", "a Parquet file", Table),
    (b"ARROW1", "an Arrow file", Table),
    (b"GGUF", "a GGUF file", Ggml),
    (b"lmgg", "a GGML file", Ggml),
    (b"fmgg", "a GGML file", Ggml),
    (b"tjgg", "a GGML file", Ggml),
    (b"%PDF", "a PDF document", Format::Document),
    (
        b"version https://git-lfs",
        "a Git LFS pointer in place of the file",
        Format::LfsPointer,
    ),
    (b"\0\0\x08\x01", "an IDX file of labels", Format::Idx),
    (b"\0\0\x08\x03", "an IDX file of images", Format::Idx),
];

/// Number of bytes at the start and at the end of a file that are searched for names and words.
const SEARCHED: usize = 64 << 10;
/// Offset in bytes of the signature of a tar archive.
const TAR: usize = 257;
/// The first bytes of a pickle in PyTorch's first format, after the protocol number.
const TORCH_PICKLE: &[u8] = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";

impl FileKind {
    /// Recognizes a file by its bytes, which must include its start. Returns `None` for an unknown kind.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let begins = |(start, ..): &&(&[u8], &str, Format)| bytes.starts_with(start);
        if let Some(&(_, name, format)) = BEGINNINGS.iter().find(begins) {
            return Some(Self::new(name, format));
        }
        let kind = match *bytes {
            [b'P', b'K', 3, 4, ..] => of_zip(bytes),
            [0x80, 2..=5, ref rest @ ..] if rest.starts_with(TORCH_PICKLE) => {
                ("a PyTorch file of the first format", Format::Torch)
            }
            [0x80, 2..=5, operation, ..] if operation != 0 => ("a Python pickle", Format::Pickle),
            _ if is_early_pickle(bytes) => ("a Python pickle", Format::Pickle),
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => {
                ("a TensorFlow Lite file", Format::TensorFlowLite)
            }
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => ("a WebP picture", Picture),
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => ("a BMP picture", Picture),
            [b'P', b'5' | b'6', b'\n' | b' ', ..] => ("a PGM or PPM picture", Picture),
            // The first two fields of an ONNX model: the version of the format, and the program that wrote the file.
            [0x08, 3..=32, 0x12, ..] => ("an ONNX file", Format::Onnx),
            _ if bytes
                .get(TAR..)
                .is_some_and(|rest| rest.starts_with(b"ustar")) =>
            {
                ("a tar archive", Archive)
            }
            _ => return of_text(bytes),
        };
        Some(Self::new(kind.0, kind.1))
    }

    fn new(name: impl Into<String>, format: Format) -> Self {
        Self {
            name: name.into(),
            format,
        }
    }
}

/// Recognizes a zip archive by the names of its members.
fn of_zip(bytes: &[u8]) -> (&'static str, Format) {
    let has = |member: &str| has(bytes, member);
    if has("archive_format") || has("serialized_exported_program") {
        (
            "a PyTorch program (.pt2, a zip archive)",
            Format::TorchExport,
        )
    } else if has("constants.pkl") {
        ("a TorchScript file (a zip archive)", Format::TorchScript)
    } else if has("data.pkl") {
        (
            "a PyTorch file (a zip archive with a pickle)",
            Format::Torch,
        )
    } else if has(".npy") {
        (
            "a NumPy file (.npz, a zip archive of arrays)",
            Format::Numpy,
        )
    } else if has(".weights.h5") {
        ("a Keras file (.keras, a zip archive)", Format::Keras)
    } else {
        ("a zip archive", Archive)
    }
}

/// Whether the bytes are a pickle of protocol 0 or 1, which has no signature: a dictionary, a list, or a class given by
/// its module and name.
fn is_early_pickle(bytes: &[u8]) -> bool {
    match *bytes {
        [b'(', b'd' | b'l', b'p', b'0'..=b'9', ..] | [b'}' | b']', b'q', 0..32, ..] => true,
        [b'c', ref rest @ ..] => {
            let mut lines = rest[..rest.len().min(SHOWN)].split(|&byte| byte == b'\n');
            let is_name = |line: Option<&[u8]>| {
                let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
                line.is_some_and(|line| !line.is_empty() && line.iter().all(is_of_name))
            };
            is_name(lines.next())
                && is_name(lines.next())
                && matches!(lines.next(), Some([b'p' | b'q' | b'(', ..]))
        }
        _ => false,
    }
}

/// Number of bytes at the start of a text that identify its kind.
const SHOWN: usize = 256;

fn of_text(bytes: &[u8]) -> Option<FileKind> {
    let start = &bytes[..bytes.len().min(SHOWN)];
    // The last character may be incomplete.
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_printed = |c: char| !c.is_control() || c.is_ascii_whitespace();
    let shown = text.trim_start_matches('\u{feff}').trim_ascii_start();
    if shown.is_empty() || !text.chars().all(is_printed) {
        return None;
    }
    let lower = shown.to_ascii_lowercase();
    let begins = |tags: &[&str]| tags.iter().any(|tag| lower.starts_with(tag));
    if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        return Some(FileKind::new("a web page (HTML)", Page));
    }
    if begins(&["<?xml", "<error"]) {
        return Some(FileKind::new("XML", Page));
    }
    let line = shown.lines().next().unwrap_or_default();
    let (what, format) = if begins(&["{"]) && has(bytes, "\"weight_map\"") {
        return Some(FileKind::new(
            "the index of a model in several files",
            Format::Index,
        ));
    } else if begins(&["{", "["]) {
        ("JSON", Format::Json)
    } else if line.contains([',', ';', '\t']) {
        ("a table of text (CSV)", Format::Text)
    } else {
        ("text", Format::Text)
    };
    let quoted: String = line.chars().take(32).collect();
    Some(FileKind::new(
        format!("{what} that begins with {quoted:?}"),
        format,
    ))
}

/// Whether a word occurs near the start or the end of a file.
fn has(bytes: &[u8], word: &str) -> bool {
    let end = &bytes[bytes.len().saturating_sub(SEARCHED)..];
    let start = &bytes[..bytes.len().min(SEARCHED)];
    let is_in = |part: &[u8]| {
        part.windows(word.len())
            .any(|window| window == word.as_bytes())
    };
    is_in(start) || is_in(end)
}
