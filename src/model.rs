//! A network on a GPU, and how its passes are recorded.

#[cfg(not(target_arch = "wasm32"))]
mod direct;
mod evaluation;

use std::any::Any;

use ndarray::{Array2, ArrayView2};

use crate::checkpoint;
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Element;
use crate::ops::{Backward, Draw, Forward, Layer, Linear, Loss, Relu, TargetKind};
use crate::plan::{Plan, Recorder};
use crate::sequential::Sequential;
use crate::tensor::{Arena, Tensor};

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

/// The tensors of one pass: what each layer takes and gives, and the gradients of those.
#[derive(Debug)]
pub(crate) struct Activations {
    /// `values[0]` is the minibatch, the last the logits. What a `Linear` gives to a `Relu` is the same tensor
    /// as what that gives: see `Model::relu_behind`.
    pub(crate) values: Vec<Tensor>,
    /// Gradients by `values`; those that nobody reads are absent, and those by what a `Relu` gives to a
    /// `Linear`.
    deltas: Vec<Option<Tensor>>,
    /// Classes (1, rows) of `u32`, or values (rows, outputs).
    pub(crate) targets: Tensor,
    /// (1, rows).
    pub(crate) losses: Tensor,
}

impl Activations {
    pub(crate) fn logits(&self) -> &Tensor {
        &self.values[self.values.len() - 1]
    }

    /// The same for fewer rows, in the same memory.
    pub(crate) fn first_rows(&self, rows: usize) -> Self {
        let vector = |tensor: &Tensor| tensor.first_columns(rows);
        let deltas = self
            .deltas
            .iter()
            .map(|delta| delta.as_ref().map(|d| d.first_rows(rows)));
        Self {
            values: self
                .values
                .iter()
                .map(|value| value.first_rows(rows))
                .collect(),
            deltas: deltas.collect(),
            targets: match self.targets.element() {
                Element::U32 => vector(&self.targets),
                Element::F32 => self.targets.first_rows(rows),
            },
            losses: vector(&self.losses),
        }
    }
}

