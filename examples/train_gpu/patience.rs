/// How long the test accuracy has not risen.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Option<usize>,
    best: f64,
    since_best: usize,
}

impl Patience {
    /// Ends a training after so many evaluations in a row, if after any.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            best: f64::NEG_INFINITY,
            since_best: 0,
        }
    }

    /// Takes the accuracy of the next evaluation.
    pub(crate) fn see(&mut self, accuracy: f64) {
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
            "test accuracy has not risen above {:.4} in {limit} evaluations",
            self.best
        ))
    }
}
