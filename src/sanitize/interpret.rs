//! Interprets a dispatch.

use std::collections::HashMap;
use std::sync::Arc;

use wgsl_sanitizer::{Block, Buffer, Dispatch, Kernel, Order, Report, Rounding, Settings, Shader};

use super::{RUNS, Sanitizer};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernel::Access;
use crate::plan::Recorded;

/// Identifies a kernel by its source, its entry point, and the bits of its constants.
type Key = (Arc<str>, String, Vec<(String, u64)>);

/// The results of an interpreted dispatch.
pub(super) struct Interpreted {
    pub(super) blocks: Vec<Block>,
    pub(super) report: Report,
    /// The tensors after the dispatch, in the order of the kernel's bindings.
    pub(super) after: Vec<Buffer>,
    /// The tensors after each of the runs in which a random part of the error that WGSL allows is added to every
    /// operation.
    pub(super) moved: Vec<Vec<Buffer>>,
}

pub(super) struct Interpreter<'a> {
    sanitizer: &'a Sanitizer,
    kernels: HashMap<Key, Kernel>,
}

/// Reads the elements of all tensors of a dispatch, in the order of the kernel's bindings.
pub(super) fn contents(gpu: &Gpu, recorded: &Recorded) -> Result<Vec<Buffer>, Error> {
    let tensors = recorded.tensors.iter();
    let buffers = tensors.map(|tensor| Ok(Buffer::from_u32s(&gpu.read::<u32>(tensor)?)));
    buffers.collect()
}

/// Writes the elements `after` into those tensors that the dispatch may write.
pub(super) fn write(gpu: &Gpu, recorded: &Recorded, after: &[Buffer]) -> Result<(), Error> {
    let bindings = recorded.contract.bindings.iter();
    let all = bindings.zip(recorded.tensors.iter().zip(after));
    for (binding, (tensor, buffer)) in all {
        if binding.access == Access::ReadWrite {
            gpu.write(tensor, buffer.u32s())?;
        }
    }
    Ok(())
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(sanitizer: &'a Sanitizer) -> Self {
        Self {
            sanitizer,
            kernels: HashMap::new(),
        }
    }

    pub(super) fn run(
        &self,
        recorded: &Recorded,
        kernel: &Kernel,
        before: &[Buffer],
    ) -> Result<Interpreted, Error> {
        let failed = |error: wgsl_sanitizer::Error| failed(recorded, &error);
        let [x, y] = recorded.workgroups;
        // Binding 0 is the settings block; a tensor's binding number is its index plus 1.
        let mut dispatch = Dispatch::new([x, y, 1]).bind(0, 0, 0);
        for binding in 1..=before.len() {
            let number = u32::try_from(binding).unwrap_or(u32::MAX);
            dispatch = dispatch.bind(0, number, binding);
        }
        let block = Buffer::from_bytes(&recorded.block);
        let start: Vec<Buffer> = std::iter::once(block)
            .chain(before.iter().cloned())
            .collect();
        let settings = Settings::default()
            .zero_workgroup_memory(!recorded.contract.trust.is_proven)
            .orders(self.sanitizer.orders.iter().copied());
        let settings = match self.sanitizer.nan_comparisons {
            Some(comparisons) => settings.nan_comparisons(comparisons),
            None => settings,
        };
        let mut after = start.clone();
        let report = wgsl_sanitizer::sanitize(kernel, &dispatch, &mut after, &settings);
        let report = report.map_err(failed)?;
        let granted = |seed| {
            let mut buffers = start.clone();
            let settings = settings
                .clone()
                .orders([Order::Forward])
                .rounding(Rounding::WithinAccuracy(seed));
            wgsl_sanitizer::sanitize(kernel, &dispatch, &mut buffers, &settings).map_err(failed)?;
            buffers.remove(0);
            Ok(buffers)
        };
        let moved = if report.is_clean() && self.sanitizer.compares() {
            (0..RUNS).map(granted).collect::<Result<_, Error>>()?
        } else {
            Vec::new()
        };
        after.remove(0);
        Ok(Interpreted {
            blocks: kernel.blocks().to_vec(),
            report,
            after,
            moved,
        })
    }

    /// Returns the kernel of a dispatch, compiled for the interpreter.
    pub(super) fn kernel(&mut self, recorded: &Recorded) -> Result<Kernel, Error> {
        let failed = |error: wgsl_sanitizer::Error| failed(recorded, &error);
        let contract = &recorded.contract;
        let constants = contract.constants.iter();
        let constants = constants.filter_map(|constant| Some((&*constant.name, constant.value?)));
        let constants: Vec<(&str, f64)> = constants.collect();
        let bits = constants
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_bits()));
        let key = (
            Arc::clone(&contract.source),
            contract.entry.clone(),
            bits.collect(),
        );
        if let Some(kernel) = self.kernels.get(&key) {
            return Ok(kernel.clone());
        }
        let name = format!("{}.wgsl", contract.shader);
        let parts = parts(&name, &contract.source, &self.sanitizer.files);
        let shader = Shader::join(&parts).map_err(failed)?;
        let kernel = shader.kernel(&contract.entry, &constants);
        let kernel = kernel.map_err(failed)?;
        self.kernels.insert(key, kernel.clone());
        Ok(kernel)
    }
}

fn failed(recorded: &Recorded, error: &wgsl_sanitizer::Error) -> Error {
    Error::Sanitize {
        kernel: recorded.contract.name(),
        reason: error.to_string(),
    }
}

/// Splits a source into the files from which it was assembled. A part that belongs to no file gets the shader's name.
fn parts<'s>(
    name: &'s str,
    source: &'s str,
    files: &'s [(String, String)],
) -> Vec<(&'s str, &'s str)> {
    let found = files.iter().filter(|(_, text)| !text.is_empty());
    let mut found: Vec<(usize, &str, usize)> = found
        .filter_map(|(file, text)| Some((source.find(&**text)?, &**file, text.len())))
        .collect();
    found.sort_unstable();
    let mut parts = Vec::new();
    let mut end = 0;
    for (start, file, length) in found {
        if start < end {
            continue;
        }
        if start > end {
            parts.push((name, &source[end..start]));
        }
        end = start + length;
        parts.push((file, &source[start..end]));
    }
    if end < source.len() || parts.is_empty() {
        parts.push((name, &source[end..]));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_source_is_told_by_its_files() {
        let files = [("a.wgsl", "aaa\n"), ("b.wgsl", "bb\n")];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let found = parts("own.wgsl", "aaa\n// own\nbb\nrest", &files);
        let expected = [
            ("a.wgsl", "aaa\n"),
            ("own.wgsl", "// own\n"),
            ("b.wgsl", "bb\n"),
            ("own.wgsl", "rest"),
        ];
        assert_eq!(found, expected);
        assert_eq!(parts("own.wgsl", "other", &files), [("own.wgsl", "other")]);
    }
}
