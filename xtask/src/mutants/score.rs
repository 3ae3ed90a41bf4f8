//! Counts the faults that were caught, by shader, by kind and by test binary.

use std::collections::BTreeMap;
use std::fmt;

use super::faults::Fault;
use super::runner::How;

/// The outcome of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A test of the binary `by` detected the fault.
    Caught {
        by: &'static str,
        how: How,
    },
    Lived,
    /// The fault is listed as changing no result.
    Equivalent,
    /// The faulty shader is not valid WGSL.
    Invalid,
}

/// The number of faults with each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    caught: usize,
    lived: usize,
    equivalent: usize,
    invalid: usize,
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Caught { .. } => &mut self.caught,
            Outcome::Lived => &mut self.lived,
            Outcome::Equivalent => &mut self.equivalent,
            Outcome::Invalid => &mut self.invalid,
        } += 1;
    }

    /// Returns the number of faults that a test could have caught.
    fn planted(self) -> usize {
        self.caught + self.lived
    }

    fn percent(self) -> String {
        match self.planted() {
            0 => "–".to_owned(),
            planted => format!("{:.1} %", 100.0 * self.caught as f64 / planted as f64),
        }
    }
}

/// The score of all planted faults.
#[derive(Debug, Default)]
pub(crate) struct Score {
    all: Count,
    by_shader: BTreeMap<String, Count>,
    by_kind: BTreeMap<&'static str, Count>,
    /// For each test binary: the number of faults that its tests caught in total, by a crash, and by a timeout.
    by_test: BTreeMap<&'static str, [usize; 3]>,
}

impl Score {
    pub(crate) fn add(&mut self, fault: &Fault, outcome: &Outcome) {
        self.all.add(outcome);
        let of_shader = self.by_shader.entry(fault.shader.clone());
        of_shader.or_default().add(outcome);
        self.by_kind
            .entry(fault.kind.name())
            .or_default()
            .add(outcome);
        if let Outcome::Caught { by, how } = outcome {
            let [all, crashed, hung] = self.by_test.entry(by).or_default();
            *all += 1;
            *crashed += usize::from(*how == How::Crashed);
            *hung += usize::from(*how == How::Hung);
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, count: Count) -> fmt::Result {
    let Count {
        caught,
        lived,
        equivalent,
        invalid,
    } = count;
    let planted = count.planted();
    let percent = count.percent();
    writeln!(
        f,
        "{name:<26}{planted:>8}{caught:>8}{lived:>7}{percent:>9}{equivalent:>12}{invalid:>9}"
    )
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, counts) in [
            (
                "shader",
                self.by_shader
                    .iter()
                    .map(|(name, &count)| (&**name, count))
                    .collect(),
            ),
            (
                "kind",
                self.by_kind
                    .iter()
                    .map(|(&name, &count)| (name, count))
                    .collect::<Vec<_>>(),
            ),
        ] {
            writeln!(
                f,
                "{what:<26}{:>8}{:>8}{:>7}{:>9}{:>12}{:>9}",
                "planted", "caught", "lived", "score", "equivalent", "invalid"
            )?;
            for (name, count) in counts {
                row(f, name, count)?;
            }
            row(f, "all", self.all)?;
            writeln!(f)?;
        }
        writeln!(
            f,
            "{:<26}{:>8}{:>12}{:>12}",
            "caught by", "all", "by a crash", "too slow"
        )?;
        for (name, [all, crashed, hung]) in &self.by_test {
            writeln!(f, "{name:<26}{all:>8}{crashed:>12}{hung:>12}")?;
        }
        let all = self.all;
        let percent = self.all.percent();
        write!(
            f,
            "\n{} of {} faults were caught: {percent}",
            all.caught,
            all.planted()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::faults;
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_not_in_the_score() {
        let text = "fn f() {\n    a = min(b, c);\n    barrier();\n}\n";
        let faults = [faults("one", text), faults("two", text)].concat();
        let caught = |how| Outcome::Caught { by: "parity", how };
        let outcomes = [
            caught(How::Failed),
            caught(How::Crashed),
            Outcome::Lived,
            Outcome::Invalid,
            caught(How::Hung),
            Outcome::Equivalent,
            Outcome::Invalid,
            Outcome::Invalid,
        ];
        assert_eq!(faults.len(), outcomes.len());
        let mut score = Score::default();
        for (fault, outcome) in faults.iter().zip(&outcomes) {
            score.add(fault, outcome);
        }
        let expected = "\
shader                     planted  caught  lived    score  equivalent  invalid
one                              3       2      1   66.7 %           0        1
two                              1       1      0  100.0 %           1        2
all                              4       3      1   75.0 %           1        3

kind                       planted  caught  lived    score  equivalent  invalid
assignment                       1       1      0  100.0 %           1        0
function                         1       0      1    0.0 %           0        1
statement                        2       2      0  100.0 %           0        2
all                              4       3      1   75.0 %           1        3

caught by                      all  by a crash    too slow
parity                           3           1           1

3 of 4 faults were caught: 75.0 %";
        assert_eq!(score.to_string(), expected);
    }

    #[test]
    fn without_faults_there_is_no_score() {
        let text = Score::default().to_string();
        assert!(text.ends_with("0 of 0 faults were caught: –"), "{text}");
    }
}
