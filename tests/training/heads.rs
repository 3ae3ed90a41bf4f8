//! Trainings with a fused head: which networks, losses and optimizers are supported, how many dispatches are saved, and
//! what is refused.

use std::sync::Arc;

use wgrad::data::{Category, Columns, Csv, Labels, Sampling, Stream, Table};
use wgrad::gpu::AdapterKind;
use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::ops::{
    AdaGrad, Adam, AdamW, BatchNorm, BinaryCrossEntropy, Dropout, Frequency, Gelu, Group, HashGrid,
    Huber, Layer, LeakyRelu, Linear, Loss, MeanSquaredError, OneBlob, Optimizer, RelativeL2, Relu,
    RmsProp, Sgd, Sigmoid, SoftmaxCrossEntropy, SphericalHarmonics, Tanh,
};
use wgrad::tensor::Tensor;
use wgrad::{Batch, Error, Fusion, Gpu, Init, Sequential, Targets, Trainer, Unfused, cpu};

use super::assert_near;
use super::plans::{GPUS, Mine, dataset};
use crate::gpu::assert_close;

const SAMPLING: Sampling = Sampling::Shuffled { seed: 4 };
const ROWS: usize = 203;

fn linear(outputs: usize) -> Linear {
    Linear::new(outputs).weight_init(Init::HeNormal)
}

/// Returns points in a cube.
fn points(width: usize) -> Array2<f32> {
    let at = |(row, column)| ((row * 37 + column * 101) % 211) as f32 / 211.0;
    Array2::from_shape_fn((ROWS, width), at)
}

/// Returns waves as functions of the points, with values from 0 to 1.
fn waves(width: usize, outputs: usize) -> Array2<f32> {
    let x = points(width);
    Array2::from_shape_fn((ROWS, outputs), |(row, column)| {
        let sum: f32 = x.row(row).sum();
        0.5 + 0.4 * (3.0 * sum + column as f32).sin()
    })
}

fn values(width: usize, outputs: usize) -> Table {
    let x = points(width);
    let y = waves(width, outputs);
    Table::regression("waves", x.view(), y.view()).unwrap()
}

fn halves(width: usize) -> Table {
    let x = points(width);
    let labels = x.outer_iter().map(|x| u32::from(x[0] > 0.5));
    let labels = Labels::from_classes(labels.collect(), 2).unwrap();
    Table::classification("halves", x.view(), labels).unwrap()
}

/// Returns a smaller version of the network in `learn_image`: an encoding, then two hidden layers.
fn image(encoding: impl Layer + 'static, width: usize) -> Sequential {
    let hidden = Sequential::input(width).layer(encoding).layer(linear(64));
    let hidden = hidden.layer(Relu).layer(linear(64)).layer(Relu);
    hidden.layer(linear(3)).layer(Sigmoid).seed(1)
}

fn grid() -> HashGrid {
    HashGrid::new().levels(4).table_size(1 << 9)
}

fn trainer(gpu: &Gpu, spec: &Sequential, table: &Table, fusion: Fusion) -> Trainer {
    let model = spec.build(gpu).unwrap();
    let adam = Adam::new(0.01);
    Trainer::with_fusion(model, MeanSquaredError, adam, table, 50, SAMPLING, fusion).unwrap()
}

