//! A network on a GPU, and how its passes are recorded.

mod activations;
#[cfg(not(target_arch = "wasm32"))]
mod direct;

use std::any::Any;

use ndarray::{Array2, ArrayView2};

use crate::checkpoint;
use crate::error::Error;
use crate::fit::check_parameters;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::memory::bytes_of;
use crate::ops::{Backward, Draw, Forward, Layer, Linear, Loss, Relu};
use crate::plan::{Plan, Recorder};
use crate::sequential::Sequential;
use crate::tensor::{self, Arena, Tensor};

pub(crate) use activations::Activations;

/// Bytes that the widest layer of a pass outside of training may take.
const PASS_BYTES: u64 = 64 << 20;

/// A network on a GPU: parameters and room for their gradients.
#[derive(Debug)]
pub struct Model {
    gpu: Gpu,
    spec: Sequential,
    parameters: Parameters,
    gradients: Parameters,
}

/// One tensor per parameter of every layer, in one arena.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) arena: Arena,
    layers: Vec<Vec<Tensor>>,
}

impl Parameters {
    fn zeros(gpu: &Gpu, spec: &Sequential, role: &str) -> Result<Self, Error> {
        let specs = spec.map_specs(|name, spec| (format!("{role}.{name}"), spec.shape));
        let arena = Arena::zeros(gpu, role, &specs.concat())?;
        let mut tensors = arena.tensors().iter().cloned();
        let layers = specs
            .iter()
            .map(|specs| tensors.by_ref().take(specs.len()).collect());
        Ok(Self {
            layers: layers.collect(),
            arena,
        })
    }
}

impl Sequential {
    /// Puts the network with its initial parameters on a GPU.
    ///
    /// # Errors
    /// [`Error::Setting`] when a width is not in 1…[`MAX_WIDTH`](crate::MAX_WIDTH), a parameter is empty or nothing can be trained;
    /// [`Error::Limit`] or [`Error::OutOfMemory`] when the GPU cannot hold it, [`Error::Memory`] when the host has
    /// no room for its initial values.
    pub fn build(&self, gpu: &Gpu) -> Result<Model, Error> {
        Model::new(gpu, self)
    }
}

impl Model {
    /// See [`Sequential::build`].
    pub(crate) fn new(gpu: &Gpu, spec: &Sequential) -> Result<Self, Error> {
        spec.check()?;
        for (label, spec) in spec.map_specs(|name, spec| (name, spec)).concat() {
            tensor::span_of(gpu, &label, spec.shape)?;
        }
        check_host(gpu, spec)?;
        let parameters = Parameters::zeros(gpu, spec, "parameters")?;
        let mut tensors = parameters.arena.tensors().iter();
        let writes = spec.map_parameters(|_, values| {
            tensors
                .next()
                .map_or(Ok(()), |tensor| gpu.write(tensor, &values))
        });
        writes
            .into_iter()
            .flatten()
            .collect::<Result<(), Error>>()?;
        gpu.flush()?;
        Ok(Self {
            gradients: Parameters::zeros(gpu, spec, "gradients")?,
            parameters,
            gpu: gpu.clone(),
            spec: spec.clone(),
        })
    }

    /// The device it is on.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What it was built from.
    #[must_use]
    pub fn spec(&self) -> &Sequential {
        &self.spec
    }

    /// Where the parameters of every layer lie, in the order of
    /// [`Layer::parameters`](crate::ops::Layer::parameters), to be read. A trainer has begun its next step
    /// with them: [`Trainer::set_parameters`](crate::Trainer::set_parameters) changes them.
    #[must_use]
    pub fn layer_parameters(&self) -> &[Vec<Tensor>] {
        &self.parameters.layers
    }

    /// Zeros in the shapes of the parameters.
    pub(crate) fn like_parameters(&self, role: &str) -> Result<Arena, Error> {
        Ok(Parameters::zeros(&self.gpu, &self.spec, role)?.arena)
    }

    pub(crate) fn arenas(&self) -> (&Arena, &Arena) {
        (&self.parameters.arena, &self.gradients.arena)
    }

