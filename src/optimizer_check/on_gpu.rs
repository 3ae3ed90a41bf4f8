//! Runs the steps of a case on the GPU, with guard bands around all tensors. Each step starts from the results of the
//! previous one.

use ndarray::Array2;

use super::Pass;
use super::case::{At, Case, Kind, Values};
use super::twin::{Twin, When, check_same};
use crate::check::{Kernels, Run};
use crate::error::{CheckError, Error, OptimizerFault, Place};
use crate::gpu::{Gpu, block_on};
use crate::guard::{Contents, GuardSpec, Guarded, Touch};
use crate::ops::{Optimizer, Update};
use crate::shape::TensorShape;
use crate::tensor::{Arena, Tensor};

/// Number of rows of coefficients: few, so that steps wrap around to the first row.
const SLOTS: usize = 5;

/// A step on the GPU: its operands and its results.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) before: Values<f32>,
    pub(super) after: Values<f32>,
}

/// An arena whose blocks have guard bands.
#[derive(Debug)]
struct Placed {
    arena: Arena,
    blocks: Vec<Guarded>,
    /// For each block: the first element and the shape of each of its tensors.
    tensors: Vec<Vec<(usize, TensorShape)>>,
}

/// All operands of an update.
#[derive(Debug)]
struct Operands {
    parameters: Placed,
    gradients: Placed,
    state: Vec<Placed>,
    coefficients: Guarded,
    step_count: Guarded,
}

/// The GPU on which the steps run, the checked optimizer, and its reference.
#[derive(Debug)]
pub(super) struct OnGpu<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) optimizer: &'a dyn Optimizer,
    pub(super) twin: &'a Twin<'a>,
}

impl OnGpu<'_> {
    /// Runs the steps of a case. First checks the contracts of kernels that are not in `kernels` yet.
    pub(super) fn run(&self, case: &Case, kernels: &mut Kernels<'_>) -> Result<Vec<Taken>, Error> {
        let mut before = case.start();
        let mut taken = Vec::new();
        for (step, gradients) in case.gradients.iter().enumerate() {
            before.gradients.clone_from(gradients);
            let after = self.step(case, step, &before, kernels)?;
            case.check_numbers(step, &after, "the WGSL")?;
            check_frozen(case, step, [&before, &after])?;
            if step == 0 && case.specs.len() > 1 {
                let second = self.step(case, step, &before, kernels)?;
                check_same(case, [&after, &second], "the WGSL")?;
            }
            taken.push(Taken {
                before,
                after: after.clone(),
            });
            before = after;
        }
        Ok(taken)
    }

    fn step(
        &self,
        case: &Case,
        step: usize,
        before: &Values<f32>,
        kernels: &mut Kernels<'_>,
    ) -> Result<Values<f32>, Error> {
        let at = &case.steps[step];
        let groups = case.groups();
        let prepared = self
            .twin
            .prepared(When::from(at), &groups, &before.gradients)?;
        let changes = prepared != before.gradients;
        let operands = self.place(case, at, before, changes)?;
        let run = Run {
            gpu: self.gpu,
            name: case.name(),
            pass: Pass::Update,
        };
        let slots = self.coefficients(&operands);
        let state: Vec<Arena> = operands.state.iter().map(|of| of.arena.clone()).collect();
        let written: Vec<&Guarded> = operands.parameters.blocks.iter().collect();
        let what = format!("Optimizer::update (step {})", at.step);
        run.submit(kernels, &what, &written, |recorder| {
            let arenas = [&operands.parameters.arena, &operands.gradients.arena];
            let count = operands.step_count.tensor();
            let pass = Update::new(arenas, &groups, &slots, count).with_state(&state);
            self.optimizer.update(recorder, pass)
        })?;
        for input in [&operands.coefficients, &operands.step_count] {
            let tensor = input.tensor();
            let place = |at| Place::new(run.name, run.pass, tensor.label(), tensor.shape(), at);
            run.read(input, place)?;
        }
        let gradients = read_gradients(&run, at.step, &operands.gradients)?;
        let parameters = operands.parameters.read(&run)?;
        let mut state = vec![Vec::new(); parameters.len()];
        for of in &operands.state {
            for (state, values) in state.iter_mut().zip(of.read(&run)?) {
                state.push(values);
            }
        }
        Ok(Values {
            parameters,
            gradients,
            state,
        })
    }

    fn place(
        &self,
        case: &Case,
        at: &At,
        before: &Values<f32>,
        changes_gradients: bool,
    ) -> Result<Operands, Error> {
        let of_gradients: Kept = if changes_gradients {
            |bits| Contents::Changed(bits)
        } else {
            |bits| Contents::Input(bits)
        };
        let changed: Kept = |bits| Contents::Changed(bits);
        let names = case.states().iter().enumerate();
        let state = names.map(|(index, name)| {
            let values = before.state.iter().map(|of| &of[index]);
            Placed::new(self.gpu, name, case, values, changed)
        });
        // The tensor has one row more than there are slots, because a binding of the whole tensor would include the
        // guard band. `coefficients` binds only the slots, so the binding ends after the last slot. Some kernels
        // compute the number of slots from the array's length.
        let mut rows = [[f32::NAN.to_bits(); 4]; SLOTS + 1];
        let row = usize::try_from(at.step % SLOTS as u64).unwrap_or_default();
        rows[row] = at.coefficients.map(f32::to_bits);
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        let count = [at.step as u32];
        let contents = Contents::Input(rows.as_flattened());
        let shape = [1, rows.as_flattened().len()];
        Ok(Operands {
            parameters: Placed::new(self.gpu, "parameters", case, &before.parameters, changed)?,
            gradients: Placed::new(self.gpu, "gradients", case, &before.gradients, of_gradients)?,
            state: state.collect::<Result<_, _>>()?,
            coefficients: GuardSpec::new("coefficients", shape, contents).place(self.gpu)?,
            step_count: GuardSpec::new("step count", [1, 1], Contents::Input(&count))
                .of_u32()
                .place(self.gpu)?,
        })
    }

    /// The coefficients, of shape (slots, 4), bound without their guard band.
    fn coefficients(&self, operands: &Operands) -> Tensor {
        let rows = operands.coefficients.tensor().elements(0, 4 * SLOTS);
        rows.reshaped("coefficients".to_owned(), [SLOTS, 4])
    }
}