/// The networks of the README's table (with an embedding), of `learn_image` and of `in_your_program` are trained with a
/// fused head.
#[test]
fn networks_of_the_examples_have_a_head_that_is_fused() {
    let text: String = (0..80)
        .map(|row| format!("{},{},s{}\n", row % 13, row * row % 29, row % 5))
        .collect();
    let csv = Csv::new().header(["area", "price", "street"]);
    let houses = csv.read("houses", text.as_bytes()).unwrap();
    let columns = Columns::new()
        .number("area")
        .index(Category::new("street").width(4))
        .value("price");
    let columns = columns.fit(&houses).unwrap();
    let of_table = Sequential::of(&columns)
        .layer(Linear::new(32))
        .layer(Relu)
        .layer(Linear::new(columns.outputs()));
    let of_wave = Sequential::input(1)
        .layer(linear(32))
        .layer(Sigmoid)
        .layer(linear(1));
    let cases = [
        (of_table, columns.table(&houses).unwrap()),
        (image(Frequency::new(10), 2), values(2, 3)),
        (image(grid(), 2), values(2, 3)),
        (of_wave, values(1, 1)),
    ];
    for (spec, table) in cases {
        for (index, (kind, gpu)) in GPUS.iter().enumerate() {
            let fused = trainer(gpu, &spec, &table, Fusion::Head);
            assert_eq!(fused.fusion(), Fusion::Head, "{kind}");
            let names = fused.plan();
            let names = names.dispatches().iter();
            let heads = names.filter(|it| it.name.starts_with("head_")).count();
            assert_eq!(heads, 2, "{kind}: {}", fused.plan());
            let auto = trainer(gpu, &spec, &table, Fusion::Auto);
            let is_slower = |unfused: &Unfused| matches!(unfused, Unfused::SlowerHead { because } if !because.is_empty());
            match index {
                0 => assert_eq!((auto.fusion(), auto.unfused()), (Fusion::Head, None)),
                _ => {
                    assert_eq!(auto.fusion(), Fusion::Layers);
                    assert!(
                        auto.unfused().is_some_and(is_slower),
                        "{:?}",
                        auto.unfused()
                    );
                }
            }
        }
    }
}

#[test]
fn a_fused_head_moves_less_in_fewer_dispatches() {
    let spec = Sequential::input(2).layer(linear(64)).layer(Relu);
    let spec = spec.layer(linear(64)).layer(Relu).layer(linear(3)).seed(1);
    let x = Array2::from_shape_fn((4096, 2), |(row, column)| {
        (row * (column + 1)) as f32 / 8192.0
    });
    let y = Array2::zeros((4096, 3));
    let table = Table::regression("many", x.view(), y.view()).unwrap();
    // The plans with and without a head both read rows and targets, write losses, and update the parameters. Only the
    // dispatches between differ.
    for ((kind, gpu), [layers, head]) in GPUS.iter().zip([[14, 7], [17, 7], [17, 7]]) {
        let plans = [Fusion::Layers, Fusion::Head].map(|fusion| {
            let model = spec.build(gpu).unwrap();
            let adam = Adam::new(0.01);
            let loss = MeanSquaredError;
            Trainer::with_fusion(model, loss, adam, &table, 4096, SAMPLING, fusion)
                .unwrap()
                .plan()
        });
        let [of_layers, of_head] = plans;
        println!("{kind}: layer by layer\n{of_layers}\nwith a head\n{of_head}");
        assert_eq!([of_layers.len(), of_head.len()], [layers, head], "{kind}");
        let before = of_layers.bytes();
        let after = of_head.bytes();
        assert!(2 * after < before, "{kind}: {after} bytes, {before}");
        // Both plans compute the same products.
        let before = of_layers.flops() as f64;
        let after = of_head.flops() as f64;
        assert!(
            (after / before - 1.0).abs() < 0.15,
            "{kind}: {after} FLOP, {before}"
        );
    }
}

fn check_trajectory(
    spec: &Sequential,
    loss: impl Loss + Copy + 'static,
    optimizer: impl Optimizer + Clone + 'static,
    table: &Table,
) {
    fn on_cpu<F: wgrad::reference::Float>(
        spec: &Sequential,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        table: &Table,
    ) -> Vec<F> {
        let network = cpu::Network::<F>::new(spec).unwrap();
        let trainer = cpu::Trainer::new(network, loss, optimizer, table, 50, SAMPLING);
        trainer.unwrap().steps(40).unwrap()
    }
    let double = on_cpu::<f64>(spec, loss, optimizer.clone(), table);
    let single = on_cpu::<f32>(spec, loss, optimizer.clone(), table);
    // Tests the kernels for GPUs and for lavapipe.
    for (kind, gpu) in &GPUS[..2] {
        let run = || {
            let model = spec.build(gpu).unwrap();
            let optimizer = optimizer.clone();
            let fusion = Fusion::Head;
            let trainer = Trainer::with_fusion(model, loss, optimizer, table, 50, SAMPLING, fusion);
            let mut trainer = trainer.unwrap();
            let losses = trainer.steps(40).unwrap();
            (losses, trainer.model().parameters().unwrap())
        };
        let case = format!("{kind}, {loss:?}, {}, {spec:?}", optimizer.describe());
        let found = run();
        assert_near(&case, &found.0, &double, &single, 1e-3);
        assert!(found == run(), "{case}: other bits");
    }
}

