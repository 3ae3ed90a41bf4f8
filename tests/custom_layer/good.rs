//! Correct layers pass the check, and the report lists what was checked.

use std::collections::BTreeSet;
use std::fs;

use wgrad::layer_check::{Call, Check, Comparison, LayerReport, Pass};
use wgrad::{TensorShape, check_layer};

use crate::activation::Softsign;
use crate::gpu::gpu;
use crate::layers::{self, Case};
use crate::parallel;
use crate::scale::Scale;

/// Several threads check the layers, because a check spends most of its time in one thread.
#[test]
fn every_layer_of_the_crate_is_good() {
    let faults = parallel::map(&layers::all(), |case| {
        match case.check.run(gpu(), &*case.layer) {
            Ok(report) => {
                assert_reported(case, &report);
                None
            }
            Err(error) => Some(format!("{}: {error}", case.layer.name())),
        }
    });
    let faults: Vec<_> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn assert_reported(case: &Case, report: &LayerReport) {
    assert_eq!(report.layer, case.layer.name());
    assert!(case.kernels.contains(&report.kernels.len()), "{report}");
    assert!(report.sanitized.len() >= *case.kernels.start(), "{report}");
    let is_grid = case.type_name() == "HashGrid";
    // At a border between two cells of a grid, every slope between the slopes of the cells is right, so `dx` is not
    // compared.
    let rows = report.rows.iter();
    let mut rows = rows.filter(|row| !is_grid || row.tensor != "dx");
    let (fewest, widest) = if is_grid { (20, 0.1) } else { (10, 1.0) };
    let is_narrow = |row: &Comparison| row.difference <= row.bound && row.bound < widest;
    assert!(rows.clone().count() > fewest, "{report}");
    assert!(rows.all(is_narrow), "{report}");
}

#[test]
fn a_layer_from_outside_is_good() {
    let report = check_layer(gpu(), &Softsign::good()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.kernels.len(), 2, "{report}");
    let narrow = |row: &Comparison| row.difference <= row.bound && row.bound < 1.0;
    assert!(report.rows.iter().all(narrow), "{report}");
}

/// Every type with `impl Layer for` in a file of `src/ops` must be in the table of layers.
#[test]
fn no_layer_of_the_crate_is_missing_in_the_table() {
    let cases = layers::all();
    let known: BTreeSet<String> = cases.iter().map(Case::type_name).collect();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("src/ops").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let names = text
                .lines()
                .filter_map(|line| line.strip_prefix("impl Layer for "));
            found.extend(names.map(|name| name.trim_end_matches(" {").to_owned()));
        }
    }
    let missing: Vec<_> = found.difference(&known).collect();
    assert!(
        missing.is_empty(),
        "tests/common/layers.rs has no case of {missing:?}"
    );
    assert_eq!(found, known);
}

#[test]
fn the_report_has_a_row_for_every_tensor_of_every_minibatch() {
    let report = check_layer(gpu(), &Scale::good()).unwrap_or_else(|error| panic!("{error}"));
    let kernels = [
        "scale::forward",
        "scale::backward",
        "scale::backward_parameters",
    ];
    assert_eq!(report.kernels, kernels);
    let rows = |check, minibatch: [usize; 2], call| {
        let minibatch = TensorShape::from(minibatch);
        let rows = report.rows.iter().filter(move |row| {
            (row.check, row.minibatch, row.call) == (check, minibatch, Some(call))
        });
        rows.map(|row| row.tensor.as_str()).collect::<Vec<_>>()
    };
    let forward = Check::Parity(Pass::Forward);
    let backward = Check::Parity(Pass::Backward);
    let all = ["dx", "dscale", "dshift"];
    for shape in [[1, 1], [3, 7], [1, 65], [101, 53], [2053, 2053]] {
        assert_eq!(rows(forward, shape, Call::Evaluation), ["y"]);
        assert_eq!(rows(backward, shape, Call::Evaluation), all);
    }
    for call in [Call::Evaluation, Call::Training] {
        assert_eq!(rows(Check::Gradient, [3, 7], call), all);
    }
    assert_eq!(rows(Check::Gradient, [101, 53], Call::Evaluation), [""; 0]);
    for shape in [[3, 7], [101, 53]] {
        assert_eq!(rows(backward, shape, Call::Training), all);
        assert_eq!(rows(backward, shape, Call::First), all[1..]);
    }
    let text = report.to_string();
    assert_eq!(
        text.lines().count(),
        2 + 2 * kernels.len() + report.rows.len()
    );
    assert!(
        text.contains("contract  scale::forward matches its WGSL"),
        "{text}"
    );
    // For each small shape, the sanitizer runs the layer in an evaluation, in training, and as a first layer.
    let sanitized = "sanitizer scale::backward_parameters: clean in ";
    assert!(text.contains(sanitized), "{text}");
    let dispatches = report.sanitized.iter();
    assert!(dispatches.clone().all(|it| it.report.operations > 0));
    assert!(dispatches.count() > 30, "{text}");
}
