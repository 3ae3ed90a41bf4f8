//! Builds the web page that trains in a browser. It is built into `web/dist`, which any static web server can serve.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::host::{self, Failure, Host, Invocation};
use crate::steps::{WASM, add_wasm_target};

/// The maximum size of the page's WebAssembly module, in bytes after gzip. Each build prints the actual size.
const BUDGET: u64 = 555_000;

/// The directory into which `wasm-bindgen` is installed.
const TOOLS: &str = "target/tools";
const PAGE: &str = "web/page";
const SHADERS: &str = "shaders";
/// The directory of the built page.
pub(crate) const DIST: &str = "web/dist";
const MODULE: &str = "web/dist/wasm/wgrad_web_bg.wasm";

/// The crate of the page. [`PARITY_CRATE`] is the crate of the tests that run in a browser.
const PAGE_CRATE: &str = "wgrad-web";
const PARITY_CRATE: &str = "wgrad-parity";
/// The directory of the built module of the browser tests.
const PARITY: &str = "target/parity";

/// Builds the page, and installs what the build needs.
pub(crate) fn build(host: &impl Host) -> Result<(), Failure> {
    let tools = Tools::setup(host)?;
    compile(host, &[PAGE_CRATE])?;
    make_page(host, &tools)
}

/// Builds the page and the module of the browser tests. One cargo command compiles both, for two reasons: the two are
/// linked in parallel, and separate commands would compile their common dependencies twice, with different features.
pub(crate) fn build_with_parity(host: &impl Host) -> Result<(), Failure> {
    let tools = Tools::setup(host)?;
    compile(host, &[PAGE_CRATE, PARITY_CRATE])?;
    make_page(host, &tools)?;
    tools.bind(host, PARITY_CRATE, PARITY)
}

fn compile(host: &impl Host, packages: &[&str]) -> Result<(), Failure> {
    let named: String = packages
        .iter()
        .map(|package| format!("--package {package} "))
        .collect();
    let build = format!("build {named}--lib --target {WASM} --profile web");
    run(host, &Invocation::new(host::cargo(host), build.split(' ')))
}

/// Creates the page from its compiled crate and its static files.
fn make_page(host: &impl Host, tools: &Tools) -> Result<(), Failure> {
    let cannot = |error| Failure::new(format!("cannot write {DIST}: {error}"));
    copy_page(&host.root()).map_err(cannot)?;
    tools.bind(host, PAGE_CRATE, &format!("{DIST}/wasm"))?;
    let cannot = |error| Failure::new(format!("cannot blank the comments in {MODULE}: {error}"));
    blank_comments(&host.root()).map_err(cannot)?;
    check_size(host)
}

/// The tools that a browser build needs in addition to cargo.
struct Tools {
    bindgen: PathBuf,
}

impl Tools {
    fn setup(host: &impl Host) -> Result<Self, Failure> {
        add_wasm_target(host)?;
        Ok(Self {
            bindgen: bindgen(host)?,
        })
    }

    /// Runs `wasm-bindgen` on a compiled crate. Writes the WebAssembly module and its JavaScript into the directory
    /// `out`.
    fn bind(&self, host: &impl Host, package: &str, out: &str) -> Result<(), Failure> {
        let compiled = format!("target/{WASM}/web/{}.wasm", package.replace('-', "_"));
        let bind = "--target web --no-typescript --remove-name-section --remove-producers-section";
        let out = ["--out-dir", out, &compiled];
        run(
            host,
            &Invocation::new(self.bindgen.as_os_str(), bind.split(' ').chain(out)),
        )
    }
}

/// Prints a command line and runs it.
pub(crate) fn run(host: &impl Host, invocation: &Invocation) -> Result<(), Failure> {
    eprintln!("$ {invocation}");
    host.run_or_fail(invocation)
}

