//! Compiles pointers, and the reads and writes through them.

use naga::common::DiagnosticDisplay;
use naga::proc::TypeResolution;
use naga::{Expression, Handle, Scalar, ScalarKind, TypeInner};

use super::types::{Kind, Types, kind};
use super::{Compiler, Frame, Value};
use crate::error::Error;
use crate::math::Number;
use crate::program::{Index, Instruction, Length, NONE};

/// The maximum number of scalars that one instruction moves.
const LONGEST_MOVE: u32 = 240;

/// The memory that a pointer points into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// The invocation's frame.
    Local,
    /// Workgroup memory: an index into the program's variables.
    Workgroup(u16),
    /// A buffer: an index into the program's variables.
    Buffer(u16),
}

/// The whole vector, when a pointer points to one of its components.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    at: u32,
    dynamic: u32,
    count: u8,
    scalar: Scalar,
}

/// A pointer. Its offset is the constant `at` plus the offset that the program computes into the slot `dynamic`. If no
/// offset is computed, `dynamic` is [`NONE`]. Offsets are in bytes for buffers, otherwise in slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    pub(super) root: Root,
    pub(super) at: u32,
    pub(super) dynamic: u32,
    /// The variable's name for messages: an index into the program's names.
    pub(super) name: u32,
    whole: Option<Whole>,
}

impl Pointer {
    pub(super) fn new(root: Root, at: u32, name: u32) -> Self {
        Self {
            root,
            at,
            dynamic: NONE,
            name,
            whole: None,
        }
    }

    fn is_buffer(&self) -> bool {
        matches!(self.root, Root::Buffer(_))
    }
}

/// The layout of the components, columns or elements of the value that a pointer points to.
struct Parts {
    /// The distance from one part to the next, in bytes for buffers, otherwise in slots.
    stride: u32,
    /// The number of parts. `None` for an array of unknown length: the bound range decides.
    count: Option<u32>,
}

impl<'a> Compiler<'a> {
    /// Returns the type that a pointer points to.
    pub(super) fn pointee(&self, pointer: &TypeInner) -> TypeInner {
        match *pointer {
            TypeInner::Pointer { base, .. } => self.types.inner(base).clone(),
            TypeInner::ValuePointer {
                size: Some(size),
                scalar,
                ..
            } => TypeInner::Vector { size, scalar },
            TypeInner::ValuePointer {
                size: None, scalar, ..
            } => TypeInner::Scalar(scalar),
            ref other => other.clone(),
        }
    }

    fn parts(&self, pointer: &Pointer, pointee: &TypeInner) -> Option<Parts> {
        let in_bytes = pointer.is_buffer();
        Some(match *pointee {
            TypeInner::Vector { size, scalar } => Parts {
                stride: if in_bytes { scalar.width.into() } else { 1 },
                count: Some(size as u32),
            },
            TypeInner::Matrix {
                columns,
                rows,
                scalar,
            } => Parts {
                stride: if in_bytes {
                    Types::column_stride(rows, scalar)
                } else {
                    rows as u32
                },
                count: Some(columns as u32),
            },
            TypeInner::Array { base, size, stride } => Parts {
                stride: if in_bytes {
                    stride
                } else {
                    self.types.slots(self.types.inner(base))
                },
                count: self.types.known_count(size),
            },
            _ => return None,
        })
    }

    /// Returns a pointer to an element whose index is computed at run time, in the slot `index`.
    pub(super) fn element(
        &mut self,
        pointer: Pointer,
        pointee: &TypeInner,
        (index, is_signed): (u32, bool),
    ) -> Result<Pointer, Error> {
        let Some(parts) = self.parts(&pointer, pointee) else {
            return Err(self.unsupported("an index of this"));
        };
        let to = self.allocate(3)?;
        let length = match (parts.count, pointer.root) {
            (Some(count), _) => Length::Fixed(count),
            (None, Root::Buffer(variable)) => Length::Bound {
                variable,
                at: pointer.at,
                stride: parts.stride,
            },
            (None, _) => {
                let name = &self.program.names[pointer.name as usize].text;
                return Err(self.unsupported(format!("`{name}`, an array of unknown length, here")));
            }
        };
        let next = u32::try_from(self.program.indices.len()).unwrap_or(u32::MAX);
        self.program.indices.push(Index {
            from: pointer.dynamic,
            index,
            is_signed,
            stride: parts.stride,
            length,
        });
        self.emit_on(Instruction::Index { index: next, to }, pointer.name)?;
        Ok(Pointer {
            dynamic: to,
            whole: whole(&pointer, pointee),
            ..pointer
        })
    }

