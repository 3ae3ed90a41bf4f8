//! More rows than a device can process at once. They are processed in parts, with the same results.

use wgrad::data::Labels;
use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{Dropout, Linear, Relu, SoftmaxCrossEntropy, Tanh};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Init, Model, Sequential, Targets, TwoLayerNet, cpu, wgpu};

use crate::gpu::{Numbers, gpu};

fn rows(count: usize, columns: usize) -> Array2<f32> {
    let mut numbers = Numbers::new(count as u64);
    Array2::from_shape_fn((count, columns), |_| numbers.uniform())
}

fn labels(count: usize, classes: u32) -> Labels {
    Labels::from_classes(
        (0u32..).map(|row| row % classes).take(count).collect(),
        classes as usize,
    )
    .unwrap()
}

/// Returns a device whose bindings are so small that even few rows do not fit.
fn narrow() -> Gpu {
    with_bindings_of(64 << 10)
}

/// Returns a device whose bindings have at most this many bytes.
pub(super) fn with_bindings_of(bytes: u64) -> Gpu {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let options = wgpu::RequestAdapterOptions::default();
    let adapter = pollster::block_on(instance.request_adapter(&options)).unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits {
            max_storage_buffer_binding_size: bytes,
            ..wgpu::Limits::default()
        },
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Gpu::from_wgpu(device, queue)
}

/// Returns networks with layers of all kinds, and with a `Relu` after a `Linear` or after another layer, at the end and
/// in the middle.
fn networks() -> [Sequential; 5] {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::XavierUniform);
    let start = || Sequential::input(6).layer(linear(37));
    [
        start(),
        start().layer(Relu),
        start().layer(Relu).layer(linear(3)),
        start()
            .layer(Relu)
            .layer(Relu)
            .layer(Tanh)
            .layer(linear(5))
            .layer(Relu),
        start()
            .layer(Tanh)
            .layer(Dropout::new(0.5))
            .layer(linear(64))
            .layer(linear(2)),
    ]
}

#[test]
fn sixty_thousand_rows_of_pixels_are_predicted() {
    let model = TwoLayerNet::spec(784, 50, 10).build(gpu()).unwrap();
    let x = Array2::zeros((60_000, 784));
    assert_eq!(model.predict(x.view()).unwrap().dim(), (60_000, 10));
}

/// On a software driver, a row's output has the same bits in any minibatch. On a GPU, the kernel depends on the number
/// of rows, so the outputs are only close.
#[test]
fn many_rows_have_the_outputs_of_each_alone() {
    let gpu = narrow();
    for spec in networks() {
        let model = spec.build(&gpu).unwrap();
        let network = model.to_reference().unwrap();
        let x = rows(3_001, 6);
        let outputs = model.predict(x.view()).unwrap();
        assert_eq!(outputs, model.predict(x.view()).unwrap());
        for first in [0, 1_000, 2_990] {
            let part = s![first..first + 11, ..];
            let apart = &model.predict(x.slice(part)).unwrap() - &outputs.slice(part);
            assert!(apart.iter().all(|apart| apart.abs() < 1e-5), "{apart}");
        }
        let expected = network.predict(x.mapv(f64::from).view()).unwrap();
        let apart = outputs.mapv(f64::from) - &expected;
        assert!(apart.iter().all(|apart| apart.abs() < 1e-5), "{spec:?}");

        let classes = u32::try_from(outputs.ncols()).unwrap();
        let labels = labels(3_001, classes);
        let x64 = x.mapv(f64::from);
        let expected = network
            .loss(
                &SoftmaxCrossEntropy,
                x64.view(),
                Targets::Classes(labels.indices()),
            )
            .unwrap();
        let found = f64::from(loss(&model, &x, &labels));
        assert!(
            (found - expected).abs() < 1e-5 * (1.0 + expected),
            "{found} {expected}"
        );
    }
}

fn loss(model: &Model, x: &Array2<f32>, labels: &Labels) -> f32 {
    let targets = Targets::Classes(labels.indices());
    model.loss(&SoftmaxCrossEntropy, x.view(), targets).unwrap()
}

#[test]
fn the_accuracy_of_many_rows_is_that_of_the_reference() {
    let net = TwoLayerNet::new(&narrow(), 6, 37, 3, 1).unwrap();
    let network = net.model().to_reference().unwrap();
    let x = rows(3_001, 6);
    let labels = labels(3_001, 3);
    let x64 = x.mapv(f64::from);
    let expected = network.accuracy(x64.view(), labels.indices()).unwrap();
    let found = net.accuracy(x.view(), &labels).unwrap();
    // For a few rows, two logits may be almost equal, so their class may differ.
    assert!(
        (found - expected).abs() * 3_001.0 <= 3.0,
        "{found} {expected}"
    );
}

/// The CPU also processes many rows in parts. Each row has the same outputs as in a small minibatch.
#[test]
fn many_rows_on_the_cpu_have_the_outputs_of_each_alone() {
    for spec in networks() {
        let network = cpu::Network::<f64>::new(&spec).unwrap();
        let x = rows(1_203, 6).mapv(f64::from);
        let outputs = network.predict(x.view()).unwrap();
        for first in [0, 499, 1_000, 1_190] {
            let part = s![first..first + 7, ..];
            let apart = &network.predict(x.slice(part)).unwrap() - &outputs.slice(part);
            assert!(apart.iter().all(|apart| apart.abs() < 1e-12), "{apart}");
        }
        let labels = labels(1_203, u32::try_from(outputs.ncols()).unwrap());
        let whole = network
            .loss(
                &SoftmaxCrossEntropy,
                x.view(),
                Targets::Classes(labels.indices()),
            )
            .unwrap();
        let of_row = |row: usize| {
            let x = x.slice(s![row..=row, ..]);
            network
                .loss(
                    &SoftmaxCrossEntropy,
                    x,
                    Targets::Classes(&labels.indices()[row..=row]),
                )
                .unwrap()
        };
        let mean = (0..1_203).map(of_row).sum::<f64>() / 1_203.0;
        assert!(
            (whole - mean).abs() < 1e-12 * (1.0 + mean),
            "{whole} {mean}"
        );
    }
}

