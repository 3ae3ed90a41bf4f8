use wgrad::gpu::AdapterKind;
use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::ops::{Backward, Conv2d, Forward, Layer, Mode, Size2};
use wgrad::plan::Recorder;
use wgrad::plumbing::ConvVariant as Variant;
use wgrad::reference::{self, Float};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Shape};

use crate::gpu::{
    Bench, Fill, Numbers, assert_close, dispatching, folding_after, gpu, longest, sum_error,
};

/// A convolution, the number of images, and the shape of an image.
#[derive(Clone)]
struct Images {
    layer: Conv2d,
    rows: usize,
    input: Shape,
}

fn images(
    rows: usize,
    input: [usize; 3],
    outputs: usize,
    kernel: impl Into<Size2>,
    with: impl FnOnce(Conv2d) -> Conv2d,
) -> Images {
    Images {
        layer: with(Conv2d::new(outputs, kernel)),
        rows,
        input: input.into(),
    }
}

fn plain(layer: Conv2d) -> Conv2d {
    layer
}

fn chosen() -> Vec<Images> {
    vec![
        images(1, [1, 1, 1], 1, 1, plain),
        images(3, [1, 12, 13], 6, 5, plain),
        images(2, [7, 5, 5], 9, 1, plain),
        images(3, [5, 9, 7], 4, 3, |layer| layer.padding(1)),
        // Padding of more than half of the kernel size, up to more than the whole kernel size. The fourth case has a
        // stride of 2.
        images(2, [2, 6, 6], 3, 3, |layer| layer.padding(2)),
        images(2, [2, 5, 4], 3, 2, |layer| layer.padding(2)),
        images(1, [2, 3, 4], 3, [2, 1], |layer| layer.padding([3, 2])),
        images(2, [3, 11, 10], 5, [3, 2], |layer| {
            layer.stride(2).padding(1)
        }),
        // Some pixels belong to no window: pixels between windows, and pixels after the last window.
        images(2, [2, 10, 7], 3, 2, |layer| layer.stride([4, 3])),
        images(3, [1, 8, 9], 2, [4, 3], |layer| {
            layer.stride([3, 2]).padding([1, 2]).dilation([1, 2])
        }),
        images(2, [2, 9, 11], 4, [3, 2], |layer| {
            layer.stride([1, 2]).padding([2, 1]).dilation([2, 3])
        }),
        images(2, [1, 13, 12], 3, [2, 3], |layer| {
            layer.stride([2, 4]).padding(3).dilation([3, 2])
        }),
        images(2, [3, 6, 5], 4, [3, 2], Conv2d::without_bias),
        // With these sizes, an integer division that multiplies by the float reciprocal would be wrong.
        images(1, [1, 41, 47], 2, 3, plain),
        images(1, [1, 55, 61], 2, [5, 2], |layer| layer.padding([2, 1])),
        images(2, [41, 4, 4], 47, 3, |layer| layer.padding(1)),
        images(1, [55, 3, 4], 61, [2, 3], |layer| layer.padding(1)),
        images(41, [1, 2, 3], 1, 2, plain),
        // The kernels split the positions of these images into several parts and slabs.
        images(7, [2, 20, 19], 3, 3, plain),
    ]
}

/// Sizes around multiples of the shaders' block sizes.
const EDGES: [usize; 16] = [
    2, 3, 12, 13, 14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129,
];

fn all_images() -> Vec<Images> {
    let mut all = chosen();
    for edge in EDGES {
        // Tests these sizes along each dimension of the kernels: positions in both directions, outputs, and weights per
        // output.
        all.push(images(1, [1, 1, edge + 1], 3, [1, 2], plain));
        all.push(images(1, [2, edge, 1], 2, [2, 1], |layer| {
            layer.padding([1, 0])
        }));
        all.push(images(2, [2, 3, 4], edge, 2, plain));
        all.push(images(2, [edge, 3, 2], 3, 1, plain));
    }
    let mut numbers = Numbers::new(1);
    for _ in 0..16 {
        let mut pair = |from: usize, below: usize| [(); 2].map(|()| from + numbers.below(below));
        let kernel = pair(1, 4);
        let stride = pair(1, 3);
        let padding = pair(0, 4);
        let dilation = pair(1, 3);
        let [height, width] = pair(10, 9);
        let [rows, channels] = pair(1, 5);
        let outputs = pair(1, 20)[0];
        all.push(images(
            rows,
            [channels, height, width],
            outputs,
            kernel,
            |layer| layer.stride(stride).padding(padding).dilation(dilation),
        ));
    }
    all
}

