#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ndarray::array;

use super::Trainer;
use crate::cpu::Network;
use crate::cpu::footprint::{Training, of_accumulation};
use crate::cpu::sparse;
use crate::data::{Dataset, Examples, Labels, Sampling, Table, synthetic};
use crate::memory::bytes_of;
use crate::ops::{Adam, Layer, Linear, MeanSquaredError, Relu, Sgd, SoftmaxCrossEntropy};
use crate::reference::Float;
use crate::{Sequential, TwoLayerNet};

const SAMPLING: Sampling = Sampling::Shuffled { seed: 1 };

impl<F: Float> Trainer<F> {
    /// Number of bytes allocated for the steps.
    fn allocated(&self) -> u64 {
        let minibatches = self.minibatches.as_ref().unwrap();
        bytes_of::<F>((self.updater.numbers()) as u64) + minibatches.allocated()
    }
}

/// Number of bytes that `footprint` counts before anything is allocated: those of the training with gradient
/// accumulation, but without those of an evaluation.
fn counted<F: Float>(trainer: &Trainer<F>, batch: usize) -> u64 {
    let minibatches = trainer.minibatches.as_ref().unwrap();
    let (examples, _) = minibatches.rows.examples().unwrap();
    let form = match examples {
        Examples::Bytes(dataset) => {
            let outputs = trainer.network.passes.columns(1);
            sparse::Form::of::<F>(dataset, batch, outputs)
        }
        Examples::Table(_) => None,
    };
    let training = Training {
        passes: &trainer.network.passes,
        kept: trainer.optimizer().state().len(),
        values: examples.values().map_or(0, |_| examples.outputs()),
        batch,
        sparse: form.as_ref(),
        of_stream: 0,
    };
    let of_one = training.bytes::<F>() - training.of_evaluation::<F>();
    match minibatches.accumulated() {
        1 => of_one,
        // Both counts include the indices of one minibatch.
        several => {
            let of_all = of_accumulation::<F>(training.passes, batch * several);
            of_one + of_all - bytes_of::<u32>(batch as u64)
        }
    }
}

fn table() -> Table {
    let x = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
    Table::regression("three", x.view(), x.view()).unwrap()
}

/// Two inputs, a layer that is used twice, a sum, and a concatenation.
fn with_everything() -> Sequential {
    let again: Arc<dyn Layer> = Arc::new(Linear::new(2));
    let network = Sequential::input(2)
        .named("first")
        .another_input(1)
        .layer(Linear::new(2));
    let network = network
        .layer(again.clone())
        .add("first")
        .layer(Relu)
        .layer(again);
    network.concat("first").layer(Linear::new(3))
}

#[test]
fn what_a_training_allocates_is_what_was_counted() {
    let spec = Sequential::input(3)
        .layer(Relu)
        .layer(Linear::new(7))
        .layer(Relu);
    let chain = spec.layer(Linear::new(3));
    for (spec, batch) in [
        (&chain, 1),
        (&chain, 3),
        (&with_everything(), 1),
        (&with_everything(), 3),
    ] {
        let loss = MeanSquaredError;
        let optimizer = Adam::new(0.1);
        let trainer = Trainer::new(
            Network::<f64>::new(spec).unwrap(),
            loss,
            optimizer,
            &table(),
            batch,
            SAMPLING,
        );
        let mut trainer = trainer.unwrap();
        assert_eq!(counted(&trainer, batch), trainer.allocated());
        trainer.steps(3).unwrap();
        assert_eq!(counted(&trainer, batch), trainer.allocated());
        if batch == 1 {
            for minibatches in [3, 2, 1] {
                trainer.accumulate(minibatches).unwrap();
                trainer.steps(3).unwrap();
                assert_eq!(counted(&trainer, batch), trainer.allocated());
            }
        }
    }
}

/// The counted bytes are an upper bound: they assume that every row has as many nonzero features as the row with the
/// most.
#[test]
fn what_a_sparse_training_allocates_is_at_most_what_was_counted() {
    let digits = synthetic::digits_of(1, 300, 1).unwrap().train;
    for (hidden, batch) in [(50, 1), (50, 7), (50, 300), (400, 64), (400, 299)] {
        let spec = TwoLayerNet::spec(784, hidden, 10);
        let trainer = Trainer::new(
            Network::<f32>::new(&spec).unwrap(),
            SoftmaxCrossEntropy,
            Sgd::new(0.1),
            &digits,
            batch,
            SAMPLING,
        );
        let mut trainer = trainer.unwrap();
        let is_sparse = trainer.minibatches.as_ref().unwrap().is_sparse();
        assert_eq!(is_sparse, hidden == 50 || sparse::has_blocks());
        trainer.steps(50).unwrap();
        let counted = counted(&trainer, batch);
        let allocated = trainer.allocated();
        assert!(allocated <= counted, "{batch}: {allocated} of {counted}");
        assert!(
            4 * allocated >= 3 * counted,
            "{batch}: {allocated} of {counted}"
        );
    }
}

