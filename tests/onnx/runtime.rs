//! Compares every network in ONNX Runtime with the CPU engine.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use wgrad::bytemuck::{cast_slice, pod_collect_to_vec};
use wgrad::ndarray::Array2;

use crate::networks::{self, Case};

/// Numbers of rows: one, a few, and more than the elements of a vector register.
const ROWS: [usize; 3] = [1, 7, 64];
/// The tolerance of an output, relative to 1 + |output|. Both ONNX Runtime and the CPU engine round sums of up to a few
/// thousand products.
const TOLERANCE: f32 = 1e-5;

/// Returns a Python with ONNX Runtime. If there is none, prints a notice to standard error and returns `None`, or fails
/// if the environment variable `WGRAD_REQUIRE_ONNXRUNTIME` is set.
fn python() -> Option<PathBuf> {
    let named = env::var_os("WGRAD_PYTHON").filter(|named| !named.is_empty());
    let python = match named {
        Some(named) => PathBuf::from(named),
        None => {
            let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
            installed.join(if cfg!(windows) {
                "Scripts/python.exe"
            } else {
                "bin/python"
            })
        }
    };
    let imports = Command::new(&python)
        .args(["-c", "import numpy, onnx, onnxruntime"])
        .output();
    let why = match imports {
        Ok(imports) if imports.status.success() => return Some(python),
        Ok(imports) => String::from_utf8_lossy(&imports.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let notice = format!(
        "{} does not import onnxruntime ({why}); `cargo xtask test` installs it into target/python where it may, and \
         WGRAD_PYTHON names a Python that has what tests/onnx/requirements.txt lists",
        python.display()
    );
    assert!(
        env::var_os("WGRAD_REQUIRE_ONNXRUNTIME").is_none(),
        "ONNX Runtime is required: {notice}"
    );
    // Writes to standard error directly: the test harness hides the output of `eprintln` when a test passes.
    let skipped = format!("SKIPPED: needs ONNX Runtime; {notice}\n");
    std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    None
}

#[test]
fn onnx_runtime_makes_the_same_of_rows() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let cases = networks::all();
    for case in &cases {
        case.network()
            .export_onnx(path(&format!("{}.onnx", case.name)))
            .unwrap();
        for count in ROWS {
            let rows = case.rows(count);
            let bytes = cast_slice(rows.as_slice().unwrap());
            fs::write(path(&format!("{}.{count}.x", case.name)), bytes).unwrap();
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/run.py");
    let run = Command::new(python)
        .arg(script)
        .arg(directory.path())
        .output()
        .unwrap();
    let [printed, errors] = [run.stdout, run.stderr].map(|it| String::from_utf8(it).unwrap());
    assert!(run.status.success(), "{printed}{errors}");
    let faults: Vec<String> = cases
        .iter()
        .flat_map(|case| compare(case, directory.path()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Compares ONNX Runtime's outputs for a case with the crate's outputs. Returns the differences that exceed the
/// tolerance.
fn compare(case: &Case, directory: &Path) -> Vec<String> {
    let network = case.network();
    let mut faults = Vec::new();
    for count in ROWS {
        let expected = network.predict(case.rows(count).view()).unwrap();
        let spread = expected.iter().fold(0f32, |most, y| most.max(y.abs()));
        assert!(spread > 0.05, "{}: outputs are next to 0", case.name);
        for level in ["plain", "fused"] {
            let file = format!("{}.{count}.{level}", case.name);
            let values = pod_collect_to_vec::<u8, f32>(&fs::read(directory.join(&file)).unwrap());
            let found = Array2::from_shape_vec(expected.dim(), values).unwrap();
            let errors = expected.iter().zip(&found).map(|(expected, found)| {
                let error = (expected - found).abs() / (1.0 + expected.abs());
                // Written so that a difference of NaN is not within the tolerance.
                if error <= TOLERANCE {
                    0.0
                } else {
                    error.max(f32::MIN_POSITIVE)
                }
            });
            let worst = errors.fold(0f32, f32::max);
            if worst > 0.0 {
                faults.push(format!("{file}: off by {worst:e} of 1 + |output|"));
            }
        }
    }
    faults
}
