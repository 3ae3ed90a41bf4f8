//! Initial values of parameters.

use std::fmt;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

use crate::error::{Error, number};
use crate::memory::{self, bytes_of};
use crate::shape::Shape;

/// How a parameter is initialized.
///
/// `fan_in` is the number of inputs that each output sums, and `fan_out` is the number of outputs to which each input
/// contributes. The layer states both in its [`ParameterSpec`](crate::ops::ParameterSpec). For the weight of a
/// [`Linear`](crate::ops::Linear), they are the layer's number of inputs and number of outputs.
///
/// The same seed gives the same values on every platform.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Init {
    /// [`HeNormal`](Self::HeNormal) if a rectifier follows, such as [`Relu`](crate::ops::Relu), otherwise
    /// [`LecunNormal`](Self::LecunNormal). Layers that only pass values on, such as [`Dropout`](crate::ops::Dropout),
    /// may come before the rectifier. At the start of a training, outputs are then about as large as inputs.
    Auto,
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// All equal to this number.
    Constant(f32),
    /// Normally distributed around 0.
    Normal {
        /// Standard deviation; "Deep Learning from Scratch" uses 0.01.
        std: f32,
    },
    /// Uniform in −b…b.
    Uniform {
        /// The bound b.
        bound: f32,
    },
    /// Uniform in −b…b with `b = √(6 / (fan_in + fan_out))` (Glorot and Bengio, 2010): for layers with
    /// [`Tanh`](crate::ops::Tanh) or [`Sigmoid`](crate::ops::Sigmoid). This is PyTorch's `xavier_uniform_` with its
    /// default gain, 1.
    #[doc(alias = "GlorotUniform")]
    #[doc(alias = "xavier_uniform")]
    XavierUniform,
    /// Normally distributed around 0, with a standard deviation of `√(2 / (fan_in + fan_out))` (Glorot and Bengio,
    /// 2010). This is PyTorch's `xavier_normal_` with its default gain, 1.
    #[doc(alias = "GlorotNormal")]
    #[doc(alias = "xavier_normal")]
    XavierNormal,
    /// Uniform in −b…b with `b = √(6 / fan_in)` (He, Zhang, Ren and Sun, 2015): for layers with
    /// [`Relu`](crate::ops::Relu). This is PyTorch's `kaiming_uniform_` with `nonlinearity="relu"`.
    #[doc(alias = "KaimingUniform")]
    #[doc(alias = "kaiming_uniform")]
    HeUniform,
    /// Normally distributed around 0, with a standard deviation of `√(2 / fan_in)` (He, Zhang, Ren and Sun, 2015). This
    /// is PyTorch's `kaiming_normal_` with `nonlinearity="relu"`.
    #[doc(alias = "KaimingNormal")]
    #[doc(alias = "kaiming_normal")]
    HeNormal,
    /// Uniform in −b…b with `b = √(3 / fan_in)` (Le Cun, Bottou, Orr and Müller, 1998): for layers without a rectifier.
    /// This is PyTorch's `kaiming_uniform_` with `nonlinearity="linear"`.
    LecunUniform,
    /// Normally distributed around 0, with a standard deviation of `√(1 / fan_in)` (Le Cun, Bottou, Orr and Müller,
    /// 1998). This is PyTorch's `kaiming_normal_` with `nonlinearity="linear"`.
    LecunNormal,
    /// Computed by a function from each element's index: see [`Init::function`].
    Function(Function),
}

/// A function that computes a parameter's element from the element's index.
#[derive(Clone)]
pub struct Function(Arc<Value>);

/// A function of an element's index.
type Value = dyn Fn(&[usize]) -> f32 + Send + Sync;

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

/// Largest accepted standard deviation. Every value is then finite, because the chance that a value is more than 30
/// standard deviations from 0 is below 10⁻¹⁹⁷.
const LARGEST_STD: f32 = 1e37;

/// A distribution around 0.
#[derive(Debug, Clone, Copy)]
enum Draw {
    Normal { std: f32 },
    Uniform { bound: f32 },
}

/// How a parameter's values are computed.
#[derive(Debug)]
enum Rule<'a> {
    Constant(f32),
    Drawn(Draw),
    Function(&'a Function),
}

