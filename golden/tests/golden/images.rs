//! Golden vectors of layers for images.

use std::collections::BTreeMap;

use ndarray::Array2;
use wgrad::kernel::Element;
use wgrad::ops::{Backward, Conv2d, Forward, Layer, Mode};
use wgrad::plan::Recorder;
use wgrad::plumbing::ConvVariant;
use wgrad::reference::{self, Float};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Shape};

use crate::file::{File, Refusal};
use crate::network::json;
use crate::ops::{Case, Outputs, into_f64, matrix, of_f32, poisoned, run, upload};
use crate::report::Table;
use crate::tolerance::{DOUBLE, SINGLE};

/// The options of a case, as the metadata gives them. Each value is [height, width].
pub(crate) type Options = BTreeMap<String, [usize; 2]>;

/// Reads the options of a case.
pub(crate) fn options(file: &File, prefix: &str) -> Result<Options, Refusal> {
    let mut cases: BTreeMap<String, Options> = json(file, "cases")?;
    let case = prefix.trim_end_matches('.');
    let options = cases.remove(case);
    options.ok_or_else(|| file.failed(format!("\"cases\" has no options of {case}")))
}

/// Returns the number of images in a tensor, and the shape of an image.
pub(crate) fn extents(file: &File, name: &str) -> Result<(usize, [usize; 3]), Refusal> {
    match file.extents(name)?[..] {
        [rows, channels, height, width] => Ok((rows, [channels, height, width])),
        ref other => Err(file.failed(format!("tensor {name} is no batch of images: {other:?}"))),
    }
}

fn values(file: &File, name: &str, shape: [usize; 2]) -> Result<Array2<f32>, Refusal> {
    let extents = file.extents(name)?;
    Ok(matrix(shape, &file.f32(name, extents)?))
}

/// The operands of a convolution.
struct Convolution {
    layer: Conv2d,
    input: Shape,
    x: Array2<f32>,
    dy: Array2<f32>,
    /// The weight, and the bias if there is one.
    parameters: Vec<Array2<f32>>,
}

impl Convolution {
    fn read(file: &File, prefix: &str) -> Result<Self, Refusal> {
        let name = |tensor: &str| format!("{prefix}{tensor}");
        let (rows, input) = extents(file, &name("x"))?;
        let (outputs, [channels, height, width]) = extents(file, &name("weight"))?;
        let has_bias = file.tensors.contains_key(&name("bias"));
        let mut layer = Conv2d::new(outputs, [height, width]);
        if !has_bias {
            layer = layer.without_bias();
        }
        for (option, size) in options(file, prefix)? {
            layer = match option.as_str() {
                "kernel" if size == [height, width] => layer,
                "stride" => layer.stride(size),
                "padding" => layer.padding(size),
                "dilation" => layer.dilation(size),
                _ => return Err(file.unknown(&option, &format!("{size:?}"))),
            };
        }
        let spec = layer.spec(&input.into());
        let spec = spec.map_err(|error| file.failed(error))?;
        let (of_dy, output) = extents(file, &name("dy"))?;
        if spec.output != output.into() || of_dy != rows || channels != input[0] {
            let found = format!("{of_dy} rows of {output:?}, weights of {channels} channels");
            return Err(file.failed(format!(
                "{prefix}dy: {rows} rows of {}, not {found}",
                spec.output
            )));
        }
        let weight = [outputs, channels * height * width];
        let mut parameters = vec![values(file, &name("weight"), weight)?];
        if has_bias {
            parameters.push(values(file, &name("bias"), [1, outputs])?);
        }
        Ok(Self {
            layer,
            input: input.into(),
            x: values(file, &name("x"), [rows, Shape::from(input).len()])?,
            dy: values(file, &name("dy"), [rows, spec.output.len()])?,
            parameters,
        })
    }

    /// Computes `y`, `dx` and the gradients with respect to the parameters by the reference.
    fn by_reference<F: Float>(&self, of: impl Fn(&Array2<f32>) -> Array2<F>) -> Vec<Array2<F>> {
        let x = of(&self.x);
        let dy = of(&self.dy);
        let parameters: Vec<_> = self.parameters.iter().map(of).collect();
        let mut y = poisoned(&dy);
        let mut dx = poisoned(&x);
        let mut gradients: Vec<_> = parameters.iter().map(poisoned).collect();
        let input = (x.view(), self.input);
        let mode = reference::Mode::Evaluation;
        let twin = self.layer.reference();
        let pass = reference::Forward::new(input, &parameters, y.view_mut(), mode);
        F::of(&twin).forward(pass);
        let of_output = [y.view(), dy.view()];
        let pass = reference::Backward::new(input, of_output, Some(dx.view_mut()), mode);
        F::of(&twin).backward(pass.with_parameters(&parameters, &mut gradients));
        [vec![y, dx], gradients].concat()
    }

