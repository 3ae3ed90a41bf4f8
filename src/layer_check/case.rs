//! One minibatch through a layer: on the GPU, and by its reference.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::guard::{Guarded, Touch};
use super::{LayerError, Place};
use super::{Mode, Pass};
use crate::error::Error;
use crate::gpu::{Gpu, message_of};
use crate::kernel::Contract;
use crate::ops::{Backward, Draw, Forward, Layer, ParameterSpec};
use crate::plan::Recorder;
use crate::reference::{self, Float, Twin};
use crate::sequential::MAX_WIDTH;
use crate::tensor::Tensor;

/// Key and step of a pass in training, as good as any.
const KEY: [u32; 2] = [0x243f_6a88, 0x85a3_08d3];
const STEP: u32 = 5;

/// Numbers that are the same on every machine.
#[derive(Debug)]
pub(super) struct Numbers(ChaCha8Rng);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end
    }

    fn uniform(&mut self, low: f32, high: f32) -> f32 {
        let share = f64::from(self.bits()) / f64::from(u32::MAX);
        f32::from_f64(f64::from(low) + share * (f64::from(high) - f64::from(low))).clamp(low, high)
    }

    /// As many between 1 and 2 as between 2 and 4, and so on to an end of the range.
    fn of_any_size(&mut self, range: &RangeInclusive<f32>) -> f32 {
        let end = [range.start(), range.end()][self.below(2)];
        let exponent = self.uniform(0.0, end.abs().max(1.0).log2());
        exponent
            .exp2()
            .copysign(*end)
            .clamp(*range.start(), *range.end())
    }

    /// Of a minibatch: a quarter of them zeros and other repeats, an eighth round numbers, large or tiny, and
    /// an eighth of any size between 1 and the largest.
    fn input(&mut self, range: &RangeInclusive<f32>) -> f32 {
        const REPEATED: [f32; 6] = [0.0, 0.0, -0.0, 1.0, -1.0, 2.0];
        const EXTREME: [f32; 8] = [10.0, -10.0, 30.0, -30.0, 100.0, -100.0, 1e-3, -1e-30];
        let special = match self.below(8) {
            0 | 1 => REPEATED.get(self.below(REPEATED.len())),
            2 => EXTREME.get(self.below(EXTREME.len())),
            _ => None,
        };
        if let Some(&special) = special
            && range.contains(&special)
        {
            return special;
        }
        if special.is_none() && self.below(5) == 0 {
            return self.of_any_size(range);
        }
        let (low, high) = (range.start().max(-4.0), range.end().min(4.0));
        match low < high {
            true => self.uniform(low, high),
            false => self.uniform(*range.start(), *range.end()),
        }
    }
}

/// Everything that a layer is given of one minibatch.
#[derive(Debug)]
pub(super) struct Case<'a> {
    layer: &'a dyn Layer,
    twin: Twin,
    pub(super) mode: Mode,
    /// Rows and features.
    pub(super) shape: [usize; 2],
    pub(super) outputs: usize,
    specs: Vec<ParameterSpec>,
    x: Array2<f32>,
    dy: Array2<f32>,
    parameters: Vec<Array2<f32>>,
}

/// The operands of both passes of the reference.
#[derive(Debug, Clone)]
pub(super) struct Operands<F> {
    pub(super) x: Array2<F>,
    pub(super) parameters: Vec<Array2<F>>,
    pub(super) y: Array2<F>,
    pub(super) dy: Array2<F>,
}

impl<F> Operands<F> {
    pub(super) fn for_each(&mut self, mut change: impl FnMut(&mut F)) {
        let matrices = [&mut self.x, &mut self.y, &mut self.dy].into_iter();
        let matrices = matrices.chain(&mut self.parameters);
        matrices.flatten().for_each(&mut change);
    }
}

