mod blocks;

use super::Update;
use crate::ops::Group;
use crate::ops::{AdaGrad, Adam, AdamW, Layer, LeakyRelu, Optimizer, RmsProp, Schedule, Sgd};
use crate::reference::{Float, UpdateStep};
use crate::shape::Shape;
use crate::tensor::{Arena, Tensor};
use crate::testing::{
    Bench, FLUSHED, FOLDED, Fill, Numbers, ROUNDING, ULP, assert_close, folding_gpu, gpu,
};

/// Sizes around a workgroup's 256 invocations and 1,024 elements. `FOLDED` runs with dispatches in two dimensions.
const SIZES: [usize; 11] = [1, 2, 255, 256, 257, 997, 1023, 1024, 1025, 39_760, FOLDED];
const SLOTS: usize = 5;

/// A value with a bound on the error of its `f32` result.
#[derive(Clone, Copy)]
struct Bounded(f64, f64);

impl Bounded {
    fn plus(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        let magnitude = self.0.abs() + other.0.abs();
        Self(
            sum,
            self.1 + other.1 + (1.0 + 1e-5) * ROUNDING * magnitude + FLUSHED,
        )
    }

    /// Multiplies by a factor. The error bound includes the rounding of this factor to `f32`.
    fn times(self, factor: f64) -> Self {
        let value = self.0 * factor;
        Self(
            value,
            self.1 * factor.abs() + (2.0 + 1e-5) * ROUNDING * value.abs() + FLUSHED,
        )
    }

    fn squared(self) -> Self {
        let value = self.0 * self.0;
        let error = self.1 * (2.0 * self.0.abs() + self.1);
        Self(value, error + (1.0 + 1e-5) * ROUNDING * value + FLUSHED)
    }

    /// The error of `sqrt` in WGSL is the error of `inverseSqrt`, 2 ULP, plus the error of a division, 2.5 ULP.
    fn root(self) -> Self {
        let value = self.0.sqrt();
        // If the error bound exceeds the value, the computed root may be anything from 0 to `√(value + bound)`.
        let error = if self.0 > self.1 {
            value - (self.0 - self.1).sqrt()
        } else {
            (self.0 + self.1).sqrt()
        };
        Self(value, error + 5.0 * ULP * (value + error))
    }

    fn over(self, other: Self) -> Self {
        let value = self.0 / other.0;
        let smallest = other.0 - other.1;
        assert!(smallest > 0.0, "the bound says nothing");
        let error = (self.1 + value.abs() * other.1) / smallest;
        Self(value, error + 2.5 * ULP * (value.abs() + error) + FLUSHED)
    }
}

/// Computes one element's parameter and state after an update, by the shader's formula, with error bounds.
type Formula = fn(p: f64, gradient: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3];

const DECAY: f32 = 0.25;
/// Keeps every denominator above its error bound, even where a gradient and its weight decay cancel each other.
const EPSILON: f32 = 1e-4;

fn exact(value: f64) -> Bounded {
    Bounded(value, 0.0)
}

fn decayed(p: f64, gradient: f64) -> Bounded {
    exact(p).times(DECAY.into()).plus(exact(gradient))
}

fn step(p: Bounded, by: Bounded) -> Bounded {
    p.plus(by.times(-1.0))
}

fn plain(p: f64, g: f64, _: [f64; 2], [rate, ..]: [f64; 3]) -> [Bounded; 3] {
    [
        step(exact(p), decayed(p, g).times(rate)),
        exact(0.0),
        exact(0.0),
    ]
}

fn momentum(p: f64, g: f64, [v, _]: [f64; 2], [rate, ..]: [f64; 3]) -> [Bounded; 3] {
    let v = exact(v).times(0.9f32.into()).plus(decayed(p, g));
    [step(exact(p), v.times(rate)), v, exact(0.0)]
}

fn nesterov(p: f64, g: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3] {
    let v = momentum(p, g, state, coefficients)[1];
    let ahead = decayed(p, g).plus(v.times(0.9f32.into()));
    [step(exact(p), ahead.times(coefficients[0])), v, exact(0.0)]
}

fn adam_after(
    p: Bounded,
    g: Bounded,
    [m, v]: [f64; 2],
    [rate, first, second]: [f64; 3],
) -> [Bounded; 3] {
    let [rest1, rest2] = [0.9f32, 0.999f32].map(|beta| 1.0 - f64::from(beta));
    let m = g.plus(exact(-m)).times(rest1).plus(exact(m));
    let v = exact(v)
        .times(0.999f32.into())
        .plus(g.squared().times(rest2));
    let below = v.root().times(second).plus(exact(EPSILON.into()));
    [step(p, m.times(rate * first).over(below)), m, v]
}

fn adam(p: f64, g: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3] {
    adam_after(exact(p), decayed(p, g), state, coefficients)
}