/// Returns images that are large enough to fold every dispatch of every variant into rows of 16 workgroups.
fn large() -> Images {
    images(2, [2, 40, 40], 64, 3, plain)
}

struct Case {
    name: String,
    images: Images,
    fill: Fill,
    output: Shape,
    x: Vec<f32>,
    /// `x` as bytes, for the kernel variant that reads bytes. `None` if `x` has floats.
    bytes: Option<Vec<u8>>,
    dy: Vec<f32>,
    /// The shape that each parameter has in the kernels, and its values.
    parameters: Vec<([usize; 2], Vec<f32>)>,
}

impl Case {
    fn new(images: &Images, fill: Fill, is_bytes: bool) -> Self {
        let Images { layer, rows, input } = images;
        let spec = layer.spec(input).unwrap();
        let mut numbers = Numbers::new((rows * 1_000_003 + input.len()) as u64);
        let count = rows * input.len();
        let bytes = is_bytes.then(|| {
            let byte = |_| match numbers.below(4) {
                0 => 0,
                1 => 255,
                _ => numbers.bits().to_le_bytes()[0],
            };
            (0..count).map(byte).collect()
        });
        let parameters = spec.parameters.iter().map(|spec| {
            let shape = spec.tensor_shape().dims();
            (shape, numbers.fill(shape[0] * shape[1], fill))
        });
        Self {
            name: format!("{rows} rows of {input}, {}, {fill:?}", layer.name()),
            parameters: parameters.collect(),
            x: numbers.fill(count, fill),
            dy: numbers.fill(rows * spec.output.len(), fill),
            images: images.clone(),
            fill,
            output: spec.output,
            bytes,
        }
    }

    fn upload_x(&self, bench: &Bench<'_>) -> Tensor {
        let Images { rows, input, .. } = self.images;
        let Some(bytes) = &self.bytes else {
            return bench.input("x", (rows, input), &self.x);
        };
        let words = bytes.chunks(input.len()).flat_map(|row| {
            row.chunks(4).map(|four| {
                let mut bytes = [0; 4];
                bytes[..four.len()].copy_from_slice(four);
                u32::from_le_bytes(bytes)
            })
        });
        let words: Vec<u32> = words.collect();
        bench.input_u32("x", [rows, input.len().div_ceil(4)], &words)
    }

    fn upload_parameters(&self, bench: &Bench<'_>) -> Vec<Tensor> {
        let parameters = self.parameters.iter();
        let upload = parameters.map(|(shape, values)| bench.input("a parameter", *shape, values));
        upload.collect()
    }

    fn x(&self) -> Array2<f64> {
        let shape = [self.images.rows, self.images.input.len()];
        match &self.bytes {
            None => matrix(shape, &self.x),
            Some(bytes) => {
                let values = bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect();
                Array2::from_shape_vec(shape, values).unwrap()
            }
        }
    }

    fn dy(&self) -> Array2<f64> {
        matrix([self.images.rows, self.output.len()], &self.dy)
    }

    fn matrices(&self) -> Vec<Array2<f64>> {
        let parameters = self.parameters.iter();
        parameters
            .map(|(shape, values)| matrix(*shape, values))
            .collect()
    }

    /// Returns the number of products in the sum of an output element.
    fn depth(&self) -> usize {
        self.parameters[0].0[1]
    }

    /// Returns the number of positions of the convolution kernel, over all images.
    fn places(&self) -> usize {
        self.images.rows * self.output.len() / self.output.extents()[0]
    }