    /// Returns a pointer to a member, or to an element with a constant index.
    pub(super) fn part(
        &mut self,
        pointer: Pointer,
        pointee: &TypeInner,
        index: u32,
    ) -> Result<Pointer, Error> {
        if let TypeInner::Struct { members, .. } = pointee {
            let offset = if pointer.is_buffer() {
                members[index as usize].offset
            } else {
                self.slots_before(pointee, index)
            };
            return Ok(Pointer {
                at: pointer.at + offset,
                whole: None,
                ..pointer
            });
        }
        match self.parts(&pointer, pointee) {
            Some(Parts {
                stride,
                count: Some(_),
            }) => Ok(Pointer {
                at: pointer.at + index * stride,
                whole: whole(&pointer, pointee),
                ..pointer
            }),
            _ => {
                let slot = self.constant(vec![index])?;
                self.element(pointer, pointee, (slot, false))
            }
        }
    }

    /// Returns the number of slots before part `index` (a member, element, column or component) of a value.
    pub(super) fn slots_before(&self, inner: &TypeInner, index: u32) -> u32 {
        match *inner {
            TypeInner::Struct { ref members, .. } => {
                let before = members.iter().take(index as usize);
                before
                    .map(|member| self.types.slots(self.types.inner(member.ty)))
                    .sum()
            }
            TypeInner::Array { base, .. } => index * self.types.slots(self.types.inner(base)),
            TypeInner::Matrix { rows, .. } => index * rows as u32,
            _ => index,
        }
    }

    /// Emits instructions that read the value behind a pointer into new slots. Returns the first of them.
    pub(super) fn load(&mut self, pointer: Pointer, pointee: &TypeInner) -> Result<u32, Error> {
        let to = self.allocate(self.types.slots(pointee))?;
        self.transfer(pointer, pointee, to, true)?;
        Ok(to)
    }

    /// Emits instructions that write the slots from `from` on to the memory behind a pointer.
    pub(super) fn store(
        &mut self,
        pointer: Pointer,
        pointee: &TypeInner,
        from: u32,
    ) -> Result<(), Error> {
        if let Some(whole) = pointer.whole {
            let Whole {
                at,
                dynamic,
                count,
                scalar,
            } = whole;
            let touch = match pointer.root {
                Root::Local => None,
                Root::Workgroup(_) => Some(Instruction::TouchWorkgroup {
                    count: count.into(),
                    at,
                    dynamic,
                }),
                Root::Buffer(variable) => Some(Instruction::TouchBuffer {
                    count: count * scalar.width,
                    variable,
                    at,
                    dynamic,
                }),
            };
            touch.map_or(Ok(()), |touch| self.emit_on(touch, pointer.name))?;
        }
        self.transfer(pointer, pointee, from, false)
    }

