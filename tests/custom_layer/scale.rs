//! A layer with parameters: `y = scale·x + shift`. Both parameters have one element per column.

use wgrad::kernel::{Binding, Kernel};
use wgrad::layer_check::{CheckError, Pass};
use wgrad::ndarray::{Axis, Zip};
use wgrad::ops::{Backward, Forward, Layer, LayerSpec, ParameterSpec};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Twin};
use wgrad::{Error, Init, LayerCheck, Sanitizer, check_layer, fields};

use crate::gpu::gpu;

const WGSL: &str = "
    struct Shape { rows: u32, columns: u32 }
    @group(0) @binding(0) var<uniform> shape: Shape;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read> scale: array<f32>;
    @group(0) @binding(3) var<storage, read> shift: array<f32>;
    @group(0) @binding(4) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64)
    fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        let column = i % shape.columns;
        if (i < shape.rows * shape.columns) { y[i] = x[i] * scale[column] + shift[column]; }
    }
    @group(0) @binding(1) var<storage, read> dy: array<f32>;
    @group(0) @binding(3) var<storage, read_write> dx: array<f32>;
    @compute @workgroup_size(64)
    fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i < shape.rows * shape.columns) { dx[i] = dy[i] * scale[i % shape.columns]; }
    }
    @group(0) @binding(2) var<storage, read> input: array<f32>;
    @group(0) @binding(3) var<storage, read_write> dscale: array<f32>;
    @group(0) @binding(4) var<storage, read_write> dshift: array<f32>;
    @compute @workgroup_size(64)
    fn backward_parameters(@builtin(global_invocation_id) id: vec3u) {
        if (id.x >= shape.columns) { return; }
        var sums = vec2f();
        for (var row = 0u; row < shape.rows; row++) {
            let i = row * shape.columns + id.x;
            sums += vec2f(dy[i] * input[i], dy[i]);
        }
        dscale[id.x] = sums.x;
        dshift[id.x] = sums.y;
    }";

#[repr(C)]
#[derive(Debug, Clone, Copy, wgrad::bytemuck::Pod, wgrad::bytemuck::Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Shape {
    rows: u32,
    columns: u32,
}

/// The layer `y = scale·x + shift`, with fields that can contain mistakes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    source: &'static str,
    /// Returns the shape of `shift` for a number of features.
    shift: fn(usize) -> wgrad::Shape,
    twin: Formula,
}

#[derive(Debug, Clone, Copy)]
struct Formula {
    /// A factor by which the gradient of `scale` is multiplied: 1 is correct.
    dscale: f64,
    panics: bool,
}

impl Scale {
    pub(crate) fn good() -> Self {
        Self {
            source: WGSL,
            shift: wgrad::Shape::from,
            twin: Formula {
                dscale: 1.0,
                panics: false,
            },
        }
    }

    fn with(from: &str, to: &str) -> Self {
        assert!(WGSL.contains(from), "{from}");
        let source = WGSL.replace(from, to).leak();
        Self {
            source,
            ..Self::good()
        }
    }

    fn kernel(&self, entry: &'static str, bindings: &'static [Binding]) -> Kernel<Shape> {
        Kernel::new("scale", self.source, entry, bindings).fields(fields!(Shape: rows, columns))
    }
}

impl Layer for Scale {
    fn name(&self) -> String {
        "Scale".to_owned()
    }

    fn spec(&self, input: &wgrad::Shape) -> Result<LayerSpec, Error> {
        let inputs = input.len();
        let normal = Init::Normal { std: 1.0 };
        Ok(LayerSpec::new(*input)
            .parameter(ParameterSpec::new("scale", inputs, normal))
            .parameter(ParameterSpec::new(
                "shift",
                (self.shift)(inputs),
                Init::Zeros,
            )))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let bindings = const {
            &[
                Binding::read("x"),
                Binding::read("scale"),
                Binding::read("shift"),
                Binding::write("y"),
            ]
        };
        let kernel = self.kernel("forward", bindings);
        let tensors = [pass.x, &pass.parameters[0], &pass.parameters[1], pass.y];
        let shape = shape(&pass.x.dims());
        let cost = Cost::default();
        recorder.dispatch_each(&kernel, shape, &tensors, pass.x.len(), cost);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let shape = shape(&pass.x.dims());
        if let Some(dx) = pass.dx {
            let bindings = const {
                &[
                    Binding::read("dy"),
                    Binding::read("scale"),
                    Binding::write("dx"),
                ]
            };
            let kernel = self.kernel("backward", bindings);
            let tensors = [pass.dy, &pass.parameters[0], dx];
            recorder.dispatch_each(&kernel, shape, &tensors, dx.len(), Cost::default());
        }
        let bindings = const {
            &[
                Binding::read("dy"),
                Binding::read("input"),
                Binding::write("dscale"),
                Binding::write("dshift"),
            ]
        };
        let kernel = self.kernel("backward_parameters", bindings);
        let tensors = [pass.dy, pass.x, &pass.gradients[0], &pass.gradients[1]];
        recorder.dispatch_each(&kernel, shape, &tensors, pass.x.columns(), Cost::default());
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::of(self.twin)
    }
}

fn shape(&[rows, columns]: &[usize; 2]) -> Shape {
    Shape {
        rows: rows as u32,
        columns: columns as u32,
    }
}

impl<F: Float> reference::Layer<F> for Formula {
    fn forward(&self, mut pass: reference::Forward<'_, F>) {
        assert!(!self.panics, "an array of another shape");
        let [scale, shift] = [0, 1].map(|i| pass.parameters[i].row(0));
        for (mut y, x) in pass.y.rows_mut().into_iter().zip(pass.x.rows()) {
            Zip::from(&mut y)
                .and(x)
                .and(scale)
                .and(shift)
                .for_each(|y, &x, &scale, &shift| {
                    *y = x * scale + shift;
                });
        }
    }

