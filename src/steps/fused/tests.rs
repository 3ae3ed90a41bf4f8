//! Tests of the fused kernels on buffers with guard bands: they compute the same bits as a training, and access no
//! memory outside their buffers.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::{Algorithm, Buffers, Network};
use crate::data::{Dataset, Labels, Sampling};
use crate::error::Unfused;
use crate::kernel::Element;
use crate::model::Model;
use crate::ops::gather::Resident;
use crate::ops::{Layer, Linear, Relu, Sgd, Sigmoid, SoftmaxCrossEntropy};
use crate::steps::{Minibatches, Parts, Rows, Training};
use crate::tensor::Tensor;
use crate::testing::{Bench, Numbers, borrowed, folding_after, gpu};
use crate::updater::Updater;
use crate::{Gpu, Init, Sequential};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Tiles, Algorithm::Registers, Algorithm::Vectors];
const STEPS: u32 = 3;
const CAPACITY: usize = 4;

/// Number of inputs, then the number of outputs of every linear layer: sizes just below and above those of tiles and
/// blocks, and the network 784→50→10.
const NETWORKS: [&[usize]; 16] = [
    &[1, 1, 2],
    &[3, 2, 2],
    &[15, 63, 9],
    &[16, 64, 10],
    &[17, 65, 11],
    &[19, 9, 2],
    &[20, 10, 3],
    &[21, 11, 130],
    &[39, 1, 21],
    &[41, 129, 8],
    &[23, 10],
    &[37, 20, 33, 17, 10],
    &[784, 50, 10],
    &[5, 2, 3, 4, 5, 6, 7, 8, 9],
    // More outputs than a workgroup has invocations, and the maximum number of outputs.
    &[9, 300, 257, 3],
    &[17, 1790, 10],
];

/// Minibatch sizes just below and above the numbers of rows that a workgroup and a slab have. With the last two sizes,
/// workgroups have several rows, and the last workgroup has fewer.
const BATCHES: [usize; 13] = [1, 2, 7, 8, 9, 49, 50, 51, 100, 101, 201, 601, 1023];

/// Random bytes, many of them 0 or 255.
fn dataset(width: usize, classes: usize, examples: usize) -> Dataset {
    let mut numbers = Numbers::new((width * 1009 + classes) as u64);
    let mut byte = || match numbers.below(4) {
        0 => 0,
        1 => 255,
        _ => numbers.bits().to_le_bytes()[0],
    };
    let features = (0..examples * width).map(|_| byte()).collect();
    let labels = (0..examples).map(|_| crate::ops::to_u32(numbers.below(classes)));
    let labels = Labels::from_classes(labels.collect(), classes).unwrap();
    Dataset::new("random", width, features, labels).unwrap()
}

fn spec(widths: &[usize]) -> Sequential {
    let linear = |&outputs: &usize| Linear::new(outputs).weight_init(Init::Normal { std: 0.3 });
    let mut spec = Sequential::input(widths[0]).seed(3);
    for (index, outputs) in widths[1..].iter().enumerate() {
        // Every fourth linear layer has no activation after it.
        spec = match index % 4 {
            0 => spec,
            1 => spec.layer(Relu),
            2 => spec.layer(Sigmoid),
            _ => spec.layer(Sigmoid),
        };
        spec = spec.layer(linear(outputs));
    }
    spec
}

struct Case {
    model: Model,
    resident: Resident,
    sampling: Sampling,
    history: Tensor,
    dataset: Dataset,
    updater: Updater,
    batch: usize,
}

impl Case {
    fn new(gpu: &Gpu, widths: &[usize], batch: usize) -> Self {
        let dataset = dataset(widths[0], widths[widths.len() - 1], batch + 5);
        let history = Tensor::zeros(gpu, "history", [1, CAPACITY], Element::F32).unwrap();
        let model = spec(widths).build(gpu).unwrap();
        let updater = Updater::new(&model, RATE).unwrap();
        Self {
            model,
            resident: Resident::upload(gpu, &(&dataset).into()).unwrap(),
            sampling: Sampling::WithReplacement { seed: 7 },
            history,
            updater,
            dataset,
            batch,
        }
    }

