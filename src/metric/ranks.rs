//! The area under an ROC curve, computed from ranks.

use crate::error::Error;

/// Computes the fraction of all (positive, negative) pairs in which the positive example has the higher score; equal
/// scores count as half. This is the Mann–Whitney statistic. It is NaN if any score is NaN. `whose` names the class or
/// label in the error.
pub(super) fn area_under_curve(
    whose: &str,
    scored: impl Iterator<Item = (f64, bool)>,
) -> Result<f64, Error> {
    let mut scored: Vec<(f64, bool)> = scored.collect();
    let positives = scored
        .iter()
        .filter(|(_, is_positive)| *is_positive)
        .count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 {
        let name = format!("rows of the metric roc_auc, {whose}");
        let expected = "some with it and some without it";
        let found = match positives {
            0 => format!("none of {negatives} with it"),
            _ => format!("{positives}, all with it"),
        };
        return Err(Error::setting(name, expected, found));
    }
    if scored.iter().any(|(score, _)| score.is_nan()) {
        return Ok(f64::NAN);
    }
    scored.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    // Twice the number of ordered pairs, so that a tie adds 1.
    let mut pairs = 0u128;
    let mut below = 0u128;
    // `==` treats zeros of both signs as equal.
    for equal in scored.chunk_by(|(a, _), (b, _)| a == b) {
        let of_positives = equal.iter().filter(|(_, is_positive)| *is_positive).count();
        let of_positives = of_positives as u128;
        let all = equal.len() as u128;
        let of_negatives = all - of_positives;
        pairs += of_positives * (2 * below + of_negatives);
        below += of_negatives;
    }
    Ok(pairs as f64 / 2.0 / positives as f64 / negatives as f64)
}
