//! The initial contents of a buffer.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use half::f16;
use wgsl_sanitizer::{Binding, Buffer};

use super::Mistake;
use super::list::{List, number};
use super::names::{Declared, Scalar, numbers_of};

/// The parsed text `type[count]=contents`.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    scalar: Option<Scalar>,
    count: Option<u64>,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// Random numbers. The two ends of their range are stored as the user wrote them.
    Random(Option<(String, String)>),
    Zeros,
    Unwritten,
    Index,
    List(List),
    File(PathBuf),
}

/// The maximum size of a buffer, in bytes. A larger size is probably a typing error, so it is refused.
const MOST_BYTES: u64 = 1 << 30;

impl Contents {
    /// Parses the text before and after the `=`.
    pub(super) fn parse(ty: &str, contents: &str) -> Result<Self, String> {
        let (ty, count) = match ty.trim().split_once('[') {
            None => (ty.trim(), None),
            Some((ty, count)) => {
                let count = count.trim_end().strip_suffix(']').unwrap_or("");
                let number: Result<u64, _> = count.trim().parse();
                let number = number.map_err(|_| {
                    "expected a count of numbers in brackets, as in f32[64]".to_owned()
                })?;
                (ty.trim(), Some(number))
            }
        };
        let scalar = match ty {
            "" => None,
            _ => Some(Scalar::named(ty)?),
        };
        Ok(Self {
            scalar,
            count,
            source: Source::parse(contents.trim())?,
        })
    }

    /// Parses a whole text: `contents` or `type[count]=contents`.
    pub(super) fn parse_all(text: &str) -> Result<Self, String> {
        let (ty, contents) = text.split_once('=').unwrap_or(("", text));
        Self::parse(ty, contents)
    }

    /// Creates the buffer. A type or count that the user left out comes from the binding's declaration.
    pub(super) fn make(
        &self,
        binding: &Binding,
        seed: u64,
        folder: &Path,
    ) -> Result<Buffer, Mistake> {
        let wrong = |message: String| Mistake::new(format!("{}: {message}", Declared(binding)));
        if let Source::File(path) = &self.source {
            return self.read(&folder.join(path), binding);
        }
        let typed = self.typed().map_err(wrong)?;
        let bytes = match &typed {
            Some(typed) => typed.bytes(binding),
            None => self.bytes_by_layout(binding),
        };
        let bytes = bytes.map_err(wrong)?;
        if bytes > MOST_BYTES {
            return Err(wrong(format!(
                "{bytes} bytes are requested, but at most {MOST_BYTES} are possible"
            )));
        }
        let words = usize::try_from(bytes.div_ceil(4)).unwrap_or(usize::MAX);
        match self.source {
            Source::Zeros => return Ok(Buffer::zeros(words)),
            Source::Unwritten => return Ok(Buffer::unwritten(words)),
            _ => {}
        }
        let mut contents = vec![0; 4 * words];
        let mut numbers = Numbers::new(&self.source, seed);
        let mut set = |at: u64, scalar: Scalar| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let number = numbers.next(scalar)?;
            contents[at..at + number.len()].copy_from_slice(&number);
            Ok(())
        };
        match typed {
            Some(typed) => {
                typed.check(binding, bytes).map_err(wrong)?;
                let mut places = typed.places(bytes);
                places.try_for_each(|(at, scalar)| set(at, scalar))
            }
            None => {
                let mut places = binding.layout.numbers(bytes);
                places.try_for_each(|(at, scalar)| set(at, scalar.into()))
            }
        }
        .map_err(wrong)?;
        Ok(Buffer::from_bytes(&contents))
    }

    /// Returns the types and the count that the user gave; `None` if the user gave no type.
    fn typed(&self) -> Result<Option<Typed>, String> {
        let scalars = match (&self.source, self.scalar) {
            (Source::List(list), first) if first.is_some() || list.is_typed() => {
                list.scalars(first)?
            }
            (_, Some(scalar)) => vec![scalar],
            (_, None) => return Ok(None),
        };
        let count = match &self.source {
            Source::List(list) => Some(self.count.unwrap_or(list.len())),
            _ => self.count,
        };
        Ok(Some(Typed { scalars, count }))
    }

    /// Returns the buffer's size in bytes, from the variable's type. The user's count is here a number of elements.
    fn bytes_by_layout(&self, binding: &Binding) -> Result<u64, String> {
        let layout = &binding.layout;
        let listed = match &self.source {
            Source::List(list) => Some(list.len()),
            _ => None,
        };
        match (layout.elements(), self.count) {
            (None, Some(_)) => Err(format!(
                "its length is fixed: leave out the count, or say a type, as in f32[4]={}",
                self.source.name()
            )),
            (None, None) => {
                let numbers = layout.numbers(binding.least_bytes).count() as u64;
                match listed {
                    Some(listed) if listed != numbers => {
                        Err(format!("{listed} numbers are listed, but it has {numbers}"))
                    }
                    _ => Ok(binding.least_bytes),
                }
            }
            (Some((at, stride)), Some(count)) => {
                Ok(at.saturating_add(count.saturating_mul(stride)))
            }
            (Some((at, stride)), None) => {
                let Some(listed) = listed else {
                    return Err(format!(
                        "say how many elements it has, as in [64]={}",
                        self.source.name()
                    ));
                };
                let [before, each] = numbers_of(layout, (at, stride));
                match listed.checked_sub(before) {
                    Some(rest) if rest > 0 && rest % each == 0 => Ok(at + rest / each * stride),
                    _ => Err(format!(
                        "{listed} numbers are listed, but it has {before} and {each} for each element"
                    )),
                }
            }
        }
    }

    fn read(&self, path: &Path, binding: &Binding) -> Result<Buffer, Mistake> {
        let bytes = std::fs::read(path)
            .map_err(|error| Mistake::new(format!("{}: {error}", path.display())))?;
        let (at, stride) = match (self.scalar, binding.layout.elements()) {
            (None, Some(elements)) => elements,
            (scalar, _) => (0, scalar.map_or(1, Scalar::bytes)),
        };
        let expected = |count: u64| at.saturating_add(count.saturating_mul(stride));
        let found = bytes.len() as u64;
        match self.count.map(expected) {
            Some(expected) if expected != found => Err(Mistake::new(format!(
                "{}: expected {expected} bytes, found {found}",
                path.display()
            ))),
            _ => Ok(Buffer::from_bytes(&bytes)),
        }
    }
}

