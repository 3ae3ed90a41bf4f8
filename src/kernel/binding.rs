//! The storage buffers of a kernel, as its declaration has them.

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Element {
    /// `f32`.
    F32,
    /// `u32`; also four bytes packed, lowest first.
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

/// How many elements of its tensor an item of a kernel's array has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// One: `array<f32>`.
    Scalar,
    /// Two: `array<vec2<f32>>`.
    Vec2,
    /// Four: `array<vec4<f32>>`.
    Vec4,
    /// One, which invocations change together: `array<atomic<u32>>`.
    Atomic,
}

impl Item {
    /// Elements of an item.
    #[must_use]
    pub const fn elements(self) -> usize {
        match self {
            Self::Scalar | Self::Atomic => 1,
            Self::Vec2 => 2,
            Self::Vec4 => 4,
        }
    }
}

/// One storage buffer of a kernel, an array; its binding number is 1 + its place among the bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding<N = &'static str> {
    /// Name of the WGSL variable.
    pub name: N,
    /// Element type of the tensor.
    pub element: Element,
    /// Whether WGSL has the tensor's `u32` as `i32`.
    pub is_signed: bool,
    /// What the array is of.
    pub item: Item,
    /// Access.
    pub access: Access,
}

impl<'k> Binding<&'k str> {
    /// An array of `f32` that the shader reads.
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

    /// The same array, of `u32`.
    #[must_use]
    pub const fn of_u32(self) -> Self {
        Self {
            element: Element::U32,
            is_signed: false,
            ..self
        }
    }

    /// The same array, of `i32`. Its tensor has [`Element::U32`] with the same bits.
    #[must_use]
    pub const fn of_i32(self) -> Self {
        Self {
            element: Element::U32,
            is_signed: true,
            ..self
        }
    }

    /// The same array, two elements to an item. Its tensor has an even number of elements.
    #[must_use]
    pub const fn vec2(self) -> Self {
        Self {
            item: Item::Vec2,
            ..self
        }
    }

    /// The same array, four elements to an item. The elements of its tensor are a multiple of 4.
    #[must_use]
    pub const fn vec4(self) -> Self {
        Self {
            item: Item::Vec4,
            ..self
        }
    }

    /// The same array, of atomics. WGSL has them of `u32` and of `i32`, in arrays that may be written.
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
