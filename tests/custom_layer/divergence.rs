//! What a divergence leaves in layers' state, and how a training goes on after it.

use wgrad::data::Table;
use wgrad::ndarray::ArrayViewD;
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Evaluation, Parameters, Trainer, cpu};

use crate::gpu::gpu;
use crate::training::{BATCH, SAMPLING, normalized, table};

/// A trainer, on whichever engine.
trait Run {
    fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error>;
    fn parameters(&self) -> Parameters;
    fn state(&self) -> Parameters;
    fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error>;
    fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error>;
    fn set_state(&mut self, values: &Parameters) -> Result<(), Error>;
    fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error>;
    fn file(&self) -> Result<Vec<u8>, Error>;
    fn evaluate(&mut self, table: &Table) -> Evaluation;
}

macro_rules! run {
    ($trainer:ty, $parameters:expr, $state:expr, $file:expr) => {
        impl Run for $trainer {
            fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
                self.steps(count)
            }
            fn parameters(&self) -> Parameters {
                $parameters(self)
            }
            fn state(&self) -> Parameters {
                $state(self)
            }
            fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
                self.set_parameters(values)
            }
            fn set_parameter(
                &mut self,
                name: &str,
                value: ArrayViewD<'_, f32>,
            ) -> Result<(), Error> {
                self.set_parameter(name, value)
            }
            fn set_state(&mut self, values: &Parameters) -> Result<(), Error> {
                self.set_state(values)
            }
            fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
                self.set_weights(bytes)
            }
            fn file(&self) -> Result<Vec<u8>, Error> {
                $file(self)
            }
            fn evaluate(&mut self, table: &Table) -> Evaluation {
                <$trainer>::evaluate(self, table).unwrap()
            }
        }
    };
}

run!(
    Trainer,
    |trainer: &Trainer| trainer.model().parameters().unwrap(),
    |trainer: &Trainer| trainer.model().state().unwrap(),
    |trainer: &Trainer| pollster::block_on(trainer.to_safetensors())
);
run!(
    cpu::Trainer<f32>,
    |trainer: &cpu::Trainer<f32>| trainer.network().parameters(),
    |trainer: &cpu::Trainer<f32>| trainer.network().state(),
    cpu::Trainer::<f32>::to_safetensors
);

/// With a learning rate that no network survives, or one that it learns by.
fn on_both(learning_rate: f32) -> [(&'static str, Box<dyn Run>); 2] {
    let (network, table) = (normalized(), table(320));
    let optimizer = || Sgd::new(learning_rate).momentum(0.9);
    let model = network.build(gpu()).unwrap();
    let loss = SoftmaxCrossEntropy;
    let on_gpu = Trainer::new(model, loss, optimizer(), &table, BATCH, SAMPLING).unwrap();
    let on_cpu = cpu::Trainer::new(
        cpu::Network::<f32>::new(&network).unwrap(),
        SoftmaxCrossEntropy,
        optimizer(),
        &table,
        BATCH,
        SAMPLING,
    )
    .unwrap();
    [("gpu", Box::new(on_gpu)), ("cpu", Box::new(on_cpu))]
}

#[track_caller]
fn diverge(case: &str, trainer: &mut dyn Run) {
    let steps = trainer.steps(10);
    assert!(
        matches!(steps, Err(Error::Diverged { .. })),
        "{case}: {steps:?}"
    );
    let state = trainer.state();
    let mut values = state.iter().flat_map(|(_, values)| values);
    assert!(values.any(|value| !value.is_finite()), "{case}: {state:?}");
}

/// Parameters alone are enough, and all of them are needed.
#[test]
fn after_a_divergence_parameters_bring_sound_state() {
    let table = table(320);
    for ((case, mut trainer), (_, mut learned)) in on_both(1e38).into_iter().zip(on_both(0.1)) {
        let (sound, initial) = (trainer.parameters(), trainer.state());
        diverge(case, &mut *trainer);
        let (name, value) = sound.iter().next().unwrap();
        for refused in [
            trainer.set_parameter(name, value.view()),
            trainer.set_state(&initial),
            trainer.steps(1).map(drop),
            trainer.set_parameter(name, value.view()),
        ] {
            assert!(
                matches!(refused, Err(Error::Diverged { .. })),
                "{case}: {refused:?}"
            );
        }

        trainer.set_parameters(&sound).unwrap();
        assert_eq!(trainer.state(), initial, "{case}");
        assert_eq!(trainer.parameters(), sound, "{case}");
        trainer.file().unwrap();
        assert!(trainer.evaluate(&table).loss.is_finite(), "{case}");
        let losses = trainer.steps(1).unwrap();
        assert!(losses[0] < 10.0, "{case}: {losses:?}");

        // State that comes with the parameters is not that of a new network.
        learned.steps(5).unwrap();
        let (file, state) = (learned.file().unwrap(), learned.state());
        assert_ne!(state, initial, "{case}");
        diverge(case, &mut *trainer);
        trainer.set_weights(&file).unwrap();
        assert_eq!(trainer.state(), state, "{case}");
        diverge(case, &mut *trainer);
        trainer.set_parameters(&learned.parameters()).unwrap();
        trainer.set_state(&state).unwrap();
        assert_eq!(trainer.state(), state, "{case}");
        let expected = learned.evaluate(&table);
        assert_eq!(trainer.evaluate(&table), expected, "{case}");
    }
}

/// Without a divergence each of them is replaced alone.
#[test]
fn state_and_parameters_are_replaced_one_without_the_other() {
    for (case, mut trainer) in on_both(0.1) {
        let (parameters, state) = (trainer.parameters(), trainer.state());
        trainer.steps(5).unwrap();
        let learned = trainer.state();
        trainer.set_parameters(&parameters).unwrap();
        assert_eq!(trainer.state(), learned, "{case}");
        trainer.set_state(&state).unwrap();
        assert_eq!(trainer.state(), state, "{case}");
        assert_eq!(trainer.parameters(), parameters, "{case}");
        let unknown = trainer.set_state(&parameters);
        assert!(
            matches!(unknown, Err(Error::Setting { .. })),
            "{case}: {unknown:?}"
        );
    }
}
