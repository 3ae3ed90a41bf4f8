/// Why a buffer cannot be used as it was asked for. `Display` says it with what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BufferFault {
    /// It was made without this usage, as `wgpu::BufferUsages` spells it.
    #[error("was made without BufferUsages::{0}. Add that usage where it is created")]
    Usage(&'static str),
    /// Its owner has destroyed it.
    #[error("has been destroyed. Create another")]
    Destroyed,
    /// The host has it mapped.
    #[error("is mapped. Unmap it first")]
    Mapped,
}
