//! Every plan of a training step must compute the step by the formulas. The plans are tested with the kernels for every
//! kind of adapter.

use std::sync::LazyLock;

use wgrad::data::{Dataset, Labels, Sampling, synthetic};
use wgrad::gpu::{AdapterKind, SoftwareDriver};
use wgrad::ops::{
    Backward, Forward, Layer, LayerSpec, Linear, Relu, Sgd, Sigmoid, SoftmaxCrossEntropy,
};
use wgrad::plan::Recorder;
use wgrad::{Error, Fusion, Gpu, Init, Sequential, Shape, Trainer, TwoLayerNet, Unfused};

use super::trajectory::{RATE, check_step, minibatch};
use crate::bounds::Activation;

/// This machine's adapter, with the kernels for GPUs and with those for each software driver.
pub(super) static GPUS: LazyLock<[(&str, Gpu); 3]> = LazyLock::new(|| {
    let builder = || Gpu::builder().timeout(std::time::Duration::from_secs(600));
    let hardware = builder().kernels_for(AdapterKind::Hardware);
    let software = |driver| builder().kernels_for_driver(driver);
    [
        ("for GPUs", hardware),
        ("for lavapipe", software(SoftwareDriver::Lavapipe)),
        ("for SwiftShader", software(SoftwareDriver::SwiftShader)),
    ]
    .map(|(kind, builder)| {
        let gpu = builder.build();
        (
            kind,
            gpu.expect("these tests need a GPU or a software driver"),
        )
    })
});

const PLANS: [Fusion; 3] = [Fusion::Layers, Fusion::Fused, Fusion::Head];
const RELU: Option<Activation> = Some(Activation::Relu);
const SIGMOID: Option<Activation> = Some(Activation::Sigmoid);

/// A network: the number of inputs, the number of outputs of each hidden linear layer with its activation, and the
/// number of classes.
type Network = (usize, &'static [(usize, Option<Activation>)], usize);

const NETWORKS: [Network; 9] = [
    (784, &[(50, RELU)], 10),
    (784, &[(32, SIGMOID), (16, SIGMOID)], 10),
    (784, &[], 10),
    (61, &[(17, RELU), (33, SIGMOID), (9, RELU)], 4),
    (16, &[(64, RELU)], 2),
    (17, &[(65, SIGMOID)], 3),
    (20, &[(10, RELU), (8, None), (7, SIGMOID)], 11),
    (1, &[(1, SIGMOID)], 2),
    (39, &[(130, RELU), (1, SIGMOID)], 5),
];

/// Numbers of rows per minibatch, around those that workgroups take at a time. With the largest, some kernels take two
/// rows per workgroup, and the last workgroup takes one.
const BATCHES: [usize; 6] = [1, 8, 49, 101, 201, 601];

fn spec((inputs, hidden, classes): Network) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.1 });
    let mut spec = Sequential::input(inputs).seed(4);
    for &(outputs, activation) in hidden {
        spec = spec.layer(linear(outputs));
        spec = match activation {
            Some(Activation::Relu) => spec.layer(Relu),
            Some(Activation::Sigmoid) => spec.layer(Sigmoid),
            None => spec,
        };
    }
    spec.layer(linear(classes))
}

/// Returns parts of synthetic digits, with labels below `classes`.
pub(super) fn dataset(width: usize, classes: usize) -> Dataset {
    let digits = synthetic::digits_of(9, 701, 1).unwrap().train;
    let rows = (0..digits.len()).flat_map(|example| {
        let row = digits.row(example);
        row[(784 - width) / 2..][..width].to_vec()
    });
    let labels = digits.labels().indices().iter();
    let classes_u32 = u32::try_from(classes).unwrap();
    let labels = labels.map(|label| label % classes_u32).collect();
    let labels = Labels::from_classes(labels, classes).unwrap();
    Dataset::new("pieces", width, rows.collect(), labels).unwrap()
}

