//! Errors for missing tensors. They suggest a tensor that exists under another name.

use safetensors::tensor::Dtype;
use wgrad::ops::{Linear, Relu};
use wgrad::{Model, Sequential, checkpoint};

use super::assert_says;
use super::foreign::{assert_taken, floats, refused};
use crate::gpu::gpu;
use crate::parts::{Metadata, Tensors, whole};

#[test]
fn a_missing_tensor_is_told_beside_the_names_that_are_there() {
    type Rename = fn(&str) -> Option<String>;
    let cases: [(&str, &str, Rename); 8] = [
        (
            "module.layers.",
            r#"name.strip_prefix("module.").map(str::to_owned)"#,
            |name| name.strip_prefix("module.").map(str::to_owned),
        ),
        (
            "_orig_mod.layers.",
            r#"name.strip_prefix("_orig_mod.").map(str::to_owned)"#,
            |name| name.strip_prefix("_orig_mod.").map(str::to_owned),
        ),
        (
            "",
            r#"Some(name).map(|name| format!("layers.{name}"))"#,
            |name| Some(format!("layers.{name}")),
        ),
        (
            "module.",
            r#"name.strip_prefix("module.").map(|name| format!("layers.{name}"))"#,
            |name| Some(format!("layers.{}", name.strip_prefix("module.")?)),
        ),
        (
            "fc.",
            r#"name.strip_prefix("fc.").map(|name| format!("layers.{name}"))"#,
            |name| Some(format!("layers.{}", name.strip_prefix("fc.")?)),
        ),
        (
            "net/",
            r#"name.strip_prefix("net/").map(|name| format!("layers.{name}"))"#,
            |name| Some(format!("layers.{}", name.strip_prefix("net/")?)),
        ),
        (
            "model_layers.",
            r#"name.strip_prefix("model_").map(str::to_owned)"#,
            |name| name.strip_prefix("model_").map(str::to_owned),
        ),
        (
            "a.b.layers.",
            r#"name.strip_prefix("a.b.").map(str::to_owned)"#,
            |name| name.strip_prefix("a.b.").map(str::to_owned),
        ),
    ];
    for (prefix, offered, rename) in cases {
        let bytes = whole(floats(prefix));
        let first = format!("{prefix}0.bias");
        let message = refused(&bytes);
        assert_says(&message, &["layers.0.weight", "[3, 2]", "missing", &first]);
        assert_says(&message, &["checkpoint::import", offered]);
        // The suggested renaming works.
        assert_taken(&checkpoint::import(&bytes, rename).unwrap(), 0.5);
    }

    let (mut tensors, _) = floats("net");
    assert_says(
        &refused(&whole((tensors.clone(), Metadata::new()))),
        &[
            "the file has net0.bias, net0.weight, net2.bias and net2.weight",
            "rename the tensors",
        ],
    );
    for more in 0..20 {
        let (_, dtype, shape, data) = tensors[0].clone();
        tensors.push((format!("more.{more}"), dtype, shape, data));
    }
    let message = refused(&whole((tensors, Metadata::new())));
    assert_says(&message, &["more.0, more.1, more.10", "and 16 more"]);
    let message = refused(&whole((Tensors::new(), Metadata::new())));
    assert_says(&message, &["the file has no tensors"]);
}

/// The suggested renaming covers only the tensors that the network has. Other tensors of the file are left out.
#[test]
fn a_prefix_is_offered_without_what_is_not_of_the_network() {
    type Rename = fn(&str) -> Option<String>;
    let cases: [(&str, &[&str], &str, Rename); 4] = [
        (
            "module.layers.",
            &["module.num_batches_tracked"],
            r#"name.strip_prefix("module.").filter(|name| name.starts_with("layers.")).map(str::to_owned)"#,
            |name| {
                let rest = name.strip_prefix("module.");
                rest.filter(|name| name.starts_with("layers."))
                    .map(str::to_owned)
            },
        ),
        (
            "fc.",
            &["fc.num_batches_tracked", "other"],
            r#"name.strip_prefix("fc.").filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))"#,
            |name| {
                let rest = name.strip_prefix("fc.");
                rest.filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
                    .map(|name| format!("layers.{name}"))
            },
        ),
        (
            "module.layers.",
            &["module.layers.1.count", "module.layers.1.mean"],
            r#"name.strip_prefix("module.").filter(|name| !["layers.1.count", "layers.1.mean"].contains(name))"#,
            |name| {
                let rest = name.strip_prefix("module.");
                rest.filter(|name| !["layers.1.count", "layers.1.mean"].contains(name))
                    .map(str::to_owned)
            },
        ),
        (
            "",
            &["1.count"],
            r#"Some(name).filter(|name| !["1.count"].contains(name)).map(|name| format!("layers.{name}"))"#,
            |name| {
                Some(name)
                    .filter(|name| !["1.count"].contains(name))
                    .map(|name| format!("layers.{name}"))
            },
        ),
    ];
    for (prefix, more, offered, rename) in cases {
        let (mut tensors, metadata) = floats(prefix);
        tensors.extend(more.iter().map(|name| {
            let name = (*name).to_owned();
            (name, Dtype::I64, vec![], vec![0; 8])
        }));
        let bytes = whole((tensors, metadata));
        assert_says(&refused(&bytes), &[offered]);
        assert_taken(&checkpoint::import(&bytes, rename).unwrap(), 0.5);
    }
    // There are too many tensors to name them all.
    let (mut tensors, metadata) = floats("module.layers.");
    tensors.extend((0..9).map(|n| {
        let name = format!("module.layers.1.{n}");
        (name, Dtype::I64, vec![], vec![0; 8])
    }));
    assert_says(
        &refused(&whole((tensors, metadata))),
        &["rename the tensors"],
    );
}

#[test]
fn a_tensor_that_shares_its_memory_is_told_by_the_metadata() {
    let (mut tensors, mut metadata) = floats("layers.");
    tensors.retain(|(name, ..)| name != "layers.2.weight");
    let shared = ["layers.2.weight", "layers.0.weight"].map(str::to_owned);
    let [name, other] = shared;
    metadata.insert(name, other);
    let named = [
        "layers.2.weight is the same tensor as layers.0.weight",
        "clone()",
    ];
    assert_says(&refused(&whole((tensors, metadata))), &named);
}

#[test]
fn one_of_several_files_is_told_by_its_name() {
    let (mut tensors, metadata) = floats("layers.");
    tensors.pop();
    let bytes = whole((tensors, metadata));
    let directory = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let spec = Sequential::input(2).layer(Linear::new(3)).layer(Relu);
        let mut model: Model = spec.layer(Linear::new(2)).build(gpu()).unwrap();
        model.load_weights(path).unwrap_err().to_string()
    };
    assert_says(
        &load("model-00001-of-00002.safetensors"),
        &["layers.2.bias", "one of several files", "join them"],
    );
    assert!(!load("one-of-mine.safetensors").contains("several"));
}
