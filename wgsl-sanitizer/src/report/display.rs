//! Formats findings as text.

use std::fmt::{self, Display, Formatter};

use super::{Access, Block, Finding, Place, Problem, Report, Side, Space};

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            file, line, column, ..
        } = self;
        write!(f, "{file}:{line}:{column}")
    }
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "written",
            Self::AtomicRead => "read atomically",
            Self::AtomicWrite => "written atomically",
        })
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storage => "storage",
            Self::Uniform => "uniform memory",
            Self::Workgroup => "workgroup memory",
            Self::Private => "private memory",
            Self::Function => "memory of a function",
        })
    }
}

/// Displays the name of a variable in backticks. The text "a value" is displayed as it is.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.contains(' ') {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0)
        }
    }
}

impl Finding {
    fn title(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Race {
                space, location, ..
            } => {
                let missing = self.missing();
                write!(f, "data race on `{location}` in {space}: {missing}")
            }
            Problem::Divergence => {
                f.write_str("not all invocations of a workgroup reach this barrier")
            }
            Problem::OutOfBounds {
                space: _,
                variable,
                access,
                index,
                length,
                in_bytes: true,
            } => {
                let bound = counted(*length, "byte");
                write!(
                    f,
                    "out of bounds: {} is {access} from byte {index} on, but {bound} are bound there",
                    Name(variable)
                )
            }
            Problem::OutOfBounds {
                space,
                variable,
                access,
                index,
                length,
                in_bytes: false,
            } => {
                let there = match space {
                    Space::Storage | Space::Uniform => "bound there",
                    Space::Workgroup | Space::Private | Space::Function => "there",
                };
                let are = if *length == 1 { "is" } else { "are" };
                let elements = counted(*length, "element");
                write!(
                    f,
                    "out of bounds: {} is {access} at index {index}, but {elements} {are} {there}",
                    Name(variable)
                )
            }
            Problem::Unwritten {
                space, location, ..
            } => write!(
                f,
                "unwritten: `{location}` in {space} is read, but nothing wrote it"
            ),
            Problem::Division => {
                f.write_str("integer division by zero, or with a quotient that overflows")
            }
            Problem::Shift { by } => write!(f, "shift by {by} of a number of 32 bits"),
            Problem::Conversion { value, to } => {
                write!(
                    f,
                    "conversion of {value} to {to}, which cannot represent this number"
                )
            }
            Problem::Endless { budget } => {
                let iterations = counted(*budget, "loop iteration");
                write!(f, "endless: more than {iterations} of one invocation")
            }
            Problem::OrderDependent {
                location,
                scalar,
                orders: [first, other],
                values,
                ..
            } => {
                let [one, two] = values.map(|bits| scalar.text(bits));
                write!(
                    f,
                    "order-dependent: `{location}` is {one} after the order {first}, {two} after {other}"
                )
            }
        }
    }

    /// Returns whether both sides of a race belong to the same workgroup.
    pub(crate) fn is_within(&self) -> bool {
        let group = |side: &Option<Side>| side.as_ref().map(|side| side.workgroup);
        group(&self.side) == group(&self.other)
    }

    /// Returns whether the expressions of the two sides overlap in the source. No barrier can then stand between them.
    fn is_one_statement(&self) -> bool {
        let (Some(side), Some(other)) = (&self.side, &self.other) else {
            return false;
        };
        let one = &side.place;
        let two = &other.place;
        let end = |place: &Place| {
            let length = place.text.chars().count();
            u32::try_from(length).map_or(u32::MAX, |length| place.column.saturating_add(length))
        };
        (&one.file, one.line) == (&two.file, two.line)
            && one.column < end(two)
            && two.column < end(one)
    }

    /// Says which ordering is missing between the two accesses of a race.
    fn missing(&self) -> &'static str {
        match &self.problem {
            _ if !self.is_within() => "nothing orders workgroups of a dispatch",
            _ if self.is_one_statement() => "nothing orders the invocations here",
            Problem::Race {
                space: Space::Workgroup,
                ..
            } => "no workgroupBarrier() between",
            _ => "no storageBarrier() between",
        }
    }

    /// Returns one line on how to correct the problem.
    fn help(&self) -> &'static str {
        match &self.problem {
            Problem::Race { .. } if !self.is_within() => {
                "give each workgroup elements of its own, make all accesses atomic, or use two dispatches"
            }
            Problem::Race { .. } if self.is_one_statement() => {
                "give each invocation an element of its own, or use atomics; a barrier helps if a loop repeats this statement"
            }
            Problem::Race {
                space: Space::Workgroup,
                ..
            } => "put a workgroupBarrier() that all invocations reach between the two",
            Problem::Race { .. } => {
                "put a storageBarrier() that all invocations reach between the two"
            }
            Problem::Divergence => {
                "move it to where all invocations of the workgroup execute it equally often; a GPU may hang here"
            }
            Problem::OutOfBounds { .. } => {
                "guard the access, or make the array larger: a GPU may use any element instead, or none"
            }
            Problem::Unwritten {
                space: Space::Workgroup,
                ..
            } => {
                "write it first, and put a workgroupBarrier() between if another invocation reads it"
            }
            Problem::Unwritten { .. } => "write it first, or give the buffer contents",
            Problem::Division => {
                "guard the divisor: in WGSL, x / 0 = x and x % 0 = 0, also if the quotient overflows"
            }
            Problem::Shift { .. } => {
                "guard the amount: WGSL shifts by the amount modulo 32, so a shift by 32 changes nothing"
            }
            Problem::Conversion { .. } => {
                "clamp the number first: WGSL takes the nearest number that both types have, and any number for NaN"
            }
            Problem::Endless { .. } => {
                "raise the budget if the loop would end; an invocation may wait for another only at a barrier"
            }
            Problem::OrderDependent { .. } => {
                "no order is promised: let no result depend on which invocation comes first"
            }
        }
    }

    /// Says what each side did: a text that precedes the side's place in the source.
    fn actions(&self) -> [String; 2] {
        match &self.problem {
            Problem::Race { access, other, .. } => [format!("{access} by"), format!("{other} by")],
            Problem::Divergence => {
                let [side, other] = [&self.side, &self.other].map(|side| side.as_ref());
                let is_same = side.map(|side| &side.place) == other.map(|other| &other.place);
                let is_barrier = other.is_some_and(|other| {
                    let mut barriers = BARRIERS.iter();
                    barriers.any(|barrier| other.place.text.starts_with(barrier))
                });
                let deed = match (is_same, is_barrier) {
                    (true, _) => "at the same barrier, after fewer or more loop iterations:",
                    (false, true) => "at another barrier:",
                    (false, false) => "not here, because it returned or waits elsewhere:",
                };
                ["waiting:".to_owned(), deed.to_owned()]
            }
            _ => ["by".to_owned(), "by".to_owned()],
        }
    }
}