/// Returns the path of the `wasm-bindgen` program, and installs it if necessary. Its version must equal the version of
/// the `wasm-bindgen` crate in `Cargo.lock`.
fn bindgen(host: &impl Host) -> Result<PathBuf, Failure> {
    let lock = fs::read_to_string(host.root().join("Cargo.lock"))
        .map_err(|error| Failure::new(format!("cannot read Cargo.lock: {error}")))?;
    let version = locked_version(&lock, "wasm-bindgen")
        .ok_or_else(|| Failure::new("Cargo.lock has no package wasm-bindgen"))?;
    let exe = if host.os() == "windows" { ".exe" } else { "" };
    let program = Path::new(TOOLS).join(format!("bin/wasm-bindgen{exe}"));
    let path = host.root().join(&program);
    let found = host.output(&path.to_string_lossy(), &["--version"]);
    if found.is_some_and(|found| found.trim() == format!("wasm-bindgen {version}")) {
        return Ok(path);
    }
    eprintln!("xtask: installing wasm-bindgen {version} into {TOOLS}");
    // An unoptimized build takes half the time. Each run of the program then takes half a second, which is acceptable.
    let install = format!("install --debug --version ={version} --root {TOOLS} wasm-bindgen-cli");
    let cargo = host::cargo(host);
    run(host, &Invocation::new(cargo, install.split(' ')))?;
    Ok(path)
}

/// Returns the version of a package in a lock file.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    version.strip_suffix('"')
}

/// Deletes and creates `web/dist`, and copies the page's static files into it.
fn copy_page(root: &Path) -> io::Result<()> {
    let dist = root.join(DIST);
    match fs::remove_dir_all(&dist) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(&dist)?,
    }
    for entry in fs::read_dir(root.join(PAGE))? {
        let entry = entry?;
        fs::copy(entry.path(), dist.join(entry.file_name()))?;
    }
    Ok(())
}

/// Replaces the comments of the shaders in the module by spaces. Comments are a third of the shaders' text, and the
/// page does not need them. No byte changes its position, so the module stays valid, and the lines and columns in a
/// driver's messages are those of the source files.
fn blank_comments(root: &Path) -> io::Result<()> {
    let path = root.join(MODULE);
    let mut module = fs::read(&path)?;
    for entry in fs::read_dir(root.join(SHADERS))? {
        let shader = fs::read(entry?.path())?;
        let blanked = blanked(&shader);
        let mut from = 0;
        while let Some(at) = find(&module[from..], &shader) {
            from += at;
            module[from..from + shader.len()].copy_from_slice(&blanked);
            from += shader.len();
        }
    }
    fs::write(path, module)
}

/// Replaces the comments of a WGSL text by spaces. The shaders of the crate have only comments that end at the end of
/// their line.
fn blanked(shader: &[u8]) -> Vec<u8> {
    let mut is_comment = false;
    let blank = |(at, &byte): (usize, &u8)| {
        is_comment = byte != b'\n' && (is_comment || shader[at..].starts_with(b"//"));
        if is_comment { b' ' } else { byte }
    };
    shader.iter().enumerate().map(blank).collect()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let mut windows = text.windows(part.len().max(1));
    windows.position(|window| window == part)
}

