//! Kernels and their expected findings, read from WGSL files.
//!
//! A kernel begins with a line `//# entry key=value …` and ends before the next such line. The keys are:
//! - `workgroups=4,2`: the number of workgroups; `zero=off`: workgroup memory is not set to zero; `budget=100`: the
//!   loop budget, in iterations;
//! - `const.n=3`: an `override` constant;
//! - `order=y,z`: the contents of `y` and `z` depend on the order of invocations;
//! - `x=64`: binds to `x` a buffer of 64 words with the numbers 0, 1, 2, … in the variable's type (the default). Other
//!   contents are `x=zeros:64`, `x=unwritten:64`, `x=1.0,2.5` and `x=7,-1`. `y=@x` binds the buffer of `x` to `y`. Each
//!   may be followed by the bound range, in bytes: `x=64[0..128]`.
//!
//! An expected finding is a comment at the end of its line. `//~ race tile A, B:` expects a race on `tile` between this
//! line and the line named `A`, and gives this line the name `B`. A finding that concerns only one line has no `A`; a
//! race without `A` is between two invocations at this line. Names of lines are capital letters. They are valid inside
//! one kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wgsl_sanitizer::{
    Binding, Buffer, Dispatch, Finding, Kernel, Order, Problem, Settings, Shader, sanitize,
};

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Race,
    Divergence,
    Bounds,
    Unwritten,
    Division,
    Shift,
    Conversion,
    Endless,
    Order,
}

/// An expected finding, with the details that the table gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expected {
    pub(crate) kind: Kind,
    variable: String,
    /// The line numbers of both sides. For a race, the smaller number comes first. 0 means that there is no second
    /// side.
    lines: [u32; 2],
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) expected: BTreeSet<Expected>,
    entry: String,
    kernel: Result<Kernel, wgsl_sanitizer::Error>,
    workgroups: [u32; 3],
    settings: Settings,
    bound: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) kernels: Vec<Row>,
}

impl Table {
    pub(crate) fn read(file: &str, source: &str) -> Self {
        let shader = Shader::parse(file, source).unwrap_or_else(|error| panic!("{error}"));
        let lines: Vec<(u32, &str)> = (1..).zip(source.lines()).collect();
        let is_start = |line: &&(u32, &str)| line.1.starts_with("//# ");
        let starts = lines
            .iter()
            .filter(is_start)
            .map(|&(line, _)| line as usize - 1);
        let starts: Vec<usize> = starts.chain([lines.len()]).collect();
        let rows = starts
            .windows(2)
            .map(|ends| row(&shader, &lines[ends[0]..ends[1]]));
        let kernels: Vec<Row> = rows.collect();
        let named = kernels.iter().map(|row| row.entry.clone());
        let named: BTreeSet<String> = named.collect();
        let all: BTreeSet<String> = shader.entries().map(str::to_owned).collect();
        assert_eq!(named, all, "{file}: every entry point has a row of its own");
        Self { kernels }
    }
}

fn row(shader: &Shader, lines: &[(u32, &str)]) -> Row {
    let mut words = lines[0].1[4..].split_whitespace();
    let entry = words.next().unwrap_or("");
    let mut workgroups = [1; 3];
    let mut settings = Settings::default();
    let mut constants = Vec::new();
    let mut bound = BTreeMap::new();
    let (labels, mut expected) = marks(lines);
    for word in words {
        let (key, value) = word
            .split_once('=')
            .unwrap_or_else(|| panic!("{word}: key=value"));
        match key {
            "workgroups" => {
                let counts: Vec<u32> = value.split(',').map(|count| parsed(count, word)).collect();
                assert!(counts.len() <= 3, "{word}: x, y and z");
                workgroups[..counts.len()].copy_from_slice(&counts);
            }
            "zero" => {
                assert_eq!(
                    value, "off",
                    "{word}: memory that starts as zeros is not told"
                );
                settings = settings.zero_workgroup_memory(false);
            }
            "budget" => settings = settings.loop_budget(parsed(value, word)),
            "order" => {
                let names = value.split(',').map(str::to_owned);
                expected.extend(names.map(|name| (Kind::Order, name, 0, None)));
            }
            _ => match key.strip_prefix("const.") {
                Some(name) => constants.push((name, parsed(value, word))),
                None => {
                    let before = bound.insert(key.to_owned(), value.to_owned());
                    assert_eq!(before, None, "{entry}: {key} twice");
                }
            },
        }
    }
    let expected = expected.into_iter().map(|(kind, variable, line, label)| {
        let other = label.map(|label| match labels.get(&label) {
            Some(&line) => line,
            None => panic!("{entry}: no line is called {label}"),
        });
        let other = other.unwrap_or(if kind == Kind::Race { line } else { 0 });
        Expected::new(kind, variable, [line, other])
    });
    let expected: BTreeSet<Expected> = expected.collect();
    let kernel = shader.kernel(entry, &constants);
    if let Ok(kernel) = &kernel {
        let is_bound = |name: &str| kernel.bindings().iter().any(|binding| binding.name == name);
        for name in bound.keys() {
            assert!(
                is_bound(name),
                "{entry}: {name} is neither a key nor a binding that is used"
            );
        }
        for order in expected.iter().filter(|one| one.kind == Kind::Order) {
            assert!(
                is_bound(&order.variable),
                "{entry}: {} is no binding",
                order.variable
            );
        }
    }
    Row {
        expected,
        entry: entry.to_owned(),
        kernel,
        workgroups,
        settings,
        bound,
    }
}

