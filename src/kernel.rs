//! The contract between a WGSL entry point and the Rust that drives it.
//!
//! A [`Kernel`] says in a `const` what the shader says in WGSL: binding numbers, names and
//! access, the layout of the block of settings, the workgroup size. `Contract::faults` parses the
//! shader and compares the two; a test does so for all of this crate's, [`check_layer`] for those of
//! a layer of yours.
//!
//! [`check_layer`]: crate::check_layer

#[cfg(not(target_arch = "wasm32"))]
mod wgsl;

use std::marker::PhantomData;

/// Bytes of workgroup memory that every browser grants.
pub(crate) const WORKGROUP_BYTES: u32 = 16 << 10;

/// Element type of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// `f32`.
    F32,
    /// `u32`; also four bytes packed, lowest first.
    U32,
}

/// How a shader uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// One storage buffer of a kernel; its binding number is 1 + its place in [`Kernel::bindings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Name of the WGSL variable.
    pub name: &'static str,
    /// Element type.
    pub element: Element,
    /// Access.
    pub access: Access,
}

impl Binding {
    /// A buffer of `f32` that the shader reads.
    #[must_use]
    pub const fn read(name: &'static str) -> Self {
        Self {
            name,
            element: Element::F32,
            access: Access::Read,
        }
    }

    /// A buffer of `f32` that the shader writes.
    #[must_use]
    pub const fn write(name: &'static str) -> Self {
        Self {
            name,
            element: Element::F32,
            access: Access::ReadWrite,
        }
    }

    /// The same buffer, of `u32`.
    #[must_use]
    pub const fn of_u32(self) -> Self {
        Self {
            element: Element::U32,
            ..self
        }
    }
}

/// Where the block of a kernel's settings lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// `var<uniform>`: what GPUs read fastest.
    Uniform,
    /// `var<storage, read>`.
    Storage,
}

/// Whether a kernel's shader is compiled with the checks that keep its indices within their buffers
/// and its loops finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    pub(crate) is_proven: bool,
}

impl Trust {
    /// With them: every kernel from outside this crate.
    pub const CHECKED: Self = Self { is_proven: false };
    /// Without them: this crate's own, whose bounds its tests hold.
    pub(crate) const PROVEN: Self = Self { is_proven: true };
}

/// One member of a kernel's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name of the member.
    pub name: &'static str,
    /// Byte offset.
    pub offset: usize,
}

/// Lists the named members of a `#[repr(C)]` struct with their offsets, for [`Kernel::fields`].
#[macro_export]
macro_rules! fields {
    ($block:ty: $($name:ident),+ $(,)?) => {
        &[$($crate::kernel::Field {
            name: stringify!($name),
            offset: ::core::mem::offset_of!($block, $name),
        }),+]
    };
}

/// A WGSL entry point: group 0, block of settings `U` at binding 0, storage buffers from binding 1.
#[derive(Debug)]
pub struct Kernel<U: 'static> {
    /// File name of the shader without `.wgsl`.
    pub shader: &'static str,
    /// The WGSL itself.
    pub source: &'static str,
    /// Name of the entry point.
    pub entry: &'static str,
    /// Storage buffers, in binding order.
    pub bindings: &'static [Binding],
    /// Members of the block; none where it is no struct.
    pub fields: &'static [Field],
    /// Names of its `override` constants, all of them `u32`: a dispatch says their values, and what is
    /// compiled is compiled for these.
    pub constants: &'static [&'static str],
    /// `@workgroup_size`.
    pub workgroup_size: [u32; 3],
    /// Where the block lies.
    pub block: Block,
    /// Whether it is compiled with bounds checks.
    pub trust: Trust,
    /// The Rust type of the block.
    pub uniform: PhantomData<U>,
}

impl<U> Kernel<U> {
    /// A kernel in workgroups of 64, its block a uniform without named members (a `u32`, say), compiled
    /// with bounds checks. The rest is stated as `Kernel { fields: .., ..Kernel::new(..) }`.
    #[must_use]
    pub const fn new(
        shader: &'static str,
        source: &'static str,
        entry: &'static str,
        bindings: &'static [Binding],
    ) -> Self {
        Self {
            shader,
            source,
            entry,
            bindings,
            fields: &[],
            constants: &[],
            workgroup_size: [64, 1, 1],
            block: Block::Uniform,
            trust: Trust::CHECKED,
            uniform: PhantomData,
        }
    }

    /// The contract without the type of the block.
    #[must_use]
    pub const fn contract(&self) -> Contract {
        Contract {
            shader: self.shader,
            source: self.source,
            entry: self.entry,
            bindings: self.bindings,
            fields: self.fields,
            constants: self.constants,
            uniform_size: size_of::<U>(),
            block: self.block,
            trust: self.trust,
            workgroup_size: self.workgroup_size,
        }
    }
}

/// A kernel with the values of its constants: what is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) contract: Contract,
    /// In the order of [`Contract::constants`].
    pub(crate) values: Vec<u32>,
}

/// What a [`Kernel`] promises about its shader, to be compared with the shader itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    /// File name of the shader without `.wgsl`.
    pub shader: &'static str,
    /// The WGSL itself.
    pub source: &'static str,
    /// Name of the entry point.
    pub entry: &'static str,
    /// Storage buffers, in binding order.
    pub bindings: &'static [Binding],
    /// Members of the block.
    pub fields: &'static [Field],
    /// Names of the `override` constants.
    pub constants: &'static [&'static str],
    /// Size of the block in bytes.
    pub uniform_size: usize,
    /// Where the block lies.
    pub block: Block,
    /// Whether it is compiled with bounds checks.
    pub trust: Trust,
    /// `@workgroup_size`.
    pub workgroup_size: [u32; 3],
}

impl Contract {
    /// `shader::entry`, as messages name it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}::{}", self.shader, self.entry)
    }

    /// Invocations per workgroup.
    #[must_use]
    pub fn invocations(&self) -> u32 {
        let sizes = self.workgroup_size.iter();
        sizes.fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Bytes of workgroup memory that the entry point takes, as WebGPU counts them: each variable in whole
    /// 16 bytes. WGSL that is not valid takes none, as it does not compile. A browser knows by itself.
    #[must_use]
    pub fn workgroup_bytes(&self) -> u32 {
        #[cfg(not(target_arch = "wasm32"))]
        let bytes = wgsl::workgroup_bytes(self);
        #[cfg(target_arch = "wasm32")]
        let bytes = 0;
        bytes
    }

    /// Everything in which the WGSL differs from this contract, or is more than WebGPU grants on every
    /// device; where it is no valid WGSL, naga's message.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        wgsl::faults(self)
    }
}
