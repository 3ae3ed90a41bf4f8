//! A training that the page controls.

use std::pin::Pin;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use wgrad::data::Dataset;
use wgrad::ndarray::{Array2, ArrayView2};
use wgrad::{Error, Later};

use crate::data::Data;
use crate::device::Device;
use crate::engine::{Engine, Training};
use crate::error::thrown;
use crate::settings::Settings;

/// Name of the parameter that the page draws as images.
const FIRST_WEIGHT: &str = "layers.0.weight";

/// A network in training.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    /// The test set, split into parts. Empty if the session learns a photo, because that has no test set.
    test_parts: Vec<Dataset>,
}

/// The result of an evaluation.
#[wasm_bindgen]
#[derive(Debug, Clone, Copy)]
pub struct Evaluation {
    /// Mean loss over the examples.
    pub loss: f64,
    /// Fraction of correctly classified examples, 0 to 1. NaN if the examples have no classes.
    pub accuracy: f64,
    /// Number of evaluated examples.
    pub examples: usize,
}

#[wasm_bindgen]
impl Session {
    /// Creates the training of a classifier. It has not taken any step yet.
    ///
    /// # Errors
    /// Throws an `Error` named `Setting`, `Limit`, `Shape`, `Plan`, `OutOfMemory` or `DeviceLost`. The message gives
    /// the reason.
    #[wasm_bindgen(constructor)]
    pub fn new(device: &Device, data: &Data, settings: &Settings) -> Result<Self, JsValue> {
        let parts = data.test_parts.clone();
        let training = settings.training(&data.train);
        let session = training.and_then(|training| Self::begin(device, training, parts));
        session.map_err(thrown)
    }

    /// Takes `count` steps. On a GPU, this method submits the steps and returns before they are done. On the CPU, the
    /// steps are done when it returns.
    ///
    /// # Errors
    /// Throws an `Error` named `DeviceLost`, `OutOfMemory`, `Gpu` or `Diverged`. On a GPU, it throws `Diverged` only
    /// after `losses` has found the divergence.
    pub fn advance(&mut self, count: usize) -> Result<(), JsValue> {
        self.engine.advance(count).map_err(thrown)
    }

