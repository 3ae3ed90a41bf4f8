//! Finds bugs in a WGSL compute shader without a GPU: data races, barriers that not all invocations reach, accesses out
//! of bounds, and reads of unwritten memory.
//!
//! The crate interprets an entry point invocation by invocation, over buffers that the caller supplies, and checks
//! every access to memory that invocations share.
//!
//! ```
//! use wgsl_sanitizer::{Buffer, Dispatch, Settings, Shader, sanitize};
//!
//! // Each invocation reads what its neighbour wrote, and no barrier is between.
//! let shader = Shader::parse("shift.wgsl", "
//!     var<workgroup> shared_values: array<f32, 64>;
//!     @group(0) @binding(0) var<storage, read_write> x: array<f32>;
//!     @compute @workgroup_size(64)
//!     fn shift(@builtin(local_invocation_index) i: u32) {
//!         shared_values[i] = x[i];
//!         x[i] = shared_values[(i + 1) % 64];
//!     }")?;
//! let kernel = shader.kernel("shift", &[])?;
//! let mut buffers = [Buffer::from_f32s(&[1.0; 64])];
//! let dispatch = Dispatch::new([1, 1, 1]).bind(0, 0, 0);
//! let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default())?;
//! assert!(!report.is_clean());
//! println!("{report}");
//! # Ok::<(), wgsl_sanitizer::Error>(())
//! ```

mod buffer;
mod compile;
mod error;
mod layout;
mod machine;
mod math;
mod program;
mod report;
mod run;
mod settings;
mod shader;
mod shadow;
mod source;

pub use buffer::Buffer;
pub use error::Error;
pub use layout::{Layout, Scalar};
pub use report::{Access, Block, Finding, Place, Problem, Report, Side, Space};
pub use run::sanitize;
pub use settings::{Bound, Dispatch, NanComparisons, Order, Rounding, Settings};
pub use shader::{Binding, BindingKind, Kernel, Shader};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
