//! Tensors: GPU buffers with a shape and an element type.

mod arena;
mod transfer;

use std::fmt;

use crate::error::{ELEMENTS, Error};
use crate::gpu::{Gpu, check_usage};
use crate::kernel::Element;
use crate::shape::{Shape, TensorShape};

pub use arena::{Arena, ArenaSpec};

/// A dense, row-major array in a GPU buffer. It consists of rows of the same [`Shape`]; a vector has one row.
///
/// Cloning shares the buffer.
#[derive(Clone)]
pub struct Tensor {
    gpu: Gpu,
    label: String,
    buffer: wgpu::Buffer,
    /// First byte of the range of the buffer that kernels bind. The range contains at least the elements.
    offset: u64,
    span: u64,
    shape: TensorShape,
    element: Element,
}

/// Shows label, shape and element type.
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
    /// Makes a tensor of zeros in a buffer of its own. `shape` is `[rows, columns]` or `(rows, shape of a row)`:
    ///
    /// ```
    /// use wgrad::kernel::Element;
    /// use wgrad::{Gpu, Shape, tensor::Tensor};
    ///
    /// let images = Tensor::zeros(&Gpu::new()?, "x", (100, [1, 28, 28]), Element::F32)?;
    /// assert_eq!((images.row_shape(), images.dims()), (Shape::from([1, 28, 28]), [100, 784]));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when the tensor has no elements; [`Error::Limit`] when it is larger than the device allows,
    /// or has more than 2³² − 1 elements, which kernels could not count in a `u32`; [`Error::OutOfMemory`] when the
    /// device has no memory for it.
    pub fn zeros(
        gpu: &Gpu,
        label: impl Into<String>,
        shape: impl Into<TensorShape>,
        element: Element,
    ) -> Result<Self, Error> {
        let label = label.into();
        let shape = shape.into();
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

    /// Makes a tensor in an existing buffer of this device. Kernels bind `span` bytes that begin at byte `offset`; the
    /// span may be larger than the elements.
    ///
    /// The buffer must belong to this device. Not every mistake is detected: wgpu identifies a buffer by a number, and
    /// a buffer of this device may have the same number.
    ///
    /// # Errors
    /// - [`Error::Setting`] when the tensor has no elements, the device cannot bind at `offset`, the elements do not
    ///   fit in the span, or the span does not fit in the buffer.
    /// - [`Error::Limit`] when the span is larger than the device allows, or the tensor has more than 2³² − 1 elements.
    /// - [`Error::Buffer`] when the buffer has no `STORAGE` usage or was destroyed.
    /// - [`Error::OtherGpu`] when wgpu detects that the buffer belongs to another device. A browser reports this error
    ///   later, in the tab's console.
    pub fn in_buffer(
        gpu: &Gpu,
        label: impl Into<String>,
        buffer: &wgpu::Buffer,
        offset: u64,
        span: u64,
        shape: impl Into<TensorShape>,
        element: Element,
    ) -> Result<Self, Error> {
        let label = label.into();
        let shape = shape.into();
        check_shape(&label, shape)?;
        let doing = format!("binding {label}");
        check_usage(&label, buffer, wgpu::BufferUsages::STORAGE, &doing)?;
        let tensor = Self::within(gpu, label, buffer, [offset, span], shape, element)?;
        gpu.check_binding(&tensor.label, tensor.binding())?;
        Ok(tensor)
    }

    /// [`in_buffer`](Self::in_buffer) for a buffer that this crate made: the tensor has the `span` bytes that begin at
    /// byte `offset`.
    fn within(
        gpu: &Gpu,
        label: String,
        buffer: &wgpu::Buffer,
        [offset, span]: [u64; 2],
        shape: TensorShape,
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
        let needed = bytes_of(shape);
        if span < needed || span > left || !span.is_multiple_of(4) {
            let expected = if needed > left {
                format!(
                    "at least {needed}, for {shape} values, but its buffer has only {left} from this offset on: make \
                    the buffer larger"
                )
            } else {
                format!(
                    "a multiple of 4 from {needed}, for {shape} values, to {left}, the rest of its buffer from this \
                    offset on"
                )
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

    /// The tensor's first `rows` rows. The result shares its buffer.
    ///
    /// # Panics
    /// When `rows` is 0 (a tensor is never empty) or exceeds the tensor's number of rows.
    #[must_use]
    pub fn first_rows(&self, rows: usize) -> Self {
        assert!(
            (1..=self.rows()).contains(&rows),
            "{} has 1 to {} rows to take, not {rows}",
            self.label,
            self.rows()
        );
        Self {
            shape: TensorShape { rows, ..self.shape },
            ..self.clone()
        }
    }

    /// The `rows` rows that begin with row `first`. The result shares the buffer. The first row must begin at an offset
    /// where the device can bind a tensor.
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
            shape: TensorShape { rows, ..self.shape },
            ..self.clone()
        }
    }

    /// Elements `first..end` of a vector. The result shares the buffer. The first element must be at an offset where
    /// the device can bind a tensor.
    pub(crate) fn elements(&self, first: usize, end: usize) -> Self {
        if first == 0 && end == self.len() {
            return self.clone();
        }
        let skipped = 4 * first as u64;
        let alignment = self.gpu.limits().min_storage_buffer_offset_alignment;
        let is_bindable = skipped.is_multiple_of(alignment.into());
        assert!(
            self.rows() == 1 && first < end && end <= self.len() && is_bindable,
            "elements {first} to {end} of {}",
            self.label
        );
        Self {
            label: format!("{}, from {first} on", self.label),
            offset: self.offset + skipped,
            span: 4 * (end - first) as u64,
            shape: TensorShape::from([1, end - first]),
            ..self.clone()
        }
    }

    /// The tensor's first elements, in another shape. The result shares the buffer.
    pub(crate) fn reshaped(&self, label: String, shape: impl Into<TensorShape>) -> Self {
        let shape = shape.into();
        assert!(
            shape.len() <= self.len(),
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

    /// The first `columns` elements of a vector. The result shares the buffer.
    ///
    /// # Panics
    /// When the tensor has several rows, or when `columns` is 0 (a tensor is never empty) or exceeds the number of
    /// elements.
    #[must_use]
    pub fn first_columns(&self, columns: usize) -> Self {
        assert!(
            self.rows() == 1 && (1..=self.columns()).contains(&columns),
            "{} is no vector with {columns} elements to take",
            self.label
        );
        Self {
            shape: TensorShape::from([1, columns]),
            ..self.clone()
        }
    }

    /// The tensor's name in plans and messages.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number of rows, and the shape of each row.
    #[must_use]
    pub fn shape(&self) -> TensorShape {
        self.shape
    }

    /// Shape of a row.
    #[must_use]
    pub fn row_shape(&self) -> Shape {
        self.shape.row
    }

    /// The number of rows and of columns, for kernels that need no other extents.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        self.shape.dims()
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Number of columns: elements per row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.row.len()
    }

    /// Number of elements.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a tensor is never empty")]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Element type.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    /// Size of all elements in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        4 * self.len() as u64
    }

    /// The tensor's buffer, and the byte offset of the first element in this buffer.
    #[must_use]
    pub fn buffer(&self) -> (&wgpu::Buffer, u64) {
        (&self.buffer, self.offset)
    }

    /// Whether the elements of both tensors share any memory.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let [ends, others] = [self, other].map(|tensor| tensor.offset + tensor.bytes());
        self.buffer == other.buffer && self.offset < others && other.offset < ends
    }

    /// Checks that the tensor may be used on `gpu`.
    pub(crate) fn check_gpu(&self, gpu: &Gpu) -> Result<(), Error> {
        gpu.check_owner(&self.gpu, || self.label.clone())
    }

    /// Checks that the tensor has the element type `expected`.
    pub(crate) fn check_element(&self, expected: Element) -> Result<(), Error> {
        if self.element == expected {
            return Ok(());
        }
        let name = format!("the element type of {}", self.label);
        let [expected, found] =
            [expected, self.element].map(|of| format!("{of:?}").to_ascii_lowercase());
        Err(Error::setting(name, expected, found))
    }

    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.span),
        })
    }
}

