//! Files of other programs and of other versions of the crate. They are accepted if they contain the network's weights.
//! Otherwise they are refused, and the message says what kind of file it is.

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::{Array2, array};
use wgrad::ops::{Linear, MeanSquaredError, Relu, Sgd};
use wgrad::{CheckpointError, Error, Model, Sequential, checkpoint, cpu};

use super::assert_says;
use crate::gpu::gpu;
use crate::parts::{Metadata, Tensors, parts, whole};

type Trainer = cpu::Trainer<f32>;

/// Returns a trainer on the CPU, whose network has 2 inputs, 3 hidden values and 2 outputs.
pub(super) fn trainer() -> Trainer {
    let spec = Sequential::input(2).layer(Linear::new(3)).layer(Relu);
    let spec = spec.layer(Linear::new(2)).seed(5);
    let x = array![[0.0, 1.0], [0.5, -1.0], [1.0, 0.25]];
    let table = Table::regression("rows", x.view(), x.view()).unwrap();
    let sampling = Sampling::Shuffled { seed: 1 };
    let loss = MeanSquaredError;
    let optimizer = Sgd::new(0.1).momentum(0.9);
    let mut trainer =
        Trainer::new(spec.on_cpu().unwrap(), loss, optimizer, &table, 2, sampling).unwrap();
    trainer.steps(2).unwrap();
    trainer
}

/// Names and shapes that the network's tensors have in files. A second extent of 0 means that the tensor is a vector.
const SHAPES: [(&str, [usize; 2]); 4] = [
    ("0.weight", [3, 2]),
    ("0.bias", [3, 0]),
    ("2.weight", [2, 3]),
    ("2.bias", [2, 0]),
];

/// Returns the contents of a file as another program writes it. Every element of its tensors has the bytes `element`.
fn foreign(prefix: &str, dtype: Dtype, element: &[u8]) -> (Tensors, Metadata) {
    let tensors = SHAPES.map(|(name, shape)| {
        let shape: Vec<usize> = shape.into_iter().filter(|&size| size > 0).collect();
        let data = element.repeat(shape.iter().product());
        (format!("{prefix}{name}"), dtype, shape, data)
    });
    (tensors.into(), Metadata::new())
}

pub(super) fn floats(prefix: &str) -> (Tensors, Metadata) {
    foreign(prefix, Dtype::F32, &0.5f32.to_le_bytes())
}

/// Asserts that the weights are refused and that the trainer does not change. Returns the error message.
pub(super) fn refused(bytes: &[u8]) -> String {
    let mut trainer = trainer();
    let before = trainer.to_safetensors().unwrap();
    let result = trainer.set_weights(bytes);
    assert!(trainer.to_safetensors().unwrap() == before);
    let Err(Error::Checkpoint(error)) = result else {
        panic!("{result:?}");
    };
    error.to_string()
}

/// Asserts that a network accepts the file, and that every parameter is then `value`.
pub(super) fn assert_taken(bytes: &[u8], value: f32) {
    let mut trainer = trainer();
    trainer.set_weights(bytes).unwrap();
    let parameters = trainer.network().parameters();
    let mut all = parameters.iter().flat_map(|(_, parameter)| parameter);
    assert!(all.all(|&found| found == value));
}