/// Numbers whose types the user gave. They are stored without padding.
struct Typed {
    /// The types of the first numbers. After the last type, the list repeats.
    scalars: Vec<Scalar>,
    count: Option<u64>,
}

impl Typed {
    fn bytes(&self, binding: &Binding) -> Result<u64, String> {
        let sum = |scalars: &[Scalar]| scalars.iter().map(|scalar| scalar.bytes()).sum::<u64>();
        let bytes = match (self.count, binding.layout.elements()) {
            (Some(count), _) => {
                let each = self.scalars.len() as u64;
                let rest = usize::try_from(count % each).unwrap_or_default();
                (count / each)
                    .saturating_mul(sum(&self.scalars))
                    .saturating_add(sum(&self.scalars[..rest]))
            }
            (None, None) => binding.least_bytes,
            (None, Some(_)) => {
                return Err(format!(
                    "say how many numbers it has, as in {}[64]=zeros",
                    self.scalars[0]
                ));
            }
        };
        match binding.layout.elements() {
            Some((at, stride)) if !self.is_raw() && bytes > at && (bytes - at) % stride != 0 => {
                Err(format!(
                    "{bytes} bytes are {} elements of {stride} bytes and {} bytes more; use type bytes for any number \
                     of bytes",
                    (bytes - at) / stride,
                    (bytes - at) % stride
                ))
            }
            _ => Ok(bytes),
        }
    }

    fn is_raw(&self) -> bool {
        self.scalars.contains(&Scalar::Bytes)
    }

    fn places(&self, bytes: u64) -> impl Iterator<Item = (u64, Scalar)> {
        let scalars = self.scalars.iter().cycle();
        let places = scalars.scan(0, |next, &scalar| {
            let at = *next;
            *next += scalar.bytes();
            Some((at, scalar))
        });
        places.take_while(move |&(at, scalar)| at + scalar.bytes() <= bytes)
    }

    /// Checks that the types the user gave equal the types in the variable's declaration.
    fn check(&self, binding: &Binding, bytes: u64) -> Result<(), String> {
        for (at, scalar) in self.places(bytes).take(MOST_CHECKED) {
            if at % scalar.bytes() != 0 {
                return Err(format!(
                    "a number of type {scalar} would lie at byte {at}, but WGSL places this type at multiples of {}: \
                     list the numbers between, or leave out the types",
                    scalar.bytes()
                ));
            }
            let declared = binding.layout.number(at).filter(|&(first, _)| first == at);
            let Some((_, declared)) = declared else {
                // The number lies in the padding between two members of a struct.
                continue;
            };
            if !self.is_raw() && Scalar::from(declared) != scalar {
                return Err(format!(
                    "`{}{}` is of type {declared}, but a number of type {scalar} is given: leave out the types, or \
                     give numbers of type bytes",
                    binding.name,
                    binding.layout.path(at)
                ));
            }
        }
        Ok(())
    }
}

/// Number of leading numbers whose types are compared with the variable's type. The other numbers are not checked.
const MOST_CHECKED: usize = 1 << 16;

