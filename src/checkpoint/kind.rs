//! Recognizes a file that is not a safetensors file, and says how to convert it.

use crate::file_kind::{FileKind, Format};

/// The kind of a file that is not a safetensors file, and what a user can do about it.
#[derive(Debug)]
pub(super) struct Kind {
    /// Name of the kind, for messages.
    pub(super) found: String,
    /// How to make a safetensors file from the given file, or which file to use instead.
    pub(super) remedy: &'static str,
}

const COPY: &str = "Copy it again, or use an earlier checkpoint";
const SAVED: &str = "Give a file that Model::save, Trainer::save or another program's safetensors library has written";

/// Says how to make a safetensors file from another format.
fn remedy(format: Format) -> &'static str {
    match format {
        Format::Archive | Format::Gzip | Format::Packed => "Unpack it first",
        Format::EmptyArchive => COPY,
        Format::Picture | Format::Document | Format::Json | Format::Text => SAVED,
        Format::Table | Format::Idx => {
            "It belongs to a data set. Give a file that Model::save or Trainer::save has written"
        }
        Format::LfsPointer => "Fetch the file itself with `git lfs pull`",
        Format::Page => {
            "Download the file itself: its link on a page often has `resolve` or `raw` where the page has `blob`"
        }
        Format::Index => {
            "It lists several files that hold the tensors: join them in Python with safetensors.torch.load_file and \
             save_file"
        }
        Format::Pickle => {
            "In Python, load it with pickle.load if you trust it, and save the arrays in it under the names of \
             the tensors with safetensors.numpy.save_file({\"layers.0.weight\": array}, \"model.safetensors\")"
        }
        Format::Torch => {
            "In Python, load it with torch.load (with weights_only=False if it holds more than tensors and you \
             trust it), take the state_dict out of it, and save that with \
             safetensors.torch.save_file(state_dict, \"model.safetensors\")"
        }
        Format::TorchScript => {
            "Convert it in Python: model = torch.jit.load(path), then \
             safetensors.torch.save_file(dict(model.state_dict()), \"model.safetensors\")"
        }
        Format::TorchExport => {
            "Convert it in Python: program = torch.export.load(path), then \
             safetensors.torch.save_file(dict(program.state_dict), \"model.safetensors\")"
        }
        Format::Numpy => {
            "In Python, load it with numpy.load and save its arrays under the names of the tensors with \
             safetensors.numpy.save_file({\"layers.0.weight\": array}, \"model.safetensors\")"
        }
        Format::Keras => {
            "In Python, load it with Keras and save its arrays with safetensors.numpy.save_file. Transpose each \
             kernel: a weight in the file is (outputs, inputs)"
        }
        Format::Onnx => {
            "In Python, load it with onnx.load, make arrays of its initializers with \
             onnx.numpy_helper.to_array, and save them with safetensors.numpy.save_file"
        }
        Format::TensorFlowLite => {
            "Save the arrays of the original model with safetensors.numpy.save_file"
        }
        Format::Ggml => {
            "It holds a language model, often quantized. Use the safetensors file from which it was converted"
        }
    }
}

impl Kind {
    /// Recognizes the kind of a file that has no safetensors header.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match FileKind::of(bytes) {
            Some(FileKind { name, format }) => Self {
                found: name,
                remedy: remedy(format),
            },
            None => Self::unknown(bytes),
        }
    }

    fn unknown(bytes: &[u8]) -> Self {
        let start: Vec<String> = bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let start = start.join(" ");
        let (found, remedy) = match *bytes {
            [] => ("an empty file".to_owned(), COPY),
            [l0, l1, l2, l3, l4, l5, l6, l7, b'{', ..] => {
                let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
                let found = format!(
                    "a file with a header of {length} bytes, more than any safetensors header has"
                );
                (found, COPY)
            }
            _ if bytes.len() < 9 => {
                let length = bytes.len();
                (format!("a file of {length} bytes, {start}"), COPY)
            }
            _ => (format!("a file that begins with the bytes {start}"), SAVED),
        };
        Self { found, remedy }
    }
}
