//! One case of an optimizer check: the parameters of an arena, their groups, and the settings and gradients of each
//! step.

use std::ops::RangeInclusive;

use ndarray::Array2;

use super::{Pass, Place};
use crate::check::{Footprint, Numbers, OPERAND, RESULT, caught};
use crate::error::{CheckError, Error};
use crate::ops::{Group, Optimizer, coefficients};
use crate::reference::Float;
use crate::shape::TensorShape;

/// The first of the late steps. Running means need no bias correction any more at this step.
const LATE: u64 = 1_000_003;

/// A parameter with more elements than this, and its gradients, repeat one tile of [`TILE`] numbers. The effect of
/// perturbed operands is then computed for one tile only, because all tiles have the same result.
const TILED: usize = 1 << 16;
/// Elements per tile: the numbers that a large parameter repeats (see [`TILED`]). This is a prime, so that each
/// invocation index of a workgroup meets all numbers of the tile.
pub(super) const TILE: usize = 4099;

/// A kind of tensor that is compared in each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gradient,
    /// A tensor of the state; the number is the index of its name.
    State(usize),
    Parameter,
}

/// All tensors of a step: in `f64` for the reference, in `f32` for the GPU or for the `f32` reference.
#[derive(Debug, Clone)]
pub(super) struct Values<F> {
    pub(super) parameters: Vec<Array2<F>>,
    pub(super) gradients: Vec<Array2<F>>,
    /// For each parameter, the tensors of its state in the order of their names.
    pub(super) state: Vec<Vec<Array2<F>>>,
}

impl<F: Float> Values<F> {
    pub(super) fn of(&self, kind: Kind, parameter: usize) -> &Array2<F> {
        match kind {
            Kind::Gradient => &self.gradients[parameter],
            Kind::State(name) => &self.state[parameter][name],
            Kind::Parameter => &self.parameters[parameter],
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind, parameter: usize) -> &mut Array2<F> {
        match kind {
            Kind::Gradient => &mut self.gradients[parameter],
            Kind::State(name) => &mut self.state[parameter][name],
            Kind::Parameter => &mut self.parameters[parameter],
        }
    }

    /// Returns the kinds of tensors, in the order in which they are compared. An error in a tensor of one kind may
    /// cause errors in tensors of later kinds.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let names = self.state.first().map_or(0, Vec::len);
        let state = (0..names).map(Kind::State);
        let first = std::iter::once(Kind::Gradient);
        first.chain(state).chain([Kind::Parameter]).collect()
    }

    pub(super) fn cast<G: Float>(&self) -> Values<G> {
        let cast = |values: &Array2<F>| values.mapv(|value| G::from_f64(value.into_f64()));
        let all = |values: &Vec<Array2<F>>| values.iter().map(cast).collect::<Vec<_>>();
        Values {
            parameters: all(&self.parameters),
            gradients: all(&self.gradients),
            state: self.state.iter().map(all).collect(),
        }
    }
}

/// How the gradients of a step are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gradients {
    Drawn,
    /// The gradients of the step before.
    Repeated,
    Zero,
}

/// A step, and the settings that the host passes to it.
#[derive(Debug, Clone)]
pub(super) struct At {
    /// Index of the step, from 0.
    pub(super) step: u64,
    pub(super) coefficients: [f32; 4],
    /// Whether the coefficients come from the optimizer with half the learning rate.
    pub(super) is_other: bool,
    /// The learning rate of the optimizer with its original settings, in this step.
    pub(super) own_rate: f32,
    gradients: Gradients,
}

impl At {
    /// Lists the steps of an optimizer: the first `early` steps and two late ones. One early step uses the coefficients
    /// of `other`.
    pub(super) fn all(
        name: &str,
        [own, other]: [&dyn Optimizer; 2],
        early: u64,
    ) -> Result<Vec<Self>, Error> {
        let at = |step: u64| -> Result<Self, Error> {
            let is_other = step == 1;
            let of = |optimizer| {
                caught(name, &format!("Optimizer::coefficients({step})"), || {
                    coefficients(optimizer, step, 0)
                })
            };
            let own = of(own)??;
            let other = of(other)??;
            Ok(Self {
                step,
                coefficients: if is_other { other } else { own },
                is_other,
                own_rate: own[0],
                gradients: match step {
                    2 => Gradients::Repeated,
                    3 => Gradients::Zero,
                    _ => Gradients::Drawn,
                },
            })
        };
        (0..early).chain([LATE, LATE + 1]).map(at).collect()
    }
}

/// The shape and the group of a parameter.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) shape: TensorShape,
    pub(super) group: Group,
    /// A suffix that distinguishes the parameter from others in messages.
    of: &'static str,
}

/// The parameters of an arena, and the settings and gradients of each step.
#[derive(Debug)]
pub(super) struct Case {
    name: String,
    states: &'static [&'static str],
    pub(super) specs: Vec<Spec>,
    /// Number of parameters in each block.
    pub(super) blocks: Vec<usize>,
    pub(super) steps: Vec<At>,
    /// The parameters before the first step.
    pub(super) parameters: Vec<Array2<f32>>,
    /// The gradients of each step.
    pub(super) gradients: Vec<Vec<Array2<f32>>>,
}

impl Case {
    /// Makes a case with one parameter and the optimizer's own settings.
    pub(super) fn of_one(shape: TensorShape) -> (Vec<Spec>, Vec<usize>) {
        let group = Group::new();
        let spec = Spec {
            shape,
            group,
            of: "",
        };
        (vec![spec], vec![1])
    }

