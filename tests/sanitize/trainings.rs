//! Interprets all plans of trainings: fused steps and steps that run layer by layer, with all kinds of kernels; all
//! optimizers; and evaluations.

use std::sync::LazyLock;

use wgrad::data::{Dataset, Examples, Labels, Sampling, Table};
use wgrad::gpu::{AdapterKind, SoftwareDriver};
use wgrad::ndarray::Array2;
use wgrad::ops::{
    AdaGrad, Adam, AdamW, BinaryCrossEntropy, Linear, Loss, MeanSquaredError, Optimizer, Relu,
    RmsProp, Sgd, Sigmoid, SoftmaxCrossEntropy,
};
use wgrad::{Fusion, Gpu, Init, Sequential, Trainer, plumbing};

use crate::Case;
use crate::coverage::Coverage;
use crate::gpu::{Numbers, folding_gpu};

/// This machine's adapter, with the kernels for GPUs and with those for each software driver.
pub(crate) static GPUS: LazyLock<[Gpu; 3]> = LazyLock::new(|| {
    [
        Gpu::builder().kernels_for(AdapterKind::Hardware),
        Gpu::builder().kernels_for_driver(SoftwareDriver::Lavapipe),
        Gpu::builder().kernels_for_driver(SoftwareDriver::SwiftShader),
    ]
    .map(|builder| {
        let gpu = builder.build();
        gpu.expect("these tests need a GPU or a software driver")
    })
});

/// A network for fused kernels: the number of inputs, the number of outputs of each hidden linear layer with its
/// activation, the number of classes, and the number of rows per minibatch.
type Fused = (usize, &'static [(usize, Activation)], usize, usize);

/// A plan without floating-point operations is interpreted only if it moves at most this many bytes.
const LONGEST: u64 = 1 << 18;

#[derive(Debug, Clone, Copy)]
enum Activation {
    Relu,
    Sigmoid,
    None,
}
use Activation::{None as Plain, Relu as R, Sigmoid as S};

/// Networks with sizes around the tiles of the fused kernels, and around the number of rows that a workgroup of these
/// kernels computes at a time.
const FUSED: [Fused; 9] = [
    (1, &[(1, S)], 2, 1),
    (61, &[(17, R), (33, S), (9, R)], 4, 8),
    (17, &[(65, S)], 3, 49),
    (20, &[(10, R), (8, Plain), (7, S)], 11, 101),
    (39, &[(130, R), (1, S)], 5, 9),
    (16, &[(8, R)], 2, 601),
    (70, &[], 10, 33),
    // This network has the largest number of layers.
    (
        9,
        &[(5, R), (4, S), (3, R), (6, S), (5, R), (4, S), (7, R)],
        3,
        6,
    ),
    // These layers are wider than a workgroup.
    (4, &[(260, R), (258, S)], 2, 3),
];

fn spec(inputs: usize, hidden: &[(usize, Activation)], classes: usize) -> Sequential {
    spec_of(inputs, hidden, classes, 0.1)
}

/// Returns a network whose initial weights have the standard deviation `std`.
fn spec_of(inputs: usize, hidden: &[(usize, Activation)], classes: usize, std: f32) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std });
    let mut spec = Sequential::input(inputs).seed(4);
    for &(outputs, activation) in hidden {
        spec = spec.layer(linear(outputs));
        spec = match activation {
            Activation::Relu => spec.layer(Relu),
            Activation::Sigmoid => spec.layer(Sigmoid),
            Activation::None => spec,
        };
    }
    spec.layer(linear(classes))
}

/// Returns a data set of random bytes, of which a third are 0.
pub(crate) fn bytes(examples: usize, width: usize, classes: usize) -> Dataset {
    let mut numbers = Numbers::new(3);
    let pixel = |numbers: &mut Numbers| match numbers.below(3) {
        0 => 0,
        _ => u8::try_from(numbers.below(256)).unwrap(),
    };
    let pixels = (0..examples * width).map(|_| pixel(&mut numbers)).collect();
    let labels = (0..examples).map(|at| u32::try_from(at % classes).unwrap());
    let labels = Labels::from_classes(labels.collect(), classes).unwrap();
    Dataset::new("bytes", width, pixels, labels).unwrap()
}

pub(crate) fn floats(examples: usize, width: usize, outputs: usize) -> [Array2<f32>; 2] {
    let mut numbers = Numbers::new(5);
    [width, outputs]
        .map(|columns| Array2::from_shape_simple_fn((examples, columns), || numbers.uniform()))
}

