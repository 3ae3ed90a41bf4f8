//! A change of the training that fails must change nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wgrad::data::Sampling;
use wgrad::ops::{Group, Optimizer, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, Trainer};

use super::watched::Watched;
use super::{digits, relu_net};
use crate::gpu::gpu;

fn trainer(optimizer: impl Optimizer + 'static) -> Trainer {
    let model = relu_net().build(gpu()).unwrap();
    let data = digits().train;
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::WithReplacement { seed: 1 };
    let fusion = Fusion::Layers;
    Trainer::with_fusion(model, loss, optimizer, &data, 20, sampling, fusion).unwrap()
}

#[test]
fn steering_that_fails_changes_nothing() {
    let fails = Arc::new(AtomicBool::new(false));
    let moody = |rate: f32| {
        let fails = Arc::clone(&fails);
        Watched::new(Sgd::new(rate).momentum(0.9), move || {
            if fails.load(Ordering::SeqCst) {
                Err(Error::Gpu {
                    doing: "recording".to_owned(),
                    message: "not now".to_owned(),
                })
            } else {
                Ok(())
            }
        })
    };
    let mut plain = trainer(moody(0.1));
    let mut steered = trainer(moody(0.1));
    assert_eq!(plain.steps(5).unwrap(), steered.steps(5).unwrap());
    let before = steered.to_safetensors().unwrap();
    fails.store(true, Ordering::SeqCst);
    let refused = [
        steered.set_optimizer(moody(0.5)),
        steered.freeze("layers.0"),
        steered.set_group("*.bias", Group::new().rate(3.0)),
        steered.accumulate(4),
        steered.average(0.9),
    ];
    for error in refused {
        assert!(matches!(error, Err(Error::Gpu { .. })), "{error:?}");
    }
    assert!(steered.to_safetensors().unwrap() == before);
    assert_eq!(
        steered.optimizer().learning_rate().to_bits(),
        0.1f32.to_bits()
    );
    assert!(steered.averaged().unwrap().is_none());
    assert_eq!(plain.steps(5).unwrap(), steered.steps(5).unwrap());
    assert!(plain.to_safetensors().unwrap() == steered.to_safetensors().unwrap());
    fails.store(false, Ordering::SeqCst);
    steered.accumulate(4).unwrap();
    assert_ne!(plain.steps(1).unwrap(), steered.steps(1).unwrap());
}

#[test]
fn a_step_has_so_many_minibatches_at_most() {
    let mut trainer = trainer(Sgd::new(0.1));
    let rows = digits().train.len();
    let told = trainer.accumulate(rows / 20 + 1).unwrap_err().to_string();
    let expected = format!("minibatches of a step must be 1 to {}", rows / 20);
    assert!(told.starts_with(&expected), "{told}");
}
