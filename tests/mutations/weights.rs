//! Files with weights and checkpoints of trainings.

use serde_json::{Map, Value, json};
use wgrad::data::{Dataset, Labels, Sampling};
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::ops::{Adam, Linear, Relu};
use wgrad::{CheckpointError, Error, Sequential, checkpoint, cpu};

use crate::mutator::{Mutator, alone, count, within_bounds};
use crate::parts::{parts, whole};

/// Element types of the safetensors format, and invalid types.
const DTYPES: [&str; 10] = [
    "F32", "F16", "BF16", "F64", "I64", "BOOL", "F8_E4M3", "F4", "f32", "",
];
/// Keys and values that have a meaning in the metadata.
const WORDS: [&str; 18] = [
    "format",
    "wgrad 2",
    "wgrad 1",
    "wgrad 3",
    "pt",
    "network",
    "sha256",
    "step",
    "batch",
    "-1",
    "7",
    "examples_sha256",
    "structure",
    "layer",
    "again",
    "Linear",
    "of",
    "18446744073709551615",
];

type Trainer = cpu::Trainer<f32>;
type Take = fn(&mut Trainer, &[u8]) -> Result<(), Error>;

fn trainer() -> Trainer {
    let spec = Sequential::input(2).layer(Linear::new(3)).layer(Relu);
    let spec = spec.layer(Linear::new(2)).seed(3);
    let labels = Labels::from_classes(vec![0, 1, 1, 0], 2).unwrap();
    let data = Dataset::new("four", 2, vec![0, 9, 200, 7, 3, 255, 90, 91], labels).unwrap();
    let sampling = Sampling::Shuffled { seed: 1 };
    let loss = SoftmaxCrossEntropy;
    let optimizer = Adam::new(1e-2);
    Trainer::new(spec.on_cpu().unwrap(), loss, optimizer, &data, 2, sampling).unwrap()
}

/// Returns the checkpoint of a training after some steps.
fn trained() -> Vec<u8> {
    let mut trainer = trainer();
    trainer.steps(5).unwrap();
    trainer.to_safetensors().unwrap()
}

/// Passes a file to every function that reads weights or trainings. Returns how many of them accepted it.
fn read(case: &str, bytes: &[u8]) -> usize {
    let mut trainer = trainer();
    let takes: [(&str, Take); 3] = [
        ("training", Trainer::set_safetensors),
        ("weights", Trainer::set_weights),
        ("network", |_, bytes| {
            let network = cpu::Network::<f32>::from_safetensors(bytes)?;
            let row = vec![0.5; network.features()];
            // The network may require indices as inputs, so a prediction may fail.
            let _ = cpu::Predictor::new(network).predict_row(&row);
            Ok(())
        }),
    ];
    let mut taken = 0;
    for (what, take) in takes {
        let case = format!("{case}, {what}");
        let before = trainer.to_safetensors().unwrap();
        let result = within_bounds(&case, bytes.len(), || take(&mut trainer, bytes));
        // A training that accepted the file can be saved, because all its numbers are finite.
        let after = trainer.to_safetensors().unwrap();
        match result {
            Ok(()) => taken += 1,
            Err(Error::Checkpoint(error)) => {
                assert!(after == before, "{case}: something was changed");
                assert_told(&case, &error);
            }
            Err(error) => panic!("{case}: {error}"),
        }
    }
    let case = format!("{case}, import");
    let rename = |name: &str| Some(name.strip_prefix("module.").unwrap_or(name).to_owned());
    match within_bounds(&case, bytes.len(), || checkpoint::import(bytes, rename)) {
        Ok(imported) => {
            // The imported file can be read again.
            checkpoint::import(&imported, rename).unwrap();
            taken += 1;
        }
        Err(error) => assert_told(&case, &error),
    }
    taken
}

/// Asserts that an error message is readable. The file may contain any text, and the message may quote it.
fn assert_told(case: &str, error: &CheckpointError) {
    let message = error.to_string();
    let is_one = message.len() < 8_000 && !message.contains(char::is_control);
    assert!(is_one, "{case}: {message}");
}

fn corpus(seed: u64) -> Mutator {
    let ours = ("a training".to_owned(), trained());
    Mutator::new(seed, "safetensors", vec![ours])
}

#[test]
fn files_of_the_corpus_are_taken_or_refused() {
    let _alone = alone();
    for (name, bytes) in corpus(1).corpus() {
        let taken = read(name, bytes);
        let stem = name.rsplit('/').next().unwrap();
        let expected = match stem {
            "a training" => 4,
            "bf16.safetensors" | "f16.safetensors" | "f32.safetensors" | "f64.safetensors" => 2,
            "f64_inexact.safetensors" | "no_tensors.safetensors" => 1,
            _ => 0,
        };
        assert_eq!(taken, expected, "{name}");
    }
}

