//! Random rounding within the accuracy that WGSL requires.

use half::f16;
use wgsl_sanitizer::{
    Buffer, Dispatch, Error, Order, Report, Rounding, Settings, Shader, sanitize,
};

/// Runs `main` with these words in `x`. Returns the report, and the contents of `y`, which is as long as `x`.
fn run(text: &str, x: &[u32], settings: &Settings) -> Result<(Report, Vec<u32>), Error> {
    let declared = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x;";
    let text = match text.strip_prefix("enable f16;") {
        Some(text) => format!("enable f16;{declared}{text}}}"),
        None => format!("{declared}{text}}}"),
    };
    let kernel = Shader::parse("a.wgsl", &text)?.kernel("main", &[])?;
    let mut buffers = [Buffer::from_u32s(x), Buffer::zeros(x.len())];
    let groups = u32::try_from(x.len() / 64).unwrap_or(0);
    let dispatch = Dispatch::new([groups, 1, 1]).bind(0, 0, 0).bind(0, 1, 1);
    let report = sanitize(&kernel, &dispatch, &mut buffers, settings)?;
    Ok((report, buffers[1].u32s().to_vec()))
}

fn numbers(count: u16) -> Vec<u32> {
    let number = |index: u16| (f32::from(index) / 7.0 - 3.1).to_bits();
    (0..count).map(number).collect()
}

fn granted(seed: u64) -> Settings {
    Settings::default().rounding(Rounding::WithinAccuracy(seed))
}

#[test]
fn orders_are_not_compared() -> Result<(), Error> {
    let (report, _) = run("y[i] = x[i] * 1.1;", &numbers(128), &granted(5))?;
    assert!(report.is_clean(), "{report}");
    Ok(())
}

#[test]
fn a_run_is_what_its_seed_says() -> Result<(), Error> {
    let x = numbers(128);
    let with = |orders: &[Order], seed| {
        let settings = granted(seed).orders(orders.iter().copied());
        run("y[i] = x[i] * 1.1;", &x, &settings).map(|(_, y)| y)
    };
    let alone = with(&[Order::Forward], 5)?;
    assert_eq!(alone, with(&[Order::Forward, Order::Backward], 5)?);
    assert_ne!(alone, with(&[Order::Forward], 6)?);
    Ok(())
}

/// Returns the results of several runs with different seeds.
fn runs(text: &str, x: &[u32]) -> Result<Vec<Vec<u32>>, Error> {
    let run = |seed| run(text, x, &granted(seed).orders([Order::Forward]));
    (0..16).map(|seed| run(seed).map(|(_, y)| y)).collect()
}

#[test]
fn exact_results_stay() -> Result<(), Error> {
    for text in [
        "y[i] = x[i] * 2.0 + 0.5;",
        "let v = vec3f(x[i], 2.0, -1.0); y[i] = dot(v, v) + (mat2x2f(1, 0, 0, 1) * v.xy).y;",
        "y[i] = fma(x[i], 4.0, x[i]) - x[i];",
        "enable f16; y[i] = f32(f16(x[i]) * 2.0h + 1.0h - dot(vec2h(f16(x[i]), 1.0h), vec2h(2.0h)));",
    ] {
        let x: Vec<u32> = (0..64_u16)
            .map(|index| f32::from(index).to_bits())
            .collect();
        let (_, exact) = run(text, &x, &Settings::default())?;
        for y in runs(text, &x)? {
            assert_eq!(y, exact, "{text}");
        }
    }
    Ok(())
}

/// Each operation has its own random error, so the difference of two equal products is not always 0.
#[test]
fn products_of_vectors_and_matrices_are_moved() -> Result<(), Error> {
    for sum in [
        "dot(vec2f(a, -a), vec2f(a, a))",
        "(mat2x2f(a, 0.0, -a, 0.0) * vec2f(a, a)).x",
        "(vec2f(a, -a) * mat2x2f(a, a, 0.0, 0.0)).x",
        "(mat2x2f(a, 0.0, -a, 0.0) * mat2x2f(a, a, 0.0, 0.0))[0].x",
        "fma(a, a, -(a * a))",
    ] {
        let text = format!("let a = x[i] * 1.0; y[i] = {sum};");
        let x = [1.1_f32.to_bits(); 64];
        let moved = runs(&text, &x)?.into_iter().flatten();
        let moved: Vec<f32> = moved.map(f32::from_bits).collect();
        let most = moved
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        // A product between 1 and 2 has an error of at most one unit in the last place. The sum of the two products is
        // exact.
        assert!(
            most == f32::EPSILON && moved.contains(&0.0),
            "{sum}: {most}"
        );
    }
    Ok(())
}

#[test]
fn halves_stay_halves() -> Result<(), Error> {
    for (text, units) in [
        ("a / 3.0h", 2.5),
        ("a * 1.1h", 1.0),
        ("sqrt(a)", 4.5),
        ("exp2(a)", 1.0 + 2.0 * 3.0),
        ("atan(a)", 5.0),
        ("length(vec2h(a, a))", 4.5),
        ("dot(vec2h(a, 0.0h), vec2h(1.1h, 1.0h))", 1.0),
        ("(mat2x2h(a, 0.0h, 0.0h, 0.0h) * vec2h(1.1h)).x", 1.0),
    ] {
        let text = format!("enable f16; let a = f16(x[i]); y[i] = f32({text});");
        let x: Vec<u32> = (0..64_u16)
            .map(|at| (2.0 + f32::from(at) / 64.0).to_bits())
            .collect();
        let (_, nearest) = run(&text, &x, &Settings::default())?;
        let mut most = 0.0_f32;
        let mut several = false;
        for y in runs(&text, &x)? {
            for (&moved, &nearest) in y.iter().zip(&nearest) {
                let [moved, nearest] = [moved, nearest].map(f32::from_bits);
                assert_eq!(f32::from(f16::from_f32(moved)), moved, "{text}: {moved}");
                // The last bit of an `f16` is 2⁻¹⁰ times the power of two at or below the number.
                let unit = 2.0_f32.powf(nearest.log2().floor() - 10.0);
                most = most.max((moved - nearest).abs() / unit);
                several |= moved != nearest;
            }
        }
        assert!(several && most <= units + 0.5, "{text}: {most} of {units}");
    }
    Ok(())
}