impl Init {
    /// Computes each element by a function of its index. The index has one number per dimension of the parameter. The
    /// function is called more than once for each index, and must return the same value every time.
    ///
    /// ```
    /// use wgrad::ops::Linear;
    /// use wgrad::{Init, Sequential};
    ///
    /// let identity = Init::function(|index| if index[0] == index[1] { 1.0 } else { 0.0 });
    /// let network = Sequential::input(3).layer(Linear::new(3).weight_init(identity));
    /// let network = network.on_cpu()?;
    /// assert_eq!(network.parameters()["layers.0.weight"][[1, 1]], 1.0);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn function(value: impl Fn(&[usize]) -> f32 + Send + Sync + 'static) -> Self {
        Self::Function(Function(Arc::new(value)))
    }

    /// Checks that the setting is valid.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (name, expected, found) = match *self {
            Self::Normal { std } if !(0.0..=LARGEST_STD).contains(&std) => (
                "standard deviation of initial values",
                format!("0 to {LARGEST_STD:e}, so that every value is finite"),
                std,
            ),
            Self::Uniform { bound } if !(0.0..=f32::MAX).contains(&bound) => (
                "bound of initial values",
                format!("0 to {:e}, so that every value is finite", f32::MAX),
                bound,
            ),
            Self::Constant(value) if !value.is_finite() => {
                ("initial value", "a finite number".to_owned(), value)
            }
            _ => return Ok(()),
        };
        Err(Error::setting(name, expected, number(found)))
    }

    /// Checks that every value of the parameter `name` will be finite, where this depends on the parameter's shape or
    /// fans, which [`check`](Self::check) does not know.
    pub(crate) fn check_values(
        &self,
        name: &str,
        shape: &Shape,
        fans: [usize; 2],
    ) -> Result<(), Error> {
        let by_fan_in = matches!(
            self,
            Self::Auto | Self::HeUniform | Self::HeNormal | Self::LecunUniform | Self::LecunNormal
        );
        let by_both = matches!(self, Self::XavierUniform | Self::XavierNormal);
        let [fan_in, fan_out] = fans;
        if (by_fan_in && fan_in == 0) || (by_both && fan_in == 0 && fan_out == 0) {
            let what = format!("fan_in of {name}, which scales its initial values,");
            return Err(Error::setting(what, "at least 1", fan_in));
        }
        let Self::Function(function) = self else {
            return Ok(());
        };
        let what = || format!("the initial values of {name}");
        memory::check(what, bytes_of::<f32>(shape.len() as u64))?;
        let mut found = Ok(());
        for_each_index(shape, |index| {
            let value = function.0(index);
            if found.is_ok() && !value.is_finite() {
                let what = format!("initial value of {name} at {index:?}");
                found = Err(Error::setting(what, "a finite number", number(value)));
            }
        });
        found
    }

    /// Returns the values of a parameter with this shape, in row-major order. The same seed and stream give the same
    /// values on every platform.
    pub(crate) fn values(
        &self,
        shape: &Shape,
        fans: [usize; 2],
        seed: u64,
        stream: u64,
    ) -> Vec<f32> {
        let draw = match self.rule(fans) {
            Rule::Constant(value) => return vec![value; shape.len()],
            Rule::Function(function) => {
                let mut values = Vec::with_capacity(shape.len());
                for_each_index(shape, |index| values.push(function.0(index)));
                return values;
            }
            Rule::Drawn(draw) => draw,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let value = |_| match draw {
            Draw::Normal { std } => {
                let value: f32 = StandardNormal.sample(&mut rng);
                std * value
            }
            Draw::Uniform { bound } => {
                // A multiple of 2⁻²⁴ in 0…1, so that only the product is rounded.
                let value: f32 = StandardUniform.sample(&mut rng);
                bound * (2.0 * value - 1.0)
            }
        };
        (0..shape.len()).map(value).collect()
    }

    fn rule(&self, [fan_in, fan_out]: [usize; 2]) -> Rule<'_> {
        let both = fan_in.saturating_add(fan_out);
        let normal = |std| Rule::Drawn(Draw::Normal { std });
        let uniform = |bound| Rule::Drawn(Draw::Uniform { bound });
        match self {
            Self::Auto => unreachable!("Init::values: the network says what Auto is"),
            Self::Zeros => Rule::Constant(0.0),
            Self::Ones => Rule::Constant(1.0),
            Self::Constant(value) => Rule::Constant(*value),
            Self::Normal { std } => normal(*std),
            Self::Uniform { bound } => uniform(*bound),
            Self::XavierUniform => uniform(root(6.0, both)),
            Self::XavierNormal => normal(root(2.0, both)),
            Self::HeUniform => uniform(root(6.0, fan_in)),
            Self::HeNormal => normal(root(2.0, fan_in)),
            Self::LecunUniform => uniform(root(3.0, fan_in)),
            Self::LecunNormal => normal(root(1.0, fan_in)),
            Self::Function(function) => Rule::Function(function),
        }
    }
}

/// `√(numerator / fan)`.
fn root(numerator: f32, fan: usize) -> f32 {
    (numerator / fan as f32).sqrt()
}

/// Calls `see` with every index of a shape, in row-major order.
fn for_each_index(shape: &Shape, mut see: impl FnMut(&[usize])) {
    let extents = shape.extents();
    let mut index = vec![0; extents.len()];
    for _ in 0..shape.len() {
        see(&index);
        for (place, &extent) in index.iter_mut().zip(extents).rev() {
            *place += 1;
            if *place < extent {
                break;
            }
            *place = 0;
        }
    }
}

#[cfg(test)]
mod tests;
