//! Matrices in GPU buffers.

use std::fmt;

use crate::error::Error;
use crate::gpu::{Gpu, check_usage};
use crate::kernel::Element;

/// A dense row-major matrix in a GPU buffer; a vector is a matrix of one row.
///
/// Cloning shares the buffer.
#[derive(Clone)]
pub struct Tensor {
    gpu: Gpu,
    label: String,
    buffer: wgpu::Buffer,
    /// Byte range of the buffer that kernels bind: at least the elements.
    offset: u64,
    span: u64,
    shape: [usize; 2],
    element: Element,
}

/// Label, shape and element type, which are the same in every run: a loss that holds a tensor is known by this
/// text in a [checkpoint](crate::checkpoint).
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("label", &self.label)
            .field("shape", &self.shape)
            .field("element", &self.element)
            .finish_non_exhaustive()
    }
}

impl Tensor {
    /// A tensor in its own zeroed buffer.
    ///
    /// # Errors
    /// [`Error::Setting`] when it is empty, [`Error::Limit`] when it is larger than the device allows, [`Error::OutOfMemory`] when the
    /// device has no room.
    pub fn zeros(
        gpu: &Gpu,
        label: impl Into<String>,
        shape: [usize; 2],
        element: Element,
    ) -> Result<Self, Error> {
        let label = label.into();
        let span = span_of(gpu, &label, shape)?;
        let buffer = gpu.buffer(&label, span)?;
        Ok(Self {
            gpu: gpu.clone(),
            label,
            buffer,
            offset: 0,
            span,
            shape,
            element,
        })
    }

    /// A tensor in a buffer of this device that exists, bound from byte `offset` for `span` bytes, which may
    /// be more than its elements need.
    ///
    /// The buffer must be this device's: wgpu does not say whose a buffer is, and knows it by a number that
    /// a buffer of this device may have as well.
    ///
    /// # Errors
    /// [`Error::Setting`] when it is empty, `offset` is none that the device can bind, or the elements do not fit in
    /// the span or the span in the buffer; [`Error::Limit`] when the span is larger than the device allows;
    /// [`Error::Buffer`] when the buffer has no `STORAGE` usage or has been destroyed, [`Error::OtherGpu`] when wgpu
    /// tells that it is another device's. (In a browser wgpu tells later, in the tab's console.)
    pub fn in_buffer(
        gpu: &Gpu,
        label: impl Into<String>,
        buffer: &wgpu::Buffer,
        offset: u64,
        span: u64,
        shape: [usize; 2],
        element: Element,
    ) -> Result<Self, Error> {
        let label = label.into();
        check_shape(&label, shape)?;
        let doing = format!("binding {label}");
        check_usage(&label, buffer, wgpu::BufferUsages::STORAGE, &doing)?;
        let tensor = Self::within(gpu, label, buffer, [offset, span], shape, element)?;
        gpu.check_binding(&tensor)?;
        Ok(tensor)
    }

    /// The same in a buffer of this crate's: from a byte on, for so many.
    fn within(
        gpu: &Gpu,
        label: String,
        buffer: &wgpu::Buffer,
        [offset, span]: [u64; 2],
        shape: [usize; 2],
        element: Element,
    ) -> Result<Self, Error> {
        let alignment = gpu.limits().min_storage_buffer_offset_alignment;
        if !offset.is_multiple_of(alignment.into()) {
            let expected =
                format!("a multiple of {alignment} bytes (min_storage_buffer_offset_alignment)");
            return Err(Error::setting(
                format!("offset of {label}"),
                expected,
                offset,
            ));
        }
        let size = buffer.size();
        if offset >= size {
            let expected = format!("below {size} bytes, the size of its buffer");
            return Err(Error::setting(
                format!("offset of {label}"),
                expected,
                offset,
            ));
        }
        let left = size - offset;
        let [rows, columns] = shape;
        let needed = bytes_of(shape);
        if span < needed || span > left || !span.is_multiple_of(4) {
            let expected = match needed > left {
                true => format!(
                    "{needed} or more, for {rows} × {columns} values, and its buffer, which must be larger, has {left} from there on"
                ),
                false => format!(
                    "a multiple of 4 from {needed}, for {rows} × {columns} values, to {left}, \
                    what its buffer has from there on"
                ),
            };
            return Err(Error::setting(
                format!("span of {label}, in bytes,"),
                expected,
                span,
            ));
        }
        check_span(gpu, &label, shape, span)?;
        Ok(Self {
            gpu: gpu.clone(),
            label,
            buffer: buffer.clone(),
            offset,
            span,
            shape,
            element,
        })
    }

    /// The first `rows` rows of this tensor, sharing its buffer.
    ///
    /// # Panics
    /// When the tensor has fewer rows, or none is asked for: a tensor is never empty.
    #[must_use]
    pub fn first_rows(&self, rows: usize) -> Self {
        assert!(
            (1..=self.rows()).contains(&rows),
            "{} has 1 to {} rows to take, not {rows}",
            self.label,
            self.rows()
        );
        Self {
            shape: [rows, self.columns()],
            ..self.clone()
        }
    }

    /// So many rows from `first` on, sharing its buffer. They begin where the device can bind a tensor.
    pub(crate) fn rows_from(&self, first: usize, rows: usize) -> Self {
        let skipped = 4 * (first * self.columns()) as u64;
        let alignment = self.gpu.limits().min_storage_buffer_offset_alignment;
        let is_bindable = skipped.is_multiple_of(alignment.into());
        assert!(
            first + rows <= self.rows() && is_bindable,
            "rows {first} to {} of {}",
            first + rows,
            self.label
        );
        Self {
            offset: self.offset + skipped,
            span: self.span - skipped,
            shape: [rows, self.columns()],
            ..self.clone()
        }
    }

