//! Golden vectors of pooling layers for images. Each case has its own options.

use ndarray::Array2;
use serde_json::{Map, Value};
use wgrad::kernel::Element;
use wgrad::ops::{AvgPool2d, Backward, Forward, Layer, MaxPool2d, Mode};
use wgrad::plan::Recorder;
use wgrad::reference::{self, Float};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Shape, TensorShape};

use crate::file::{File, Refusal};
use crate::ops::{Case, Outputs, into_f64, matrix, of_f32, poisoned, run};
use crate::report::Table;
use crate::tolerance::{DIVISION, DOUBLE, Precision, SINGLE};

/// The value that pooling computes from a window: the maximum or the mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Max,
    Mean,
}

/// Kernel, stride and padding, each as [height, width].
pub(crate) type Window = [[usize; 2]; 3];

/// The operands of both passes.
struct Operands {
    image: Shape,
    x: Array2<f32>,
    dy: Array2<f32>,
}

pub(crate) fn check(
    file: &File,
    prefix: String,
    gpu: &Gpu,
    table: &mut Table,
    taken: Taken,
) -> Result<(), Refusal> {
    let window = window(file, prefix.trim_end_matches('.'))?;
    let name = |tensor: &str| format!("{prefix}{tensor}");
    let of_x = extents(file, &name("x"))?;
    let [rows, channels, height, width] = of_x;
    let image = Shape::from([channels, height, width]);
    let layers = layers(taken, window, [height, width]);
    let spec = layers[0].1.spec(&image);
    let output = spec.map_err(|error| file.failed(format!("{prefix}{error}")))?;
    let output = output.output;
    let of_y = [&[rows], output.extents()].concat();
    let flat = |tensor: &str, shape: &[usize], columns| {
        Ok(matrix([rows, columns], &file.f32(&name(tensor), shape)?))
    };
    let given = Operands {
        image,
        x: flat("x", &of_x, image.len())?,
        dy: flat("dy", &of_y, output.len())?,
    };
    let mut case = Case {
        expected: vec![
            ("y", file.f64(&name("y"), of_y)?),
            ("dx", file.f64(&name("dx"), of_x)?),
        ],
        engines: vec![
            (
                "reference f64",
                DOUBLE,
                by_reference::<f64>(&*layers[0].1, &given),
            ),
            (
                "reference f32",
                SINGLE,
                by_reference::<f32>(&*layers[0].1, &given),
            ),
        ],
        prefix,
    };
    for (engine, layer) in &layers {
        let found = on_gpu(gpu, &**layer, &given).map_err(|error| file.failed(error))?;
        case.engines.push((engine, SINGLE, found));
    }
    let magnitudes = Operands {
        image,
        // For max pooling, the magnitudes of `x` are not used: their maxima would be at other positions.
        x: match taken {
            Taken::Max => given.x.clone(),
            Taken::Mean => given.x.mapv(f32::abs),
        },
        dy: given.dy.mapv(f32::abs),
    };
    let sums = by_reference::<f64>(&*layers[0].1, &magnitudes);
    let [[kernel_height, kernel_width], ..] = window;
    let exact = case.expected.clone();
    case.compare(file, table, |precision| match taken {
        // In max pooling, only sums of gradients are rounded.
        Taken::Max => vec![
            vec![0.0; given.dy.len()],
            of_sums(precision, kernel_height * kernel_width, &sums[1]),
        ],
        // A mean has the errors of a sum and of a division.
        Taken::Mean => [0, 1]
            .map(|at| {
                let rounded = of_sums(precision, kernel_height * kernel_width, &sums[at]);
                let values = rounded.into_iter().zip(&exact[at].1);
                let of_division = |value: f64| DIVISION * precision.ulp() * value.abs();
                values
                    .map(|(sum, &value)| sum + of_division(value))
                    .collect()
            })
            .to_vec(),
    });
    Ok(())
}

fn of_sums(precision: Precision, count: usize, magnitudes: &[f64]) -> Vec<f64> {
    let sums = magnitudes.iter();
    sums.map(|&sum| precision.sum(count, sum)).collect()
}

/// Returns the window that a case's options describe. An unknown option is refused.
fn window(file: &File, case: &str) -> Result<Window, Refusal> {
    let failed = |why: String| file.failed(format!("metadata key \"cases\": {why}"));
    let all: Map<String, Value> =
        serde_json::from_str(file.key("cases")?).map_err(|error| failed(error.to_string()))?;
    let Some(Value::Object(options)) = all.get(case) else {
        return Err(failed(format!("no case \"{case}\"")));
    };
    let mut window = [[0; 2]; 3];
    let names = ["kernel", "stride", "padding"];
    for (option, name) in window.iter_mut().zip(names) {
        let value = options.get(name);
        let value = value.ok_or_else(|| failed(format!("\"{name}\" of {case} is missing")))?;
        *option = pair(value).ok_or_else(|| failed(format!("\"{name}\" of {case} is {value}")))?;
    }
    match options.keys().find(|key| !names.contains(&key.as_str())) {
        Some(other) => Err(failed(format!("\"{other}\" of {case} is unknown"))),
        None => Ok(window),
    }
}

