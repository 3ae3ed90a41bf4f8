//! Recognizes the kind of a file that is not the expected IDX file, from its first bytes.

use super::idx::Kind;
use crate::file_kind::{FileKind, Format};

/// Number of bytes to examine at the beginning of a file. A tar archive identifies itself at byte 257.
pub(super) const LOOKED_AT: usize = 512;

/// What an unexpected file is, and how to fix it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

const CONVERT: &str = "read it with a library that knows this format, and build the data set with \
                       `Dataset::new` (bytes) or `Table` (floats)";
const PICTURE: &str = "an IDX file holds all images of a part: decode the pictures, and build the data \
                       set with `Dataset::new`";
const UNPACK: &str = "unpack it, and use the IDX files inside";
const FETCH: &str = "a failed download leaves such a file: delete it and fetch the file again";
const LFS: &str = "the contents were not fetched with the repository: run `git lfs pull` in it";
const REVERSED: &str = "IDX stores the most significant byte of a number first: write the file again in that byte \
                        order";

/// Describes a file that begins with `start` and is not an IDX file of the expected `kind`.
pub(super) fn recognise(kind: Kind, start: &[u8]) -> Foreign {
    let (what, remedy) = idx(kind, start)
        .or_else(|| other(start))
        .unwrap_or_else(|| {
            let first = &start[..start.len().min(8)];
            let what = format!("another file, whose first bytes are {first:02x?}");
            (what, "check where it comes from, or fetch it again")
        });
    Foreign { what, remedy }
}

/// Recognizes an IDX magic number (two zero bytes, the type of the values, the number of dimensions), even if its four
/// bytes are in reverse order.
fn idx(kind: Kind, start: &[u8]) -> Option<(String, &'static str)> {
    let (code, dimensions, is_reversed) = match *start.first_chunk()? {
        [0, 0, code, dimensions] => (code, dimensions, false),
        [dimensions, code, 0, 0] => (code, dimensions, true),
        _ => return None,
    };
    let described = describe(code, dimensions)?;
    if is_reversed {
        return Some((
            format!("{described} with the bytes of its header reversed"),
            REVERSED,
        ));
    }
    let other = match kind {
        Kind::Images => Kind::Labels,
        Kind::Labels => Kind::Images,
    };
    if start.starts_with(&other.magic()) {
        let what = format!("{} ({described})", other.name());
        let remedy = "images and labels seem to be swapped: exchange the names of the two files";
        return Some((what, remedy));
    }
    let remedy = "write the values in that format, or build the data set with `Dataset::new` (bytes) or `Table` \
                  (floats)";
    Some((described, remedy))
}

/// Describes the contents of an IDX file from the type code and the number of dimensions in its header.
pub(super) fn describe(code: u8, dimensions: u8) -> Option<String> {
    let values = match code {
        0x08 => "unsigned bytes",
        0x09 => "signed bytes",
        0x0b => "16-bit integers",
        0x0c => "32-bit integers",
        0x0d => "32-bit floats",
        0x0e => "64-bit floats",
        _ => return None,
    };
    match dimensions {
        0 => None,
        1 => Some(format!("{values} in 1 dimension")),
        _ => Some(format!("{values} in {dimensions} dimensions")),
    }
}

/// Describes an IDX header with the right magic number but with byte-reversed sizes.
pub(super) fn reversed_sizes() -> Foreign {
    Foreign {
        what: "a header with the bytes of its sizes reversed".to_owned(),
        remedy: REVERSED,
    }
}

fn other(start: &[u8]) -> Option<(String, &'static str)> {
    if start.get(8..).is_some_and(|rest| rest.starts_with(b"{\"")) {
        return Some(("a safetensors file of weights".to_owned(), CONVERT));
    }
    let FileKind { name, format } = FileKind::of(start)?;
    Some(match format {
        // The outer gzip layer has been unpacked already.
        Format::Gzip => ("gzip within gzip".to_owned(), UNPACK),
        Format::Archive | Format::Packed => (name, UNPACK),
        Format::EmptyArchive | Format::Document | Format::Page | Format::Json | Format::Index => {
            (name, FETCH)
        }
        Format::Picture => (name, PICTURE),
        Format::LfsPointer => (name, LFS),
        Format::Table
        | Format::Idx
        | Format::Text
        | Format::Pickle
        | Format::Torch
        | Format::TorchScript
        | Format::TorchExport
        | Format::Numpy
        | Format::Keras
        | Format::Onnx
        | Format::TensorFlowLite
        | Format::Ggml => (name, CONVERT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(start: &[u8]) -> String {
        recognise(Kind::Images, start).what
    }

    #[test]
    fn idx_of_other_kinds() {
        for (start, expected) in [
            (b"\0\0\x08\x01", "labels (unsigned bytes in 1 dimension)"),
            (b"\0\0\x08\x04", "unsigned bytes in 4 dimensions"),
            (b"\0\0\x09\x03", "signed bytes in 3 dimensions"),
            (b"\0\0\x0b\x03", "16-bit integers in 3 dimensions"),
            (b"\0\0\x0c\x02", "32-bit integers in 2 dimensions"),
            (b"\0\0\x0d\x03", "32-bit floats in 3 dimensions"),
            (b"\0\0\x0e\x01", "64-bit floats in 1 dimension"),
            (
                b"\x03\x08\0\0",
                "unsigned bytes in 3 dimensions with the bytes of its header reversed",
            ),
            (
                b"\0\0\x0a\x03",
                "another file, whose first bytes are [00, 00, 0a, 03]",
            ),
            (
                b"\0\0\x08\0",
                "another file, whose first bytes are [00, 00, 08, 00]",
            ),
        ] {
            assert_eq!(what(start), expected);
        }
        let swapped = recognise(Kind::Labels, b"\0\0\x08\x03");
        assert_eq!(swapped.what, "images (unsigned bytes in 3 dimensions)");
        assert!(swapped.remedy.contains("swapped"));
    }

    #[test]
    fn other_files() {
        let mut tar = vec![0; 512];
        tar[..3].copy_from_slice(b"mni");
        tar[257..262].copy_from_slice(b"ustar");
        for (start, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "PNG"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"),
            (b"PK\x03\x04\x14\0", "zip"),
            (&tar, "tar"),
            (b"\x93NUMPY\x01\0v\0{'descr'", "NumPy"),
            (b"\x80\x02}q\x01(U\x0bbatch_label", "pickle"),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", "safetensors"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "Git LFS",
            ),
            (b"\n <!DOCTYPE html><html>", "HTML"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", "XML"),
            (
                b"{\"message\": \"Not Found\"}",
                "JSON that begins with \"{\\\"message",
            ),
            (
                b"\xef\xbb\xbflabel,1x1,1x2\r\n5,0,0",
                "(CSV) that begins with \"label,1x1,1x2\"",
            ),
            (b"not found", "text that begins with \"not found\""),
            (
                "é".repeat(9).as_bytes()[..17].as_ref(),
                "text that begins with \"éééééééé\"",
            ),
            (
                b"\x7fELF\x02\x01\x01\0\0\0",
                "first bytes are [7f, 45, 4c, 46, 02, 01, 01, 00]",
            ),
            (b"\xde", "first bytes are [de]"),
            (b"  \n", "first bytes are [20, 20, 0a]"),
        ] {
            assert!(what(start).contains(expected), "{}", what(start));
        }
    }
}
