//! Loads a network from its file, without a description in the program. It has the same outputs on both engines.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayD};
use wgrad::ops::{
    Backward, Embedding, Flatten, Forward, HashGrid, Layer, LayerSpec, Linear, Relu, Sgd,
};
use wgrad::plan::Recorder;
use wgrad::reference::Twin;
use wgrad::{
    DeepConvNet, Error, Fusion, Model, MultiLayerNet, Sequential, Shape, SimpleConvNet,
    TwoLayerNet, cpu,
};

use super::{assert_says, dropping, normalizing, spec, trainer_of};
use crate::gpu::gpu;
use crate::layers;
use crate::parts::{parts, whole};

/// Returns numbers that differ from every initialization.
fn numbers(shape: &[usize], scale: f32) -> ArrayD<f32> {
    let mut state = u32::try_from(shape.iter().sum::<usize>()).unwrap();
    ArrayD::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        scale * (f32::from((state >> 16) as u16) / 65_536.0 + 0.1)
    })
}

/// Returns a network whose parameters and state differ from every initialization.
fn changed(spec: &Sequential) -> cpu::Network {
    let mut network = spec.on_cpu().unwrap();
    let all = network.parameters();
    let parameters = all
        .iter()
        .map(|(name, value)| (name.to_owned(), numbers(value.shape(), 0.1)));
    let parameters = parameters.collect();
    network.set_parameters(&parameters).unwrap();
    let all = network.state();
    let state = all
        .iter()
        .map(|(name, value)| (name.to_owned(), numbers(value.shape(), 1.0)));
    let state = state.collect();
    network.set_state(&state).unwrap();
    network
}

fn with_words() -> Sequential {
    let network = Sequential::input(3).named("numbers").another_input(2);
    let network = network.layer(Embedding::new(5, 4)).layer(Flatten);
    network
        .concat("numbers")
        .layer(Linear::new(6))
        .layer(Relu)
        .layer(Linear::new(2))
}

fn of_positions() -> Sequential {
    let grid = HashGrid::new().levels(5).features_per_level(4);
    let grid = grid.table_size(256).base_resolution(3).growth(1.381_913);
    Sequential::input(3).layer(grid).layer(Linear::new(2))
}

fn residual() -> Sequential {
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(9).without_bias());
    let network = Sequential::input([3, 3])
        .layer(Flatten)
        .layer(shared.clone());
    let network = network.named("skip").layer(Relu).layer(shared).add("skip");
    network.layer(Linear::new(4))
}

/// Saves a network on the CPU and loads it on both engines. On the CPU, it must have the same outputs, parameters and
/// state, bit by bit. On the GPU, it must have the outputs of a model that loaded only the weights.
fn assert_opens(spec: &Sequential) {
    let network = changed(spec);
    let rows = (0..5).map(|row| numbers(&[network.features() + row], 1.0));
    let rows: Vec<_> = rows.collect();
    // Numbers below 1 would all be index 0 of an embedding, so some columns have larger numbers.
    let x = Array2::from_shape_fn((5, network.features()), |(row, column)| {
        if network.features() == 5 && column >= 3 {
            (row as f32 + column as f32) % 5.0
        } else {
            rows[row][[column]]
        }
    });
    let y = network.predict(x.view()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    network.save(&path).unwrap();

    let same = cpu::Network::load(&path).unwrap();
    assert_eq!(same.predict(x.view()).unwrap(), y);
    assert_eq!(same.parameters(), network.parameters());
    assert_eq!(same.state(), network.state());
    assert_eq!(
        same.to_safetensors().unwrap(),
        std::fs::read(&path).unwrap()
    );

    let on_gpu = Model::load(&path, gpu()).unwrap();
    let mut expected = spec.build(gpu()).unwrap();
    expected.load_weights(&path).unwrap();
    let outputs = [&on_gpu, &expected].map(|model| model.predict(x.view()).unwrap());
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(
        on_gpu.to_safetensors().unwrap(),
        std::fs::read(&path).unwrap()
    );

    let described = Sequential::load(&path).unwrap();
    assert_eq!(described.output().unwrap(), spec.output().unwrap());
}

/// Every layer of the crate can be loaded from its file. Saving the loaded layer gives the same file.
#[test]
fn every_layer_of_the_crate_comes_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    for case in layers::all() {
        let network = case.network().on_cpu().unwrap();
        network.save(&path).unwrap();
        let same = cpu::Network::load(&path);
        let same = same.unwrap_or_else(|error| panic!("{}: {error}", case.layer.name()));
        let bytes = [&same, &network].map(|network| network.to_safetensors().unwrap());
        assert_eq!(bytes[0], bytes[1], "{}", case.layer.name());
    }
}

#[test]
fn networks_come_from_their_files_alone() {
    for spec in [
        spec(),
        dropping(),
        normalizing(),
        with_words(),
        of_positions(),
        residual(),
        TwoLayerNet::spec(20, 7, 3),
        MultiLayerNet::new(12, [8, 6], 4).spec(),
        SimpleConvNet::default().filters(2, 5).spec(),
    ] {
        assert_opens(&spec);
    }
}

#[test]
fn a_deep_convolutional_network_comes_from_its_file_alone() {
    let network = DeepConvNet::default().spec().seed(2).on_cpu().unwrap();
    let bytes = network.to_safetensors().unwrap();
    let same = cpu::Network::from_safetensors(&bytes).unwrap();
    assert_eq!(same.parameters(), network.parameters());
}