    fn training(&self) -> Training<'_> {
        Training {
            model: &self.model,
            loss: &SoftmaxCrossEntropy,
            updater: &self.updater,
            rows: Rows::Minibatches(Minibatches {
                resident: &self.resident,
                batch: self.batch,
                parts: Parts::all(1),
                sampling: &self.sampling,
            }),
            history: &self.history,
        }
    }

    /// The buffer of all parameters, as the kernels bind it.
    fn parameters(&self) -> &Tensor {
        &self.model.parameter_arena().blocks()[0]
    }
}

const RATE: Sgd = Sgd::new(0.5);

/// Bits of all parameters and of the losses.
type State = [Vec<u32>; 2];

/// Returns the state after some steps of a training.
fn in_training(case: &Case, network: &Network) -> State {
    let gpu = case.model.gpu();
    let mut steps = network.record(&case.training()).unwrap();
    let mut left = STEPS as usize;
    while left > 0 {
        left -= steps.submit(gpu, left).unwrap().1;
    }
    [case.parameters(), &case.history].map(|tensor| gpu.read(tensor).unwrap())
}

/// Returns the state after the steps of [`in_training`], run on buffers with guard bands.
fn between_guards(name: &str, case: &Case, network: &Network, parameters: &[f32]) -> State {
    let gpu = case.model.gpu();
    let bench = Bench::new(gpu);
    let [rows, words] = [case.batch, case.resident.features().columns()];
    let examples = case.dataset.len();
    let bytes: Vec<u32> = gpu.read(case.resident.features()).unwrap();
    let mut list = vec![0; network.minibatches * rows];
    for (step, indices) in (0..).zip(list.chunks_exact_mut(rows)) {
        case.sampling.minibatch(examples, step, indices);
    }
    let classes = case.dataset.labels().indices();
    let labels: Vec<u32> = list.iter().map(|&i| classes[i as usize]).collect();
    // Only the first minibatch matters; the rest of the buffer is overwritten.
    let first = list[..rows]
        .iter()
        .flat_map(|&i| &bytes[i as usize * words..][..words]);
    let mut minibatch: Vec<u32> = first.copied().collect();
    minibatch.resize(2 * rows * words, u32::MAX);
    let scratch = vec![f32::NAN; network.scratch_len()];
    let buffers = Buffers {
        parameters: bench.changed("parameters", [1, parameters.len()], parameters),
        list: bench.input_u32("list", [network.minibatches, rows], &list),
        labels: bench.input_u32("labels", [network.minibatches, rows], &labels),
        step_count: bench.changed_u32("step_count", [1, 1], &[0]),
        bytes: bench.input_u32("bytes", [examples, words], &bytes),
        scratch: bench.changed("scratch", [1, scratch.len()], &scratch),
        minibatch: bench.changed_u32("minibatch", [2 * rows, words], &minibatch),
        history: bench.changed("history", [1, CAPACITY], &[0.0; CAPACITY]),
    };
    bench.run(name, 1, |recorder| {
        network.record_forward(recorder, &buffers);
    });
    bench.run(name, STEPS as usize, |recorder| {
        network.record_step(recorder, &buffers);
    });
    assert_eq!(bench.read_u32(&buffers.step_count), [STEPS], "{name}");
    [buffers.parameters, buffers.history].map(|tensor| gpu.read(&tensor).unwrap())
}

// One test per algorithm, because the tests are slow and run in parallel.

#[test]
fn fused_steps_in_tiles_stay_within_their_tensors_and_give_the_same_bits() {
    check_networks(Algorithm::Tiles);
}

#[test]
fn fused_steps_in_registers_stay_within_their_tensors_and_give_the_same_bits() {
    check_networks(Algorithm::Registers);
}

#[test]
fn fused_steps_in_vectors_stay_within_their_tensors_and_give_the_same_bits() {
    check_networks(Algorithm::Vectors);
}

