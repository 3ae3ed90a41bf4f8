//! An activation from outside the crate: a correct one, and variants with a single mistake each.

use wgrad::kernel::{Binding, Kernel};
use wgrad::layer_check::{CheckError, Pass, Place};
use wgrad::ops::{Backward, Forward, Layer, LayerSpec};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::Twin;
use wgrad::{Error, LayerCheck, Sanitizer, Shape, TensorShape, check_layer};

use crate::gpu::gpu;

/// The kernels of softsign: `y = x/(1 + |x|)`, `dx = dy/(1 + |x|)²`.
const WGSL: &str = "
    struct Shape { elements: u32 }
    @group(0) @binding(0) var<uniform> shape: Shape;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read_write> y: array<f32>;
    @group(0) @binding(2) var<storage, read> dy: array<f32>;
    @group(0) @binding(3) var<storage, read_write> dx: array<f32>;
    @compute @workgroup_size(64)
    fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i < shape.elements) { y[i] = x[i] / (1.0 + abs(x[i])); }
    }
    @compute @workgroup_size(64)
    fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i >= shape.elements) { return; }
        let a = 1.0 + abs(x[i]);
        dx[i] = dy[i] / (a * a);
    }";

const FIELDS: &[wgrad::kernel::Field] = &[wgrad::kernel::Field {
    name: "elements",
    offset: 0,
}];
const X: Binding = Binding::read("x");
const Y: Binding = Binding::write("y");
const DY: Binding = Binding::read("dy");
const DX: Binding = Binding::write("dx");

/// The activation, with fields that can contain mistakes.
#[derive(Debug)]
pub(crate) struct Softsign {
    output: fn(&Shape) -> Shape,
    /// Whether the layer accepts rows of this shape.
    takes: fn(&Shape) -> bool,
    forward: Kernel<u32>,
    backward: Kernel<u32>,
    /// The tensors that the forward pass binds, in order: 0 is `x`, 1 is `y`.
    bound: &'static [usize],
    /// Returns the number of invocations for a number of elements.
    invocations: fn(usize) -> usize,
    function: fn(f64) -> f64,
    derivative: fn(f64) -> f64,
    /// Whether the backward pass records nothing.
    is_without_backward: bool,
}

impl Softsign {
    pub(crate) fn good() -> Self {
        Self::of(WGSL)
    }

    fn of(source: &'static str) -> Self {
        let kernel =
            |entry, bindings| Kernel::new("softsign", source, entry, bindings).fields(FIELDS);
        Self {
            output: |input| *input,
            takes: |_| true,
            forward: kernel("forward", &[X, Y]),
            backward: kernel("backward", &[X, DY, DX]),
            bound: &[0, 1],
            invocations: |elements| elements,
            function: |x| x / (1.0 + x.abs()),
            derivative: |x| 1.0 / (1.0 + x.abs()).powi(2),
            is_without_backward: false,
        }
    }

    /// Returns the activation with one change in its WGSL: `from` is replaced by `to`.
    fn with(from: &str, to: &str) -> Self {
        assert!(WGSL.contains(from), "{from}");
        Self::of(WGSL.replace(from, to).leak())
    }
}