impl Model {
    /// See [`Sequential::build`].
    pub(crate) fn new(gpu: &Gpu, spec: &Sequential) -> Result<Self, Error> {
        spec.check()?;
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
    ///
    /// # Errors
    /// [`Error::Shape`] when one has another shape; then none is replaced.
    pub fn set_parameters(&mut self, values: &[Vec<Array2<f32>>]) -> Result<(), Error> {
        let tensors = self.parameters.arena.tensors();
        let values: Vec<&Array2<f32>> = values.iter().flatten().collect();
        if tensors.len() != values.len() {
            return Err(Error::Shape {
                what: "parameters of a network".to_owned(),
                expected: [1, tensors.len()],
                found: [1, values.len()],
            });
        }
        for (tensor, value) in tensors.iter().zip(&values) {
            let found = value.dim().into();
            if found != tensor.shape() {
                return Err(Error::Shape {
                    what: tensor.label().to_owned(),
                    expected: tensor.shape(),
                    found,
                });
            }
        }
        for (tensor, value) in tensors.iter().zip(values) {
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
    /// As [`parameters_async`](Self::parameters_async), or [`Error::Checkpoint`] when a value is not finite.
    pub fn to_safetensors(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let (spec, parameters) = (self.spec.clone(), self.parameters_async());
        async move { checkpoint::encode(&spec, &parameters.await?, None) }
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

    /// Room for a pass over `rows` rows, whose input is floats or packed bytes.
    pub(crate) fn activations(
        &self,
        rows: usize,
        input: Element,
        targets: TargetKind,
    ) -> Result<Activations, Error> {
        let gpu = &self.gpu;
        let widths = self.spec.widths();
        Ok(Activations {
            values: self.values(rows, input)?,
            deltas: self.deltas(rows)?,
            targets: match targets {
                TargetKind::Classes => {
                    Tensor::zeros(gpu, "labels of the minibatch", [1, rows], Element::U32)?
                }
                TargetKind::Values => {
                    let shape = [rows, widths[widths.len() - 1]];
                    Tensor::zeros(gpu, "targets", shape, Element::F32)?
                }
            },
            losses: Tensor::zeros(gpu, "losses of the minibatch", [1, rows], Element::F32)?,
        })
    }

    fn values(&self, rows: usize, input: Element) -> Result<Vec<Tensor>, Error> {
        let mut values: Vec<Tensor> = Vec::new();
        for (i, width) in self.spec.widths().into_iter().enumerate() {
            let label = format!("activations.{i}");
            let zeros =
                |label, width, element| Tensor::zeros(&self.gpu, label, [rows, width], element);
            values.push(match (i, input) {
                (0, Element::U32) => zeros(label, width.div_ceil(4), input)?,
                (2.., _) if self.relu_behind(i - 2) => values[i - 1].reshaped(label, [rows, width]),
                _ => zeros(label, width, Element::F32)?,
            });
        }
        Ok(values)
    }

    /// A layer's backward pass reads the gradient above it and writes the one below, and nobody looks at
    /// either again: two tensors take turns.
    fn deltas(&self, rows: usize) -> Result<Vec<Option<Tensor>>, Error> {
        let widths = self.spec.widths();
        // The gradient by a value is read where parameters lie below it, and by the loss.
        let mut layers = self.parameters.layers.iter();
        let first = layers.position(|layer| !layer.is_empty());
        let is_read = |i: usize| first.is_some_and(|first| i > first) || i + 1 == widths.len();
        let present = (0..widths.len()).filter(|&i| is_read(i) && !self.relu_before(i));
        let present: Vec<usize> = present.collect();
        let mut turns = Vec::new();
        for turn in 0..present.len().min(2) {
            let widest = present[turn..].iter().step_by(2).map(|&i| widths[i]).max();
            let (label, shape) = (format!("deltas, turn {turn}"), [rows, widest.unwrap_or(1)]);
            turns.push(Tensor::zeros(&self.gpu, label, shape, Element::F32)?);
        }
        let mut deltas = vec![None; widths.len()];
        for (&i, turn) in present.iter().zip(turns.iter().cycle()) {
            deltas[i] = Some(turn.reshaped(format!("deltas.{i}"), [rows, widths[i]]));
        }
        Ok(deltas)
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
    /// are those at the time when it runs.
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
    /// [`Error::Shape`] when `x` or `y` does not fit the network or they differ in rows,
    /// [`Error::OutOfMemory`] or [`Error::Limit`] without room for what lies between them.
    pub fn forward_plan(&self, x: &Tensor, y: &Tensor) -> Result<Plan, Error> {
        let widths = self.spec.widths();
        let ends = [(x, widths[0]), (y, widths[widths.len() - 1])];
        for (tensor, width) in ends {
            let expected = [x.rows(), width];
            if tensor.shape() != expected || tensor.element() != Element::F32 {
                return Err(Error::Shape {
                    what: format!("{} of f32, for this network", tensor.label()),
                    expected,
                    found: tensor.shape(),
                });
            }
        }
        let mut pass = self.activations(x.rows(), Element::F32, TargetKind::Values)?;
        let last = pass.values.len() - 1;
        pass.values[0] = x.clone();
        pass.values[last] = y.clone();
        let mut recorder = Recorder::new(&self.gpu);
        self.record_forward(&mut recorder, &pass, None);
        recorder.finish()
    }

    /// Records a forward pass: of a step of training where there is a `step_count`.
    pub(crate) fn record_forward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &Activations,
        step_count: Option<&Tensor>,
    ) {
        let draws = self.draws(step_count);
        for ((i, layer), draw) in self.spec.layers().iter().enumerate().zip(draws) {
            let forward = |y| Forward {
                x: &pass.values[i],
                parameters: &self.parameters.layers[i],
                y,
                draw,
            };
            if self.relu_behind(i) {
                Linear::record_forward(recorder, forward(&pass.values[i + 2]), true);
            } else if i == 0 || !self.relu_behind(i - 1) {
                layer.forward(recorder, forward(&pass.values[i + 1]));
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