fn check_networks(algorithm: Algorithm) {
    for (index, widths) in NETWORKS.into_iter().enumerate() {
        for (number, batch) in BATCHES.into_iter().enumerate() {
            // The network 784→50→10 runs with all minibatch sizes, the other networks with every fifth.
            if widths[0] != 784 && (index + number) % 5 != 0 {
                continue;
            }
            let case = Case::new(gpu(), widths, batch);
            let name = format!("{algorithm:?}, {widths:?}, batch {batch}");
            let before: Vec<f32> = gpu().read(case.parameters()).unwrap();
            let network = Network::new(&case.training(), algorithm).unwrap();
            let found = between_guards(&name, &case, &network, &before);
            let expected = in_training(&case, &network);
            let bits: Vec<u32> = before.iter().map(|value| value.to_bits()).collect();
            assert_ne!(expected[0], bits, "{name}: nothing was learnt");
            assert_eq!(found, expected, "{name}");
            let values = expected.iter().flatten().map(|&bits| f32::from_bits(bits));
            assert!(values.into_iter().all(f32::is_finite), "{name}");
        }
    }
}

/// The minibatch is so large that fewer minibatches than usual are drawn at once.
#[test]
fn a_long_batch_is_fused_too() {
    for algorithm in ALGORITHMS {
        let case = Case::new(gpu(), &[3, 2, 2], 20_001);
        let name = format!("{algorithm:?}, batch 20,001");
        let before: Vec<f32> = gpu().read(case.parameters()).unwrap();
        let network = Network::new(&case.training(), algorithm).unwrap();
        assert!(network.minibatches < super::MINIBATCHES, "{name}");
        let found = between_guards(&name, &case, &network, &before);
        assert_eq!(found, in_training(&case, &network), "{name}");
    }
}

/// Some dispatches are arranged in two dimensions; the second dimension is always shorter than the first.
#[test]
fn folded_dispatches_give_the_same_bits() {
    // On the second device, workgroups are in rows of 16. With 19 to 224 workgroups, a shader that confuses the number
    // of these rows with their length misses the last workgroup. The devices' other limits, which determine the layout
    // of tensors in buffers, are equal.
    let gpus = [65_535, 16].map(folding_after);
    for (algorithm, widths, batch) in [
        (Algorithm::Tiles, [160, 70, 10], 33),
        (Algorithm::Registers, [250, 70, 10], 200),
        (Algorithm::Vectors, [250, 70, 10], 200),
    ] {
        let name = format!("{algorithm:?}, folded");
        let [whole, folded] = gpus.each_ref().map(|gpu| {
            let case = Case::new(gpu, &widths, batch);
            let network = Network::new(&case.training(), algorithm).unwrap();
            for workgroups in [
                network.workgroups_of_forward(),
                network.workgroups_of_middle(),
                network.workgroups_of_backward(),
            ] {
                assert!((19..=224).contains(&workgroups), "{name}: {workgroups}");
            }
            let before: Vec<f32> = gpu.read(case.parameters()).unwrap();
            between_guards(&name, &case, &network, &before)
        });
        assert!(folded == whole, "{name}");
    }
}

/// Sizes that both Rust and WGSL declare must be equal.
#[test]
fn the_shaders_have_the_sizes_that_they_are_driven_with() {
    use wgpu::naga::{Expression, Literal, front::wgsl};

    let constant = |source: &str, name: &str| {
        let module = wgsl::parse_str(source).unwrap();
        let found = module
            .constants
            .iter()
            .find(|(_, c)| c.name.as_deref() == Some(name));
        let (_, constant) = found.unwrap();
        match module.global_expressions[constant.init] {
            Expression::Literal(Literal::U32(value)) => value as usize,
            ref other => panic!("{name} is {other:?}"),
        }
    };
    let [tiles, registers, vectors] = ALGORITHMS.map(Algorithm::kernels);
    let source = tiles.backward_forward.source;
    let sizes = ["SIDE", "SIDE"].map(|name| constant(source, name));
    assert_eq!([tiles.first, tiles.later], [sizes, sizes]);
    assert_eq!(tiles.biases, sizes[1]);
    let sizes = ["ROOM", "MOST_ROWS"].map(|name| constant(tiles.middle.source, name));
    assert_eq!(sizes, [super::MAX_COLUMNS, super::MAX_GROUP]);

    for kernels in [registers, vectors] {
        let source = kernels.backward_forward.source;
        let sizes = |names: [&str; 2]| names.map(|name| constant(source, name));
        assert_eq!(kernels.first, sizes(["INPUTS", "OUTPUTS"]));
        assert_eq!(kernels.first[0], 4 * constant(source, "WORDS"));
        assert_eq!(kernels.later, sizes(["LATER_INPUTS", "LATER_OUTPUTS"]));
        assert_eq!(kernels.biases, constant(source, "BIASES"));
        assert_eq!(kernels.sums, constant(kernels.middle.source, "SUMS"));
    }
}

