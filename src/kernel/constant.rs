//! The `override` constants of a kernel.

/// Type of an `override` constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// `f32`.
    F32,
    /// `i32`.
    I32,
    /// `u32`.
    U32,
    /// `bool`.
    Bool,
}

impl Scalar {
    /// The type's name in WGSL.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::Bool => "bool",
        }
    }
}

/// An `override` constant of a WGSL source, with the value for which the kernel is compiled.
///
/// A constant that has a default value in the WGSL need not be declared here.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Constant<N = &'static str> {
    /// The constant's name in the WGSL.
    pub name: N,
    /// The constant's type.
    pub scalar: Scalar,
    /// The value; `None` if it is set only before a dispatch. A `bool` is 1 or 0.
    pub value: Option<f64>,
}

impl<'k> Constant<&'k str> {
    /// Declares an `f32`, which must be finite.
    #[must_use]
    pub const fn f32(name: &'k str, value: f32) -> Self {
        Self::of(name, Scalar::F32, value as f64)
    }

    /// Declares an `i32`.
    #[must_use]
    pub const fn i32(name: &'k str, value: i32) -> Self {
        Self::of(name, Scalar::I32, value as f64)
    }

    /// Declares a `u32`.
    #[must_use]
    pub const fn u32(name: &'k str, value: u32) -> Self {
        Self::of(name, Scalar::U32, value as f64)
    }

    /// Declares a `bool`.
    #[must_use]
    pub const fn bool(name: &'k str, value: bool) -> Self {
        Self::of(name, Scalar::Bool, value as u8 as f64)
    }

    const fn of(name: &'k str, scalar: Scalar, value: f64) -> Self {
        Self {
            name,
            scalar,
            value: Some(value),
        }
    }

    /// Declares a constant without a value. Before a dispatch, set the values of all constants with
    /// [`KernelRef::constants`](super::KernelRef::constants).
    #[must_use]
    pub const fn open(name: &'k str, scalar: Scalar) -> Self {
        Self {
            name,
            scalar,
            value: None,
        }
    }

    pub(super) fn owned(self) -> Constant<String> {
        let Self {
            name,
            scalar,
            value,
        } = self;
        Constant {
            name: name.to_owned(),
            scalar,
            value,
        }
    }
}
