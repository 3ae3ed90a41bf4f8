//! What a file is that is not the IDX file looked for, by its first bytes.

use super::idx::Kind;

/// So many first bytes are looked at: a tar archive says at byte 257 what it is.
pub(super) const LOOKED_AT: usize = 512;

/// What a file is, and what to do with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

const CONVERT: &str = "read it with a library that knows this format, and build the data set with \
                       `Dataset::new` (bytes) or `Table` (floats)";
const PICTURE: &str = "an IDX file holds all images of a part: decode the pictures, and build the data \
                       set with `Dataset::new`";
const UNPACK: &str = "unpack it, and take the IDX files that were in it";
const FETCH: &str = "this is what a failed download leaves: delete it and fetch the file again";
const REVERSED: &str = "IDX has the most significant byte of a number first: write the file again in that \
                        order";

/// First bytes, what a file is that begins with them, and what to do.
const FORMATS: &[(&[u8], &str, &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", PICTURE),
    (b"GIF8", "a GIF picture", PICTURE),
    (b"II*\0", "a TIFF picture", PICTURE),
    (b"MM\0*", "a TIFF picture", PICTURE),
    (b"P5", "a PGM picture", PICTURE),
    (b"P6", "a PPM picture", PICTURE),
    (b"BM", "a BMP picture", PICTURE),
    (
        b"PK\x03\x04",
        "a zip archive (as `.zip`, `.npz` and `.pt` are)",
        UNPACK,
    ),
    (b"PK\x05\x06", "an empty zip archive", FETCH),
    (b"\x1f\x8b", "gzip within gzip", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x93NUMPY", "a NumPy array (`.npy`)", CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", CONVERT),
    (b"MATLAB 5.0", "a MATLAB file", CONVERT),
    (b"PAR1", "a Parquet file", CONVERT),
    (b"ARROW1", "an Arrow file", CONVERT),
    (b"GGUF", "a GGUF file of weights", CONVERT),
    (
        b"\x80\x02",
        "a Python pickle (as CIFAR's batches are)",
        CONVERT,
    ),
    (
        b"\x80\x03",
        "a Python pickle (as CIFAR's batches are)",
        CONVERT,
    ),
    (
        b"\x80\x04",
        "a Python pickle (as CIFAR's batches are)",
        CONVERT,
    ),
    (
        b"\x80\x05",
        "a Python pickle (as CIFAR's batches are)",
        CONVERT,
    ),
    (b"%PDF", "a PDF document", FETCH),
    (
        b"version https://git-lfs.github.com/spec",
        "a Git LFS pointer",
        "the contents were not fetched with the repository: run `git lfs pull` in it",
    ),
];

/// What a file is that begins with `start` and is not of `kind`.
pub(super) fn recognise(kind: Kind, start: &[u8]) -> Foreign {
    let (what, remedy) = idx(kind, start)
        .or_else(|| binary(start))
        .or_else(|| text(start))
        .unwrap_or_else(|| {
            let first = &start[..start.len().min(8)];
            let what = format!("another file, whose first bytes are {first:02x?}");
            (what, "look where it comes from, or fetch it again")
        });
    Foreign { what, remedy }
}

/// Two zero bytes, the type of the values, the number of dimensions: or these four in reverse.
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
    let remedy = "write the values as such, or build the data set with `Dataset::new` (bytes) or `Table` \
                  (floats)";
    Some((described, remedy))
}

/// What an IDX file holds, in words.
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

/// An IDX header whose magic number is right, and whose sizes have their bytes in reverse.
pub(super) fn reversed_sizes() -> Foreign {
    Foreign {
        what: "a header with the bytes of its sizes reversed".to_owned(),
        remedy: REVERSED,
    }
}

fn binary(start: &[u8]) -> Option<(String, &'static str)> {
    let named = FORMATS.iter().find(|(first, ..)| start.starts_with(first));
    if let Some(&(_, what, remedy)) = named {
        return Some((what.to_owned(), remedy));
    }
    let at = |from: usize, bytes: &[u8]| {
        start
            .get(from..)
            .is_some_and(|rest| rest.starts_with(bytes))
    };
    if at(257, b"ustar") {
        return Some(("a tar archive".to_owned(), UNPACK));
    }
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return Some(("a WebP picture".to_owned(), PICTURE));
    }
    if at(8, b"{\"") {
        return Some(("a safetensors file of weights".to_owned(), CONVERT));
    }
    None
}

fn text(start: &[u8]) -> Option<(String, &'static str)> {
    // A character may be cut off at the end.
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_printed = |c: char| !c.is_control() || c.is_ascii_whitespace();
    let shown = text.trim_start_matches('\u{feff}').trim_start();
    if shown.is_empty() || !text.chars().all(is_printed) {
        return None;
    }
    let lower = shown.to_ascii_lowercase();
    let begins = |tags: &[&str]| tags.iter().any(|tag| lower.starts_with(tag));
    if begins(&["<!doctype html", "<html", "<head", "<body"]) {
        return Some(("a web page (HTML)".to_owned(), FETCH));
    }
    if begins(&["<?xml", "<error"]) {
        return Some(("XML".to_owned(), FETCH));
    }
    let line = shown.lines().next().unwrap_or_default();
    let quoted: String = line.chars().take(32).collect();
    if begins(&["{", "["]) {
        return Some((format!("JSON that begins with {quoted:?}"), FETCH));
    }
    let what = if line.contains([',', ';', '\t']) {
        "a table of text (CSV)"
    } else {
        "text"
    };
    Some((format!("{what} that begins with {quoted:?}"), CONVERT))
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