    /// Number of steps submitted so far. On the CPU, these steps are also done.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn steps(&self) -> f64 {
        self.engine.steps_taken() as f64
    }

    /// Describes in words how a step is computed, for example its dispatches.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn plan(&self) -> String {
        self.engine.plan_in_words()
    }

    /// Resolves when all submitted steps are done.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn done(&self) -> Promise {
        promise(self.engine.done(), |()| JsValue::UNDEFINED)
    }

    /// Resolves to the losses of the last `count` steps, at most 16,384 losses. Rejects with an `Error` named
    /// `Diverged` if a loss is not finite or, for a classifier, not below 2²⁴.
    #[wasm_bindgen(unchecked_return_type = "Promise<Float32Array>")]
    pub fn losses(&self, count: usize) -> Promise {
        promise(self.engine.losses(count), floats)
    }

    /// Number of parts of the test set. Each part is evaluated by its own call, so that no call takes long.
    #[wasm_bindgen(getter, js_name = testParts)]
    #[must_use]
    pub fn test_parts(&self) -> usize {
        self.test_parts.len()
    }

    /// Resolves to loss and accuracy over one part of the test set. `part` counts from 0.
    #[wasm_bindgen(js_name = evaluatePart, unchecked_return_type = "Promise<Evaluation>")]
    pub fn evaluate_part(&mut self, part: usize) -> Promise {
        let Some(examples) = self.test_parts.get(part) else {
            return promise(never(part, self.test_parts()), |()| JsValue::UNDEFINED);
        };
        let count = examples.len();
        promise(self.engine.evaluate(&examples.into()), move |evaluation| {
            let found = Evaluation {
                loss: evaluation.loss,
                accuracy: evaluation.accuracy.unwrap_or(f64::NAN),
                examples: count,
            };
            found.into()
        })
    }

    /// Classifies images of 28×28 bytes, one after another in `images`. Resolves to the probability of each class for
    /// each image, shape (images, classes).
    #[wasm_bindgen(unchecked_return_type = "Promise<Float32Array>")]
    pub fn classify(&mut self, images: &[u8]) -> Promise {
        let rows: Vec<f32> = images.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        // Without test examples, the session learns a photo and classifies nothing: `images` becomes 0.
        let inputs = self.test_parts.first().map_or(usize::MAX, Dataset::width);
        let images = images.len() / inputs;
        if images == 0 {
            return promise(never(0, images), |()| JsValue::UNDEFINED);
        }
        let shape = [images, inputs];
        let Ok(x) = ArrayView2::from_shape(shape, &rows[..images * inputs]) else {
            return promise(never(images, images), |()| JsValue::UNDEFINED);
        };
        promise(self.predict(x), |logits| {
            let classes = logits.ncols();
            let mut logits: Vec<f32> = logits.into_iter().collect();
            logits.chunks_mut(classes).for_each(softmax);
            floats(logits)
        })
    }

    /// Resolves to the first layer's weights in row-major order. Their shape is (inputs, units) in a dense network, and
    /// (filters, 1, 5, 5) in a convolutional network.
    #[wasm_bindgen(js_name = firstWeights, unchecked_return_type = "Promise<Float32Array>")]
    pub fn first_weights(&self) -> Promise {
        promise(self.engine.parameter(FIRST_WEIGHT), |weights| {
            floats(weights.into_iter().collect())
        })
    }

    /// Resolves to the bytes of a safetensors file with the whole training. `train_gpu --resume` can continue it.
    /// Rejects with an `Error` named `Diverged` if the training has diverged.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn save(&self) -> Promise {
        promise(self.engine.to_safetensors(), |file| {
            js_sys::Uint8Array::from(&file[..]).into()
        })
    }

    /// Restores a training from the bytes of a file that `save` or `train_gpu --save` has written.
    ///
    /// # Errors
    /// Throws an `Error` named `Checkpoint` if the file is invalid or belongs to another training.
    pub fn resume(&mut self, file: &[u8]) -> Result<(), JsValue> {
        self.engine.set_safetensors(file).map_err(thrown)
    }

    /// Replaces the network's parameters by those of a safetensors file, and ignores the rest of the file.
    ///
    /// # Errors
    /// Throws an `Error` named `Checkpoint` if the file is invalid or belongs to another network.
    #[wasm_bindgen(js_name = setWeights)]
    pub fn set_weights(&mut self, file: &[u8]) -> Result<(), JsValue> {
        self.engine.set_weights(file).map_err(thrown)
    }
}

impl Session {
    /// Creates a session for this training. `test_parts` may be empty.
    pub(crate) fn begin(
        device: &Device,
        training: Training,
        test_parts: Vec<Dataset>,
    ) -> Result<Self, Error> {
        let engine = Engine::begin(device, training)?;
        Ok(Self { engine, test_parts })
    }

    /// Computes the network's outputs, shape (rows, outputs), for the inputs `x`, shape (rows, inputs). Uses the
    /// weights at the time of the call.
    pub(crate) fn predict(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>> {
        self.engine.predict(x)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.engine.destroy();
    }
}

/// Converts a future to a JavaScript promise. The future is boxed, so that all futures have one type. Each further type
/// of future would add 3 kB to the WebAssembly module.
pub(crate) fn promise<T: 'static>(
    later: Later<T>,
    convert: impl FnOnce(T) -> JsValue + 'static,
) -> Promise {
    type Converted = Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>;
    let converted: Converted = Box::pin(async move { later.await.map(convert).map_err(thrown) });
    future_to_promise(converted)
}

fn never(found: usize, parts: usize) -> Later<()> {
    let error = Error::Setting {
        name: "part".to_owned(),
        expected: format!("below {parts}"),
        found: found.to_string(),
    };
    Box::pin(std::future::ready(Err(error)))
}

fn floats(values: Vec<f32>) -> JsValue {
    js_sys::Float32Array::from(&values[..]).into()
}

/// Replaces logits by probabilities: `exp(x) / Σ exp(x)`. The largest logit is subtracted first to avoid overflow.
fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits
        .iter_mut()
        .for_each(|logit| *logit = (*logit - largest).exp());
    let sum: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|logit| *logit /= sum);
}
