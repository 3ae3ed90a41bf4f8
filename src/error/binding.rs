use crate::kernel::Element;

/// A mismatch between a dispatch and its kernel. `Display` describes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingFault {
    /// The number of tensors differs from the number of bindings.
    #[error("it has {expected} bindings, and {found} tensors were bound")]
    Count {
        /// Bindings of the kernel.
        expected: usize,
        /// Tensors given.
        found: usize,
    },
    /// A tensor has elements of another type.
    #[error("{binding} is of {expected:?}, and {tensor}, bound to it, of {found:?}")]
    Element {
        /// The binding, as declared in the kernel.
        binding: String,
        /// Label of the tensor.
        tensor: String,
        /// Element type that the kernel declares.
        expected: Element,
        /// Element type of the tensor.
        found: Element,
    },
    /// A tensor is bound twice, and the kernel writes it.
    #[error("{tensor} is bound twice, though {binding} is written")]
    Twice {
        /// Label of the tensor.
        tensor: String,
        /// The binding that the kernel writes.
        binding: String,
    },
    /// Two tensors overlap in memory, and the kernel writes one of them.
    #[error("{tensor} shares memory with {other}, though {binding} is written")]
    Shared {
        /// Label of the written tensor.
        tensor: String,
        /// Label of the other tensor.
        other: String,
        /// The binding that the kernel writes.
        binding: String,
    },
    /// Two tensors are in the same buffer, and the kernel writes one of them.
    #[error(
        "{tensor} and {other} lie in one buffer, of which no kernel may read one part and write another"
    )]
    OneBuffer {
        /// Label of one tensor.
        tensor: String,
        /// Label of the other tensor.
        other: String,
    },
    /// The elements of a tensor do not make whole vectors.
    #[error(
        "{binding} is of vectors of {lanes}, and {tensor}, bound to it, has {elements} elements"
    )]
    Vectors {
        /// The binding, as declared in the kernel.
        binding: String,
        /// Label of the tensor.
        tensor: String,
        /// Elements per vector.
        lanes: usize,
        /// Elements of the tensor.
        elements: usize,
    },
    /// A constant has no value.
    #[error("its constant {constant} has no value")]
    NoValue {
        /// The constant, as declared in the kernel.
        constant: String,
    },
    /// A constant is infinite or NaN.
    #[error("its constant {constant} is {value}")]
    NotFinite {
        /// The constant, as declared in the kernel.
        constant: String,
        /// `inf`, `-inf` or `NaN`.
        value: String,
    },
    /// The dispatch has no workgroups.
    #[error("no workgroup was dispatched")]
    NoWorkgroup,
}

impl BindingFault {
    /// How to fix it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Count { .. } | Self::Element { .. } => {
                "Bind one tensor for each binding that the kernel declares, in their order"
            }
            Self::Twice { .. } | Self::Shared { .. } => {
                "Give what is written memory that nothing else of this dispatch has"
            }
            Self::OneBuffer { .. } => "Put what is written into a buffer of its own",
            Self::Vectors { .. } => {
                "Bind a tensor of whole vectors, say with columns of zeros behind the last, or declare and \
                write the array as one of single elements"
            }
            Self::NoValue { .. } => {
                "Dispatch the kernel with values of all its constants (`KernelRef::constants`)"
            }
            Self::NotFinite { .. } => {
                "Give it a finite value: what is not finite can be a setting in the block"
            }
            Self::NoWorkgroup => "Dispatch at least one",
        }
    }
}