    fn backward(&self, pass: reference::Backward<'_, F>) {
        let factor = F::from_f64(self.dscale);
        let dscale = (&pass.dy * &pass.x).sum_axis(Axis(0)).insert_axis(Axis(0));
        pass.gradients[0].assign(&(dscale * factor));
        pass.gradients[1].assign(&pass.dy.sum_axis(Axis(0)).insert_axis(Axis(0)));
        if let Some(mut dx) = pass.dx {
            dx.assign(&(&pass.dy * &pass.parameters[0]));
        }
    }
}

fn check_error(layer: &Scale) -> CheckError {
    match check_layer(gpu(), layer) {
        Err(Error::Check(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_gradient_of_a_parameter_in_the_wgsl() {
    for (from, to, tensor) in [
        (
            "dscale[id.x] = sums.x",
            "dscale[id.x] = sums.x * 1.01",
            "dscale",
        ),
        ("row < shape.rows;", "row + 1u < shape.rows;", "dscale"),
        ("dshift[id.x] = sums.y", "dshift[id.x] = -sums.y", "dshift"),
        ("= dy[i] * scale", "= -dy[i] * scale", "dx"),
    ] {
        let error = check_error(&Scale::with(from, to));
        let CheckError::Parity { at, .. } = error else {
            panic!("{to}: {error}");
        };
        assert_eq!((at.pass, at.tensor.as_str()), (Pass::Backward, tensor));
    }
}

#[test]
fn a_wrong_gradient_of_a_parameter_in_the_reference() {
    let mut layer = Scale::good();
    layer.twin.dscale = 1.0001;
    let error = check_error(&layer);
    let CheckError::Derivative { at, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(at.tensor, "dscale");
}

#[test]
fn a_parameter_too_short() {
    let mut layer = Scale::good();
    layer.shift = |inputs| inputs.min(2).into();
    let found = check_error(&layer).to_string();
    let expected = "out of bounds: `shift` is read at index 2, but 2 elements are bound there";
    assert!(found.contains(expected), "{found}");
    // The element after the end is NaN, so the check fails before it runs the reference, which would panic.
    let without = LayerCheck::default().sanitized(0, Sanitizer::default());
    match without.run(gpu(), &layer) {
        Err(Error::Check(CheckError::Nan { at, by })) => assert_eq!(
            (by, at.tensor.as_str(), at.element),
            ("the WGSL", "y", [0, 2])
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_parameter_too_long() {
    let mut layer = Scale::good();
    layer.shift = |inputs| [2, inputs].into();
    let error = check_error(&layer);
    let CheckError::Unwritten { at } = error else {
        panic!("{error}");
    };
    assert_eq!((at.tensor.as_str(), at.element), ("dshift", [1, 0]));
}

#[test]
fn a_parameter_without_elements() {
    let mut layer = Scale::good();
    layer.shift = |inputs| [0, inputs].into();
    let message = check_error(&layer).to_string();
    let expected =
        "Scale: shape of shift in spec(1) must be at least 1 along each extent; it is 0×1";
    assert_eq!(message, expected);
    // A network also refuses the layer.
    let network = wgrad::Sequential::input(3).layer(layer);
    let message = network.build(gpu()).unwrap_err().to_string();
    let expected = "shape of layers.0.shift must be at least 1 along each extent; it is 0×3";
    assert_eq!(message, expected);
}

#[test]
fn a_reference_that_panics() {
    let mut layer = Scale::good();
    layer.twin.panics = true;
    let message = check_error(&layer).to_string();
    let expected = "Scale: the reference's forward pass (1 × 1 inputs, 1 × 1 outputs) panicked: an array of another shape";
    assert_eq!(message, expected);
}

/// A [`Scale`] whose second gradient is computed from the first.
#[derive(Debug)]
struct Chained(Scale);

const NEXT: &str = "
    @group(0) @binding(0) var<uniform> elements: u32;
    @group(0) @binding(1) var<storage, read> before: array<f32>;
    @group(0) @binding(2) var<storage, read_write> after: array<f32>;
    @compute @workgroup_size(64)
    fn next(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < elements) { after[id.x] = before[id.x]; }
    }";
static NEXT_KERNEL: Kernel<u32> = Kernel::new(
    "chained",
    NEXT,
    "next",
    &[Binding::read("before"), Binding::write("after")],
);

impl Layer for Chained {
    fn name(&self) -> String {
        "Chained".to_owned()
    }

    fn spec(&self, input: &wgrad::Shape) -> Result<LayerSpec, Error> {
        self.0.spec(input)
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        self.0.forward(recorder, pass)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        self.0.backward(recorder, pass)?;
        let tensors = [&pass.gradients[0], &pass.gradients[1]];
        let elements = tensors[0].len();
        let cost = Cost::default();
        recorder.dispatch_each(&NEXT_KERNEL, elements as u32, &tensors, elements, cost);
        Ok(())
    }

    fn reference(&self) -> Twin {
        self.0.reference()
    }
}

/// On its own, the layer would run. In a network, all gradients are in one buffer, which a kernel cannot read and write
/// at the same time.
#[test]
fn a_gradient_that_is_read_while_another_is_written() {
    let error = check_layer(gpu(), &Chained(Scale::good())).unwrap_err();
    assert!(matches!(error, Error::Binding { .. }), "{error}");
    let message = error.to_string();
    for part in ["chained::next", "dscale and dshift lie in the same buffer"] {
        assert!(message.contains(part), "{message}");
    }
}
