//! Initial values of parameters.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

use crate::error::{Error, number};

/// How a parameter starts.
///
/// `fan_in` and `fan_out` are the rows and columns of the parameter: what a [`Linear`] layer's
/// weight takes in and gives out.
///
/// [`Linear`]: crate::ops::Linear
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// Normally distributed around 0.
    Normal {
        /// Standard deviation; the book's is 0.01.
        std: f32,
    },
    /// Uniform in −b…b, `b = √(6 / (fan_in + fan_out))` (Glorot and Bengio, 2010): for layers with
    /// [`Tanh`](crate::ops::Tanh) or [`Sigmoid`](crate::ops::Sigmoid). PyTorch's `xavier_uniform_`
    /// with its default gain, 1.
    #[doc(alias = "GlorotUniform")]
    #[doc(alias = "xavier_uniform")]
    XavierUniform,
    /// Normally distributed around 0, with a standard deviation of `√(2 / (fan_in + fan_out))` (Glorot
    /// and Bengio, 2010). PyTorch's `xavier_normal_` with its default gain, 1.
    #[doc(alias = "GlorotNormal")]
    #[doc(alias = "xavier_normal")]
    XavierNormal,
    /// Uniform in −b…b, `b = √(6 / fan_in)` (He, Zhang, Ren and Sun, 2015): for layers with
    /// [`Relu`](crate::ops::Relu). PyTorch's `kaiming_uniform_` with `nonlinearity="relu"`.
    #[doc(alias = "KaimingUniform")]
    #[doc(alias = "kaiming_uniform")]
    HeUniform,
    /// Normally distributed around 0, with a standard deviation of `√(2 / fan_in)` (He, Zhang, Ren and
    /// Sun, 2015). PyTorch's `kaiming_normal_` with `nonlinearity="relu"`.
    #[doc(alias = "KaimingNormal")]
    #[doc(alias = "kaiming_normal")]
    HeNormal,
}

/// No value is more than 30 deviations away: the chance of one is below 10⁻¹⁹⁷.
const LARGEST_STD: f32 = 1e37;

/// A distribution around 0.
#[derive(Debug, Clone, Copy)]
enum Draw {
    Normal { std: f32 },
    Uniform { bound: f32 },
}

impl Init {
    /// Whether its setting makes sense.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self {
            Self::Normal { std } if !(0.0..=LARGEST_STD).contains(&std) => {
                let name = "standard deviation of initial values";
                let expected = format!("0 to {LARGEST_STD:e}, so that every value is finite");
                Err(Error::setting(name, expected, number(std)))
            }
            _ => Ok(()),
        }
    }

    /// Values for a parameter of the shape (`fan_in`, `fan_out`), row after row, the same for the
    /// same seed and stream on every platform.
    pub(crate) fn values(self, [fan_in, fan_out]: [usize; 2], seed: u64, stream: u64) -> Vec<f32> {
        let both = fan_in + fan_out;
        let draw = match self {
            Self::Zeros => return vec![0.0; fan_in * fan_out],
            Self::Normal { std } => Draw::Normal { std },
            Self::XavierUniform => Draw::Uniform {
                bound: root(6.0, both),
            },
            Self::XavierNormal => Draw::Normal {
                std: root(2.0, both),
            },
            Self::HeUniform => Draw::Uniform {
                bound: root(6.0, fan_in),
            },
            Self::HeNormal => Draw::Normal {
                std: root(2.0, fan_in),
            },
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let value = |_| match draw {
            Draw::Normal { std } => {
                let value: f32 = StandardNormal.sample(&mut rng);
                std * value
            }
            Draw::Uniform { bound } => {
                // In 0…1 in steps of 2⁻²⁴, so that only the product is rounded.
                let value: f32 = StandardUniform.sample(&mut rng);
                bound * (2.0 * value - 1.0)
            }
        };
        (0..fan_in * fan_out).map(value).collect()
    }
}

