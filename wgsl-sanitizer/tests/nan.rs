//! Comparisons with NaN: as in IEEE 754, and with other results that WGSL allows.

use wgsl_sanitizer::{
    Buffer, Dispatch, Error, NanComparisons, Rounding, Settings, Shader, sanitize,
};

const NAN: f32 = f32::NAN;

/// Computes an expression of `n`, which is a NaN, and `one`, which is 1. Returns three values: with comparisons with
/// NaN as in IEEE 754, always true, and always false.
fn values(expression: &str, settings: &Settings) -> Result<[f32; 3], Error> {
    let mut values = [0.0; 3];
    for (value, comparisons) in values.iter_mut().zip(NanComparisons::ways(0)) {
        let settings = settings.clone().nan_comparisons(comparisons);
        *value = value_of(expression, &settings)?;
    }
    Ok(values)
}

fn value_of(expression: &str, settings: &Settings) -> Result<f32, Error> {
    let enabled = if expression.contains("f16") {
        "enable f16;"
    } else {
        ""
    };
    let text = format!(
        "{enabled}
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1) fn main() {{ let n = x[0]; let one = x[1]; y[0] = f32({expression}); }}"
    );
    let kernel = Shader::parse("nan.wgsl", &text)?.kernel("main", &[])?;
    let mut buffers = [Buffer::from_f32s(&[NAN, 1.0]), Buffer::unwritten(1)];
    let dispatch = Dispatch::new([1, 1, 1]).bind(0, 0, 0).bind(0, 1, 1);
    let report = sanitize(&kernel, &dispatch, &mut buffers, settings)?;
    assert!(report.is_clean(), "{expression}: {report}");
    Ok(buffers[1].f32s()[0])
}

/// Checks the three values that [`values`] returns for each expression.
fn check(cases: &[(&str, [f32; 3])]) -> Result<(), Error> {
    for (expression, expected) in cases {
        let found = values(expression, &Settings::default())?;
        // Any NaN equals any other NaN.
        let is_same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(
            found.iter().zip(expected).all(is_same),
            "{expression}: {found:?} instead of {expected:?}"
        );
    }
    Ok(())
}

#[test]
fn operators_of_scalars_and_vectors() -> Result<(), Error> {
    let unequal = [1.0, 1.0, 0.0];
    let other = [0.0, 1.0, 0.0];
    for operator in ["==", "<", "<=", ">", ">=", "!="] {
        let expected = if operator == "!=" { unequal } else { other };
        for (left, right) in [("n", "one"), ("one", "n"), ("n", "n")] {
            check(&[
                (&format!("{left} {operator} {right}"), expected),
                (&format!("f16({left}) {operator} f16({right})"), expected),
                (
                    &format!("(vec3f(one, {left}, one) {operator} vec3f({right})).y"),
                    expected,
                ),
            ])?;
        }
    }
    check(&[("bool(n)", unequal), ("!(n > one)", [1.0, 0.0, 1.0])])
}

#[test]
fn functions_that_are_defined_by_comparisons() -> Result<(), Error> {
    check(&[
        ("max(n, one)", [1.0, 1.0, NAN]),
        ("max(one, n)", [1.0, NAN, 1.0]),
        ("min(n, one)", [1.0, 1.0, NAN]),
        ("min(one, n)", [1.0, NAN, 1.0]),
        ("max(n, n)", [NAN; 3]),
        ("max(vec2f(n, one), vec2f(one)).x", [1.0, 1.0, NAN]),
        ("max(f16(n), f16(one))", [1.0, 1.0, NAN]),
        ("clamp(n, one, 2.0)", [1.0, 1.0, NAN]),
        ("clamp(one, n, 2.0)", [1.0, 2.0, 1.0]),
        ("saturate(n)", [0.0, 0.0, NAN]),
        ("sign(n)", [0.0, 1.0, 0.0]),
        ("step(n, one)", [0.0, 1.0, 0.0]),
        ("step(one, n)", [0.0, 1.0, 0.0]),
        ("smoothstep(0.0, 1.0, n)", [0.0, 0.0, NAN]),
        (
            "faceForward(vec2f(one), vec2f(n), vec2f(one)).x",
            [-1.0, 1.0, -1.0],
        ),
        ("refract(vec2f(one), vec2f(one), n).x", [NAN, 0.0, NAN]),
    ])
}

/// The setting for comparisons with NaN does not affect integers with the bits of a NaN, numbers that are not NaN, and
/// functions that do not compare.
#[test]
fn all_else_is_as_it_was() -> Result<(), Error> {
    check(&[
        ("bitcast<u32>(n) == bitcast<u32>(n)", [1.0; 3]),
        ("max(bitcast<u32>(n), 1u) == 1u", [0.0; 3]),
        ("max(bitcast<i32>(n), 1) == 1", [0.0; 3]),
        ("abs(n) + n * 0.0", [NAN; 3]),
        ("max(one, 2.0) - min(one, 2.0)", [1.0; 3]),
        ("one < 2.0", [1.0; 3]),
        ("one != one", [0.0; 3]),
        ("sign(-one) * step(2.0, one)", [-0.0; 3]),
        ("smoothstep(0.0, 2.0, one)", [0.5; 3]),
        ("clamp(one, 2.0, 3.0)", [2.0; 3]),
        ("bool(one)", [1.0; 3]),
        (
            "faceForward(vec2f(one), vec2f(one), vec2f(-one)).x",
            [1.0; 3],
        ),
    ])
}

/// Random rounding and the setting for NaN can be combined.
#[test]
fn they_go_with_rounding() -> Result<(), Error> {
    let settings = Settings::default().rounding(Rounding::WithinAccuracy(3));
    let [_, of_true, of_false] = values("max(n, one)", &settings)?;
    assert_eq!(of_true.to_bits(), 1.0_f32.to_bits());
    assert!(of_false.is_nan());
    let selected = values("select(one, 3.0, n > one)", &settings)?;
    assert_eq!(
        selected.map(f32::to_bits),
        [1.0_f32, 3.0, 1.0].map(f32::to_bits)
    );
    Ok(())
}

/// With three comparisons in a kernel, every combination of results occurs for some seed. The result depends on the
/// comparison's place in the source, not on the order of the invocations.
#[test]
fn places_are_chosen_apart() -> Result<(), Error> {
    let three = "select(0.0, 1.0, n > one) + select(0.0, 2.0, n < one) + select(4.0, 0.0, max(n, one) == 1.0)";
    let ways = NanComparisons::ways(40).skip(3);
    let values = ways.map(|way| value_of(three, &Settings::default().nan_comparisons(way)));
    let mut values: Vec<f32> = values.collect::<Result<_, _>>()?;
    values.sort_by(f32::total_cmp);
    values.dedup();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    Ok(())
}
