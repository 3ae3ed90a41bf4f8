//! Checks that the tensors of a dispatch fit the bindings of its kernel.

use crate::error::BindingFault;
use crate::kernel::{Access, Contract};
use crate::tensor::Tensor;

/// Checks that each constant has a finite value and that the tensors fit the contract's bindings.
pub(super) fn check(contract: &Contract, tensors: &[&Tensor]) -> Result<(), BindingFault> {
    for constant in &contract.constants {
        let name = || constant.name.clone();
        let Some(value) = constant.value else {
            return Err(BindingFault::NoValue { constant: name() });
        };
        if !value.is_finite() {
            return Err(BindingFault::NotFinite {
                constant: name(),
                value: value.to_string(),
            });
        }
    }
    let [expected, found] = [contract.bindings.len(), tensors.len()];
    if expected != found {
        return Err(BindingFault::Count { expected, found });
    }
    let bound = || contract.bindings.iter().zip(tensors).enumerate();
    for (at, (binding, tensor)) in bound() {
        let label = || tensor.label().to_owned();
        let [expected, found] = [binding.element, tensor.element()];
        if expected != found {
            return Err(BindingFault::Element {
                binding: binding.name.clone(),
                tensor: label(),
                expected,
                found,
            });
        }
        let lanes = binding.item.elements();
        let elements = tensor.len();
        if !elements.is_multiple_of(lanes) {
            return Err(BindingFault::Vectors {
                binding: binding.name.clone(),
                tensor: label(),
                lanes,
                elements,
            });
        }
        if binding.access != Access::ReadWrite {
            continue;
        }
        let shared = bound().find(|(other, (_, another))| *other != at && tensor.overlaps(another));
        if let Some((_, (_, another))) = shared {
            let tensor = label();
            let binding = binding.name.clone();
            return Err(if another.buffer() == tensors[at].buffer() {
                BindingFault::Twice { tensor, binding }
            } else {
                BindingFault::Shared {
                    tensor,
                    other: another.label().to_owned(),
                    binding,
                }
            });
        }
    }
    for (_, (binding, tensor)) in bound() {
        let other = bound().find(|(_, (other, another))| {
            other.access != binding.access && another.buffer().0 == tensor.buffer().0
        });
        if let Some((_, (_, another))) = other {
            return Err(BindingFault::OneBuffer {
                tensor: tensor.label().to_owned(),
                other: another.label().to_owned(),
            });
        }
    }
    Ok(())
}