    /// Compares a result with the expected one. With integers, it must be exact. With other numbers, it must be within
    /// the error bound of a sum of `terms` products.
    fn compare(&self, what: &str, found: &[f32], expected: &Expected, terms: usize) {
        let case = format!("{what}: {}", self.name);
        let tolerance = expected.absolute.iter().map(|&absolute| {
            if self.fill == Fill::Integers && self.bytes.is_none() {
                0.0
            } else {
                sum_error(terms, absolute)
            }
        });
        assert_close(&case, found, expected.value.iter().copied(), tolerance);
    }
}

fn matrix(shape: [usize; 2], values: &[f32]) -> Array2<f64> {
    let values = values.iter().map(|&value| value.into()).collect();
    Array2::from_shape_vec(shape, values).unwrap()
}

/// An expected result, and the same result computed from absolute values (for the error bound).
struct Expected {
    value: Array2<f64>,
    absolute: Array2<f64>,
}

impl Expected {
    fn of<const N: usize>(both: [[Array2<f64>; N]; 2]) -> [Self; N] {
        let [value, absolute] = both;
        let mut absolute = absolute.into_iter();
        value.map(|value| Self {
            value,
            absolute: absolute.next().unwrap(),
        })
    }
}

/// Computes expected results: from the operands, and from the absolute values of the operands.
fn expected<const N: usize>(
    case: &Case,
    pass: impl Fn(&Array2<f64>, &Array2<f64>, &[Array2<f64>]) -> [Array2<f64>; N],
) -> [Expected; N] {
    let x = case.x();
    let dy = case.dy();
    let parameters = case.matrices();
    let absolute = |values: &Array2<f64>| values.mapv(f64::abs);
    let of_absolute: Vec<_> = parameters.iter().map(absolute).collect();
    Expected::of([
        pass(&x, &dy, &parameters),
        pass(&absolute(&x), &absolute(&dy), &of_absolute),
    ])
}

fn check_forward(gpu: &Gpu, variant: Variant, case: &Case) -> Vec<f32> {
    let Images { layer, rows, input } = &case.images;
    let bench = Bench::new(gpu);
    let x = case.upload_x(&bench);
    let parameters = case.upload_parameters(&bench);
    let [y, of_relu] = ["y", "y of a ReLU"].map(|label| bench.output(label, (*rows, case.output)));
    let name = format!("{variant:?} forward: {}", case.name);
    bench.run(&name, 1, |recorder| {
        let pass = |y| Forward::new(&x, &parameters, y, Mode::Evaluation).with_input(*input);
        variant.forward(recorder, layer, &pass(&y)).unwrap();
        let pass = pass(&of_relu);
        variant.forward_relu(recorder, layer, &pass).unwrap();
    });
    let twin = layer.reference();
    let [expected] = expected(case, |x, dy, parameters| {
        let mut y = Array2::from_elem(dy.raw_dim(), f64::NAN);
        let mode = reference::Mode::Evaluation;
        let pass = reference::Forward::new((x.view(), *input), parameters, y.view_mut(), mode);
        f64::of(&twin).forward(pass);
        [y]
    });
    let found = bench.read(&y);
    case.compare(
        &format!("{variant:?} y"),
        &found,
        &expected,
        case.depth() + 2,
    );
    let relu = found.iter().map(|&y| if y <= 0.0 { 0.0 } else { y });
    let of_relu = bench.read(&of_relu).into_iter().map(f32::to_bits);
    assert!(relu.map(f32::to_bits).eq(of_relu), "{name}, with a ReLU");
    found
}

