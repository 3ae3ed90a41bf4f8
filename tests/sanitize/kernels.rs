//! Kernels that the tests record directly, without a network.

use wgrad::kernel::Element;
use wgrad::ops::{
    Backward, BinaryCrossEntropy, Conv2d, Draw, Forward, HashGrid, Huber, Layer, Loss, LossPass,
    MaxPool2d, MeanSquaredError, Mode, RelativeL2, SoftmaxCrossEntropy,
};
use wgrad::plan::Recorder;
use wgrad::plumbing::{ConvVariant, Variant, max_pool_backward_relu, values};
use wgrad::tensor::Tensor;
use wgrad::{Shape, TensorShape};

use crate::Case;
use crate::coverage::Coverage;
use crate::gpu::{Fill, Numbers, gpu};
use crate::layers::{self, IMAGES};

/// Shapes (rows, inputs, outputs) of matrix products, around the sizes of the tiles in the kernels.
const PRODUCTS: [[usize; 3]; 10] = [
    [1, 1, 1],
    [2, 3, 65],
    [65, 2, 129],
    [33, 37, 53],
    [9, 257, 5],
    [257, 5, 3],
    [5, 3, 257],
    [161, 5, 17],
    [40, 32, 64],
    [64, 9, 10],
];

/// Shapes with about as many elements as a workgroup takes: 256 invocations with four elements each.
const ELEMENTS: [[usize; 2]; 4] = [[1, 1], [3, 7], [1, 1023], [5, 257]];

/// Numbers of rows, coordinates and features of a hash grid: for one workgroup, for several workgroups, and for sums in
/// workgroup memory.
const ENCODED: [[usize; 3]; 4] = [[1, 2, 1], [300, 3, 2], [1100, 2, 2], [1025, 3, 8]];

pub(crate) fn tensor(label: &str, shape: impl Into<TensorShape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let tensor = Tensor::zeros(gpu(), label, shape, Element::F32).unwrap();
    let numbers = Numbers::new(seed).fill(shape.len(), Fill::Moderate);
    gpu().write(&tensor, &numbers).unwrap();
    tensor
}

pub(crate) fn words(label: &str, shape: [usize; 2], below: usize, seed: u64) -> Tensor {
    let tensor = Tensor::zeros(gpu(), label, shape, Element::U32).unwrap();
    let mut numbers = Numbers::new(seed);
    let words = (0..shape[0] * shape[1]).map(|_| u32::try_from(numbers.below(below)).unwrap());
    gpu().write(&tensor, &words.collect::<Vec<_>>()).unwrap();
    tensor
}

/// Returns the input of a layer: floats, or bytes that are packed into words.
pub(crate) fn input_of(is_bytes: bool, [rows, width]: [usize; 2]) -> Tensor {
    if is_bytes {
        words("x", [rows, width.div_ceil(4)], 1 << 32, 1)
    } else {
        tensor("x", [rows, width], 1)
    }
}

