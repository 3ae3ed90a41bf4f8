//! Tensors with guard bands, which reveal accesses out of bounds. The checks of layers, losses and optimizers use them,
//! and so do this crate's own tests.
//!
//! Kernels of this crate are compiled without bounds checks, so a test has to detect their accesses out of bounds.
//! Every tensor here has a guard band before its elements and one after them; the second band is part of the binding.
//! The bands of an input contain NaN: a kernel that reads them computes NaN. The bands of an output contain a number,
//! so that a NaN written there is noticed. If they contained NaN, the written NaN might have the same bits.

use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::shape::TensorShape;
use crate::tensor::Tensor;

/// Bits of each element in the guard bands of inputs: a NaN.
const INPUT_GUARD: u32 = 0x7fc0_dead;
/// Bits of each element in the guard bands of tensors that kernels may change: 1234.5678.
const OUTPUT_GUARD: u32 = 0x449a_522b;
/// Bits of each element of an output before it is written: a NaN with other bits than [`INPUT_GUARD`].
const POISON: u32 = 0x7fc0_beef;
/// Number of elements in the first guard band: a multiple of every offset alignment.
const FRONT: usize = 64;

/// The bits of a tensor before kernels run, and how kernels may change them.
#[derive(Debug, Clone, Copy)]
pub enum Contents<'a> {
    /// Kernels must not change the tensor.
    Input(&'a [u32]),
    /// Kernels may change the tensor's elements.
    Changed(&'a [u32]),
    /// Kernels must write all elements of the tensor.
    Output,
}

/// Describes a tensor that is to get guard bands.
#[derive(Debug, Clone)]
pub struct GuardSpec<'a> {
    label: String,
    shape: TensorShape,
    element: Element,
    contents: Contents<'a>,
}

impl<'a> GuardSpec<'a> {
    /// Describes a tensor of `f32`. `contents` must have the bits of as many elements as the shape has.
    ///
    /// # Panics
    /// When the number of bit patterns differs from the number of elements.
    pub fn new(
        label: impl Into<String>,
        shape: impl Into<TensorShape>,
        contents: Contents<'a>,
    ) -> Self {
        let label = label.into();
        let shape = shape.into();
        if let Contents::Input(bits) | Contents::Changed(bits) = contents {
            assert_eq!(bits.len(), shape.len(), "guard: values of {label}");
        }
        Self {
            label,
            shape,
            element: Element::F32,
            contents,
        }
    }

    /// Changes the element type to `u32`.
    #[must_use]
    pub fn of_u32(self) -> Self {
        Self {
            element: Element::U32,
            ..self
        }
    }

    /// Places the tensor in a buffer of its own, with its guard bands.
    ///
    /// # Errors
    /// The errors of [`Tensor::zeros`].
    pub fn place(&self, gpu: &Gpu) -> Result<Guarded, Error> {
        let buffer = Tensor::zeros(gpu, &*self.label, [1, self.room()], Element::U32)?;
        self.placed(gpu, &buffer, 0)
    }

    /// Places several tensors in one buffer, each with its guard bands. A network places tensors of one role in the
    /// same way.
    ///
    /// # Errors
    /// The errors of [`Tensor::zeros`].
    pub fn place_together(specs: &[Self], gpu: &Gpu) -> Result<Vec<Guarded>, Error> {
        let rooms = specs.iter().map(Self::room);
        let room = rooms.fold(0, usize::saturating_add);
        if room == 0 {
            return Ok(Vec::new());
        }
        let buffer = Tensor::zeros(gpu, "tensors of one role", [1, room], Element::U32)?;
        let mut start = 0;
        let placed = specs.iter().map(|spec| {
            let placed = spec.placed(gpu, &buffer, start);
            start += spec.room();
            placed
        });
        placed.collect()
    }

    /// Number of elements that the tensor takes in a buffer, guard bands included. The second band is as large as the
    /// most rows that a workgroup of any kernel accesses, so it also covers a workgroup that begins at the last
    /// element. On overflow, the number is `usize::MAX`, which no device can allocate.
    fn room(&self) -> usize {
        let columns = self.shape.row.len().min(1024);
        let room = self.shape.len().saturating_add(FRONT + 40 * columns + 1024);
        room.checked_next_multiple_of(FRONT).unwrap_or(usize::MAX)
    }

