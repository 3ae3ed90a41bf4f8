//! Numbers that are listed one by one.

use half::f16;

use super::names::Scalar;

/// Numbers, each with its type where one is named.
#[derive(Debug, Clone)]
pub(crate) struct List(Vec<(Option<Scalar>, String)>);

/// A number: its value and its bytes.
pub(super) struct Number {
    pub(super) value: f64,
    bytes: Vec<u8>,
}

impl List {
    /// `1,2,3` or `u32:5,f32:0.5`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let item = |item: &str| match item.trim().split_once(':') {
            None => Ok((None, item.trim().to_owned())),
            Some((ty, number)) => Ok((Some(Scalar::named(ty.trim())?), number.trim().to_owned())),
        };
        let items = text.split(',').map(item).collect::<Result<_, String>>();
        items.map(Self)
    }

    /// The types of its numbers, and the bytes of as many as are asked for: it begins again where it ends.
    pub(super) fn bytes(
        &self,
        scalar: Option<Scalar>,
        count: Option<u64>,
    ) -> Result<(Vec<Scalar>, Vec<u8>), String> {
        let mut scalar = scalar;
        let (mut scalars, mut numbers) = (Vec::new(), Vec::new());
        for (ty, text) in &self.0 {
            scalar = ty.or(scalar);
            let Some(scalar) = scalar else {
                return Err(format!(
                    "`{text}` is no contents that are known, or a number whose type is to be said, as in u32:5"
                ));
            };
            scalars.push(scalar);
            numbers.push(number(scalar, text)?.bytes);
        }
        let count = count.unwrap_or(numbers.len() as u64);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut bytes: Vec<u8> = Vec::new();
        for (scalar, number) in scalars.iter().zip(&numbers).cycle().take(count) {
            if !(bytes.len() as u64).is_multiple_of(scalar.bytes()) {
                let (at, size) = (bytes.len(), scalar.bytes());
                return Err(format!(
                    "a number of type {scalar} would lie at byte {at}, and WGSL has them at multiples of {size}: \
                     list what lies between"
                ));
            }
            bytes.extend_from_slice(number);
        }
        Ok((scalars, bytes))
    }
}

/// A number of a type.
pub(super) fn number(scalar: Scalar, text: &str) -> Result<Number, String> {
    let error = || format!("`{text}` is no number of type {scalar}");
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
    let float = || text.parse::<f64>().map_err(|_| error());
    // Bytes are those of the nearest number of the type.
    #[allow(clippy::cast_possible_truncation)]
    Ok(match scalar {
        Scalar::F32 => Number {
            value: float()?,
            bytes: text
                .parse::<f32>()
                .map_err(|_| error())?
                .to_le_bytes()
                .to_vec(),
        },
        Scalar::F16 => Number {
            value: float()?,
            bytes: f16::from_f64(float()?).to_le_bytes().to_vec(),
        },
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
