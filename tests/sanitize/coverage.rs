//! Records which blocks of the kernels were reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use wgrad::Gpu;
use wgrad::plan::Plan;
use wgrad::sanitize::Sanitized;

use crate::gpu::sanitized::run_sanitized;

/// Blocks that no shape reaches. For each: the start of the kernel's name, a part of the block as it is displayed, and
/// the reason why it is not reached.
const UNREACHED: &[(&str, &str, &str)] = &[
    (
        "conv2d_",
        "where a condition holds: product[to] +=",
        "a part of a gradient has 16,384 places and more; a parity test runs so many",
    ),
    (
        "fused_middle::middle",
        "return width_0;",
        "it begins after the first product",
    ),
    (
        "fused_middle::middle",
        "case of a switch: columns()",
        "no layer follows the last",
    ),
    (
        "fused_slices::backward_forward",
        "case of a switch: columns()",
        "no layer follows the last",
    ),
    ("fused_slices::forward", "return width_2;", FIRST),
    ("fused_slices::forward", "return width_3;", FIRST),
    ("fused_slices::forward", "return width_4;", FIRST),
    ("fused_slices::forward", "return width_5;", FIRST),
    ("fused_slices::forward", "return width_6;", FIRST),
    ("fused_slices::forward", "return width_7;", FIRST),
    ("fused_slices::forward", "return width_8;", FIRST),
    (
        "fused_slices::backward_forward",
        "without a block of its own: else if (index == biases) {",
        FOLDED,
    ),
    (
        "fused_slices::forward",
        "where a condition holds: return;",
        FOLDED,
    ),
    ("gather::floats", "where a condition holds: return;", FOLDED),
];

const FIRST: &str = "it makes the first product alone";
/// The reason for a block that only a surplus workgroup reaches. Workgroups that do not fit in one dispatch dimension
/// are arranged (folded) in two, which may give more workgroups than requested. (On a device that allows only four
/// workgroups per dimension, such blocks of `gather::rows` and `gather::words` are reached. The kernels with this
/// reason do not run there.)
const FOLDED: &str = "there is a surplus workgroup only where more than 65,535 are folded";

/// The blocks of a kernel that all cases together reached.
#[derive(Debug, Default)]
struct Reached {
    dispatches: usize,
    operations: u64,
    /// For each block: whether it was entered.
    blocks: BTreeMap<String, bool>,
}

#[derive(Debug, Default)]
pub(crate) struct Coverage(Mutex<BTreeMap<String, Reached>>);

impl Coverage {
    /// Interprets a plan, and fails if there are findings.
    pub(crate) fn run(&self, gpu: &Gpu, case: &str, plan: &Plan) {
        let report = run_sanitized(gpu, case, plan);
        report
            .dispatches
            .iter()
            .for_each(|dispatch| self.add(dispatch));
    }

    fn add(&self, dispatch: &Sanitized) {
        let mut kernels = self.0.lock().unwrap();
        let reached = kernels.entry(dispatch.kernel.clone()).or_default();
        reached.dispatches += 1;
        reached.operations += dispatch.report.operations;
        for (block, &is_reached) in dispatch.blocks.iter().zip(&dispatch.report.reached) {
            *reached.blocks.entry(block.to_string()).or_default() |= is_reached;
        }
    }

    /// Asserts that every kernel was run, and that each block was reached or is listed with a reason.
    pub(crate) fn assert_complete(&self) {
        let kernels = self.0.lock().unwrap();
        let all: BTreeSet<String> = wgrad::plumbing::contracts()
            .iter()
            .map(wgrad::kernel::Contract::name)
            .collect();
        let run: BTreeSet<String> = kernels.keys().cloned().collect();
        let missing: Vec<_> = all.difference(&run).collect();
        let mut faults: Vec<String> = missing
            .iter()
            .map(|kernel| {
                format!("{kernel}: no case runs it (those of layers are in tests/common/layers.rs)")
            })
            .collect();
        let mut used = BTreeSet::new();
        for (kernel, reached) in &*kernels {
            for (block, is_reached) in &reached.blocks {
                let listed = UNREACHED
                    .iter()
                    .position(|(of, text, _)| kernel.starts_with(of) && block.contains(text));
                used.extend(listed);
                match (is_reached, listed) {
                    (false, None) => faults.push(format!("{kernel}: never reached: {block}")),
                    (true, Some(_)) => faults.push(format!(
                        "{kernel}: reached, and listed as unreached: {block}"
                    )),
                    _ => {}
                }
            }
        }
        let unused = (0..UNREACHED.len()).filter(|at| !used.contains(at));
        faults.extend(unused.map(|at| format!("no such block: {:?}", UNREACHED[at])));
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kernel, dispatches, operations, blocks] =
            ["kernel", "dispatches", "operations", "blocks"];
        writeln!(
            f,
            "{kernel:<44}{dispatches:>12}{operations:>16}{blocks:>14}"
        )?;
        for (kernel, reached) in &*self.0.lock().unwrap() {
            let entered = reached
                .blocks
                .values()
                .filter(|&&is_reached| is_reached)
                .count();
            let blocks = format!("{entered} of {}", reached.blocks.len());
            let Reached {
                dispatches,
                operations,
                ..
            } = reached;
            writeln!(
                f,
                "{kernel:<44}{dispatches:>12}{operations:>16}{blocks:>14}"
            )?;
        }
        Ok(())
    }
}