/// `√(numerator / fan)`.
fn root(numerator: f32, fan: usize) -> f32 {
    (numerator / fan as f32).sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Init, LARGEST_STD};

    const FAN_IN: usize = 300;
    const FAN_OUT: usize = 200;
    const SHAPE: [usize; 2] = [FAN_IN, FAN_OUT];

    #[test]
    fn values_of_a_seed_stay_those_of_earlier_versions() {
        let values = Init::Normal { std: 0.01 }.values([2, 3], 42, 3);
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        let expected = [
            3_146_099_467,
            989_929_206,
            1_000_761_751,
            3_060_442_747,
            3_158_301_936,
            1_000_935_348,
        ];
        assert_eq!(bits, expected);
        assert_eq!(Init::Zeros.values([2, 3], 42, 3), [0.0; 6]);
    }

    /// Mean and variance within 5 standard errors, which for n values of variance σ² and kurtosis κ
    /// (3 if normal, 9/5 if uniform) are σ/√n and σ²·√((κ − 1)/n).
    fn check_moments(init: Init, variance: f64, kurtosis: f64) -> Vec<f32> {
        let values = init.values(SHAPE, 7, 0);
        let n = (FAN_IN * FAN_OUT) as f64;
        assert_eq!(values.len(), FAN_IN * FAN_OUT);
        let moment = |power| {
            values
                .iter()
                .map(|&v| f64::from(v).powi(power))
                .sum::<f64>()
                / n
        };
        assert!(moment(1).abs() < 5.0 * (variance / n).sqrt(), "{init:?}");
        let error = 5.0 * variance * ((kurtosis - 1.0) / n).sqrt();
        assert!(
            (moment(2) - variance).abs() < error,
            "{init:?}: variance {} instead of {variance} ± {error}",
            moment(2)
        );
        values
    }

    #[test]
    fn normal_values_have_their_variance() {
        let (fan_in, fan_out) = (FAN_IN as f64, FAN_OUT as f64);
        check_moments(Init::Normal { std: 0.5 }, 0.25, 3.0);
        check_moments(Init::XavierNormal, 2.0 / (fan_in + fan_out), 3.0);
        check_moments(Init::HeNormal, 2.0 / fan_in, 3.0);
    }

    #[test]
    fn uniform_values_have_their_variance_and_fill_their_range() {
        let (fan_in, fan_out) = (FAN_IN as f64, FAN_OUT as f64);
        for (init, bound) in [
            (Init::XavierUniform, (6.0 / (fan_in + fan_out)).sqrt()),
            (Init::HeUniform, (6.0 / fan_in).sqrt()),
        ] {
            let values = check_moments(init, bound * bound / 3.0, 9.0 / 5.0);
            let [least, largest] =
                [f32::min, f32::max].map(|of| values.iter().copied().fold(0.0, of));
            // None beyond the bound but for its rounding; the outermost of 60,000 within a
            // thousandth of it (each side fails that with a probability of e^−30).
            for outermost in [-f64::from(least), f64::from(largest)] {
                let share = outermost / bound;
                assert!((0.999..1.0 + 1e-6).contains(&share), "{init:?}: {share}");
            }
        }
    }

    #[test]
    fn no_value_is_infinite() {
        let largest = Init::Normal { std: LARGEST_STD };
        largest.check().unwrap();
        assert!(largest.values(SHAPE, 7, 0).iter().all(|v| v.is_finite()));
        for std in [3e38, f32::INFINITY, f32::NAN, -1.0] {
            let error = Init::Normal { std }.check().unwrap_err().to_string();
            assert!(
                error.contains("must be 0 to 1e37, so that every"),
                "{error}"
            );
        }
    }

    #[test]
    fn fans_are_not_confused() {
        let variance = |shape| {
            let values = Init::HeNormal.values(shape, 7, 0);
            values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32
        };
        // 2/10 and 2/1000, with standard errors of a hundredth of themselves or so.
        assert!(variance([10, 1000]) > 50.0 * variance([1000, 10]));
    }
}
