//! A device that fails while it is working.

use std::time::Duration;

use wgrad::data::{Dataset, Labels};
use wgrad::kernel::Element;
use wgrad::ops::{Linear, Sgd, SoftmaxCrossEntropy};
use wgrad::plumbing::step_plan;
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Sequential, Trainer, wgpu};

use crate::borrowed::{compile_unusable, device, mistake};
use crate::{
    SAMPLING, assert_error, assert_trains, digits, gpu, spec, trainer, trainer_on_tensors,
};

/// Asserts the error of every operation on a lost device.
fn assert_lost(gpu: &Gpu) {
    let digits = digits();
    let mut trainer = trainer(gpu, &digits.train).unwrap();
    trainer.steps(2).unwrap();
    trainer.evaluate(&digits.test).unwrap();
    gpu.device().destroy();
    let errors = [
        ("steps", trainer.steps(2).map(|_| ())),
        ("steps again", trainer.steps(2).map(|_| ())),
        ("evaluate", trainer.evaluate(&digits.test).map(|_| ())),
        ("parameters", trainer.model().parameters().map(|_| ())),
        ("build", spec().build(gpu).map(|_| ())),
    ];
    for (what, error) in errors {
        let Err(error) = error else {
            panic!("{what} succeeded on a destroyed device");
        };
        println!("{what}: {error}");
        assert_error!(error, ["lost", "make a new Gpu"], Error::DeviceLost { .. });
    }
}

#[test]
fn a_destroyed_device_is_lost() {
    assert_lost(&gpu());
    assert_trains(&gpu());
}

#[test]
fn a_destroyed_device_of_another_owner_is_lost() {
    let (device, queue) = device(wgpu::Limits::default());
    assert_lost(&Gpu::from_wgpu(device, queue));
}

#[test]
fn work_that_takes_too_long_is_a_timeout_and_not_the_end() {
    let hasty = Gpu::builder()
        .timeout(Duration::from_nanos(1))
        .build()
        .unwrap();
    let trainer = trainer_on_tensors(&hasty).unwrap();
    // While a software driver works, it may hold a lock. Then a wait blocks until the work is done, and does not time
    // out. A wait right after the submit may come before the work has started, and then times out. Therefore several
    // attempts are made.
    let attempt = |_| {
        let submission = hasty.submit(step_plan(&trainer).unwrap(), 500).unwrap();
        hasty.wait(Some(submission)).err()
    };
    let error = (0..50)
        .find_map(attempt)
        .expect("no wait of 50 ended early");
    assert_error!(error, ["did not finish", "GpuBuilder::timeout"],
        Error::Timeout { after, .. } if after == Duration::from_nanos(1));
    assert_trains(&gpu());
}

#[test]
fn what_wgpu_refuses_is_an_error() {
    let gpu = gpu();
    let error = compile_unusable(&gpu).unwrap_err();
    assert_error!(
        error,
        ["compiling unusable::backward", "entry point"],
        Error::Gpu { .. }
    );
    assert_trains(&gpu);
}

/// wgpu's default error handler would end the process.
#[test]
fn a_mistake_elsewhere_on_our_device_is_reported_and_does_not_panic() {
    let gpu = gpu();
    mistake(gpu.device());
    let error = spec().build(&gpu).unwrap_err();
    assert_error!(error, ["a mistake elsewhere"], Error::Gpu { .. });
    assert_trains(&gpu);
}

#[test]
fn a_tensor_over_the_limit_names_itself_the_need_and_the_limit() {
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 1 << 20,
        ..Default::default()
    };
    let (device, queue) = device(limits);
    let gpu = Gpu::from_wgpu(device, queue);
    let wide = Sequential::input(784).layer(Linear::new(400));
    let error = wide.build(&gpu).unwrap_err();
    assert_error!(
        error,
        [
            "layers.0.weight",
            "784 × 400",
            "1254400",
            "1048576",
            "Make it smaller"
        ],
        Error::Limit {
            limit: "max_storage_buffer_binding_size",
            needed: 1_254_400,
            available: 1_048_576,
            ..
        }
    );
    assert_trains(&gpu);
}

#[test]
fn more_loop_iterations_than_a_software_driver_runs_are_refused() {
    let gpu = gpu();
    let rows = 66_000;
    let labels = Labels::from_classes((0..rows).map(|row| row % 2).collect(), 2).unwrap();
    let data = Dataset::new("tiny", 2, vec![7; 2 * labels.len()], labels).unwrap();
    let model = Sequential::input(2)
        .layer(Linear::new(2))
        .build(&gpu)
        .unwrap();
    let batch = data.len();
    let built = Trainer::new(
        model,
        SoftmaxCrossEntropy,
        Sgd::new(0.1),
        &data,
        batch,
        SAMPLING,
    );
    if gpu.kind() == wgrad::gpu::AdapterKind::Hardware {
        assert!(built.is_ok());
        return;
    }
    assert_error!(
        built.unwrap_err(),
        ["linear", "66000", "65000", "Make it smaller"],
        Error::Limit {
            needed: 66_000,
            available: 65_000,
            ..
        }
    );
}

/// The environment variable that tells [`child_with_little_memory`] that it runs in a process with limited memory.
const LITTLE_MEMORY: &str = "WGRAD_TEST_LITTLE_MEMORY";

/// The part of the next test that runs in a child process. As an ordinary test, does nothing.
#[test]
fn child_with_little_memory() {
    if std::env::var_os(LITTLE_MEMORY).is_none() {
        return;
    }
    let gpu = gpu();
    assert_trains(&gpu);
    let columns = usize::try_from(gpu.largest_binding().min(1 << 30) / 4).unwrap();
    let mut tensors = Vec::new();
    let error = loop {
        match Tensor::zeros(&gpu, "huge", [1, columns], Element::F32) {
            Ok(tensor) => tensors.push(tensor),
            Err(error) => break error,
        }
        assert!(tensors.len() < 1000, "more than there is");
    };
    println!("after {} buffers: {error}", tensors.len());
    assert_error!(
        error,
        ["out of memory", "allocating huge", "smaller"],
        Error::OutOfMemory { .. }
    );
}

/// Runs [`child_with_little_memory`] in a child process. A limit of the child's address space simulates a GPU with
/// little memory. Without the limit, a software driver would use all memory of the machine.
#[test]
#[cfg(target_os = "linux")]
fn memory_that_is_not_there_is_an_error() {
    if gpu().kind() == wgrad::gpu::AdapterKind::Hardware {
        return;
    }
    let child = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 12000000 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "faults::child_with_little_memory", "--nocapture"])
        .env(LITTLE_MEMORY, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{output}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(output.contains("out of memory"), "{output}");
}
