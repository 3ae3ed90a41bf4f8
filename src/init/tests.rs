#![allow(clippy::unwrap_used)]

use super::{Init, LARGEST_STD};
use crate::error::Error;
use crate::shape::Shape;

const FAN_IN: usize = 300;
const FAN_OUT: usize = 200;

fn values(init: &Init, shape: [usize; 2]) -> Vec<f32> {
    init.values(&Shape::from(shape), shape, 7, 0)
}

fn sampled(init: &Init) -> Vec<f32> {
    values(init, [FAN_IN, FAN_OUT])
}

#[test]
fn values_of_a_seed_stay_those_of_earlier_versions() {
    let bits_of = |init: &Init, shape: Shape| -> Vec<u32> {
        let values = init.values(&shape, [2, 3], 42, 3);
        values.iter().map(|value| value.to_bits()).collect()
    };
    let expected = [
        3_146_099_467,
        989_929_206,
        1_000_761_751,
        3_060_442_747,
        3_158_301_936,
        1_000_935_348,
    ];
    let init = Init::Normal { std: 0.01 };
    // Row-major order, for every shape.
    for shape in [Shape::from([2, 3]), Shape::from(6), Shape::from([3, 1, 2])] {
        assert_eq!(bits_of(&init, shape), expected, "{shape}");
    }
    let uniform = Init::XavierUniform.values(&Shape::from([2, 3]), [2, 3], 42, 0);
    let bits: Vec<u32> = uniform.iter().map(|value| value.to_bits()).collect();
    let expected = [
        3_206_201_623,
        1_053_559_320,
        3_209_057_444,
        1_065_126_789,
        1_058_585_431,
        3_189_939_562,
    ];
    assert_eq!(bits, expected);
}

#[test]
fn constants_and_functions_are_what_they_say() {
    let shape = Shape::from([2, 1, 3]);
    let of = |init: &Init| init.values(&shape, [1, 1], 1, 1);
    assert_eq!(of(&Init::Zeros), [0.0; 6]);
    assert_eq!(of(&Init::Ones), [1.0; 6]);
    assert_eq!(of(&Init::Constant(-0.5)), [-0.5; 6]);
    let number = |index: &[usize]| match *index {
        [a, b, c] => (100 * a + 10 * b + c) as f32,
        _ => f32::NAN,
    };
    let function = Init::function(number);
    assert_eq!(of(&function), [0.0, 1.0, 2.0, 100.0, 101.0, 102.0]);
    assert_eq!(of(&function.clone()), of(&function));
    function.check_values("w", &shape, [1, 1]).unwrap();
    assert_eq!(format!("{function:?}"), "Function(Function)");
    let vector = Init::function(|index| index[0] as f32);
    assert_eq!(
        vector.values(&Shape::from(3), [1, 1], 1, 1),
        [0.0, 1.0, 2.0]
    );
}

/// Checks that mean and variance are within 5 standard errors. For n values with variance σ² and kurtosis κ (3 for a
/// normal distribution, 9/5 for a uniform one), the standard errors are σ/√n and σ²·√((κ − 1)/n).
fn check_moments(init: &Init, variance: f64, kurtosis: f64) -> Vec<f32> {
    let values = sampled(init);
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
    let fan_in = FAN_IN as f64;
    let fan_out = FAN_OUT as f64;
    check_moments(&Init::Normal { std: 0.5 }, 0.25, 3.0);
    check_moments(&Init::XavierNormal, 2.0 / (fan_in + fan_out), 3.0);
    check_moments(&Init::HeNormal, 2.0 / fan_in, 3.0);
    check_moments(&Init::LecunNormal, 1.0 / fan_in, 3.0);
}

