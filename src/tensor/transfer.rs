//! Transferring elements to a device and back.

use std::ops::Range;

use bytemuck::Pod;
use ndarray::ArrayView2;

use super::Tensor;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::gpu::{Finished, Gpu, Sender, Signal, check_usage};

impl Gpu {
    /// Copies values into a tensor. The copy takes place before the next submitted work.
    ///
    /// # Errors
    /// - [`Error::Setting`] when the size of `T` is not the size of an element.
    /// - [`Error::Count`] when the number of values is not the number of elements.
    /// - [`Error::OtherGpu`] when the tensor belongs to another device.
    /// - [`Error::Buffer`] when the tensor's buffer has no `COPY_DST` usage, or is destroyed or mapped.
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

    /// [`write`](Self::write) for a matrix, which need not be contiguous.
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

    /// Writes bytes, packing four into each element.
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

    /// Writes rows of a tensor, beginning with row `first`.
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

    /// Reads the elements of a tensor, after all submitted work has ended. `T` is `f32` or `u32`; if the tensor has the
    /// other type, the bits are reinterpreted.
    ///
    /// # Errors
    /// - [`Error::Setting`] when the size of `T` is not the size of an element.
    /// - [`Error::Timeout`] when the device does not finish in time, and [`Error::DeviceLost`] when the device is lost.
    /// - [`Error::OutOfMemory`] when the device has no memory for the copy.
    /// - [`Error::OtherGpu`] when the tensor belongs to another device.
    /// - [`Error::Buffer`] when the tensor's buffer has no `COPY_SRC` usage, or is destroyed or mapped.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read<T: Pod>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        block_on(self.read_async(tensor))
    }

    /// [`read`](Self::read) without blocking the thread. The future completes when the elements have arrived. It
    /// returns the elements at the time of this call; work submitted later does not change them. The time limit of
    /// [`GpuBuilder::timeout`](crate::gpu::GpuBuilder::timeout) begins when the future is first polled.
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

    /// [`read_async`](Self::read_async) for ranges of elements. Returns their concatenation. The ranges must contain at
    /// least one element in all.
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
            // In a browser, the buffer would otherwise be kept until the next garbage collection. Natively, dropping
            // the buffer frees it, and destroying it would wait for a lock that another thread holds while it waits for
            // the device.
            #[cfg(target_arch = "wasm32")]
            copy.staging.destroy();
            Ok(values)
        }
    }

    /// Returns the error for a copy that cannot be read, usually because the device is lost.
    fn unread(&self, doing: &str, error: &dyn std::error::Error) -> Error {
        let doing = doing.to_owned();
        let reason = error.to_string();
        #[cfg(not(target_arch = "wasm32"))]
        return self.explained(Error::Gpu {
            doing,
            message: reason,
        });
        // A browser has not reported the loss yet.
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

/// Elements that are being copied to the host.
struct Copy {
    staging: wgpu::Buffer,
    mapped: Signal<MapResult>,
    finished: Finished,
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// Sends wgpu's report about the mapping of a staging buffer to the future that waits for the report. If wgpu drops
/// this callback without a report, for example after a panic, the future receives an error.
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