/// Over forty steps, the losses stay near the losses of the CPU engine in `f64`. The tolerance follows from the
/// difference between that engine's results in `f32` and in `f64`.
#[test]
fn fused_heads_train_as_the_formulas_do() {
    let adam = Adam::new(0.003).epsilon(1e-4);
    check_trajectory(
        &image(grid(), 2),
        RelativeL2::default(),
        adam,
        &values(2, 3),
    );
    check_trajectory(
        &image(Frequency::new(3), 2),
        MeanSquaredError,
        adam.clip_norm(0.1),
        &values(2, 3),
    );
    let blobs = image(OneBlob::new(4), 3);
    check_trajectory(
        &blobs,
        Huber::new(0.1),
        RmsProp::new(0.001).epsilon(1e-3),
        &values(3, 3),
    );
    let directions = image(SphericalHarmonics::new(3), 3);
    check_trajectory(
        &directions,
        MeanSquaredError,
        Sgd::new(0.1).momentum(0.9),
        &values(3, 3),
    );
    let hidden = Sequential::input(5).layer(linear(37)).layer(Tanh);
    let hidden = hidden.layer(linear(128)).layer(Gelu).layer(linear(9));
    let hidden = hidden.layer(LeakyRelu::new(0.1)).layer(linear(2)).seed(3);
    check_trajectory(
        &hidden,
        SoftmaxCrossEntropy,
        AdaGrad::new(0.01).epsilon(1e-3),
        &halves(5),
    );
    let decayed = AdamW::new(0.003).epsilon(1e-4);
    check_trajectory(&hidden, BinaryCrossEntropy, decayed, &values(5, 2));
    check_trajectory(
        &hidden,
        MeanSquaredError,
        Sgd::new(0.1).weight_decay(0.01),
        &values(5, 2),
    );
}

/// A steered training keeps its head: with groups, an average, accumulated minibatches, frozen layers before the head,
/// and another optimizer. Its losses are near those of a training layer by layer.
#[test]
fn what_steers_a_training_steers_one_with_a_head() {
    let spec = image(grid(), 2);
    let table = values(2, 3);
    for (kind, gpu) in &GPUS[..2] {
        let steered = |fusion| {
            let mut trainer = trainer(gpu, &spec, &table, fusion);
            trainer
                .set_group("layers.3", Group::new().rate(0.1))
                .unwrap();
            trainer.average(0.9).unwrap();
            trainer.accumulate(3).unwrap();
            trainer.freeze("layers.0").unwrap();
            let mut losses = trainer.steps(5).unwrap();
            trainer.unfreeze("layers.0").unwrap();
            trainer
                .set_optimizer(Adam::new(0.001).clip_norm(0.01))
                .unwrap();
            losses.extend(trainer.steps(5).unwrap());
            assert_eq!(trainer.fusion(), fusion, "{kind}");
            losses
        };
        let [layers, head] = [Fusion::Layers, Fusion::Head].map(steered);
        let expected = layers.iter().copied().map(f64::from);
        let allowed = layers.iter().map(|loss| f64::from(1e-5 * loss));
        assert_close(&format!("{kind}, steered"), &head, expected, allowed);
    }
}

fn refused(spec: &Sequential, loss: impl Loss + 'static, table: &Table) -> String {
    let model = spec.build(&GPUS[0].1).unwrap();
    let fusion = Fusion::Head;
    let refused = Trainer::with_fusion(model, loss, Sgd::new(0.1), table, 10, SAMPLING, fusion);
    let Err(Error::Plan(_)) = &refused else {
        panic!("{refused:?}");
    };
    let message = refused.unwrap_err().to_string();
    for part in ["cannot be fused", "Fusion::Layers"] {
        assert!(message.contains(part), "no \"{part}\" in: {message}");
    }
    message
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no \"{part}\" in: {message}");
    }
}

