//! Results that are off by what WGSL grants.

use wgsl_sanitizer::{
    Buffer, Dispatch, Error, Order, Report, Rounding, Settings, Shader, sanitize,
};

/// Runs `main` on `x` of these words; what is in `y` then, which is as long.
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
    Settings::default().rounding(Rounding::Granted(seed))
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