/// The names of the WGSL functions at which invocations wait.
const BARRIERS: [&str; 4] = [
    "workgroupBarrier",
    "storageBarrier",
    "textureBarrier",
    "workgroupUniformLoad",
];

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.title(f)?;
        for (side, deed) in [&self.side, &self.other].into_iter().zip(self.actions()) {
            let Some(Side {
                place,
                workgroup,
                invocation,
                calls,
            }) = side
            else {
                continue;
            };
            let [x, y, z] = workgroup;
            let [i, j, k] = invocation;
            write!(f, "\n  --> {place}")?;
            if !place.text.is_empty() {
                write!(f, "\n   |  {}", place.text)?;
            }
            write!(
                f,
                "\n   |  {deed} invocation ({i}, {j}, {k}) of workgroup ({x}, {y}, {z})"
            )?;
            for call in calls {
                write!(f, "\n   |  called at {call}")?;
            }
        }
        match self.within_and_between {
            true if self.is_within() => {
                f.write_str("\n   = also between workgroups, which nothing orders")?;
            }
            true => f.write_str("\n   = also within a workgroup")?,
            false => {}
        }
        match (&self.problem, self.times) {
            (_, 0 | 1) => {}
            (Problem::OrderDependent { .. }, orders) => {
                write!(f, "\n   = {orders} orders differ from the first")?;
            }
            (_, times) => write!(f, "\n   = {} times in this order", grouped(times))?,
        }
        write!(f, "\n   = help: {}", self.help())
    }
}

impl Display for Block {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { place, what } = self;
        write!(f, "{place}: {what}: {}", place.text)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            write!(f, "{finding}\n\n")?;
        }
        let problems = match self.findings.len() {
            0 => "clean".to_owned(),
            count => counted(count as u64, "problem"),
        };
        let operations = counted(self.operations, "operation");
        let all = self.reached.len();
        let missed = self.reached.iter();
        let missed = missed.filter(|&&reached| !reached).count();
        let blocks = counted(all as u64, "block");
        write!(f, "{problems}; {operations}; ")?;
        match missed {
            0 => write!(f, "{blocks}, all reached"),
            _ => write!(f, "{missed} of {blocks} never reached"),
        }
    }
}

fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// Formats a number with a comma after each group of thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
