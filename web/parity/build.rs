//! Converts the tests in `tests/parity` to plain functions, and generates a table of these functions. A browser has no
//! test harness that could run `#[test]` functions.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const TESTS: &str = "../../tests";

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["parity.rs", "parity"] {
        println!("cargo::rerun-if-changed={TESTS}/{input}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = fs::read_to_string(format!("{TESTS}/parity.rs"))?;
    let mut modules = String::new();
    let mut tables = String::new();
    for name in root.lines().filter_map(parity_module) {
        let source = fs::read_to_string(format!("{TESTS}/parity/{name}.rs"))?;
        let file = out.join(format!("{name}.rs"));
        fs::write(&file, with_table(name, &source)?)?;
        modules += &format!("#[path = {file:?}]\nmod {name};\n");
        tables += &format!("    {name}::BROWSER_CASES,\n");
    }
    let root = format!("{modules}const CASES: &[&[Case]] = &[\n{tables}];\n");
    fs::write(out.join("cases.rs"), root)?;
    Ok(())
}

/// Returns the module name if `line` of `tests/parity.rs` is the `#[path]` of a module in `tests/parity`.
fn parity_module(line: &str) -> Option<&str> {
    line.strip_prefix("#[path = \"parity/")?
        .strip_suffix(".rs\"]")
}

/// Returns the module's source with every `#[test]` commented out, followed by `BROWSER_CASES`, the table of its tests.
fn with_table(module: &str, source: &str) -> Result<String, String> {
    let mut functions = String::new();
    let mut table = String::new();
    let mut is_test = false;
    for line in source.lines() {
        if is_test {
            let name = line
                .strip_prefix("fn ")
                .and_then(|line| line.strip_suffix("() {"));
            let name = name.ok_or_else(|| {
                format!("tests/parity/{module}.rs: expected `fn name() {{` after `#[test]`, found `{line}`")
            })?;
            table += &format!("    (\"{module}::{name}\", {name}),\n");
        }
        is_test = line == "#[test]";
        // Comments out the `#[test]` line instead of removing it, so that all line numbers stay the same.
        functions += if is_test { "// " } else { "" };
        functions += line;
        functions += "\n";
    }
    Ok(format!(
        "{functions}\npub(crate) const BROWSER_CASES: &[crate::Case] = &[\n{table}];\n"
    ))
}