fn parsed<T: std::str::FromStr>(text: &str, word: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("{word}: {text} is no number"))
}

type Mark = (Kind, String, u32, Option<String>);

/// Parses the comments at the ends of lines. Returns the names of lines, and the expected findings.
fn marks(lines: &[(u32, &str)]) -> (BTreeMap<String, u32>, Vec<Mark>) {
    let mut labels = BTreeMap::new();
    let mut marks = Vec::new();
    for &(line, text) in lines {
        let Some((_, text)) = text.split_once("//~ ") else {
            continue;
        };
        for mark in text.split(',').map(str::trim) {
            if let Some(label) = mark.strip_suffix(':') {
                assert_eq!(labels.insert(label.to_owned(), line), None, "{mark} twice");
                continue;
            }
            let mut words: Vec<&str> = mark.split_whitespace().collect();
            let kind = kind(words.remove(0));
            let label = words.pop_if(|last| last.len() == 1 && *last == last.to_uppercase());
            let variable = words.join(" ");
            marks.push((kind, variable, line, label.map(str::to_owned)));
        }
    }
    (labels, marks)
}

fn kind(name: &str) -> Kind {
    match name {
        "race" => Kind::Race,
        "divergence" => Kind::Divergence,
        "bounds" => Kind::Bounds,
        "unwritten" => Kind::Unwritten,
        "division" => Kind::Division,
        "shift" => Kind::Shift,
        "conversion" => Kind::Conversion,
        "endless" => Kind::Endless,
        other => panic!("{other} is no kind of finding"),
    }
}

impl Expected {
    fn new(kind: Kind, variable: String, [line, other]: [u32; 2]) -> Self {
        let lines = match kind {
            Kind::Race => [line.min(other), line.max(other)],
            _ => [line, other],
        };
        Self {
            kind,
            variable,
            lines,
        }
    }

    fn of(finding: &Finding) -> Self {
        let (kind, variable) = match &finding.problem {
            Problem::Race { variable, .. } => (Kind::Race, variable.clone()),
            Problem::OutOfBounds { variable, .. } => (Kind::Bounds, variable.clone()),
            Problem::Unwritten { variable, .. } => (Kind::Unwritten, variable.clone()),
            Problem::OrderDependent { variable, .. } => (Kind::Order, variable.clone()),
            Problem::Divergence => (Kind::Divergence, String::new()),
            Problem::Division => (Kind::Division, String::new()),
            Problem::Shift { .. } => (Kind::Shift, String::new()),
            Problem::Conversion { .. } => (Kind::Conversion, String::new()),
            Problem::Endless { .. } => (Kind::Endless, String::new()),
            other => panic!("{other:?} is no kind that the table knows"),
        };
        let line =
            |side: &Option<wgsl_sanitizer::Side>| side.as_ref().map_or(0, |side| side.place.line);
        Self::new(kind, variable, [line(&finding.side), line(&finding.other)])
    }
}