    /// Replaces the parameters; all of them, in the order of [`Layer::parameters`](crate::ops::Layer::parameters).
    /// Layers without parameters may be left out.
    ///
    /// # Errors
    /// [`Error::Count`] when there are more or fewer, [`Error::Shape`] when one has another shape; then none is
    /// replaced.
    pub fn set_parameters(&mut self, values: &[Vec<Array2<f32>>]) -> Result<(), Error> {
        let expected = self
            .spec
            .map_specs(|name, spec| (name, spec.shape))
            .concat();
        let expected = expected.iter().map(|(name, shape)| (name.as_str(), *shape));
        check_parameters(expected, values)?;
        let tensors = self.parameters.arena.tensors();
        for (tensor, value) in tensors.iter().zip(values.iter().flatten()) {
            self.gpu.write(tensor, &row_major(value.view()))?;
        }
        Ok(())
    }

    /// Reads the parameters of every layer, in the order of
    /// [`Layer::parameters`](crate::ops::Layer::parameters), without blocking a browser's main thread:
    /// those of the time of this call.
    ///
    /// # Errors
    /// As [`Gpu::read_async`].
    pub fn parameters_async(
        &self,
    ) -> impl Future<Output = Result<Vec<Vec<Array2<f32>>>, Error>> + use<> {
        let layers = self.parameters.layers.iter();
        let reads: Vec<_> = layers
            .map(|tensors| read_matrices(&self.gpu, tensors))
            .collect();
        async move {
            let mut layers = Vec::new();
            for read in reads {
                layers.push(read.await?);
            }
            Ok(layers)
        }
    }

    /// The parameters as a safetensors file: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// As [`parameters_async`](Self::parameters_async), or [`Error::Checkpoint`] when a value is not finite,
    /// [`Error::Memory`] when the host has no room for it.
    pub fn to_safetensors(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let (spec, parameters) = (self.spec.clone(), self.parameters_async());
        async move {
            checkpoint::check_saving(&spec, 1, 1)?;
            checkpoint::encode(&spec, &parameters.await?, None)
        }
    }