#[test]
fn the_file_of_a_training_opens_as_its_network() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.safetensors");
    let sgd = Box::new(Sgd::new(0.1).momentum(0.9));
    let mut trainer = trainer_of(&normalizing(), gpu(), sgd, Fusion::Auto);
    trainer.steps(3).unwrap();
    trainer.save(&path).unwrap();
    let network = cpu::Network::load(&path).unwrap();
    assert_eq!(network.parameters(), trainer.model().parameters().unwrap());
    assert_eq!(network.state(), trainer.model().state().unwrap());
}

/// A layer from outside the crate. It has no kernels for the GPU.
#[derive(Debug)]
struct Swish;

impl Layer for Swish {
    fn name(&self) -> String {
        "Swish".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, _: &mut Recorder<'_>, _: Forward<'_>) -> Result<(), Error> {
        unreachable!("on a GPU")
    }

    fn backward(&self, _: &mut Recorder<'_>, _: Backward<'_>) -> Result<(), Error> {
        unreachable!("on a GPU")
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(
            |x| x / (1.0 + (-x).exp()),
            |x| {
                let sigmoid = 1.0 / (1.0 + (-x).exp());
                sigmoid * (1.0 + x * (1.0 - sigmoid))
            },
        )
    }
}

#[test]
fn a_layer_from_outside_is_asked_for_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("swish.safetensors");
    let spec = Sequential::input(3).layer(Linear::new(4)).layer(Swish);
    let network = changed(&spec.layer(Linear::new(2)));
    network.save(&path).unwrap();
    let parts = ["swish.safetensors", "layer Swish", "Sequential::load_with"];
    assert_says(
        &cpu::Network::<f32>::load(&path).unwrap_err().to_string(),
        &parts,
    );
    assert_says(&Model::load(&path, gpu()).unwrap_err().to_string(), &parts);
    assert_says(&Sequential::load(&path).unwrap_err().to_string(), &parts);

    let mut asked = Vec::new();
    let same = Sequential::load_with(&path, |name| {
        asked.push(name.to_owned());
        Some(Arc::new(Swish) as Arc<dyn Layer>)
    });
    let mut same = same.unwrap().on_cpu().unwrap();
    assert_eq!(asked, ["Swish"]);
    same.load_weights(&path).unwrap();
    let x = Array2::from_elem((2, 3), 0.5);
    assert_eq!(
        same.predict(x.view()).unwrap(),
        network.predict(x.view()).unwrap()
    );
}

fn refused(path: &Path) -> String {
    let on_cpu = cpu::Network::<f32>::load(path).unwrap_err().to_string();
    let on_gpu = Model::load(path, gpu()).unwrap_err().to_string();
    assert_eq!(on_cpu, on_gpu);
    on_cpu
}

#[test]
fn what_describes_no_network_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let good = changed(&spec()).to_safetensors().unwrap();
    let (tensors, metadata) = parts(&good);
    let refuse = |case: &str, bytes: &[u8], parts: &[&str]| {
        std::fs::write(&path, bytes).unwrap();
        assert_says(&format!("{case}: {}", refused(&path)), parts);
    };
    refuse("nothing", &[], &["an empty file"]);
    refuse("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\0", &["PNG"]);
    refuse(
        "cut off",
        &good[..good.len() - 1],
        &["truncated", "damaged"],
    );
    refuse(
        "longer",
        &[&good[..], &[0]].concat(),
        &["1 extra bytes after"],
    );
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    refuse("changed", &changed, &["SHA-256"]);

    let without = |key: &str| {
        let mut metadata = metadata.clone();
        assert!(metadata.remove(key).is_some(), "{key}");
        whole((tensors.clone(), metadata))
    };
    let build = "Build the network in your program";
    refuse(
        "older",
        &without("structure"),
        &["an earlier version", build, "load_weights"],
    );
    let mut foreign = metadata.clone();
    foreign.remove("format");
    foreign.remove("sha256");
    let foreign = whole((tensors.clone(), foreign));
    refuse("foreign", &foreign, &["wgrad did not save it", build]);

    let with = |structure: &str| {
        let mut metadata = metadata.clone();
        metadata.insert("structure".to_owned(), structure.to_owned());
        whole((tensors.clone(), metadata))
    };
    refuse(
        "no JSON",
        &with("{"),
        &["description of its network", "makes no sense", "EOF"],
    );
    let structure = &metadata["structure"];
    let wider = structure.replacen("\"outputs\":4", "\"outputs\":5", 1);
    assert_ne!(&wider, structure);
    refuse(
        "another",
        &with(&wider),
        &["another network", "Linear(5)", "Linear(4)"],
    );
    // The description in the metadata is valid, but the tensors do not fit it.
    let mut both = metadata.clone();
    both.insert("structure".to_owned(), wider);
    let line = both["network"].replace("Linear(4)", "Linear(5)");
    both.insert("network".to_owned(), line);
    refuse(
        "tensors",
        &whole((tensors.clone(), both)),
        &["layers.2.weight", "[5, 7]", "[4, 7]"],
    );
    let huge = structure.replacen("\"outputs\":7", "\"outputs\":4611686018427387904", 1);
    let mut both = metadata.clone();
    both.insert("structure".to_owned(), huge);
    let line = both["network"].replace("Linear(7)", "Linear(4611686018427387904)");
    both.insert("network".to_owned(), line);
    refuse(
        "huge",
        &whole((tensors.clone(), both)),
        &["layers.0", "4611686018427387904"],
    );
}

#[test]
fn a_file_that_is_none_is_told_at_once() {
    let message = refused(Path::new("/nowhere/network.safetensors"));
    assert_says(&message, &["cannot read /nowhere/network.safetensors"]);
    // `/dev/zero` never ends, so it must be refused without being read to its end.
    #[cfg(unix)]
    assert_says(
        &refused(Path::new("/dev/zero")),
        &["/dev/zero", "expected a safetensors file"],
    );
}
