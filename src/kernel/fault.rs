//! A fault planted in a shader: `cargo xtask mutants` measures which faults the tests detect.
//!
//! This module exists only under `--cfg wgrad_faults`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::{env, fs, process};

use wgpu::naga::front::wgsl;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

/// Environment variable with the path of a file that describes the fault. The file contains the length of a shader's
/// text in bytes, a line feed, this text, and the same text with the fault.
const FAULT: &str = "WGRAD_FAULT";
/// Environment variable with the path of a file to which the name of each used shader is appended, one per line.
const MET: &str = "WGRAD_SHADERS_MET";
/// Exit code if the text with the fault is not valid WGSL: then there is no fault for a test to detect.
const INVALID: i32 = 86;

struct Fault {
    sound: String,
    faulty: String,
}

static PLANTED: LazyLock<Option<Fault>> = LazyLock::new(|| {
    let path = env::var_os(FAULT)?;
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{FAULT}={}: {error}", path.display()));
    let parts = text.split_once('\n').and_then(|(length, texts)| {
        let (sound, faulty) = texts.split_at_checked(length.parse().ok()?)?;
        Some(Fault {
            sound: sound.to_owned(),
            faulty: faulty.to_owned(),
        })
    });
    Some(parts.unwrap_or_else(|| panic!("{FAULT}={}: it is no fault", path.display())))
});

/// Returns `text` with the planted fault if `text` contains the fault's shader; otherwise returns `text` unchanged.
fn faulty(text: &str) -> Cow<'_, str> {
    match &*PLANTED {
        Some(fault) if text.contains(&fault.sound) => {
            Cow::Owned(text.replace(&fault.sound, &fault.faulty))
        }
        _ => Cow::Borrowed(text),
    }
}

/// Returns a kernel's text with the planted fault, if the fault is in one of its shaders. Each text is made and
/// validated only once.
pub(super) fn planted(source: Arc<str>) -> Arc<str> {
    static KNOWN: Mutex<BTreeMap<Arc<str>, Arc<str>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.get(&source) {
        return Arc::clone(text);
    }
    if let Some(path) = env::var_os(MET) {
        note(path, &source);
    }
    let text = match faulty(&source) {
        Cow::Borrowed(_) => Arc::clone(&source),
        Cow::Owned(text) => {
            if let Err(message) = validated(&text) {
                refuse(&message);
            }
            text.into()
        }
    };
    known.insert(source, Arc::clone(&text));
    text
}

fn validated(text: &str) -> Result<(), String> {
    let module = wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|error| error.emit_to_string(text))?;
    Ok(())
}

/// Ends the process if the device failed to compile `source` and `source` contains the planted fault.
pub(crate) fn refused(source: &str, message: &str) {
    if PLANTED
        .as_ref()
        .is_some_and(|fault| source.contains(&fault.faulty))
    {
        refuse(message);
    }
}

fn refuse(message: &str) -> ! {
    // Not `eprintln!`: the test harness prints captured output only at the end of a test, and this test ends the
    // process.
    let _ = writeln!(std::io::stderr(), "the fault is no valid WGSL: {message}");
    process::exit(INVALID);
}

/// Appends the names of the shaders in `source` to the file `path`. Each name is appended once per process.
fn note(path: OsString, source: &str) {
    static NOTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lines = String::new();
    for (name, text) in &*SHADERS {
        if source.contains(text) && noted.insert(name.clone()) {
            lines.push_str(name);
            lines.push('\n');
        }
    }
    let written = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(lines.as_bytes()));
    written.unwrap_or_else(|error| panic!("{MET}={}: {error}", path.display()));
}

/// The name without `.wgsl` and the text of each file in `shaders/`.
static SHADERS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders"));
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let texts = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_stem()?.to_str()?.to_owned();
        Some((name, fs::read_to_string(&path).ok()?))
    });
    texts.collect()
});