    /// Its first elements as another tensor, sharing its buffer.
    pub(crate) fn reshaped(&self, label: String, shape: [usize; 2]) -> Self {
        assert!(
            shape[0] * shape[1] <= self.len(),
            "{} has only {} elements",
            self.label,
            self.len()
        );
        Self {
            label,
            shape,
            ..self.clone()
        }
    }

    /// The first `columns` elements of a vector, sharing its buffer.
    ///
    /// # Panics
    /// When the tensor is no vector, or has fewer elements, or none is asked for: a tensor is never empty.
    #[must_use]
    pub fn first_columns(&self, columns: usize) -> Self {
        assert!(
            self.rows() == 1 && (1..=self.columns()).contains(&columns),
            "{} is no vector with {columns} elements to take",
            self.label
        );
        Self {
            shape: [1, columns],
            ..self.clone()
        }
    }

    /// Name shown in plans and messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape[1]
    }

    /// Number of elements.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a tensor is never empty")]
    pub fn len(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Element type.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    /// Size of the elements in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        4 * self.len() as u64
    }

    /// The buffer and the byte offset of the first element in it.
    #[must_use]
    pub fn buffer(&self) -> (&wgpu::Buffer, u64) {
        (&self.buffer, self.offset)
    }

    /// Whether elements of both have the same memory.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let [ends, others] = [self, other].map(|tensor| tensor.offset + tensor.bytes());
        self.buffer == other.buffer && self.offset < others && other.offset < ends
    }

    /// Whether it may be used on `gpu`.
    pub(crate) fn check_gpu(&self, gpu: &Gpu) -> Result<(), Error> {
        gpu.check_owner(&self.gpu, || self.label.clone())
    }

    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.span),
        })
    }
}

/// The tensors of one role (parameters, say) packed into few buffers, so that one dispatch can
/// run over all of them and wgpu has few buffers to track.
#[derive(Debug, Clone)]
pub struct Arena {
    tensors: Vec<Tensor>,
    blocks: Vec<Tensor>,
}

impl Arena {
    /// Zeroed `f32` tensors of the given labels and shapes, in order.
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn zeros(gpu: &Gpu, role: &str, specs: &[(String, [usize; 2])]) -> Result<Self, Error> {
        let alignment = u64::from(gpu.limits().min_storage_buffer_offset_alignment);
        let mut arena = Self {
            tensors: Vec::new(),
            blocks: Vec::new(),
        };
        let mut pending: Vec<(&String, [usize; 2], u64, u64)> = Vec::new();
        let mut used = 0;
        for (label, shape) in specs {
            let span = span_of(gpu, label, *shape)?;
            let offset = used;
            if offset + span > gpu.largest_binding() {
                arena.close_block(gpu, role, &std::mem::take(&mut pending), used)?;
                pending.push((label, *shape, 0, span));
                used = span.next_multiple_of(alignment);
            } else {
                pending.push((label, *shape, offset, span));
                used = (offset + span).next_multiple_of(alignment);
            }
        }
        arena.close_block(gpu, role, &pending, used)?;
        Ok(arena)
    }

    fn close_block(
        &mut self,
        gpu: &Gpu,
        role: &str,
        pending: &[(&String, [usize; 2], u64, u64)],
        used: u64,
    ) -> Result<(), Error> {
        let Some(&(.., offset, span)) = pending.last() else {
            return Ok(());
        };
        debug_assert!(offset + span <= used);
        let elements = usize::try_from((offset + span) / 4).unwrap_or(usize::MAX);
        let label = format!("{role}.{}", self.blocks.len());
        let block = Tensor::zeros(gpu, label, [1, elements], Element::F32)?;
        for &(label, shape, offset, span) in pending {
            let (label, range) = (label.clone(), [offset, span]);
            let tensor = Tensor::within(gpu, label, &block.buffer, range, shape, Element::F32)?;
            self.tensors.push(tensor);
        }
        self.blocks.push(block);
        Ok(())
    }

    /// Tensors that exist, a block each.
    #[cfg(test)]
    pub(crate) fn of(tensors: Vec<Tensor>) -> Self {
        Self {
            blocks: tensors.clone(),
            tensors,
        }
    }

    /// The tensors, in the order they were asked for.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The same memory as few long rows, gaps between tensors (always zero) included.
    #[must_use]
    pub fn blocks(&self) -> &[Tensor] {
        &self.blocks
    }
}

/// A tensor is never empty.
fn check_shape(label: &str, [rows, columns]: [usize; 2]) -> Result<(), Error> {
    if rows > 0 && columns > 0 {
        return Ok(());
    }
    let (name, found) = (format!("shape of {label}"), format!("{rows}×{columns}"));
    Err(Error::setting(name, "at least 1×1", found))
}

/// Bytes of so many rows and columns of four-byte elements.
fn bytes_of([rows, columns]: [usize; 2]) -> u64 {
    (rows as u64)
        .saturating_mul(columns as u64)
        .saturating_mul(4)
}

/// Bytes of a tensor of four-byte elements, checked against the device's limits.
pub(crate) fn span_of(gpu: &Gpu, label: &str, shape: [usize; 2]) -> Result<u64, Error> {
    let needed = bytes_of(shape);
    check_shape(label, shape)?;
    check_span(gpu, label, shape, needed)?;
    Ok(needed)
}

/// Whether a kernel can bind as many bytes for a tensor.
fn check_span(gpu: &Gpu, label: &str, shape: [usize; 2], needed: u64) -> Result<(), Error> {
    let available = gpu.largest_binding();
    if needed <= available {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{label} ({} × {}), in bytes,", shape[0], shape[1]),
        limit: "max_storage_buffer_binding_size",
        needed,
        available,
    })
}
