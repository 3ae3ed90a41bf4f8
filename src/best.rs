//! The values that were stored at the lowest metric so far: one rule for both engines.

use crate::error::Error;

/// The values that were stored at the lowest metric so far, and this metric.
#[derive(Debug)]
pub(crate) struct Best<T> {
    kept: Option<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    metric: f64,
    step: u64,
    values: T,
}

impl<T> Default for Best<T> {
    fn default() -> Self {
        Self { kept: None }
    }
}

impl<T> Best<T> {
    /// Stores values if their metric is lower than that of the stored values, or if no values are stored yet. Never
    /// stores values with a NaN metric. `step` is the number of steps taken. Returns whether the values were stored.
    /// `keep` makes the values; it receives the values stored before and may reuse their memory. If `keep` fails,
    /// nothing is stored.
    pub(crate) fn keep_if_lower(
        &mut self,
        metric: f64,
        step: u64,
        keep: impl FnOnce(Option<T>) -> Result<T, Error>,
    ) -> Result<bool, Error> {
        let is_lower = self.kept.as_ref().is_none_or(|kept| metric < kept.metric);
        if metric.is_nan() || !is_lower {
            return Ok(false);
        }
        let room = self.kept.take().map(|kept| kept.values);
        let values = keep(room)?;
        self.kept = Some(Kept {
            metric,
            step,
            values,
        });
        Ok(true)
    }

    /// The metric of the stored values, and the number of steps taken before they were stored.
    pub(crate) fn place(&self) -> Option<(f64, u64)> {
        self.kept.as_ref().map(|kept| (kept.metric, kept.step))
    }

    /// The stored values.
    ///
    /// # Errors
    /// [`Error::Setting`] when no values are stored.
    pub(crate) fn values(&self) -> Result<&T, Error> {
        let values = self.kept.as_ref().map(|kept| &kept.values);
        values.ok_or_else(|| {
            let expected = "stored by an earlier call of keep_if_best";
            Error::setting("parameters to restore", expected, "none")
        })
    }

    /// Drops the stored values.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
    }
}

#[cfg(test)]
mod tests {
    use super::Best;
    use crate::error::Error;

    #[test]
    fn the_lowest_is_kept() -> Result<(), Error> {
        let mut best = Best::default();
        assert!(best.values().is_err() && best.place().is_none());
        // Of equal metrics, the first is stored. A NaN is never stored.
        let metrics = [f64::NAN, 2.0, 2.0, f64::NAN, 3.0, 1.0, f64::NEG_INFINITY];
        let expected = [false, true, false, false, false, true, true];
        for (step, (metric, expected)) in (0..).zip(metrics.into_iter().zip(expected)) {
            let before = best.values().ok().copied();
            let is_kept = best.keep_if_lower(metric, step, |room| {
                assert_eq!(room, before);
                Ok(step)
            })?;
            assert_eq!(is_kept, expected, "{metric}");
        }
        assert_eq!(
            (best.place(), *best.values()?),
            (Some((f64::NEG_INFINITY, 6)), 6)
        );
        best.forget();
        assert!(best.keep_if_lower(9.0, 7, |_| Ok(7))?);
        let failed = || Error::setting("room", "some", "none");
        assert!(best.keep_if_lower(8.0, 8, |_| Err(failed())).is_err());
        assert_eq!(best.place(), None);
        Ok(())
    }
}
