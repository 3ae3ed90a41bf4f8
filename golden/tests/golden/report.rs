//! The report: a table of the measured errors.

use std::fmt;

/// A row of the table: the worst element of one comparison.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) what: String,
    pub(crate) engine: String,
    /// The largest difference |found − expected| of all elements.
    pub(crate) largest: f64,
    /// The difference |found − expected| of the worst element: the one with the largest error relative to its
    /// tolerance.
    pub(crate) error: f64,
    /// The tolerance of the worst element.
    pub(crate) allowed: f64,
}

impl Row {
    /// Returns the error divided by the tolerance. More than 1 is a failure.
    pub(crate) fn share(&self) -> f64 {
        if self.error == 0.0 {
            0.0
        } else if self.error.is_nan() {
            f64::INFINITY
        } else {
            self.error / self.allowed
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<36} {:<34} {:<24} {:>9.2e} {:>9.2e} of {:>9.2e} {:>6.1} %",
            self.file,
            self.what,
            self.engine,
            self.largest,
            self.error,
            self.allowed,
            100.0 * self.share()
        )
    }
}

/// Returns the header of the table.
pub(crate) fn head() -> String {
    format!(
        "{:<36} {:<34} {:<24} {:>9} {:>22} {:>8}",
        "file", "what", "engine", "largest", "worst of tolerance", "used"
    )
}

/// The table of measured errors. Of all cases of one comparison, it shows only the worst one.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Compares results element by element, and adds the worst element to the table.
    pub(crate) fn compare(
        &mut self,
        [file, what, case, engine]: [&str; 4],
        found: &[f64],
        expected: &[f64],
        allowed: impl Fn(usize) -> f64,
    ) {
        assert_eq!(
            found.len(),
            expected.len(),
            "{file}: {case}{what}: number of elements"
        );
        assert!(
            !found.is_empty(),
            "{file}: {case}{what}: nothing to compare"
        );
        let row = |(at, (&found, &expected)): (usize, (&f64, &f64))| {
            #[expect(clippy::float_cmp, reason = "equal infinities differ by NaN")]
            let error = if found == expected {
                0.0
            } else {
                (found - expected).abs()
            };
            Row {
                file: file.to_owned(),
                what: what.to_owned(),
                engine: engine.to_owned(),
                largest: error,
                error,
                allowed: allowed(at),
            }
        };
        let rows = found.iter().zip(expected).enumerate().map(row);
        let Some(mut worst) = rows.reduce(worse) else {
            return;
        };
        let same = |row: &&mut Row| {
            row.file == file && row.engine == engine && row.what.split(' ').next() == Some(what)
        };
        if !case.is_empty() {
            worst.what = format!("{what} (worst: {})", case.trim_end_matches('.'));
        }
        match self.rows.iter_mut().find(same) {
            Some(row) => *row = worse(row.clone(), worst),
            None => self.rows.push(worst),
        }
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        let failed = self.rows.iter().filter(|row| row.share() > 1.0);
        failed.map(ToString::to_string).collect()
    }
}

/// Combines two rows. The result is the row whose error is larger relative to its tolerance, with the larger value of
/// `largest`.
fn worse(a: Row, b: Row) -> Row {
    let largest = if a.largest >= b.largest {
        a.largest
    } else {
        b.largest
    };
    let worse = if b.share() > a.share() { b } else { a };
    Row { largest, ..worse }
}
