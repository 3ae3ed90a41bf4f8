//! How the user names bindings and types.

use std::fmt;
use std::str::FromStr;

use wgsl_sanitizer::{Binding, BindingKind, Layout};

/// A binding, as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// By its numbers: `@group` and `@binding`.
    At(u32, u32),
    /// By the name of its variable.
    Variable(String),
}

impl Target {
    /// Parses the binding at the start of a text. Also returns the rest, without the colon that may follow the binding.
    pub(super) fn with_rest(text: &str) -> Result<(Self, &str), String> {
        let text = text.trim();
        let start = text.find('[').unwrap_or(text.len());
        let mut end = start;
        let mut parts = text[..start].split(':');
        let number = |part: Option<&str>| part.and_then(|part| part.parse().ok());
        let first = parts.next().unwrap_or("");
        let (target, length) = match (number(Some(first)), parts.next()) {
            (Some(group), Some(second)) if number(Some(second)).is_some() => {
                let binding = number(Some(second)).unwrap_or(0);
                (Self::At(group, binding), first.len() + 1 + second.len())
            }
            (Some(binding), _) => (Self::At(0, binding), first.len()),
            (None, _) if is_name(first) => (Self::Variable(first.to_owned()), first.len()),
            (None, _) => {
                return Err(format!(
                    "`{first}` names no binding: expected 0:1 (group and binding), 1 (of group 0), or a variable"
                ));
            }
        };
        end = length.min(end);
        let rest = &text[end..];
        Ok((target, rest.strip_prefix(':').unwrap_or(rest)))
    }

    pub(super) fn is(&self, binding: &Binding) -> bool {
        match self {
            Self::At(group, number) => (*group, *number) == (binding.group, binding.binding),
            Self::Variable(name) => *name == binding.name,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Self::with_rest(text)? {
            (target, "") => Ok(target),
            (_, rest) => Err(format!(
                "expected nothing after the binding in `{text}`, found `{rest}`"
            )),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(group, binding) => write!(f, "{group}:{binding}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    text.chars().all(is_part)
        && !text.is_empty()
        && !text.starts_with(|first: char| first.is_numeric())
}

/// Displays a binding as its declaration in WGSL, followed by its size in bytes.
pub(super) struct Declared<'a>(pub(super) &'a Binding);

impl fmt::Display for Declared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding {
            group,
            binding,
            name,
            ty,
            least_bytes,
            ..
        } = self.0;
        let kind = match self.0.kind {
            BindingKind::Uniform => "uniform",
            BindingKind::Read => "storage, read",
            BindingKind::ReadWrite => "storage, read_write",
            _ => "of another kind",
        };
        let at_least = match self.0.layout.elements() {
            None => "",
            Some(_) => " at least",
        };
        write!(
            f,
            "@group({group}) @binding({binding}) var<{kind}> {name}: {ty}, {least_bytes} bytes{at_least}"
        )
    }
}

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    F32,
    U32,
    I32,
    F16,
    Bytes,
}

impl Scalar {
    const ALL: [(&'static str, Self); 5] = [
        ("f32", Self::F32),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("f16", Self::F16),
        ("bytes", Self::Bytes),
    ];

    pub(super) fn named(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|&(known, _)| known == name);
        known.map(|(_, scalar)| scalar).ok_or_else(|| {
            format!("`{name}` is not a type of numbers: expected f32, u32, i32, f16 or bytes")
        })
    }

    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::Bytes => 1,
        }
    }
}

impl From<wgsl_sanitizer::Scalar> for Scalar {
    fn from(scalar: wgsl_sanitizer::Scalar) -> Self {
        match scalar {
            wgsl_sanitizer::Scalar::F32 => Self::F32,
            wgsl_sanitizer::Scalar::F16 => Self::F16,
            wgsl_sanitizer::Scalar::I32 => Self::I32,
            // A `bool` cannot occur in a buffer, so this is `u32`.
            _ => Self::U32,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, scalar)| scalar == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// Returns how many numbers lie before the first element of an array of unknown length, and how many lie in each
/// element. `(at, stride)` is the result of [`Layout::elements`].
pub(super) fn numbers_of(layout: &Layout, (at, stride): (u64, u64)) -> [u64; 2] {
    let [before, with_one] = [at, at + stride].map(|bytes| layout.numbers(bytes).count() as u64);
    [before, with_one - before]
}