    /// Computes `y`, `dx` and the gradients with respect to the parameters on a GPU. The variant for bytes computes no
    /// `dx`, so `dx_of_bytes` is returned in place of its `dx`.
    fn on_gpu(
        &self,
        gpu: &Gpu,
        variant: ConvVariant,
        bytes: Option<&[u8]>,
        dx_of_bytes: &[f64],
    ) -> Result<Outputs, Error> {
        let x = match bytes {
            None => upload(gpu, &self.x)?,
            Some(bytes) => packed(gpu, bytes, self.x.ncols())?,
        };
        let all = self.parameters.iter();
        let parameters = all.clone().map(|value| upload(gpu, value));
        let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
        let gradients = all.map(|value| upload(gpu, &poisoned(value)));
        let gradients = gradients.collect::<Result<Vec<_>, _>>()?;
        let [y, dx] = [
            upload(gpu, &poisoned(&self.dy))?,
            upload(gpu, &poisoned(&self.x))?,
        ];
        let dy = upload(gpu, &self.dy)?;
        let mut recorder = Recorder::new(gpu);
        let pass = Forward::new(&x, &parameters, &y, Mode::Evaluation).with_input(self.input);
        variant.forward(&mut recorder, &self.layer, &pass)?;
        let wanted = bytes.is_none().then_some(&dx);
        let pass = Backward::new([&x, &y, &dy], wanted, Mode::Evaluation);
        let pass = pass.with_input(self.input);
        let pass = pass.with_parameters(&parameters, &gradients);
        variant.backward(&mut recorder, &self.layer, &pass)?;
        let outputs: Vec<&Tensor> = [&y, &dx].into_iter().chain(&gradients).collect();
        let mut found = run(gpu, recorder, &outputs)?;
        if bytes.is_some() {
            found[1] = dx_of_bytes.to_vec();
        }
        Ok(found)
    }
}

/// Returns `x` as bytes if every element is a byte divided by 255.
fn bytes_of(x: &Array2<f32>) -> Option<Vec<u8>> {
    let byte = |&value: &f32| {
        (0..=255).find(|&byte| value.to_bits() == (f32::from(byte) / 255.0).to_bits())
    };
    x.iter().map(byte).collect()
}

/// Packs four bytes per word, the lowest byte first. Each row starts a new word.
fn packed(gpu: &Gpu, bytes: &[u8], columns: usize) -> Result<Tensor, Error> {
    let words = bytes.chunks(columns).flat_map(|row| {
        row.chunks(4).map(|four| {
            let bytes = four.iter().rev();
            bytes.fold(0, |word: u32, &byte| word << 8 | u32::from(byte))
        })
    });
    let words: Vec<u32> = words.collect();
    let shape = [bytes.len() / columns, columns.div_ceil(4)];
    let tensor = Tensor::zeros(gpu, "golden", shape, Element::U32)?;
    gpu.write(&tensor, &words)?;
    Ok(tensor)
}

fn into_outputs<F: Float>(values: &[Array2<F>]) -> Outputs {
    values.iter().map(into_f64).collect()
}

pub(crate) fn conv2d(
    file: &File,
    prefix: String,
    gpu: &Gpu,
    table: &mut Table,
) -> Result<(), Refusal> {
    let convolution = Convolution::read(file, &prefix)?;
    let shapes = [&convolution.dy, &convolution.x].into_iter();
    let shapes = shapes.chain(&convolution.parameters);
    let names = ["y", "dx", "dweight", "dbias"];
    let expected = names.into_iter().zip(shapes).map(|(what, like)| {
        let name = format!("{prefix}{what}");
        let extents = file.extents(&name)?;
        let values = file.f64(&name, extents)?;
        if values.len() == like.len() {
            Ok((what, values))
        } else {
            Err(file.failed(format!("tensor {name} has {} values", values.len())))
        }
    });
    let expected = expected.collect::<Result<Vec<_>, _>>()?;
    let double = into_outputs(&convolution.by_reference::<f64>(of_f32));
    let single = into_outputs(&convolution.by_reference::<f32>(of_f32));
    let dx = double[1].clone();
    let mut engines = vec![
        ("reference f64", DOUBLE, double),
        ("reference f32", SINGLE, single),
    ];
    let bytes = bytes_of(&convolution.x);
    let variants = [
        ("GPU Tiles", ConvVariant::Tiles, None),
        ("GPU Registers", ConvVariant::Registers, None),
        ("GPU Bytes", ConvVariant::Bytes, bytes.as_deref()),
    ];
    for (engine, variant, bytes) in variants {
        if variant == ConvVariant::Bytes && bytes.is_none() {
            continue;
        }
        let found = convolution.on_gpu(gpu, variant, bytes, &dx);
        engines.push((engine, SINGLE, found.map_err(|error| file.failed(error))?));
    }
    let case = Case {
        prefix,
        expected,
        engines,
    };
    let magnitudes = convolution.by_reference(|values| values.mapv(|value| f64::from(value).abs()));
    let weight = &convolution.parameters[0];
    let of_kernel = weight.ncols() / convolution.input.extents()[0];
    let places = convolution.dy.len() / weight.nrows();
    let terms = [
        weight.ncols() + 2,
        weight.nrows() * of_kernel,
        places + 2,
        places + 1,
    ];
    case.compare(file, table, |precision| {
        let sums = magnitudes.iter().zip(terms);
        let bound = |(sums, terms): (&Array2<f64>, usize)| {
            sums.iter().map(|&sum| precision.sum(terms, sum)).collect()
        };
        sums.map(bound).collect()
    });
    Ok(())
}
