//! Repeated predictions on a GPU.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use ndarray::{Array2, ArrayView2};
#[cfg(not(target_arch = "wasm32"))]
use ndarray::{ArrayView1, Axis, s};

use crate::error::Error;
use crate::fit::check_features;
#[cfg(not(target_arch = "wasm32"))]
use crate::fit::check_outputs;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::{Gpu, block_on};
use crate::kernel::Element;
use crate::latest::Latest;
use crate::model::{Model, read_matrix};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// A recorded forward pass over a fixed number of rows.
#[derive(Debug)]
struct Pass {
    x: Tensor,
    y: Tensor,
    plan: Plan,
}

impl Pass {
    fn record(model: &Model, rows: usize) -> Result<Self, Error> {
        let x = model.features_tensor(rows, Element::F32)?;
        let y = model.output_tensor("outputs asked for", rows)?;
        let plan = model.forward_plan(&x, &y)?;
        Ok(Self { x, y, plan })
    }
}

/// Recorded passes for the four row counts used last.
#[derive(Debug, Default)]
pub(crate) struct Passes(Latest<Pass>);

impl Passes {
    /// Submits a forward pass over `x` (rows, features) with the current parameters. The future waits for the outputs
    /// (rows, outputs); they are empty if `x` has no rows.
    pub(crate) fn predict(
        &mut self,
        model: &Model,
        x: ArrayView2<'_, f32>,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
        let none = Array2::zeros((0, model.graph().outputs()));
        let submitted = self.submit(model, x);
        let read = submitted.map(|y| y.map(|y| read_matrix(model.gpu(), &y)));
        async move {
            match read? {
                Some(read) => read.await,
                None => Ok(none),
            }
        }
    }

    fn submit(&mut self, model: &Model, x: ArrayView2<'_, f32>) -> Result<Option<Tensor>, Error> {
        check_features(model.graph(), x)?;
        if x.nrows() == 0 {
            return Ok(None);
        }
        let is_it = |pass: &Pass| pass.x.rows() == x.nrows();
        let pass = self
            .0
            .find_or_make(is_it, || Pass::record(model, x.nrows()))?;
        let gpu = model.gpu();
        gpu.write_view(&pass.x, x)?;
        gpu.submit(&pass.plan, 1)?;
        Ok(Some(pass.y.clone()))
    }
}

/// Predicts on a GPU, for programs that predict many times.
///
/// A pass is recorded at the first call with a new number of rows; the passes for the four row counts used last are
/// kept. [`cpu::Predictor`](crate::cpu::Predictor) does the same on the CPU, where one row of a small network takes
/// microseconds. Here, each call takes at least the time of a transfer to the device and back.
///
/// ```
/// use wgrad::ndarray::Array2;
/// use wgrad::{Gpu, Predictor, TwoLayerNet};
///
/// let gpu = Gpu::new()?;
/// let mut predictor = Predictor::new(TwoLayerNet::spec(784, 50, 10).build(&gpu)?);
/// for _ in 0..3 {
///     let logits = predictor.predict(Array2::zeros((16, 784)).view())?;
///     assert_eq!(logits.dim(), (16, 10));
/// }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor {
    model: Model,
    passes: Passes,
    /// The outputs of the last call.
    #[cfg(not(target_arch = "wasm32"))]
    outputs: Array2<f32>,
}