pub(super) fn trainer(
    gpu: &Gpu,
    spec: &Sequential,
    data: &Dataset,
    batch: usize,
    plan: Fusion,
) -> Trainer {
    let model = spec.build(gpu).unwrap();
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(RATE);
    let sampling = Sampling::WithReplacement { seed: 2 };
    Trainer::with_fusion(model, loss, optimizer, data, batch, sampling, plan).unwrap()
}

// Each plan is compared with the formulas, within the same derived error bound, so all plans are close to each other.
// There is one test for each kind of kernels, so that these long tests run in parallel.

#[test]
fn each_step_of_each_plan_for_gpus_is_that_of_the_formulas() {
    check_steps(&GPUS[0]);
}

#[test]
fn each_step_of_each_plan_for_lavapipe_is_that_of_the_formulas() {
    check_steps(&GPUS[1]);
}

#[test]
fn each_step_of_each_plan_for_swift_shader_is_that_of_the_formulas() {
    check_steps(&GPUS[2]);
}

fn check_steps((kind, gpu): &(&str, Gpu)) {
    let sampling = Sampling::WithReplacement { seed: 2 };
    for (index, network) in NETWORKS.into_iter().enumerate() {
        let data = dataset(network.0, network.2);
        let activations: Vec<_> = network
            .1
            .iter()
            .map(|&(_, activation)| activation)
            .collect();
        for (number, batch) in BATCHES.into_iter().enumerate() {
            // The book's network runs with all minibatch sizes, the others with every fifth.
            if index > 0 && (index + number) % 5 != 0 {
                continue;
            }
            for plan in PLANS {
                // A head cannot have this many inputs. The network has only one layer, so there is nothing to record
                // before the head.
                if plan == Fusion::Head && network.0 > 128 && network.1.is_empty() {
                    continue;
                }
                let mut trainer = trainer(gpu, &spec(network), &data, batch, plan);
                assert_eq!(trainer.fusion(), plan);
                for step in 0..3 {
                    let case =
                        format!("{kind:?}, {plan:?}, {network:?}, {batch} rows, step {step}");
                    let rows = minibatch(&data, &sampling, step, batch);
                    check_step(&case, &mut trainer, &activations, &rows);
                }
            }
        }
    }
}

/// Each plan gives the same bits however the steps are divided into calls. The steps go beyond the end of a submit, and
/// beyond the rows that are sampled ahead.
#[test]
fn each_plan_gives_the_same_bits_however_often_it_is_asked() {
    let data = dataset(61, 4);
    for (kind, gpu) in &*GPUS {
        for plan in PLANS {
            let run = |calls: &[usize]| {
                let mut trainer = trainer(gpu, &spec(NETWORKS[3]), &data, 8, plan);
                let losses = calls
                    .iter()
                    .flat_map(|&count| trainer.steps(count).unwrap());
                let losses: Vec<u32> = losses.map(f32::to_bits).collect();
                (losses, trainer.model().parameters().unwrap())
            };
            let expected = run(&[700]);
            for calls in [&[700][..], &[1, 254, 255, 190], &[256, 0, 257, 187]] {
                let found = run(calls);
                assert!(found == expected, "{kind:?}, {plan:?}, {calls:?}");
            }
        }
    }
}

/// A fused step already computes the forward pass of the next step. If the parameters are changed in between, the next
/// step must use the new ones.
#[test]
fn parameters_changed_between_steps_are_those_of_the_next_step() {
    let data = dataset(784, 10);
    for (kind, gpu) in &*GPUS {
        let losses = PLANS.map(|plan| {
            let mut trainer = trainer(gpu, &spec(NETWORKS[0]), &data, 49, plan);
            trainer.steps(3).unwrap();
            let name = "layers.0.weight";
            let weight = trainer.model().parameter(name).unwrap();
            let tripled = weight.mapv(|weight| weight * 3.0);
            trainer.set_parameter(name, tripled.view()).unwrap();
            trainer.steps(1).unwrap()[0]
        });
        // After three steps, the losses of both plans differ only by rounding. Tripling the weights changes the losses
        // by far more.
        let apart = (losses[0] - losses[1]).abs();
        assert!(apart < 1e-5, "{kind:?}: {losses:?}");
    }
}