fn check_backward(gpu: &Gpu, variant: Variant, case: &Case, with_dx: bool) -> Vec<Vec<f32>> {
    let Images { layer, rows, input } = &case.images;
    let bench = Bench::new(gpu);
    let x = case.upload_x(&bench);
    let parameters = case.upload_parameters(&bench);
    let unread = vec![f32::NAN; case.dy.len()];
    let y = bench.input("y", (*rows, case.output), &unread);
    let dy = bench.input("dy", (*rows, case.output), &case.dy);
    let gradients = parameters.iter().zip(["dw", "db"]);
    let gradients = gradients.map(|(parameter, label)| bench.output(label, parameter.dims()));
    let gradients: Vec<_> = gradients.collect();
    let dx = with_dx.then(|| bench.output("dx", (*rows, *input)));
    let name = format!("{variant:?} backward: {}", case.name);
    bench.run(&name, 1, |recorder| {
        let pass = Backward::new([&x, &y, &dy], dx.as_ref(), Mode::Evaluation);
        let pass = pass.with_input(*input);
        let pass = pass.with_parameters(&parameters, &gradients);
        variant.backward(recorder, layer, &pass).unwrap();
    });
    let twin = layer.reference();
    let [of_x, of_w, of_b] = expected(case, |x, dy, parameters| {
        let mut dx = Array2::from_elem(x.raw_dim(), f64::NAN);
        let poison = |like: &Array2<f64>| Array2::from_elem(like.raw_dim(), f64::NAN);
        let mut gradients: Vec<_> = parameters.iter().map(poison).collect();
        let of_y = [dy.view(), dy.view()];
        let mode = reference::Mode::Evaluation;
        let pass = reference::Backward::new((x.view(), *input), of_y, Some(dx.view_mut()), mode);
        f64::of(&twin).backward(pass.with_parameters(parameters, &mut gradients));
        let mut gradients = gradients.into_iter();
        let dw = gradients.next().unwrap();
        [
            dx,
            dw,
            gradients.next().unwrap_or_else(|| Array2::zeros((0, 0))),
        ]
    });
    let mut all = Vec::new();
    let mut compare = |what: &str, tensor, expected: &Expected, terms| {
        let found = bench.read(tensor);
        case.compare(&format!("{variant:?} {what}"), &found, expected, terms);
        all.push(found);
    };
    compare("dw", &gradients[0], &of_w, case.places() + 2);
    if let Some(db) = gradients.get(1) {
        compare("db", db, &of_b, case.places() + 1);
    }
    if let Some(dx) = &dx {
        let terms = case.output.extents()[0] * layer_products(case);
        compare("dx", dx, &of_x, terms);
    }
    all
}

/// Returns the maximum number of products in the sum of an element of `dx`.
fn layer_products(case: &Case) -> usize {
    case.depth() / case.images.input.extents()[0]
}

fn check_all_forward(variant: Variant) {
    for (index, images) in all_images().into_iter().enumerate() {
        for &fill in Fill::of_shape(index) {
            let case = Case::new(&images, fill, variant == Variant::Bytes);
            check_forward(gpu(), variant, &case);
        }
    }
}

fn check_all_backward(variant: Variant) {
    for (index, images) in all_images().iter().enumerate() {
        for (fill_index, &fill) in Fill::of_shape(index).iter().enumerate() {
            let case = Case::new(images, fill, variant == Variant::Bytes);
            let with_dx = variant != Variant::Bytes && (index + fill_index) % 4 != 0;
            check_backward(gpu(), variant, &case, with_dx);
        }
    }
}

#[test]
fn forward_in_tiles_is_the_formula() {
    check_all_forward(Variant::Tiles);
}

#[test]
fn forward_in_registers_is_the_formula() {
    check_all_forward(Variant::Registers);
}

#[test]
fn forward_in_vectors_is_the_formula() {
    check_all_forward(Variant::Vectors);
}

/// With bytes, there is one more rounding than with floats: the sums are divided by 255 at the end.
#[test]
fn forward_over_bytes_is_the_formula() {
    check_all_forward(Variant::Bytes);
}

#[test]
fn backward_in_tiles_is_the_formula() {
    check_all_backward(Variant::Tiles);
}

#[test]
fn backward_in_registers_is_the_formula() {
    check_all_backward(Variant::Registers);
}

#[test]
fn backward_in_vectors_is_the_formula() {
    check_all_backward(Variant::Vectors);
}

#[test]
fn backward_over_bytes_is_the_formula() {
    check_all_backward(Variant::Bytes);
}