fn case(name: String, record: impl Fn(&mut Recorder<'_>) + Send + Sync + 'static) -> Case {
    let run = {
        let name = name.clone();
        move |coverage: &Coverage| {
            let mut recorder = Recorder::new(gpu());
            record(&mut recorder);
            coverage.run(gpu(), &name, &recorder.finish().unwrap());
        }
    };
    (name, Box::new(run))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for variant in Variant::OF_FLOATS.into_iter().chain(Variant::OF_BYTES) {
        for shape in PRODUCTS {
            let name = format!("{variant:?}, {shape:?}");
            cases.push(case(name, move |recorder| {
                product(recorder, variant, shape);
            }));
        }
    }
    for (rows, image) in IMAGES {
        let name = format!("pools behind a Relu, {rows}×{image:?}");
        cases.push(case(name, move |recorder| {
            pools_behind_relu(recorder, rows, image.into());
        }));
    }
    for variant in ConvVariant::OF_FLOATS
        .into_iter()
        .chain([ConvVariant::Bytes])
    {
        for (index, (layer, rows, input)) in convolutions().into_iter().enumerate() {
            let name = format!("{variant:?}, convolution {index}");
            cases.push(case(name, move |recorder| {
                convolution(recorder, variant, &layer, (rows, input.into()));
            }));
        }
    }
    for shape in ELEMENTS {
        cases.push(case(format!("losses, {shape:?}"), move |recorder| {
            losses(recorder, shape);
        }));
        cases.push(case(format!("values, {shape:?}"), move |recorder| {
            sums(recorder, shape);
        }));
    }
    for of_layer in layers::all() {
        for &minibatch in &of_layer.sanitized {
            let layer = of_layer.layer.clone();
            let name = format!("{}, {minibatch}", layer.name());
            cases.push(case(name, move |recorder| {
                both_passes(recorder, &*layer, minibatch);
            }));
        }
    }
    for shape @ [rows, dimensions, features] in ENCODED {
        cases.push(case(format!("encoded, {shape:?}"), move |recorder| {
            encoded(recorder, rows, dimensions, features);
        }));
    }
    cases
}

/// Records both passes of a hash grid. With many rows, one level is summed in workgroup memory, and another is too
/// large for it. One row has a NaN.
fn encoded(recorder: &mut Recorder<'_>, rows: usize, dimensions: usize, features: usize) {
    let layer = HashGrid::new().levels(2).features_per_level(features);
    // In two dimensions, there are so many cells that no row reaches some entries of the first level.
    let cells = if dimensions == 2 { 20 } else { 4 };
    let layer = layer.table_size(4096).base_resolution(cells).growth(9.0);
    let input = Shape::from(dimensions);
    let spec = layer.spec(&input).unwrap();
    let x = tensor("x", (rows, input), 1);
    let mut positions = gpu().read::<f32>(&x).unwrap();
    positions[rows / 2] = f32::NAN;
    gpu().write(&x, &positions).unwrap();
    let [y, dy] = [2, 3].map(|seed| tensor("y", (rows, spec.output), seed));
    let dx = tensor("dx", (rows, input), 4);
    let [table, dtable] = [5, 6].map(|seed| {
        let shape = spec.parameters[0].tensor_shape();
        [tensor("table", shape, seed)]
    });
    let pass = Forward::new(&x, &table, &y, Mode::Evaluation);
    layer.forward(recorder, pass).unwrap();
    let pass = Backward::new([&x, &y, &dy], Some(&dx), Mode::Evaluation);
    let pass = pass.with_parameters(&table, &dtable);
    layer.backward(recorder, pass).unwrap();
}

/// Records both passes of a layer, in training and in evaluation.
fn both_passes(recorder: &mut Recorder<'_>, layer: &dyn Layer, minibatch: TensorShape) {
    let TensorShape { rows, row: input } = minibatch;
    let spec = layer.spec(&input).unwrap();
    let x = tensor("x", minibatch, 1);
    if let Some(count) = spec.indices_below {
        let mut numbers = Numbers::new(2);
        let indices = (0..x.len()).map(|_| numbers.below(count) as f32);
        gpu().write(&x, &indices.collect::<Vec<_>>()).unwrap();
    }
    let [y, dy] = [3, 4].map(|seed| tensor("y", (rows, spec.output), seed));
    let dx = tensor("dx", minibatch, 5);
    let all = |specs: &[wgrad::ops::ParameterSpec]| -> Vec<Tensor> {
        let tensors = specs
            .iter()
            .map(|spec| tensor(spec.name, spec.tensor_shape(), 6));
        tensors.collect()
    };
    let parameters = all(&spec.parameters);
    let gradients = all(&spec.parameters);
    let state = all(&spec.state);
    for tensor in &state {
        gpu().write(tensor, &vec![1.0f32; tensor.len()]).unwrap();
    }
    let kept = spec.kept.iter();
    let kept = kept.map(|kept| tensor(kept.name, kept.tensor_shape(rows), 7));
    let kept: Vec<Tensor> = kept.collect();
    let step = words("step", [1, 1], 9, 8);
    for mode in [Mode::Training(Draw::new([7, 8], &step)), Mode::Evaluation] {
        let pass = Forward::new(&x, &parameters, &y, mode);
        let pass = pass.with_state(&state).with_kept(&kept);
        layer.forward(recorder, pass).unwrap();
        let pass = Backward::new([&x, &y, &dy], Some(&dx), mode);
        let pass = pass.with_parameters(&parameters, &gradients);
        let pass = pass.with_state(&state).with_kept(&kept);
        layer.backward(recorder, pass).unwrap();
    }
}

fn product(recorder: &mut Recorder<'_>, variant: Variant, [rows, inputs, outputs]: [usize; 3]) {
    let is_bytes = Variant::OF_BYTES.contains(&variant);
    let x = input_of(is_bytes, [rows, inputs]);
    let parameters = [
        tensor("w", [inputs, outputs], 2),
        tensor("b", [1, outputs], 3),
    ];
    let y = tensor("y", [rows, outputs], 4);
    let dy = tensor("dy", [rows, outputs], 5);
    let gradients = [
        tensor("dw", [inputs, outputs], 6),
        tensor("db", [1, outputs], 7),
    ];
    let dx = tensor("dx", [rows, inputs], 8);
    variant.forward(recorder, &x, &parameters, &y);
    variant.forward_relu(recorder, &x, &parameters, &y);
    let pass = |dx| {
        Backward::new([&x, &y, &dy], dx, Mode::Evaluation).with_parameters(&parameters, &gradients)
    };
    variant.backward(recorder, pass(None));
    if !is_bytes {
        variant.backward(recorder, pass(Some(&dx)));
        variant.backward_relu(recorder, pass(Some(&dx)));
    }
    let without_bias = Backward::new([&x, &y, &dy], None, Mode::Evaluation);
    variant.backward(
        recorder,
        without_bias.with_parameters(&parameters[..1], &gradients[..1]),
    );
}

/// Returns convolutions with padding, strides, dilation, and full and partial blocks.
pub(crate) fn convolutions() -> [(Conv2d, usize, [usize; 3]); 5] {
    [
        (Conv2d::new(1, 1), 1, [1, 1, 1]),
        (Conv2d::new(33, [3, 2]).padding([1, 3]), 1, [2, 5, 4]),
        (
            Conv2d::new(3, 2).stride([2, 3]).padding(1).dilation([1, 2]),
            2,
            [3, 7, 9],
        ),
        (Conv2d::new(2, [2, 3]).without_bias(), 2, [5, 4, 7]),
        (Conv2d::new(2, 2), 6, [26, 4, 4]),
    ]
}

fn convolution(
    recorder: &mut Recorder<'_>,
    variant: ConvVariant,
    layer: &Conv2d,
    (rows, input): (usize, Shape),
) {
    let spec = layer.spec(&input).unwrap();
    let is_bytes = variant == ConvVariant::Bytes;
    let x = input_of(is_bytes, [rows, input.len()]);
    let like = |seed| {
        let parameters = spec.parameters.iter();
        let shapes = parameters.map(|spec| spec.tensor_shape().dims());
        shapes
            .map(move |shape| tensor("a parameter", shape, seed))
            .collect::<Vec<_>>()
    };
    let parameters = like(2);
    let gradients = like(3);
    let [y, dy] = [4, 5].map(|seed| tensor("y", [rows, spec.output.len()], seed));
    let dx = tensor("dx", [rows, input.len()], 6);
    let pass = Forward::new(&x, &parameters, &y, Mode::Evaluation).with_input(input);
    variant.forward(recorder, layer, &pass).unwrap();
    variant.forward_relu(recorder, layer, &pass).unwrap();
    let pass = Backward::new([&x, &y, &dy], (!is_bytes).then_some(&dx), Mode::Evaluation);
    let pass = pass
        .with_input(input)
        .with_parameters(&parameters, &gradients);
    variant.backward(recorder, layer, &pass).unwrap();
}

/// Records pools after a `Relu`, with and without overlapping windows.
fn pools_behind_relu(recorder: &mut Recorder<'_>, rows: usize, image: Shape) {
    let overlapping = MaxPool2d::new(3).stride(2).padding(1);
    let apart = MaxPool2d::new(2).padding(1);
    for pool in [apart, overlapping] {
        let spec = pool.spec(&image).unwrap();
        let [x, dx] = [1, 2].map(|seed| tensor("x", (rows, image), seed));
        let [y, dy] = [3, 4].map(|seed| tensor("y", (rows, spec.output), seed));
        let kept = spec.kept.iter();
        let kept: Vec<_> = kept
            .map(|kept| tensor(kept.name, kept.tensor_shape(rows), 5))
            .collect();
        let pass = Forward::new(&x, &[], &y, Mode::Evaluation);
        pool.forward(recorder, pass.with_kept(&kept)).unwrap();
        let pass = Backward::new([&x, &y, &dy], Some(&dx), Mode::Evaluation);
        max_pool_backward_relu(&pool, recorder, pass.with_kept(&kept)).unwrap();
    }
}

fn losses(recorder: &mut Recorder<'_>, shape: [usize; 2]) {
    let [outputs, values, doutputs] = [1, 2, 3].map(|seed| tensor("outputs", shape, seed));
    let classes = words("classes", [1, shape[0]], shape[1], 4);
    let losses = tensor("losses", [1, shape[0]], 5);
    let infinite = tensor("infinite", shape, 6);
    let numbers = vec![f32::INFINITY; shape[0] * shape[1]];
    gpu().write(&infinite, &numbers).unwrap();
    for outputs in [&outputs, &infinite] {
        let pass = LossPass::new([outputs, &classes], [&losses, &doutputs]);
        SoftmaxCrossEntropy
            .forward_backward(recorder, pass)
            .unwrap();
    }
    let pass = LossPass::new([&outputs, &values], [&losses, &doutputs]);
    MeanSquaredError.forward_backward(recorder, pass).unwrap();
    for outputs in [&outputs, &infinite] {
        let pass = LossPass::new([outputs, &values], [&losses, &doutputs]);
        Huber::new(0.5).forward_backward(recorder, pass).unwrap();
        let relative = RelativeL2::default();
        relative.forward_backward(recorder, pass).unwrap();
    }
    let probabilities = tensor("probabilities", shape, 7);
    gpu()
        .write(&probabilities, &vec![0.25f32; shape[0] * shape[1]])
        .unwrap();
    for targets in [&values, &probabilities] {
        let pass = LossPass::new([&outputs, targets], [&losses, &doutputs]);
        BinaryCrossEntropy.forward_backward(recorder, pass).unwrap();
    }
    let smoothed = SoftmaxCrossEntropy.label_smoothing(0.1);
    let weights: Vec<f32> = (1u8..).take(shape[1]).map(f32::from).collect();
    let weighted = smoothed.clone().class_weights(weights);
    for (loss, outputs) in [(smoothed, &outputs), (weighted, &infinite)] {
        let pass = LossPass::new([outputs, &classes], [&losses, &doutputs]);
        loss.forward_backward(recorder, pass).unwrap();
    }
}

fn sums(recorder: &mut Recorder<'_>, shape: [usize; 2]) {
    let [a, b, c] = [1, 2, 3].map(|seed| tensor("values", shape, seed));
    values::add(recorder, [&a, &b], &c);
    // Copies all columns, so that there is more than one workgroup, and then only some of them.
    for columns in [shape[1], shape[1].div_ceil(2)] {
        values::copy_columns(recorder, (&a, 0), (&c, 0), columns);
    }
    values::accumulate(recorder, &a, &b);
    values::copy(recorder, &a, &c);
    values::scale(recorder, &b, 0.5);
    values::mix_in(recorder, &a, &b, 0.25);
    let rows = [1, shape[0]];
    let [weights, losses] = [4, 5].map(|seed| tensor("of rows", rows, seed));
    values::weigh(recorder, &weights, &losses, &c);
    let steps = Tensor::zeros(gpu(), "steps", [1, 1], Element::U32).unwrap();
    values::count_step(recorder, &steps);
}