#[test]
fn auto_fuses_what_it_can_and_says_why_not() {
    let data = dataset(784, 10);
    for (_, gpu) in &*GPUS {
        let fused = trainer(
            gpu,
            &TwoLayerNet::spec(784, 50, 10),
            &data,
            100,
            Fusion::Auto,
        );
        assert_eq!((fused.fusion(), fused.unfused()), (Fusion::Fused, None));
        assert_eq!(fused.plan().len(), 2);

        let wide = TwoLayerNet::spec(784, 3000, 10);
        let layers = trainer(gpu, &wide, &data, 10, Fusion::Auto);
        assert_eq!(layers.fusion(), Fusion::Layers);
        assert_eq!(
            layers.unfused(),
            Some(&Unfused::Width {
                found: 3010,
                most: 1800
            })
        );
        let model = wide.build(gpu).unwrap();
        let sampling = Sampling::WithReplacement { seed: 1 };
        let loss = SoftmaxCrossEntropy;
        let optimizer = Sgd::new(0.1);
        let plan = Fusion::Fused;
        let refused = Trainer::with_fusion(model, loss, optimizer, &data, 10, sampling, plan);
        let Err(Error::Plan(unfused)) = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(
            *unfused,
            Unfused::Width {
                found: 3010,
                most: 1800
            }
        );
        let message = refused.unwrap_err().to_string();
        for part in ["cannot be fused", "3010", "1800", "Fusion::Layers"] {
            assert!(message.contains(part), "no \"{part}\" in: {message}");
        }
    }
}

/// If a minibatch has so many rows that a software driver would silently end the loops of a fused kernel early, it is
/// trained layer by layer.
#[test]
fn a_batch_too_long_for_fused_loops_is_trained_layer_by_layer() {
    let rows = 40_000;
    let labels = Labels::from_classes((0..rows).map(|row| row % 2).collect(), 2).unwrap();
    let features = (0..2 * labels.len())
        .map(|at| [0, 99, 200][at % 3])
        .collect();
    let data = Dataset::new("long", 2, features, labels).unwrap();
    let spec = Sequential::input(2).layer(Linear::new(2));
    let gpu = crate::gpu::gpu();
    let mut trainer = trainer(gpu, &spec, &data, data.len(), Fusion::Auto);
    if gpu.kind() == AdapterKind::Software {
        assert_eq!(trainer.fusion(), Fusion::Layers);
        let is_told = |unfused: &Unfused| matches!(unfused, Unfused::Iterations { .. });
        assert!(
            trainer.unfused().is_some_and(is_told),
            "{:?}",
            trainer.unfused()
        );
    }
    let sampling = Sampling::WithReplacement { seed: 2 };
    let batch = minibatch(&data, &sampling, 0, data.len());
    check_step("a batch of 40,000", &mut trainer, &[], &batch);
}

/// A layer from outside the crate. The fused kernels do not support it.
#[derive(Debug, Clone)]
pub(super) struct Mine(pub(super) Relu);

impl Layer for Mine {
    fn name(&self) -> String {
        "Mine".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        self.0.spec(input)
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        self.0.forward(recorder, pass)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        self.0.backward(recorder, pass)
    }

    fn reference(&self) -> wgrad::reference::Twin {
        self.0.reference()
    }
}

#[test]
fn a_layer_of_ones_own_is_trained_layer_by_layer() {
    let data = dataset(784, 10);
    let spec = Sequential::input(784)
        .layer(Linear::new(20))
        .layer(Mine(Relu))
        .layer(Linear::new(10));
    let (_, gpu) = &GPUS[0];
    let mut trainer = trainer(gpu, &spec, &data, 20, Fusion::Auto);
    assert_eq!(trainer.fusion(), Fusion::Layers);
    let why = trainer.unfused().map(ToString::to_string);
    assert_eq!(
        why.as_deref(),
        Some("layers.1, Mine, is not a Linear, Relu or Sigmoid")
    );
    let losses = trainer.steps(100).unwrap();
    assert!(losses[99] < losses[0]);
}
