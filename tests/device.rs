//! The device layer: a failure of the GPU or its driver, or a mistake of the program, gives the right error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "device/adapters.rs"]
mod adapters;
#[path = "device/borrowed.rs"]
mod borrowed;
#[path = "device/buffers.rs"]
mod buffers;
#[path = "device/faults.rs"]
mod faults;
#[path = "device/futures.rs"]
mod futures;
#[path = "device/kernels.rs"]
mod kernels;
#[path = "device/limits.rs"]
mod limits;
#[path = "device/settings.rs"]
mod settings;

use wgrad::data::{Dataset, Sampling, Split, synthetic};
use wgrad::kernel::Element;
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::tensor::Tensor;
use wgrad::{Batch, Error, Gpu, Sequential, Trainer, TwoLayerNet};

/// Asserts that an error matches a pattern, and that its message contains the expected texts.
macro_rules! assert_error {
    ($error:expr, [$($named:expr),+ $(,)?], $($pattern:tt)+) => {
        let error = $error;
        let shown = format!("{error:?}");
        let message = error.to_string();
        assert!(matches!(error, $($pattern)+), "unexpected: {shown}");
        for named in [$($named),+] {
            assert!(message.contains(named), "\"{message}\" does not name \"{named}\"");
        }
    };
}
pub(crate) use assert_error;

fn gpu() -> Gpu {
    Gpu::new().expect("the suite needs an adapter")
}

fn digits() -> Split {
    synthetic::digits_of(1, 200, 50).unwrap()
}

fn spec() -> Sequential {
    TwoLayerNet::spec(784, 10, 10).seed(3)
}

const SAMPLING: Sampling = Sampling::WithReplacement { seed: 5 };

fn trainer(gpu: &Gpu, data: &Dataset) -> Result<Trainer, Error> {
    let model = spec().build(gpu)?;
    Trainer::new(
        model,
        SoftmaxCrossEntropy,
        Sgd::new(0.1),
        data,
        20,
        SAMPLING,
    )
}

/// Returns a trainer on the program's own tensors. Its examples are not uploaded, so nothing waits for the device.
fn trainer_on_tensors(gpu: &Gpu) -> Result<Trainer, Error> {
    let x = Tensor::zeros(gpu, "x", [20, 784], Element::F32)?;
    let labels = Tensor::zeros(gpu, "labels", [1, 20], Element::U32)?;
    let model = spec().build(gpu)?;
    let batch = Batch::new(&x, &labels);
    Trainer::external(model, SoftmaxCrossEntropy, Sgd::new(0.1), batch)
}

/// Trains a few steps. Asserts that the losses are numbers and that the weights have changed.
fn assert_trains(gpu: &Gpu) {
    let mut trainer = trainer(gpu, &digits().train).unwrap();
    let before = trainer.model().parameters().unwrap();
    let losses = trainer.steps(5).unwrap();
    assert_eq!(losses.len(), 5);
    assert!(
        losses.iter().all(|loss| loss.is_finite() && *loss > 0.0),
        "{losses:?}"
    );
    assert_ne!(trainer.model().parameters().unwrap(), before);
}
