//! Forward passes over a whole data set on a GPU.

mod model;

use std::ops::Range;

use ndarray::{Array2, Axis};

use crate::confusion::Prediction;
use crate::data::{Examples, Labels, Memory};
use crate::error::Error;
use crate::evaluation::{Evaluation, judged};
use crate::fit::{check_outputs, kind_of};
use crate::gpu::{Gpu, may_block};
use crate::kernel::Element;
use crate::model::{ForwardPass, Model, read_matrix};
use crate::ops::gather::Resident;
use crate::ops::{Loss, TargetKind, gather, metrics, sample, weight_of_rows};
use crate::plan::{Plan, Recorder, SOFTWARE_ITERATIONS, flops_per_submit};
use crate::tensor::Tensor;

/// Number of rows per chunk: enough to keep a GPU busy.
const ROWS: usize = 1_000;

/// Data sets on the GPU. A data set stays on the GPU as long as the program holds it, for later evaluations.
#[derive(Debug, Default)]
pub(crate) struct DataSets {
    sets: Vec<DataSet>,
}

#[derive(Debug)]
struct DataSet {
    memory: Memory,
    resident: Resident,
    /// The evaluation, recorded when it is first needed.
    evaluator: Option<Evaluator>,
}

impl DataSets {
    /// Makes a list with one data set, which is already on the GPU.
    pub(crate) fn with(examples: &Examples, resident: Resident) -> Self {
        let mut sets = Self { sets: Vec::new() };
        sets.add(examples, resident);
        sets
    }

    fn add(&mut self, examples: &Examples, resident: Resident) {
        self.sets.push(DataSet {
            memory: examples.memory(),
            resident,
            evaluator: None,
        });
    }

    /// Returns this data set, after uploading it at its first use. Frees all data sets that the program has dropped,
    /// because they cannot be used again.
    fn get(&mut self, gpu: &Gpu, examples: &Examples) -> Result<&mut DataSet, Error> {
        self.sets.retain(|set| {
            let is_kept = set.memory.strong_count() > 0;
            if !is_kept {
                set.resident.destroy();
            }
            is_kept
        });
        let memory = examples.memory();
        let mut known = self.sets.iter();
        let index = match known.position(|set| set.memory.ptr_eq(&memory)) {
            Some(index) => index,
            None => {
                self.add(examples, Resident::upload(gpu, examples)?);
                self.sets.len() - 1
            }
        };
        Ok(&mut self.sets[index])
    }

    pub(crate) fn resident(&mut self, gpu: &Gpu, examples: &Examples) -> Result<&Resident, Error> {
        Ok(&self.get(gpu, examples)?.resident)
    }

    /// Returns the evaluation of a data set, recorded at its first use. `own` receives the number of chunks and returns
    /// the range of chunks to evaluate.
    pub(crate) fn evaluator(
        &mut self,
        model: &Model,
        loss: &dyn Loss,
        examples: &Examples,
        own: impl Fn(usize) -> Range<usize>,
    ) -> Result<&Evaluator, Error> {
        let set = self.get(model.gpu(), examples)?;
        let evaluator = match set.evaluator.take() {
            Some(evaluator) => evaluator,
            None => Evaluator::new(model, loss, examples, (&set.resident, own))?,
        };
        Ok(set.evaluator.insert(evaluator))
    }

    /// Drops all recorded evaluations; each is recorded again when it is next needed.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn forget_evaluators(&mut self) {
        self.sets.iter_mut().for_each(|set| set.evaluator = None);
    }

    /// The plans of all recorded evaluations.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        let evaluators = self.sets.iter().filter_map(|set| set.evaluator.as_ref());
        evaluators.flat_map(|evaluator| &evaluator.plans)
    }

    pub(crate) fn destroy(&self) {
        for set in &self.sets {
            set.resident.destroy();
        }
    }

    /// Number of data sets.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }
}

/// A recorded pass over a whole data set: for each chunk of rows, the forward pass, the losses and their sums. Each
/// plan is submitted separately.
#[derive(Debug)]
pub(crate) struct Evaluator {
    plans: Vec<Plan>,
    totals: Tensor,
    sums: Sums,
}

/// The sums of all chunks.
#[derive(Debug)]
pub(crate) struct Totals {
    /// Shape (chunks, 2): the sum of losses and the number of hits of each chunk; 0 for a chunk that was not evaluated.
    pub(crate) values: Vec<f32>,
    sums: Sums,
}

