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
    /// The whole buffer, guard bands included.
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

impl Guarded {
    pub(super) fn input(
        gpu: &Gpu,
        label: &str,
        shape: [usize; 2],
        values: &[f32],
    ) -> Result<Self, Error> {
        Self::new(
            gpu,
            label,
            shape,
            Element::F32,
            Some(bytemuck::cast_slice(values)),
        )
    }

    pub(super) fn counter(gpu: &Gpu, label: &str, value: u32) -> Result<Self, Error> {
        Self::new(gpu, label, [1, 1], Element::U32, Some(&[value]))
    }

    pub(super) fn output(gpu: &Gpu, label: &str, shape: [usize; 2]) -> Result<Self, Error> {
        Self::new(gpu, label, shape, Element::F32, None)
    }

    fn new(
        gpu: &Gpu,
        label: &str,
        shape: [usize; 2],
        element: Element,
        input: Option<&[u32]>,
    ) -> Result<Self, Error> {
        // Wide enough for a block of rows that starts at the last element.
        let behind = 40 * shape[1].min(1024) + 1024;
        let guard = match input {
            Some(_) => INPUT_GUARD,
            None => OUTPUT_GUARD,
        };
        let mut before = vec![guard; FRONT];
        match input {
            Some(bits) => before.extend_from_slice(bits),
            None => before.resize(FRONT + shape[0] * shape[1], POISON),
        }
        before.resize(before.len() + behind, guard);
        let whole = Tensor::zeros(gpu, label, [1, before.len()], Element::U32)?;
        gpu.write(&whole, &before)?;
        let offset = 4 * FRONT as u64;
        let (buffer, span) = (whole.buffer().0, whole.bytes() - offset);
        Ok(Self {
            tensor: Tensor::in_buffer(gpu, label, buffer, offset, span, shape, element)?,
            whole,
            before,
            is_input: input.is_some(),
        })
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
