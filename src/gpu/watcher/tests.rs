#![allow(clippy::unwrap_used)]

use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::{Gpu, IDLE, Post, lock};
use crate::error::Error;
use crate::kernel::Element;
use crate::tensor::Tensor;

const LONG: Duration = Duration::from_secs(20);

/// Whether `what` becomes true within [`LONG`].
fn becomes(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > LONG {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn begin_to_wait(gpu: &Gpu) -> impl Future<Output = Result<(), Error>> + use<> {
    let mut wait = Box::pin(gpu.wait_async());
    // The device may already have finished; both results are fine.
    let _polled = wait
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending();
    wait
}

/// The watcher's state, which the watcher's thread shares.
fn post(gpu: &Gpu) -> Arc<Post> {
    Arc::clone(&gpu.shared.watcher.post)
}

/// Whether the watcher's thread exists. If it does, it holds the third reference to `post`.
fn has_thread(post: &Arc<Post>) -> bool {
    Arc::strong_count(post) == 3
}

#[test]
fn one_thread_waits_as_long_as_something_is_waited_for_now_and_then() {
    let gpu = Gpu::new().unwrap();
    let post = post(&gpu);
    let y = Tensor::zeros(&gpu, "y", [1, 8], Element::F32).unwrap();
    for _round in 0..2 {
        assert!(!has_thread(&post) && !lock(&post.watched).runs);
        let mut last = Instant::now();
        for _frame in 0..20 {
            last = Instant::now();
            let [one, other] = [gpu.read_async::<f32>(&y), gpu.read_async::<f32>(&y)];
            pollster::block_on(one).unwrap();
            pollster::block_on(other).unwrap();
            drop(begin_to_wait(&gpu));
            assert!(becomes(|| lock(&post.watched).waits.is_empty()));
            std::thread::sleep(Duration::from_millis(5));
            // The thread sleeps, and no second one was started.
            assert!(has_thread(&post) && lock(&post.watched).runs);
        }
        assert!(becomes(|| !has_thread(&post)));
        assert!(last.elapsed() >= IDLE, "{:?}", last.elapsed());
    }
}

#[test]
fn the_thread_keeps_no_device() {
    let gpu = Gpu::new().unwrap();
    let shared = Arc::downgrade(&gpu.shared);
    let post = post(&gpu);
    let wait = begin_to_wait(&gpu);
    drop(gpu);
    assert!(shared.upgrade().is_some());
    drop(wait);
    assert!(becomes(|| shared.upgrade().is_none()));
    // The thread ends, too.
    assert!(becomes(|| Arc::strong_count(&post) == 1));
}

/// A blocking call waits in the caller's thread. This test holds the lock of the watcher's state, so the watcher thread
/// cannot be started.
#[test]
fn calls_that_block_need_no_other_thread() {
    let gpu = Gpu::new().unwrap();
    let y = Tensor::zeros(&gpu, "y", [1, 8], Element::F32).unwrap();
    let post = post(&gpu);
    let held = lock(&post.watched);
    let (sender, receiver) = mpsc::channel();
    let reader = gpu.clone();
    let thread = std::thread::spawn(move || {
        for _round in 0..100 {
            sender.send(reader.read::<f32>(&y)).unwrap();
        }
        sender
            .send(pollster::block_on(reader.read_async::<f32>(&y)))
            .unwrap();
    });
    for _round in 0..100 {
        assert_eq!(receiver.recv_timeout(LONG).unwrap().unwrap(), [0.0; 8]);
    }
    let waits = receiver.recv_timeout(Duration::from_millis(200));
    assert_eq!(waits.unwrap_err(), mpsc::RecvTimeoutError::Timeout);
    drop(held);
    receiver.recv_timeout(LONG).unwrap().unwrap();
    thread.join().unwrap();
}
