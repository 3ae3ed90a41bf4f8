//! The position of each number in a variable, and its path in WGSL (`[3].position.x`).

use std::fmt::{self, Display, Formatter};

use half::f16;

/// The type of a number in a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scalar {
    /// `f32`.
    F32,
    /// `f16`.
    F16,
    /// `i32`.
    I32,
    /// `u32`.
    U32,
    /// `bool`. It cannot occur in a buffer.
    Bool,
}

impl Scalar {
    /// Returns the size of a number in a buffer, in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::I32 | Self::U32 | Self::Bool => 4,
        }
    }

    /// Returns the number with these bits, as text. An `f16` is in the low 16 bits.
    #[must_use]
    pub fn text(self, bits: u32) -> String {
        // An `f16` is in the low 16 bits.
        #[allow(clippy::cast_possible_truncation)]
        match self {
            Self::F32 => format!("{:?}", f32::from_bits(bits)),
            Self::F16 => format!("{:?}", f16::from_bits(bits as u16)),
            Self::I32 => bits.cast_signed().to_string(),
            Self::U32 => bits.to_string(),
            Self::Bool => (bits != 0).to_string(),
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::Bool => "bool",
        })
    }
}

/// The position of each number in a variable. For a variable that is bound to a buffer, a position is a byte offset.
/// For a variable in workgroup memory, which has no layout in bytes, a position is a number of scalars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(pub(crate) Part);

/// A type, with the positions of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Scalar(Scalar),
    Vector {
        scalar: Scalar,
        count: u64,
        stride: u64,
    },
    /// An array, or the columns of a matrix.
    Array {
        element: Box<Part>,
        /// The number of elements. `None` for an array of unknown length: the bound range decides.
        count: Option<u64>,
        stride: u64,
    },
    Struct(Vec<Member>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) at: u64,
    pub(crate) part: Part,
}

impl Layout {
    /// Returns the position and type of the first number at or after position `at`. It may lie beyond the bound range.
    #[must_use]
    pub fn number(&self, at: u64) -> Option<(u64, Scalar)> {
        self.0.number(at)
    }

    /// Iterates over the numbers in the first `bytes` bytes. Yields the position and type of each.
    pub fn numbers(&self, bytes: u64) -> impl Iterator<Item = (u64, Scalar)> {
        let within = move |&(at, scalar): &(u64, Scalar)| at + scalar.bytes() <= bytes;
        let next = |&(at, scalar): &(u64, Scalar)| self.number(at + scalar.bytes());
        std::iter::successors(self.number(0), next).take_while(within)
    }

    /// Returns the path of the number at position `at`, such as `[3].position.x`. The variable's name and the path make
    /// a WGSL expression.
    #[must_use]
    pub fn path(&self, at: u64) -> String {
        let mut path = String::new();
        self.0.path(at, &mut path);
        path
    }

    /// Returns the position of the first element of the array of unknown length, and the stride between its elements.
    /// Returns `None` if the variable has a fixed length.
    #[must_use]
    pub fn elements(&self) -> Option<(u64, u64)> {
        self.0.elements()
    }
}

impl Part {
    fn number(&self, at: u64) -> Option<(u64, Scalar)> {
        match *self {
            Self::Scalar(scalar) => (at == 0).then_some((0, scalar)),
            Self::Vector {
                scalar,
                count,
                stride,
            } => {
                let index = at.div_ceil(stride);
                (index < count).then_some((index * stride, scalar))
            }
            Self::Array {
                ref element,
                count,
                stride,
            } => {
                let is_there = |index: u64| count.is_none_or(|count| index < count);
                let index = at / stride;
                let of = |index: u64, at: u64| {
                    let (at, scalar) = element.number(at).filter(|_| is_there(index))?;
                    Some((index * stride + at, scalar))
                };
                of(index, at % stride).or_else(|| of(index + 1, 0))
            }
            Self::Struct(ref members) => members.iter().find_map(|member| {
                let (inside, scalar) = member.part.number(at.saturating_sub(member.at))?;
                Some((member.at + inside, scalar))
            }),
        }
    }