/// Produces the numbers of a buffer's initial contents, one after the other: random, counted, or from the user's list.
struct Numbers<'a> {
    source: &'a Source,
    rng: Rng,
    index: usize,
    /// For each type that has occurred so far: the two ends of the range of random numbers.
    ends: Vec<(Scalar, [f64; 2])>,
}

impl<'a> Numbers<'a> {
    fn new(source: &'a Source, seed: u64) -> Self {
        Self {
            source,
            rng: Rng::with_seed(seed),
            index: 0,
            ends: Vec::new(),
        }
    }

    fn next(&mut self, scalar: Scalar) -> Result<Vec<u8>, String> {
        let index = self.index;
        self.index += 1;
        Ok(match self.source {
            Source::List(list) => list.number(index, scalar)?.bytes,
            Source::Random(range) => {
                let known = self.ends.iter().find(|(known, _)| *known == scalar);
                let ends = match known {
                    Some(&(_, ends)) => ends,
                    None => ends(scalar, range.as_ref())?,
                };
                if known.is_none() {
                    self.ends.push((scalar, ends));
                }
                drawn(scalar, ends, self.rng.f64())
            }
            Source::Index => counted(scalar, index as u64),
            Source::Zeros | Source::Unwritten | Source::File(_) => {
                unreachable!("what is not written number by number")
            }
        })
    }
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::File(path.into()));
        }
        if let Some(range) = text.strip_prefix("random:") {
            let (low, high) = range.split_once("..").ok_or_else(|| {
                format!("`{range}` is not a range: expected low..high, as in random:-2..2")
            })?;
            let range = (low.trim().to_owned(), high.trim().to_owned());
            return Ok(Self::Random(Some(range)));
        }
        Ok(match text {
            "random" => Self::Random(None),
            "zeros" => Self::Zeros,
            "unwritten" => Self::Unwritten,
            "index" => Self::Index,
            _ => Self::List(List::parse(text)?),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Random(_) => "random",
            Self::Unwritten => "unwritten",
            Self::Index => "index",
            Self::Zeros | Self::List(_) | Self::File(_) => "zeros",
        }
    }
}

/// Returns the bytes of the number `index`, converted to the type `scalar`.
fn counted(scalar: Scalar, index: u64) -> Vec<u8> {
    // An index that does not fit is rounded for floats and wraps for integers.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    match scalar {
        Scalar::F32 => (index as f32).to_le_bytes().to_vec(),
        Scalar::U32 | Scalar::I32 => (index as u32).to_le_bytes().to_vec(),
        Scalar::F16 => f16::from_f64(index as f64).to_le_bytes().to_vec(),
        Scalar::Bytes => vec![index as u8],
    }
}

/// Parses the two ends of a range of random numbers. For integers, the range excludes the upper end.
fn ends(scalar: Scalar, range: Option<&(String, String)>) -> Result<[f64; 2], String> {
    let (low, high) = match (range, scalar) {
        (Some((low, high)), _) => (&**low, &**high),
        (None, Scalar::F32 | Scalar::F16) => ("-1", "1"),
        (None, Scalar::U32) => ("0", "16"),
        (None, Scalar::I32) => ("-8", "8"),
        (None, Scalar::Bytes) => ("0", "256"),
    };
    let [least, most] = [low, high].map(|end| {
        // The upper end may be 256, which does not fit in a byte: parse it as `u32`.
        let scalar = if scalar == Scalar::Bytes {
            Scalar::U32
        } else {
            scalar
        };
        number(scalar, end).map_or(f64::NAN, |number| number.value)
    });
    // An end that is no number has become NaN above, so the comparison fails.
    let is_range =
        least.partial_cmp(&most) == Some(Ordering::Less) && least.is_finite() && most.is_finite();
    if !is_range || (scalar == Scalar::Bytes && most > 256.0) {
        return Err(format!("{low}..{high} is not a range of {scalar}"));
    }
    Ok([least, most])
}

/// Returns the bytes of the number `ends[0] + part · (ends[1] − ends[0])`. `part` is in [0, 1).
fn drawn(scalar: Scalar, ends: [f64; 2], part: f64) -> Vec<u8> {
    let drawn = ends[0] + part * (ends[1] - ends[0]);
    // Every number between the ends is in the range of the type.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    match scalar {
        Scalar::F32 => (drawn as f32).to_le_bytes().to_vec(),
        Scalar::F16 => f16::from_f64(drawn).to_le_bytes().to_vec(),
        Scalar::U32 => (drawn.floor() as u32).to_le_bytes().to_vec(),
        Scalar::I32 => (drawn.floor() as i32).to_le_bytes().to_vec(),
        Scalar::Bytes => vec![drawn.floor() as u8],
    }
}
