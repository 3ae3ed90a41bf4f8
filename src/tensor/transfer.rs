//! Transfer of elements to a device and back.

use std::ops::Range;

use bytemuck::Pod;
use ndarray::ArrayView2;

use super::Tensor;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::gpu::{Finished, Gpu, Sender, Signal, check_usage};

impl Gpu {
    /// Copies values into a tensor before the next submitted work runs.
    ///
    /// # Errors
    /// - [`Error::Setting`] when `T` is not as large as an element.
    /// - [`Error::Count`] when the number of values is not the number of elements.
    /// - [`Error::OtherGpu`] when the tensor belongs to another device.
    /// - [`Error::Buffer`] when its buffer has no `COPY_DST` usage, or is destroyed or mapped.
    pub fn write<T: Pod>(&self, tensor: &Tensor, values: &[T]) -> Result<(), Error> {
        tensor.check_gpu(self)?;
        let size = size_of::<T>();
        if size != 4 {
            return Err(Error::setting(
                format!("bytes of a value for {}", tensor.label()),
                "4, the size of its elements",
                size,
            ));
        }
        if values.len() != tensor.len() {
            return Err(Error::Count {
                what: format!("values for {} ({})", tensor.label(), tensor.shape()),
                expected: tensor.len(),
                found: values.len(),
            });
        }
        self.write_packed(tensor, bytemuck::cast_slice(values))
    }

    /// [`write`](Self::write) for a matrix, row by row.
    pub(crate) fn write_view(
        &self,
        tensor: &Tensor,
        values: ArrayView2<'_, f32>,
    ) -> Result<(), Error> {
        match values.as_slice() {
            Some(values) => self.write(tensor, values),
            None => self.write(tensor, &values.iter().copied().collect::<Vec<_>>()),
        }
    }

    /// Writes bytes, four per element.
    fn write_packed(&self, tensor: &Tensor, bytes: &[u8]) -> Result<(), Error> {
        assert_eq!(bytes.len() as u64, tensor.bytes(), "{}", tensor.label());
        let (buffer, offset) = tensor.buffer();
        let doing = format!("writing {}", tensor.label());
        check_usage(tensor.label(), buffer, wgpu::BufferUsages::COPY_DST, &doing)?;
        let written = self.guarded(&doing, || {
            self.queue().write_buffer(buffer, offset, bytes);
        });
        written.map_err(|error| error.of_tensor(tensor.label()))
    }

    /// Writes rows of a tensor from row `first` on.
    pub(crate) fn write_rows<T: Pod>(
        &self,
        tensor: &Tensor,
        first: usize,
        values: &[T],
    ) -> Result<(), Error> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let start = 4 * (first * tensor.columns()) as u64;
        assert!(
            start + bytes.len() as u64 <= tensor.bytes(),
            "{}: rows from {first} on",
            tensor.label()
        );
        let (buffer, offset) = tensor.buffer();
        self.guarded("writing a buffer", || {
            self.queue().write_buffer(buffer, offset + start, bytes);
        })
    }

    /// Reads the elements of a tensor after all submitted work: as `f32` or `u32`, or the bits of one as the other.
    ///
    /// # Errors
    /// - [`Error::Setting`] when `T` is not as large as an element.
    /// - [`Error::Timeout`] when the device does not finish, and [`Error::DeviceLost`] when it is gone.
    /// - [`Error::OutOfMemory`] when there is no room for the copy.
    /// - [`Error::OtherGpu`] when the tensor belongs to another device.
    /// - [`Error::Buffer`] when its buffer has no `COPY_SRC` usage, or is destroyed or mapped.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read<T: Pod>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        block_on(self.read_async(tensor))
    }

    /// [`read`](Self::read) without blocking the thread: the future completes when the elements have arrived. It
    /// returns the elements as of this call; work submitted later does not change them. The time limit of
    /// [`GpuBuilder::timeout`](crate::gpu::GpuBuilder::timeout) starts when the future is first polled.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    pub fn read_async<T: Pod>(
        &self,
        tensor: &Tensor,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + use<T> {
        let all = 0..tensor.len();
        self.read_ranges(tensor, &[all])
    }

    /// [`read_async`](Self::read_async) for ranges of elements, concatenated. They must contain at least one element.
    pub(crate) fn read_ranges<T: Pod>(
        &self,
        tensor: &Tensor,
        ranges: &[Range<usize>],
    ) -> impl Future<Output = Result<Vec<T>, Error>> + use<T> {
        let gpu = self.clone();
        let doing = format!("reading {}", tensor.label());
        let copied = match size_of::<T>() {
            4 => self.copy_out(tensor, ranges, &doing),
            size => Err(Error::setting(
                format!("bytes of a value when {doing}"),
                "4, the size of f32 and u32",
                size,
            )),
        };
        async move {
            let copy = copied?;
            copy.finished.end().await?;
            let result = copy.mapped.await;
            gpu.guarded(&doing, || ())?;
            let unread = |error: &dyn std::error::Error| gpu.unread(&doing, error);
            result.map_err(|error| unread(&error))?;
            let view = copy.staging.get_mapped_range(..);
            let view = view.map_err(|error| unread(&error))?;
            let values = bytemuck::pod_collect_to_vec(&view);
            drop(view);
            // A browser would keep the buffer until it collects garbage. Elsewhere dropping frees it, and destroying
            // would wait for a lock that another thread holds while it waits for the device.
            #[cfg(target_arch = "wasm32")]
            copy.staging.destroy();
            Ok(values)
        }
    }

    /// The error for a copy that cannot be read, usually because the device is lost.
    fn unread(&self, doing: &str, error: &dyn std::error::Error) -> Error {
        let doing = doing.to_owned();
        let reason = error.to_string();
        #[cfg(not(target_arch = "wasm32"))]
        return self.explained(Error::Gpu {
            doing,
            message: reason,
        });
        // A browser reports the loss later.
        #[cfg(target_arch = "wasm32")]
        Error::DeviceLost { doing, reason }
    }

    fn copy_out(
        &self,
        tensor: &Tensor,
        ranges: &[Range<usize>],
        doing: &str,
    ) -> Result<Copy, Error> {
        tensor.check_gpu(self)?;
        let (source, offset) = tensor.buffer();
        check_usage(tensor.label(), source, wgpu::BufferUsages::COPY_SRC, doing)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let elements: usize = ranges.iter().map(Range::len).sum();
        let staging = self.allocate("readback", 4 * elements as u64, usage)?;
        let mapped = Signal::new();
        let mapping = Mapping(mapped.sender());
        let submission = self.guarded(doing, || {
            let mut encoder = self.device().create_command_encoder(&Default::default());
            let mut to = 0;
            for range in ranges {
                let from = offset + 4 * range.start as u64;
                let bytes = 4 * range.len() as u64;
                encoder.copy_buffer_to_buffer(source, from, &staging, to, bytes);
                to += bytes;
            }
            let submission = self.queue().submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., move |result| mapping.tell(result));
            submission
        });
        let submission = submission.map_err(|error| error.of_tensor(tensor.label()))?;
        Ok(Copy {
            staging,
            mapped,
            finished: self.finished(submission)?,
        })
    }
}

/// Elements on their way to the host.
struct Copy {
    staging: wgpu::Buffer,
    mapped: Signal<MapResult>,
    finished: Finished,
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// Passes on wgpu's report about a copy. If wgpu drops it without a report, for example after a panic, it reports an
/// error.
struct Mapping(Sender<MapResult>);

impl Mapping {
    fn tell(&self, result: MapResult) {
        self.0.send(result);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.tell(Err(wgpu::BufferAsyncError));
    }
}