#[test]
fn files_of_mutated_bytes_are_taken_or_refused() {
    let _alone = alone();
    let mut mutator = corpus(1);
    for at in 0..count() {
        let mut bytes = mutator.original();
        for _ in 0..=mutator.numbers.below(4) {
            mutator.change_bytes(&mut bytes);
        }
        read(&format!("mutation {at}"), &bytes);
    }
}

#[test]
fn files_of_mutated_headers_are_taken_or_refused() {
    let _alone = alone();
    let mut mutator = corpus(2);
    let mut taken = 0;
    for at in 0..count() {
        let mut bytes = mutator.original();
        for _ in 0..=mutator.numbers.below(3) {
            change_header(&mut mutator, &mut bytes);
        }
        taken += usize::from(read(&format!("mutation {at}"), &bytes) > 0);
    }
    // Some changed files must be accepted. Otherwise the changes are so large that only the first check of a file is
    // tested.
    assert!(taken > count() / 20, "{taken} were taken");
}

#[test]
fn files_of_mutated_contents_under_the_right_digest_are_taken_or_refused() {
    let _alone = alone();
    let mut mutator = corpus(3);
    let good = trained();
    for at in 0..count() {
        let (mut tensors, mut metadata) = parts(&good);
        for _ in 0..=mutator.numbers.below(3) {
            let tensor = mutator.numbers.below(tensors.len());
            match mutator.numbers.below(4) {
                0 => {
                    let value = [f32::NAN, f32::INFINITY, 1e38, -0.0][mutator.numbers.below(4)];
                    let element = mutator.numbers.below(tensors[tensor].3.len() / 4);
                    tensors[tensor].3[4 * element..][..4].copy_from_slice(&value.to_le_bytes());
                }
                1 => drop(tensors.remove(tensor)),
                2 => {
                    let mut name = tensors[tensor].0.clone().into_bytes();
                    mutator.change_bytes(&mut name);
                    tensors[tensor].0 = String::from_utf8_lossy(&name).into_owned();
                }
                _ => {
                    let mut keys: Vec<_> = metadata.keys().cloned().collect();
                    keys.sort();
                    let key = keys[mutator.numbers.below(keys.len())].clone();
                    let mut value = metadata[&key].clone().into_bytes();
                    mutator.change_bytes(&mut value);
                    metadata.insert(key, String::from_utf8_lossy(&value).into_owned());
                }
            }
        }
        // Two tensors must not have the same name, because the file would be invalid.
        tensors.sort();
        tensors.dedup_by(|a, b| a.0 == b.0);
        read(&format!("mutation {at}"), &whole((tensors, metadata)));
    }
}

/// Reading the longest accepted headers takes little memory, even with the contents that need the most memory per byte
/// of the file.
#[test]
fn long_headers_take_little() {
    let _alone = alone();
    let tensor = |name: &str, shape: &str| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{shape}],\"data_offsets\":[0,0]}}")
    };
    let most = 4 << 20;
    let repeated = |text: &str| text.repeat((most - 200) / text.len());
    let numbered = |text: &dyn Fn(usize) -> String, each: usize| {
        let all: Vec<String> = (0..most / each).map(text).collect();
        format!("{{{}}}", all.join(","))
    };
    let zeros = repeated("0,");
    let cases = [
        (
            "shape",
            format!("{{{}}}", tensor("a", &format!("{zeros}0"))),
        ),
        ("nested", format!("{{\"a\":{}", repeated("["))),
        ("unknown field", format!("{{\"a\":{{\"b\":[{zeros}0]}}}}")),
        (
            "metadata of numbers",
            format!("{{\"__metadata__\":[{zeros}0]}}"),
        ),
        (
            "a long name",
            format!("{{{}}}", tensor(&repeated("x"), "0")),
        ),
        (
            "a long element type",
            format!("{{\"a\":{{\"dtype\":\"{}\"}}}}", repeated("x")),
        ),
        ("escapes", format!("{{{}}}", tensor(&repeated("\\n"), "0"))),
        (
            "a long number",
            format!("{{{}}}", tensor("a", &repeated("9"))),
        ),
        (
            "one name",
            format!("{{{}}}", vec![tensor("a", "0"); most / 60].join(",")),
        ),
        (
            "many names",
            numbered(&|at| tensor(&at.to_string(), "0"), 60),
        ),
        ("many texts", {
            let texts = numbered(&|at| format!("\"{at:x}\":\"\""), 12);
            format!("{{\"__metadata__\":{texts}}}")
        }),
    ];
    for (case, header) in cases {
        assert!(
            header.len() <= most && header.len() > most / 2,
            "{case}: {}",
            header.len()
        );
        read(case, &with_header(header.as_bytes(), &[]));
    }
    // A longer header is refused before it is read.
    let longer = format!("{{{}}}", tensor("a", &format!("{zeros}{zeros}0")));
    assert_eq!(read("longer", &with_header(longer.as_bytes(), &[])), 0);
}

