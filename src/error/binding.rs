use crate::kernel::Element;

/// A mismatch between a dispatch and its kernel. `Display` describes the mismatch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingFault {
    /// The number of tensors differs from the number of bindings.
    #[error("it has {expected} bindings, and {found} tensors were bound")]
    Count {
        /// Number of bindings of the kernel.
        expected: usize,
        /// Number of tensors in the dispatch.
        found: usize,
    },
    /// The element type of a tensor differs from the type that the kernel declares.
    #[error(
        "binding {binding} has elements of {expected:?}, but tensor {tensor} has elements of {found:?}"
    )]
    Element {
        /// Name of the binding in the kernel.
        binding: String,
        /// Label of the tensor.
        tensor: String,
        /// Element type that the kernel declares.
        expected: Element,
        /// Element type of the tensor.
        found: Element,
    },
    /// A tensor is bound twice, and the kernel writes it.
    #[error("tensor {tensor} is bound twice, but the kernel writes binding {binding}")]
    Twice {
        /// Label of the tensor.
        tensor: String,
        /// Name of the binding that the kernel writes.
        binding: String,
    },
    /// Two tensors overlap in memory, and the kernel writes one of them.
    #[error(
        "tensor {tensor} shares memory with tensor {other}, but the kernel writes binding {binding}"
    )]
    Shared {
        /// Label of the written tensor.
        tensor: String,
        /// Label of the other tensor.
        other: String,
        /// Name of the binding that the kernel writes.
        binding: String,
    },
    /// Two tensors are in the same buffer, and the kernel writes one of them.
    #[error(
        "tensors {tensor} and {other} lie in the same buffer, but a kernel cannot read one part of a buffer and write \
        another"
    )]
    OneBuffer {
        /// Label of one tensor.
        tensor: String,
        /// Label of the other tensor.
        other: String,
    },
    /// The kernel reads vectors, but the tensor's number of elements is not a multiple of the vector's length.
    #[error(
        "binding {binding} has vectors of {lanes}, but tensor {tensor} has {elements} elements, which is not a \
        multiple of {lanes}"
    )]
    Vectors {
        /// Name of the binding in the kernel.
        binding: String,
        /// Label of the tensor.
        tensor: String,
        /// Elements per vector.
        lanes: usize,
        /// Number of elements of the tensor.
        elements: usize,
    },
    /// A constant of the kernel was given no value.
    #[error("its constant {constant} has no value")]
    NoValue {
        /// Name of the constant in the kernel.
        constant: String,
    },
    /// A constant of the kernel is infinite or NaN.
    #[error("its constant {constant} is {value}")]
    NotFinite {
        /// Name of the constant in the kernel.
        constant: String,
        /// `inf`, `-inf` or `NaN`.
        value: String,
    },
    /// The dispatch has no workgroups.
    #[error("no workgroup was dispatched")]
    NoWorkgroup,
}

impl BindingFault {
    /// How to fix the mismatch, as the end of the message.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Count { .. } | Self::Element { .. } => {
                "Bind one tensor for each binding that the kernel declares, in their order"
            }
            Self::Twice { .. } | Self::Shared { .. } => {
                "Bind to the written binding a tensor in memory that no other tensor of this dispatch uses"
            }
            Self::OneBuffer { .. } => "Put the written tensor into a buffer of its own",
            Self::Vectors { .. } => {
                "Bind a tensor of whole vectors, for example with columns of zeros after the last, or declare the \
                array with single elements in the Kernel and the WGSL"
            }
            Self::NoValue { .. } => {
                "Dispatch the kernel with values of all its constants (`KernelRef::constants`)"
            }
            Self::NotFinite { .. } => {
                "Give it a finite value; an infinite or NaN value can be a setting in the block"
            }
            Self::NoWorkgroup => "Dispatch at least one",
        }
    }
}
