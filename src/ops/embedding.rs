use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::{Backward, Forward, Layer, LayerSpec, ParameterSpec, to_u32};
use crate::error::Error;
use crate::fields;
use crate::init::Init;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Maximum number of rows in the table: `f32` represents every integer up to this number.
const MOST: usize = 1 << 24;

/// A lookup table with one trainable row for each of `count` items, such as words or categories, like
/// `torch.nn.Embedding`.
///
/// The layer's inputs are row indices, and its outputs are those rows of the table.
///
/// An input with `m` indices gives an output of `m`×`width` elements. An index is an integer from 0 to `count − 1`,
/// stored as `f32`; so `count` is at most 2²⁴. An index has no gradient. Therefore the layer can read only an input of
/// the network, not the output of another layer. The network's other inputs may be of other kinds. The table is the
/// parameter `weight`, (count, width). Its initial values are normally distributed with standard deviation 1, like
/// PyTorch's.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ndarray::array;
/// use wgrad::ops::{Embedding, Linear};
///
/// // Three characters of 27, each as ten numbers.
/// let network = Sequential::input(3).layer(Embedding::new(27, 10)).layer(Linear::new(27)).on_cpu()?;
/// assert_eq!(network.predict(array![[0.0, 13.0, 26.0]].view())?.dim(), (1, 27));
/// let error = network.predict(array![[0.0, 13.0, 27.0]].view()).unwrap_err();
/// assert!(error.to_string().contains("from 0 to 26"), "{error}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// Rows from the host are checked: a value that is not a valid index is rejected with [`Error::Setting`]. So is a data
/// set of bytes, because networks read a byte as `byte / 255`. Rows that a program's own kernel writes on the GPU are
/// not checked. If they contain an invalid index, the output is NaN, the table does not change, and training reports
/// [`Error::Diverged`].
///
/// The backward pass compares every index of a minibatch with every row number of the table. It adds the gradients of a
/// table row in the order of the indices, so that the same seed gives bit-identical results.
#[derive(Debug, Clone)]
pub struct Embedding {
    pub(super) count: usize,
    pub(super) width: usize,
    weight: Init,
}

impl Embedding {
    /// Creates a table of `count` rows with `width` elements each.
    #[must_use]
    pub fn new(count: usize, width: usize) -> Self {
        Self {
            count,
            width,
            weight: Init::Normal { std: 1.0 },
        }
    }

    /// Sets the initial values of the table. If these depend on `fan_in` or `fan_out`, `fan_in` is `count`, and
    /// `fan_out` is `width`.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight = init;
        self
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    indices: u32,
    count: u32,
    width: u32,
    begin: u32,
    end: u32,
    first: u32,
}

static FORWARD: Kernel<Settings> = Kernel {
    shader: "embedding",
    source: include_str!("../../shaders/embedding.wgsl"),
    entry: "forward",
    bindings: &[
        Binding::read("x"),
        Binding::read("weight"),
        Binding::write("y"),
    ],
    fields: fields!(Settings: indices, count, width, begin, end, first),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static BACKWARD_WEIGHT: Kernel<Settings> = Kernel {
    entry: "backward_weight",
    bindings: &[
        Binding::read("x"),
        Binding::read("dy"),
        Binding::write("dweight"),
    ],
    workgroup_size: [64, 1, 1],
    ..FORWARD
};

static BACKWARD_INPUT: Kernel<Settings> = Kernel {
    entry: "backward_input",
    bindings: &[Binding::write("dx")],
    ..FORWARD
};

/// Columns per workgroup of [`BACKWARD_WEIGHT`], which sums the gradients of each table row.
const COLUMNS: usize = 64;
/// Indices per dispatch of [`BACKWARD_WEIGHT`]. If all indices are equal, one loop has an iteration for each of them,
/// and a software driver ends loops after 65,535 iterations.
const AT_A_TIME: usize = 32_768;

impl Embedding {
    fn settings(&self, x: &Tensor) -> Settings {
        Settings {
            indices: to_u32(x.len()),
            count: to_u32(self.count),
            width: to_u32(self.width),
            begin: 0,
            end: 0,
            first: 0,
        }
    }

    fn backward_weight(&self, recorder: &mut Recorder<'_>, pass: &Backward<'_>) {
        let indices = pass.x.len();
        let workgroups = (self.count * self.width.div_ceil(COLUMNS)) as u64;
        for begin in (0..indices).step_by(AT_A_TIME) {
            let end = indices.min(begin + AT_A_TIME);
            let compared = (end - begin) as u64;
            // A comparison counts as an operation: for a large table, the comparisons take longer than the sums.
            let flops = compared * (workgroups + self.width as u64);
            // For every 2,048 indices, an invocation compares 32 of them, then loops over 64 words with one bit per
            // index. All bits may be set, so the loops over set bits take up to one iteration per index.
            let tiles = compared.div_ceil(2048);
            let cost = Cost::new(flops).iterations(tiles * (33 + 2 * 65) + compared);
            let settings = |first| Settings {
                begin: to_u32(begin),
                end: to_u32(end),
                first,
                ..self.settings(pass.x)
            };
            let tensors = [pass.x, pass.dy, &pass.gradients[0]];
            recorder.dispatch_in_parts(&BACKWARD_WEIGHT, settings, &tensors, workgroups, cost);
        }
    }
}

impl Layer for Embedding {
    fn name(&self) -> String {
        format!("Embedding({}, {})", self.count, self.width)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let indices = input.len();
        let count = self.count;
        let width = self.width;
        if count == 0 || count > MOST {
            let expected = format!("1 to {MOST}, because an f32 has all integers up to it");
            return Err(Error::setting(
                "number of rows of the table",
                expected,
                count,
            ));
        }
        if width == 0 {
            return Err(Error::setting("width", "at least 1", width));
        }
        let weight = ParameterSpec::new("weight", [count, width], self.weight.clone());
        // The layer only copies.
        Ok(LayerSpec::new([indices, width])
            .parameter(weight)
            .indices_below(count)
            .flops(0))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let settings = self.settings(pass.x);
        let tensors = [pass.x, &pass.parameters[0], pass.y];
        record_elements(recorder, &FORWARD, settings, &tensors, pass.y.len(), 0);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        self.backward_weight(recorder, &pass);
        if let Some(dx) = pass.dx {
            let settings = self.settings(pass.x);
            record_elements(recorder, &BACKWARD_INPUT, settings, &[dx], dx.len(), 0);
        }
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Embedding)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    let kernels = [&FORWARD, &BACKWARD_WEIGHT, &BACKWARD_INPUT];
    kernels.into_iter().map(Kernel::contract).collect()
}