    fn transfer(
        &mut self,
        pointer: Pointer,
        pointee: &TypeInner,
        slot: u32,
        is_load: bool,
    ) -> Result<(), Error> {
        let Pointer {
            at, dynamic, name, ..
        } = pointer;
        let Root::Buffer(variable) = pointer.root else {
            let total = self.types.slots(pointee);
            let is_local = pointer.root == Root::Local;
            if is_local && dynamic == NONE {
                let (to, from) = if is_load { (slot, at) } else { (at, slot) };
                return self.copy(to, from, total);
            }
            for start in (0..total).step_by(usize::from(u16::MAX)) {
                let count = u16::try_from(total - start).unwrap_or(u16::MAX);
                let at = at + start;
                let slot = slot + start;
                let instruction = match (is_local, is_load) {
                    (true, true) => Instruction::LoadLocal {
                        count,
                        to: slot,
                        at,
                        dynamic,
                    },
                    (true, false) => Instruction::StoreLocal {
                        count,
                        from: slot,
                        at,
                        dynamic,
                    },
                    (false, true) => Instruction::LoadWorkgroup {
                        count,
                        to: slot,
                        at,
                        dynamic,
                    },
                    (false, false) => Instruction::StoreWorkgroup {
                        count,
                        from: slot,
                        at,
                        dynamic,
                    },
                };
                self.emit_on(instruction, name)?;
            }
            return Ok(());
        };
        let mut runs = Vec::new();
        self.types.runs(pointee, 0, 0, &mut runs);
        for run in runs {
            let width = if run.is_half { 2 } else { 4 };
            self.program.has_halves |= run.is_half;
            for start in (0..run.count).step_by(LONGEST_MOVE as usize) {
                let count = (run.count - start).min(LONGEST_MOVE);
                let count = u8::try_from(count).unwrap_or(u8::MAX);
                let at = at + run.byte + start * width;
                let slot = slot + run.slot + start;
                let instruction = match (run.is_half, is_load) {
                    (false, true) => Instruction::LoadBuffer {
                        count,
                        variable,
                        to: slot,
                        at,
                        dynamic,
                    },
                    (false, false) => Instruction::StoreBuffer {
                        count,
                        variable,
                        from: slot,
                        at,
                        dynamic,
                    },
                    (true, true) => Instruction::LoadHalves {
                        count,
                        variable,
                        to: slot,
                        at,
                        dynamic,
                    },
                    (true, false) => Instruction::StoreHalves {
                        count,
                        variable,
                        from: slot,
                        at,
                        dynamic,
                    },
                };
                self.emit_on(instruction, name)?;
            }
        }
        Ok(())
    }

    /// Returns the pointer that an expression evaluates to.
    pub(super) fn pointer(
        &mut self,
        frame: &mut Frame<'a>,
        handle: Handle<Expression>,
    ) -> Result<Pointer, Error> {
        match self.value(frame, handle)? {
            Value::Pointer(pointer) => Ok(pointer),
            Value::Slots(_) => Err(self.unsupported("a pointer that is kept as a value")),
        }
    }

    /// Returns the slot of an index, and whether the index is signed.
    pub(super) fn index(
        &mut self,
        frame: &mut Frame<'a>,
        handle: Handle<Expression>,
    ) -> Result<(u32, bool), Error> {
        let slot = self.slots(frame, handle)?;
        let kind = self.inner(frame, handle).scalar_kind();
        Ok((slot, kind == Some(ScalarKind::Sint)))
    }

    /// Returns the kind of a type's scalars. For an unsupported type, the error names the type.
    pub(super) fn kind(&self, inner: &TypeInner) -> Result<Kind, Error> {
        let Some(scalar) = self.types.scalar(inner) else {
            let ty =
                DiagnosticDisplay((&TypeResolution::Value(inner.clone()), self.module.to_ctx()));
            return Err(self.unsupported(format!("this operation on the type {ty}")));
        };
        kind(scalar).map_err(|name| self.unsupported(name))
    }

    pub(super) fn number(&self, inner: &TypeInner) -> Result<Number, Error> {
        match self.kind(inner)? {
            Kind::Number(number) => Ok(number),
            Kind::Bool => Ok(Number::U32),
        }
    }
}

/// Describes the vector that `pointer` points to; `None` if `pointer` points to another type. Pointers to the vector's
/// components store this description.
fn whole(pointer: &Pointer, pointee: &TypeInner) -> Option<Whole> {
    match *pointee {
        TypeInner::Vector { size, scalar } => Some(Whole {
            at: pointer.at,
            dynamic: pointer.dynamic,
            count: size as u8,
            scalar,
        }),
        _ => None,
    }
}
