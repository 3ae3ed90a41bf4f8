//! A training step in separate calls: a forward pass, and a backward pass from a gradient that the caller gives. An
//! [`Updater`](crate::Updater) then updates the parameters.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};

use super::values::{read_like_parameters, read_matrix};
use super::{Model, TrainingPass, TrainingStep};
use crate::error::Error;
use crate::fit::{check_features, check_of_pass, check_rows};
use crate::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::kernel::Element;
use crate::network::{Graph, Parameters, PassSpec, Source, Wanted};
use crate::ops::{columns, metrics};
use crate::plan::{Plan, Recorder};
use crate::tensor::{Arena, Tensor};

/// The forward and backward pass of a training step over a fixed number of rows, for a gradient that the program
/// computes itself. A pass owns the activations and the gradients; the model owns the parameters.
/// [`cpu::Pass`](crate::cpu::Pass) is the same on the CPU.
///
/// ```
/// use wgrad::ndarray::Array2;
/// use wgrad::ops::{Adam, Linear, Tanh};
/// use wgrad::{Gpu, Sequential, Updater};
///
/// // Learns to give 1 for whatever it sees, by the gradient of ½(y − 1)².
/// let spec = Sequential::input(4).layer(Linear::new(8)).layer(Tanh).layer(Linear::new(1));
/// let mut model = spec.build(&Gpu::new()?)?;
/// let mut pass = model.pass(16)?;
/// let mut updater = Updater::new(&model, Adam::new(0.05))?;
/// pass.set_x(Array2::ones((16, 4)).view())?;
/// for _ in 0..50 {
///     pass.forward(&mut model)?;
///     let dy = (pass.read_y()? - 1.0) / 16.0;
///     pass.set_dy(dy.view())?;
///     pass.backward(&model)?;
///     updater.update(&mut model, &mut pass)?;
/// }
/// assert!((pass.read_y()?[(0, 0)] - 1.0).abs() < 0.1);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// Methods that read wait for the device. To train without waiting, let your own kernels read [`y`](Self::y) and write
/// [`dy`](Self::dy) or [`x`](Self::x) on the GPU, in the same queue.
#[derive(Debug)]
pub struct Pass {
    gpu: Gpu,
    graph: Arc<Graph>,
    /// The model's parameters. They identify the model.
    parameters: Arena,
    tensors: TrainingPass,
    dx: Option<Tensor>,
    forward: Plan,
    backward: Plan,
}

impl Model {
    /// Allocates a training pass over a number of rows: `model.pass(64)`. A [`PassSpec`] can also request the gradient
    /// with respect to the features.
    ///
    /// # Errors
    /// [`Error::Setting`] when the number of rows is 0; [`Error::Limit`] or [`Error::OutOfMemory`] when the device has
    /// not enough memory for the outputs of all layers.
    pub fn pass(&self, spec: impl Into<PassSpec>) -> Result<Pass, Error> {
        let spec = spec.into();
        check_rows(spec.rows())?;
        let features = self.features_tensor(spec.rows(), Element::F32)?;
        self.pass_of(&features, spec.has_dx())
    }

    /// Allocates a training pass that reads its features from a tensor of the caller, (rows, features) of `f32`. The
    /// caller's kernels may write new features to it between passes.
    ///
    /// # Errors
    /// The errors of [`pass`](Self::pass), or [`Error::Shape`] when the tensor has another shape, [`Error::Setting`]
    /// when it is not of `f32`, [`Error::OtherGpu`] when it is on another device.
    pub fn pass_over(&self, x: &Tensor, spec: PassSpec) -> Result<Pass, Error> {
        x.check_gpu(&self.gpu)?;
        x.check_element(Element::F32)?;
        if x.dims() != [spec.rows(), self.features()] {
            return Err(Error::shape(
                format!("{}, for a pass of this network", x.label()),
                [spec.rows(), self.features()],
                x.shape(),
                "Make it as (rows, features)",
            ));
        }
        self.pass_of(x, spec.has_dx())
    }

    fn pass_of(&self, features: &Tensor, has_dx: bool) -> Result<Pass, Error> {
        let gpu = &self.gpu;
        let wanted = Wanted {
            input: has_dx,
            ..Wanted::parameters(&self.graph)
        };
        let tensors = TrainingPass::new(self, features, &wanted, None)?;
        let count = Tensor::zeros(gpu, "passes so far", [1, 1], Element::U32)?;
        let step = TrainingStep::new(&count);
        let mut forward = Recorder::new(gpu);
        self.record_forward(&mut forward, &tensors.values, Some(step))?;
        let mut backward = Recorder::new(gpu);
        self.record_backward(&mut backward, &tensors, Some(step))?;
        let dx = match has_dx {
            false => None,
            true if self.graph.inputs == 1 => Some(tensors.delta(0).clone()),
            true => {
                let label = "dx";
                let shape = [features.rows(), self.features()];
                let dx = Tensor::zeros(gpu, label, shape, Element::F32)?;
                for (index, value) in self.graph.values.iter().enumerate() {
                    if let Source::Input { first } = value.source {
                        let of_input = tensors.delta(index);
                        let columns = of_input.columns();
                        columns::copy(&mut backward, (of_input, 0), (&dx, first), columns);
                    }
                }
                Some(dx)
            }
        };
        metrics::count_step(&mut backward, &count);
        Ok(Pass {
            gpu: gpu.clone(),
            graph: Arc::clone(&self.graph),
            parameters: self.parameters.clone(),
            forward: forward.finish()?,
            backward: backward.finish()?,
            tensors,
            dx,
        })
    }
}

