//! What a session asks of a GPU and of the processor alike.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use wgrad::data::Dataset;
use wgrad::{Error, Evaluation};

/// The parameter that is drawn unit by unit.
pub(crate) const FIRST_WEIGHT: &str = "layers.0.weight";

/// An answer of the time of the question.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// A training on a device.
pub(crate) trait Engine: Debug {
    /// Begins `count` steps; on the processor, takes them.
    fn advance(&mut self, count: usize) -> Result<(), Error>;

    /// Steps begun.
    fn steps(&self) -> u64;

    /// Ready when all steps begun are done.
    fn done(&self) -> Later<()>;

    /// Losses of the last `count` steps.
    fn losses(&self, count: usize) -> Later<Vec<f32>>;

    /// Loss and accuracy over a data set.
    fn evaluate(&mut self, examples: &Dataset) -> Later<Evaluation>;

    /// Logits of rows of features, (rows, classes).
    fn logits(&mut self, rows: &[f32]) -> Later<Vec<f32>>;

    /// The first layer's weights, (inputs, outputs).
    fn first_weights(&self) -> Later<Vec<f32>>;

    /// The state of the training as a safetensors file.
    fn save(&self) -> Later<Vec<u8>>;

    /// Goes on from such a file.
    fn resume(&mut self, file: &[u8]) -> Result<(), Error>;

    /// Takes only the weights of a file.
    fn set_weights(&mut self, file: &[u8]) -> Result<(), Error>;

    /// How a step is made, in a few words.
    fn plan(&self) -> String;
}