/// All bytes of the features are nonzero, so the first layer does not use the sparse form. The minibatch then holds the
/// features as floats, and the counted bytes include these floats.
#[test]
fn what_a_training_of_dense_bytes_allocates_is_what_was_counted() {
    let labels = Labels::from_classes(vec![0, 1], 2).unwrap();
    let dense = Dataset::new("dense", 4, vec![9; 8], labels).unwrap();
    let spec = TwoLayerNet::spec(4, 3, 2);
    let loss = SoftmaxCrossEntropy;
    let trainer = Trainer::new(
        Network::<f32>::new(&spec).unwrap(),
        loss,
        Sgd::new(0.1),
        &dense,
        2,
        SAMPLING,
    );
    let trainer = trainer.unwrap();
    assert!(!trainer.minibatches.as_ref().unwrap().is_sparse());
    assert_eq!(counted(&trainer, 2), trainer.allocated());
}

/// Freezing and unfreezing must not move any buffer, except the gradients with respect to values, which are resized.
#[test]
fn gradients_that_are_not_wanted_take_no_memory_and_nothing_is_there_twice() {
    let mut trainer = Trainer::new(
        Network::<f32>::new(&with_everything()).unwrap(),
        MeanSquaredError,
        Adam::new(0.1),
        &table(),
        3,
        SAMPLING,
    )
    .unwrap();
    let places = |trainer: &Trainer| -> Vec<*const f32> {
        let work = &trainer.minibatches.as_ref().unwrap().work;
        let values = work.values.iter().chain(work.kept.iter().flatten());
        let all = values.chain(&work.gradients).chain(&work.later);
        all.map(ndarray::Array2::as_ptr).collect()
    };
    let numbers = |trainer: &Trainer| trainer.minibatches.as_ref().unwrap().work.numbers();
    let anew = |trainer: &Trainer| {
        let wanted = trainer.updater.wanted();
        let work = trainer.network.passes.workspace::<f32>(3, false, &wanted);
        work.numbers()
    };
    trainer.steps(1).unwrap();
    let before = places(&trainer);
    let all = numbers(&trainer);
    // `layers.1` is used twice. Once both layers are frozen, no trained parameter needs the gradient by the first
    // layer's output.
    for layer in ["layers.0", "layers.1"] {
        trainer.freeze(layer).unwrap();
        assert_eq!(numbers(&trainer), anew(&trainer), "{layer}");
        trainer.steps(1).unwrap();
    }
    assert!(numbers(&trainer) < all);
    trainer.unfreeze("*").unwrap();
    assert_eq!(numbers(&trainer), all);
    trainer.steps(1).unwrap();
    assert_eq!(places(&trainer), before);
}

/// In each case, the first layer uses the sparse form in blocks of rows: with and without a `Relu`, with a layer used
/// twice, with several minibatches per step, and with a freeze in between.
#[test]
fn a_wide_first_layer_over_bytes_trains_as_its_definition_does() {
    let digits = synthetic::digits_of(1, 300, 1).unwrap().train;
    let again: Arc<dyn Layer> = Arc::new(Linear::new(784));
    let first = Sequential::input(784).layer(again.clone());
    let used_again = first.layer(Relu).layer(again.clone());
    let added = Sequential::input(784).layer(again.clone()).named("first");
    let plain = Sequential::input(784).layer(Linear::new(401).without_bias());
    for (spec, batch, minibatches) in [
        (plain.clone().layer(Relu), 64, 1),
        (plain, 65, 3),
        (used_again, 64, 1),
        (added.layer(again).add("first"), 67, 2),
    ] {
        let spec = spec.layer(Linear::new(10));
        let train = |network: Network<f64>, is_fast| {
            let loss = SoftmaxCrossEntropy;
            let rule = Sgd::new(0.05);
            let mut trainer = Trainer::new(network, loss, rule, &digits, batch, SAMPLING).unwrap();
            let minibatches_of = trainer.minibatches.as_ref().unwrap();
            assert_eq!(minibatches_of.is_sparse(), is_fast);
            trainer.accumulate(minibatches).unwrap();
            trainer.steps(2).unwrap();
            trainer.freeze("layers.0").unwrap();
            trainer.steps(1).unwrap();
            trainer.unfreeze("*").unwrap();
            trainer.steps(2).unwrap();
            let all = trainer.network().parameters();
            let values = all.iter().flat_map(|(_, of)| of.iter().copied());
            values.collect::<Vec<_>>()
        };
        let found = train(Network::new(&spec).unwrap(), sparse::has_blocks());
        let expected = train(Network::by_definition(&spec).unwrap(), false);
        let before = Network::<f64>::new(&spec).unwrap().parameters();
        let before: Vec<f64> = before.iter().flat_map(|(_, of)| of.to_owned()).collect();
        let moved = |from: &[f64]| {
            let apart = found.iter().zip(from).map(|(a, b)| (a - b).abs());
            apart.fold(0.0, f64::max)
        };
        assert!(moved(&before) > 1e-4);
        assert!(moved(&expected) < 1e-12, "{}", moved(&expected));
    }
}
