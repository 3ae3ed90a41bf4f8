//! The results of a check for the kernels that a layer, a loss or an optimizer records.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{CheckError, Error, Pass};
use crate::gpu::Gpu;
use crate::kernel::Contract;
use crate::plan::Plan;
use crate::sanitize::{Sanitized, Sanitizer};

/// By default, a pass is sanitized if all its tensors together have at most this many elements. This takes no
/// noticeable time.
pub(crate) const SANITIZED: usize = 4096;

/// The sanitizer of a check, and the maximum number of elements that all tensors of a sanitized pass may have together.
#[derive(Debug, Clone)]
pub(crate) struct Sanitizing {
    pub(crate) sanitizer: Sanitizer,
    pub(crate) elements: usize,
}

impl Default for Sanitizing {
    fn default() -> Self {
        Self {
            // The check itself already compares the device with the reference.
            sanitizer: Sanitizer::default().compared(false),
            elements: SANITIZED,
        }
    }
}

/// The kernels that were checked.
#[derive(Debug)]
pub(crate) struct Kernels<'a> {
    sanitizing: &'a Sanitizing,
    /// The contracts of kernels that match their WGSL.
    pub(crate) contracts: Vec<Contract>,
    /// Dispatches that were interpreted.
    pub(crate) sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with the construct that the interpreter does not support.
    pub(crate) refused: BTreeMap<String, String>,
}

impl<'a> Kernels<'a> {
    pub(crate) fn new(sanitizing: &'a Sanitizing) -> Self {
        Self {
            sanitizing,
            contracts: Vec::new(),
            sanitized: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.contracts.iter().map(Contract::name).collect()
    }

    /// Runs a plan once. Sanitizes it if it is small.
    pub(crate) fn run(
        &mut self,
        gpu: &Gpu,
        (name, pass): (&str, Pass),
        plan: &Plan,
    ) -> Result<(), Error> {
        let tensors = plan.recorded().flat_map(|recorded| &recorded.tensors);
        let elements: usize = tensors.map(crate::tensor::Tensor::len).sum();
        if elements > self.sanitizing.elements {
            gpu.submit(plan, 1)?;
            return Ok(());
        }
        let report = match self.sanitizing.sanitizer.run(gpu, plan) {
            Ok(report) => report,
            Err(Error::Sanitize { kernel, reason }) => {
                self.refused.insert(kernel, reason);
                gpu.submit(plan, 1)?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for dispatch in report.dispatches {
            let finding = dispatch.report.findings.first().map(ToString::to_string);
            let difference = || dispatch.differences.iter().find(|it| !it.is_within());
            let found = finding.or_else(|| difference().map(ToString::to_string));
            if let Some(found) = found {
                return Err(CheckError::Sanitizer {
                    name: name.to_owned(),
                    pass,
                    kernel: dispatch.kernel,
                    found,
                }
                .into());
            }
            self.sanitized.push(dispatch);
        }
        Ok(())
    }
}

/// Writes one line per kernel to a report's table.
pub(crate) fn write_sanitized(
    f: &mut fmt::Formatter<'_>,
    kernels: &[String],
    sanitized: &[Sanitized],
    refused: &BTreeMap<String, String>,
) -> fmt::Result {
    for kernel in kernels {
        let dispatches = || sanitized.iter().filter(|it| it.kernel == *kernel);
        let operations: u64 = dispatches().map(|it| it.report.operations).sum();
        match (dispatches().count(), refused.get(kernel)) {
            (_, Some(reason)) => writeln!(f, "sanitizer {kernel} was not interpreted: {reason}")?,
            (0, None) => writeln!(
                f,
                "sanitizer {kernel} was not interpreted: each pass is too large, or has a kernel that cannot be \
                interpreted"
            )?,
            (count, None) => writeln!(
                f,
                "sanitizer {kernel}: clean in {count} dispatches, {operations} operations"
            )?,
        }
    }
    Ok(())
}