impl Row {
    fn run(&self, orders: &[Order]) -> Result<Vec<Finding>, wgsl_sanitizer::Error> {
        let kernel = self.kernel.as_ref().map_err(Clone::clone)?;
        let mut buffers = Vec::new();
        let mut dispatch = Dispatch::new(self.workgroups);
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for binding in kernel.bindings() {
            let words = self.bound.get(&binding.name).map_or("64", |words| &**words);
            let (contents, range) = split_range(words);
            let at = match contents.strip_prefix('@') {
                Some(other) => *places
                    .get(other)
                    .unwrap_or_else(|| panic!("{words}: {other} is bound after it, or not")),
                None => {
                    buffers.push(buffer(binding, contents));
                    buffers.len() - 1
                }
            };
            places.insert(&binding.name, at);
            dispatch = match range {
                Some(range) => dispatch.bind_range(binding.group, binding.binding, at, range),
                None => dispatch.bind(binding.group, binding.binding, at),
            };
        }
        let settings = self.settings.clone().orders(orders.iter().copied());
        Ok(sanitize(kernel, &dispatch, &mut buffers, &settings)?.findings)
    }

    /// Returns a message with the differences between the actual and the expected findings; `None` if there are none.
    pub(crate) fn wrong(&self) -> Option<String> {
        let entry = &self.entry;
        let findings = match self.run(&self.settings.orders) {
            Ok(findings) => findings,
            Err(error) => return Some(format!("{entry}: {error}")),
        };
        let found: BTreeSet<Expected> = findings.iter().map(Expected::of).collect();
        if found != self.expected {
            let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
            let missed: Vec<_> = self.expected.difference(&found).collect();
            let wrong: Vec<_> = found.difference(&self.expected).collect();
            return Some(format!(
                "{entry}: missed {missed:?}, not expected {wrong:?}\n{}",
                told.join("\n")
            ));
        }
        self.wrong_in_one_order()
    }

    /// Checks that each of several orders, run alone, finds a race if the kernel has one. One order is enough, because
    /// the sanitizer detects a race from the missing synchronization of two accesses, not from their values.
    fn wrong_in_one_order(&self) -> Option<String> {
        let is_race = |one: &Expected| one.kind == Kind::Race;
        // If results depend on the order, a racing value may control a branch, and another race may then not occur in
        // every order.
        if self.expected.iter().any(|one| one.kind == Kind::Order) {
            return None;
        }
        let orders = [
            Order::Forward,
            Order::Backward,
            Order::Random(1),
            Order::Random(2),
        ];
        for order in orders {
            let findings = self.run(&[order]).unwrap_or_default();
            let found: BTreeSet<Expected> = findings.iter().map(Expected::of).collect();
            let is_racy = self.expected.iter().any(is_race);
            if found.iter().any(is_race) != is_racy || found.is_empty() != self.expected.is_empty()
            {
                let entry = &self.entry;
                return Some(format!("{entry}: {order:?} alone finds {found:?}"));
            }
        }
        None
    }
}

/// Splits a buffer's text into its contents and its bound range in bytes.
fn split_range(text: &str) -> (&str, Option<Range<u64>>) {
    let Some((contents, range)) = text.split_once('[') else {
        return (text, None);
    };
    let ends = range
        .strip_suffix(']')
        .and_then(|range| range.split_once(".."));
    let end = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text} is no byte"));
    let range = ends.map(|(start, last)| end(start)..end(last));
    (
        contents,
        Some(range.unwrap_or_else(|| panic!("{text}: no range"))),
    )
}

fn buffer(binding: &Binding, contents: &str) -> Buffer {
    let is_float = binding.ty.contains("f32");
    let count = |text: &str| {
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is no count"))
    };
    if let Some(words) = contents.strip_prefix("zeros:") {
        return Buffer::zeros(count(words));
    }
    if let Some(words) = contents.strip_prefix("unwritten:") {
        return Buffer::unwritten(count(words));
    }
    if contents.contains([',', '.', '-']) {
        let word = |text: &str| match text.parse::<i64>() {
            // Negative numbers become two's complement.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok(number) if !is_float => number as u32,
            _ => match text.parse::<f32>() {
                Ok(number) => number.to_bits(),
                Err(_) => panic!("{text} is no number"),
            },
        };
        let words = contents
            .split(',')
            .filter(|text| !text.is_empty())
            .map(word);
        return Buffer::from_u32s(&words.collect::<Vec<u32>>());
    }
    // The number is exact in single precision.
    #[allow(clippy::cast_precision_loss)]
    let word = |index: u32| {
        if is_float {
            (index as f32).to_bits()
        } else {
            index
        }
    };
    let words = (0..).map(word).take(count(contents));
    Buffer::from_u32s(&words.collect::<Vec<u32>>())
}