/// Checks that the shape has elements, and that a `u32` can count them.
fn check_shape(label: &str, shape: TensorShape) -> Result<(), Error> {
    if shape.is_empty() {
        let name = format!("shape of {label}");
        return Err(Error::setting(name, "at least 1 along each extent", shape));
    }
    let needed = shape.len() as u64;
    let available = u64::from(u32::MAX);
    if needed <= available {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{label} ({shape}), in elements,"),
        limit: ELEMENTS,
        needed,
        available,
    })
}

/// Size in bytes of a tensor of four-byte elements; `u64::MAX` on overflow.
fn bytes_of(shape: TensorShape) -> u64 {
    (shape.len() as u64).saturating_mul(4)
}

/// Size in bytes of a tensor of four-byte elements, after checking it against the device's limits.
pub(crate) fn span_of(gpu: &Gpu, label: &str, shape: TensorShape) -> Result<u64, Error> {
    let needed = bytes_of(shape);
    check_shape(label, shape)?;
    check_span(gpu, label, shape, needed)?;
    Ok(needed)
}

/// Checks that a kernel can bind `needed` bytes for one tensor.
fn check_span(gpu: &Gpu, label: &str, shape: TensorShape, needed: u64) -> Result<(), Error> {
    let available = gpu.largest_binding();
    if needed <= available {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!("{label} ({shape}), in bytes,"),
        limit: "max_storage_buffer_binding_size",
        needed,
        available,
    })
}
