//! The contract between a WGSL entry point and the Rust code that dispatches it.
//!
//! A [`Kernel`] is a `const` that repeats the declarations of the shader: the number, name and access of each binding,
//! the layout of the settings block, the workgroup size, and the values of the `override` constants. `Contract::faults`
//! parses the shader and lists the differences. A test does this for all kernels of this crate; [`check_layer`] does it
//! for the kernels of your layers.
//!
//! ```
//! use wgrad::kernel::{Binding, Constant, Kernel};
//!
//! const WGSL: &str = "
//!     override width: u32;
//!     @group(0) @binding(0) var<uniform> rows: u32;
//!     @group(0) @binding(1) var<storage, read> x: array<vec4f>;
//!     @group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;
//!     @compute @workgroup_size(width)
//!     fn count(@builtin(global_invocation_id) id: vec3u) {
//!         if (id.x < rows && all(x[id.x] > vec4f())) { atomicAdd(&counts[0], 1u); }
//!     }";
//! static COUNT: Kernel<u32> = Kernel::new(
//!     "count",
//!     WGSL,
//!     "count",
//!     &[Binding::read("x").vec4(), Binding::write("counts").of_u32().atomic()],
//! )
//! .constants(&[Constant::u32("width", 128)])
//! .workgroup_size([128, 1, 1]);
//! # #[cfg(not(target_arch = "wasm32"))]
//! assert!(COUNT.contract().faults().is_empty());
//! ```
//!
//! [`check_layer`]: crate::check_layer

mod binding;
mod constant;
#[cfg(wgrad_faults)]
pub(crate) mod fault;
#[cfg(not(target_arch = "wasm32"))]
mod wgsl;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use binding::{Access, Binding, Element, Item};
pub use constant::{Constant, Scalar};

/// Size in bytes of the workgroup memory that every browser grants.
pub(crate) const WORKGROUP_BYTES: u32 = 16 << 10;

/// The address space of a kernel's settings block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Block {
    /// `var<uniform>`: the fastest address space on a GPU.
    Uniform,
    /// `var<storage, read>`.
    Storage,
}

/// Whether a kernel's shader is compiled with checks that keep indices within their buffers and end all loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trust {
    pub(crate) is_proven: bool,
}

impl Trust {
    /// With checks of indices and loops: for all kernels from outside this crate.
    pub(crate) const CHECKED: Self = Self { is_proven: false };
    /// Without checks of indices and loops: for this crate's own kernels, whose tests show that they stay within
    /// bounds.
    pub(crate) const PROVEN: Self = Self { is_proven: true };
}

/// One member of a kernel's settings block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name of the member.
    pub name: &'static str,
    /// Offset of the member in bytes.
    pub offset: usize,
}

/// Lists the named members of a `#[repr(C)]` struct with their offsets, for
/// [`KernelRef::fields`](crate::kernel::KernelRef::fields).
#[macro_export]
macro_rules! fields {
    ($block:ty: $($name:ident),+ $(,)?) => {
        &[$($crate::kernel::Field {
            name: stringify!($name),
            offset: ::core::mem::offset_of!($block, $name),
        }),+]
    };
}

/// A kernel whose WGSL source is a constant of the program.
pub type Kernel<U> = KernelRef<'static, U>;

/// A WGSL entry point. All bindings are in group 0: the settings block `U` at binding 0, storage buffers from binding
/// 1.
///
/// It borrows its strings, so it is cheap to copy. A layer that generates its WGSL at run time stores the string, and
/// makes a kernel from it each time it records.
#[non_exhaustive]
pub struct KernelRef<'k, U: 'static> {
    /// File name of the shader without `.wgsl`.
    pub shader: &'k str,
    /// The WGSL source.
    pub source: &'k str,
    /// Name of the entry point.
    pub entry: &'k str,
    /// Storage buffers, in binding order.
    pub bindings: &'k [Binding<&'k str>],
    /// Members of the settings block; empty if the block is not a struct.
    pub fields: &'static [Field],
    /// The `override` constants. The shader is compiled for their values.
    pub constants: &'k [Constant<&'k str>],
    /// `@workgroup_size`.
    pub workgroup_size: [u32; 3],
    /// Address space of the settings block.
    pub block: Block,
    /// Whether the shader is compiled with bounds checks.
    pub(crate) trust: Trust,
    /// The Rust type of the settings block.
    pub(crate) uniform: PhantomData<U>,
}

impl<U> Clone for KernelRef<'_, U> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U> Copy for KernelRef<'_, U> {}

impl<U> fmt::Debug for KernelRef<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("shader", &self.shader)
            .field("entry", &self.entry)
            .field("constants", &self.constants)
            .finish_non_exhaustive()
    }
}

