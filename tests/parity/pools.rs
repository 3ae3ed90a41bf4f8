use wgrad::ndarray::Array2;
use wgrad::ops::{AvgPool2d, Backward, Flatten, Forward, Layer, MaxPool2d, Mode};
use wgrad::plumbing::max_pool_backward_relu;
use wgrad::reference::{self, Float};
use wgrad::{Shape, TensorShape};

use crate::gpu::{Bench, FLUSHED, Fill, Numbers, ULP, assert_close, folding_gpu, gpu, sum_error};

/// The number of rows, the shape of the images, and the kernel, stride and padding of the windows.
#[derive(Debug, Clone, Copy)]
struct Case {
    rows: usize,
    image: [usize; 3],
    window: [[usize; 2]; 3],
}

const fn case(rows: usize, image: [usize; 3], window: [[usize; 2]; 3]) -> Case {
    Case {
        rows,
        image,
        window,
    }
}

const fn square(rows: usize, image: [usize; 3], [kernel, stride, padding]: [usize; 3]) -> Case {
    case(
        rows,
        image,
        [[kernel, kernel], [stride, stride], [padding, padding]],
    )
}

/// The cases. The last three are for the device that folds dispatches into two dimensions: 1,537 windows take seven
/// workgroups.
const CASES: [Case; 22] = [
    square(1, [1, 1, 1], [1, 1, 0]),
    square(5, [3, 1, 1], [3, 1, 1]),
    square(3, [4, 24, 24], [2, 2, 0]),
    square(2, [3, 7, 9], [2, 2, 0]),
    square(2, [3, 5, 4], [2, 1, 0]),
    square(2, [2, 9, 9], [3, 2, 1]),
    square(1, [1, 41, 47], [3, 2, 1]),
    square(1, [1, 55, 61], [2, 2, 0]),
    square(1, [1, 61, 41], [4, 4, 2]),
    square(2, [1, 26, 33], [5, 5, 2]),
    square(3, [2, 8, 8], [8, 8, 0]),
    square(2, [2, 7, 6], [1, 3, 0]),
    case(1, [1, 5, 6], [[3, 2], [1, 1], [1, 0]]),
    case(2, [3, 11, 13], [[2, 3], [3, 5], [1, 1]]),
    case(2, [1, 47, 61], [[5, 3], [2, 1], [2, 1]]),
    case(2, [2, 23, 19], [[4, 3], [4, 3], [1, 1]]),
    case(1, [2, 3, 2], [[7, 5], [1, 1], [3, 2]]),
    case(2, [1, 1, 19], [[1, 3], [1, 2], [0, 1]]),
    case(2, [1, 19, 1], [[3, 1], [2, 1], [1, 0]]),
    square(1, [1, 29, 53], [3, 1, 1]),
    case(1, [1, 29, 106], [[1, 2], [1, 2], [0, 0]]),
    square(1, [1, 29, 53], [1, 1, 0]),
];
const FOLDED: usize = 3;

fn cases() -> impl Iterator<Item = (Case, Bench<'static>)> {
    (0..).zip(CASES).map(|(at, case)| {
        let is_folded = at >= CASES.len() - FOLDED;
        let gpu = if is_folded { folding_gpu() } else { gpu() };
        (case, Bench::new(gpu))
    })
}

impl Case {
    fn max(&self) -> MaxPool2d {
        let [kernel, stride, padding] = self.window;
        MaxPool2d::new(kernel).stride(stride).padding(padding)
    }

    fn avg(&self) -> AvgPool2d {
        let [kernel, stride, padding] = self.window;
        AvgPool2d::new(kernel).stride(stride).padding(padding)
    }

    fn inputs(&self) -> usize {
        self.rows * Shape::from(self.image).len()
    }
}

/// The results of a layer without parameters: `y`, `dx`, and the values that the forward pass saves for the backward
/// pass.
type Passes<T> = [Vec<T>; 3];

fn output(layer: &dyn Layer, image: Shape) -> Shape {
    layer.spec(&image).unwrap().output
}

fn on_gpu(
    bench: &Bench<'_>,
    layer: &dyn Layer,
    (rows, image): (usize, Shape),
    [x, dy]: [&[f32]; 2],
) -> Passes<f32> {
    let case = format!("{} of {rows} {image}", layer.name());
    let spec = layer.spec(&image).unwrap();
    let [of_x, of_y] = [image, spec.output].map(|shape| TensorShape::from((rows, shape)));
    let x = bench.input("x", of_x, x);
    let dy = bench.input("dy", of_y, dy);
    let y = bench.output("y", of_y);
    let dx = bench.output("dx", of_x);
    let kept = spec.kept.iter();
    let kept: Vec<_> = kept
        .map(|kept| bench.output(kept.name, kept.tensor_shape(rows)))
        .collect();
    bench.run(&case, 1, |recorder| {
        let pass = Forward::new(&x, &[], &y, Mode::Evaluation).with_kept(&kept);
        layer.forward(recorder, pass).unwrap();
        let pass = Backward::new([&x, &y, &dy], Some(&dx), Mode::Evaluation);
        layer.backward(recorder, pass.with_kept(&kept)).unwrap();
    });
    let kept = kept.iter().flat_map(|kept| bench.read(kept)).collect();
    [bench.read(&y), bench.read(&dx), kept]
}

