//! Futures that wait for the device. They work in any executor, and do not block its thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use pollster::block_on;
use tokio::runtime::Builder;
use wgrad::kernel::Element;
use wgrad::plumbing::step_plan;
use wgrad::tensor::Tensor;
use wgrad::wgpu::SubmissionIndex;
use wgrad::{Error, Gpu, Trainer};

use crate::{assert_error, assert_trains, digits, gpu, trainer, trainer_on_tensors};

/// Work that takes some tenths of a second on a device.
struct Long {
    gpu: Gpu,
    trainer: Trainer,
    steps: usize,
}

impl Long {
    fn on(gpu: Gpu) -> Self {
        let trainer = trainer(&gpu, &digits().train).unwrap();
        let mut steps = 50;
        loop {
            let start = Instant::now();
            gpu.submit(step_plan(&trainer).unwrap(), steps).unwrap();
            gpu.wait(None).unwrap();
            if start.elapsed() >= Duration::from_millis(200) {
                return Self {
                    gpu,
                    trainer,
                    steps,
                };
            }
            steps *= 2;
        }
    }

    fn submit(&self) -> SubmissionIndex {
        self.gpu
            .submit(step_plan(&self.trainer).unwrap(), self.steps)
            .unwrap()
    }
}

fn tensor(gpu: &Gpu, value: f32) -> Tensor {
    let tensor = Tensor::zeros(gpu, "y", [1, 8], Element::F32).unwrap();
    gpu.write(&tensor, &[value; 8]).unwrap();
    tensor
}

/// Returns the result of a future, and how many times another task on the same thread was polled in the meantime.
fn with_turns<T>(future: impl Future<Output = T>) -> (T, u64) {
    let state = Arc::new((AtomicU64::new(0), AtomicBool::new(false)));
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let of_task = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while !of_task.1.load(Ordering::SeqCst) {
                of_task.0.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
        tokio::task::yield_now().await;
        let before = state.0.load(Ordering::SeqCst);
        let given = future.await;
        let turns = state.0.load(Ordering::SeqCst) - before;
        state.1.store(true, Ordering::SeqCst);
        task.await.unwrap();
        (given, turns)
    })
}

#[test]
fn a_task_goes_on_while_another_of_its_thread_waits_for_the_device() {
    let work = Long::on(gpu());
    work.submit();
    let (done, turns) = with_turns(work.gpu.wait_async());
    done.unwrap();
    assert!(turns > 100, "{turns} turns");
}

/// The device has no other work than the copy of a large tensor. With other work, the submit of the copy could block
/// the thread: with a software driver, a submit may wait for earlier submits.
#[test]
fn a_task_goes_on_while_another_of_its_thread_reads() {
    let gpu = gpu();
    let large = Tensor::zeros(&gpu, "large", [1 << 12, 1 << 12], Element::F32).unwrap();
    gpu.write(&large, &vec![7.0f32; large.len()]).unwrap();
    gpu.wait(None).unwrap();
    let (read, turns) = with_turns(gpu.read_async::<f32>(&large));
    assert!(read.unwrap().iter().all(|&value| value == 7.0));
    assert!(turns > 10, "{turns} turns");
}

#[test]
fn tasks_on_several_threads_each_get_their_own_elements() {
    let work = Long::on(gpu());
    let runtime = Builder::new_multi_thread()
        .worker_threads(3)
        .build()
        .unwrap();
    for _round in 0..3 {
        let tasks: Vec<_> = (0..24u8)
            .map(|value| {
                let gpu = work.gpu.clone();
                let y = tensor(&work.gpu, value.into());
                if value % 8 == 0 {
                    work.submit();
                }
                runtime.spawn(async move {
                    let read = gpu.read_async::<f32>(&y);
                    tokio::task::yield_now().await;
                    read.await
                })
            })
            .collect();
        for (value, task) in (0..24u8).zip(tasks) {
            let found = runtime.block_on(task).unwrap().unwrap();
            assert_eq!(found, [f32::from(value); 8]);
        }
    }
    assert_trains(&work.gpu);
}

#[test]
fn a_plain_executor_gets_what_the_blocking_calls_give() {
    let gpu = gpu();
    let digits = digits();
    let mut one = trainer(&gpu, &digits.train).unwrap();
    let mut other = trainer(&gpu, &digits.train).unwrap();
    let losses = one.steps(30).unwrap();
    assert_eq!(block_on(other.steps_async(30)).unwrap(), losses);
    assert_eq!(
        block_on(other.evaluate_async(&digits.test)).unwrap(),
        one.evaluate(&digits.test).unwrap()
    );
    assert_eq!(
        block_on(other.model().parameters_async()).unwrap(),
        one.model().parameters().unwrap()
    );
}

