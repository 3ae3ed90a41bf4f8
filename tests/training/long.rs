//! Steps that are larger than the limit of a dispatch or of a submit.

use wgrad::data::{Sampling, synthetic};
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, Gpu, Sequential, Trainer, Unfused};

use crate::gpu::{dispatching, gpu};

fn trainer(gpu: &Gpu, widths: &[usize], batch: usize, fusion: Fusion) -> Result<Trainer, Error> {
    let digits = synthetic::digits_of(3, 2 * batch, 10)?;
    let hidden = |spec: Sequential, &width: &usize| spec.layer(Linear::new(width)).layer(Relu);
    let spec = widths.iter().fold(Sequential::input(784).seed(7), hidden);
    let model = spec.layer(Linear::new(10)).build(gpu)?;
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let sampling = Sampling::Shuffled { seed: 5 };
    Trainer::with_fusion(
        model,
        loss,
        optimizer,
        &digits.train,
        batch,
        sampling,
        fusion,
    )
}

fn bits(trainer: &Trainer) -> Vec<u32> {
    let parameters = trainer.model().parameters().unwrap();
    let values = parameters.iter().flat_map(|(_, values)| values);
    values.map(|value| value.to_bits()).collect()
}

/// Splitting a product into several dispatches does not change its bits.
#[test]
fn products_in_several_dispatches_give_the_same_bits() -> Result<(), Error> {
    let train = |gpu| -> Result<_, Error> {
        let mut trainer = trainer(gpu, &[120, 70], 200, Fusion::Layers)?;
        let losses = trainer.steps(5)?;
        Ok((trainer.plan().len(), losses, bits(&trainer)))
    };
    let (whole, losses, expected) = train(gpu())?;
    let (parts, of_parts, found) = train(&dispatching(8_000_000))?;
    assert!(parts > whole, "{parts} dispatches, {whole}");
    assert_eq!(of_parts, losses);
    assert!(found == expected, "parameters differ");
    Ok(())
}

/// A step of 13 GFLOP. On a software driver, it is split into several submits.
#[test]
fn a_step_in_several_submits_is_one_in_a_pass() -> Result<(), Error> {
    let trainer = || trainer(gpu(), &[1024, 1024], 1100, Fusion::Layers);
    let mut submitted = trainer()?;
    let mut encoded = trainer()?;
    // The first submit is measured, and the measured duration decides the size of the next submits.
    submitted.advance(1)?;
    submitted.steps(2)?;
    for _step in 0..3 {
        let mut encoder = gpu().device().create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        encoded.encode(1, &mut pass)?;
        drop(pass);
        gpu().queue().submit([encoder.finish()]);
    }
    assert!(bits(&submitted) == bits(&encoded), "parameters differ");
    Ok(())
}

/// A fused step cannot be split into several dispatches. If it would be too long, a program that requires fused
/// steps gets an error; for other programs, the step is not fused.
#[test]
fn a_fused_step_is_not_longer_than_a_dispatch_may_be() -> Result<(), Error> {
    let gpu = dispatching(20_000_000);
    let trainer = |fusion| trainer(&gpu, &[50], 200, fusion);
    let long = |unfused: &Unfused| matches!(unfused, Unfused::Long { needed, available: 20_000_000 } if *needed > 31_000_000);
    let refused = trainer(Fusion::Fused).unwrap_err();
    assert!(
        matches!(&refused, Error::Plan(unfused) if long(unfused)),
        "{refused}"
    );
    let mut taken = trainer(Fusion::Auto)?;
    assert!(taken.unfused().is_some_and(long), "{:?}", taken.unfused());
    assert!(taken.steps(1)?[0].is_finite());
    Ok(())
}