fn by_reference<F: Float>(
    layer: &dyn Layer,
    (rows, image): (usize, Shape),
    [x, dy]: [&[f32]; 2],
) -> Passes<F> {
    let spec = layer.spec(&image).unwrap();
    let matrix = |values: &[f32]| {
        let columns = values.len() / rows;
        let value = |(r, c): (usize, usize)| F::from_f64(values[r * columns + c].into());
        Array2::from_shape_fn((rows, columns), value)
    };
    let [x, dy] = [x, dy].map(matrix);
    let [mut y, mut dx] = [&dy, &x].map(|like| like.mapv(|_| F::nan()));
    let kept = spec
        .kept
        .iter()
        .map(|kept| Array2::from_elem(kept.tensor_shape(rows).dims(), F::nan()));
    let mut kept: Vec<Array2<F>> = kept.collect();
    let twin = layer.reference();
    let mode = reference::Mode::Evaluation;
    let twin = F::of(&twin);
    let pass = reference::Forward::new((x.view(), image), &[], y.view_mut(), mode);
    twin.forward(pass.with_kept(&mut kept));
    let of_y = [y.view(), dy.view()];
    let pass = reference::Backward::new((x.view(), image), of_y, Some(dx.view_mut()), mode);
    twin.backward(pass.with_kept(&kept));
    let kept = kept.into_iter().flatten().collect();
    [y.into_iter().collect(), dx.into_iter().collect(), kept]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Checks max pooling. Only sums of gradients are rounded. They are in the same order as in the reference, so the
/// results must be equal.
fn check_max(bench: &Bench<'_>, case: &Case, x: &[f32]) {
    let layer = case.max();
    let of_x = (case.rows, Shape::from(case.image));
    let elements = case.rows * output(&layer, of_x.1).len();
    let dy = Numbers::new(5).fill(elements, Fill::Moderate);
    let [y, dx, winner] = on_gpu(bench, &layer, of_x, [x, &dy]);
    let expected = by_reference::<f32>(&layer, of_x, [x, &dy]);
    assert_eq!(bits(&winner), bits(&expected[2]), "winners of {case:?}");
    assert_eq!(bits(&y), bits(&expected[0]), "y of {case:?}");
    // This comparison treats zeros of both signs as equal.
    assert_eq!(dx, expected[1], "dx of {case:?}");
}

#[test]
fn max_pooling_is_exact() {
    for (case, bench) in cases() {
        for fill in Fill::ALL {
            let x = Numbers::new(11).fill(case.inputs(), fill);
            check_max(&bench, &case, &x);
        }
    }
}

#[test]
fn of_equal_values_in_a_window_the_first_wins() {
    for (case, bench) in cases() {
        for value in [0.0, -1.0, f32::MIN, f32::NEG_INFINITY, f32::NAN] {
            check_max(&bench, &case, &vec![value; case.inputs()]);
        }
    }
    let zeros = [0.0, -0.0, -0.0, 0.0, -1.0, -0.0, 0.0, -1.0];
    let case = square(2, [1, 2, 2], [2, 2, 0]);
    let bench = Bench::new(gpu());
    check_max(&bench, &case, &zeros);
    let [y, dx, winner] = on_gpu(
        &bench,
        &case.max(),
        (2, Shape::from(case.image)),
        [&zeros, &[3.0, 5.0]],
    );
    assert_eq!(winner, [0.0, 1.0]);
    assert_eq!(bits(&y), bits(&[0.0, -0.0]));
    assert_eq!(dx, [3.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0]);
}

#[test]
fn behind_a_relu_the_gradient_of_max_pooling_is_that_by_the_input_of_the_relu() {
    for (case, bench) in cases() {
        let rectified = |x: &f32| if *x > 0.0 { *x } else { 0.0 };
        let x = Numbers::new(11).fill(case.inputs(), Fill::Integers);
        let x: Vec<f32> = x.iter().map(rectified).collect();
        let layer = case.max();
        let of_x = (case.rows, Shape::from(case.image));
        let elements = case.rows * output(&layer, of_x.1).len();
        let dy = Numbers::new(5).fill(elements, Fill::Moderate);
        let [y, dx, winner] = by_reference::<f32>(&layer, of_x, [&x, &dy]);
        let [of_x, of_y] =
            [of_x.1, output(&layer, of_x.1)].map(|shape| TensorShape::from((case.rows, shape)));
        let inputs = [("x", of_x, &x), ("y", of_y, &y), ("dy", of_y, &dy)];
        let [x_in, y, dy] = inputs.map(|(label, shape, values)| bench.input(label, shape, values));
        let kept = [bench.input("winner", of_y, &winner)];
        let found = bench.output("dx", of_x);
        bench.run(&format!("{case:?} behind a Relu"), 1, |recorder| {
            let pass = Backward::new([&x_in, &y, &dy], Some(&found), Mode::Evaluation);
            max_pool_backward_relu(&layer, recorder, pass.with_kept(&kept)).unwrap();
        });
        let open = x.iter().zip(&dx);
        let expected: Vec<f32> = open
            .map(|(&x, &dx)| if x > 0.0 { dx } else { 0.0 })
            .collect();
        assert_eq!(bench.read(&found), expected, "dx of {case:?}");
    }
}

#[test]
fn a_nan_in_a_window_is_the_largest_and_the_first_wins() {
    let negative = f32::from_bits(0xffc0_0001);
    let special = [f32::NAN, negative, f32::INFINITY, f32::NEG_INFINITY];
    for (case, bench) in cases() {
        let mut numbers = Numbers::new(3);
        let x: Vec<f32> = (0..case.inputs())
            .map(|_| match numbers.below(6) {
                0 => special[numbers.below(4)],
                _ => numbers.uniform(),
            })
            .collect();
        check_max(&bench, &case, &x);
    }
    let case = square(1, [1, 2, 2], [2, 2, 0]);
    let x = [f32::INFINITY, negative, f32::NAN, 1.0];
    let [y, _, winner] = on_gpu(
        &Bench::new(gpu()),
        &case.max(),
        (1, Shape::from(case.image)),
        [&x, &[1.0]],
    );
    assert_eq!(winner, [1.0]);
    assert!(y[0].is_nan(), "{y:?}");
}

/// Checks average pooling. The error is that of a sum and of a division (2.5 ULP). A sum of `y` has at most `pixels`
/// terms, the pixels of a window. A sum of `dx` has no more, because no pixel is in more than `pixels` windows.
fn check_avg(bench: &Bench<'_>, layer: AvgPool2d, of_x: (usize, Shape), pixels: usize, x: &[f32]) {
    let elements = of_x.0 * output(&layer, of_x.1).len();
    let dy = Numbers::new(5).fill(elements, Fill::Moderate);
    let [y, dx, _] = on_gpu(bench, &layer, of_x, [x, &dy]);
    let expected = by_reference::<f64>(&layer, of_x, [x, &dy]);
    let absolute = |values: &[f32]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
    let sums = by_reference::<f64>(&layer, of_x, [&absolute(x), &absolute(&dy)]);
    for (found, at) in [(y, 0), (dx, 1)] {
        let tolerance = expected[at].iter().zip(&sums[at]).map(|(value, sum)| {
            // `sum` is here the mean of the magnitudes instead of their sum, so the bound of the sum is also divided.
            sum_error(pixels, *sum) + 2.5 * ULP * value.abs() + FLUSHED
        });
        let case = format!("{} of {of_x:?}: {}", layer.name(), ["y", "dx"][at]);
        assert_close(&case, &found, expected[at].iter().copied(), tolerance);
    }
}

#[test]
fn average_pooling_is_within_its_bound() {
    for (case, bench) in cases() {
        let [[height, width], ..] = case.window;
        for fill in Fill::ALL {
            let x = Numbers::new(11).fill(case.inputs(), fill);
            let of_x = (case.rows, Shape::from(case.image));
            check_avg(&bench, case.avg(), of_x, height * width, &x);
        }
    }
}

#[test]
fn average_pooling_counts_padding() {
    let layer = AvgPool2d::new(2).padding(1);
    let of_x = (1, Shape::from([1, 2, 2]));
    let four = [4.0, 8.0, 12.0, 16.0];
    let passes = on_gpu(&Bench::new(gpu()), &layer, of_x, [&four, &four]);
    let quarters = vec![1.0, 2.0, 3.0, 4.0];
    assert_eq!(passes[..2], [quarters.clone(), quarters]);
}

#[test]
fn global_average_pooling_is_the_mean_of_each_channel() {
    for (rows, image) in [
        (1, [1, 1, 1]),
        (3, [5, 4, 7]),
        (2, [3, 41, 47]),
        (100, [10, 8, 8]),
        (1, [2, 200, 300]),
    ] {
        let x = Numbers::new(9).fill(rows * Shape::from(image).len(), Fill::Moderate);
        let of_x = (rows, Shape::from(image));
        let pixels = image[1] * image[2];
        check_avg(&Bench::new(gpu()), AvgPool2d::global(), of_x, pixels, &x);
    }
}

#[test]
fn flattening_changes_no_bit() {
    let special = [f32::NAN, f32::INFINITY, -0.0, 1.5];
    for (rows, image) in [(1, [1, 1, 1]), (3, [5, 7, 11]), (2, [3, 41, 47])] {
        let count = rows * Shape::from(image).len();
        let mut x: Vec<f32> = Numbers::new(2).fill(count, Fill::Extreme);
        for (x, special) in x.iter_mut().zip(special) {
            *x = special;
        }
        let dy = Numbers::new(3).fill(count, Fill::Extreme);
        let of_x = (rows, Shape::from(image));
        let [y, dx, _] = on_gpu(&Bench::new(gpu()), &Flatten, of_x, [&x, &dy]);
        assert_eq!(bits(&y), bits(&x));
        assert_eq!(bits(&dx), bits(&dy));
    }
}