/// In a forward plan, the values between layers alternate between two tensors. With many rows, the plan gives the same
/// outputs as `predict`.
#[test]
fn a_forward_plan_of_many_rows_gives_what_predict_gives() {
    let gpu = narrow();
    for spec in networks() {
        let model = spec.build(&gpu).unwrap();
        let outputs = spec.output().unwrap().len();
        for count in [1, 255, 256, 257, 900] {
            // At most as many rows as fit into one binding.
            let count = count.min((64 << 10) / 4 / outputs);
            let x = rows(count, 6);
            let tensor =
                |label, columns| Tensor::zeros(&gpu, label, [count, columns], Element::F32);
            let input = tensor("x", 6).unwrap();
            let y = tensor("y", outputs).unwrap();
            gpu.write(&input, x.as_slice().unwrap()).unwrap();
            let plan = model.forward_plan(&input, &y).unwrap();
            gpu.submit(&plan, 1).unwrap();
            let found = Array2::from_shape_vec((count, outputs), gpu.read(&y).unwrap()).unwrap();
            let apart = &found - &model.predict(x.view()).unwrap();
            assert!(
                apart.iter().all(|apart: &f32| apart.abs() < 1e-5),
                "{spec:?}, {count}"
            );
        }
    }
}

/// Each row has so many values that only few rows fit into a binding. So the plan processes the rows in parts. Because
/// of the alignment of bindings, a part may start only at certain rows, and sometimes a binding is full before the next
/// such row.
#[test]
fn a_forward_plan_of_wide_values_takes_as_few_rows_as_a_binding_holds() {
    let gpu = narrow();
    let plan = |features, width, outputs, rows| {
        let spec = Sequential::input(features).layer(Linear::new(width));
        let model = spec.layer(Tanh).layer(Linear::new(outputs)).seed(1);
        let model = model.build(&gpu).unwrap();
        let tensor = |label, columns| Tensor::zeros(&gpu, label, [rows, columns], Element::F32);
        let x = tensor("x", features).unwrap();
        let y = tensor("y", outputs).unwrap();
        let of_rows = self::rows(rows, features);
        gpu.write(&x, of_rows.as_slice().unwrap()).unwrap();
        let plan = model.forward_plan(&x, &y)?;
        gpu.submit(&plan, 1).unwrap();
        let found = Array2::from_shape_vec((rows, outputs), gpu.read(&y).unwrap()).unwrap();
        let expected = model.predict(of_rows.view()).unwrap();
        let apart = (&found - &expected).mapv(f32::abs);
        assert!(apart.iter().all(|&apart| apart < 1e-5), "{apart}");
        assert_eq!(plan.len() % 3, 0);
        Ok::<_, Error>(plan.len() / 3)
    };
    // A binding has 16,384 numbers, and a part starts at a multiple of 64 numbers.
    assert_eq!(plan(1, 16_384, 1, 1).unwrap(), 1);
    assert_eq!(plan(1, 256, 1, 130).unwrap(), 3);
    assert_eq!(plan(4, 1_024, 8, 33).unwrap(), 3);
    assert_eq!(plan(4, 1_023, 8, 33).unwrap(), 3);
    assert_eq!(plan(4, 1_024, 8, 16).unwrap(), 1);
    let too_many = |planned: Result<usize, Error>| matches!(planned, Err(Error::Limit { .. }));
    assert!(too_many(plan(4, 1_025, 8, 33)));
    assert_eq!(plan(4, 1_025, 8, 15).unwrap(), 1);
    assert!(too_many(plan(1, 257, 1, 64)));
    assert_eq!(plan(1, 257, 1, 63).unwrap(), 1);
}

/// A forward plan can process all pixels of a frame at once: each row has the coordinates of one pixel.
#[test]
fn a_forward_plan_takes_a_frame() {
    let spec = Sequential::input(6).layer(Linear::new(64)).layer(Relu);
    let spec = spec
        .layer(Linear::new(64))
        .layer(Relu)
        .layer(Linear::new(3));
    let model = spec.build(gpu()).unwrap();
    let count = 1_920 * 1_080;
    let tensor = |label, columns| Tensor::zeros(gpu(), label, [count, columns], Element::F32);
    let plan = model
        .forward_plan(&tensor("x", 6).unwrap(), &tensor("y", 3).unwrap())
        .unwrap();
    // 262,144 rows of 64 floats take 64 MiB.
    assert_eq!(plan.len(), 3 * count.div_ceil(262_144));
}

#[test]
fn a_gradient_of_too_many_rows_says_so() {
    let gpu = narrow();
    let model = networks()[2].build(&gpu).unwrap();
    let x = rows(3_001, 6);
    let gradient = |x: &Array2<f32>, labels: &Labels| {
        model.gradient(
            &SoftmaxCrossEntropy,
            x.view(),
            Targets::Classes(labels.indices()),
        )
    };
    let error = gradient(&x, &labels(3_001, 3)).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("a gradient over 3001 rows at once, for its "),
        "{message}"
    );
    gradient(&rows(100, 6), &labels(100, 3)).unwrap();
}
