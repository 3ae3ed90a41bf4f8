//! The table of measured errors.

use std::fmt;

/// The worst element of one comparison.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) what: String,
    pub(crate) engine: String,
    /// The largest |found − expected|.
    pub(crate) largest: f64,
    /// |found − expected| of the element that uses the largest share of its tolerance.
    pub(crate) error: f64,
    /// That element's tolerance.
    pub(crate) allowed: f64,
}

impl Row {
    /// The used share of the tolerance; more than 1 is a failure.
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

/// The header of the table.
pub(crate) fn head() -> String {
    format!(
        "{:<36} {:<34} {:<24} {:>9} {:>22} {:>8}",
        "file", "what", "engine", "largest", "worst of tolerance", "used"
    )
}

/// The rows of the table. Of all cases of one comparison, only the worst is kept.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Compares element by element.
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

/// The row that is closer to its tolerance, with the larger `largest` of both.
fn worse(a: Row, b: Row) -> Row {
    let largest = if a.largest >= b.largest {
        a.largest
    } else {
        b.largest
    };
    let worse = if b.share() > a.share() { b } else { a };
    Row { largest, ..worse }
}