impl Totals {
    pub(crate) fn evaluation(&self) -> Evaluation {
        self.sums.evaluation(&self.values)
    }
}

/// Combines the sums of all chunks into an evaluation.
#[derive(Debug, Clone)]
struct Sums {
    /// One factor per chunk. The weighted sum of losses over all examples is the sum of (factor × the chunk's sum of
    /// losses).
    factors: Vec<f64>,
    weight: f64,
    /// The number of outputs, over all examples, that can be right or wrong; `None` if the loss compares values.
    of: Option<usize>,
}

impl Sums {
    fn new(loss: &dyn Loss, examples: &Examples, rows_of_chunk: usize) -> Self {
        let count = examples.len();
        let labels = examples.labels().map(Labels::indices);
        let factor = |first: usize| {
            let rows = first..count.min(first + rows_of_chunk);
            let of_rows = labels.map(|labels| &labels[rows.clone()]);
            weight_of_rows(loss, rows.len(), of_rows) / rows.len() as f64
        };
        Self {
            factors: (0..count).step_by(rows_of_chunk).map(factor).collect(),
            weight: weight_of_rows(loss, count, labels),
            of: judged(loss.targets(), examples),
        }
    }

    fn evaluation(&self, totals: &[f32]) -> Evaluation {
        let losses = totals.iter().step_by(2).zip(&self.factors);
        let loss = losses.map(|(&loss, factor)| f64::from(loss) * factor).sum();
        let hits: f64 = totals
            .iter()
            .skip(1)
            .step_by(2)
            .map(|&hits| f64::from(hits))
            .sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let hits = hits as usize;
        Evaluation::new((loss, self.weight), self.of.map(|of| (hits, of)))
    }
}

/// Returns the number of rows per chunk: as many as fit in memory, in one submit, and in a software driver's limit of
/// loop iterations.
fn rows_of_chunk(model: &Model, targets: TargetKind, examples: usize) -> usize {
    let classes = model.graph().outputs() as u64;
    // `metrics::evaluate` has 64 invocations; each loops over the classes of its rows.
    let rounds = SOFTWARE_ITERATIONS / (classes + 2);
    let by_loops = 64
        * usize::try_from(rounds)
            .unwrap_or(usize::MAX / 64)
            .saturating_sub(1);
    // `f32` counts exactly only up to 2²⁴, so a chunk must not have more hits.
    let by_hits = match targets {
        TargetKind::Probabilities => (1 << f32::MANTISSA_DIGITS) / model.graph().outputs(),
        TargetKind::Classes | TargetKind::Values => ROWS,
    };
    let most = ROWS.min(model.rows_of_submit()).min(by_loops).min(by_hits);
    most.max(1).min(examples)
}

/// Forward passes over a data set, one chunk of rows after another. All chunks use the same memory.
struct Chunks<'a> {
    model: &'a Model,
    data: &'a Resident,
    rows: usize,
    pass: ForwardPass,
    indices: Tensor,
}

impl<'a> Chunks<'a> {
    fn new(model: &'a Model, targets: TargetKind, data: &'a Resident) -> Result<Self, Error> {
        let rows = rows_of_chunk(model, targets, data.len());
        let input = model.input_element(data.features());
        Ok(Self {
            pass: ForwardPass::new(model, rows, input, targets)?,
            indices: Tensor::zeros(model.gpu(), "indices evaluated", [1, rows], Element::U32)?,
            model,
            data,
            rows,
        })
    }

    fn count(&self) -> usize {
        self.data.len().div_ceil(self.rows)
    }

    /// Records the gathering of a chunk's examples and their forward pass to the logits. Returns the pass, which has as
    /// many rows as this chunk.
    fn record_forward(
        &self,
        recorder: &mut Recorder<'_>,
        chunk: usize,
    ) -> Result<ForwardPass, Error> {
        let first = chunk * self.rows;
        let rows = self.rows.min(self.data.len() - first);
        let pass = self.pass.first_rows(rows);
        let indices = self.indices.first_columns(rows);
        sample::range(recorder, first, &indices);
        let features = &pass.values.features;
        gather::batch(recorder, self.data, (&indices, 0), features, &pass.targets);
        pass.record(self.model, recorder)?;
        Ok(pass)
    }