fn adam_w(p: f64, g: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3] {
    let less = exact(p).times(f64::from(DECAY) * coefficients[0]);
    adam_after(step(exact(p), less), exact(g), state, coefficients)
}

fn lazy(formula: Formula, p: f64, g: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3] {
    if g == 0.0 {
        [p, state[0], state[1]].map(exact)
    } else {
        formula(p, g, state, coefficients)
    }
}

fn lazy_adam(p: f64, g: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3] {
    lazy(adam, p, g, state, coefficients)
}

fn lazy_adam_w(p: f64, g: f64, state: [f64; 2], coefficients: [f64; 3]) -> [Bounded; 3] {
    lazy(adam_w, p, g, state, coefficients)
}

fn ada_grad(p: f64, g: f64, [s, _]: [f64; 2], [rate, ..]: [f64; 3]) -> [Bounded; 3] {
    let g = decayed(p, g);
    let s = exact(s).plus(g.squared());
    let below = s.root().plus(exact(EPSILON.into()));
    [step(exact(p), g.times(rate).over(below)), s, exact(0.0)]
}

fn rms_prop(p: f64, g: f64, [s, _]: [f64; 2], [rate, ..]: [f64; 3]) -> [Bounded; 3] {
    let g = decayed(p, g);
    let rest = 1.0 - f64::from(0.99f32);
    let s = exact(s).times(0.99f32.into()).plus(g.squared().times(rest));
    let below = s.root().plus(exact(EPSILON.into()));
    [step(exact(p), g.times(rate).over(below)), s, exact(0.0)]
}

fn optimizers() -> Vec<(Box<dyn Optimizer>, Formula)> {
    let sgd = Sgd::new(0.1).weight_decay(DECAY);
    let decayed = Adam::new(1e-3).epsilon(EPSILON).weight_decay(DECAY);
    let decoupled = AdamW::new(0.5).epsilon(EPSILON).weight_decay(DECAY);
    vec![
        (Box::new(sgd), plain),
        (Box::new(sgd.momentum(0.9)), momentum),
        (Box::new(sgd.momentum(0.9).nesterov()), nesterov),
        (Box::new(decayed), adam),
        (Box::new(decoupled), adam_w),
        (Box::new(decayed.lazy()), lazy_adam),
        (Box::new(decoupled.lazy()), lazy_adam_w),
        (
            Box::new(AdaGrad::new(0.5).epsilon(EPSILON).weight_decay(DECAY)),
            ada_grad,
        ),
        (
            Box::new(RmsProp::new(0.01).epsilon(EPSILON).weight_decay(DECAY)),
            rms_prop,
        ),
    ]
}

/// Returns an arena of one tensor, which a [`Bench`] has created.
fn arena(tensor: &Tensor) -> Arena {
    Arena::of(vec![tensor.clone()])
}

/// Checks the GPU's update, between guard bands, and the reference in `f64` against the formula and its bounds.
fn check(optimizer: &dyn Optimizer, formula: Formula, elements: usize, fill: Fill, taken: u32) {
    let case = format!("{optimizer:?} of {elements} elements, {fill:?}, step {taken}");
    let mut numbers = Numbers::new(elements as u64);
    let before = numbers.fill(elements, fill);
    let slopes = numbers.fill(elements, fill);
    // Running sums of squares are never negative; other running means may be.
    let is_square = |name: &str| ["square", "sum"].contains(&name);
    let kept = optimizer.state().iter().map(|name| {
        let values = numbers.fill(elements, Fill::Moderate);
        let absolute = |value: f32| if is_square(name) { value.abs() } else { value };
        values.into_iter().map(absolute).collect::<Vec<_>>()
    });
    let kept: Vec<Vec<f32>> = kept.collect();

    let bench = Bench::new(if elements == FOLDED {
        folding_gpu()
    } else {
        gpu()
    });
    let parameters = bench.changed("parameters", [1, elements], &before);
    let gradients = bench.input("gradients", [1, elements], &slopes);
    let state: Vec<_> = kept
        .iter()
        .map(|values| bench.changed("state", [1, elements], values))
        .collect();
    let mut rows = [[f32::NAN; 4]; SLOTS];
    rows[taken as usize % SLOTS] = optimizer.coefficients(taken.into());
    let coefficients = bench.input("coefficients", [SLOTS, 4], rows.as_flattened());
    let step_count = bench.input_u32("step count", [1, 1], &[taken]);
    let arenas: Vec<Arena> = state.iter().map(arena).collect();
    bench.run(&case, 1, |recorder| {
        let pass = Update {
            parameters: &arena(&parameters),
            gradients: &arena(&gradients),
            groups: &[Group::new()],
            state: &arenas,
            coefficients: &coefficients,
            step_count: &step_count,
        };
        assert!(optimizer.update(recorder, pass).is_ok());
    });

    let [rate, first, second, _] = optimizer.coefficients(taken.into()).map(f64::from);
    let at = |element: usize| {
        let state = [0, 1].map(|name| kept.get(name).map_or(0.0, |s| s[element].into()));
        formula(
            before[element].into(),
            slopes[element].into(),
            state,
            [rate, first, second],
        )
    };
    let expected: Vec<[Bounded; 3]> = (0..elements).map(at).collect();
    for (index, tensor) in std::iter::once(&parameters).chain(&state).enumerate() {
        let values = expected.iter().map(|all| all[index].0);
        let errors = expected.iter().map(|all| all[index].1);
        assert_close(&case, &bench.read(tensor), values, errors);
    }

    let column = |values: &[f32]| {
        ndarray::Array2::from_shape_fn((1, elements), |(_, i)| f64::from(values[i]))
    };
    let mut parameter = column(&before);
    let mut state: Vec<_> = kept.iter().map(|values| column(values)).collect();
    let at = UpdateStep::new(taken.into(), rate);
    let mut kept: Vec<_> = state.iter_mut().map(|kept| kept.view_mut()).collect();
    let rule = optimizer.reference();
    f64::rule(&rule).update(at, parameter.view_mut(), column(&slopes).view(), &mut kept);
    for (index, found) in std::iter::once(&parameter).chain(&state).enumerate() {
        for (element, (found, all)) in found.iter().zip(&expected).enumerate() {
            let Bounded(value, error) = all[index];
            assert!(
                (found - value).abs() <= error,
                "{case}: reference, {element}: {found} {value} ± {error}"
            );
        }
    }
}