/// A loss from outside the crate. It computes the same as a loss of the crate, but the kernels of the head do not
/// support it.
#[derive(Debug, Clone, Copy)]
struct Own;

impl Loss for Own {
    fn describe(&self) -> String {
        "Own".to_owned()
    }

    fn targets(&self) -> wgrad::ops::TargetKind {
        MeanSquaredError.targets()
    }

    fn forward_backward(
        &self,
        recorder: &mut wgrad::plan::Recorder<'_>,
        pass: wgrad::ops::LossPass<'_>,
    ) -> Result<(), Error> {
        MeanSquaredError.forward_backward(recorder, pass)
    }

    fn reference(&self) -> wgrad::reference::Criterion {
        MeanSquaredError.reference()
    }
}

#[test]
fn what_a_head_cannot_be_is_said() {
    let ends = |end: Sequential| refused(&end, MeanSquaredError, &values(4, 4));
    let hidden = || Sequential::input(4).layer(linear(4));
    let expected = "is not the end of a head: a Linear with at most 128 inputs and outputs";
    assert_says(
        &ends(hidden().layer(Dropout::new(0.5))),
        &["layers.1, Dropout", expected],
    );
    assert_says(
        &ends(hidden().layer(BatchNorm::new())),
        &["layers.1, BatchNorm", expected],
    );
    assert_says(
        &ends(hidden().layer(Mine(Relu))),
        &["layers.1, Mine", expected],
    );
    assert_says(
        &ends(hidden().layer(LeakyRelu::new(-0.1))),
        &["layers.1, LeakyRelu(-0.1)", expected],
    );
    let wide = Sequential::input(129).layer(linear(4));
    let wide = refused(&wide, MeanSquaredError, &values(129, 4));
    assert_says(&wide, &["layers.0, Linear", "128 inputs"]);
    let wide = Sequential::input(4).layer(linear(129));
    let wide = refused(&wide, MeanSquaredError, &values(4, 129));
    assert_says(&wide, &["layers.0, Linear", "128 inputs and outputs"]);
    let sum = hidden().named("one").layer(linear(4)).add("one");
    assert_says(&ends(sum), &["not a chain"]);
    let shared: Arc<dyn Layer> = Arc::new(linear(4));
    let twice = Sequential::input(4)
        .layer(Arc::clone(&shared))
        .layer(shared);
    assert_says(&ends(twice), &["layers.1, Linear", "used once"]);

    let losses = refused(&hidden(), Own, &values(4, 4));
    assert_says(&losses, &["RelativeL2", "SoftmaxCrossEntropy"]);
    let two = Sequential::input(4).layer(linear(2));
    let adjusted = SoftmaxCrossEntropy.label_smoothing(0.1);
    assert_says(&refused(&two, adjusted, &halves(4)), &["label smoothing"]);

    // The refused call changes nothing, and the training continues.
    let mut frozen = trainer(&GPUS[0].1, &image(grid(), 2), &values(2, 3), Fusion::Head);
    let message = frozen.freeze("layers.3.bias").unwrap_err().to_string();
    assert_says(&message, &["layers.3.bias is frozen", "Fusion::Layers"]);
    frozen.steps(2).unwrap();
    // With `Fusion::Auto`, training continues layer by layer and says why.
    let mut left = trainer(&GPUS[0].1, &image(grid(), 2), &values(2, 3), Fusion::Auto);
    assert_eq!(left.fusion(), Fusion::Head);
    left.freeze("layers.3.bias").unwrap();
    let name = "layers.3.bias".to_owned();
    let expected = (Fusion::Layers, Some(&Unfused::Frozen { name }));
    assert_eq!((left.fusion(), left.unfused()), expected);
    left.unfreeze("layers.3.bias").unwrap();
    assert_eq!((left.fusion(), left.unfused()), (Fusion::Head, None));
}