    /// Submits a chunk's pass. The future reads a copy of the outputs, because the next chunk overwrites them.
    fn submit(
        &self,
        chunk: usize,
    ) -> Result<
        (
            wgpu::SubmissionIndex,
            impl Future<Output = Result<Array2<f32>, Error>> + use<>,
        ),
        Error,
    > {
        let gpu = self.model.gpu();
        let mut recorder = Recorder::new(gpu);
        let pass = self.record_forward(&mut recorder, chunk)?;
        let submitted = gpu.submit(&recorder.finish()?, 1)?;
        Ok((submitted, read_matrix(gpu, pass.outputs())))
    }
}

impl Evaluator {
    pub(crate) fn new(
        model: &Model,
        loss: &dyn Loss,
        examples: &Examples,
        (data, own): (&Resident, impl Fn(usize) -> Range<usize>),
    ) -> Result<Self, Error> {
        let gpu = model.gpu();
        let all = Chunks::new(model, loss.targets(), data)?;
        let chunks = all.count();
        let totals = Tensor::zeros(gpu, "totals", [chunks, 2], Element::F32)?;

        let mut plans = Vec::new();
        let mut recorder = Recorder::new(gpu);
        let own = own(chunks);
        for chunk in own.clone() {
            let pass = all.record_forward(&mut recorder, chunk)?;
            pass.record_loss(&mut recorder, loss)?;
            let compared = [&pass.losses, pass.outputs(), &pass.targets];
            let to = (&totals, chunk);
            match loss.targets() {
                TargetKind::Classes => metrics::evaluate(&mut recorder, compared, to),
                TargetKind::Values => {
                    metrics::sum_losses(&mut recorder, &pass.losses, &totals, chunk);
                }
                TargetKind::Probabilities => {
                    metrics::evaluate_probabilities(&mut recorder, compared, to);
                }
            }
            if recorder.flops() >= flops_per_submit(gpu) || chunk + 1 == own.end {
                let full = std::mem::replace(&mut recorder, Recorder::new(gpu));
                plans.push(full.finish()?);
            }
        }
        Ok(Self {
            plans,
            totals,
            sums: Sums::new(loss, examples, all.rows),
        })
    }

    /// Submits the plans of all chunks before this function returns. The future waits for the sums of all chunks.
    pub(crate) fn run(&self, gpu: &Gpu) -> impl Future<Output = Result<Totals, Error>> + use<> {
        let submitted = self.submit(gpu);
        let totals = gpu.read_async(&self.totals);
        let sums = self.sums.clone();
        async move {
            submitted?;
            Ok(Totals {
                values: totals.await?,
                sums,
            })
        }
    }

    fn submit(&self, gpu: &Gpu) -> Result<(), Error> {
        let mut before = None;
        for plan in &self.plans {
            let submitted = gpu.submit(plan, 1)?;
            // A future must not block its thread, so it submits all plans at once.
            if may_block() {
                gpu.wait_in_turn(&mut before, submitted)?;
            }
        }
        Ok(())
    }
}

/// Returns the model's prediction for every example, computed chunk by chunk.
pub(crate) async fn predictions(model: &Model, data: &Resident) -> Result<Vec<Prediction>, Error> {
    let all = Chunks::new(model, TargetKind::Classes, data)?;
    let mut predictions = Vec::with_capacity(data.len());
    for chunk in 0..all.count() {
        let (_, logits) = all.submit(chunk)?;
        predictions.extend(logits.await?.outer_iter().map(Prediction::of));
    }
    Ok(predictions)
}

/// Submits the passes before it returns. The future waits for the model's outputs for every example, of shape
/// (examples, outputs).
pub(crate) fn outputs(
    model: &Model,
    examples: &Examples,
    data: &Resident,
) -> Result<impl Future<Output = Result<Array2<f32>, Error>> + use<>, Error> {
    let shape = [data.len(), model.graph().outputs()];
    check_outputs::<f32>(shape)?;
    let gpu = model.gpu();
    let all = Chunks::new(model, kind_of(examples), data)?;
    let mut reads = Vec::new();
    let mut before = None;
    for chunk in 0..all.count() {
        let (submitted, read) = all.submit(chunk)?;
        reads.push(read);
        // A future must not block its thread, so it submits all chunks at once.
        if may_block() {
            gpu.wait_in_turn(&mut before, submitted)?;
        }
    }
    let rows = all.rows;
    Ok(async move {
        let mut all = Array2::zeros(shape);
        for (to, read) in all.axis_chunks_iter_mut(Axis(0), rows).zip(reads) {
            read.await?.assign_to(to);
        }
        Ok(all)
    })
}