#[test]
fn what_cannot_be_fused_is_told() {
    let refused = |spec: Sequential| {
        let case = Case {
            model: spec.build(gpu()).unwrap(),
            ..Case::new(gpu(), &[4, 3, 2], 5)
        };
        ALGORITHMS.map(|algorithm| Network::new(&case.training(), algorithm).unwrap_err())
    };
    let input = || Sequential::input(4);
    let layer = |index, name: &str, expected| Unfused::Layer {
        index,
        name: name.to_owned(),
        expected,
    };
    let deep = (0..9).fold(input(), |spec, _| spec.layer(Linear::new(2)));
    let relu = || Linear::new(3);
    let skipping = input().layer(relu());
    let skip = skipping.here();
    let skipping = skipping.layer(Relu).add(skip).layer(Linear::new(2));
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(4));
    let shared = input().layer(shared.clone()).layer(Relu).layer(shared);
    for (spec, expected) in [
        (
            input().layer(Relu).layer(Linear::new(2)),
            layer(0, "Relu", "a Linear"),
        ),
        (
            input().layer(Linear::new(2)).layer(Sigmoid),
            layer(1, "Sigmoid", "a Linear"),
        ),
        (
            input()
                .layer(relu())
                .layer(Relu)
                .layer(Relu)
                .layer(Linear::new(2)),
            layer(2, "Relu", "a Linear"),
        ),
        (
            input().layer(relu().without_bias()).layer(Linear::new(2)),
            layer(0, "Linear(3, no bias)", "a Linear with a bias"),
        ),
        (skipping, Unfused::Graph),
        (shared.layer(Linear::new(2)), Unfused::Graph),
        (
            Sequential::input(3)
                .named("first")
                .another_input(1)
                .concat("first")
                .layer(Linear::new(2)),
            Unfused::Graph,
        ),
        (deep, Unfused::Depth { found: 9, most: 8 }),
        (
            input()
                .layer(Linear::new(1799))
                .layer(Relu)
                .layer(Linear::new(2)),
            Unfused::Width {
                found: 1801,
                most: 1800,
            },
        ),
    ] {
        assert_eq!(refused(spec), [(); 3].map(|()| expected.clone()));
    }
}

/// A borrowed device has the limits that its owner requested.
#[test]
fn kernels_that_need_more_than_a_device_allows_are_told() {
    let refused = |limits| {
        let case = Case {
            model: spec(&[4, 3, 2]).build(&borrowed(limits)).unwrap(),
            ..Case::new(gpu(), &[4, 3, 2], 5)
        };
        ALGORITHMS.map(|algorithm| Network::new(&case.training(), algorithm).err())
    };
    assert_eq!(refused(wgpu::Limits::defaults()), [None, None, None]);
    let limit = |kernel: &str, what, limit, needed, available| {
        Some(Unfused::Limit {
            kernel: kernel.to_owned(),
            what,
            limit,
            needed,
            available,
        })
    };
    let middle = "fused_middle::middle";
    let memory = "max_compute_workgroup_storage_size";
    let small = limit(middle, "bytes of workgroup memory", memory, 15_552, 15_000);
    let limits = wgpu::Limits {
        max_compute_workgroup_storage_size: 15_000,
        ..wgpu::Limits::defaults()
    };
    assert_eq!(refused(limits), [small, None, None]);
    // The other two algorithms have their settings in a storage buffer, so they need one more storage buffer.
    let few = |kernel, needed| {
        let buffers = "max_storage_buffers_per_shader_stage";
        limit(kernel, "storage buffers", buffers, needed, 6)
    };
    let limits = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 6,
        ..wgpu::Limits::defaults()
    };
    let [registers, vectors] = [
        "fused_middle_registers::middle",
        "fused_middle_vectors::middle",
    ];
    let expected = [few(middle, 7), few(registers, 8), few(vectors, 8)];
    assert_eq!(refused(limits), expected);
}