#[test]
fn uniform_values_have_their_variance_and_fill_their_range() {
    let fan_in = FAN_IN as f64;
    let fan_out = FAN_OUT as f64;
    for (init, bound) in [
        (Init::Uniform { bound: 0.25 }, 0.25),
        (Init::XavierUniform, (6.0 / (fan_in + fan_out)).sqrt()),
        (Init::HeUniform, (6.0 / fan_in).sqrt()),
        (Init::LecunUniform, (3.0 / fan_in).sqrt()),
    ] {
        let values = check_moments(&init, bound * bound / 3.0, 9.0 / 5.0);
        let [least, largest] = [f32::min, f32::max].map(|of| values.iter().copied().fold(0.0, of));
        // No value lies beyond the bound, except by rounding. The outermost of 60,000 values lies within a thousandth
        // of the bound (the chance of failure is e^−30 on each side).
        for outermost in [-f64::from(least), f64::from(largest)] {
            let share = outermost / bound;
            assert!((0.999..1.0 + 1e-6).contains(&share), "{init:?}: {share}");
        }
    }
}

#[test]
fn no_value_is_infinite() {
    for largest in [
        Init::Normal { std: LARGEST_STD },
        Init::Uniform { bound: f32::MAX },
        Init::Constant(f32::MIN),
    ] {
        largest.check().unwrap();
        assert!(sampled(&largest).iter().all(|v| v.is_finite()));
    }
    for value in [f32::INFINITY, f32::NAN, -1.0] {
        for (init, told) in [
            (
                Init::Normal { std: value },
                "must be 0 to 1e37, so that every",
            ),
            (
                Init::Uniform { bound: value },
                "must be 0 to 3.4028235e38, so that",
            ),
        ] {
            let error = init.check().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
    assert!(Init::Normal { std: 3e38 }.check().is_err());
    for value in [f32::INFINITY, f32::NAN] {
        let error = Init::Constant(value).check().unwrap_err().to_string();
        assert!(
            error.contains("initial value must be a finite number"),
            "{error}"
        );
    }
}

#[test]
fn values_of_a_function_and_fans_are_looked_at() {
    let shape = Shape::from([2, 3]);
    let check = |init: &Init, fans| init.check_values("layers.0.weight", &shape, fans);
    let infinite_at = |row, column| {
        let at = move |index: &[usize]| index == [row, column];
        Init::function(move |index| if at(index) { f32::INFINITY } else { 1.0 })
    };
    let error = check(&infinite_at(1, 2), [2, 3]).unwrap_err().to_string();
    let told = "initial value of layers.0.weight at [1, 2] must be a finite number; it is inf";
    assert_eq!(error, told);
    check(&infinite_at(2, 2), [2, 3]).unwrap();
    for init in [
        Init::Auto,
        Init::HeUniform,
        Init::HeNormal,
        Init::LecunUniform,
        Init::LecunNormal,
    ] {
        let error = check(&init, [0, 3]).unwrap_err().to_string();
        assert!(error.contains("fan_in of layers.0.weight"), "{error}");
        check(&init, [1, 0]).unwrap();
    }
    for init in [Init::XavierUniform, Init::XavierNormal] {
        assert!(check(&init, [0, 0]).is_err());
        check(&init, [0, 1]).unwrap();
    }
    check(&Init::Normal { std: 1.0 }, [0, 0]).unwrap();
    // Must be rejected before the function is called for more values than memory can hold.
    let endless = Shape::from([usize::MAX / 8, 2]);
    let refused = Init::function(|_| 0.0).check_values("w", &endless, [1, 1]);
    assert!(matches!(refused, Err(Error::Memory { .. })), "{refused:?}");
}

#[test]
fn fans_are_those_that_are_given() {
    let variance = |init: &Init, fans| {
        let values = init.values(&Shape::from([100, 100]), fans, 7, 0);
        values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32
    };
    // The expected variances are 2/10 and 2/1000. The standard error of each measured variance is about 1 %.
    let [few, many] = [[10, 1000], [1000, 10]].map(|fans| variance(&Init::HeNormal, fans));
    assert!(
        (0.18..0.22).contains(&few) && (0.0018..0.0022).contains(&many),
        "{few} {many}"
    );
    let of_both = |fans| variance(&Init::XavierNormal, fans);
    assert!((of_both([10, 1000]) - of_both([1000, 10])).abs() < 1e-9);
}