impl Layer for Softsign {
    fn name(&self) -> String {
        "Softsign".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        if (self.takes)(input) {
            return Ok(LayerSpec::new((self.output)(input)));
        }
        Err(Error::Setting {
            name: "shape of a row".to_owned(),
            expected: "channels, height and width".to_owned(),
            found: input.to_string(),
        })
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        if self.bound.is_empty() {
            return Ok(());
        }
        let tensors: Vec<_> = self.bound.iter().map(|&i| [pass.x, pass.y][i]).collect();
        let elements = pass.x.len();
        let invocations = (self.invocations)(elements);
        let cost = Cost::default();
        recorder.dispatch_each(&self.forward, elements as u32, &tensors, invocations, cost);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if self.is_without_backward {
            return Ok(());
        }
        if let Some(dx) = pass.dx {
            let tensors = [pass.x, pass.dy, dx];
            let elements = pass.x.len();
            let kernel = &self.backward;
            let cost = Cost::default();
            recorder.dispatch_each(kernel, elements as u32, &tensors, elements, cost);
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::elementwise(self.function, self.derivative)
    }
}

fn error(layer: &Softsign) -> Error {
    check_layer(gpu(), layer).expect_err("there is a mistake in it")
}

fn check_error(layer: &Softsign) -> CheckError {
    match error(layer) {
        Error::Check(error) => error,
        other => panic!("{other}"),
    }
}

/// Asserts that the check gives a contract error. Returns the kernel, and the faults that the error reports.
fn contract_fault(layer: &Softsign) -> String {
    let error = check_error(layer);
    let message = error.to_string();
    let CheckError::Contract { kernel, faults, .. } = error else {
        panic!("{message}");
    };
    assert!(
        message.starts_with(&format!("Softsign: kernel {kernel} ")),
        "{message}"
    );
    format!("{kernel}: {}", faults.join("; "))
}

fn assert_contract(layer: &Softsign, expected: &str) {
    let found = contract_fault(layer);
    assert!(found.contains(expected), "{found}");
}

#[test]
fn bindings_in_another_order_than_in_the_wgsl() {
    let mut layer = Softsign::good();
    layer.backward.bindings = &[DY, X, DX];
    assert_contract(&layer, "softsign::backward: binding 1 is x, declared dy");
}

#[test]
fn a_binding_too_few() {
    let mut layer = Softsign::good();
    layer.forward.bindings = &[X];
    assert_contract(&layer, "softsign::forward: y at undeclared binding 2");
}

#[test]
fn another_element_type() {
    let mut layer = Softsign::good();
    layer.forward.bindings = const { &[X.of_u32(), Y] };
    assert_contract(&layer, "elements of x are f32, declared u32");
}

#[test]
fn another_access() {
    let mut layer = Softsign::good();
    layer.forward.bindings = const { &[X, Binding::read("y")] };
    assert_contract(&layer, "access of y is read_write, declared as read");
    let layer = Softsign::with("<storage, read_write> dx", "<storage, read> dx");
    assert_contract(&layer, "softsign.wgsl:");
}

#[test]
fn another_block() {
    let layer = Softsign::with("struct Shape { ", "struct Shape { rows: u32, ");
    assert_contract(&layer, "rows at 0, elements at 4; declared: elements at 0");
    assert_contract(&layer, "block of 8 bytes, declared 4");
}

#[test]
fn another_workgroup_size() {
    let mut layer = Softsign::good();
    layer.forward.workgroup_size = [32, 1, 1];
    assert_contract(&layer, "workgroup size [64, 1, 1], declared [32, 1, 1]");
    layer.forward.workgroup_size = [0, 1, 1];
    assert_contract(&layer, "declared [0, 1, 1]");
    layer.forward.workgroup_size = [u32::MAX; 3];
    assert_contract(&layer, "workgroup size [64, 1, 1]");
}

#[test]
fn an_entry_point_that_is_not_there() {
    let mut layer = Softsign::good();
    layer.backward.entry = "backwards";
    assert_contract(&layer, "softsign::backwards: no such entry point");
}

#[test]
fn wgsl_that_is_none_is_quoted_with_its_line() {
    let layer = Softsign::with("let i = id.x +", "let i = id.x ++");
    let found = contract_fault(&layer);
    assert!(found.contains("softsign.wgsl:10:"), "{found}");
    let layer = Softsign::with("1.0 + abs(x[i]))", "1u + abs(x[i]))");
    let found = contract_fault(&layer);
    assert!(found.contains("softsign.wgsl:11:"), "{found}");
}

/// Returns the kernel of an [`Error::Binding`], and the reported mistake.
fn binding_fault(error: Error) -> String {
    match error {
        Error::Binding { kernel, mistake } => format!("{kernel}: {mistake}"),
        other => panic!("{other}"),
    }
}

#[test]
fn tensors_that_do_not_fit_the_kernel() {
    let mut layer = Softsign::good();
    layer.bound = &[0];
    assert_eq!(
        binding_fault(error(&layer)),
        "softsign::forward: it has 2 bindings, and 1 tensors were bound"
    );
    layer.bound = &[1, 1];
    assert_eq!(
        binding_fault(error(&layer)),
        "softsign::forward: tensor y is bound twice, but the kernel writes binding y"
    );
}

/// The derivative is wrong only for inputs from 6 to 8, which are neither near 0 nor extreme.
#[test]
fn a_derivative_that_is_wrong_in_a_small_range() {
    let forward = "y[i] = x[i] / (1.0 + abs(x[i]));";
    let backward = "dx[i] = dy[i] / (a * a);";
    let source = WGSL.replace(forward, "y[i] = clamp(x[i], 0.0, 6.0);");
    let source = source.replace(
        backward,
        "dx[i] = select(0.0, dy[i], x[i] > 0.0 && x[i] < 8.0);",
    );
    let layer = Softsign {
        function: |x| x.clamp(0.0, 6.0),
        derivative: |x| f64::from(u8::from(x > 0.0 && x < 6.0)),
        ..Softsign::of(source.leak())
    };
    let CheckError::Parity { at, .. } = check_error(&layer) else {
        panic!("{}", error(&layer));
    };
    assert_eq!(at.pass, Pass::Backward);
    assert!(at.x.is_some_and(|x| (6.0..8.0).contains(&x)), "{at}");
}

#[test]
fn no_invocation() {
    let mut layer = Softsign::good();
    layer.invocations = |_| 0;
    let found = binding_fault(error(&layer));
    assert_eq!(found, "softsign::forward: no workgroup was dispatched");
}

/// When a network plans its passes, a wrong binding also gives an error, not a panic.
#[test]
fn a_network_with_a_wrong_binding_is_refused() {
    let mut layer = Softsign::good();
    layer.bound = &[0, 1, 0];
    let network = wgrad::Sequential::input(3)
        .layer(wgrad::ops::Linear::new(2))
        .layer(layer);
    let found = binding_fault(network.build(gpu()).unwrap_err());
    assert_eq!(
        found,
        "softsign::forward: it has 2 bindings, and 3 tensors were bound"
    );
}

#[test]
fn a_wrong_formula_in_the_wgsl() {
    let layer = Softsign::with("(1.0 + abs(x[i]))", "(1.001 + abs(x[i]))");
    let error = check_error(&layer);
    let message = error.to_string();
    let CheckError::Parity { at, .. } = error else {
        panic!("{message}");
    };
    assert_eq!((at.pass, at.tensor.as_str()), (Pass::Forward, "y"));
    assert!(
        message.contains("One of the two formulas is wrong"),
        "{message}"
    );
}

#[test]
fn a_wrong_derivative_in_the_wgsl() {
    for (from, to) in [
        ("dy[i] / (a * a)", "dy[i] / a"),
        ("dx[i] = dy", "dx[i] = -dy"),
    ] {
        let error = check_error(&Softsign::with(from, to));
        let message = error.to_string();
        let CheckError::Parity { at, .. } = error else {
            panic!("{message}");
        };
        assert_eq!((at.pass, at.tensor.as_str()), (Pass::Backward, "dx"));
        assert!(
            message.contains("the derivative in the WGSL is wrong"),
            "{message}"
        );
    }
}

fn assert_derivative(layer: &Softsign) {
    let error = check_error(layer);
    let message = error.to_string();
    let CheckError::Derivative { at, .. } = error else {
        panic!("{message}");
    };
    assert_eq!(at.tensor, "dx");
    assert!(
        message.contains("the derivative in the reference is wrong"),
        "{message}"
    );
}

#[test]
fn a_wrong_derivative_in_the_reference() {
    let mut layer = Softsign::good();
    layer.derivative = |x| 1.0 / (1.0 + x.abs());
    assert_derivative(&layer);
    // The derivative's relative error is 1e-5, as if a term of a series were missing.
    layer.derivative = |x| 1.00001 / (1.0 + x.abs()).powi(2);
    assert_derivative(&layer);
}

/// The kernel and the reference have the same wrong derivative.
#[test]
fn the_same_wrong_derivative_in_both() {
    let mut layer = Softsign::with("dy[i] / (a * a)", "dy[i] / a");
    layer.derivative = |x| 1.0 / (1.0 + x.abs());
    assert_derivative(&layer);
}

fn unwritten(layer: &Softsign) -> Box<Place> {
    match check_error(layer) {
        CheckError::Unwritten { at } => at,
        other => panic!("{other}"),
    }
}

#[test]
fn more_outputs_stated_than_are_written() {
    let mut layer = Softsign::good();
    layer.output = |input| Shape::from(2 * input.len());
    let at = unwritten(&layer);
    assert_eq!(
        (at.tensor.as_str(), at.shape, at.element),
        ("y", [1, 2].into(), [0, 1])
    );
}

/// Asserts that a write out of bounds is detected: by the sanitizer, which runs first and reports the place in the
/// WGSL, and, without the sanitizer, by the guard bands.
fn assert_stray(layer: &Softsign, expected: &str, by_sanitizer: &str) {
    let message = check_error(layer).to_string();
    assert!(message.contains(by_sanitizer), "{message}");
    let without = LayerCheck::default().sanitized(0, Sanitizer::default());
    match without.run(gpu(), layer) {
        Err(Error::Check(CheckError::Stray { tensor, found, .. })) => {
            assert_eq!(format!("{found} of {tensor}"), expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn fewer_outputs_stated_than_are_written() {
    let mut layer = Softsign::good();
    layer.output = |input| Shape::from(input.len().div_ceil(2));
    // The first minibatch with more than one feature has the shape 1×2.
    let by_sanitizer = "out of bounds: `y` is written at index 1, but 1 element is bound there";
    assert_stray(&layer, "1 elements after the end of y", by_sanitizer);
}

#[test]
fn an_output_that_no_layer_can_have() {
    let mut layer = Softsign::good();
    layer.output = |_| Shape::from(0);
    let message = check_error(&layer).to_string();
    let expected =
        "Softsign: shape of output in spec(1) must be at least 1 along each extent; it is 0";
    assert_eq!(message, expected);
}

/// The layer accepts only rows with three extents.
#[test]
fn a_layer_of_images_is_given_shapes() {
    let mut layer = Softsign::good();
    layer.takes = |input| input.rank() == 3;
    let error = check_error(&layer);
    let message = error.to_string();
    let CheckError::Refused { input, reason, .. } = error else {
        panic!("{message}");
    };
    assert_eq!(input, Shape::from(1));
    assert!(
        reason.contains("must be channels, height and width; it is 1"),
        "{reason}"
    );
    assert!(message.contains("LayerCheck::shapes"), "{message}");

    let shapes = [(3, [2, 5, 5]), (1, [1, 1, 1]), (2, [3, 1, 7])];
    let report = LayerCheck::default().shapes(shapes).run(gpu(), &layer);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    for shape in shapes {
        let minibatch = TensorShape::from(shape);
        assert!(
            report.rows.iter().any(|row| row.minibatch == minibatch),
            "{report}"
        );
    }
    // If the user gives shapes that the layer refuses, the check returns the layer's own error.
    let refused = LayerCheck::default().shapes([[3, 7]]).run(gpu(), &layer);
    assert!(matches!(refused, Err(Error::Setting { .. })), "{refused:?}");
}

#[test]
fn shapes_of_any_rank_name_the_element_in_all_of_them() {
    let layer = Softsign::with("(1.0 + abs(x[i]))", "(1.0 + abs(x[i]) + f32(i == 45u))");
    let check = LayerCheck::default().shapes([(2, [1, 3, 2, 5])]);
    match check.run(gpu(), &layer) {
        Err(Error::Check(CheckError::Parity { at, .. })) => {
            assert_eq!(at.element, [1, 15]);
            let text = at.to_string();
            let expected = "forward: element (1, 0, 1, 1, 0) of y (2 × 1×3×2×5), where x = ";
            assert!(text.starts_with(expected), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

/// Even if all minibatches are large, the gradient for the smallest one is compared with central differences.
#[test]
fn a_wrong_derivative_shows_in_large_minibatches() {
    let mut layer = Softsign::good();
    layer.derivative = |x| 1.0 / (1.0 + x.abs());
    let check = LayerCheck::default().shapes([[100, 50], [30, 20]]);
    match check.run(gpu(), &layer) {
        Err(Error::Check(CheckError::Derivative { at, .. })) => {
            assert_eq!(at.shape, [30, 20].into());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pass_without_a_kernel() {
    let mut layer = Softsign::good();
    layer.is_without_backward = true;
    let message = check_error(&layer).to_string();
    let expected = "Softsign, backward: no kernel was recorded, so nothing writes dx. ";
    assert!(message.starts_with(expected), "{message}");
    layer.bound = &[];
    let message = check_error(&layer).to_string();
    let expected = "Softsign, forward: no kernel was recorded, so nothing writes y. ";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_kernel_without_its_guard() {
    let layer = Softsign::with(
        "if (i < shape.elements) { y",
        "if (shape.elements > 0u) { y",
    );
    let by_sanitizer = "out of bounds: `x` is read at index 1, but 1 element is bound there";
    assert_stray(&layer, "63 elements after the end of y", by_sanitizer);
}

#[test]
fn an_invocation_too_few() {
    let mut layer = Softsign::good();
    layer.invocations =
        |elements| elements.div_ceil(64) * 64 - 63 - 64 * usize::from(elements > 64);
    let at = unwritten(&layer);
    assert_eq!((at.shape, at.element), ([1, 65].into(), [0, 64]));
}

#[test]
fn a_dispatch_that_is_not_folded() {
    let at = unwritten(&Softsign::with("id.x + id.y * count.x * 64u", "id.x"));
    assert_eq!(at.shape, [2053, 2053].into());
}

#[test]
fn not_a_number_for_large_inputs() {
    let layer = Softsign::with(
        "y[i] = x[i] / (1.0 + abs(x[i]))",
        "let e = exp(x[i]); y[i] = e * x[i] / (e + e * abs(x[i]))",
    );
    let CheckError::Nan { at, by } = check_error(&layer) else {
        panic!("exp(100) overflows");
    };
    assert_eq!((by, at.x.map(f32::abs)), ("the WGSL", Some(100.0)));
    let check = LayerCheck::default().inputs(-20.0..=20.0);
    check.run(gpu(), &layer).unwrap();
}

#[test]
fn not_a_number_by_the_reference() {
    let mut layer = Softsign::good();
    layer.function = |x| x / (1.0 + x.abs()) + 0.0 * (x * 1e3).exp();
    let CheckError::Nan { by, .. } = check_error(&layer) else {
        panic!("0·∞");
    };
    assert_eq!(by, "the reference");
}

#[test]
fn settings_that_make_no_sense() {
    let refused = |check: LayerCheck| match check.run(gpu(), &Softsign::good()) {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    let check = LayerCheck::default;
    assert_eq!(refused(check().shapes([[3, 0]])), "shape of a minibatch");
    assert_eq!(refused(check().shapes([[1; 2]; 0])), "shapes");
    assert_eq!(refused(check().inputs(1.0..=f32::INFINITY)), "inputs");
    assert_eq!(refused(check().inputs(1.0..=0.0)), "inputs");
    assert_eq!(refused(check().tolerance(f64::NAN)), "tolerance");
}