const ALL: [Variant; 4] = [
    Variant::Tiles,
    Variant::Registers,
    Variant::Vectors,
    Variant::Bytes,
];

/// The dispatch has more workgroups than one dimension allows, so it is folded.
#[test]
fn convolutions_are_folded_into_two_dimensions() {
    let gpu = &folding_after(20);
    for variant in ALL {
        let is_bytes = variant == Variant::Bytes;
        let case = Case::new(&large(), Fill::Integers, is_bytes);
        check_forward(gpu, variant, &case);
        check_backward(gpu, variant, &case, !is_bytes);
    }
}

/// A long product is split into several dispatches. The result has the same bits.
#[test]
fn convolutions_in_several_dispatches_are_the_whole() {
    let parted = &dispatching(1 << 20);
    for variant in ALL {
        let is_bytes = variant == Variant::Bytes;
        let case = Case::new(&large(), Fill::Moderate, is_bytes);
        let y = check_forward(parted, variant, &case);
        assert!(y == check_forward(gpu(), variant, &case), "{variant:?}");
        let gradients = check_backward(parted, variant, &case, !is_bytes);
        let whole = check_backward(gpu(), variant, &case, !is_bytes);
        assert!(gradients == whole, "{variant:?}");
    }
    let images = large();
    let rows = images.rows;
    let input = images.input;
    let [x, w, b, y] = [[rows, input.len()], [64, 18], [1, 64], [rows, 64 * 38 * 38]]
        .map(|shape| Tensor::zeros(parted, "a tensor", shape, Element::F32).unwrap());
    for variant in Variant::OF_FLOATS {
        let mut recorder = Recorder::new(parted);
        let parameters = [w.clone(), b.clone()];
        let layer = &images.layer;
        let pass = Forward::new(&x, &parameters, &y, Mode::Evaluation).with_input(input);
        variant.forward(&mut recorder, layer, &pass).unwrap();
        let dispatches = recorder.finish().unwrap().len();
        assert!((7..=9).contains(&dispatches), "{variant:?}: {dispatches}");
    }
}

/// There are more positions than a loop on a software driver may have iterations, so they are split into several
/// dispatches.
#[test]
fn the_gradients_of_very_many_places_are_whole() {
    let images = images(1, [1, 1450, 1450], 1, 1, plain);
    for variant in ALL {
        let case = Case::new(&images, Fill::Integers, variant == Variant::Bytes);
        check_backward(gpu(), variant, &case, false);
    }
}

/// The sums of `Registers` and `Vectors`, which software drivers run, are as long as loops on these drivers may be. The
/// test detects a loop that ends early. Longer sums are refused. `Tiles` runs on hardware, which has no such limit.
#[test]
fn the_longest_sums_are_whole() {
    for (variant, channels) in [
        (Variant::Tiles, 125_000),
        (Variant::Registers, 64_900),
        (Variant::Vectors, 64_900),
    ] {
        let images = images(1, [longest(channels), 1, 1], 1, 1, plain);
        check_forward(gpu(), variant, &Case::new(&images, Fill::Integers, false));
    }
    if gpu().kind() != AdapterKind::Software {
        return;
    }
    for variant in ALL {
        // One loop iteration of the tiles adds 16 products.
        let channels = if variant == Variant::Tiles {
            1 << 20
        } else {
            1 << 16
        };
        let images = images(1, [channels, 1, 1], 1, 1, plain);
        let case = Case::new(&images, Fill::Integers, variant == Variant::Bytes);
        let bench = Bench::new(gpu());
        let x = case.upload_x(&bench);
        let parameters = case.upload_parameters(&bench);
        let y = bench.output("y", [1, 1]);
        let pass = Forward::new(&x, &parameters, &y, Mode::Evaluation).with_input(images.input);
        let mut recorder = Recorder::new(gpu());
        variant
            .forward(&mut recorder, &images.layer, &pass)
            .unwrap();
        let error = recorder.finish().unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{variant:?}: {error}");
    }
}