/// The minibatch has so many rows that a software driver would silently end the loops of the head early, so it is
/// trained layer by layer.
#[test]
fn a_batch_too_long_for_the_loops_of_a_head_is_trained_layer_by_layer() {
    // Each row has 901 values, so a block takes only four rows, and an invocation takes many blocks.
    let mut spec = Sequential::input(2);
    for _ in 0..7 {
        spec = spec.layer(linear(64)).layer(Gelu);
    }
    let spec = spec.layer(linear(3)).seed(1);
    let long = 120_000;
    let [x, y] = [2, 3].map(|width| Array2::from_elem((long, width), 0.5));
    let table = Table::regression("long", x.view(), y.view()).unwrap();
    let of_rows = |gpu: &Gpu, rows, fusion| {
        let model = spec.build(gpu).unwrap();
        let adam = Adam::new(0.01);
        let loss = MeanSquaredError;
        Trainer::with_fusion(model, loss, adam, &table, rows, SAMPLING, fusion)
    };
    let (_, gpu) = &GPUS[0];
    let fits = of_rows(gpu, 10_000, Fusion::Auto).unwrap();
    assert_eq!((fits.fusion(), fits.unfused()), (Fusion::Head, None));
    let auto = of_rows(gpu, long, Fusion::Auto).unwrap();
    if crate::gpu::gpu().kind() == AdapterKind::Hardware {
        assert_eq!((auto.fusion(), auto.unfused()), (Fusion::Head, None));
        return;
    }
    assert_eq!(auto.fusion(), Fusion::Layers);
    let is_told = |unfused: &Unfused| matches!(unfused, Unfused::Iterations { needed, available } if needed > available);
    assert!(auto.unfused().is_some_and(is_told), "{:?}", auto.unfused());
    // SwiftShader's kernels have the same limit.
    for (kind, gpu) in [&GPUS[0], &GPUS[2]] {
        let refused = of_rows(gpu, long, Fusion::Head).unwrap_err();
        assert!(
            matches!(&refused, Error::Plan(unfused) if is_told(unfused)),
            "{kind}: {refused:?}"
        );
        assert_says(&refused.to_string(), &["loop iterations", "Fusion::Layers"]);
    }
}

/// A head starts after the last layer that it does not support. That layer and the layers before it are recorded one by
/// one.
#[test]
fn a_head_is_as_long_as_it_can_be() {
    let dropped = Sequential::input(4)
        .layer(linear(8))
        .layer(Dropout::new(0.5));
    let dropped = dropped
        .layer(linear(8))
        .layer(Gelu)
        .layer(linear(3))
        .seed(1);
    let eight = |mut spec: Sequential| {
        for _ in 0..9 {
            spec = spec.layer(linear(128)).layer(Gelu);
        }
        spec.layer(linear(3)).seed(1)
    };
    // A head can have at most three layers of 256 values and the last layer.
    let cases = [
        (dropped, values(4, 3), 1),
        (eight(Sequential::input(4)), values(4, 3), 6),
    ];
    for (spec, table, outside) in cases {
        for (kind, gpu) in &GPUS[..2] {
            let [layers, head] = [Fusion::Layers, Fusion::Head].map(|fusion| {
                let mut trainer = trainer(gpu, &spec, &table, fusion);
                assert_eq!(trainer.fusion(), fusion, "{kind}");
                if fusion == Fusion::Head {
                    let plan = trainer.plan();
                    let names = plan.dispatches().iter().map(|dispatch| &*dispatch.name);
                    let is_product =
                        |name: &&str| name.starts_with("linear") && name.contains("forward");
                    let products = names.filter(is_product).count();
                    assert_eq!(products, outside, "{kind}: {plan}");
                }
                trainer.steps(5).unwrap()
            });
            let expected = layers.iter().copied().map(f64::from);
            let allowed = layers.iter().map(|loss| f64::from(1e-4 * loss));
            assert_close(&format!("{kind}, {spec:?}"), &head, expected, allowed);
        }
    }
    let bytes = dataset(61, 4);
    let spec = Sequential::input(61)
        .layer(linear(9))
        .layer(Gelu)
        .layer(linear(4));
    let model = spec.build(&GPUS[0].1).unwrap();
    let auto = Trainer::new(
        model,
        SoftmaxCrossEntropy,
        Adam::new(0.01),
        &bytes,
        10,
        SAMPLING,
    );
    assert_eq!(auto.unwrap().fusion(), Fusion::Layers);
}