fn with_header(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

/// Changes the JSON of the header, and updates the length of the header.
fn change_header(mutator: &mut Mutator, bytes: &mut Vec<u8>) {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return;
    };
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let Some((header, data)) = rest.split_at_checked(length) else {
        return;
    };
    let header = header.to_vec();
    let data = data.to_vec();
    let Ok(Value::Object(mut object)) = serde_json::from_slice(&header) else {
        return;
    };
    let mut header = match mutator.numbers.below(4) {
        0 => change_text(mutator, String::from_utf8(header).unwrap()),
        1 => {
            change_metadata(mutator, &mut object);
            json!(object).to_string()
        }
        _ => {
            change_tensor(mutator, &mut object);
            json!(object).to_string()
        }
    };
    if mutator.numbers.below(2) == 0 {
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    }
    *bytes = with_header(header.as_bytes(), &data);
}

fn any_key(mutator: &mut Mutator, object: &Map<String, Value>) -> Option<String> {
    let at = mutator.numbers.below(object.len().max(1));
    object.keys().nth(at).cloned()
}

fn change_tensor(mutator: &mut Mutator, object: &mut Map<String, Value>) {
    let Some(name) = any_key(mutator, object) else {
        return;
    };
    let mut info = object[&name].clone();
    if !info.is_object() {
        return;
    }
    let numbers = |mutator: &mut Mutator, count: usize| {
        let all: Vec<u64> = (0..count).map(|_| mutator.edge()).collect();
        json!(all)
    };
    match mutator.numbers.below(9) {
        0 => info["dtype"] = json!(DTYPES[mutator.numbers.below(DTYPES.len())]),
        1 => {
            let count = mutator.numbers.below(5);
            info["shape"] = numbers(mutator, count);
        }
        2 => {
            if let Some(shape) = info["shape"].as_array_mut() {
                shape.reverse();
            }
        }
        3 => info["data_offsets"] = numbers(mutator, 2),
        4 => {
            // The tensor's bytes overlap another tensor.
            if let Some(other) = any_key(mutator, object) {
                info["data_offsets"] = object[&other]["data_offsets"].clone();
            }
        }
        5 => info = numbers(mutator, 3),
        6 => drop(object.remove(&name)),
        7 => {
            let prefixes = ["module.", "_orig_mod.", "optimizer.", "layers.", ""];
            let prefix = prefixes[mutator.numbers.below(prefixes.len())];
            object.insert(format!("{prefix}{name}"), info.clone());
        }
        _ => info["more"] = json!({"deeper": [1, null, -2.5e300]}),
    }
    if object.contains_key(&name) && name != "__metadata__" {
        object.insert(name, info);
    }
}

fn change_metadata(mutator: &mut Mutator, object: &mut Map<String, Value>) {
    let word = |mutator: &mut Mutator| WORDS[mutator.numbers.below(WORDS.len())];
    let key = word(mutator);
    let value = word(mutator);
    let metadata = object.entry("__metadata__").or_insert(json!({}));
    match (mutator.numbers.below(8), metadata.as_object_mut()) {
        (0, _) => *metadata = json!(7),
        (1, _) => *metadata = Value::Null,
        (2, Some(texts)) => drop(texts.remove(key)),
        (3, Some(texts)) => drop(texts.insert(key.to_owned(), json!([value]))),
        (4, Some(texts)) => drop(texts.insert(key.to_owned(), json!("é\u{202e}\n\t".repeat(300)))),
        (_, Some(texts)) => drop(texts.insert(key.to_owned(), json!(value))),
        (_, None) => *metadata = json!({key: value}),
    }
}

/// Changes the text of the header in ways that a JSON tree cannot represent.
fn change_text(mutator: &mut Mutator, header: String) -> String {
    let inside = header.trim().trim_matches(['{', '}']).to_owned();
    let deep = 1 << mutator.numbers.below(12);
    match mutator.numbers.below(6) {
        0 => format!("{{{inside}}},{inside}}}}}"),
        1 => format!(
            "{{\"deep\":{}{},{inside}}}}}",
            "[".repeat(deep),
            "]".repeat(deep)
        ),
        2 => format!(
            "{{\"deep\":{}1{},{inside}}}}}",
            "{\"a\":".repeat(deep),
            "}".repeat(deep)
        ),
        3 => format!("{{\"{}\":{{}},{inside}}}}}", "long".repeat(deep)),
        4 => header.replacen("[0", &format!("[{}", "9".repeat(deep)), 1),
        _ => header.replacen(':', " :\n ", deep),
    }
}