#[test]
fn every_update_is_its_formula() {
    for (optimizer, formula) in optimizers() {
        for (index, elements) in SIZES.into_iter().enumerate() {
            let fill = [Fill::Moderate, Fill::Integers][index % 2];
            check(
                &*optimizer,
                formula,
                elements,
                fill,
                [0, 1, 7, 4_000][index % 4],
            );
        }
    }
}

#[test]
fn plain_descent_of_integers_is_exact() {
    fn exactly(p: f64, g: f64, _: [f64; 2], [rate, ..]: [f64; 3]) -> [Bounded; 3] {
        [exact(p - rate * g), exact(0.0), exact(0.0)]
    }
    for elements in SIZES {
        check(&Sgd::new(0.5), exactly, elements, Fill::Integers, 3);
    }
}

#[test]
fn schedules_are_their_formulas() {
    let factors = |schedule: Schedule, steps: &[u64]| -> Vec<f64> {
        steps.iter().map(|&step| schedule.factor(step)).collect()
    };
    assert_eq!(factors(Schedule::constant(), &[0, 9]), [1.0, 1.0]);
    let halved = Schedule::step(10, 0.5);
    assert_eq!(
        factors(halved.clone(), &[0, 9, 10, 19, 20]),
        [1.0, 1.0, 0.5, 0.5, 0.25]
    );
    let wave = factors(Schedule::cosine(4), &[0, 1, 2, 3, 4, 9]);
    let root = 0.5f64.sqrt();
    let expected = [1.0, (1.0 + root) / 2.0, 0.5, (1.0 - root) / 2.0, 0.0, 0.0];
    assert!(
        wave.iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-15),
        "{wave:?}"
    );
    let warm = factors(halved.warm_up(4), &[0, 1, 3, 4, 13, 14]);
    assert_eq!(warm, [0.25, 0.5, 1.0, 1.0, 1.0, 0.5]);
}

#[test]
fn a_function_is_known_by_its_name() {
    let line = |name: &str| Schedule::of(name, |step| step as f64).warm_up(2);
    let schedule = line("line");
    assert_eq!(
        format!("{schedule:?}"),
        "Schedule { shape: Of(\"line\"), warm_up: 2 }"
    );
    let factors = [0, 1, 2, 5].map(|step| schedule.factor(step));
    assert_eq!(factors, [0.5, 1.0, 0.0, 3.0]);
    assert_eq!(schedule, schedule.clone());
    assert_ne!(schedule, line("line"));
}

/// Compares bits, because halving is exact. The other coefficients, such as Adam's bias corrections, must not change.
#[test]
fn a_schedule_changes_the_learning_rate_and_nothing_else() {
    let optimizers: [Box<dyn Optimizer>; 3] = [
        Box::new(Sgd::new(0.5)),
        Box::new(Adam::new(0.5)),
        Box::new(AdamW::new(0.5)),
    ];
    for plain in optimizers {
        let name = format!("{plain:?}");
        let bits = |optimizer: &dyn Optimizer, step| optimizer.coefficients(step).map(f32::to_bits);
        let of_steps = [0, 7, 9, 10, 19, 20];
        let mut expected = of_steps.map(|step| bits(&*plain, step));
        let rates = [0.5f32, 0.5, 0.5, 0.25, 0.25, 0.125];
        for (coefficients, rate) in expected.iter_mut().zip(rates) {
            coefficients[0] = rate.to_bits();
        }
        let scheduled = plain.scheduled(Schedule::step(10, 0.5));
        let found = of_steps.map(|step| bits(&scheduled, step));
        assert_eq!(found, expected, "{name}");
    }
}

