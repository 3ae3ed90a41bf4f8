use std::collections::BTreeMap;

use super::CheckpointError;
use super::element::{Rounding, floats};
use super::header::{self, File};
use super::shown;

/// Renames the tensors of another program's safetensors file, so that a network of this crate can load it.
///
/// `rename` receives the name of each tensor. It returns the new name, or `None` to leave the tensor out. Pass the
/// returned bytes to [`Model::set_safetensors`](crate::Model::set_safetensors) or
/// [`Trainer::set_weights`](crate::Trainer::set_weights).
///
/// Shapes are kept. Values are converted to `f32`. An `f64` is rounded to the nearest `f32`. Metadata are left out.
///
/// ```
/// use std::collections::HashMap;
///
/// use safetensors::tensor::{Dtype, TensorView};
/// use wgrad::ops::Linear;
/// use wgrad::{Gpu, Sequential, checkpoint};
///
/// // As `save_file` of a compiled PyTorch module writes it, which has counted its batches, too.
/// let weight: Vec<u8> = [0.5f64, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
/// let theirs = safetensors::serialize(
///     [
///         ("_orig_mod.fc.weight", TensorView::new(Dtype::F64, vec![1, 2], &weight)?),
///         ("_orig_mod.fc.bias", TensorView::new(Dtype::F16, vec![1], &[0, 0])?),
///         ("_orig_mod.batches", TensorView::new(Dtype::I64, vec![], &[7, 0, 0, 0, 0, 0, 0, 0])?),
///     ],
///     None,
/// )?;
/// let ours = checkpoint::import(&theirs, |name| {
///     Some(format!("layers.0.{}", name.strip_prefix("_orig_mod.fc.")?))
/// })?;
/// let mut model = Sequential::input(2).layer(Linear::new(1)).build(&Gpu::new()?)?;
/// model.set_safetensors(&ours)?;
/// assert_eq!(model.parameters()?["layers.0.weight"], ndarray::array![[0.5], [-2.0]].into_dyn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CheckpointError`] when the input is not a safetensors file or is damaged; when a renamed tensor does not contain
/// floats, or contains a value that is infinite, NaN, or beyond the range of `f32`; when two tensors get the same name.
pub fn import(
    bytes: &[u8],
    mut rename: impl FnMut(&str) -> Option<String>,
) -> Result<Vec<u8>, CheckpointError> {
    let file = File::parse(bytes)?;
    let mut tensors = header::Tensors::new();
    let mut former = BTreeMap::new();
    for (name, view) in &file.tensors {
        let Some(new) = rename(name) else {
            continue;
        };
        if new == header::METADATA_KEY {
            return Err(CheckpointError::Reserved { name: shown(name) });
        }
        let values = floats(&shown(name), view, Rounding::Nearest)?;
        let data: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        if let Some(first) = former.insert(new.clone(), name) {
            return Err(CheckpointError::SameName {
                first: shown(first),
                second: shown(name),
                name: shown(&new),
            });
        }
        tensors.insert(new, (view.shape.clone(), data));
    }
    header::write(&tensors, header::Texts::new())
}
