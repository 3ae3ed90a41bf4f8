use std::ffi::OsString;
use std::path::PathBuf;

use super::*;
use crate::fake::Fake;

const SHADER: &str = "fn f() {\n    a = min(b, c);\n}\n";
const LIST: &str = "one.wgsl f\n- a = min(b, c);\n+ a = max(b, c);\n= They are equal.\n";

/// A fake machine with one shader and one test per binary. `judge` returns a test's exit code from the faulty text.
fn machine(list: &str, judge: impl Fn(&str) -> u8 + Send + Sync + 'static) -> io::Result<Fake> {
    let named = |line: &str, variable: &str| -> Option<PathBuf> {
        let (_, rest) = line.split_once(&format!("{variable}="))?;
        Some(rest.split(' ').next()?.into())
    };
    let fake = binaries::tests::built(Fake::new("linux")?.env("XDG_RUNTIME_DIR", "/run/user/1000"));
    let fake = fake
        .file("/usr/lib/libvulkan.so.1")?
        .file("/usr/share/vulkan/icd.d/lvp_icd.json")?
        .on_run(move |_, line| {
            if let Some(met) = named(line, "WGRAD_SHADERS_MET") {
                return u8::from(fs::write(met, "one\n").is_err());
            }
            let text = named(line, "WGRAD_FAULT").and_then(|path| fs::read_to_string(path).ok());
            match text {
                None => 0,
                Some(text) if text.ends_with("no WGSL") => 86,
                Some(text) => judge(&text),
            }
        });
    fake.write("shaders/one.wgsl", SHADER)?;
    fake.write(equivalent::FILE, list)?;
    Ok(fake)
}

fn wgsl_of(fake: &Fake, line: &str) -> Result<(), String> {
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let request = Request::parse(&args)?;
    run(fake, &request).map_err(|failure| failure.message)
}

/// Returns how many times a test was run with a planted fault. One run is not counted: it has a text that is not WGSL,
/// to check that planted texts reach the tests.
fn planted(fake: &Fake) -> usize {
    let ran = fake.ran();
    ran.iter()
        .filter(|line| line.contains("WGRAD_FAULT"))
        .count()
        - 1
}

#[test]
fn faults_that_are_seen_or_listed_are_a_success() -> io::Result<()> {
    let fake = machine(LIST, |_| 101)?;
    assert_eq!(wgsl_of(&fake, ""), Ok(()));
    // The faults in the statement and in `=` are planted. The fault in `min` is listed, so it is not planted.
    assert_eq!(planted(&fake), 2);
    Ok(())
}

#[test]
fn a_fault_that_lives_is_a_failure() -> io::Result<()> {
    let fake = machine(LIST, |text| if text.contains("a += min") { 0 } else { 101 })?;
    let message = wgsl_of(&fake, "--jobs 3").err().unwrap_or_default();
    assert_eq!(
        message,
        "1 faults lived: each needs a test, or its reason in xtask/src/mutants/equivalent.txt"
    );
    Ok(())
}

#[test]
fn a_listed_fault_that_is_seen_does_not_belong_there() -> io::Result<()> {
    let fake = machine(LIST, |_| 101)?;
    let message = wgsl_of(&fake, "--equivalent").err().unwrap_or_default();
    let expected = "1 faults do not belong in xtask/src/mutants/equivalent.txt";
    assert_eq!(message, expected);
    assert_eq!(planted(&fake), 3);
    // A listed fault that no test detects belongs in the list.
    let fake = machine(LIST, |text| if text.contains("max") { 0 } else { 101 })?;
    assert_eq!(wgsl_of(&fake, "--equivalent"), Ok(()));
    Ok(())
}

#[test]
fn a_list_with_a_fault_that_is_gone_is_told_before_anything_is_built() -> io::Result<()> {
    let fake = machine(&LIST.replace("one.wgsl", "two.wgsl"), |_| 101)?;
    let message = wgsl_of(&fake, "").err().unwrap_or_default();
    assert!(
        message.contains("equivalent.txt:1: there is no such fault in two.wgsl"),
        "{message}"
    );
    assert!(fake.ran().is_empty());
    Ok(())
}

#[test]
fn tests_that_do_not_see_what_is_planted_are_told() -> io::Result<()> {
    let fake = machine(LIST, |_| 101)?.on_run(|_, line| {
        let met = line
            .split_once("WGRAD_SHADERS_MET=")
            .and_then(|(_, rest)| rest.split(' ').next());
        met.map_or(0, |met| u8::from(fs::write(met, "one\n").is_err()))
    });
    let message = wgsl_of(&fake, "").err().unwrap_or_default();
    assert!(
        message.contains("built with `--cfg wgrad_faults`?"),
        "{message}"
    );
    Ok(())
}

#[test]
fn a_shader_that_no_test_meets_is_told() -> io::Result<()> {
    let fake = machine(LIST, |_| 101)?;
    fake.write("shaders/two.wgsl", SHADER)?;
    let message = wgsl_of(&fake, "").err().unwrap_or_default();
    assert_eq!(message, "no test has kernels of two.wgsl");
    Ok(())
}

#[test]
fn only_the_sanitizer_can_look() -> io::Result<()> {
    let fake = machine(LIST, |_| 101)?;
    assert_eq!(wgsl_of(&fake, "--sanitizer"), Ok(()));
    let ran = fake.ran();
    let is_test = |line: &&String| line.contains("--exact");
    for line in ran.iter().filter(is_test) {
        let is_of_it = ["/t/parity ", "/t/sanitize "].map(|program| line.contains(program));
        assert!(is_of_it.contains(&true), "{line}");
    }
    Ok(())
}

#[test]
fn a_list_of_faults_needs_no_driver() -> io::Result<()> {
    let fake = Fake::new("linux")?;
    fake.write("shaders/one.wgsl", SHADER)?;
    fake.write(equivalent::FILE, "")?;
    assert_eq!(wgsl_of(&fake, "--list"), Ok(()));
    assert!(fake.ran().is_empty());
    Ok(())
}