/// Results of both passes on the GPU, in the order of [`Case::names`].
#[derive(Debug)]
pub(super) struct OnGpu {
    pub(super) forward: Vec<Array2<f32>>,
    pub(super) backward: Vec<Array2<f32>>,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        layer: &'a dyn Layer,
        shape: [usize; 2],
        mode: Mode,
        range: &RangeInclusive<f32>,
    ) -> Result<Self, LayerError> {
        let [rows, inputs] = shape;
        let (outputs, specs) = (layer.outputs(inputs), layer.parameters(inputs));
        check_shapes(layer, inputs, outputs, &specs)?;
        let mut numbers = Numbers::new(0);
        let unit = -1.0..=1.0;
        let x = Array2::from_shape_simple_fn(shape, || numbers.input(range));
        let dy = Array2::from_shape_simple_fn([rows, outputs], || numbers.input(&unit));
        // From where training starts, so that what must be positive stays so, and off every zero.
        let parameters = (0..).zip(&specs).map(|(stream, spec)| {
            let mut initial = spec.init.values(spec.shape, 0, stream).into_iter();
            Array2::from_shape_simple_fn(spec.shape, || {
                initial.next().unwrap_or_default() + numbers.uniform(-0.5, 0.5)
            })
        });
        Ok(Self {
            twin: layer.reference(),
            parameters: parameters.collect(),
            layer,
            mode,
            shape,
            outputs,
            specs,
            x,
            dy,
        })
    }

    /// What a pass gives.
    pub(super) fn names(&self, pass: Pass) -> Vec<String> {
        let gradients = self.specs.iter().map(|spec| format!("d{}", spec.name));
        match pass {
            Pass::Forward => vec!["y".to_owned()],
            Pass::Backward => self.dx_name().into_iter().chain(gradients).collect(),
        }
    }

    /// None where nobody reads it.
    fn dx_name(&self) -> Option<String> {
        (self.mode != Mode::First).then(|| "dx".to_owned())
    }

    pub(super) fn place(
        &self,
        pass: Pass,
        tensor: &str,
        shape: [usize; 2],
        at: usize,
    ) -> Box<Place> {
        let element = [at / shape[1], at % shape[1]];
        let x = (self.x.dim() == shape.into()).then(|| self.x[element]);
        Box::new(Place {
            layer: self.layer.name(),
            pass,
            tensor: tensor.to_owned(),
            shape,
            element,
            x,
        })
    }

    /// The operands in one precision; `y` as the GPU has computed it, for both.
    pub(super) fn operands<F: Float>(&self, y: &Array2<f32>) -> Operands<F> {
        let cast = |values: &Array2<f32>| values.mapv(|value| F::from_f64(value.into()));
        Operands {
            x: cast(&self.x),
            parameters: self.parameters.iter().map(cast).collect(),
            y: cast(y),
            dy: cast(&self.dy),
        }
    }

    /// What a pass of the reference gives, in the order of [`names`](Self::names).
    pub(super) fn reference<F: Float>(
        &self,
        pass: Pass,
        operands: &Operands<F>,
    ) -> Result<Vec<Array2<F>>, LayerError> {
        let twin = F::of(&self.twin);
        let draw = (self.mode == Mode::Training).then_some(reference::Draw {
            key: KEY,
            step: STEP,
        });
        let unwritten = F::from_f64(f64::NAN);
        let like = |values: &Array2<F>| Array2::from_elem(values.raw_dim(), unwritten);
        let mut y = like(&operands.y);
        let mut dx = self.dx_name().map(|_| like(&operands.x));
        let mut gradients: Vec<_> = operands.parameters.iter().map(like).collect();
        let [rows, inputs] = self.shape;
        let what = format!(
            "the reference's {pass} pass ({rows}×{inputs} inputs, {rows}×{} outputs)",
            self.outputs
        );
        caught(self.layer, &what, || match pass {
            Pass::Forward => twin.forward(reference::Forward {
                x: operands.x.view(),
                parameters: &operands.parameters,
                y: y.view_mut(),
                draw,
            }),
            Pass::Backward => twin.backward(reference::Backward {
                x: operands.x.view(),
                y: operands.y.view(),
                dy: operands.dy.view(),
                parameters: &operands.parameters,
                gradients: &mut gradients,
                dx: dx.as_mut().map(|dx| dx.view_mut()),
                draw,
            }),
        })?;
        Ok(match pass {
            Pass::Forward => vec![y],
            Pass::Backward => dx.into_iter().chain(gradients).collect(),
        })
    }

    /// Runs both passes. Contracts that are not among `known` are checked first.
    pub(super) fn on_gpu(&self, gpu: &Gpu, known: &mut Vec<Contract>) -> Result<OnGpu, Error> {
        let x = self.input(gpu, "x", &self.x)?;
        let parameters = self.specs.iter().zip(&self.parameters);
        let parameters: Vec<Guarded> = parameters
            .map(|(spec, values)| self.input(gpu, spec.name, values))
            .collect::<Result<_, _>>()?;
        let step = Guarded::counter(gpu, "step count", STEP)?;
        let draw = (self.mode == Mode::Training).then_some(Draw {
            key: KEY,
            step_count: step.tensor(),
        });
        let weights: Vec<Tensor> = parameters.iter().map(|p| p.tensor().clone()).collect();
        let y = Guarded::output(gpu, "y", [self.shape[0], self.outputs])?;
        self.record(gpu, known, Pass::Forward, |recorder| {
            let pass = Forward {
                x: x.tensor(),
                parameters: &weights,
                y: y.tensor(),
                draw,
            };
            self.layer.forward(recorder, pass);
        })?;
        let inputs = || parameters.iter().chain([&x, &step]);
        let forward = self.read(gpu, Pass::Forward, inputs(), &[&y])?;

        let y = self.input(gpu, "y", &forward[0])?;
        let dy = self.input(gpu, "dy", &self.dy)?;
        let dx = self
            .dx_name()
            .map(|name| Guarded::output(gpu, &name, self.shape));
        let dx = dx.transpose()?;
        let gradients = self.specs.iter();
        let gradients: Vec<_> = gradients
            .map(|spec| (format!("d{}", spec.name), spec.shape))
            .collect();
        let gradients = Guarded::outputs(gpu, &gradients)?;
        let outputs: Vec<Tensor> = gradients.iter().map(|g| g.tensor().clone()).collect();
        self.record(gpu, known, Pass::Backward, |recorder| {
            let pass = Backward {
                x: x.tensor(),
                y: y.tensor(),
                dy: dy.tensor(),
                parameters: &weights,
                gradients: &outputs,
                dx: dx.as_ref().map(Guarded::tensor),
                draw,
            };
            self.layer.backward(recorder, pass);
        })?;
        let results: Vec<&Guarded> = dx.iter().chain(&gradients).collect();
        let inputs = inputs().chain([&y, &dy]);
        let backward = self.read(gpu, Pass::Backward, inputs, &results)?;
        Ok(OnGpu { forward, backward })
    }

    fn input(&self, gpu: &Gpu, label: &str, values: &Array2<f32>) -> Result<Guarded, Error> {
        let shape = values.dim().into();
        Guarded::input(
            gpu,
            label,
            shape,
            &values.iter().copied().collect::<Vec<_>>(),
        )
    }

    /// Records a pass and runs it.
    fn record(
        &self,
        gpu: &Gpu,
        known: &mut Vec<Contract>,
        pass: Pass,
        record: impl FnOnce(&mut Recorder<'_>),
    ) -> Result<(), Error> {
        let mut recorder = Recorder::new(gpu);
        let [rows, inputs] = self.shape;
        let what = format!("Layer::{pass} ({rows}×{inputs} inputs)");
        caught(self.layer, &what, || record(&mut recorder))?;
        for contract in recorder.contracts() {
            if known.contains(contract) {
                continue;
            }
            let faults = contract.faults();
            if !faults.is_empty() {
                let (layer, kernel) = (self.layer.name(), contract.name());
                return Err(LayerError::Contract {
                    layer,
                    kernel,
                    faults,
                }
                .into());
            }
            known.push(*contract);
        }
        gpu.submit(&recorder.finish()?, 1)?;
        Ok(())
    }

    /// The results of a pass, once it is seen that nothing else was written.
    fn read<'g>(
        &self,
        gpu: &Gpu,
        pass: Pass,
        inputs: impl Iterator<Item = &'g Guarded>,
        results: &[&Guarded],
    ) -> Result<Vec<Array2<f32>>, Error> {
        for input in inputs {
            input
                .read(gpu)?
                .map_err(|touch| self.touched(pass, input, touch))?;
        }
        let read = |result: &&Guarded| {
            let values = result.read(gpu)?;
            let values = values.map_err(|touch| self.touched(pass, result, touch))?;
            let tensor = result.tensor();
            let (label, shape) = (tensor.label(), tensor.shape());
            if let Some(at) = values.iter().position(|value| value.is_nan()) {
                let at = self.place(pass, label, shape, at);
                return Err(LayerError::Nan { at, by: "the WGSL" }.into());
            }
            let mut values = values.into_iter();
            Ok(Array2::from_shape_simple_fn(shape, || {
                values.next().unwrap_or(f32::NAN)
            }))
        };
        results.iter().map(read).collect()
    }

    fn touched(&self, pass: Pass, guarded: &Guarded, touch: Touch) -> LayerError {
        let tensor = guarded.tensor();
        let (label, shape) = (tensor.label(), tensor.shape());
        match touch {
            Touch::Unwritten { element } => LayerError::Unwritten {
                at: self.place(pass, label, shape, element),
            },
            Touch::Stray { found } => LayerError::Stray {
                layer: self.layer.name(),
                pass,
                tensor: label.to_owned(),
                shape,
                found,
            },
        }
    }
}

