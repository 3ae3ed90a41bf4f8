//! Checks the order of the crate's modules: each may only use modules before it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The order of the modules, from the lowest to the highest. Modules in one line may use each other.
const ORDER: &[&[&str]] = &[
    &["shape"],
    &["random"],
    &["clock"],
    &["kernel"],
    &["parallel"],
    &["latest"],
    &["file_kind"],
    &["files"],
    &["error"],
    &["memory"],
    &["init"],
    &["data"],
    &["reference"],
    &["probability"],
    &["confusion"],
    &["metric"],
    &["gpu"],
    &["tensor"],
    &["plan"],
    &["sanitize"],
    &["ops"],
    &["guard"],
    &["evaluation"],
    &["soundness"],
    &["best"],
    &["network"],
    &["fit"],
    &["checkpoint"],
    &["onnx"],
    &["distributed"],
    &["pace"],
    &["cpu"],
    &["model"],
    &["evaluator"],
    &["predictor"],
    &["updater"],
    &["steps"],
    &["trainer"],
    &["train"],
    &["early_stopping"],
    &["device"],
    &["two_layer_net"],
    &["multi_layer_net"],
    &["conv_nets"],
    &["gradient_check"],
    &["check"],
    &["layer_check"],
    &["loss_check"],
    &["optimizer_check"],
];

const MOST_LINES: usize = 450;

