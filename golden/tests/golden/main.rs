//! Compares every engine of the crate with results that PyTorch or plain Python computed in `f64`.
//!
//! These results are in the golden files in `vectors`, or in the directory that the environment variable `WGRAD_GOLDEN`
//! names. A file's metadata and tensors say what it contains; its name does not matter. The programs in `scripts` show
//! how to write a file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../tests/common/mod.rs"]
mod common;

mod bounds;
mod file;
mod images;
mod layer_bounds;
mod losses;
mod network;
#[path = "../../../tests/common/norm_bounds.rs"]
mod norm_bounds;
mod norms;
mod ops;
mod optimizer;
#[path = "../../../src/parallel.rs"]
mod parallel;
mod pools;
mod refusals;
mod report;
mod scheduler;
mod tolerance;
mod training;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use wgrad::Gpu;
use wgrad::data::Split;

use file::{File, Refusal};
use report::Table;

/// Returns the directory of the project's own golden files. Cargo runs tests in the directory of their package; other
/// programs run them in the root of the workspace.
fn own() -> &'static Path {
    let [in_package, in_workspace] = ["vectors", "golden/vectors"].map(Path::new);
    if in_package.is_dir() {
        in_package
    } else {
        in_workspace
    }
}

/// Returns the device that all tests share, so that each kernel is compiled only once.
fn gpu() -> &'static Gpu {
    static SHARED: LazyLock<Gpu> =
        LazyLock::new(|| Gpu::new().expect("the suite needs an adapter"));
    &SHARED
}

/// Checks one file, and adds the results to the table.
fn check(file: &File, gpu: &Gpu, mnist: Option<&Split>, table: &mut Table) -> Result<(), Refusal> {
    match file.key("kind")? {
        "op" => ops::check(file, gpu, table),
        "training" => training::check(file, gpu, mnist, table),
        "network" => training::check_network(file, gpu, mnist, table),
        other => Err(file.unknown("kind", other)),
    }
}

/// Checks every file of a directory, several files at a time. Returns the report and the list of failures, in the order
/// of the files.
fn check_all(directory: &Path, gpu: &Gpu, mnist: Option<&Split>) -> (String, Vec<String>) {
    let mut failures = Vec::new();
    let paths = file::walk(directory).unwrap_or_else(|refusal| {
        failures.push(format!("{refusal:?}"));
        Vec::new()
    });
    let checked = parallel::map(&paths, |path| {
        let mut table = Table::default();
        let outcome = File::open(path).and_then(|file| check(&file, gpu, mnist, &mut table));
        (table, outcome)
    });
    let mut table = Table::default();
    for (of_file, outcome) in checked {
        table.rows.extend(of_file.rows);
        failures.extend(outcome.err().map(|Refusal::Failed(why)| why));
    }
    if table.rows.is_empty() && failures.is_empty() {
        failures.push(format!(
            "nothing was checked in {}: set WGRAD_GOLDEN to a directory of golden files",
            directory.display()
        ));
    }
    failures.extend(table.failures());
    let rows = table.rows.iter().map(ToString::to_string);
    let report = std::iter::once(report::head()).chain(rows);
    (report.collect::<Vec<_>>().join("\n"), failures)
}

#[test]
fn golden_files() {
    let directory = std::env::var_os("WGRAD_GOLDEN").map_or_else(|| own().into(), PathBuf::from);
    let (report, failures) = check_all(&directory, gpu(), common::mnist().as_ref());
    // Writes to standard error directly: the test harness hides the output of `println` when a test passes.
    writeln!(std::io::stderr(), "\n{}\n{report}", gpu().description()).unwrap();
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
