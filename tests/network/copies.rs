//! A copy of a network is independent: a change of one does not affect the other.

use wgrad::ndarray::ArrayD;
use wgrad::ops::{Linear, MeanSquaredError, Sgd, Tanh};
use wgrad::{Error, Gpu, Sequential, Trainer, cpu};

use super::refusals::Named;
use super::{SAMPLING, surface};
use crate::gpu::gpu;

fn spec(seed: u64) -> Sequential {
    let network = Sequential::input(4).layer(Linear::new(300)).layer(Tanh);
    network.layer(Linear::new(1)).seed(seed)
}

#[test]
fn a_copy_stays_when_the_other_is_trained() {
    let model = spec(1).build(gpu()).unwrap();
    let copy = model.try_clone().unwrap();
    let before = model.parameters().unwrap();
    assert_eq!(copy.parameters().unwrap(), before);
    let table = surface(100, 4);
    let mut trainer = Trainer::new(
        model,
        MeanSquaredError,
        Sgd::new(0.05),
        &table,
        10,
        SAMPLING,
    )
    .unwrap();
    trainer.steps(3).unwrap();
    assert_eq!(copy.parameters().unwrap(), before);
    assert_ne!(trainer.model().parameters().unwrap(), before);

    let mut network = cpu::Network::<f32>::new(&spec(1)).unwrap();
    let copy = network.clone();
    network
        .set_parameters(&trainer.model().parameters().unwrap())
        .unwrap();
    assert_eq!(copy.parameters(), before);
}

/// Asserts that `found` is `own + share·(other − own)`, up to two or three roundings. Because of possible cancellation,
/// each rounding may be half a unit in the last place of the largest number.
fn assert_between(found: &ArrayD<f32>, own: &ArrayD<f32>, other: &ArrayD<f32>, share: f32) {
    for ((&found, &own), &other) in found.iter().zip(own).zip(other) {
        let [own, other, share] = [own, other, share].map(f64::from);
        let expected = own + share * (other - own);
        let size = own.abs() + other.abs();
        assert!((f64::from(found) - expected).abs() <= 4.0 * size / f64::from(1u32 << 24));
    }
}

#[test]
fn a_network_follows_another_by_shares() {
    let mut own = spec(1).build(gpu()).unwrap();
    let other = spec(2).build(gpu()).unwrap();
    let before = own.parameters().unwrap();
    let theirs = other.parameters().unwrap();
    let mut on_cpu = cpu::Network::<f32>::new(&spec(1)).unwrap();
    let other_on_cpu = cpu::Network::<f32>::new(&spec(2)).unwrap();
    own.mix(&other, 0.25).unwrap();
    on_cpu.mix(&other_on_cpu, 0.25).unwrap();
    for found in [own.parameters().unwrap(), on_cpu.parameters()] {
        for (name, value) in found.iter() {
            assert_between(value, &before[name], &theirs[name], 0.25);
        }
    }
    own.mix(&other, 0.0).unwrap();
    own.copy_from(&other).unwrap();
    on_cpu.copy_from(&other_on_cpu).unwrap();
    assert_eq!(own.parameters().unwrap(), theirs);
    assert_eq!(on_cpu.parameters(), theirs);
}

#[test]
fn what_cannot_follow_is_told() {
    let mut own = spec(1).build(gpu()).unwrap();
    let wider = Sequential::input(4)
        .layer(Linear::new(3))
        .build(gpu())
        .unwrap();
    let error = own.mix(&wider, 0.5).unwrap_err().to_string();
    assert!(
        error.contains("4 → Linear(300) → Tanh → Linear(1); it is 4 → Linear(3)"),
        "{error}"
    );
    let alike = spec(2).build(gpu()).unwrap();
    for share in [-0.1, 1.1, f32::NAN] {
        let error = own.mix(&alike, share).unwrap_err().to_string();
        assert!(
            error.contains("share of the other network must be 0 to 1"),
            "{error}"
        );
    }
    let elsewhere = spec(2).build(&Gpu::new().unwrap()).unwrap();
    assert!(matches!(
        own.mix(&elsewhere, 0.5),
        Err(Error::OtherGpu { .. })
    ));
    let mut network = cpu::Network::<f32>::new(&spec(1)).unwrap();
    let other = cpu::Network::new(&Sequential::input(4).layer(Linear::new(3))).unwrap();
    assert!(network.mix(&other, 0.5).is_err());
}

/// Networks with layers from outside the crate may have equal layer names and still differ.
#[test]
fn state_follows_too_and_other_parameters_do_not() {
    let named = |names, seed| Sequential::input(3).layer(Named(names)).seed(seed);
    let build = |seed| named(&["mean", "weight"], seed).build(gpu()).unwrap();
    let mut own = build(1);
    let other = build(2);
    let before = own.state().unwrap();
    let theirs = other.state().unwrap();
    assert_ne!(before, theirs);
    let copy = own.try_clone().unwrap();
    let on_cpu = |seed| cpu::Network::<f32>::new(&named(&["mean", "weight"], seed)).unwrap();
    let mut own_on_cpu = on_cpu(1);
    let other_on_cpu = on_cpu(2);
    own.mix(&other, 0.25).unwrap();
    own_on_cpu.mix(&other_on_cpu, 0.25).unwrap();
    let name = "layers.0.mean";
    for found in [own.state().unwrap(), own_on_cpu.state()] {
        assert_between(&found[name], &before[name], &theirs[name], 0.25);
    }
    own.copy_from(&other).unwrap();
    assert_eq!(own.state().unwrap(), theirs);
    assert_eq!(copy.state().unwrap(), before);

    let renamed = named(&["mean", "scale"], 1).build(gpu()).unwrap();
    let error = own.mix(&renamed, 0.5).unwrap_err().to_string();
    let expected = "must be layers.0.weight of 3; it is layers.0.scale of 3";
    assert!(error.contains(expected), "{error}");
}
