use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::model::Model;
use crate::ops::gather::Resident;
use crate::ops::{Loss, TargetKind, gather, metrics, sample};
use crate::plan::{FLOPS_PER_SUBMIT, Plan, Recorder, SOFTWARE_ITERATIONS};
use crate::sequential::Sequential;
use crate::tensor::Tensor;
use crate::trainer::Evaluation;

/// Rows evaluated at a time: enough to keep a GPU busy.
const ROWS: usize = 1_000;
/// Bytes that the widest layer may take for that.
const BYTES: usize = 64 << 20;

/// A pass over a whole data set, recorded once: forward, losses, sums per chunk of rows. A plan is
/// what one submit does.
#[derive(Debug)]
pub(crate) struct Evaluator {
    plans: Vec<Plan>,
    totals: Tensor,
    examples: usize,
    targets: TargetKind,
}

/// Rows of a chunk: as many as fit the memory, a submit, and the loops of a software driver.
fn rows_of_chunk(spec: &Sequential, examples: usize) -> usize {
    let widths = spec.widths();
    let widest = widths.iter().copied().max().unwrap_or(1);
    let classes = widths[widths.len() - 1];
    let flops = 2 * spec.parameter_count() as u64;
    let by_flops = usize::try_from(FLOPS_PER_SUBMIT / flops.max(1)).unwrap_or(usize::MAX);
    // `metrics::evaluate` has 64 invocations, and each loops over the classes of its rows.
    let rounds = SOFTWARE_ITERATIONS / (classes as u64 + 2);
    let by_loops = 64
        * usize::try_from(rounds)
            .unwrap_or(usize::MAX / 64)
            .saturating_sub(1);
    let most = ROWS.min(BYTES / 4 / widest).min(by_flops).min(by_loops);
    most.max(1).min(examples)
}

impl Evaluator {
    pub(crate) fn new(model: &Model, loss: &dyn Loss, data: &Resident) -> Result<Self, Error> {
        let gpu = model.gpu();
        let rows = rows_of_chunk(model.spec(), data.len());
        let chunks = data.len().div_ceil(rows);
        let pass = model.activations(rows, model.input_element(data.features()), loss.targets())?;
        let indices = Tensor::zeros(gpu, "indices evaluated", [1, rows], Element::U32)?;
        let totals = Tensor::zeros(gpu, "totals", [chunks, 2], Element::F32)?;

        let (mut plans, mut recorder) = (Vec::new(), Recorder::new(gpu));
        for chunk in 0..chunks {
            let first = chunk * rows;
            let rows = rows.min(data.len() - first);
            let (pass, indices) = (pass.first_rows(rows), indices.first_columns(rows));
            sample::range(&mut recorder, first, &indices);
            gather::batch(
                &mut recorder,
                data,
                &indices,
                &pass.values[0],
                &pass.targets,
            );
            model.record_forward(&mut recorder, &pass, None);
            Model::record_loss(&mut recorder, loss, &pass);
            let (losses, logits) = (&pass.losses, pass.logits());
            match loss.targets() {
                TargetKind::Classes => {
                    let labels = &pass.targets;
                    metrics::evaluate(&mut recorder, losses, logits, labels, &totals, chunk);
                }
                TargetKind::Values => metrics::sum_losses(&mut recorder, losses, &totals, chunk),
            }
            if recorder.flops() >= FLOPS_PER_SUBMIT || chunk + 1 == chunks {
                let full = std::mem::replace(&mut recorder, Recorder::new(gpu));
                plans.push(full.finish()?);
            }
        }
        Ok(Self {
            plans,
            totals,
            examples: data.len(),
            targets: loss.targets(),
        })
    }

    /// Submits the pass at once; the future waits for its totals.
    pub(crate) fn run(&self, gpu: &Gpu) -> impl Future<Output = Result<Evaluation, Error>> + use<> {
        let submitted = self.submit(gpu);
        let totals = gpu.read_async(&self.totals);
        let (examples, targets) = (self.examples, self.targets);
        async move {
            submitted?;
            Ok(Self::evaluation(&totals.await?, examples, targets))
        }
    }

    fn submit(&self, gpu: &Gpu) -> Result<(), Error> {
        let mut before = None;
        for plan in &self.plans {
            gpu.wait_in_turn(&mut before, gpu.submit(plan, 1)?)?;
        }
        Ok(())
    }

    fn evaluation(totals: &[f32], examples: usize, targets: TargetKind) -> Evaluation {
        let loss = totals.iter().step_by(2).map(|&loss| f64::from(loss)).sum();
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
        let hits = (targets == TargetKind::Classes).then_some(hits);
        Evaluation::new(loss, hits, examples)
    }
}
