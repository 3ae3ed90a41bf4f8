//! Files that are incomplete, or not safetensors files.

use super::assert_says;
use super::foreign::{floats, refused, trainer};
use crate::parts::whole;

#[test]
fn a_file_of_another_kind_is_called_what_it_is() {
    let zip = |member: &str| {
        let mut bytes = b"PK\x03\x04\x00\x00\x08\x08".to_vec();
        bytes.extend([0; 18]);
        bytes.extend([u8::try_from(member.len()).unwrap(), 0]);
        bytes.extend([0, 0]);
        bytes.extend(member.as_bytes());
        bytes
    };
    let torch = ["PyTorch", "torch.load", "safetensors.torch.save_file"];
    let pickle = [
        "a Python pickle",
        "pickle.load",
        "safetensors.numpy.save_file",
    ];
    let page = ["web page", "Download the file itself", "safetensors"];
    let mut tar = vec![0; 512];
    tar[..3].copy_from_slice(b"net");
    tar[257..262].copy_from_slice(b"ustar");
    let unpack = |what: &'static str| [what, "Unpack it first", "safetensors"];
    let saved = |what: &'static str| [what, "Model::save", "Trainer::save"];
    let cases: Vec<(Vec<u8>, [&str; 3])> = vec![
        (zip("archive/data.pkl"), torch),
        (
            b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec(),
            torch,
        ),
        (
            b"\x80\x04\x95\xa8\0\0\0\0\0\0\0}\x94\x8c\x01w".to_vec(),
            pickle,
        ),
        (b"(dp0\nV0.weight\np1\ncnumpy.core".to_vec(), pickle),
        (b"}q\0(X\x08\0\0\x000.weight".to_vec(), pickle),
        (b"ccollections\nOrderedDict\np0\n(lp1\n".to_vec(), pickle),
        (
            [zip("net/archive_format"), zip("net/data/weights/data.pkl")].concat(),
            [".pt2", "torch.export.load", "save_file"],
        ),
        (
            b"lmgg\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            ["GGML", "language model", "safetensors file"],
        ),
        (tar, unpack("a tar archive")),
        (b"<head><title>404".to_vec(), page),
        (
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied".to_vec(),
            ["XML", "Download the file itself", "safetensors"],
        ),
        (
            [zip("net/data.pkl"), zip("net/constants.pkl")].concat(),
            ["TorchScript", "torch.jit.load", "save_file"],
        ),
        (
            zip("arr_0.npy"),
            [".npz", "numpy.load", "safetensors.numpy.save_file"],
        ),
        (zip("model.weights.h5"), ["Keras", "Transpose", "save_file"]),
        (zip("readme"), unpack("a zip archive")),
        (
            b"\x93NUMPY\x01\0v\0{'descr': '<f8', ".to_vec(),
            [".npy", "numpy.load", "safetensors.numpy.save_file"],
        ),
        (
            b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0".to_vec(),
            ["GGUF", "language model", "safetensors file"],
        ),
        (
            b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0".to_vec(),
            ["HDF5", "Keras", "save_file"],
        ),
        (
            b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:".to_vec(),
            ["ONNX", "onnx.load", "save_file"],
        ),
        (
            b"\x1c\0\0\0TFL3\x14\0\x20\0".to_vec(),
            ["TensorFlow Lite", "save_file", "safetensors"],
        ),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), unpack("gzip")),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n".to_vec(),
            ["Git LFS pointer", "git lfs pull", "safetensors"],
        ),
        (b"<!DOCTYPE html>\n<html lang=\"en\"><head>".to_vec(), page),
        (
            b"{\"metadata\": {}, \"weight_map\": {\"a\": \"model-1-of-2.safetensors\"}}".to_vec(),
            ["several files", "join", "load_file"],
        ),
        (b"{\"layers.0.weight\": [0.5, 1.0]}".to_vec(), saved("JSON")),
        ("step,löss\n1,0.5\n".as_bytes().to_vec(), saved("text")),
        (b"\0\0\x08\x03\0\0\xea\x60\0\0\0\x1c".to_vec(), saved("IDX")),
        (
            vec![0xde, 0xad, 0xbe, 0xef, 9, 9, 9, 9, 9, 9],
            saved("begins with the bytes de ad be ef"),
        ),
        (vec![], ["an empty file", "Copy it again", "safetensors"]),
        (
            vec![7, 0, 0],
            ["a file of 3 bytes", "Copy it again", "safetensors"],
        ),
        (
            [&u64::MAX.to_le_bytes()[..], b"{\"a\""].concat(),
            ["18446744073709551615 bytes", "Copy it again", "safetensors"],
        ),
    ];
    for (bytes, named) in cases {
        let message = refused(&bytes);
        assert_says(&message, &named);
        assert!(
            message.starts_with("expected a safetensors file, found"),
            "{message}"
        );
        // Resuming a training gives the same message.
        let resumed = trainer().set_safetensors(&bytes).unwrap_err();
        assert_eq!(resumed.to_string(), message);
    }
}

#[test]
fn a_file_that_is_cut_off_or_too_long_is_told_by_how_much() {
    let good = whole(floats("layers."));
    let header = usize::try_from(u64::from_le_bytes(good[..8].try_into().unwrap())).unwrap();
    let data = good.len() - 8 - header;
    for (bytes, named) in [
        (
            good[..good.len() - 3].to_vec(),
            format!(
                "truncated: it has {} of the {data} bytes of its tensors",
                data - 3
            ),
        ),
        (
            good[..100].to_vec(),
            format!("truncated: it has 92 of the {header} bytes of its header"),
        ),
        (
            [&good[..], &[0; 5]].concat(),
            "5 extra bytes after its tensors".to_owned(),
        ),
    ] {
        assert_says(&refused(&bytes), &[&named, "damaged", "Copy it again"]);
    }
}