#[test]
fn imports_point_down() {
    let files = sources();
    let root = Root::of(&files);
    let mut faults = Vec::new();
    let mut imports = 0;
    for File { path, text } in &files {
        let Some(module) = module_of(path) else {
            continue;
        };
        if rank(&module).is_none() {
            faults.push(format!("src/{path}: ORDER does not list `{module}`"));
            continue;
        }
        for Import { line, name } in imports_of(&code(text), depth(path)) {
            imports += 1;
            let Some(target) = root.module(&name) else {
                faults.push(format!(
                    "src/{path}:{line}: `crate::{name}` is of no module in ORDER"
                ));
                continue;
            };
            if rank(target) > rank(&module) {
                faults.push(format!(
                    "src/{path}:{line}: `{module}` uses `{target}`, which stands above it"
                ));
            }
        }
    }
    assert!(imports > 300, "only {imports} imports were found");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_are_short() {
    let mut faults = Vec::new();
    for File { path, text } in sources() {
        let lines = text.lines().count();
        if lines > MOST_LINES {
            faults.push(format!(
                "src/{path} has {lines} lines, more than {MOST_LINES}"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_form_of_import_is_found_and_nothing_else() {
    let text = r##"
//! [`crate::a_doc`]
use crate::plain::Thing;
use crate::{first, second::{inner, other}, third as renamed};
pub(in crate::scoped) fn f() -> crate::inline::Type {
    /* crate::block_comment /* nested */ crate::block_comment */
    let text = "crate::text \" crate::text";
    let raw = r#"crate::raw " crate::raw"#;
    let (quote, slash) = ('"', '\\');
    super::super::above::call::<'a', 'static>(quote, slash)
}
use super::{super::grouped::Thing, sibling};
#[cfg(test)]
mod tests {
    use crate::in_test;
}
#[cfg(all(test, feature = "gemm"))]
use crate::in_test_too;
#[cfg(not(test))]
use crate::last;
"##;
    let found = imports_of(&code(text), 2);
    let found: Vec<_> = found
        .iter()
        .map(|import| (import.line, &*import.name))
        .collect();
    let expected = [
        (3, "plain"),
        (4, "first"),
        (4, "second"),
        (4, "third"),
        (5, "scoped"),
        (5, "inline"),
        (10, "above"),
        (12, "grouped"),
        (20, "last"),
    ];
    assert_eq!(found, expected);
}

/// A file in `src/`. Its path is relative to `src/`.
struct File {
    path: String,
    text: String,
}

/// Reads all files except those that contain only tests.
fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_stem().unwrap();
            if name == "tests" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let inside = path.strip_prefix(&root).unwrap().components();
                let parts: Vec<_> = inside
                    .map(|part| part.as_os_str().to_str().unwrap())
                    .collect();
                files.push(File {
                    path: parts.join("/"),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    files
}

/// Returns the top-level module to which a file belongs, or `None` for the crate root.
fn module_of(path: &str) -> Option<String> {
    let first = path.split('/').next().unwrap();
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (module != "lib").then(|| module.to_owned())
}

/// Returns how many `super::` lead from a file's module to the crate root.
fn depth(path: &str) -> usize {
    path.strip_suffix("/mod.rs")
        .unwrap_or(path)
        .split('/')
        .count()
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

/// For each name in the crate root: the module from which it comes.
struct Root {
    modules: BTreeMap<String, String>,
}

impl Root {
    fn of(files: &[File]) -> Self {
        let lib = files.iter().find(|file| file.path == "lib.rs").unwrap();
        let mut modules = BTreeMap::new();
        for import in code(&lib.text).split("pub use ").skip(1) {
            let import = import.split(';').next().unwrap();
            // The name may come from a module of this crate.
            let path = import.split_once("::");
            if let Some((module, names)) = path.filter(|(module, _)| rank(module).is_some()) {
                for name in names.split(|c: char| !is_of_name(c)) {
                    modules.insert(name.to_owned(), module.to_owned());
                }
            }
        }
        for file in files {
            for rest in code(&file.text).split("macro_rules! ").skip(1) {
                let name = rest.split(|c: char| !is_of_name(c)).next().unwrap();
                modules.insert(name.to_owned(), module_of(&file.path).unwrap());
            }
        }
        Self { modules }
    }

    fn module<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let exported = self.modules.get(name).map(String::as_str);
        let module = exported.unwrap_or(name);
        rank(module).map(|_| module)
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns a text without comments, literals and test code. Line numbers stay the same.
fn code(text: &str) -> String {
    without_tests(&without_comments(text))
}

/// Returns the length of the comment or literal that starts here.
fn length_of_comment(rest: &[char]) -> Option<usize> {
    let starts = |at: usize, with: &str| {
        let found = rest.iter().skip(at).take(with.len());
        found.copied().eq(with.chars())
    };
    let up_to = |with: &str, from: usize| (from..rest.len()).find(|&at| starts(at, with));
    if starts(0, "//") {
        return Some(up_to("\n", 0).unwrap_or(rest.len()));
    }
    if starts(0, "/*") {
        let mut at = 2;
        let mut nested = 1;
        while nested > 0 && at < rest.len() {
            match (starts(at, "/*"), starts(at, "*/")) {
                (true, _) => (at, nested) = (at + 2, nested + 1),
                (_, true) => (at, nested) = (at + 2, nested - 1),
                _ => at += 1,
            }
        }
        return Some(at);
    }
    let hashes = rest.iter().skip(1).take_while(|&&c| c == '#').count();
    if starts(0, "r") && starts(1 + hashes, "\"") {
        let end = format!("\"{}", "#".repeat(hashes));
        return up_to(&end, 2 + hashes).map(|at| at + end.len());
    }
    let literal = |quote: &str| {
        let mut at = 1;
        while at < rest.len() && !starts(at, quote) {
            at += if starts(at, "\\") { 2 } else { 1 };
        }
        at + 1
    };
    if starts(0, "\"") {
        return Some(literal("\""));
    }
    // A lifetime also starts with a quote, but has no second one.
    (starts(0, "'") && (starts(1, "\\") || starts(2, "'"))).then(|| literal("'"))
}

fn without_comments(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    while at < text.len() {
        let is_within_name = at > 0 && is_of_name(text[at - 1]);
        let length = match text[at] {
            'r' if is_within_name => None,
            _ => length_of_comment(&text[at..]),
        };
        match length {
            None => {
                code.push(text[at]);
                at += 1;
            }
            Some(length) => {
                let end = text.len().min(at + length);
                code.extend(text[at..end].iter().filter(|&&c| c == '\n'));
                at = end;
            }
        }
    }
    code
}

fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(") {
        kept.push_str(&rest[..at]);
        let attribute = rest[at..].find(")]").map_or(rest.len(), |end| at + end + 2);
        let is_test = ["#[cfg(test)]", "#[cfg(all(test,"]
            .iter()
            .any(|test| rest[at..].starts_with(test));
        let end = if is_test {
            attribute + length_of_item(&rest[attribute..])
        } else {
            attribute
        };
        kept.extend(rest[at..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// Returns the length of an item: to its semicolon or to the end of its body.
fn length_of_item(code: &str) -> usize {
    let is_import = code.trim_start().starts_with("use ");
    let mut open = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => open += 1,
            '}' => {
                open -= 1;
                if open == 0 && !is_import {
                    return at + 1;
                }
            }
            ';' if open == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// A name of the crate's root, and the line where it is used.
struct Import {
    line: usize,
    name: String,
}

/// Returns the names of the crate root that a file at this depth uses through `crate::` or `super::`.
fn imports_of(code: &str, depth: usize) -> Vec<Import> {
    let tokens = tokens(code);
    let mut imports = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, Some(0), depth, &mut imports);
    }
    imports
}

/// Splits code into tokens with their line numbers. A token is a name, `::`, or any other single character.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if rest.starts_with("::") => 2,
                c if is_of_name(c) => rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            if !first.is_whitespace() {
                tokens.push((line, &rest[..length]));
            }
            rest = &rest[length..];
        }
    }
    tokens
}

/// Reads the path that begins at a token. For a path inside braces, as in `super::{a, b}`, `above` is the number of
/// modules that the part before the braces goes up; otherwise it is 0. Returns the index of the token after the path.
fn path(
    tokens: &[(usize, &str)],
    mut at: usize,
    above: Option<usize>,
    depth: usize,
    imports: &mut Vec<Import>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |(_, text)| *text);
    // How many modules the path goes up: by each `super::` one module, by `crate::` all modules.
    let mut climbed = above;
    loop {
        let (line, token) = tokens[at];
        match (token, climbed) {
            ("crate", _) if text(at + 1) == "::" => climbed = Some(depth),
            ("super", Some(count)) if text(at + 1) == "::" => climbed = Some(count + 1),
            ("{", Some(count)) if count > 0 => {
                at += 1;
                while at < tokens.len() && text(at) != "}" {
                    at = path(tokens, at, Some(count), depth, imports);
                    // Skips the rest of a path that does not count, and commas.
                    let mut open = 0;
                    while at < tokens.len() && !(open == 0 && [",", "}"].contains(&text(at))) {
                        open += usize::from(text(at) == "{");
                        open -= usize::from(text(at) == "}");
                        at += 1;
                    }
                    at += usize::from(text(at) == ",");
                }
                return at + 1;
            }
            (name, Some(count)) if count >= depth && name != "self" => {
                imports.push(Import {
                    line,
                    name: name.to_owned(),
                });
                return at + 1;
            }
            _ => return at + 1,
        }
        at += 2;
    }
}