    /// Places the tensor in `buffer` at element `start`, a multiple of [`FRONT`].
    fn placed(&self, gpu: &Gpu, buffer: &Tensor, start: usize) -> Result<Guarded, Error> {
        let guard = match self.contents {
            Contents::Input(_) => INPUT_GUARD,
            Contents::Changed(_) | Contents::Output => OUTPUT_GUARD,
        };
        let mut before = vec![guard; FRONT];
        match self.contents {
            Contents::Input(bits) | Contents::Changed(bits) => before.extend_from_slice(bits),
            Contents::Output => before.resize(FRONT + self.shape.len(), POISON),
        }
        before.resize(self.room(), guard);
        let part = |from: usize, shape: TensorShape, element| {
            let [offset, end] = [start + from, start + before.len()].map(|at| 4 * at as u64);
            let buffer = buffer.buffer().0;
            let span = end - offset;
            Tensor::in_buffer(gpu, &*self.label, buffer, offset, span, shape, element)
        };
        let whole = part(0, [1, before.len()].into(), Element::U32)?;
        gpu.write(&whole, &before)?;
        Ok(Guarded {
            tensor: part(FRONT, self.shape, self.element)?,
            whole,
            before,
            role: match self.contents {
                Contents::Input(_) => Role::Input,
                Contents::Changed(_) => Role::Changed,
                Contents::Output => Role::Output,
            },
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Input,
    Changed,
    Output,
}

/// A tensor with guard bands.
#[derive(Debug)]
pub struct Guarded {
    tensor: Tensor,
    /// The tensor including its guard bands.
    whole: Tensor,
    before: Vec<u32>,
    role: Role,
}

/// A rule that kernels have broken on a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// Not all elements of an output were written.
    Unwritten {
        /// Index of the first element that was not written.
        element: usize,
    },
    /// Elements of an input were changed.
    Input {
        /// Number of elements that changed.
        count: usize,
    },
    /// Elements before the start of the tensor were changed.
    Before {
        /// Number of elements that changed.
        count: usize,
    },
    /// Elements after the end of the tensor were changed.
    After {
        /// Number of elements that changed.
        count: usize,
    },
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritten { element } => write!(f, "element {element} was not written"),
            Self::Input { count } => write!(f, "{count} elements of the input itself"),
            Self::Before { count } => write!(f, "{count} elements before the start"),
            Self::After { count } => write!(f, "{count} elements after the end"),
        }
    }
}

impl Guarded {
    /// The tensor to pass to kernels.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Reads the bits of the elements after kernels have run. Returns a [`Touch`] if kernels have broken a rule.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`].
    pub async fn read(&self, gpu: &Gpu) -> Result<Result<Vec<u32>, Touch>, Error> {
        let mut after: Vec<u32> = gpu.read_async(&self.whole).await?;
        let end = FRONT + self.tensor.len();
        let changed = |range: Range<usize>| {
            let pairs = after[range.clone()].iter().zip(&self.before[range]);
            pairs.filter(|(after, before)| after != before).count()
        };
        let before = changed(0..FRONT);
        let behind = changed(end..after.len());
        let of_input = match self.role {
            Role::Input => changed(FRONT..end),
            Role::Changed | Role::Output => 0,
        };
        let touches = [
            (before, Touch::Before { count: before }),
            (behind, Touch::After { count: behind }),
            (of_input, Touch::Input { count: of_input }),
        ];
        for (count, touch) in touches {
            if count > 0 {
                return Ok(Err(touch));
            }
        }
        after.truncate(end);
        after.drain(..FRONT);
        let unwritten = after.iter().position(|&bits| bits == POISON);
        match unwritten.filter(|_| self.role == Role::Output) {
            Some(element) => Ok(Err(Touch::Unwritten { element })),
            None => Ok(Ok(after)),
        }
    }
}