impl Predictor {
    /// Creates a predictor for this model.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Self {
            passes: Passes::default(),
            #[cfg(not(target_arch = "wasm32"))]
            outputs: Array2::zeros((0, 0)),
            model,
        }
    }

    /// Creates a predictor for the network of a file: see [`Model::load`].
    ///
    /// # Errors
    /// The errors of [`Model::load`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<Path>, gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self::new(Model::load(path, gpu)?))
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the model, and drops the recorded passes.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }

    /// Predicts the outputs for one row of features: logits of classes, logits of labels, or values. The slice is valid
    /// until the next call.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict_row(&mut self, x: &[f32]) -> Result<&[f32], Error> {
        let x = ArrayView1::from(x).insert_axis(Axis(0));
        self.predict(x)?;
        Ok(self.outputs.as_slice().unwrap_or_default())
    }

    /// Predicts the outputs (rows, outputs) for `x` (rows, features). The view is valid until the next call. If there
    /// are many rows, the device computes one part of them after another.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns; [`Error::Setting`] when a column must contain indices
    /// and contains another value; [`Error::Memory`] when the host has no memory for the outputs; or an error of the
    /// device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict(&mut self, x: ArrayView2<'_, f32>) -> Result<ArrayView2<'_, f32>, Error> {
        check_features(self.model.graph(), x)?;
        let shape = [x.nrows(), self.model.graph().outputs()];
        if self.outputs.dim() != (shape[0], shape[1]) {
            check_outputs::<f32>(shape)?;
            self.outputs = Array2::zeros(shape);
        }
        let most = self.model.rows_of_submit().min(MOST_ROWS);
        for (at, x) in x.axis_chunks_iter(Axis(0), most).enumerate() {
            let outputs = block_on(self.passes.predict(&self.model, x))?;
            let rows = at * most..at * most + x.nrows();
            self.outputs.slice_mut(s![rows, ..]).assign(&outputs);
        }
        Ok(self.outputs.view())
    }

    /// [`predict`](Self::predict) without blocking a browser's main thread. Uses the parameters at the time of this
    /// call. All rows must fit in the device's memory at once.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict), and [`Error::Limit`] or [`Error::OutOfMemory`] when the GPU has no
    /// memory for so many rows.
    pub fn predict_async(
        &mut self,
        x: ArrayView2<'_, f32>,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
        self.passes.predict(&self.model, x)
    }
}

/// Maximum number of rows per pass: enough to keep a GPU busy.
#[cfg(not(target_arch = "wasm32"))]
const MOST_ROWS: usize = 4096;

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::Predictor;
    use crate::ops::{Linear, Relu};
    use crate::testing::gpu;
    use crate::{Error, Sequential};

    fn predictor() -> Result<Predictor, Error> {
        let spec = Sequential::input(6).layer(Linear::new(9)).layer(Relu);
        Ok(Predictor::new(spec.layer(Linear::new(3)).build(gpu())?))
    }

    fn rows(count: usize) -> Array2<f32> {
        Array2::from_shape_fn((count, 6), |(row, column)| {
            ((row * 7 + column * 3) % 11) as f32 / 11.0 - 0.5
        })
    }

    #[test]
    fn a_pass_is_recorded_once_for_a_number_of_rows() -> Result<(), Error> {
        let mut predictor = predictor()?;
        let mut buffers = Vec::new();
        for (count, expected) in [(1, 0), (5, 1), (1, 0), (5, 1), (2, 2), (1, 0)] {
            let x = rows(count);
            let y = predictor.predict(x.view())?.to_owned();
            assert_eq!(y, predictor.model().predict(x.view())?);
            // The pass must be in the cache, so this search must not record a new one.
            let found = predictor.passes.0.find_or_make(
                |pass| pass.x.rows() == count,
                || unreachable!("it was recorded"),
            );
            let buffer = found.map(|pass| pass.x.buffer().0.clone());
            let buffer = buffer.unwrap_or_else(|()| unreachable!("it was found"));
            match buffers.get(expected) {
                Some(earlier) => assert_eq!(*earlier, buffer),
                None => buffers.push(buffer),
            }
        }
        Ok(())
    }

    #[test]
    fn many_rows_go_a_part_at_a_time() -> Result<(), Error> {
        let mut predictor = predictor()?;
        let x = rows(super::MOST_ROWS + 3);
        let y = predictor.predict(x.view())?.to_owned();
        assert_eq!(y, predictor.model().predict(x.view())?);
        let last = x.slice(s![super::MOST_ROWS.., ..]);
        let few = predictor.predict(last)?;
        assert_eq!(few, y.slice(s![super::MOST_ROWS.., ..]));
        assert_eq!(predictor.predict(rows(0).view())?.dim(), (0, 3));
        Ok(())
    }

    #[test]
    fn a_row_of_another_width_is_told_and_nothing_is_lost() -> Result<(), Error> {
        let mut predictor = predictor()?;
        let y = predictor.predict_row(&[0.5; 6])?.to_vec();
        let error = predictor.predict_row(&[0.5; 5]).err();
        let message = error.map_or_else(String::new, |error| error.to_string());
        assert!(message.contains("1 × 5"), "{message}");
        assert_eq!(predictor.predict_row(&[0.5; 6])?, y);
        Ok(())
    }
}
