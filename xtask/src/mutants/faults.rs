//! Finds all single faults of a shader. A fault changes or removes one token, argument or statement.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use super::changes::{Change, changes};

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A barrier is missing.
    Barrier,
    /// `<` becomes `<=`, `==` becomes `!=`, and the like.
    Comparison,
    /// `+` becomes `-`, `*` becomes `+`, and the like.
    Arithmetic,
    /// `&&` becomes `||`, or `||` becomes `&&`.
    Logic,
    /// `<<` becomes `>>`, `&` becomes `|`, and the like.
    Bits,
    /// An integer is one larger, or one smaller.
    Integer,
    /// A float is doubled; 0 becomes 1.
    Float,
    /// A number in a constant's value is changed, as in `Integer` or `Float`.
    Constant,
    /// `min` becomes `max`, `exp` becomes `exp2`, and the like.
    Function,
    /// An assignment, a call or a jump is missing.
    Statement,
    /// An index is one larger.
    Index,
    /// `=` becomes `+=`, and the like.
    Assignment,
    /// The values of a `select` are swapped.
    Select,
    /// `x` of a built-in value becomes `y`, or `y` becomes `x`.
    Component,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Barrier,
        Self::Comparison,
        Self::Arithmetic,
        Self::Logic,
        Self::Bits,
        Self::Integer,
        Self::Float,
        Self::Constant,
        Self::Function,
        Self::Statement,
        Self::Index,
        Self::Assignment,
        Self::Select,
        Self::Component,
    ];

    /// Returns the kind's name in tables and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Comparison => "comparison",
            Self::Arithmetic => "arithmetic",
            Self::Logic => "logic",
            Self::Bits => "bits",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Constant => "constant",
            Self::Function => "function",
            Self::Statement => "statement",
            Self::Index => "index",
            Self::Assignment => "assignment",
            Self::Select => "select",
            Self::Component => "component",
        }
    }
}

/// One fault in a shader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The shader's name and a hash of the function's name and of `before` and `after`. Edits elsewhere in the shader
    /// file do not change the id.
    pub(crate) id: String,
    /// File name without `.wgsl`.
    pub(crate) shader: String,
    pub(crate) kind: Kind,
    /// Name of the enclosing function; empty outside functions.
    pub(crate) function: String,
    /// Line number, from 1.
    pub(crate) line: usize,
    /// The line without and with the fault. If the fault spans several lines, they are joined into one.
    pub(crate) before: String,
    pub(crate) after: String,
    /// The byte range in the shader's text that is replaced, and its replacement.
    pub(crate) range: Range<usize>,
    pub(crate) replacement: String,
}

impl Fault {
    /// Returns the shader's text with the fault.
    pub(crate) fn planted_in(&self, text: &str) -> String {
        let mut faulty = text.to_owned();
        faulty.replace_range(self.range.clone(), &self.replacement);
        faulty
    }

    pub(crate) fn place(&self) -> String {
        format!("shaders/{}.wgsl:{}", self.shader, self.line)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, .. } = self;
        writeln!(f, "{id}  {}  {}", self.place(), kind.name())?;
        writeln!(f, "    - {}", self.before)?;
        write!(f, "    + {}", self.after)
    }
}

/// Returns all faults of a shader, in the order of the text.
pub(crate) fn faults(shader: &str, text: &str) -> Vec<Fault> {
    let mut changes = changes(text);
    changes.sort_by_key(|change| (change.range.start, change.range.end));
    let mut seen = HashSet::new();
    changes.retain(|change| seen.insert((change.range.clone(), change.replacement.clone())));
    let mut same = HashMap::new();
    let fault = |change: Change| {
        let Change {
            kind,
            range,
            replacement,
            function,
        } = change;
        let start = text[..range.start].rfind('\n').map_or(0, |end| end + 1);
        let end = text[range.end..].find('\n');
        let end = end.map_or(text.len(), |length| range.end + length);
        let before = in_one_line(&text[start..end]);
        let with = [
            &text[start..range.start],
            &*replacement,
            &text[range.end..end],
        ];
        let after = in_one_line(&with.concat());
        let key = [&*function, &*before, &*after].join("\n");
        // Identical lines in a function get different ids: their number is part of the hash.
        let earlier = same.entry(key.clone()).or_insert(0);
        *earlier += 1;
        Fault {
            id: format!("{shader}-{:08x}", hash(&format!("{key}\n{earlier}"))),
            shader: shader.to_owned(),
            kind,
            line: 1 + text[..range.start].matches('\n').count(),
            function,
            before,
            after,
            range,
            replacement,
        }
    };
    changes.into_iter().map(fault).collect()
}

fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// Returns the FNV-1a hash of a text.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests;
