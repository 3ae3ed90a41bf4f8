//! A NaN in a layer's input gives a NaN in its output, whatever the results of comparisons with NaN are. WGSL allows a
//! device either result. This matters because a NaN in the loss shows that a training has diverged.
//!
//! Each plan is interpreted several times: with comparisons with NaN as in IEEE 754, all true, all false, and with a
//! random choice for each place in the source. All runs must have the same NaN elements, and the same bits elsewhere.
//! Derivatives are not compared, because a rectifier's derivative at NaN may have either value.

use wgrad::kernel::Element;
use wgrad::ops::{
    BatchNorm, BinaryCrossEntropy, Embedding, Forward, HashGrid, Huber, Layer, LayerNorm, Linear,
    Loss, LossPass, MeanSquaredError, Mode, Optimizer, RelativeL2, Relu, Sgd, Sigmoid,
    SoftmaxCrossEntropy,
};
use wgrad::plan::{Plan, Recorder};
use wgrad::plumbing::{self, ConvVariant, Variant};
use wgrad::tensor::Tensor;
use wgrad::wgsl_sanitizer::{NanComparisons, Order};
use wgrad::{Fusion, Gpu, Sanitizer, Sequential, Shape, Trainer};

use crate::gpu::gpu;
use crate::heads;
use crate::kernels::{convolutions, input_of, tensor, words};
use crate::layers;
use crate::trainings::{GPUS, bytes, floats};

/// The number of runs in which each comparison in the source has a random result for NaN: `MANY` for short kernels,
/// some of which have several comparisons, and `FEW` for all other kernels. Two comparisons have four combinations of
/// results. If a mistake is visible in only one of the four, 32 runs miss the mistake with a probability of 1e-4.
const MANY: u64 = 32;
const FEW: u64 = 4;

/// The differences that were found, one line per tensor.
#[derive(Default)]
struct Faults {
    seeds: u64,
    lines: Vec<String>,
}