/// Makes the [`Contents`] of a tensor from its bits; this decides what kernels may do to the tensor.
type Kept = for<'c> fn(&'c [u32]) -> Contents<'c>;

impl Placed {
    fn new<'v>(
        gpu: &Gpu,
        role: &str,
        case: &Case,
        values: impl IntoIterator<Item = &'v Array2<f32>>,
        contents: Kept,
    ) -> Result<Self, Error> {
        let mut parameters = case.specs.iter().zip(values);
        let mut blocks = Vec::new();
        let mut tensors = Vec::new();
        let mut specs = Vec::new();
        for &count in &case.blocks {
            let of_block: Vec<_> = parameters.by_ref().take(count).collect();
            let shapes = of_block.iter().map(|(spec, _)| spec.shape);
            let (starts, length) = Arena::starts(gpu, shapes.clone());
            // The gaps between tensors contain zeros.
            let mut bits = vec![0; length];
            for (&start, (_, values)) in starts.iter().zip(&of_block) {
                let room = bits[start..].iter_mut();
                room.zip(values.iter())
                    .for_each(|(bits, value)| *bits = value.to_bits());
            }
            let guarded = GuardSpec::new(role, [1, length], contents(&bits)).place(gpu)?;
            let named = shapes.clone().map(|shape| (role.to_owned(), shape));
            specs.push((guarded.tensor().clone(), named.collect()));
            tensors.push(starts.into_iter().zip(shapes).collect());
            blocks.push(guarded);
        }
        Ok(Self {
            arena: Arena::within(gpu, &specs),
            blocks,
            tensors,
        })
    }

    /// Reads the tensors, and checks that kernels wrote nothing else.
    fn read(&self, run: &Run<'_>) -> Result<Vec<Array2<f32>>, Error> {
        let mut values = Vec::new();
        for (block, tensors) in self.blocks.iter().zip(&self.tensors) {
            let tensor = block.tensor();
            let place = |at| Place::new(run.name, run.pass, tensor.label(), tensor.shape(), at);
            let bits = run.read(block, place)?;
            values.extend(tensors.iter().map(|&(start, shape)| {
                let mut values = bits[start..].iter().map(|&bits| f32::from_bits(bits));
                Array2::from_shape_simple_fn(shape.dims(), || values.next().unwrap_or(f32::NAN))
            }));
        }
        Ok(values)
    }
}

fn read_gradients(run: &Run<'_>, step: u64, placed: &Placed) -> Result<Vec<Array2<f32>>, Error> {
    let mut changed = 0;
    for block in &placed.blocks {
        if let Err(Touch::Input { count }) = block_on(block.read(run.gpu))? {
            changed += count;
        }
    }
    match changed {
        0 => placed.read(run),
        count => {
            let name = run.name.to_owned();
            let fault = OptimizerFault::GradientsChanged { name, step, count };
            Err(CheckError::from(fault).into())
        }
    }
}

/// Checks that neither a frozen parameter nor its state changes.
fn check_frozen(
    case: &Case,
    step: usize,
    [before, after]: [&Values<f32>; 2],
) -> Result<(), CheckError> {
    let specs = case.specs.iter().enumerate();
    for (parameter, _) in specs.filter(|(_, spec)| spec.group.is_frozen()) {
        for kind in before.kinds() {
            let [before, after] = [before, after].map(|values| values.of(kind, parameter));
            let mut pairs = before.iter().zip(after).enumerate();
            let changed = pairs.find(|(_, (from, to))| from.to_bits() != to.to_bits());
            if let Some((at, (&before, &after))) = changed {
                let at = case.place(step, kind, parameter, at);
                return Err(match kind {
                    Kind::Gradient => OptimizerFault::GradientsChanged {
                        name: case.name().to_owned(),
                        step: case.steps[step].step,
                        count: pairs
                            .filter(|(_, (from, to))| from.to_bits() != to.to_bits())
                            .count()
                            + 1,
                    },
                    Kind::State(_) | Kind::Parameter => {
                        OptimizerFault::FrozenMoved { at, before, after }
                    }
                }
                .into());
            }
        }
    }
    Ok(())
}
