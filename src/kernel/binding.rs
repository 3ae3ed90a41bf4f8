//! How a kernel declares its storage buffers.

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Element {
    /// `f32`.
    F32,
    /// `u32`; also four packed bytes, lowest byte first.
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

/// Type of the items of a kernel's array: how many elements of the tensor one item holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// One element per item: `array<f32>`.
    Scalar,
    /// Two elements per item: `array<vec2<f32>>`.
    Vec2,
    /// Four elements per item: `array<vec4<f32>>`.
    Vec4,
    /// One element per item, which several invocations may change: `array<atomic<u32>>`.
    Atomic,
}

impl Item {
    /// Elements per item.
    #[must_use]
    pub const fn elements(self) -> usize {
        match self {
            Self::Scalar | Self::Atomic => 1,
            Self::Vec2 => 2,
            Self::Vec4 => 4,
        }
    }
}

/// One storage buffer of a kernel, an array.
///
/// Its binding number is 1 + its index among the kernel's bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding<N = &'static str> {
    /// Name of the WGSL variable.
    pub name: N,
    /// Element type of the tensor.
    pub element: Element,
    /// Whether the WGSL declares the tensor's `u32` elements as `i32`.
    pub is_signed: bool,
    /// Type of the array's items.
    pub item: Item,
    /// Whether the shader only reads the array, or also writes it.
    pub access: Access,
}

impl<'k> Binding<&'k str> {
    /// An array of `f32` that the shader only reads.
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

    /// An array of `f32` that the shader writes.
    #[must_use]
    pub const fn write(name: &'k str) -> Self {
        Self {
            access: Access::ReadWrite,
            ..Self::read(name)
        }
    }

    /// Changes the element type to `u32`.
    #[must_use]
    pub const fn of_u32(self) -> Self {
        Self {
            element: Element::U32,
            is_signed: false,
            ..self
        }
    }

    /// Changes the element type to `i32`. The tensor holds the same bits as [`Element::U32`].
    #[must_use]
    pub const fn of_i32(self) -> Self {
        Self {
            element: Element::U32,
            is_signed: true,
            ..self
        }
    }

    /// Changes the items to `vec2`. The tensor's number of elements must be even.
    #[must_use]
    pub const fn vec2(self) -> Self {
        Self {
            item: Item::Vec2,
            ..self
        }
    }

    /// Changes the items to `vec4`. The tensor's number of elements must be a multiple of 4.
    #[must_use]
    pub const fn vec4(self) -> Self {
        Self {
            item: Item::Vec4,
            ..self
        }
    }

    /// Changes the items to atomics. WGSL allows atomic `u32` and `i32`, in arrays that the shader may write.
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