/// A GPU may treat subnormal numbers as 0: a subnormal epsilon would allow 0/0, and a subnormal rate would do nothing.
#[test]
fn settings_that_a_gpu_may_take_for_zero_are_refused() {
    let tiny = 1e-40;
    let least = f32::MIN_POSITIVE;
    let with = |value: f32| -> [(Box<dyn Optimizer>, &'static str); 8] {
        [
            (Box::new(Adam::new(0.1).epsilon(value)), "epsilon"),
            (Box::new(AdamW::new(0.1).epsilon(value)), "epsilon"),
            (Box::new(RmsProp::new(0.1).epsilon(value)), "epsilon"),
            (Box::new(AdaGrad::new(0.1).epsilon(value)), "epsilon"),
            (Box::new(Sgd::new(value)), "learning rate"),
            (Box::new(Sgd::new(0.1).weight_decay(value)), "weight decay"),
            (
                Box::new(AdamW::new(0.1).weight_decay(value)),
                "weight decay",
            ),
            (
                Box::new(Sgd::new(0.1).clip_norm(value)),
                "norm of the gradient",
            ),
        ]
    };
    for (optimizer, name) in with(tiny) {
        let message = optimizer.check().map_err(|error| error.to_string());
        let tells = |message: &String| {
            [
                name,
                "1.1754944e-38",
                "GPUs treat smaller numbers as 0",
                "1e-40",
            ]
            .iter()
            .all(|part| message.contains(part))
        };
        assert!(message.as_ref().is_err_and(tells), "{message:?}");
    }
    for (optimizer, name) in with(least) {
        assert!(optimizer.check().is_ok(), "{name}");
    }
    let slope = |slope| LeakyRelu::new(slope).spec(&Shape::from(1));
    assert!(slope(tiny).is_err() && slope(-tiny).is_err());
    assert!(slope(0.0).is_ok() && slope(-0.0).is_ok() && slope(-least).is_ok());
    // A learning rate that a schedule makes subnormal becomes 0, on both engines.
    let halved = Sgd::new(least).scheduled(Schedule::step(1, 0.5));
    let rate = |step| halved.coefficients(step)[0].to_bits();
    assert_eq!([rate(0), rate(1)], [least.to_bits(), 0]);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let cycle = || Schedule::one_cycle(10);
    let wrong: [(Box<dyn Optimizer>, &str); 16] = [
        (Box::new(Sgd::new(0.0)), "learning rate"),
        (Box::new(Sgd::new(f32::NAN)), "learning rate"),
        (Box::new(Sgd::new(0.1).momentum(1.0)), "momentum"),
        (Box::new(Sgd::new(0.1).nesterov()), "momentum"),
        (Box::new(Sgd::new(0.1).weight_decay(-1.0)), "weight decay"),
        (Box::new(Adam::new(0.1).betas(1.0, 0.9)), "first beta"),
        (Box::new(Adam::new(0.1).betas(0.9, -0.1)), "second beta"),
        (Box::new(AdamW::new(0.1).epsilon(0.0)), "epsilon"),
        (Box::new(AdaGrad::new(-0.1)), "learning rate"),
        (Box::new(RmsProp::new(0.1).alpha(f32::NAN)), "alpha"),
        (
            Box::new(Sgd::new(0.1).scheduled(Schedule::cosine(0))),
            "number of steps of a schedule",
        ),
        (
            Box::new(Sgd::new(0.1).scheduled(Schedule::step(1, 0.0))),
            "factor of a schedule",
        ),
        (
            Box::new(Sgd::new(0.1).scheduled(Schedule::one_cycle(0))),
            "number of steps of a schedule",
        ),
        (
            Box::new(Sgd::new(0.1).scheduled(cycle().pct_start(1.5))),
            "pct_start of a schedule",
        ),
        (
            Box::new(Sgd::new(0.1).scheduled(cycle().div_factor(0.0))),
            "div_factor of a schedule",
        ),
        (
            Box::new(Sgd::new(0.1).scheduled(cycle().final_div_factor(f64::NAN))),
            "final_div_factor of a schedule",
        ),
    ];
    for (optimizer, name) in wrong {
        let error = optimizer.check().map_err(|error| error.to_string());
        assert!(
            error.clone().is_err_and(|message| message.contains(name)),
            "{optimizer:?}: {error:?}"
        );
    }
}
