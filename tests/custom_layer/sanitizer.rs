//! Mistakes that only the sanitizer finds. On a software driver, the results are right. On a GPU, they would sometimes
//! be wrong.

use wgrad::kernel::{Binding, Kernel};
use wgrad::layer_check::CheckError;
use wgrad::ops::{Backward, Forward, Layer, LayerSpec};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::Twin;
use wgrad::{Error, LayerCheck, Sanitizer, Shape, check_layer};

use crate::gpu::gpu;

/// `y = 2x`, `dx = 2dy`. Each invocation doubles a number that its neighbor has loaded.
const WGSL: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read_write> y: array<f32>;
    var<workgroup> tile: array<f32, 64>;
    @compute @workgroup_size(64)
    fn double(
        @builtin(local_invocation_index) lane: u32,
        @builtin(global_invocation_id) id: vec3u,
        @builtin(num_workgroups) count: vec3u,
    ) {
        let i = id.x + id.y * count.x * 64u;
        let other = i ^ 1u;
        if (other < elements) { tile[lane ^ 1u] = x[other]; }
        workgroupBarrier();
        if (i < elements) { y[i] = 2.0 * tile[lane]; }
    }";

#[derive(Debug)]
struct Double(Kernel<u32>);

impl Double {
    fn of(source: &'static str) -> Self {
        const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("y")];
        Self(Kernel::new("double", source, "double", BINDINGS))
    }

    /// Returns the layer with one change in its WGSL: `from` is replaced by `to`.
    fn with(from: &str, to: &str) -> Self {
        assert!(WGSL.contains(from), "{from}");
        Self::of(WGSL.replace(from, to).leak())
    }
}

impl Layer for Double {
    fn name(&self) -> String {
        "Double".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let elements = pass.x.len();
        let tensors = [pass.x, pass.y];
        recorder.dispatch_each(
            &self.0,
            elements as u32,
            &tensors,
            elements,
            Cost::default(),
        );
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            let elements = pass.dy.len();
            let tensors = [pass.dy, dx];
            recorder.dispatch_each(
                &self.0,
                elements as u32,
                &tensors,
                elements,
                Cost::default(),
            );
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(|x| 2.0 * x, |_| 2.0)
    }
}

/// Returns the sanitizer's finding. All other checks pass, at least on this device.
fn found(layer: &Double) -> String {
    match check_layer(gpu(), layer) {
        Err(Error::Check(CheckError::Sanitizer { kernel, found, .. })) => {
            assert_eq!(kernel, "double::double");
            found
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_right_and_its_table_says_so() {
    let report = check_layer(gpu(), &Double::of(WGSL)).unwrap_or_else(|error| panic!("{error}"));
    let text = report.to_string();
    let expected = "\nsanitizer double::double: clean in ";
    assert!(text.contains(expected), "{text}");
    assert!(report.not_sanitized.is_empty());
}

#[test]
fn a_barrier_that_is_missing() {
    let found = found(&Double::with("workgroupBarrier();", "storageBarrier();"));
    let expected = "data race on `tile[0]` in workgroup memory: no workgroupBarrier() between";
    assert!(found.starts_with(expected), "{found}");
    for side in [
        "double.wgsl:16:42\n   |  tile[lane]\n   |  read by invocation (0, 0, 0)",
        "double.wgsl:14:33\n   |  tile[lane ^ 1u] = x[other]\n   |  written by invocation (1, 0, 0)",
    ] {
        assert!(found.contains(side), "{found}");
    }
}

#[test]
fn a_read_out_of_bounds_whose_value_is_dropped() {
    let layer = Double::with(
        "if (other < elements) { tile[lane ^ 1u] = x[other]; }",
        "let value = x[other]; if (other < elements) { tile[lane ^ 1u] = value; }",
    );
    let found = found(&layer);
    let expected = "out of bounds: `x` is read at index 1, but 1 element is bound there";
    assert!(found.starts_with(expected), "{found}");
    assert!(
        found.contains("double.wgsl:14:21\n   |  x[other]"),
        "{found}"
    );
    // Without the sanitizer, the check passes: the device's own bounds checks hide the mistake.
    let without = LayerCheck::default().sanitized(0, Sanitizer::default());
    let report = without
        .run(gpu(), &layer)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(report.sanitized.is_empty());
    let expected = "sanitizer double::double was not interpreted: each pass is too large, or has a kernel that cannot be";
    assert!(report.to_string().contains(expected), "{report}");
}

#[test]
fn a_barrier_that_some_do_not_reach() {
    let layer = Double::with(
        "workgroupBarrier();",
        "if (i >= elements) { return; } workgroupBarrier();",
    );
    let found = found(&layer);
    let expected = "not all invocations of a workgroup reach this barrier";
    assert!(found.starts_with(expected), "{found}");
    for side in ["double.wgsl:15:40", "double.wgsl:15:30\n   |  return;"] {
        assert!(found.contains(side), "{found}");
    }
}
