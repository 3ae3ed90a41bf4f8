//! Tensors between guard bands, which show what a kernel touches outside of them.
//!
//! Around what a kernel reads lies NaN: who reads there computes NaN. Around what it writes lies a
//! number, so that NaN in its place is seen.

use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::tensor::Tensor;

/// Bits of the guard bands of inputs: a NaN.
const INPUT_GUARD: u32 = 0x7fc0_dead;
/// Bits of those of outputs: 1234.5678.
const OUTPUT_GUARD: u32 = 0x449a_522b;
/// Bits of an output before it is written: another NaN.
const POISON: u32 = 0x7fc0_beef;
/// Elements in front, a multiple of every offset alignment.
const FRONT: usize = 64;

#[derive(Debug)]
pub(super) struct Guarded {
    tensor: Tensor,
    /// The same with its guard bands.
    whole: Tensor,
    before: Vec<u32>,
    is_input: bool,
}

/// What happened to a tensor that is not as it should be.
#[derive(Debug)]
pub(super) enum Touch {
    Unwritten { element: usize },
    Stray { found: String },
}

/// A tensor that is to be: an output, where it has no values.
struct Planned<'a> {
    label: &'a str,
    shape: [usize; 2],
    element: Element,
    values: Option<&'a [u32]>,
}

impl<'a> Planned<'a> {
    fn output(label: &'a str, shape: [usize; 2]) -> Self {
        Self {
            label,
            shape,
            element: Element::F32,
            values: None,
        }
    }

    /// Elements that it takes of a buffer with its guard bands, of which the one behind it is wide enough for
    /// a block of rows that starts at the last element.
    fn room(&self) -> usize {
        let [rows, columns] = self.shape;
        (FRONT + rows * columns + 40 * columns.min(1024) + 1024).next_multiple_of(FRONT)
    }

    fn alone(&self, gpu: &Gpu) -> Result<Guarded, Error> {
        let buffer = Tensor::zeros(gpu, self.label, [1, self.room()], Element::U32)?;
        self.placed(gpu, &buffer, 0)
    }

    /// From an element of a buffer on, a multiple of [`FRONT`].
    fn placed(&self, gpu: &Gpu, buffer: &Tensor, start: usize) -> Result<Guarded, Error> {
        let guard = match self.values {
            Some(_) => INPUT_GUARD,
            None => OUTPUT_GUARD,
        };
        let mut before = vec![guard; FRONT];
        match self.values {
            Some(values) => before.extend_from_slice(values),
            None => before.resize(FRONT + self.shape[0] * self.shape[1], POISON),
        }
        before.resize(self.room(), guard);
        let part = |from: usize, shape, element| {
            let [offset, end] = [start + from, start + before.len()].map(|at| 4 * at as u64);
            let (buffer, span) = (buffer.buffer().0, end - offset);
            Tensor::in_buffer(gpu, self.label, buffer, offset, span, shape, element)
        };
        let whole = part(0, [1, before.len()], Element::U32)?;
        gpu.write(&whole, &before)?;
        Ok(Guarded {
            tensor: part(FRONT, self.shape, self.element)?,
            whole,
            before,
            is_input: self.values.is_some(),
        })
    }
}

impl Guarded {
    pub(super) fn input(
        gpu: &Gpu,
        label: &str,
        shape: [usize; 2],
        values: &[f32],
    ) -> Result<Self, Error> {
        Planned {
            values: Some(bytemuck::cast_slice(values)),
            ..Planned::output(label, shape)
        }
        .alone(gpu)
    }

    pub(super) fn counter(gpu: &Gpu, label: &str, value: u32) -> Result<Self, Error> {
        Planned {
            element: Element::U32,
            values: Some(&[value]),
            ..Planned::output(label, [1, 1])
        }
        .alone(gpu)
    }

    pub(super) fn output(gpu: &Gpu, label: &str, shape: [usize; 2]) -> Result<Self, Error> {
        Planned::output(label, shape).alone(gpu)
    }

    /// In one buffer, as the gradients of a network are.
    pub(super) fn outputs(gpu: &Gpu, specs: &[(String, [usize; 2])]) -> Result<Vec<Self>, Error> {
        let planned = specs
            .iter()
            .map(|(label, shape)| Planned::output(label, *shape));
        let room: usize = planned.clone().map(|planned| planned.room()).sum();
        if room == 0 {
            return Ok(Vec::new());
        }
        let buffer = Tensor::zeros(gpu, "outputs", [1, room], Element::U32)?;
        let mut start = 0;
        planned
            .map(|planned| {
                let placed = planned.placed(gpu, &buffer, start);
                start += planned.room();
                placed
            })
            .collect()
    }

    pub(super) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The elements after kernels have run, if all that was outside of them stayed as it was.
    pub(super) fn read(&self, gpu: &Gpu) -> Result<Result<Vec<f32>, Touch>, Error> {
        let after: Vec<u32> = gpu.read(&self.whole)?;
        let end = FRONT + self.tensor.len();
        let changed = |at: usize| after[at] != self.before[at];
        let count = |range: std::ops::Range<usize>| range.filter(|&at| changed(at)).count();
        let counts = [
            (count(0..FRONT), "before the start"),
            (count(end..after.len()), "behind the end"),
            (
                if self.is_input { count(FRONT..end) } else { 0 },
                "of the input itself,",
            ),
        ];
        if let Some((count, place)) = counts.iter().find(|(count, _)| *count > 0) {
            let found = format!("{count} elements {place}");
            return Ok(Err(Touch::Stray { found }));
        }
        let elements = &after[FRONT..end];
        if let Some(element) = elements.iter().position(|&bits| bits == POISON) {
            return Ok(Err(Touch::Unwritten { element }));
        }
        Ok(Ok(elements
            .iter()
            .map(|&bits| f32::from_bits(bits))
            .collect()))
    }
}
