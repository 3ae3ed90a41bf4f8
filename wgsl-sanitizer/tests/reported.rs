//! Tests the results of operations that are reported as problems: WGSL defines these results.

use wgsl_sanitizer::{Buffer, Dispatch, Error, Problem, Report, Settings, Shader, sanitize};

/// Runs `main` with these words in `x`. Returns the report, and the contents of `y`.
fn run(text: &str, x: &[u32], settings: &Settings) -> Result<(Report, Vec<u32>), Error> {
    let declared = "
        @group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<u32>;";
    let text = match text.strip_prefix("enable f16;") {
        Some(text) => format!("enable f16;{declared}{text}"),
        None => format!("{declared}{text}"),
    };
    let kernel = Shader::parse("a.wgsl", &text)?.kernel("main", &[])?;
    let mut buffers = [Buffer::from_u32s(x), Buffer::zeros(8)];
    let mut dispatch = Dispatch::new([1, 1, 1]);
    for (at, binding) in kernel.bindings().iter().enumerate() {
        assert!(at < 2, "{binding:?}");
        let buffer = binding.binding as usize;
        dispatch = dispatch.bind(0, binding.binding, buffer);
    }
    let report = sanitize(&kernel, &dispatch, &mut buffers, settings)?;
    Ok((report, buffers[1].u32s().to_vec()))
}

fn is_conversion(problem: &Problem) -> bool {
    matches!(problem, Problem::Conversion { .. })
}

#[test]
fn conversions_are_clamped_to_what_both_types_have() -> Result<(), Error> {
    let text = "
        @compute @workgroup_size(1) fn main() {
            for (var i = 0; i < 4; i++) {
                y[i] = bitcast<u32>(i32(x[i]));
                y[i + 4] = u32(x[i]);
            }
        }";
    let x = [3e9_f32, 5e9, -3e9, f32::NAN].map(f32::to_bits);
    let (report, y) = run(text, &x, &Settings::default())?;
    let told = report.findings.iter().map(|finding| &finding.problem);
    assert_eq!(
        told.filter(|problem| is_conversion(problem)).count(),
        2,
        "{report}"
    );
    let signed = [2_147_483_520, 2_147_483_520, i32::MIN, 0].map(i32::cast_unsigned);
    assert_eq!(y[..4], signed);
    assert_eq!(y[4..], [3_000_000_000, 4_294_967_040, 0, 0]);
    Ok(())
}

#[test]
fn conversions_of_infinite_halves() -> Result<(), Error> {
    let text = "enable f16;
        @compute @workgroup_size(1) fn main() {
            let big = f16(x[0]) * f16(x[0]);
            y[0] = bitcast<u32>(i32(big));
            y[1] = bitcast<u32>(i32(-big));
            y[2] = u32(big);
        }";
    let (report, y) = run(text, &[6e4_f32.to_bits()], &Settings::default())?;
    assert_eq!(report.findings.len(), 3, "{report}");
    assert_eq!(y[..3], [65_504, (-65_504_i32).cast_unsigned(), 65_504]);
    Ok(())
}

#[test]
fn a_compare_exchange_out_of_bounds_exchanges_nothing() -> Result<(), Error> {
    let text = "
        var<workgroup> a: array<atomic<u32>, 2>;
        @compute @workgroup_size(1) fn main() {
            for (var i = 0u; i < 4u; i++) {
                let result = atomicCompareExchangeWeak(&a[i], 0u, 7u);
                y[i] = result.old_value + select(0u, 1u, result.exchanged);
            }
        }";
    let (report, y) = run(text, &[0], &Settings::default())?;
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(y[..4], [1, 1, 0, 0]);
    Ok(())
}

#[test]
fn a_bool_that_nobody_wrote_is_true_or_false() -> Result<(), Error> {
    let text = "
        struct Flags { size: u32, list: array<vec2<bool>, 2> }
        var<workgroup> b: bool;
        var<workgroup> flags: Flags;
        @compute @workgroup_size(1) fn main() {
            var is_either = false;
            if (b) { is_either = true; }
            if (!b) { is_either = !is_either; }
            y[0] = select(0u, 1u, is_either);
            y[1] = u32(b);
            y[2] = u32(b == true) + u32(b == false);
            y[3] = u32(flags.list[1].y);
            y[4] = u32(flags.list[1].y == !!flags.list[1].y);
        }";
    let settings = Settings::default().zero_workgroup_memory(false);
    let (report, y) = run(text, &[0], &settings)?;
    assert!(!report.is_clean());
    assert_eq!([y[0], y[2], y[4]], [1, 1, 1]);
    assert!(y[1] < 2 && y[3] < 2, "{y:?}");
    Ok(())
}