impl Pass {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tensors.values.features.rows()
    }

    /// Checks that `model` is the model of this pass.
    pub(crate) fn check_model(&self, model: &Model) -> Result<(), Error> {
        if model.parameters.is_same(&self.parameters) {
            return Ok(());
        }
        let expected =
            "the model for which the pass was made: a copy of the model needs passes of its own";
        Err(Error::setting("model of a pass", expected, "another model"))
    }

    /// Sets the features, (rows, features). They stay the same until they are set again.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong shape; [`Error::Buffer`] when the tensor given to [`Model::pass_over`]
    /// cannot be written; another error of the device.
    pub fn set_x(&mut self, x: ArrayView2<'_, f32>) -> Result<(), Error> {
        let expected = self.x().dims();
        check_of_pass("x of a pass, (rows, features)", expected, x.dim().into())?;
        check_features(&self.graph, x)?;
        self.gpu.write_view(self.x(), x)
    }

    /// Sets the gradient of the loss with respect to the outputs, (rows, outputs). Set it before each call of
    /// [`backward`](Self::backward), which may overwrite it. If the loss is a mean over rows, divide each row's
    /// gradient by the number of rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when `dy` has the wrong shape; an error of the device.
    pub fn set_dy(&mut self, dy: ArrayView2<'_, f32>) -> Result<(), Error> {
        let expected = self.dy().dims();
        check_of_pass("dy of a pass, (rows, outputs)", expected, dy.dim().into())?;
        self.gpu.write_view(self.dy(), dy)
    }

    /// Reads the outputs, (rows, outputs), and waits for the result.
    ///
    /// # Errors
    /// The errors of [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_y(&self) -> Result<Array2<f32>, Error> {
        block_on(self.read_y_async())
    }

    /// Reads the outputs, (rows, outputs), without blocking. The future returns their values at the time of the call.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`].
    pub fn read_y_async(&self) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
        read_matrix(&self.gpu, self.y())
    }

    /// Reads the gradient with respect to the features, (rows, features), which [`backward`](Self::backward) has
    /// computed, and waits for the result. `None` if the [`PassSpec`] did not request this gradient.
    ///
    /// # Errors
    /// The errors of [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_dx(&self) -> Result<Option<Array2<f32>>, Error> {
        block_on(self.read_dx_async())
    }

    /// Reads the same gradient as [`read_dx`](Self::read_dx), without blocking. The future returns its values at the
    /// time of the call.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`].
    pub fn read_dx_async(
        &self,
    ) -> impl Future<Output = Result<Option<Array2<f32>>, Error>> + use<> {
        let read = self.dx().map(|dx| read_matrix(&self.gpu, dx));
        async move {
            match read {
                Some(read) => Ok(Some(read.await?)),
                None => Ok(None),
            }
        }
    }

    /// Reads the gradients with respect to all parameters, which [`backward`](Self::backward) has computed, and waits
    /// for the result. If the optimizer clips gradients, an update overwrites them with the clipped gradients.
    ///
    /// # Errors
    /// The errors of [`Gpu::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_gradients(&self) -> Result<Parameters, Error> {
        block_on(self.read_gradients_async())
    }

    /// Reads the same gradients as [`read_gradients`](Self::read_gradients), without blocking. The future returns their
    /// values at the time of the call.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`].
    pub fn read_gradients_async(&self) -> impl Future<Output = Result<Parameters, Error>> + use<> {
        read_like_parameters(&self.gpu, &self.graph, &self.tensors.gradients)
    }

    /// The tensor of the features, (rows, features), for the program's own kernels.
    #[must_use]
    pub fn x(&self) -> &Tensor {
        &self.tensors.values.features
    }

    /// The tensor of the outputs, (rows, outputs).
    #[must_use]
    pub fn y(&self) -> &Tensor {
        self.tensors.values.output()
    }

    /// The tensor for the gradient with respect to [`y`](Self::y), (rows, outputs): see [`set_dy`](Self::set_dy).
    #[must_use]
    pub fn dy(&self) -> &Tensor {
        self.tensors.doutputs()
    }

    /// The tensor to which [`backward`](Self::backward) writes the gradient with respect to the features, (rows,
    /// features). `None` if the [`PassSpec`] did not request this gradient.
    #[must_use]
    pub fn dx(&self) -> Option<&Tensor> {
        self.dx.as_ref()
    }

    /// Computes [`y`](Self::y) in training mode: layers such as `Dropout` draw random numbers, and the layers' state
    /// changes. Submits the work and does not wait for it.
    ///
    /// # Errors
    /// [`Error::Setting`] when `model` is not the model of this pass, or an error of the device.
    pub fn forward(&mut self, model: &mut Model) -> Result<(), Error> {
        self.check_model(model)?;
        self.gpu.submit(&self.forward, 1)?;
        Ok(())
    }

    /// Computes the gradients with respect to all parameters from [`dy`](Self::dy), and the gradient with respect to
    /// the features if the [`PassSpec`] requested it. Submits the work and does not wait for it.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward).
    pub fn backward(&mut self, model: &Model) -> Result<(), Error> {
        self.check_model(model)?;
        self.gpu.submit(&self.backward, 1)?;
        Ok(())
    }

    /// The plan that [`forward`](Self::forward) submits. A program can encode it into its own compute pass.
    #[must_use]
    pub fn forward_plan(&self) -> &Plan {
        &self.forward
    }

    /// The plan that [`backward`](Self::backward) submits. A program can encode it into its own compute pass.
    #[must_use]
    pub fn backward_plan(&self) -> &Plan {
        &self.backward
    }

    /// The tensors to which [`backward`](Self::backward) writes the gradients with respect to all parameters, in the
    /// order of [`Model::parameter_names`].
    #[must_use]
    pub fn gradients(&self) -> &[Tensor] {
        self.tensors.gradients.tensors()
    }

    pub(crate) fn gradient_arena(&self) -> &Arena {
        &self.tensors.gradients
    }
}