/// Runs every plan of a training once, with an evaluation of the training data.
fn check(coverage: &Coverage, case: &str, trainer: &mut Trainer, examples: &Examples) {
    trainer.evaluate(examples.clone()).unwrap();
    let gpu = trainer.model().gpu().clone();
    for plan in plumbing::plans(trainer) {
        // This plan draws minibatches for hundreds of steps ahead. Other cases cover shorter ones.
        if plan.flops() == 0 && plan.bytes() > LONGEST {
            gpu.submit(plan, 1).unwrap();
        } else {
            coverage.run(&gpu, case, plan);
        }
    }
}

fn case(name: String, run: impl Fn(&Coverage, &str) + Send + Sync + 'static) -> Case {
    let named = name.clone();
    (name, Box::new(move |coverage| run(coverage, &named)))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for index in [0, 1, 2] {
        for fused in FUSED {
            cases.push(case(
                format!("fused {fused:?} on {index}"),
                move |coverage, name| {
                    let (inputs, hidden, classes, batch) = fused;
                    let data = bytes(batch.max(2) + 3, inputs, classes);
                    let model = spec(inputs, hidden, classes).build(&GPUS[index]).unwrap();
                    let loss = SoftmaxCrossEntropy;
                    let sgd = Sgd::new(0.1);
                    let sampling = Sampling::WithReplacement { seed: 2 };
                    let mut trainer = Trainer::with_fusion(
                        model,
                        loss,
                        sgd,
                        &data,
                        batch,
                        sampling,
                        Fusion::Fused,
                    )
                    .unwrap();
                    check(coverage, name, &mut trainer, &Examples::from(&data));
                },
            ));
        }
        cases.push(case(
            format!("a loss that is no number on {index}"),
            move |coverage, name| {
                let data = bytes(13, 10, 7);
                let model = spec_of(10, &[(6, R)], 7, 1e25).build(&GPUS[index]).unwrap();
                let loss = SoftmaxCrossEntropy;
                let sgd = Sgd::new(0.1);
                let sampling = Sampling::WithReplacement { seed: 2 };
                let mut trainer =
                    Trainer::with_fusion(model, loss, sgd, &data, 4, sampling, Fusion::Fused)
                        .unwrap();
                check(coverage, name, &mut trainer, &Examples::from(&data));
            },
        ));
        // These rows have more words than a workgroup has invocations.
        for fusion in [Fusion::Fused, Fusion::Layers] {
            cases.push(case(
                format!("wide rows, {fusion:?} on {index}"),
                move |coverage, name| {
                    let data = bytes(5, 4 * 65 + 1, 3);
                    let model = spec(data.width(), &[(3, R)], 3);
                    let model = model.build(&GPUS[index]).unwrap();
                    let sampling = Sampling::WithReplacement { seed: 2 };
                    let loss = SoftmaxCrossEntropy;
                    let sgd = Sgd::new(0.1);
                    let mut trainer =
                        Trainer::with_fusion(model, loss, sgd, &data, 4, sampling, fusion).unwrap();
                    check(coverage, name, &mut trainer, &Examples::from(&data));
                },
            ));
        }
        for (number, sampling) in samplings().into_iter().enumerate() {
            cases.push(case(
                format!("sampling {number} on {index}"),
                move |coverage, name| {
                    let data = bytes(13, 10, 3);
                    let model = spec(10, &[(6, R)], 3).build(&GPUS[index]).unwrap();
                    let loss = SoftmaxCrossEntropy;
                    let sgd = Sgd::new(0.1);
                    let fusion = if number % 2 == 0 {
                        Fusion::Fused
                    } else {
                        Fusion::Layers
                    };
                    let mut trainer =
                        Trainer::with_fusion(model, loss, sgd, &data, 4, sampling.clone(), fusion)
                            .unwrap();
                    check(coverage, name, &mut trainer, &Examples::from(&data));
                },
            ));
        }
        for number in 0..optimizers().len() {
            cases.push(case(
                format!("optimizer {number} on {index}"),
                move |coverage, name| {
                    // The update does not depend on the rows, so only one case has more rows than a workgroup takes.
                    let (rows, batch) = if number == 0 { (70, 66) } else { (5, 3) };
                    let [mut x, t] = floats(rows, 5, 3);
                    // The weights of a feature that is always 0 have a zero gradient, so a lazy update skips them.
                    x.column_mut(0).fill(0.0);
                    let table = Table::regression("values", x.view(), t.view()).unwrap();
                    let optimizer = optimizers().swap_remove(number);
                    train(
                        coverage,
                        name,
                        &GPUS[index],
                        MeanSquaredError,
                        optimizer,
                        &Examples::from(&table),
                        batch,
                    );
                },
            ));
        }
        cases.push(case(
            format!("gradients whose squares overflow on {index}"),
            move |coverage, name| {
                let [x, t] = floats(5, 5, 3);
                let t = t.mapv(|t| 1e22 * t);
                let table = Table::regression("far", x.view(), t.view()).unwrap();
                let sgd = Box::new(Sgd::new(0.1).clip_norm(1.0));
                let examples = Examples::from(&table);
                train(
                    coverage,
                    name,
                    &GPUS[index],
                    MeanSquaredError,
                    sgd,
                    &examples,
                    3,
                );
            },
        ));
        cases.push(case(
            format!("probabilities on {index}"),
            move |coverage, name| {
                let [x, t] = floats(70, 5, 3);
                let t = t.mapv(f32::abs);
                let table = Table::regression("labels", x.view(), t.view()).unwrap();
                let sgd = Box::new(Sgd::new(0.1));
                train(
                    coverage,
                    name,
                    &GPUS[index],
                    BinaryCrossEntropy,
                    sgd,
                    &Examples::from(&table),
                    66,
                );
            },
        ));
        cases.push(case(
            format!("classes of floats on {index}"),
            move |coverage, name| {
                let [x, _] = floats(70, 5, 1);
                let labels = Labels::from_classes((0..70).map(|at| at % 3).collect(), 3).unwrap();
                let table = Table::classification("classes", x.view(), labels).unwrap();
                let sgd = Box::new(Sgd::new(0.1));
                train(
                    coverage,
                    name,
                    &GPUS[index],
                    SoftmaxCrossEntropy,
                    sgd,
                    &Examples::from(&table),
                    66,
                );
            },
        ));
    }
    for of_bytes in [true, false] {
        cases.push(case(
            format!("dispatches folded after four workgroups, of bytes: {of_bytes}"),
            move |coverage, name| {
                let model = || spec(5, &[(6, S)], 3).build(folding_gpu()).unwrap();
                let sampling = Sampling::Shuffled { seed: 2 };
                let sgd = Sgd::new(0.1);
                let batch = 7;
                if of_bytes {
                    let data = bytes(9, 5, 3);
                    let loss = SoftmaxCrossEntropy;
                    let mut trainer = Trainer::with_fusion(
                        model(),
                        loss,
                        sgd,
                        &data,
                        batch,
                        sampling,
                        Fusion::Layers,
                    )
                    .unwrap();
                    check(coverage, name, &mut trainer, &Examples::from(&data));
                } else {
                    let [x, t] = floats(9, 5, 3);
                    let table = Table::regression("values", x.view(), t.view()).unwrap();
                    let loss = MeanSquaredError;
                    let mut trainer =
                        Trainer::new(model(), loss, sgd, &table, batch, sampling).unwrap();
                    check(coverage, name, &mut trainer, &Examples::from(&table));
                }
            },
        ));
    }
    cases
}

