use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::model::Model;
use crate::ops::gather::Resident;
use crate::ops::{Loss, gather, metrics, sample};
use crate::plan::{Plan, Recorder};
use crate::tensor::Tensor;
use crate::trainer::Evaluation;

/// Rows evaluated at a time: enough to keep a GPU busy.
const ROWS: usize = 1_000;
/// Bytes that the widest layer may take for that.
const BYTES: usize = 64 << 20;

/// A pass over a whole data set, recorded once: forward, losses, sums per chunk of rows.
#[derive(Debug)]
pub(crate) struct Evaluator {
    plan: Plan,
    totals: Tensor,
    examples: usize,
}

impl Evaluator {
    pub(crate) fn new(model: &Model, loss: &dyn Loss, data: &Resident) -> Result<Self, Error> {
        let gpu = model.gpu();
        let widest = model.spec().widths().into_iter().max().unwrap_or(1);
        let rows = (BYTES / 4 / widest).clamp(1, ROWS).min(data.len());
        let chunks = data.len().div_ceil(rows);
        let pass = model.activations(rows, model.input_element())?;
        let indices = Tensor::zeros(gpu, "indices evaluated", [1, rows], Element::U32)?;
        let totals = Tensor::zeros(gpu, "totals", [chunks, 2], Element::F32)?;

        let mut recorder = Recorder::new(gpu);
        for chunk in 0..chunks {
            let first = chunk * rows;
            let rows = rows.min(data.len() - first);
            let (pass, indices) = (pass.first_rows(rows), indices.first_columns(rows));
            sample::range(&mut recorder, first, &indices);
            gather::batch(&mut recorder, data, &indices, &pass.values[0], &pass.labels);
            model.record_forward(&mut recorder, &pass);
            Model::record_loss(&mut recorder, loss, &pass);
            let (losses, logits) = (&pass.losses, pass.logits());
            metrics::evaluate(&mut recorder, losses, logits, &pass.labels, &totals, chunk);
        }
        Ok(Self {
            plan: recorder.finish()?,
            totals,
            examples: data.len(),
        })
    }

    pub(crate) async fn run(&self, gpu: &Gpu) -> Result<Evaluation, Error> {
        gpu.submit(&self.plan, 1)?;
        let totals: Vec<f32> = gpu.read_async(&self.totals).await?;
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
        Ok(Evaluation::new(loss, hits, self.examples))
    }
}
