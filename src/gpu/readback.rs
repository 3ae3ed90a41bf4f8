use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytemuck::Pod;

use super::{Gpu, lock};
use crate::error::Error;
use crate::tensor::Tensor;

impl Gpu {
    /// The elements of a tensor, once all submitted work is done.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the device does not finish, [`Error::DeviceLost`] when it is gone,
    /// [`Error::OutOfMemory`] without room for the copy.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read<T: Pod>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        pollster::block_on(self.read_async(tensor))
    }

    /// [`read`](Self::read) without blocking a browser's main thread.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_async<T: Pod>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        let doing = format!("reading {}", tensor.label());
        let (source, offset) = tensor.buffer();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.allocate("readback", tensor.bytes(), usage)?;
        let mapped = Mapped::default();
        let submission = self.guarded(&doing, || {
            let mut encoder = self.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(source, offset, &staging, 0, tensor.bytes());
            let submission = self.queue().submit([encoder.finish()]);
            let mapped = mapped.clone();
            staging.map_async(wgpu::MapMode::Read, .., move |result| mapped.finish(result));
            submission
        })?;
        self.wait(Some(submission))?;
        let result = mapped.await;
        self.guarded(&doing, || ())?;
        let lost = |reason: String| Error::DeviceLost {
            doing: doing.clone(),
            reason,
        };
        result.map_err(|error| lost(error.to_string()))?;
        let view = staging
            .get_mapped_range(..)
            .map_err(|error| lost(error.to_string()))?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// Becomes ready when the buffer is mapped.
#[derive(Debug, Clone, Default)]
struct Mapped {
    state: Arc<Mutex<(Option<MapResult>, Option<Waker>)>>,
}

impl Mapped {
    fn finish(&self, result: MapResult) {
        let mut state = lock(&self.state);
        state.0 = Some(result);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl Future for Mapped {
    type Output = MapResult;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<MapResult> {
        let mut state = lock(&self.state);
        match state.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
