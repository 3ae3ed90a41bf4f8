//! Sizes of types in slots and in bytes, and the positions of their parts.

use naga::proc::{Alignment, IndexableLength};
use naga::{
    ArraySize, Handle, Module, Scalar, ScalarKind, StructMember, Type, TypeInner, VectorSize,
};

use crate::layout::{self, Member, Part};
use crate::math::Number;

/// A kind of scalar that the interpreter supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number(Number),
    Bool,
}

pub(super) fn kind(scalar: Scalar) -> Result<Kind, &'static str> {
    Ok(match (scalar.kind, scalar.width) {
        (ScalarKind::Float, 4) => Kind::Number(Number::F32),
        (ScalarKind::Float, 2) => Kind::Number(Number::F16),
        (ScalarKind::Sint, 4) => Kind::Number(Number::I32),
        (ScalarKind::Uint, 4) => Kind::Number(Number::U32),
        (ScalarKind::Bool, _) => Kind::Bool,
        (ScalarKind::Float, _) => return Err("the type f64"),
        (ScalarKind::Sint, 2) => return Err("the type i16"),
        (ScalarKind::Uint, 2) => return Err("the type u16"),
        (ScalarKind::Sint, _) => return Err("the type i64"),
        (ScalarKind::Uint, _) => return Err("the type u64"),
        (ScalarKind::AbstractInt | ScalarKind::AbstractFloat, _) => {
            return Err("an abstract number that is left at run time");
        }
    })
}

/// Converts a scalar type that [`kind`] supports to the public type.
fn number_of(scalar: Scalar) -> layout::Scalar {
    match kind(scalar) {
        Ok(Kind::Number(Number::F32)) => layout::Scalar::F32,
        Ok(Kind::Number(Number::F16)) => layout::Scalar::F16,
        Ok(Kind::Number(Number::I32)) => layout::Scalar::I32,
        Ok(Kind::Bool) => layout::Scalar::Bool,
        Ok(Kind::Number(Number::U32)) | Err(_) => layout::Scalar::U32,
    }
}

/// A part of a value whose scalars are consecutive in the slots and also consecutive in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) byte: u32,
    pub(super) slot: u32,
    /// The number of scalars in the run.
    pub(super) count: u32,
    pub(super) is_half: bool,
}

/// Answers questions about the types of a module.
#[derive(Clone, Copy)]
pub(super) struct Types<'a> {
    pub(super) module: &'a Module,
}

