//! Reports as people read them.

use std::fmt;

use super::{Access, Block, Finding, Place, Problem, Report, Side, Space};

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::AtomicRead => "atomic read",
            Self::AtomicWrite => "atomic write",
        })
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storage => "storage",
            Self::Uniform => "uniform",
            Self::Workgroup => "workgroup",
            Self::Private => "private",
            Self::Function => "function",
        })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.what, self.place.text)
    }
}

/// `workgroup variable v`, or what has no name.
fn named(space: Space, name: &str) -> String {
    match (space, name) {
        (Space::Function, "a value") => name.to_owned(),
        (Space::Function, _) => format!("variable `{name}`"),
        _ => format!("{space} variable `{name}`"),
    }
}

/// Where in a variable.
fn at(space: Space, offset: u64) -> String {
    match space {
        Space::Storage | Space::Uniform => format!("byte {offset}"),
        _ => format!("scalar {offset}"),
    }
}

fn with_article(access: Access) -> String {
    match access {
        Access::Read | Access::Write => format!("a {access}"),
        Access::AtomicRead | Access::AtomicWrite => format!("an {access}"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Race {
                space,
                variable,
                access,
                other,
                offset,
            } => write!(
                f,
                "data race on {}, {}: {} after {}, and nothing orders them",
                named(*space, variable),
                at(*space, *offset),
                with_article(*access),
                with_article(*other),
            ),
            Self::Divergence => {
                write!(f, "not all invocations of a workgroup reach this barrier")
            }
            Self::OutOfBounds {
                space,
                variable,
                access,
                index,
                length,
                in_bytes,
            } => {
                let variable = named(*space, variable);
                match in_bytes {
                    true => write!(
                        f,
                        "{access} out of bounds of {variable}: from byte {index} on, and {length} bytes are bound"
                    ),
                    false => write!(
                        f,
                        "{access} out of bounds of {variable}: element {index} of {length}"
                    ),
                }
            }
            Self::Unwritten {
                space,
                variable,
                offset,
            } => write!(
                f,
                "read of {}, {}, before anybody wrote it",
                named(*space, variable),
                at(*space, *offset),
            ),
            Self::Division => write!(
                f,
                "integer division by zero, or of the smallest number by -1"
            ),
            Self::Shift { by } => write!(f, "shift by {by} bits of a number that has 32"),
            Self::Conversion { value, to } => {
                write!(
                    f,
                    "conversion of {value:?} to {to}, which has no such number"
                )
            }
            Self::Endless { budget } => write!(
                f,
                "an invocation went round its loops more than {budget} times"
            ),
            Self::OrderDependent {
                buffer,
                variable,
                word,
                values: [first, other],
            } => {
                let float = |bits: u32| f32::from_bits(bits);
                write!(
                    f,
                    "the result depends on the order of invocations: word {word} of `{variable}` (buffer {buffer}) is \
                     {first:#010x} ({:?}) in the first order and {other:#010x} ({:?}) in another",
                    float(*first),
                    float(*other),
                )
            }
        }
    }
}

fn triple([x, y, z]: [u32; 3]) -> String {
    format!("({x}, {y}, {z})")
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: `{}` by invocation {} of workgroup {}",
            self.place,
            self.place.text,
            triple(self.invocation),
            triple(self.workgroup)
        )
    }
}

impl Finding {
    /// What would mend it, or what to look at.
    fn remedy(&self) -> Option<String> {
        let (side, other) = (self.side.as_ref()?, self.other.as_ref());
        Some(match &self.problem {
            Problem::Race { space, .. } => {
                let is_one_workgroup = other.is_none_or(|other| other.workgroup == side.workgroup);
                match (space, is_one_workgroup) {
                    (Space::Workgroup, _) => {
                        "both need a workgroupBarrier() between them that all invocations pass".to_owned()
                    }
                    (_, true) => {
                        "both need a storageBarrier() between them that all invocations pass".to_owned()
                    }
                    (_, false) => "nothing orders the workgroups of a dispatch: each must have locations of its own, \
                                   or both accesses be atomic"
                        .to_owned(),
                }
            }
            Problem::Divergence => match other {
                Some(other) if other.place == side.place => {
                    "both are at the same barrier, in different iterations of a loop".to_owned()
                }
                _ => "the condition on the way there must be the same for the whole workgroup"
                    .to_owned(),
            },
            Problem::Endless { .. } => {
                "if that is meant, give a larger budget of loop iterations; a loop that \
                                        waits for another invocation may never end on a GPU"
                    .to_owned()
            }
            Problem::Unwritten {
                space: Space::Workgroup,
                ..
            } => "write it first, or let workgroup memory start as zeros".to_owned(),
            _ => return None,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.problem)?;
        if self.times > 1 {
            write!(f, " ({} times)", self.times)?;
        }
        if let Some(side) = &self.side {
            write!(f, "\n  at    {side}")?;
        }
        match (&self.other, &self.problem) {
            (Some(other), Problem::Divergence) => write!(f, "\n  while {other}")?,
            (Some(other), _) => write!(f, "\n  after {other}")?,
            (None, _) => {}
        }
        self.remedy()
            .map_or(Ok(()), |remedy| write!(f, "\n  {remedy}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}\n")?;
        }
        let unreached = self.reached.iter().filter(|&&reached| !reached).count();
        match self.findings.len() {
            0 => write!(f, "clean")?,
            1 => write!(f, "1 problem")?,
            count => write!(f, "{count} problems")?,
        }
        write!(f, "; {} operations; ", self.operations)?;
        match unreached {
            0 => write!(f, "every block was reached"),
            count => write!(
                f,
                "{count} of {} blocks were never reached",
                self.reached.len()
            ),
        }
    }
}
