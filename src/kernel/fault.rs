//! A fault planted in a shader, by which `cargo xtask mutants` measures what the tests see. It is there under
//! `--cfg wgrad_faults` alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::{env, fs, process};

use wgpu::naga::front::wgsl;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

/// Names a file: how many bytes a shader's text has, a line feed, that text, and the text with the fault.
const FAULT: &str = "WGRAD_FAULT";
/// Names a file that gets the names of the shaders whose kernels are asked for, each in a line.
const MET: &str = "WGRAD_SHADERS_MET";
/// How a process ends where the fault is no valid WGSL: there is nothing that a test could see.
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

/// A shader's text, or one that it is a part of, with the fault that is planted.
fn faulty(text: &str) -> Cow<'_, str> {
    match &*PLANTED {
        Some(fault) if text.contains(&fault.sound) => {
            Cow::Owned(text.replace(&fault.sound, &fault.faulty))
        }
        _ => Cow::Borrowed(text),
    }
}

/// A kernel's text with the fault. It is made and validated once.
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

/// Ends the process if this text, which the device did not compile, has the fault in it.
pub(crate) fn refused(source: &str, message: &str) {
    if PLANTED
        .as_ref()
        .is_some_and(|fault| source.contains(&fault.faulty))
    {
        refuse(message);
    }
}

fn refuse(message: &str) -> ! {
    // What is printed in a test is kept until it ends; this one does not.
    let _ = writeln!(std::io::stderr(), "the fault is no valid WGSL: {message}");
    process::exit(INVALID);
}

/// Writes down the names of the shaders that a text is made of.
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

/// The texts of `shaders/`, by their names without `.wgsl`.
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