    /// Takes the parameters out of a safetensors file: one of ours, with or without the state of a
    /// training, or one whose tensors have the same names and shapes. [`checkpoint::import`] makes such a
    /// file of one with other names.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged or of another network, or holds a value that is not
    /// finite; then nothing is changed.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(&self.spec, None, bytes)?;
        self.set_parameters(&contents.parameters)
    }

    /// What the first layer best takes of features: bytes as they are, or floats.
    pub(crate) fn input_element(&self, features: &Tensor) -> Element {
        match self.spec.layers().first() {
            Some(layer) if layer.takes_bytes(&self.gpu) => features.element(),
            _ => Element::F32,
        }
    }

    /// Whether layer `i` is a `Linear` with a `Relu` behind it. They are recorded as one product, which
    /// stores what the `Relu` gives: that saves a dispatch, and a tensor that is written and read.
    fn relu_behind(&self, i: usize) -> bool {
        self.is_layer::<Linear>(i) && self.is_layer::<Relu>(i + 1)
    }

    /// Whether layer `i` is a `Linear` with a `Relu` before it. Their gradients are recorded as one product,
    /// which stores that by the input of the `Relu`, to save the same. As a `Relu` has no parameters, that
    /// one is read wherever the one between them is.
    fn relu_before(&self, i: usize) -> bool {
        i > 0 && self.is_layer::<Relu>(i - 1) && self.is_layer::<Linear>(i)
    }

    fn is_layer<L: Layer>(&self, i: usize) -> bool {
        self.spec.layers().get(i).is_some_and(|layer| {
            let any: &dyn Any = &**layer;
            any.is::<L>()
        })
    }

    /// Plans a forward pass from `x` (rows, inputs) to `y` (rows, outputs), tensors of the caller's, in
    /// whose own compute pass [`Plan::encode`] puts it: nothing is submitted or read back. The parameters
    /// are those at the time when it runs. What lies between the layers takes at most two tensors of 64 MiB,
    /// however many rows there are.
    ///
    /// ```
    /// use wgrad::kernel::Element;
    /// use wgrad::tensor::Tensor;
    /// use wgrad::{Gpu, TwoLayerNet};
    ///
    /// let gpu = Gpu::new()?; // or Gpu::from_wgpu(device, queue)
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&gpu)?;
    /// // Or Tensor::in_buffer, over a buffer that exists.
    /// let x = Tensor::zeros(&gpu, "x", [1, 784], Element::F32)?;
    /// let y = Tensor::zeros(&gpu, "y", [1, 10], Element::F32)?;
    /// let forward = model.forward_plan(&x, &y)?;
    /// let mut encoder = gpu.device().create_command_encoder(&Default::default());
    /// forward.encode(&mut encoder.begin_compute_pass(&Default::default()));
    /// gpu.queue().submit([encoder.finish()]);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` or `y` does not fit the network or they differ in rows, [`Error::Setting`] when
    /// one is not of `f32` or they lie in one buffer, [`Error::OutOfMemory`] or [`Error::Limit`] without room for what lies between them.
    pub fn forward_plan(&self, x: &Tensor, y: &Tensor) -> Result<Plan, Error> {
        let widths = self.spec.widths();
        let ends = [(x, widths[0]), (y, widths[widths.len() - 1])];
        for (tensor, width) in ends {
            let expected = [x.rows(), width];
            if tensor.element() != Element::F32 {
                return Err(Error::setting(
                    format!("the element type of {}", tensor.label()),
                    "f32",
                    format!("{:?}", tensor.element()).to_ascii_lowercase(),
                ));
            }
            if tensor.shape() != expected {
                return Err(Error::Shape {
                    what: format!("{}, for this network,", tensor.label()),
                    expected,
                    found: tensor.shape(),
                    remedy: "Make x as (rows, inputs) and y as (rows, outputs), with as many rows",
                });
            }
        }
        if x.buffer().0 == y.buffer().0 {
            return Err(Error::setting(
                format!("the buffer of {}, the output,", y.label()),
                "another than that of the input: no kernel may read one part of a buffer and write another",
                format!("that of {}", x.label()),
            ));
        }
        let most = self.rows_of_forward_plan(x.rows());
        let first = [x, y].map(|tensor| tensor.rows_from(0, most));
        let values = self.forward_values(&first[0], &first[1])?;
        let last = values.len() - 1;
        let mut recorder = Recorder::new(&self.gpu);
        for first in (0..x.rows()).step_by(most) {
            let rows = most.min(x.rows() - first);
            let values = values.iter().enumerate().map(|(i, value)| match i {
                0 => x.rows_from(first, rows),
                // What is written into `y` by a `Relu` is so by the `Linear` before it.
                _ if i == last || value.buffer() == values[last].buffer() => {
                    y.rows_from(first, rows)
                }
                _ => value.first_rows(rows),
            });
            self.record_forward(&mut recorder, &values.collect::<Vec<_>>(), None);
        }
        recorder.finish()
    }

    /// Rows that a forward plan takes at a time: a part of `x` or `y` must begin where the device can bind it.
    fn rows_of_forward_plan(&self, rows: usize) -> usize {
        let alignment = self.gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
        let most = self.rows_by_memory();
        match rows <= most {
            true => rows,
            false => (most / alignment).max(1) * alignment,
        }
    }

    /// Rows whose values in the widest layer take no more than [`PASS_BYTES`], and that a kernel can bind.
    pub(crate) fn rows_by_memory(&self) -> usize {
        let widest = self.spec.widths().into_iter().max().unwrap_or(1);
        let bytes = PASS_BYTES.min(self.gpu.largest_binding());
        usize::try_from(bytes / (4 * widest as u64)).map_or(usize::MAX, |rows| rows.max(1))
    }

    /// Records a forward pass: of a step of training where there is a `step_count`.
    pub(crate) fn record_forward(
        &self,
        recorder: &mut Recorder<'_>,
        values: &[Tensor],
        step_count: Option<&Tensor>,
    ) {
        let draws = self.draws(step_count);
        for ((i, layer), draw) in self.spec.layers().iter().enumerate().zip(draws) {
            let forward = |y| Forward {
                x: &values[i],
                parameters: &self.parameters.layers[i],
                y,
                draw,
            };
            if self.relu_behind(i) {
                Linear::record_forward(recorder, forward(&values[i + 2]), true);
            } else if i == 0 || !self.relu_behind(i - 1) {
                layer.forward(recorder, forward(&values[i + 1]));
            }
        }
    }

    /// What each layer draws from in a step of training.
    fn draws<'a>(&self, step_count: Option<&'a Tensor>) -> Vec<Option<Draw<'a>>> {
        let keys = self.spec.keys().into_iter();
        keys.map(|key| step_count.map(|step_count| Draw { key, step_count }))
            .collect()
    }

    /// Records the loss of each row and its gradient by the logits.
    pub(crate) fn record_loss(recorder: &mut Recorder<'_>, loss: &dyn Loss, pass: &Activations) {
        if let Some(Some(dlogits)) = pass.deltas.last() {
            loss.forward_backward(
                recorder,
                pass.logits(),
                &pass.targets,
                &pass.losses,
                dlogits,
            );
        }
    }

    pub(crate) fn record_backward(
        &self,
        recorder: &mut Recorder<'_>,
        loss: &dyn Loss,
        pass: &Activations,
        step_count: Option<&Tensor>,
    ) {
        Self::record_loss(recorder, loss, pass);
        let draws = self.draws(step_count);
        for (i, layer) in self.spec.layers().iter().enumerate().rev() {
            // Of a `Relu` before a `Linear` there is none: the `Linear` is recorded with it.
            let Some(dy) = &pass.deltas[i + 1] else {
                continue;
            };
            let backward = |dx| Backward {
                x: &pass.values[i],
                y: &pass.values[i + 1],
                dy,
                parameters: &self.parameters.layers[i],
                gradients: &self.gradients.layers[i],
                dx,
                draw: draws[i],
            };
            if self.relu_before(i) {
                Linear::record_backward(recorder, &backward(pass.deltas[i - 1].as_ref()), true);
            } else {
                layer.backward(recorder, backward(pass.deltas[i].as_ref()));
            }
        }
    }
}