/// Parses a height and a width, or one number for both.
pub(crate) fn pair(value: &Value) -> Option<[usize; 2]> {
    let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
    match value {
        Value::Array(both) => match &both[..] {
            [height, width] => Some([number(height)?, number(width)?]),
            _ => None,
        },
        both => number(both).map(|both| [both, both]),
    }
}

fn extents(file: &File, tensor: &str) -> Result<[usize; 4], Refusal> {
    let extents = file.extents(tensor)?;
    <[usize; 4]>::try_from(extents).map_err(|extents| {
        let why = format!("tensor {tensor} is {extents:?}, not rows of images");
        file.failed(why)
    })
}

/// Returns the layer with this window, and other layers that give the same results for images of this size.
fn layers(
    taken: Taken,
    [kernel, stride, padding]: Window,
    image: [usize; 2],
) -> Vec<(&'static str, Box<dyn Layer>)> {
    match taken {
        Taken::Max => {
            let layer = MaxPool2d::new(kernel).stride(stride).padding(padding);
            vec![("GPU", Box::new(layer))]
        }
        Taken::Mean => {
            let layer = AvgPool2d::new(kernel).stride(stride).padding(padding);
            let mut layers: Vec<(_, Box<dyn Layer>)> = vec![("GPU", Box::new(layer))];
            if kernel == image && padding == [0, 0] {
                layers.push(("GPU, global", Box::new(AvgPool2d::global())));
            }
            layers
        }
    }
}

fn by_reference<F: Float>(layer: &dyn Layer, given: &Operands) -> Outputs {
    let [x, dy] = [&given.x, &given.dy].map(of_f32::<F>);
    let [mut y, mut dx] = [poisoned(&dy), poisoned(&x)];
    let spec = layer.spec(&given.image).expect("a layer that was made");
    let kept = spec.kept.iter();
    let kept = kept.map(|kept| kept.tensor_shape(x.nrows()).dims());
    let mut kept: Vec<_> = kept.map(|dims| Array2::from_elem(dims, F::nan())).collect();
    let twin = layer.reference();
    let mode = reference::Mode::Evaluation;
    let input = (x.view(), given.image);
    let pass = reference::Forward::new(input, &[], y.view_mut(), mode);
    F::of(&twin).forward(pass.with_kept(&mut kept));
    let of_y = [y.view(), dy.view()];
    let pass = reference::Backward::new(input, of_y, Some(dx.view_mut()), mode);
    F::of(&twin).backward(pass.with_kept(&kept));
    vec![into_f64(&y), into_f64(&dx)]
}

fn on_gpu(gpu: &Gpu, layer: &dyn Layer, given: &Operands) -> Result<Outputs, Error> {
    let spec = layer.spec(&given.image)?;
    let rows = given.x.nrows();
    let [of_x, of_y] = [given.image, spec.output].map(|shape| TensorShape::from((rows, shape)));
    let upload = |shape: TensorShape, values: &Array2<f32>| {
        let tensor = Tensor::zeros(gpu, "golden", shape, Element::F32)?;
        gpu.write(&tensor, &values.iter().copied().collect::<Vec<_>>())?;
        Ok::<_, Error>(tensor)
    };
    let [x, dx] = [upload(of_x, &given.x)?, upload(of_x, &poisoned(&given.x))?];
    let [dy, y] = [
        upload(of_y, &given.dy)?,
        upload(of_y, &poisoned(&given.dy))?,
    ];
    let kept = spec.kept.iter();
    let kept =
        kept.map(|kept| Tensor::zeros(gpu, kept.name, kept.tensor_shape(rows), Element::F32));
    let kept = kept.collect::<Result<Vec<_>, _>>()?;
    let mut recorder = Recorder::new(gpu);
    let pass = Forward::new(&x, &[], &y, Mode::Evaluation);
    layer.forward(&mut recorder, pass.with_kept(&kept))?;
    let pass = Backward::new([&x, &y, &dy], Some(&dx), Mode::Evaluation);
    layer.backward(&mut recorder, pass.with_kept(&kept))?;
    run(gpu, recorder, &[&y, &dx])
}
