//! Converts tensor elements of other types to `f32`.

use half::{bf16, f16};
use safetensors::tensor::Dtype;

use super::CheckpointError;
use super::header::View;

/// What to do with an `f64` that no `f32` represents exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rounding {
    /// Return an error.
    Refused,
    /// Round to the nearest `f32`.
    Nearest,
}

/// Converts the elements of a tensor to `f32`, in order. Fails if an element is infinite or NaN.
pub(super) fn floats(
    name: &str,
    view: &View<'_>,
    rounding: Rounding,
) -> Result<Vec<f32>, CheckpointError> {
    let values: Vec<f32> = match view.dtype {
        Dtype::F32 => elements(view, f32::from_le_bytes),
        Dtype::F16 => elements(view, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => elements(view, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F64 => {
            let of_f64 = |&bytes| narrowed(name, f64::from_le_bytes(bytes), rounding);
            view.data
                .as_chunks()
                .0
                .iter()
                .map(of_f64)
                .collect::<Result<_, _>>()?
        }
        other => {
            return Err(CheckpointError::Element {
                name: name.to_owned(),
                found: words(other),
            });
        }
    };
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(values),
        Some(&found) => Err(CheckpointError::NotFinite {
            name: name.to_owned(),
            found,
        }),
    }
}

fn elements<const SIZE: usize>(view: &View<'_>, element: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    let (elements, _) = view.data.as_chunks();
    elements.iter().map(|&bytes| element(bytes)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "what is lost is looked at")]
fn narrowed(name: &str, value: f64, rounding: Rounding) -> Result<f32, CheckpointError> {
    let narrow = value as f32;
    let is_same = f64::from(narrow) == value || value.is_nan();
    if is_same || (rounding == Rounding::Nearest && narrow.is_finite()) {
        return Ok(narrow);
    }
    Err(CheckpointError::Rounding {
        name: name.to_owned(),
        value,
    })
}

fn words(dtype: Dtype) -> String {
    let bits = dtype.bitsize();
    let kind = match dtype {
        Dtype::BOOL => return "booleans".to_owned(),
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => "integers",
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => "unsigned integers",
        Dtype::C64 => return "complex numbers".to_owned(),
        _ => return format!("floats of {bits} bits ({dtype:?})"),
    };
    format!("{kind} of {bits} bits")
}
