//! What a buffer holds at the start.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use half::f16;
use wgsl_sanitizer::{Binding, Buffer};

use super::Mistake;
use super::list::{List, number};
use super::names::{Declared, Scalar, has_fixed_size};

/// `type[count]=contents`.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    scalar: Option<Scalar>,
    count: Option<u64>,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// In a range, as it was written.
    Random(Option<(String, String)>),
    Zeros,
    Unwritten,
    Index,
    List(List),
    File(PathBuf),
}

/// Bytes that are too many to be meant.
const MOST_BYTES: u64 = 1 << 32;

impl Contents {
    /// Reads what stands before and after the `=`.
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

    /// Of a text that begins with the type, or has none.
    pub(super) fn parse_all(text: &str) -> Result<Self, String> {
        let (ty, contents) = text.split_once('=').unwrap_or(("", text));
        Self::parse(ty, contents)
    }

    /// The types of its numbers, again and again, and the buffer. What is not said is taken from the binding.
    pub(super) fn make(
        &self,
        binding: &Binding,
        seed: u64,
        folder: &Path,
    ) -> Result<(Vec<Scalar>, Buffer), Mistake> {
        let scalar = self.scalar.or_else(|| Scalar::of(binding));
        let untyped = || {
            Mistake::new(format!(
                "{}: say of which type its numbers are, as in f32[64]=random or u32:5,f32:0.5",
                Declared(binding)
            ))
        };
        match &self.source {
            Source::List(list) => {
                let (scalars, bytes) = list
                    .bytes(scalar, self.count)
                    .map_err(|message| Mistake::new(format!("{}: {message}", Declared(binding))))?;
                return Ok((scalars, Buffer::from_bytes(&bytes)));
            }
            Source::File(path) => {
                let scalar = scalar.unwrap_or(Scalar::Bytes);
                return Ok((vec![scalar], self.read(&folder.join(path), scalar)?));
            }
            Source::Random(_) | Source::Zeros | Source::Unwritten | Source::Index => {}
        }
        let scalar = scalar.ok_or_else(untyped)?;
        let bytes = match self.count {
            Some(count) => count.saturating_mul(scalar.bytes()),
            None if has_fixed_size(binding) => binding.least_bytes,
            None => {
                return Err(Mistake::new(format!(
                    "{}: say how many numbers it has, as in {scalar}[64]={}",
                    Declared(binding),
                    self.source.name()
                )));
            }
        };
        if bytes > MOST_BYTES {
            return Err(Mistake::new(format!(
                "{}: {bytes} bytes are asked for, and at most {MOST_BYTES} are possible",
                Declared(binding)
            )));
        }
        let words = usize::try_from(bytes.div_ceil(4)).unwrap_or(usize::MAX);
        let buffer = match &self.source {
            Source::Zeros => Buffer::zeros(words),
            Source::Unwritten => Buffer::unwritten(words),
            Source::Random(range) => {
                let drawn = draw(scalar, range.as_ref(), bytes / scalar.bytes(), seed);
                Buffer::from_bytes(&drawn.map_err(Mistake::new)?)
            }
            _ => Buffer::from_bytes(&counted(scalar, bytes / scalar.bytes())),
        };
        Ok((vec![scalar], buffer))
    }

    fn read(&self, path: &Path, scalar: Scalar) -> Result<Buffer, Mistake> {
        let bytes = std::fs::read(path)
            .map_err(|error| Mistake::new(format!("{}: {error}", path.display())))?;
        let found = bytes.len() as u64;
        match self.count.map(|count| count.saturating_mul(scalar.bytes())) {
            Some(expected) if expected != found => Err(Mistake::new(format!(
                "{}: {found} bytes, and {expected} are asked for",
                path.display()
            ))),
            _ => Ok(Buffer::from_bytes(&bytes)),
        }
    }
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::File(path.into()));
        }
        if let Some(range) = text.strip_prefix("random:") {
            let (low, high) = range.split_once("..").ok_or_else(|| {
                format!("`{range}` is no range: expected low..high, as in random:-2..2")
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

/// 0, 1, 2, …
fn counted(scalar: Scalar, count: u64) -> Vec<u8> {
    // What is not exact is rounded, or begins again at 0.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let number = |index: u64| match scalar {
        Scalar::F32 => (index as f32).to_le_bytes().to_vec(),
        Scalar::U32 | Scalar::I32 => (index as u32).to_le_bytes().to_vec(),
        Scalar::F16 => f16::from_f64(index as f64).to_le_bytes().to_vec(),
        Scalar::Bytes => vec![index as u8],
    };
    (0..count).flat_map(number).collect()
}

/// Random numbers in a range, whose upper end is left out where they are integers.
fn draw(
    scalar: Scalar,
    range: Option<&(String, String)>,
    count: u64,
    seed: u64,
) -> Result<Vec<u8>, String> {
    let mut rng = Rng::with_seed(seed);
    let (low, high) = match (range, scalar) {
        (Some((low, high)), _) => (&**low, &**high),
        (None, Scalar::F32 | Scalar::F16) => ("-1", "1"),
        (None, Scalar::U32) => ("0", "16"),
        (None, Scalar::I32) => ("-8", "8"),
        (None, Scalar::Bytes) => ("0", "256"),
    };
    let [least, most] = [low, high].map(|end| {
        // The end of a range of bytes is no byte.
        let scalar = if scalar == Scalar::Bytes {
            Scalar::U32
        } else {
            scalar
        };
        number(scalar, end)
    });
    let ends: [f64; 2] = [least?.value, most?.value];
    let is_float = matches!(scalar, Scalar::F32 | Scalar::F16);
    // NaN is not less than anything.
    let is_less = ends[0].partial_cmp(&ends[1]) == Some(Ordering::Less);
    if !is_less || (scalar == Scalar::Bytes && ends[1] > 256.0) {
        return Err(format!("{low}..{high} is no range of {scalar}"));
    }
    let mut one = || {
        let drawn = ends[0] + rng.f64() * (ends[1] - ends[0]);
        let drawn = if is_float { drawn } else { drawn.floor() };
        // All of them lie within the ends, which the type has.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        match scalar {
            Scalar::F32 => (drawn as f32).to_le_bytes().to_vec(),
            Scalar::F16 => f16::from_f64(drawn).to_le_bytes().to_vec(),
            Scalar::U32 => (drawn as u32).to_le_bytes().to_vec(),
            Scalar::I32 => (drawn as i32).to_le_bytes().to_vec(),
            Scalar::Bytes => vec![drawn as u8],
        }
    };
    Ok((0..count).flat_map(|_| one()).collect())
}