impl<'a> Types<'a> {
    pub(super) fn inner(self, ty: Handle<Type>) -> &'a TypeInner {
        &self.module.types[ty].inner
    }

    /// Returns the number of slots of a value. An array of unknown length counts as one element.
    pub(super) fn slots(self, inner: &TypeInner) -> u32 {
        match *inner {
            TypeInner::Scalar(_) | TypeInner::Atomic(_) => 1,
            TypeInner::Vector { size, .. } => size as u32,
            TypeInner::Matrix { columns, rows, .. } => columns as u32 * rows as u32,
            TypeInner::Array { base, size, .. } => self
                .count(size)
                .saturating_mul(self.slots(self.inner(base))),
            TypeInner::Struct { ref members, .. } => {
                let slots = members
                    .iter()
                    .map(|member| self.slots(self.inner(member.ty)));
                slots.fold(0, u32::saturating_add)
            }
            _ => 0,
        }
    }

    /// Returns the name of the first part of this type that the interpreter does not support; `None` if it supports the
    /// whole type.
    pub(super) fn unknown(self, inner: &TypeInner) -> Option<&'static str> {
        match *inner {
            TypeInner::Array { base, .. } => self.unknown(self.inner(base)),
            TypeInner::Struct { ref members, .. } => members
                .iter()
                .find_map(|member| self.unknown(self.inner(member.ty))),
            _ => kind(self.scalar(inner)?).err(),
        }
    }

    /// Returns the number of elements of an array; 1 if its length is unknown.
    fn count(self, size: ArraySize) -> u32 {
        self.known_count(size).unwrap_or(1)
    }

    /// Returns the number of elements of an array; `None` if its length is unknown.
    pub(super) fn known_count(self, size: ArraySize) -> Option<u32> {
        match size.resolve(self.module.to_ctx()) {
            Ok(IndexableLength::Known(count)) => Some(count),
            Ok(IndexableLength::Dynamic) | Err(_) => None,
        }
    }

    /// Returns the distance from one column of a matrix to the next, in bytes.
    pub(super) fn column_stride(rows: VectorSize, scalar: Scalar) -> u32 {
        Alignment::from(rows) * u32::from(scalar.width)
    }

    /// Returns the scalar type of a scalar, a vector or a matrix; `None` for other types.
    pub(super) fn scalar(self, inner: &TypeInner) -> Option<Scalar> {
        match *inner {
            TypeInner::Scalar(scalar)
            | TypeInner::Atomic(scalar)
            | TypeInner::Vector { scalar, .. }
            | TypeInner::Matrix { scalar, .. } => Some(scalar),
            _ => None,
        }
    }

    /// Returns the layout of a value: positions in bytes if `in_bytes`, else in slots.
    pub(super) fn layout(self, inner: &TypeInner, in_bytes: bool) -> Part {
        let width = |scalar: Scalar| if in_bytes { scalar.width.into() } else { 1 };
        let vector = |size: VectorSize, scalar: Scalar| Part::Vector {
            scalar: number_of(scalar),
            count: size as u64,
            stride: width(scalar),
        };
        match *inner {
            TypeInner::Vector { size, scalar } => vector(size, scalar),
            TypeInner::Matrix {
                columns,
                rows,
                scalar,
            } => Part::Array {
                element: Box::new(vector(rows, scalar)),
                count: Some(columns as u64),
                stride: if in_bytes {
                    Self::column_stride(rows, scalar).into()
                } else {
                    rows as u64
                },
            },
            TypeInner::Array { base, size, stride } => {
                let base = self.inner(base);
                let slots = self.slots(base);
                Part::Array {
                    element: Box::new(self.layout(base, in_bytes)),
                    count: self.known_count(size).map(u64::from),
                    stride: if in_bytes { stride } else { slots }.into(),
                }
            }
            TypeInner::Struct { ref members, .. } => {
                let mut slots = 0;
                let member = |member: &StructMember| {
                    let inner = self.inner(member.ty);
                    let at = if in_bytes { member.offset } else { slots };
                    slots += self.slots(inner);
                    Member {
                        name: member.name.clone().unwrap_or_default(),
                        at: at.into(),
                        part: self.layout(inner, in_bytes),
                    }
                };
                Part::Struct(members.iter().map(member).collect())
            }
            // `bind` has refused all other types.
            _ => Part::Scalar(self.scalar(inner).map_or(layout::Scalar::U32, number_of)),
        }
    }

    /// Appends the runs of a value that starts at `byte` in the buffer and at `slot` in the slots.
    pub(super) fn runs(self, inner: &TypeInner, byte: u32, slot: u32, runs: &mut Vec<Run>) {
        let mut push = |run: Run| match runs.last_mut() {
            Some(last) if follows(last, &run) => last.count += run.count,
            _ => runs.push(run),
        };
        match *inner {
            TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => {
                push(run(scalar, byte, slot, 1));
            }
            TypeInner::Vector { size, scalar } => push(run(scalar, byte, slot, size as u32)),
            TypeInner::Matrix {
                columns,
                rows,
                scalar,
            } => {
                let stride = Self::column_stride(rows, scalar);
                for column in 0..columns as u32 {
                    let rows = rows as u32;
                    push(run(
                        scalar,
                        byte + column * stride,
                        slot + column * rows,
                        rows,
                    ));
                }
            }
            TypeInner::Array { base, size, stride } => {
                let base = self.inner(base);
                let count = self.count(size);
                let slots = self.slots(base);
                let mut first = Vec::new();
                self.runs(base, byte, slot, &mut first);
                match first[..] {
                    // An array of 32-bit numbers without padding is one run.
                    [one] if !one.is_half && one.count == slots && stride == 4 * slots => {
                        push(Run {
                            count: one.count * count,
                            ..one
                        });
                    }
                    _ => (0..count).for_each(|element| {
                        self.runs(base, byte + element * stride, slot + element * slots, runs);
                    }),
                }
            }
            TypeInner::Struct { ref members, .. } => {
                let mut slot = slot;
                for member in members {
                    let inner = self.inner(member.ty);
                    self.runs(inner, byte + member.offset, slot, runs);
                    slot += self.slots(inner);
                }
            }
            _ => {}
        }
    }
}

fn run(scalar: Scalar, byte: u32, slot: u32, count: u32) -> Run {
    Run {
        byte,
        slot,
        count,
        is_half: scalar.width == 2,
    }
}

fn follows(last: &Run, next: &Run) -> bool {
    let width = if last.is_half { 2 } else { 4 };
    last.is_half == next.is_half
        && last.slot + last.count == next.slot
        && last.byte + width * last.count == next.byte
}