impl<'k, U> KernelRef<'k, U> {
    /// Makes a kernel with 64 invocations per workgroup, no constants, and bounds checks. Its settings block is a
    /// uniform without named members, such as a `u32`. The other methods change these defaults.
    #[must_use]
    pub const fn new(
        shader: &'k str,
        source: &'k str,
        entry: &'k str,
        bindings: &'k [Binding<&'k str>],
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

    /// Sets the members of a settings block that is a struct. [`fields!`](crate::fields) lists them.
    #[must_use]
    pub const fn fields(self, fields: &'static [Field]) -> Self {
        Self { fields, ..self }
    }

    /// Replaces the constants. A kernel needs a value for each constant before it can be dispatched.
    #[must_use]
    pub const fn constants(self, constants: &'k [Constant<&'k str>]) -> Self {
        Self { constants, ..self }
    }

    /// Sets the workgroup size (x, y, z) in invocations.
    #[must_use]
    pub const fn workgroup_size(self, workgroup_size: [u32; 3]) -> Self {
        Self {
            workgroup_size,
            ..self
        }
    }

    /// Sets the address space of the settings block.
    #[must_use]
    pub const fn block(self, block: Block) -> Self {
        Self { block, ..self }
    }

    /// The kernel's contract, which no longer has the Rust type of the settings block.
    #[must_use]
    pub fn contract(&self) -> Contract {
        self.untyped()
            .contract_of(self.source.into(), size_of::<U>())
    }

    /// Erases the Rust type of the settings block, so that the code that handles kernels is compiled only once.
    pub(crate) const fn untyped(&self) -> KernelRef<'k, ()> {
        let Self {
            shader,
            source,
            entry,
            bindings,
            fields,
            constants,
            workgroup_size,
            block,
            trust,
            uniform: _,
        } = *self;
        KernelRef {
            shader,
            source,
            entry,
            bindings,
            fields,
            constants,
            workgroup_size,
            block,
            trust,
            uniform: PhantomData,
        }
    }

    /// Number of invocations per workgroup.
    #[must_use]
    pub fn invocations(&self) -> u32 {
        product(self.workgroup_size)
    }
}

impl KernelRef<'_, ()> {
    /// The contract for a settings block of `uniform_size` bytes and a source that is already an `Arc`.
    pub(crate) fn contract_of(&self, source: Arc<str>, uniform_size: usize) -> Contract {
        #[cfg(wgrad_faults)]
        let source = fault::planted(source);
        Contract {
            shader: self.shader.to_owned(),
            source,
            entry: self.entry.to_owned(),
            bindings: self
                .bindings
                .iter()
                .map(|binding| binding.owned())
                .collect(),
            fields: self.fields,
            constants: self
                .constants
                .iter()
                .map(|constant| constant.owned())
                .collect(),
            uniform_size,
            block: self.block,
            trust: self.trust,
            workgroup_size: self.workgroup_size,
        }
    }
}

fn product(sizes: [u32; 3]) -> u32 {
    sizes.into_iter().fold(1, u32::saturating_mul)
}

/// The declarations of a [`Kernel`], for comparison with its shader.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Contract {
    /// File name of the shader without `.wgsl`.
    pub shader: String,
    /// The WGSL source.
    pub source: Arc<str>,
    /// Name of the entry point.
    pub entry: String,
    /// Storage buffers, in binding order.
    pub bindings: Vec<Binding<String>>,
    /// Members of the settings block.
    pub fields: &'static [Field],
    /// The `override` constants.
    pub constants: Vec<Constant<String>>,
    /// Size of the settings block in bytes.
    pub uniform_size: usize,
    /// Address space of the settings block.
    pub block: Block,
    /// Whether the shader is compiled with bounds checks.
    pub(crate) trust: Trust,
    /// `@workgroup_size`.
    pub workgroup_size: [u32; 3],
}

impl Contract {
    /// The kernel's name in messages: `shader::entry`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}::{}", self.shader, self.entry)
    }

    /// Number of invocations per workgroup.
    #[must_use]
    pub fn invocations(&self) -> u32 {
        product(self.workgroup_size)
    }

    /// The bytes of workgroup memory that the entry point needs, counted as in WebGPU: the size of each variable is
    /// rounded up to a multiple of 16 bytes. Returns 0 for invalid WGSL, which does not compile, and 0 in a browser,
    /// which checks this by itself.
    #[must_use]
    pub fn workgroup_bytes(&self) -> u32 {
        #[cfg(not(target_arch = "wasm32"))]
        let bytes = wgsl::workgroup_bytes(self);
        #[cfg(target_arch = "wasm32")]
        let bytes = 0;
        bytes
    }

    /// Lists every difference between the WGSL and this contract, and everything that exceeds the limits that WebGPU
    /// grants on every device. For invalid WGSL, the list has naga's message.
    #[cfg(not(target_arch = "wasm32"))]
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        wgsl::faults(self)
    }
}