fn train(
    coverage: &Coverage,
    name: &str,
    gpu: &Gpu,
    loss: impl Loss,
    optimizer: Box<dyn Optimizer>,
    examples: &Examples,
    batch: usize,
) {
    // The network has more parameters than one workgroup of an update takes.
    let model = spec(5, &[(150, S)], 3).build(gpu).unwrap();
    let sampling = Sampling::Shuffled { seed: 2 };
    let mut trainer =
        Trainer::new(model, loss, optimizer, examples.clone(), batch, sampling).unwrap();
    check(coverage, name, &mut trainer, examples);
}

fn samplings() -> Vec<Sampling> {
    let list = || Sampling::Listed((0..24).map(|at| at % 13).collect());
    let shuffled = || Sampling::Shuffled { seed: 3 };
    let replaced = || Sampling::WithReplacement { seed: 3 };
    vec![
        list(),
        list(),
        shuffled(),
        shuffled(),
        replaced(),
        replaced(),
    ]
}

fn optimizers() -> Vec<Box<dyn Optimizer>> {
    let sgd = Sgd::new(0.1).weight_decay(0.01);
    vec![
        Box::new(sgd),
        Box::new(sgd.momentum(0.9)),
        Box::new(sgd.momentum(0.9).nesterov()),
        Box::new(Adam::new(1e-3).weight_decay(0.01)),
        Box::new(AdamW::new(1e-3)),
        Box::new(AdaGrad::new(0.1)),
        Box::new(RmsProp::new(0.01)),
        Box::new(Adam::new(1e-3).clip_norm(0.01)),
        Box::new(Sgd::new(0.1).clip_norm(100.0)),
        Box::new(Adam::new(1e-3).lazy()),
    ]
}