/// Reads a file that `network.py` wrote with PyTorch.
#[test]
fn weights_lie_as_in_a_file_of_pytorchs() {
    let path = Path::new("tests/checkpoint/network.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let matrix = |name: &str, shape: (usize, usize)| {
        let (values, _) = file.tensor(name).unwrap().data().as_chunks();
        let values = values.iter().map(|&value| f32::from_le_bytes(value));
        Array2::from_shape_vec(shape, values.collect()).unwrap()
    };
    let is_of_network = |name: &str| name.starts_with("layers.").then(|| name.to_owned());
    let weights = checkpoint::import(&bytes, is_of_network).unwrap();

    let spec = Sequential::input(3).layer(Linear::new(4)).layer(Relu);
    let spec = spec.layer(Linear::new(2)).seed(9);
    let mut model: Model = spec.build(gpu()).unwrap();
    model.set_safetensors(&weights).unwrap();
    let found = model.predict(matrix("x", (5, 3)).view()).unwrap();
    for (found, expected) in found.iter().zip(&matrix("outputs", (5, 2))) {
        // The error of two layers, whose outputs are sums of at most five products of numbers near 1.
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let saved = model.to_safetensors().unwrap();
    let (saved, _) = parts(&saved);
    assert_eq!(saved.len(), 4);
    for (name, _, shape, data) in saved {
        let theirs = file.tensor(&name).unwrap();
        assert!(theirs.shape() == shape && theirs.data() == data, "{name}");
    }
}

#[test]
fn metadata_of_other_programs_does_not_count() {
    for metadata in [
        vec![],
        vec![("format", "pt")],
        vec![("format", "")],
        vec![("network", "mlp")],
        vec![("sha256", "none"), ("step", "x"), ("batch", "7")],
        vec![("format", "tf"), ("network", "a"), ("sha256", "b")],
        // The name of this format begins like the crate's format.
        vec![("format", "wgradient 2"), ("sha256", "b")],
    ] {
        let (tensors, mut texts) = floats("layers.");
        texts.extend(metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())));
        let bytes = whole((tensors, texts));
        assert_taken(&bytes, 0.5);
        let message = trainer().set_safetensors(&bytes).unwrap_err().to_string();
        assert_says(&message, &["no training", "another program", "set_weights"]);
    }
}

#[test]
fn files_of_other_versions_are_told_as_such() {
    let ours = trainer().to_safetensors().unwrap();
    let version = |format: &str| {
        let (tensors, mut metadata) = parts(&ours);
        metadata.insert("format".to_owned(), format.to_owned());
        whole((tensors, metadata))
    };
    let older = version("wgrad 1");
    trainer().set_weights(&older).unwrap();
    let message = trainer().set_safetensors(&older).unwrap_err().to_string();
    assert_says(&message, &["another version", "wgrad 1", "set_weights"]);
    let message = refused(&version("wgrad 3"));
    assert_says(&message, &["another version", "wgrad 3", "wgrad 2"]);
    // The file comes from a later version of the format, whose digest cannot be checked.
    let (tensors, mut metadata) = floats("layers.");
    metadata.insert("format".to_owned(), "wgrad 99".to_owned());
    assert_says(
        &refused(&whole((tensors, metadata))),
        &["another version", "wgrad 99"],
    );
    assert!(!message.contains("set_weights"), "{message}");
}

/// A file that was changed is refused because of its digest. A user who changes a file on purpose can remove the
/// metadata key `format`: the digest of a file without this key is not checked.
#[test]
fn a_changed_file_is_told_as_one() {
    let (mut tensors, metadata) = parts(&trainer().to_safetensors().unwrap());
    tensors.retain(|tensor| tensor.0.starts_with("layers."));
    let views = |tensors: &Tensors, metadata: &Metadata| {
        let file = whole((tensors.clone(), Metadata::new()));
        let file = SafeTensors::deserialize(&file).unwrap();
        safetensors::serialize(file.iter(), Some(metadata.clone())).unwrap()
    };
    let message = refused(&views(&tensors, &metadata));
    assert_says(&message, &["changed", "SHA-256", "metadata key `format`"]);
    let mut without = metadata;
    without.remove("format");
    trainer().set_weights(&views(&tensors, &without)).unwrap();
}

#[test]
fn a_type_that_is_not_known_is_told() {
    let header = r#"{"layers.0.weight":{"dtype":"Q4_0","shape":[3,2],"data_offsets":[0,6]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    let message = refused(&[&length[..], header.as_bytes(), &[0; 6]].concat());
    assert_says(&message, &["layers.0.weight is of type Q4_0", "float32"]);
    assert!(!message.contains("damaged"), "{message}");
}

