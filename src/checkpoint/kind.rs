//! What a file is that is no safetensors file, as far as its bytes tell, and how to make one of it.

/// A kind of file.
#[derive(Debug)]
pub(super) struct Kind {
    /// What it is called.
    pub(super) found: String,
    /// How to make a safetensors file of it.
    pub(super) remedy: &'static str,
}

const COPY: &str = "Copy it again, or take an earlier one";
const SAVED: &str = "Name a file that Model::save or Trainer::save has written, or another program's \
    safetensors library";
const UNPACK: &str = "Unpack it first";
const DATA: &str = "It is of a data set. Name a file that Model::save or Trainer::save has written";
const TORCH: &str = "Convert it in Python: model.load_state_dict(torch.load(path)), then \
    safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")";
const TORCH_SCRIPT: &str = "Convert it in Python: model = torch.jit.load(path), then \
    safetensors.torch.save_file(dict(model.state_dict()), \"model.safetensors\")";
const NUMPY: &str = "In Python, load it with numpy.load and save its arrays under the names of the tensors \
    with safetensors.numpy.save_file({\"layers.0.weight\": array}, \"model.safetensors\")";
const KERAS: &str = "In Python, load it with Keras and save its arrays with safetensors.numpy.save_file, \
    each kernel transposed: a weight is (outputs, inputs) there";
const GGUF: &str =
    "It holds a language model, often quantized. Take the safetensors file that it was made from";
const ONNX: &str = "In Python, load it with onnx.load, make arrays of its initializers with \
    onnx.numpy_helper.to_array, and save them with safetensors.numpy.save_file";
const TFLITE: &str =
    "Save the arrays of the model that it was made from with safetensors.numpy.save_file";
const LFS: &str = "Fetch the file itself with `git lfs pull`";
const PAGE: &str = "Download the file itself: its link on a page often has `resolve` or `raw` where the page \
    has `blob`";
const INDEX: &str = "Its tensors lie in several files, which it names: join them in Python with \
    safetensors.torch.load_file and save_file";

/// How files begin, what they are called, and what to do.
const BEGINNINGS: [(&[u8], &str, &str); 14] = [
    (b"GGUF", "a GGUF file", GGUF),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras has them (.h5)",
        KERAS,
    ),
    (b"\x93NUMPY", "a NumPy array (.npy)", NUMPY),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which stands for the file",
        LFS,
    ),
    (b"\x1f\x8b", "a gzip file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a file packed by zstd", UNPACK),
    (b"\xfd7zXZ\0", "a file packed by xz", UNPACK),
    (b"BZh", "a file packed by bzip2", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"\0\0\x08\x01", "an IDX file of labels", DATA),
    (b"\0\0\x08\x03", "an IDX file of images", DATA),
    (b"PAR1", "a Parquet file", DATA),
    (b"\x89PNG", "a PNG image", SAVED),
    (b"\xff\xd8\xff", "a JPEG image", SAVED),
];

/// Bytes at either end of a file in which names and words are looked for.
const SEARCHED: usize = 64 << 10;

impl Kind {
    /// The kind of a file that has no header of safetensors.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if let Some((_, found, remedy)) = BEGINNINGS
            .iter()
            .find(|(start, ..)| bytes.starts_with(start))
        {
            return Self::new(*found, remedy);
        }
        match *bytes {
            [] => Self::new("an empty file", COPY),
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::of_zip(bytes),
            [0x80, 2..=5, operation, ..] if operation != 0 => Self::new(
                "a Python pickle, as older versions of PyTorch have written them",
                TORCH,
            ),
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Self::new("a TensorFlow Lite file", TFLITE),
            // Fields 1 and 2 of its message: the format's version, and the program that wrote it.
            [0x08, 3..=32, 0x12, ..] => Self::new("an ONNX file", ONNX),
            _ => Self::of_text(bytes).unwrap_or_else(|| Self::unknown(bytes)),
        }
    }

    fn new(found: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            found: found.into(),
            remedy,
        }
    }

    /// By the names of its members.
    fn of_zip(bytes: &[u8]) -> Self {
        if has(bytes, "constants.pkl") {
            Self::new("a TorchScript file (a zip archive)", TORCH_SCRIPT)
        } else if has(bytes, "data.pkl") {
            Self::new("a PyTorch file (a zip archive with a pickle)", TORCH)
        } else if has(bytes, ".npy") {
            Self::new("a NumPy file (.npz, a zip archive of arrays)", NUMPY)
        } else if has(bytes, ".weights.h5") {
            Self::new("a Keras file (.keras, a zip archive)", KERAS)
        } else {
            Self::new("a zip archive", UNPACK)
        }
    }

    fn of_text(bytes: &[u8]) -> Option<Self> {
        let start = &bytes[..bytes.len().min(256)];
        // The last character may be cut in two.
        let valid = std::str::from_utf8(start).map_or_else(|error| error.valid_up_to(), str::len);
        let text = std::str::from_utf8(&start[..valid]).ok()?;
        let is_printed = |c: char| !c.is_control() || c.is_ascii_whitespace();
        if start.len() - valid > 3 || !text.chars().all(is_printed) || text.trim().is_empty() {
            return None;
        }
        let text = text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .to_ascii_lowercase();
        let kind = if text.starts_with("<!doctype html") || text.starts_with("<html") {
            Self::new("a web page", PAGE)
        } else if text.starts_with('{') && has(bytes, "\"weight_map\"") {
            Self::new("the index of a model in several files", INDEX)
        } else if text.starts_with(['{', '[']) {
            Self::new("JSON", SAVED)
        } else {
            Self::new("a file of text", SAVED)
        };
        Some(kind)
    }

    fn unknown(bytes: &[u8]) -> Self {
        if let [l0, l1, l2, l3, l4, l5, l6, l7, b'{', ..] = *bytes {
            let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
            return Self::new(
                format!("one with a header of {length} bytes, more than any has"),
                COPY,
            );
        }
        let start: Vec<String> = bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let start = start.join(" ");
        if bytes.len() < 9 {
            let length = bytes.len();
            return Self::new(format!("a file of {length} bytes, {start}"), COPY);
        }
        Self::new(format!("a file that begins with the bytes {start}"), SAVED)
    }
}

/// Whether a word lies near the start or the end of a file.
fn has(bytes: &[u8], word: &str) -> bool {
    let end = &bytes[bytes.len().saturating_sub(SEARCHED)..];
    let start = &bytes[..bytes.len().min(SEARCHED)];
    let is_in = |part: &[u8]| {
        part.windows(word.len())
            .any(|window| window == word.as_bytes())
    };
    is_in(start) || is_in(end)
}