/// Prints the size of the module after gzip, and fails if it exceeds [`BUDGET`].
fn check_size(host: &impl Host) -> Result<(), Failure> {
    let module = host.root().join(MODULE);
    let size_of = |path: &Path| {
        let size = fs::metadata(path).map(|metadata| metadata.len());
        size.map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))
    };
    let raw = size_of(&module)?;
    if host.output("gzip", &["--version"]).is_none() {
        eprintln!(
            "xtask: {MODULE}: {raw} bytes; not checked against the budget, because there is no gzip"
        );
        return Ok(());
    }
    let pack = ["--best", "--keep", "--force", MODULE];
    host.run_or_fail(&Invocation::new("gzip", pack))?;
    let packed = module.with_extension("wasm.gz");
    let gzipped = size_of(&packed)?;
    fs::remove_file(&packed)
        .map_err(|error| Failure::new(format!("cannot remove {}: {error}", packed.display())))?;
    eprintln!("xtask: {MODULE}: {raw} bytes, {gzipped} gzipped");
    match gzipped {
        _ if gzipped > BUDGET => Err(Failure::new(format!(
            "the page's WebAssembly is {gzipped} bytes after gzip, more than {BUDGET}"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    const LOCK: &str = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n\
        [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.99\"\nsource = \"registry\"\n";

    const SHADER: &str = "// y = a + b\nlet y = a / b; // 1/b\n";

    /// A fake machine with a checkout whose module has this many bytes after gzip.
    fn checkout(gzipped: usize) -> io::Result<Fake> {
        let fake = Fake::new("linux")?
            .answers("gzip --version", "gzip 1.12")
            .on_run(move |fake, line| {
                let made = if line.contains("--out-dir") {
                    fake.write(MODULE, &format!("// data {SHADER}{SHADER} // data"))
                } else if line.starts_with("gzip") {
                    fake.write(&format!("{MODULE}.gz"), &"x".repeat(gzipped))
                } else {
                    Ok(())
                };
                u8::from(made.is_err())
            });
        fake.write("Cargo.lock", LOCK)?;
        fake.write("web/page/index.html", "<!doctype html>")?;
        fake.write("shaders/add.wgsl", SHADER)?;
        Ok(fake)
    }

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        assert_eq!(locked_version(LOCK, "wasm-bindgen"), Some("0.2.99"));
        assert_eq!(locked_version(LOCK, "wasm"), None);
    }

    #[test]
    fn a_bare_machine_gets_everything() -> io::Result<()> {
        let fake = checkout(100)?;
        fake.write("web/dist/stale.js", "")?;
        assert!(build(&fake).is_ok());
        let root = fake.root();
        let tool = root.join("target/tools/bin/wasm-bindgen");
        assert_eq!(
            fake.ran(),
            [
                "rustup target add wasm32-unknown-unknown".to_owned(),
                "cargo install --debug --version =0.2.99 --root target/tools wasm-bindgen-cli".to_owned(),
                "cargo build --package wgrad-web --lib --target wasm32-unknown-unknown --profile web"
                    .to_owned(),
                format!(
                    "{} --target web --no-typescript --remove-name-section \
                     --remove-producers-section --out-dir web/dist/wasm \
                     target/wasm32-unknown-unknown/web/wgrad_web.wasm",
                    tool.display()
                ),
                format!("gzip --best --keep --force {MODULE}"),
            ]
        );
        assert!(root.join("web/dist/index.html").is_file());
        assert!(root.join(MODULE).is_file());
        assert!(!root.join("web/dist/stale.js").exists());
        assert!(!root.join(MODULE).with_extension("wasm.gz").exists());
        Ok(())
    }

    #[test]
    fn shaders_in_the_page_have_no_comments_and_nothing_moves() -> io::Result<()> {
        let fake = checkout(100)?;
        assert!(build(&fake).is_ok());
        let shader = format!("{:12}\nlet y = a / b; {:6}\n", "", "");
        let expected = format!("// data {shader}{shader} // data");
        assert_eq!(fs::read_to_string(fake.root().join(MODULE))?, expected);
        Ok(())
    }

    #[test]
    fn the_tests_have_a_crate_of_their_own() -> io::Result<()> {
        let fake = checkout(100)?;
        assert!(build_with_parity(&fake).is_ok());
        let ran = fake.ran();
        let compiled = ran.iter().filter(|line| line.starts_with("cargo build"));
        let both = "cargo build --package wgrad-web --package wgrad-parity --lib \
                    --target wasm32-unknown-unknown --profile web";
        assert!(compiled.eq([both]));
        assert!(fake.root().join(MODULE).is_file());
        let bound = "--out-dir target/parity target/wasm32-unknown-unknown/web/wgrad_parity.wasm";
        assert!(ran.last().is_some_and(|line| line.ends_with(bound)));
        Ok(())
    }

    #[test]
    fn a_tool_of_the_right_version_is_used() -> io::Result<()> {
        for (version, installs) in [("0.2.99", false), ("0.2.98", true)] {
            let fake = checkout(100)?;
            let tool = fake.root().join("target/tools/bin/wasm-bindgen");
            let asked = format!("{} --version", tool.display());
            let fake = fake.answers(asked, &format!("wasm-bindgen {version}\n"));
            assert!(build(&fake).is_ok());
            let ran = fake.ran();
            let installed = ran.iter().any(|line| line.contains("install"));
            assert_eq!(installed, installs, "{version}");
        }
        Ok(())
    }

    #[test]
    fn a_page_beyond_the_budget_fails() -> io::Result<()> {
        assert!(build(&checkout(555_000)?).is_ok());
        let failure = build(&checkout(555_001)?).err();
        assert!(failure.is_some_and(|failure| failure.message.contains("555001")));
        Ok(())
    }
}