/// Whether the host has room for what building a network takes of it.
fn check_host(gpu: &Gpu, spec: &Sequential) -> Result<(), Error> {
    let sizes = spec.sizes();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let all = sizes.into_iter().fold(0, u64::saturating_add);
    // Initial values of one parameter, and copies of all of them on their way to the device. The memory of a
    // software driver is the host's: parameters and gradients are there, too.
    let copies = match gpu.is_software() {
        true => 3,
        false => 1,
    };
    let values = all.saturating_mul(copies).saturating_add(largest);
    let what = || format!("building a network of {all} parameters");
    gpu.check_host(what, bytes_of::<f32>(values))
}

/// The elements of tensors.
pub(crate) fn read_matrices(
    gpu: &Gpu,
    tensors: &[Tensor],
) -> impl Future<Output = Result<Vec<Array2<f32>>, Error>> + use<> {
    let reads: Vec<_> = tensors
        .iter()
        .map(|tensor| read_matrix(gpu, tensor))
        .collect();
    async move {
        let mut matrices = Vec::new();
        for read in reads {
            matrices.push(read.await?);
        }
        Ok(matrices)
    }
}

pub(crate) fn read_matrix(
    gpu: &Gpu,
    tensor: &Tensor,
) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
    let ([rows, columns], read) = (tensor.shape(), gpu.read_async::<f32>(tensor));
    async move {
        let values = read.await?;
        let at = |(row, column)| values[row * columns + column];
        Ok(Array2::from_shape_fn((rows, columns), at))
    }
}

pub(crate) fn row_major(matrix: ArrayView2<'_, f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}