    /// Makes a case with parameters in several groups and blocks. The parameters get `shapes` in turn.
    pub(super) fn of_groups(shapes: &[TensorShape]) -> (Vec<Spec>, Vec<usize>) {
        let group = Group::new;
        let groups = [
            (group(), ""),
            (group().frozen(true), " (frozen)"),
            (group().rate(0.5), " (rate 0.5)"),
            (group().weight_decay(0.0), " (no decay)"),
            (group().weight_decay(0.125), " (decay 0.125)"),
            (
                group().rate(0.25).weight_decay(0.125),
                " (rate 0.25, decay 0.125)",
            ),
            (group(), ""),
        ];
        let specs = groups.into_iter().zip(shapes.iter().cycle());
        let specs = specs.map(|((group, of), &shape)| Spec { shape, group, of });
        (specs.collect(), vec![3, 3, 1])
    }

    pub(super) fn new(
        optimizer: &dyn Optimizer,
        (specs, blocks): (Vec<Spec>, Vec<usize>),
        steps: &[At],
        [parameters, gradients]: [&RangeInclusive<f32>; 2],
    ) -> Self {
        let mut numbers = Numbers::new(0);
        let mut draw = |range: &RangeInclusive<f32>| -> Vec<Array2<f32>> {
            let shapes = specs.iter().map(|spec| spec.shape);
            let drawn = shapes.map(|shape| {
                let count = if is_tiled(shape) { TILE } else { shape.len() };
                let values: Vec<f32> = (0..count).map(|_| numbers.input(range)).collect();
                let mut values = values.iter().copied().cycle();
                Array2::from_shape_simple_fn(shape.dims(), || values.next().unwrap_or(f32::NAN))
            });
            drawn.collect()
        };
        let parameters = draw(parameters);
        let mut all: Vec<Vec<Array2<f32>>> = Vec::new();
        for at in steps {
            let zeros = || parameters.iter().map(|of| Array2::zeros(of.raw_dim()));
            let of_step = match (at.gradients, all.last()) {
                (Gradients::Repeated, Some(last)) => last.clone(),
                (Gradients::Zero, _) => zeros().collect(),
                _ => draw(gradients),
            };
            all.push(of_step);
        }
        Self {
            name: optimizer.describe(),
            states: optimizer.state(),
            specs,
            blocks,
            steps: steps.to_vec(),
            parameters,
            gradients: all,
        }
    }

    /// The values before the first step.
    pub(super) fn start(&self) -> Values<f32> {
        let zeros = |of: &Array2<f32>| vec![Array2::zeros(of.raw_dim()); self.states.len()];
        Values {
            parameters: self.parameters.clone(),
            gradients: self.gradients[0].clone(),
            state: self.parameters.iter().map(zeros).collect(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn groups(&self) -> Vec<Group> {
        self.specs.iter().map(|spec| spec.group).collect()
    }

    /// Whether the case has a single parameter, so large that its numbers in the first step repeat a tile (see
    /// [`TILED`]).
    pub(super) fn is_tiled(&self) -> bool {
        matches!(&*self.specs, [spec] if is_tiled(spec.shape))
    }

    pub(super) fn states(&self) -> &'static [&'static str] {
        self.states
    }

    /// The name of a tensor in messages and in the report.
    pub(super) fn tensor(&self, kind: Kind, parameter: usize) -> String {
        let name = match kind {
            Kind::Gradient => "gradient",
            Kind::State(name) => self.states[name],
            Kind::Parameter => "parameter",
        };
        format!("{name}{}", self.specs[parameter].of)
    }

    pub(super) fn place(&self, step: usize, kind: Kind, parameter: usize, at: usize) -> Box<Place> {
        let tensor = self.tensor(kind, parameter);
        let shape = self.specs[parameter].shape;
        let mut place = Place::new(&self.name, Pass::Update, &tensor, shape, at);
        place.step = Some(self.steps[step].step);
        let gradient = self.gradients[step][parameter].get(place.element);
        place.x = gradient.copied().filter(|_| kind != Kind::Gradient);
        Box::new(place)
    }

    /// Checks that no value is NaN, in the order of comparison.
    pub(super) fn check_numbers<F: Float>(
        &self,
        step: usize,
        values: &Values<F>,
        by: &'static str,
    ) -> Result<(), CheckError> {
        for parameter in 0..self.specs.len() {
            for kind in values.kinds() {
                let mut elements = values.of(kind, parameter).iter();
                if let Some(at) = elements.position(|value| value.is_nan()) {
                    let at = self.place(step, kind, parameter, at);
                    return Err(CheckError::Nan { at, by });
                }
            }
        }
        Ok(())
    }
}

fn is_tiled(shape: TensorShape) -> bool {
    shape.len() > TILED
}

/// The tensors of each step, for estimating the memory of the check. Steps are compared one after another.
pub(super) fn footprints(
    specs: &[Spec],
    states: &'static [&'static str],
    steps: usize,
) -> Vec<Vec<Footprint<'static>>> {
    let names = ["parameters", "gradients"].into_iter();
    let names: Vec<_> = names.chain(states.iter().copied()).collect();
    let of_step = specs.iter().flat_map(|spec| {
        names.iter().map(|name| Footprint {
            name,
            shape: spec.shape,
            copies: OPERAND + RESULT,
        })
    });
    vec![of_step.collect(); steps]
}
