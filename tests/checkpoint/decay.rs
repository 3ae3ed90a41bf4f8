//! A checkpoint file states to which parameters weight decay applies.

use std::sync::Arc;

use wgrad::ops::{
    AdaGrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd, SoftmaxCrossEntropy, Update,
};
use wgrad::plan::Recorder;
use wgrad::reference::Rule;
use wgrad::{Error, cpu};

use super::spec;
use crate::parts::parts;

/// An optimizer whose description differs from the descriptions of the crate's optimizers.
#[derive(Debug, Clone, Copy)]
struct Shrinking {
    shrink: f32,
}

impl Optimizer for Shrinking {
    fn describe(&self) -> String {
        format!("Shrinking {{ shrink: {:?} }}", self.shrink)
    }

    fn learning_rate(&self) -> f32 {
        0.1
    }

    fn with_learning_rate(&self, _: f32) -> Arc<dyn Optimizer> {
        Arc::new(*self)
    }

    fn decay(&self) -> f32 {
        self.shrink
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        Sgd::new(0.1)
            .weight_decay(self.shrink)
            .update(recorder, pass)
    }

    fn reference(&self) -> Rule {
        Sgd::new(0.1).weight_decay(self.shrink).reference()
    }
}

#[test]
fn a_file_says_which_parameters_decay_where_the_optimizer_has_a_decay() {
    let shared = |optimizer| -> Arc<dyn Optimizer> { Arc::new(optimizer) };
    type Make = fn(f32) -> Box<dyn Optimizer>;
    let optimizers: [Make; 8] = [
        |decay| Box::new(Sgd::new(0.1).weight_decay(decay)),
        |decay| Box::new(Adam::new(0.1).weight_decay(decay)),
        |decay| Box::new(AdamW::new(0.1).weight_decay(decay)),
        |decay| Box::new(AdaGrad::new(0.1).weight_decay(decay)),
        |decay| Box::new(RmsProp::new(0.1).weight_decay(decay)),
        |decay| Box::new(Adam::new(0.1).weight_decay(decay).clip_norm(1.0)),
        |decay| {
            let rms_prop = RmsProp::new(0.1).weight_decay(decay);
            Box::new(rms_prop.scheduled(Schedule::cosine(50)))
        },
        |shrink| Box::new(Shrinking { shrink }),
    ];
    for make in optimizers {
        for (decay, expected) in [(0.0, None), (0.01, Some("weights"))] {
            for optimizer in [make(decay), Box::new(shared(make(decay)))] {
                let what = optimizer.describe();
                let network = cpu::Network::<f32>::new(&spec()).unwrap();
                let loss = SoftmaxCrossEntropy;
                let trainer = cpu::Trainer::online(network, loss, optimizer).unwrap();
                let (_, metadata) = parts(&trainer.to_safetensors().unwrap());
                let found = metadata.get("decay").map(String::as_str);
                assert_eq!(found, expected, "{what}");
            }
        }
    }
}
