use crate::log::decimals;

/// How long the test accuracy has not risen.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Option<usize>,
    best: Option<f64>,
    since_best: usize,
}

impl Patience {
    /// Ends a training after so many evaluations in a row, if after any.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            best: None,
            since_best: 0,
        }
    }

    /// Takes the accuracy of the next evaluation.
    pub(crate) fn see(&mut self, accuracy: Option<f64>) {
        // No accuracy is below all others.
        if accuracy > self.best {
            self.best = accuracy;
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
    }

    /// Why the training should end now, if it should.
    pub(crate) fn at_end(&self) -> Option<String> {
        let limit = self.limit.filter(|&limit| self.since_best >= limit)?;
        Some(format!(
            "test accuracy has not risen above {} in {limit} evaluations",
            decimals(self.best)
        ))
    }
}
