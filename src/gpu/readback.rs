use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytemuck::Pod;

use super::{Gpu, check_usage, lock};
use crate::error::Error;
use crate::tensor::Tensor;

impl Gpu {
    /// The elements of a tensor, once all submitted work is done: as `f32` or `u32`, or the bits of one
    /// as the other.
    ///
    /// # Errors
    /// [`Error::Setting`] when a `T` is not as large as an element,
    /// [`Error::Timeout`] when the device does not finish, [`Error::DeviceLost`] when it is gone,
    /// [`Error::OutOfMemory`] without room for the copy, [`Error::OtherGpu`] when the tensor is another's,
    /// [`Error::Buffer`] when its buffer has no `COPY_SRC`, is destroyed or mapped.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read<T: Pod>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        pollster::block_on(self.read_async(tensor))
    }

    /// [`read`](Self::read) without blocking a browser's main thread. The elements are those of the time
    /// of this call: what is submitted while the future waits does not change them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_async<T: Pod>(
        &self,
        tensor: &Tensor,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + use<T> {
        let gpu = self.clone();
        let doing = format!("reading {}", tensor.label());
        let copied = match size_of::<T>() {
            4 => self.copy_out(tensor, &doing),
            size => Err(Error::setting(
                format!("bytes of a value when {doing}"),
                "4, as f32 and u32 have",
                size,
            )),
        };
        async move {
            let copy = copied?;
            gpu.wait(Some(copy.submission))?;
            let result = copy.mapped.await;
            gpu.guarded(&doing, || ())?;
            let lost = |error: &dyn std::error::Error| Error::DeviceLost {
                doing: doing.clone(),
                reason: error.to_string(),
            };
            result.map_err(|error| lost(&error))?;
            let view = copy.staging.get_mapped_range(..);
            let view = view.map_err(|error| lost(&error))?;
            let values = bytemuck::pod_collect_to_vec(&view);
            drop(view);
            // A browser would keep it until its garbage is collected.
            copy.staging.destroy();
            Ok(values)
        }
    }

    /// Ready when all work submitted before this call is done: [`wait`](Self::wait) for a browser.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_async(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        let (gpu, doing) = (self.clone(), "waiting for submitted work");
        let done = Signal::new();
        let done_sender = done.sender();
        let asked = self.guarded(doing, || {
            self.queue().on_submitted_work_done(move || done_sender(()));
        });
        async move {
            asked?;
            gpu.wait(None)?;
            done.await;
            gpu.guarded(doing, || ())
        }
    }

    fn copy_out(&self, tensor: &Tensor, doing: &str) -> Result<Copy, Error> {
        tensor.check_gpu(self)?;
        let (source, offset) = tensor.buffer();
        check_usage(tensor.label(), source, wgpu::BufferUsages::COPY_SRC, doing)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.allocate("readback", tensor.bytes(), usage)?;
        let mapped = Signal::new();
        let submission = self.guarded(doing, || {
            let mut encoder = self.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(source, offset, &staging, 0, tensor.bytes());
            let submission = self.queue().submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., mapped.sender());
            submission
        });
        let submission = submission.map_err(|error| error.of_tensor(tensor))?;
        Ok(Copy {
            staging,
            mapped,
            submission,
        })
    }
}

/// Elements on their way to the host.
struct Copy {
    staging: wgpu::Buffer,
    mapped: Signal<MapResult>,
    submission: wgpu::SubmissionIndex,
}

type MapResult = Result<(), wgpu::BufferAsyncError>;

/// A future for what wgpu tells a callback.
#[derive(Debug)]
struct Signal<T> {
    state: Arc<Mutex<(Option<T>, Option<Waker>)>>,
}

impl<T> Signal<T> {
    fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new((None, None))),
        }
    }

    /// The callback's half.
    fn sender(&self) -> impl FnOnce(T) + use<T> {
        let state = Arc::clone(&self.state);
        move |value| {
            let mut state = lock(&state);
            state.0 = Some(value);
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Future for Signal<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.state);
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
