//! Buffer contents that the user gives as a list of numbers.

use half::f16;

use super::names::Scalar;

/// A list of numbers, as text. Each number may have a type.
#[derive(Debug, Clone)]
pub(crate) struct List(Vec<(Option<Scalar>, String)>);

/// A number: its value and its bytes.
pub(super) struct Number {
    pub(super) value: f64,
    pub(super) bytes: Vec<u8>,
}

impl List {
    /// Parses `1,2,3` or `u32:5,f32:0.5`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let item = |item: &str| match item.trim().split_once(':') {
            None => Ok((None, item.trim().to_owned())),
            Some((ty, number)) => Ok((Some(Scalar::named(ty.trim())?), number.trim().to_owned())),
        };
        let items = text.split(',').map(item).collect::<Result<_, String>>();
        items.map(Self)
    }

    /// Returns whether at least one number has a type.
    pub(super) fn is_typed(&self) -> bool {
        self.0.iter().any(|(ty, _)| ty.is_some())
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Parses the number at `index` as this type. An index beyond the list's end starts again at its beginning.
    pub(super) fn number(&self, index: usize, scalar: Scalar) -> Result<Number, String> {
        number(scalar, &self.0[index % self.0.len()].1)
    }

    /// Returns the type of each number. A number without a type has the type of the number before it. If the first
    /// number has no type, its type is `first`.
    pub(super) fn scalars(&self, first: Option<Scalar>) -> Result<Vec<Scalar>, String> {
        let mut scalar = first;
        let mut scalars = Vec::new();
        for (ty, text) in &self.0 {
            scalar = ty.or(scalar);
            scalars.push(scalar.ok_or_else(|| {
                format!(
                    "`{text}` needs a type, because other numbers name theirs, as in u32:{text}"
                )
            })?);
        }
        Ok(scalars)
    }
}

/// Parses a number of the type `scalar`.
pub(super) fn number(scalar: Scalar, text: &str) -> Result<Number, String> {
    let error = || {
        format!(
            "`{text}` is neither a number of type {scalar} nor random, zeros, index, unwritten or @FILE"
        )
    };
    let integer = || {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (digits, radix) = match digits.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (digits, 10),
        };
        let number = i64::from_str_radix(digits, radix).ok();
        let number = number.and_then(|number| number.checked_mul(sign));
        number.ok_or_else(error)
    };
    // A number that overflows to infinity is probably a typing error, so it is refused.
    let float = |most: f64| {
        let float = text.parse::<f64>().map_err(|_| error());
        float.and_then(|float| {
            if float.is_finite() && float.abs() > most {
                Err(format!("`{text}` is outside the range of type {scalar}"))
            } else {
                Ok(float)
            }
        })
    };
    // A number that the type cannot represent is rounded to the nearest number of the type.
    #[allow(clippy::cast_possible_truncation)]
    Ok(match scalar {
        Scalar::F32 => Number {
            value: float(f32::MAX.into())?,
            bytes: text
                .parse::<f32>()
                .map_err(|_| error())?
                .to_le_bytes()
                .to_vec(),
        },
        Scalar::F16 => {
            let value = float(f16::MAX.into())?;
            let bytes = f16::from_f64(value).to_le_bytes().to_vec();
            Number { value, bytes }
        }
        Scalar::U32 => {
            let number = u32::try_from(integer()?).map_err(|_| error())?;
            Number {
                value: number.into(),
                bytes: number.to_le_bytes().to_vec(),
            }
        }
        Scalar::I32 => {
            let number = i32::try_from(integer()?).map_err(|_| error())?;
            Number {
                value: number.into(),
                bytes: number.to_le_bytes().to_vec(),
            }
        }
        Scalar::Bytes => {
            let number = u8::try_from(integer()?).map_err(|_| error())?;
            Number {
                value: number.into(),
                bytes: vec![number],
            }
        }
    })
}
