//! Declarations of a kernel's storage buffers.

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Element {
    /// `f32`.
    F32,
    /// `u32`. One element may also hold four packed bytes, the first in the lowest bits.
    U32,
}

/// How a shader uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// Type of the items of a kernel's array. An item holds one or several elements of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// One element per item: `array<f32>`.
    Scalar,
    /// Two elements per item: `array<vec2<f32>>`.
    Vec2,
    /// Four elements per item: `array<vec4<f32>>`.
    Vec4,
    /// One element per item, accessed atomically by several invocations: `array<atomic<u32>>`.
    Atomic,
}

impl Item {
    /// Number of elements per item.
    #[must_use]
    pub const fn elements(self) -> usize {
        match self {
            Self::Scalar | Self::Atomic => 1,
            Self::Vec2 => 2,
            Self::Vec4 => 4,
        }
    }
}

/// One storage buffer of a kernel, which the WGSL declares as an array.
///
/// Its binding number is its index among the kernel's bindings plus 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding<N = &'static str> {
    /// Name of the WGSL variable.
    pub name: N,
    /// Element type of the tensor.
    pub element: Element,
    /// Whether the WGSL declares the elements as `i32` although the tensor has `u32`.
    pub is_signed: bool,
    /// Type of the array's items.
    pub item: Item,
    /// Whether the shader only reads the array, or also writes it.
    pub access: Access,
}

impl<'k> Binding<&'k str> {
    /// Declares an array of `f32` that the shader only reads.
    #[must_use]
    pub const fn read(name: &'k str) -> Self {
        Self {
            name,
            element: Element::F32,
            is_signed: false,
            item: Item::Scalar,
            access: Access::Read,
        }
    }

    /// Declares an array of `f32` that the shader writes, and may read.
    #[must_use]
    pub const fn write(name: &'k str) -> Self {
        Self {
            access: Access::ReadWrite,
            ..Self::read(name)
        }
    }

    /// Sets the element type to `u32`.
    #[must_use]
    pub const fn of_u32(self) -> Self {
        Self {
            element: Element::U32,
            is_signed: false,
            ..self
        }
    }

    /// Sets the element type to `i32`. The tensor's type is [`Element::U32`], with the same bits.
    #[must_use]
    pub const fn of_i32(self) -> Self {
        Self {
            element: Element::U32,
            is_signed: true,
            ..self
        }
    }

    /// Sets the item type to `vec2`. The tensor's number of elements must be even.
    #[must_use]
    pub const fn vec2(self) -> Self {
        Self {
            item: Item::Vec2,
            ..self
        }
    }

    /// Sets the item type to `vec4`. The tensor's number of elements must be a multiple of 4.
    #[must_use]
    pub const fn vec4(self) -> Self {
        Self {
            item: Item::Vec4,
            ..self
        }
    }

    /// Sets the item type to an atomic. WGSL allows atomic `u32` and `i32`, in arrays that the shader may write.
    #[must_use]
    pub const fn atomic(self) -> Self {
        Self {
            item: Item::Atomic,
            ..self
        }
    }

    pub(super) fn owned(self) -> Binding<String> {
        let Self {
            name,
            element,
            is_signed,
            item,
            access,
        } = self;
        Binding {
            name: name.to_owned(),
            element,
            is_signed,
            item,
            access,
        }
    }
}