impl Faults {
    /// Checks the plan of a pass several times, each time with a NaN in one element of another input. The first output
    /// must then have a NaN.
    fn pass(
        &mut self,
        case: &str,
        inputs: &[&Tensor],
        outputs: &[&Tensor],
        record: impl Fn(&mut Recorder<'_>),
    ) {
        let mut recorder = Recorder::new(gpu());
        record(&mut recorder);
        let plan = recorder.finish().unwrap();
        for input in inputs {
            let numbers = gpu().read::<f32>(input).unwrap();
            let mut with_nan = numbers.clone();
            // This element is not skipped by the stride of any convolution.
            with_nan[(numbers.len() / 2 + 1).min(numbers.len() - 1)] = f32::NAN;
            gpu().write(input, &with_nan).unwrap();
            let case = format!("{case}, NaN in {}", input.label());
            self.plans(&case, gpu(), &[&plan], outputs);
            gpu().write(input, &numbers).unwrap();
        }
    }

    /// Checks plans that run one after another. The first output must have a NaN.
    fn plans(&mut self, case: &str, gpu: &Gpu, plans: &[&Plan], outputs: &[&Tensor]) {
        let tensors: Vec<Tensor> = plans.iter().copied().flat_map(plumbing::tensors).collect();
        let read = |tensor: &Tensor| gpu.read::<u32>(tensor).unwrap();
        let before: Vec<_> = tensors.iter().map(read).collect();
        let run = |comparisons| {
            for (tensor, words) in tensors.iter().zip(&before) {
                gpu.write(tensor, words).unwrap();
            }
            let sanitizer = Sanitizer::default().orders([Order::Forward]);
            let sanitizer = sanitizer.nan_comparisons(comparisons);
            for plan in plans {
                let report = sanitizer.run(gpu, plan).unwrap();
                assert!(report.is_clean(), "{case}, {comparisons:?}:\n{report}");
            }
            outputs
                .iter()
                .map(|tensor| read(tensor))
                .collect::<Vec<_>>()
        };
        let mut ways = NanComparisons::ways(self.seeds).map(|way| (way, run(way)));
        let (_, expected) = ways.next().unwrap();
        let found: Vec<_> = ways.collect();
        for (tensor, words) in tensors.iter().zip(&before) {
            gpu.write(tensor, words).unwrap();
        }
        for (at, output) in outputs.iter().enumerate() {
            let label = output.label();
            assert_eq!(output.element(), Element::F32, "{case}: {label}");
            let has_nan = expected[at].iter().any(|&bits| is_nan(bits));
            assert!(has_nan || at > 0, "{case}: no NaN comes out in {label}");
            let case = format!("{case}: {label}");
            let is_other = found.iter().find_map(|(way, found)| {
                let (element, values) = other(&expected[at], &found[at])?;
                Some(format!("{case}[{element}]: {values:?} with {way:?}"))
            });
            self.lines.extend(is_other);
        }
    }
}

/// Returns the first element that differs between the IEEE 754 run and another run. Any two NaNs count as equal.
fn other(expected: &[u32], found: &[u32]) -> Option<(usize, [f32; 2])> {
    let mut pairs = expected.iter().zip(found).enumerate();
    let other = pairs.find(|&(_, (&a, &b))| a != b && !(is_nan(a) && is_nan(b)));
    other.map(|(element, (&a, &b))| (element, [a, b].map(f32::from_bits)))
}

fn is_nan(bits: u32) -> bool {
    f32::from_bits(bits).is_nan()
}

#[test]
fn a_nan_comes_out_however_comparisons_come_out() {
    let mut faults = Faults {
        seeds: MANY,
        ..Faults::default()
    };
    losses(&mut faults);
    fused_heads(&mut faults);
    inputs_of_layers(&mut faults);
    faults.seeds = FEW;
    with_parameters(&mut faults);
    products(&mut faults);
    convolved(&mut faults);
    for gpu in &*GPUS {
        trained(&mut faults, gpu);
        of_probabilities(&mut faults, gpu);
        clipped(&mut faults, gpu);
    }
    let lines = faults.lines;
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

/// Checks each layer with a NaN in its input, for the minibatches of its test case that have at most `MOST` elements.
fn inputs_of_layers(faults: &mut Faults) {
    const MOST: usize = 600;
    const SHORT: usize = 64;
    // The first spherical harmonic is constant, so it does not depend on the input.
    const CONSTANT: &str = "SphericalHarmonics(1)";
    let cases = layers::all().into_iter();
    for case in cases.filter(|case| case.layer.name() != CONSTANT) {
        let minibatches = case.sanitized.iter().filter(|it| it.len() <= MOST);
        for &minibatch in minibatches {
            faults.seeds = if minibatch.len() <= SHORT { MANY } else { FEW };
            let spec = case.layer.spec(&minibatch.row).unwrap();
            let parameters = spec.parameters.iter();
            let parameters = parameters.map(|it| tensor(it.name, it.tensor_shape(), 3));
            let parameters: Vec<Tensor> = parameters.collect();
            let state = spec.state.iter().map(|it| {
                let tensor = tensor(it.name, it.tensor_shape(), 3);
                gpu().write(&tensor, &vec![0.5f32; tensor.len()]).unwrap();
                tensor
            });
            let state: Vec<Tensor> = state.collect();
            let kept = spec.kept.iter();
            let kept = kept.map(|it| tensor(it.name, it.tensor_shape(minibatch.rows), 4));
            let kept: Vec<Tensor> = kept.collect();
            let x = tensor("x", minibatch, 1);
            if let Some(count) = spec.indices_below {
                let indices = (0..x.len()).map(|at| (at % count) as f32);
                gpu().write(&x, &indices.collect::<Vec<_>>()).unwrap();
            }
            let y = tensor("y", (minibatch.rows, spec.output), 2);
            // Of the kept values, only those of layers without parameters are compared, such as the index of the
            // largest pixel. The kept deviation of a row may differ.
            let certain = kept.iter().filter(|_| spec.parameters.is_empty());
            let outputs: Vec<&Tensor> = [&y].into_iter().chain(certain).collect();
            let name = format!("{} of {minibatch}", case.layer.name());
            faults.pass(&name, &[&x], &outputs, |recorder| {
                let pass = Forward::new(&x, &parameters, &y, Mode::Evaluation);
                let pass = pass.with_state(&state).with_kept(&kept);
                case.layer.forward(recorder, pass).unwrap();
            });
        }
    }
}

/// Checks fused heads. For a row with a NaN, the loss and the output of the forward pass must be NaN.
fn fused_heads(faults: &mut Faults) {
    let losses: [&dyn Loss; 2] = [&MeanSquaredError, &SoftmaxCrossEntropy];
    for form in heads::FORMS {
        for (last, loss) in losses.into_iter().enumerate() {
            let settings = [true, false, true];
            let all = heads::all_behind(5 * last);
            let head = heads::recorded(gpu(), form, &all, 5, loss, settings);
            for input in &head.inputs {
                let numbers = gpu().read::<f32>(input).unwrap();
                let mut with_nan = numbers.clone();
                with_nan[0] = f32::NAN;
                gpu().write(input, &with_nan).unwrap();
                let case = format!("{form:?}, {loss:?}, NaN in {}", input.label());
                faults.plans(&case, gpu(), &[&head.plan], &[&head.losses, &head.y]);
                gpu().write(input, &numbers).unwrap();
            }
        }
    }
}

fn products(faults: &mut Faults) {
    for variant in Variant::OF_FLOATS.into_iter().chain(Variant::OF_BYTES) {
        let [rows, inputs, outputs] = [5, 9, 7];
        let is_bytes = Variant::OF_BYTES.contains(&variant);
        let x = input_of(is_bytes, [rows, inputs]);
        let parameters = [
            tensor("w", [inputs, outputs], 2),
            tensor("b", [1, outputs], 3),
        ];
        let y = tensor("y", [rows, outputs], 4);
        let [w, b] = &parameters;
        let all = [w, b, &x];
        let inputs = if is_bytes { &all[..2] } else { &all[..] };
        faults.pass(&format!("{variant:?}"), inputs, &[&y], |recorder| {
            variant.forward(recorder, &x, &parameters, &y);
        });
        faults.pass(
            &format!("{variant:?} with ReLU"),
            inputs,
            &[&y],
            |recorder| {
                variant.forward_relu(recorder, &x, &parameters, &y);
            },
        );
    }
}

fn convolved(faults: &mut Faults) {
    let variants = ConvVariant::OF_FLOATS.into_iter();
    for variant in variants.chain([ConvVariant::Bytes]) {
        for (index, (layer, rows, input)) in convolutions().into_iter().enumerate() {
            let input = Shape::from(input);
            let spec = layer.spec(&input).unwrap();
            let is_bytes = variant == ConvVariant::Bytes;
            let x = input_of(is_bytes, [rows, input.len()]);
            let parameters = spec.parameters.iter();
            let parameters = parameters.map(|it| tensor(it.name, it.tensor_shape().dims(), 2));
            let parameters: Vec<Tensor> = parameters.collect();
            let y = tensor("y", [rows, spec.output.len()], 4);
            let pass = || Forward::new(&x, &parameters, &y, Mode::Evaluation).with_input(input);
            let x = (!is_bytes).then_some(&x);
            let inputs: Vec<&Tensor> = parameters.iter().chain(x).collect();
            let case = format!("{variant:?}, convolution {index}");
            faults.pass(&case, &inputs, &[&y], |recorder| {
                variant.forward(recorder, &layer, &pass()).unwrap();
            });
            faults.pass(&format!("{case} with ReLU"), &inputs, &[&y], |recorder| {
                variant.forward_relu(recorder, &layer, &pass()).unwrap();
            });
        }
    }
}

fn with_parameters(faults: &mut Faults) {
    let batch = BatchNorm::new();
    let layer_norm = LayerNorm::new();
    let embedding = Embedding::new(3, 5);
    // Every row reads all entries of this grid, so the NaN has an effect.
    let grid = HashGrid::new().levels(2).base_resolution(1).growth(1.0);
    let layers: [(&dyn Layer, Shape); 6] = [
        (&grid, 2.into()),
        (&grid, 3.into()),
        (&batch, 7.into()),
        (&batch, [2, 3, 5].into()),
        (&layer_norm, 7.into()),
        (&embedding, 4.into()),
    ];
    for (layer, input) in layers {
        let spec = layer.spec(&input).unwrap();
        let x = tensor("x", (3, input), 1);
        let y = tensor("y", (3, spec.output), 2);
        if layer.name() == embedding.name() {
            let indices = (0..x.len()).map(|at| (at % 3) as f32);
            gpu().write(&x, &indices.collect::<Vec<_>>()).unwrap();
        }
        let all = |specs: &[wgrad::ops::ParameterSpec]| -> Vec<Tensor> {
            let tensors = specs.iter().map(|it| {
                let tensor = tensor(it.name, it.tensor_shape(), 3);
                gpu().write(&tensor, &vec![0.5f32; tensor.len()]).unwrap();
                tensor
            });
            tensors.collect()
        };
        let parameters = all(&spec.parameters);
        let state = all(&spec.state);
        let kept = spec.kept.iter();
        let kept: Vec<_> = kept
            .map(|it| tensor(it.name, it.tensor_shape(3), 4))
            .collect();
        let step = words("step", [1, 1], 9, 5);
        let inputs: Vec<&Tensor> = parameters.iter().chain([&x]).collect();
        for is_training in [true, false] {
            let case = format!("{} of {input}, in training: {is_training}", layer.name());
            faults.pass(&case, &inputs, &[&y], |recorder| {
                let mode = if is_training {
                    Mode::Training(wgrad::ops::Draw::new([7, 8], &step))
                } else {
                    Mode::Evaluation
                };
                let pass = Forward::new(&x, &parameters, &y, mode);
                let pass = pass.with_state(&state).with_kept(&kept);
                layer.forward(recorder, pass).unwrap();
            });
        }
    }
}

fn losses(faults: &mut Faults) {
    let shape @ [rows, columns] = [5, 7];
    let [outputs, values, gradient] = [("outputs", 1), ("values", 2), ("gradient", 3)]
        .map(|(label, seed)| tensor(label, shape, seed));
    let classes = words("classes", [1, rows], columns, 4);
    let losses = tensor("losses", [1, rows], 5);
    let found = [&losses, &gradient];
    faults.pass("softmax cross-entropy", &[&outputs], &found, |recorder| {
        let pass = LossPass::new([&outputs, &classes], found);
        SoftmaxCrossEntropy
            .forward_backward(recorder, pass)
            .unwrap();
    });
    faults.pass(
        "mean squared error",
        &[&outputs, &values],
        &found,
        |recorder| {
            let pass = LossPass::new([&outputs, &values], found);
            MeanSquaredError.forward_backward(recorder, pass).unwrap();
        },
    );
    faults.pass("huber", &[&outputs, &values], &found, |recorder| {
        let pass = LossPass::new([&outputs, &values], found);
        Huber::new(0.5).forward_backward(recorder, pass).unwrap();
    });
    faults.pass("relative l2", &[&outputs, &values], &found, |recorder| {
        let pass = LossPass::new([&outputs, &values], found);
        let relative = RelativeL2::default();
        relative.forward_backward(recorder, pass).unwrap();
    });
    let probabilities = tensor("probabilities", shape, 6);
    gpu().write(&probabilities, &[0.25f32; 35]).unwrap();
    let read = [&outputs, &probabilities];
    faults.pass("binary cross-entropy", &read, &found, |recorder| {
        let pass = LossPass::new(read, found);
        BinaryCrossEntropy.forward_backward(recorder, pass).unwrap();
    });
    let adjusted = SoftmaxCrossEntropy.label_smoothing(0.1);
    let adjusted = adjusted.class_weights([1.0, 2.0, 0.0, 0.5, 1.0, 3.0, 1.0]);
    faults.pass("adjusted cross-entropy", &[&outputs], &found, |recorder| {
        let pass = LossPass::new([&outputs, &classes], found);
        adjusted.forward_backward(recorder, pass).unwrap();
    });
}

/// Returns all tensors with this label that the plans bind.
fn labelled(plans: &[&Plan], label: &str) -> Vec<Tensor> {
    let tensors = plans.iter().copied().flat_map(plumbing::tensors);
    let (found, others): (Vec<_>, Vec<_>) = tensors.partition(|tensor| tensor.label() == label);
    assert!(!found.is_empty(), "{label} is none of {others:?}");
    found
}

/// Checks the losses of a step and of an evaluation with fused and with separate layers, each time with a NaN in
/// another bias.
fn trained(faults: &mut Faults, gpu: &Gpu) {
    let data = bytes(9, 10, 4);
    for (fusion, biases) in [Fusion::Fused, Fusion::Layers]
        .map(|it| (it, ["layers.0.bias", "layers.2.bias", "layers.4.bias"]))
    {
        for bias in biases {
            let spec = Sequential::input(10).seed(4);
            let spec = spec
                .layer(Linear::new(6))
                .layer(Relu)
                .layer(Linear::new(5))
                .layer(Sigmoid);
            let model = spec.layer(Linear::new(4)).build(gpu).unwrap();
            let sampling = wgrad::data::Sampling::WithReplacement { seed: 2 };
            let loss = SoftmaxCrossEntropy;
            let sgd = Sgd::new(0.1);
            let trainer = Trainer::with_fusion(model, loss, sgd, &data, 4, sampling, fusion);
            let mut trainer = trainer.unwrap();
            trainer.evaluate(&data).unwrap();
            put_nan(&mut trainer, bias);
            let plans = plumbing::plans(&trainer);
            let outputs = ["history of losses", "totals"].map(|label| labelled(&plans, label));
            let outputs: Vec<&Tensor> = outputs.iter().flatten().collect();
            let case = format!("{fusion:?} on {:?}, NaN in {bias}", gpu.kind());
            faults.plans(&case, gpu, &plans, &outputs);
        }
    }
}

/// Checks the losses of a step and of an evaluation, for a loss of probabilities.
fn of_probabilities(faults: &mut Faults, gpu: &Gpu) {
    let [x, t] = floats(9, 5, 3);
    let t = t.mapv(f32::abs);
    let table = wgrad::data::Table::regression("labels", x.view(), t.view()).unwrap();
    let model = Sequential::input(5).seed(4).layer(Linear::new(3));
    let model = model.build(gpu).unwrap();
    let sampling = wgrad::data::Sampling::Shuffled { seed: 2 };
    let loss = BinaryCrossEntropy;
    let sgd = Sgd::new(0.1);
    let mut trainer = Trainer::new(model, loss, sgd, &table, 4, sampling).unwrap();
    trainer.evaluate(&table).unwrap();
    put_nan(&mut trainer, "layers.0.bias");
    let plans = plumbing::plans(&trainer);
    let outputs = ["history of losses", "totals"].map(|label| labelled(&plans, label));
    let outputs: Vec<&Tensor> = outputs.iter().flatten().collect();
    let case = format!("probabilities on {:?}", gpu.kind());
    faults.plans(&case, gpu, &plans, &outputs);
}

fn put_nan(trainer: &mut Trainer, name: &str) {
    let mut parameters = trainer.model().parameters().unwrap();
    parameters.get_mut(name).unwrap()[0] = f32::NAN;
    trainer.set_parameters(&parameters).unwrap();
}

/// If one gradient is NaN, every parameter becomes NaN, because the clipping factor is NaN.
fn clipped(faults: &mut Faults, gpu: &Gpu) {
    let [x, t] = floats(70, 5, 3);
    let table = wgrad::data::Table::regression("values", x.view(), t.view()).unwrap();
    let model = Sequential::input(5)
        .seed(4)
        .layer(Linear::new(3))
        .build(gpu)
        .unwrap();
    let sampling = wgrad::data::Sampling::Shuffled { seed: 2 };
    let sgd = Sgd::new(0.1).clip_norm(0.01);
    let mut trainer = Trainer::new(model, MeanSquaredError, sgd, &table, 66, sampling).unwrap();
    put_nan(&mut trainer, "layers.0.bias");
    let plans = plumbing::plans(&trainer);
    let outputs = ["history of losses", "factor of gradients", "parameters.0"]
        .map(|label| labelled(&plans, label));
    let outputs: Vec<&Tensor> = outputs.iter().flatten().collect();
    faults.plans(
        &format!("clipped on {:?}", gpu.kind()),
        gpu,
        &plans,
        &outputs,
    );
}
