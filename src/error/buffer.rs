/// The reason why a buffer cannot be used as requested. `Display` also says how to fix it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BufferFault {
    /// The buffer was created without a required flag of `wgpu::BufferUsages`. The field is the flag's name.
    #[error("was made without BufferUsages::{0}. Add that usage where it is created")]
    Usage(&'static str),
    /// The owner has destroyed the buffer.
    #[error("has been destroyed. Create another")]
    Destroyed,
    /// The buffer is mapped by the host.
    #[error("is mapped. Unmap it first")]
    Mapped,
}