/// Weights in other float types are accepted if `f32` can represent every value exactly.
#[test]
fn floats_of_other_sizes_are_taken_where_that_loses_nothing() {
    for (dtype, element) in [
        (Dtype::F16, &[0x00, 0xb5][..]),
        (Dtype::BF16, &[0xa0, 0xbe]),
        (Dtype::F32, &(-0.3125f32).to_le_bytes()),
        (Dtype::F64, &(-0.3125f64).to_le_bytes()),
    ] {
        assert_taken(&whole(foreign("layers.", dtype, element)), -0.3125);
    }
    // 16-bit numbers, among them the smallest and the largest positive ones.
    for (element, value) in [
        (1u16, 2f32.powi(-24)),
        (0x7bff, 65_504.0),
        (0x8000, -0.0),
        (0x3555, 1365.0 / 4096.0),
    ] {
        let bytes = whole(foreign("layers.", Dtype::F16, &element.to_le_bytes()));
        assert_taken(&bytes, value);
    }
    for (element, value) in [
        (1u16, f32::from_bits(1 << 16)),
        (0x7f7f, f32::from_bits(0x7f7f_0000)),
    ] {
        let bytes = whole(foreign("layers.", Dtype::BF16, &element.to_le_bytes()));
        assert_taken(&bytes, value);
    }
}

#[test]
fn floats_that_would_be_rounded_are_told_and_import_rounds_them() {
    let bytes = whole(foreign("layers.", Dtype::F64, &0.1f64.to_le_bytes()));
    let message = refused(&bytes);
    let parts = [
        "layers.0.weight",
        "float64 0.1,",
        "0.10000000149011612",
        "checkpoint::import",
    ];
    assert_says(&message, &parts);
    let same = |name: &str| Some(name.to_owned());
    assert_taken(&checkpoint::import(&bytes, same).unwrap(), 0.1);

    let beyond = whole(foreign("layers.", Dtype::F64, &1e300f64.to_le_bytes()));
    assert_says(&refused(&beyond), &["1e300", "beyond the range of float32"]);
    let message = checkpoint::import(&beyond, same).unwrap_err().to_string();
    assert_says(&message, &["1e300", "beyond the range of float32"]);
}

#[test]
fn elements_that_are_no_weights_are_told_in_words() {
    for (dtype, size, words) in [
        (Dtype::I64, 8, "integers of 64 bits"),
        (Dtype::U8, 1, "unsigned integers of 8 bits"),
        (Dtype::BOOL, 1, "booleans"),
        (Dtype::C64, 8, "complex numbers"),
        (Dtype::F8_E4M3, 1, "floats of 8 bits (F8_E4M3)"),
    ] {
        let message = refused(&whole(foreign("layers.", dtype, &vec![0; size])));
        assert_says(&message, &["layers.0.weight", words, "float32"]);
    }
}

#[test]
fn an_import_renames_leaves_out_and_refuses_two_of_one_name() {
    let (mut tensors, mut metadata) = floats("net.");
    let counter = ("net.batches".to_owned(), Dtype::I64, vec![], vec![0; 8]);
    tensors.push(counter);
    metadata.insert("format".to_owned(), "pt".to_owned());
    let bytes = whole((tensors, metadata));
    let imported = checkpoint::import(&bytes, |name| {
        let rest = name.strip_prefix("net.")?;
        (rest != "batches").then(|| format!("layers.{rest}"))
    });
    let (tensors, metadata) = parts(&imported.unwrap());
    assert!(tensors.len() == 4 && metadata.is_empty());

    let message = checkpoint::import(&bytes, |name| Some(name.to_owned())).unwrap_err();
    assert_says(&message.to_string(), &["net.batches", "leave it out"]);
    let reserved = checkpoint::import(&bytes, |_| Some("__metadata__".to_owned()));
    assert_says(
        &reserved.unwrap_err().to_string(),
        &["__metadata__", "another name"],
    );
    let twice = |name: &str| name.ends_with("bias").then(|| "layers.0.bias".to_owned());
    let error = checkpoint::import(&bytes, twice).unwrap_err();
    assert!(matches!(error, CheckpointError::SameName { .. }));
    assert_says(
        &error.to_string(),
        &["net.0.bias", "net.2.bias", "layers.0.bias"],
    );
}
