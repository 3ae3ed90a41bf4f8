//! Findings as people read them.

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

/// The name of a variable, or what stands for one.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.contains(' ') {
            true => f.write_str(self.0),
            false => write!(f, "`{}`", self.0),
        }
    }
}

/// A location of a variable: WGSL gives buffers their layout in bytes, and workgroup memory none.
struct Location<'a>(Space, &'a str, u64);

impl Display for Location<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let &Self(space, variable, offset) = self;
        let unit = match space {
            Space::Storage | Space::Uniform => "byte",
            Space::Workgroup | Space::Private | Space::Function => "scalar",
        };
        write!(f, "{unit} {offset} of {}", Name(variable))
    }
}

impl Finding {
    fn title(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Race {
                space,
                variable,
                offset,
                ..
            } => {
                let location = Location(*space, variable, *offset);
                write!(f, "data race on {location} in {space}: {}", self.missing())
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
                    "out of bounds: {} is {access} from byte {index} on, and {bound} are bound there",
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
                    "out of bounds: {} is {access} at index {index}, and {elements} {are} {there}",
                    Name(variable)
                )
            }
            Problem::Unwritten {
                space,
                variable,
                offset,
            } => {
                let location = Location(*space, variable, *offset);
                write!(
                    f,
                    "unwritten: {location} in {space} is read, and nobody wrote it"
                )
            }
            Problem::Division => {
                f.write_str("integer division by zero, or with a quotient that overflows")
            }
            Problem::Shift { by } => write!(f, "shift by {by} of a number of 32 bits"),
            Problem::Conversion { value, to } => {
                write!(f, "conversion of {value} to {to}, which does not have it")
            }
            Problem::Endless { budget } => {
                let iterations = counted(*budget, "loop iteration");
                write!(f, "endless: more than {iterations} of one invocation")
            }
            Problem::OrderDependent {
                variable,
                word,
                values: [first, other],
                ..
            } => {
                let byte = 4 * word;
                let [one, two] = [first, other].map(|&bits| Word(bits));
                write!(
                    f,
                    "order-dependent: byte {byte} of `{variable}` is {one} after one order of the \
                     invocations, {two} after another"
                )
            }
        }
    }

    /// What would make a race none.
    fn missing(&self) -> &'static str {
        let group = |side: &Option<Side>| side.as_ref().map(|side| side.workgroup);
        match &self.problem {
            Problem::Race { .. } if group(&self.side) != group(&self.other) => {
                "nothing orders workgroups of a dispatch"
            }
            Problem::Race {
                space: Space::Workgroup,
                ..
            } => "no workgroupBarrier() between",
            _ => "no storageBarrier() between",
        }
    }

    /// What to do, in a line.
    fn help(&self) -> &'static str {
        let group = |side: &Option<Side>| side.as_ref().map(|side| side.workgroup);
        match &self.problem {
            Problem::Race { .. } if group(&self.side) != group(&self.other) => {
                "give each workgroup elements of its own, make all accesses atomic, or use two dispatches"
            }
            Problem::Race {
                space: Space::Workgroup,
                ..
            } => "put a workgroupBarrier() that all invocations reach between the two",
            Problem::Race { .. } => {
                "put a storageBarrier() that all invocations reach between the two"
            }
            Problem::Divergence => {
                "move it where all invocations of the workgroup come, equally often; a GPU may hang here"
            }
            Problem::OutOfBounds { .. } => {
                "guard the access, or make room: a GPU may take any element instead, or none"
            }
            Problem::Unwritten {
                space: Space::Workgroup,
                ..
            } => {
                "write it first, with a workgroupBarrier() between where another invocation reads it"
            }
            Problem::Unwritten { .. } => "write it first, or give the buffer contents",
            Problem::Division => {
                "guard the divisor: WGSL has x / 0 = x and x % 0 = 0, and the same where the quotient overflows"
            }
            Problem::Shift { .. } => {
                "guard the amount: WGSL shifts by its remainder by 32, so by 32 not at all"
            }
            Problem::Conversion { .. } => {
                "clamp the number first: WGSL has the nearest that the type has, and any for NaN"
            }
            Problem::Endless { .. } => {
                "raise the budget if it would end; no invocation may wait for another but at a barrier"
            }
            Problem::OrderDependent { .. } => {
                "no order is promised: let no result depend on which invocation comes first"
            }
        }
    }

    /// What each side did.
    fn deeds(&self) -> [String; 2] {
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
                    (true, _) => "not so often round the loops around it, or more often:",
                    (false, true) => "at another barrier:",
                    (false, false) => "ended, or elsewhere:",
                };
                ["waiting:".to_owned(), deed.to_owned()]
            }
            _ => ["by".to_owned(), "by".to_owned()],
        }
    }
}

/// How a call begins at which invocations wait.
const BARRIERS: [&str; 4] = [
    "workgroupBarrier",
    "storageBarrier",
    "textureBarrier",
    "workgroupUniformLoad",
];

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.title(f)?;
        for (side, deed) in [&self.side, &self.other].into_iter().zip(self.deeds()) {
            let Some(Side {
                place,
                workgroup,
                invocation,
            }) = side
            else {
                continue;
            };
            let ([x, y, z], [i, j, k]) = (workgroup, invocation);
            write!(f, "\n  --> {place}")?;
            if !place.text.is_empty() {
                write!(f, "\n   |  {}", place.text)?;
            }
            write!(
                f,
                "\n   |  {deed} invocation ({i}, {j}, {k}) of workgroup ({x}, {y}, {z})"
            )?;
        }
        match (&self.problem, self.times) {
            (_, 0 | 1) => {}
            (Problem::OrderDependent { .. }, orders) => write!(f, "\n   = after {orders} orders")?,
            (_, times) => write!(f, "\n   = {} times", grouped(times))?,
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
        let (all, missed) = (self.reached.len(), self.reached.iter());
        let missed = missed.filter(|&&reached| !reached).count();
        let blocks = counted(all as u64, "block");
        write!(f, "{problems}; {operations}; ")?;
        match missed {
            0 => write!(f, "{blocks}, all reached"),
            _ => write!(f, "{missed} of {blocks} never reached"),
        }
    }
}

/// 32 bits, of which it is not known what they mean.
struct Word(u32);

impl Display for Word {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(bits) = *self;
        write!(f, "{bits} (as f32 {:?})", f32::from_bits(bits))
    }
}

fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(count))
}

/// A number with commas between its thousands.
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
