/// Why a buffer cannot be used as requested. `Display` also says what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BufferFault {
    /// The buffer was created without this usage of `wgpu::BufferUsages`.
    #[error("was made without BufferUsages::{0}. Add that usage where it is created")]
    Usage(&'static str),
    /// The owner has destroyed the buffer.
    #[error("has been destroyed. Create another")]
    Destroyed,
    /// The buffer is mapped by the host.
    #[error("is mapped. Unmap it first")]
    Mapped,
}