/// Whether the shapes that a layer states can be at all.
fn check_shapes(
    layer: &dyn Layer,
    inputs: usize,
    outputs: usize,
    specs: &[ParameterSpec],
) -> Result<(), LayerError> {
    let fault = |what: String, expected: &str, found: String| {
        Err(LayerError::Shape {
            layer: layer.name(),
            what,
            expected: expected.to_owned(),
            found,
        })
    };
    if outputs == 0 || outputs > MAX_WIDTH {
        let what = format!("outputs({inputs})");
        return fault(what, &format!("1 to {MAX_WIDTH}"), outputs.to_string());
    }
    for spec in specs {
        let [rows, columns] = spec.shape;
        let what = format!("parameters({inputs}): shape of {}", spec.name);
        let found = format!("{rows}×{columns}");
        if rows == 0 || columns == 0 {
            return fault(what, "at least 1×1", found);
        }
        if spec.is_vector && rows != 1 {
            return fault(what, "one row, as it is a vector", found);
        }
    }
    Ok(())
}

/// The layer's own code must not end the program where that can be helped.
fn caught(layer: &dyn Layer, what: &str, run: impl FnOnce()) -> Result<(), LayerError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| LayerError::Panic {
        layer: layer.name(),
        what: what.to_owned(),
        message: message_of(panic),
    })
}