#[test]
fn futures_are_sent_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let gpu = gpu();
    let digits = digits();
    let mut trainer = trainer(&gpu, &digits.train).unwrap();
    is_send(gpu.wait_async());
    is_send(gpu.read_async::<f32>(&tensor(&gpu, 0.0)));
    is_send(Gpu::request());
    is_send(trainer.model().parameters_async());
    is_send(trainer.to_safetensors_async());
    is_send(trainer.losses_async(0));
    is_send(trainer.steps_async(1));
    is_send(trainer.evaluate_async(&digits.test));
    is_send(trainer.predictions_async(&digits.test));
}

#[test]
fn a_future_of_work_that_takes_too_long_is_a_timeout_and_not_the_end() {
    let hasty = Gpu::builder().timeout(Duration::from_nanos(1)).build();
    let hasty = hasty.unwrap();
    let trainer = trainer_on_tensors(&hasty).unwrap();
    // If a software driver has started a submit, a wait may end with that submit instead of timing out. Therefore
    // several attempts are made.
    let attempt = |_| {
        for _submit in 0..20 {
            hasty.submit(step_plan(&trainer).unwrap(), 100).unwrap();
        }
        block_on(hasty.wait_async()).err()
    };
    let error = (0..5).find_map(attempt).expect("no wait of 5 ended early");
    assert_error!(error, ["did not finish", "GpuBuilder::timeout"],
        Error::Timeout { after, .. } if after == Duration::from_nanos(1));
    assert_trains(&gpu());
}

#[test]
fn a_future_that_is_dropped_early_harms_nothing() {
    let work = Long::on(gpu());
    let y = tensor(&work.gpu, 5.0);
    let mut context = Context::from_waker(Waker::noop());
    for _round in 0..3 {
        work.submit();
        let wait = work.gpu.wait_async();
        let unpolled = work.gpu.read_async::<f32>(&y);
        let read = work.gpu.read_async::<f32>(&y);
        // These futures are dropped after they have started. They may or may not be done.
        let _wait = pin!(wait).poll(&mut context);
        let _read = pin!(read).poll(&mut context);
        drop(unpolled);
        let kept = work.gpu.read_async::<f32>(&y);
        assert_eq!(block_on(kept).unwrap(), [5.0; 8]);
    }
    assert_trains(&work.gpu);
}

/// wgpu runs the program's callbacks in the thread that polls the device. Here, this is the thread that waits.
#[test]
fn a_panic_in_the_thread_that_waits_is_told() {
    let work = Long::on(gpu());
    let queue = work.gpu.queue();
    let panics = || queue.on_submitted_work_done(|| panic!("a mistake in a callback"));
    let named = "a mistake in a callback";

    // The panic drops all later callbacks.
    work.submit();
    panics();
    let runtime = Builder::new_multi_thread().worker_threads(2).build();
    let runtime = runtime.unwrap();
    let waits = [work.gpu.wait_async(), work.gpu.wait_async()];
    let waits = waits.map(|wait| runtime.spawn(wait));
    // No future may wait forever for a callback that was dropped. A future that is polled later finds that its work is
    // done.
    let results = waits.map(|wait| block_on(wait).unwrap());
    let told = results.into_iter().find_map(Result::err).unwrap();
    assert_error!(told, [named], Error::Gpu { .. });

    // If no future is waiting, the next call that uses the device gets the error.
    work.submit();
    let wait = work.gpu.wait_async();
    panics();
    let told = block_on(wait).and_then(|()| work.gpu.wait(None));
    let told = told.and_then(|()| {
        std::thread::sleep(Duration::from_millis(100));
        work.gpu.wait(None)
    });
    assert_error!(told.unwrap_err(), [named], Error::Gpu { .. });
    work.gpu.wait(None).unwrap();
    assert_trains(&work.gpu);
}

/// With a software driver, work may already be done when the submit returns. Even then, the future must let other tasks
/// run between its submits.
#[test]
fn many_steps_leave_their_thread_between_submits() -> Result<(), Error> {
    let mut trainer = trainer(&gpu(), &digits().train)?;
    let length = step_plan(&trainer).unwrap().len();
    // A submit has at most 2,000 dispatches.
    let submits = 5;
    let mut polls = 0;
    {
        let mut steps = pin!(trainer.steps_async(submits * 2000 / length));
        block_on(std::future::poll_fn(|context| {
            polls += 1;
            steps.as_mut().poll(context)
        }))?;
    }
    assert!(polls >= submits - 1, "{polls} polls");
    Ok(())
}
