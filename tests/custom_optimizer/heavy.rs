//! An optimizer: the heavy ball method, as in the book. Its fields can contain mistakes.

use std::sync::Arc;

use wgrad::Error;
use wgrad::bytemuck::{Pod, Zeroable};
use wgrad::fields;
use wgrad::kernel::{Binding, KernelRef};
use wgrad::ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};
use wgrad::ops::{Optimizer, Update, UpdatePart};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Rule, UpdateStep};

pub(crate) const WGSL: &str = "
    // Polyak's heavy ball; η is the learning rate of the step, λ the weight decay, μ the momentum:
    //   v ← μ·v − η·(gradient + λ·p),  p ← p + v
    struct Settings { elements: u32, slots: u32, rate: f32, weight_decay: f32, momentum: f32 }
    @group(0) @binding(0) var<uniform> settings: Settings;
    @group(0) @binding(1) var<storage, read> gradients: array<f32>;
    @group(0) @binding(2) var<storage, read> coefficients: array<f32>;
    @group(0) @binding(3) var<storage, read> step_count: array<u32>;
    @group(0) @binding(4) var<storage, read_write> parameters: array<f32>;
    @group(0) @binding(5) var<storage, read_write> velocities: array<f32>;

    @compute @workgroup_size(64)
    fn heavy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i >= settings.elements) { return; }
        let rate = settings.rate * coefficients[4u * (step_count[0] % settings.slots)];
        let p = parameters[i];
        let v = settings.momentum * velocities[i] - rate * (gradients[i] + settings.weight_decay * p);
        velocities[i] = v;
        parameters[i] = p + v;
    }";

pub(crate) const GRADIENTS: Binding = Binding::read("gradients");
pub(crate) const COEFFICIENTS: Binding = Binding::read("coefficients");
const STEP_COUNT: Binding = Binding::read("step_count").of_u32();

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Settings {
    elements: u32,
    slots: u32,
    rate: f32,
    weight_decay: f32,
    momentum: f32,
}

/// The heavy ball method, with fields that can contain a mistake.
#[derive(Debug, Clone)]
pub(crate) struct Heavy {
    pub(crate) source: String,
    pub(crate) bindings: Vec<Binding>,
    /// Returns the number of invocations for a number of elements. `None` records no dispatch.
    pub(crate) invocations: Option<fn(usize) -> usize>,
    /// Changes the values that the kernel gets for a part of the parameters.
    pub(crate) part: fn(&mut UpdatePart),
    /// Whether the optimizer dispatches over whole blocks of parameters, including frozen ones.
    pub(crate) over_blocks: bool,
    pub(crate) describe: fn(f32) -> String,
    pub(crate) state: &'static [&'static str],
    pub(crate) keeps_rate: bool,
    pub(crate) weight_decay: f32,
    pub(crate) learning_rate: f32,
    pub(crate) twin: Formula,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Formula {
    /// Factors by which the reference multiplies the gradient, in `f32` and in `f64`.
    pub(crate) gradient: [f64; 2],
    pub(crate) update: fn(&mut Array2<f64>),
    pub(crate) at: fn(UpdateStep<f64>) -> UpdateStep<f64>,
    pub(crate) panics: bool,
    pub(crate) weight_decay: f64,
}

impl Heavy {
    pub(crate) fn good() -> Self {
        let weight_decay = 0.25;
        Self {
            source: WGSL.to_owned(),
            bindings: vec![
                GRADIENTS,
                COEFFICIENTS,
                STEP_COUNT,
                Binding::write("parameters"),
                Binding::write("velocities"),
            ],
            invocations: Some(|elements| elements),
            part: |_| (),
            over_blocks: false,
            describe: |rate| format!("Heavy {{ learning_rate: {rate:?} }}"),
            state: &["velocity"],
            keeps_rate: false,
            weight_decay,
            learning_rate: 0.1,
            twin: Formula {
                gradient: [1.0; 2],
                update: |_| (),
                at: |at| at,
                panics: false,
                weight_decay: weight_decay.into(),
            },
        }
    }

    /// Returns the optimizer with one change in its WGSL: `from` is replaced by `to`.
    pub(crate) fn with(from: &str, to: &str) -> Self {
        assert!(WGSL.contains(from), "{from}");
        Self {
            source: WGSL.replace(from, to),
            ..Self::good()
        }
    }

    /// Returns the optimizer with a changed reference.
    pub(crate) fn twin(change: impl FnOnce(&mut Formula)) -> Self {
        let mut heavy = Self::good();
        change(&mut heavy.twin);
        heavy
    }

    fn parts(&self, pass: &Update<'_>) -> Vec<UpdatePart> {
        let mut parts = pass.parts(self.weight_decay);
        if self.over_blocks {
            // A mistake: all parameters of a block are treated as one part, including frozen ones.
            parts.truncate(1);
            parts[0].parameters = pass.parameters.blocks()[0].clone();
            parts[0].gradients = pass.gradients.blocks()[0].clone();
            parts[0].state = vec![pass.state[0].blocks()[0].clone()];
        }
        parts.iter_mut().for_each(self.part);
        parts
    }
}

impl Optimizer for Heavy {
    fn describe(&self) -> String {
        (self.describe)(self.learning_rate)
    }

    fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        let learning_rate = if self.keeps_rate {
            self.learning_rate
        } else {
            learning_rate
        };
        Arc::new(Self {
            learning_rate,
            ..self.clone()
        })
    }

    fn has_weight_decay(&self) -> bool {
        self.weight_decay > 0.0
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn state(&self) -> &'static [&'static str] {
        self.state
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        let Some(invocations) = self.invocations else {
            return Ok(());
        };
        let kernel = KernelRef::new("heavy", &self.source, "heavy", &self.bindings);
        let members = fields!(Settings: elements, slots, rate, weight_decay, momentum);
        let kernel = kernel.fields(members);
        for part in self.parts(&pass) {
            let elements = part.parameters.len();
            let settings = Settings {
                elements: elements as u32,
                slots: pass.coefficients.rows() as u32,
                rate: part.rate,
                weight_decay: part.weight_decay,
                momentum: 0.9,
            };
            let gradients = &part.gradients;
            let parameters = &part.parameters;
            let mut tensors = vec![gradients, pass.coefficients, pass.step_count, parameters];
            tensors.extend(part.state.first());
            let count = invocations(elements);
            recorder.dispatch_each(&kernel, settings, &tensors, count, Cost::default());
        }
        Ok(())
    }

    fn reference(&self) -> Rule {
        Rule::of(self.twin)
    }
}

impl<F: Float> reference::Optimizer<F> for Formula {
    fn update(
        &self,
        at: UpdateStep<F>,
        mut parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    ) {
        assert!(!self.panics, "an array of another shape");
        let mut double = UpdateStep::new(at.step, at.learning_rate.into_f64());
        double.weight_decay = at.weight_decay.map(F::into_f64);
        let told = (self.at)(double);
        let rate = F::from_f64(told.learning_rate);
        let decay = told.decay(self.weight_decay);
        let decay = F::from_f64(decay);
        let momentum = F::from_f64(f64::from(0.9f32));
        let factor = F::from_f64(self.gradient[size_of::<F>() / 8]);
        Zip::from(&mut parameter)
            .and(gradient)
            .and(&mut state[0])
            .for_each(|p, &gradient, v| {
                *v = momentum * *v - rate * (factor * gradient + decay * *p);
                *p += *v;
            });
        let mut changed = parameter.mapv(F::into_f64);
        (self.update)(&mut changed);
        parameter.assign(&changed.mapv(F::from_f64));
    }
}
