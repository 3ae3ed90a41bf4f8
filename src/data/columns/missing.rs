use super::super::{CellFault, CellKind};

/// Words that mean a missing field, as in pandas. A blank field is also missing.
const USUAL: [&str; 5] = ["NA", "N/A", "NaN", "null", "None"];

/// The user's words for a missing field, without surrounding white space.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Missing {
    words: Vec<String>,
}

impl Missing {
    pub(super) fn new(words: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let trimmed = words
            .into_iter()
            .map(|word| word.as_ref().trim().to_owned());
        let mut words: Vec<String> = trimmed.filter(|word| !word.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        Self { words }
    }

    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether a field is missing. The field is given without surrounding white space.
    pub(super) fn is(&self, field: &str) -> bool {
        let equals = |word: &str| field.eq_ignore_ascii_case(word);
        // Also accepts NaN in any case and with a sign, as C programs print it.
        let is_nan = || field.parse::<f64>().is_ok_and(f64::is_nan);
        field.is_empty()
            || is_nan()
            || USUAL.into_iter().any(equals)
            || self.words.iter().any(|word| equals(word))
    }

    /// Parses the number in a field, which is given without surrounding white space. `None` if the field is missing.
    pub(super) fn number(&self, field: &str) -> Result<Option<f64>, CellFault> {
        if self.is(field) {
            return Ok(None);
        }
        let found = || field.to_owned();
        match field.parse::<f64>() {
            Err(_) => Err(CellFault::NotANumber { found: found() }),
            // A number too large for an `f64` parses as infinite.
            Ok(number) if !number.is_finite() => Err(CellFault::Infinite { found: found() }),
            Ok(number) => Ok(Some(number)),
        }
    }

    /// Parses the yes-or-no answer in a field, which is given without surrounding white space. Yes is `true`.
    pub(super) fn label(&self, field: &str) -> Result<bool, CellFault> {
        if self.is(field) {
            return Err(missing(field, CellKind::Label));
        }
        let is = |words: [&str; 2]| words.iter().any(|word| field.eq_ignore_ascii_case(word));
        match field.parse::<f64>() {
            Ok(0.0) => Ok(false),
            Ok(1.0) => Ok(true),
            _ if is(["no", "false"]) => Ok(false),
            _ if is(["yes", "true"]) => Ok(true),
            _ => Err(CellFault::NotALabel {
                found: field.to_owned(),
            }),
        }
    }
}

/// Creates the error for a missing field.
pub(super) fn missing(field: &str, expected: CellKind) -> CellFault {
    CellFault::Missing {
        found: field.to_owned(),
        expected,
    }
}