/// The rows may come from the program's tensors, from the arguments of a step, or from a stream. The plan and the bits
/// are the same.
#[test]
fn rows_from_anywhere_are_trained_with_a_head() {
    let gpu = &GPUS[0].1;
    let spec = image(grid(), 2);
    let table = values(2, 3);
    let x = points(2);
    let y = waves(2, 3);
    let floats = |label, values: &Array2<f32>| {
        let tensor = Tensor::zeros(gpu, label, [values.nrows(), values.ncols()], Element::F32);
        let tensor = tensor.unwrap();
        gpu.write(&tensor, values.as_slice().unwrap()).unwrap();
        tensor
    };
    let build = || spec.build(gpu).unwrap();
    let batch = Batch::new(&floats("x", &x), &floats("y", &y));
    let adam = Adam::new(0.01);
    let external = |batch| Trainer::external(build(), MeanSquaredError, adam, batch).unwrap();
    let mut inside = external(batch.clone());
    assert_eq!((inside.fusion(), inside.unfused()), (Fusion::Head, None));
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    inside
        .encode(3, &mut encoder.begin_compute_pass(&Default::default()))
        .unwrap();
    gpu.queue().submit([encoder.finish()]);
    let mut given = Trainer::online(build(), MeanSquaredError, adam).unwrap();
    for _ in 0..3 {
        given.step_on(x.view(), Targets::Values(y.view())).unwrap();
    }
    let [inside, given] = [inside, given].map(|it| it.model().parameters().unwrap());
    assert!(inside == given, "other bits");
    let weights = Tensor::zeros(gpu, "weights", [1, ROWS], Element::F32).unwrap();
    let weighted = external(batch.weights(&weights));
    let expected = (Fusion::Layers, Some(&Unfused::RowWeights));
    assert_eq!((weighted.fusion(), weighted.unfused()), expected);

    let blocks = [table.clone(), table.clone()].map(Ok::<_, Error>);
    let stream = Stream::new(blocks, ROWS, 9);
    let mut streamed = Trainer::streamed(build(), MeanSquaredError, adam, stream, 29).unwrap();
    assert_eq!(
        (streamed.fusion(), streamed.unfused()),
        (Fusion::Head, None)
    );
    let sampling = Sampling::Shuffled { seed: 9 };
    let mut whole = Trainer::new(build(), MeanSquaredError, adam, &table, 29, sampling).unwrap();
    assert_eq!(streamed.steps(14).unwrap(), whole.steps(14).unwrap());
}

/// A forward pass with a head is one dispatch. It writes into the program's own buffers, like all forward passes
/// outside training.
#[test]
fn a_forward_pass_is_one_dispatch() {
    let (_, gpu) = &GPUS[0];
    let spec = Sequential::input(3).layer(linear(64)).layer(Gelu);
    let spec = spec.layer(linear(64)).layer(Tanh).layer(linear(2)).seed(1);
    let model = spec.build(gpu).unwrap();
    let of_cpu = cpu::Network::<f64>::new(&spec).unwrap();
    for rows in [1, 31, ROWS] {
        let x = points(3).slice(wgrad::ndarray::s![..rows, ..]).to_owned();
        let tensor =
            |label, columns| Tensor::zeros(gpu, label, [rows, columns], Element::F32).unwrap();
        let [input, output] = [tensor("x", 3), tensor("y", 2)];
        gpu.write(&input, x.as_slice().unwrap()).unwrap();
        let plan = model.forward_plan(&input, &output).unwrap();
        let names: Vec<_> = plan
            .listing()
            .dispatches()
            .iter()
            .map(|it| &*it.name)
            .collect();
        assert_eq!(names, ["head_tiles::forward"]);
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        plan.encode(&mut encoder.begin_compute_pass(&Default::default()));
        gpu.queue().submit([encoder.finish()]);
        let found = gpu.read::<f32>(&output).unwrap();
        let expected = of_cpu.predict(x.mapv(f64::from).view()).unwrap();
        let allowed = std::iter::repeat(1e-5);
        assert_close("forward", &found, expected.iter().copied(), allowed);
        let predicted = model.predict(x.view()).unwrap();
        assert_eq!(predicted.as_slice().unwrap(), found);
    }
}
