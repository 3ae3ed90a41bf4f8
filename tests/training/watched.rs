//! An SGD from outside the crate. With it, a test can observe when updates are recorded.

use std::fmt;
use std::sync::Arc;

use wgrad::Error;
use wgrad::ops::{Optimizer, Sgd, Update};
use wgrad::plan::Recorder;
use wgrad::reference::Rule;

/// SGD that calls a function before it records an update. The function may return an error.
pub(super) struct Watched {
    sgd: Sgd,
    before: Box<dyn Fn() -> Result<(), Error> + Send + Sync>,
}

impl Watched {
    pub(super) fn new(
        sgd: Sgd,
        before: impl Fn() -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        let before = Box::new(before);
        Self { sgd, before }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sgd.fmt(f)
    }
}

impl Optimizer for Watched {
    fn describe(&self) -> String {
        self.sgd.describe()
    }

    fn learning_rate(&self) -> f32 {
        self.sgd.learning_rate()
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        self.sgd.with_learning_rate(learning_rate)
    }

    fn check(&self) -> Result<(), Error> {
        self.sgd.check()
    }

    fn state(&self) -> &'static [&'static str] {
        self.sgd.state()
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        (self.before)()?;
        self.sgd.update(recorder, pass)
    }

    fn reference(&self) -> Rule {
        self.sgd.reference()
    }
}
