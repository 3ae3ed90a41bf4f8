//! Runs the plans of tests on the device. With `WGRAD_SANITIZE=all`, the sanitizer interprets small plans instead.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "no test program uses all of it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use wgrad::Gpu;
use wgrad::plan::Plan;
use wgrad::sanitize::{SanitizeReport, Sanitizer};

/// The largest plan that [`run`] interprets, in floating-point operations plus bytes. Its interpretation takes a tenth
/// of a second.
const MOST: u64 = 250_000;

/// Returns whether `WGRAD_SANITIZE=all` is set, which requests that all plans are interpreted.
pub(crate) fn is_all() -> bool {
    std::env::var_os("WGRAD_SANITIZE").is_some_and(|wanted| wanted == "all")
}

/// Returns the names and texts of the shader files. The findings show places in them.
fn files() -> Vec<(String, String)> {
    let shaders = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let files = shaders.read_dir().unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "wgsl"));
    let mut files: Vec<_> = files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (
                format!("shaders/{name}"),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

static SANITIZER: LazyLock<Sanitizer> = LazyLock::new(|| Sanitizer::default().files(files()));

/// Interprets a plan once, and fails if there are findings.
pub(crate) fn run_sanitized(gpu: &Gpu, case: &str, plan: &Plan) -> SanitizeReport {
    let report = SANITIZER.run(gpu, plan).unwrap();
    assert!(report.is_clean(), "{case}:\n{}", wrong(&report));
    report
}

/// Returns the problems in a report as text, kernel by kernel.
fn wrong(report: &SanitizeReport) -> String {
    let dispatches = report.dispatches.iter().filter(|it| !it.is_clean());
    let lines = dispatches.map(|dispatch| {
        let findings = dispatch.report.findings.iter().map(ToString::to_string);
        let differences = dispatch.differences.iter().filter(|it| !it.is_within());
        let all = findings.chain(differences.map(ToString::to_string));
        format!(
            "{}: {}",
            dispatch.kernel,
            all.collect::<Vec<_>>().join("\n")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs a plan `times` times. With `WGRAD_SANITIZE=all`, a small plan that would run once is interpreted instead,
/// unless the same plan was interpreted before.
pub(crate) fn run(gpu: &Gpu, case: &str, plan: &Plan, times: usize) {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_small = || times == 1 && plan.flops().saturating_add(plan.bytes()) <= MOST;
    let is_new = || KNOWN.lock().unwrap().insert(plan.to_string());
    if is_all() && is_small() && is_new() {
        drop(run_sanitized(gpu, case, plan));
    } else {
        gpu.submit(plan, times).unwrap();
    }
}