    fn path(&self, at: u64, path: &mut String) {
        match self {
            Self::Scalar(_) => {}
            Self::Vector { stride, .. } => {
                let index = usize::try_from(at / stride).unwrap_or(usize::MAX);
                path.push('.');
                path.push(*['x', 'y', 'z', 'w'].get(index).unwrap_or(&'?'));
            }
            Self::Array {
                element, stride, ..
            } => {
                path.push_str(&format!("[{}]", at / stride));
                element.path(at % stride, path);
            }
            Self::Struct(members) => {
                if let Some(member) = members.iter().rfind(|member| member.at <= at) {
                    path.push('.');
                    path.push_str(&member.name);
                    member.part.path(at - member.at, path);
                }
            }
        }
    }

    fn elements(&self) -> Option<(u64, u64)> {
        match self {
            Self::Array {
                count: None,
                stride,
                ..
            } => Some((0, *stride)),
            Self::Struct(members) => {
                let last = members.last()?;
                let (at, stride) = last.part.elements()?;
                Some((last.at + at, stride))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shader;

    /// Returns the layout of a binding of type `ty`.
    fn layout(ty: &str) -> Layout {
        let text = format!(
            "enable f16;
             struct Inner {{ a: vec3<f32>, b: u32, c: mat3x3<f32> }}
             struct Outer {{ n: atomic<u32>, inner: array<Inner, 2>, rest: array<vec2<f16>> }}
             @group(0) @binding(0) var<storage, read_write> x: {ty};
             @compute @workgroup_size(1) fn main() {{ _ = &x; }}"
        );
        let shader = Shader::parse("a.wgsl", &text).unwrap_or_else(|error| panic!("{error}"));
        let kernel = shader.kernel("main", &[]);
        let kernel = kernel.unwrap_or_else(|error| panic!("{error}"));
        kernel.bindings()[0].layout.clone()
    }

    fn paths(ty: &str, bytes: u64) -> Vec<String> {
        let layout = layout(ty);
        let numbers = layout.numbers(bytes);
        numbers
            .map(|(at, scalar)| format!("{at} {scalar} {}", layout.path(at)))
            .collect()
    }

    #[test]
    fn numbers_are_named_and_padding_is_left_out() {
        assert_eq!(paths("u32", 4), ["0 u32 "]);
        assert_eq!(
            paths("array<vec3<i32>>", 32),
            [
                "0 i32 [0].x",
                "4 i32 [0].y",
                "8 i32 [0].z",
                "16 i32 [1].x",
                "20 i32 [1].y",
                "24 i32 [1].z",
            ]
        );
        let all = paths("Outer", 152);
        assert_eq!(
            all[..3],
            ["0 u32 .n", "16 f32 .inner[0].a.x", "20 f32 .inner[0].a.y"]
        );
        assert_eq!(all[4..6], ["28 u32 .inner[0].b", "32 f32 .inner[0].c[0].x"]);
        assert_eq!(all[8], "48 f32 .inner[0].c[1].x");
        assert_eq!(
            all[27..],
            [
                "144 f16 .rest[0].x",
                "146 f16 .rest[0].y",
                "148 f16 .rest[1].x",
                "150 f16 .rest[1].y"
            ]
        );
    }

    #[test]
    fn the_elements_of_unknown_number_are_known() {
        assert_eq!(layout("array<vec3<f32>>").elements(), Some((0, 16)));
        assert_eq!(layout("Outer").elements(), Some((144, 4)));
        assert_eq!(layout("array<f32, 3>").elements(), None);
        assert_eq!(layout("Inner").elements(), None);
    }

    #[test]
    fn numbers_are_shown_by_their_types() {
        assert_eq!(Scalar::F32.text(1.5f32.to_bits()), "1.5");
        assert_eq!(Scalar::I32.text(u32::MAX), "-1");
        assert_eq!(Scalar::U32.text(u32::MAX), "4294967295");
        assert_eq!(Scalar::F16.text(0xabcd_3c00), "1.0");
        assert_eq!(Scalar::Bool.text(1), "true");
    }
}
