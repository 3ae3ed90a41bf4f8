//! What is wrong with a buffer that comes from outside the crate.

use super::Gpu;
use crate::error::{BufferFault, Error};

impl BufferFault {
    /// What wgpu's text says of a buffer, with the buffer's own label.
    pub(super) fn in_message(message: &str) -> Option<(Self, String)> {
        let faults = [
            (" has been destroyed", Self::Destroyed),
            (" is still mapped", Self::Mapped),
            (" is expected to be unmapped", Self::Mapped),
        ];
        let found = faults.iter().find_map(|&(text, fault)| {
            let before = message.split(text).next()?;
            let is_told = before.len() < message.len();
            is_told.then(|| (fault, before.rsplit("Buffer").next().unwrap_or_default()))
        });
        // wgpu writes: Buffer with 'its label' label.
        found.map(|(fault, of_buffer)| {
            let label = of_buffer
                .split('\'')
                .nth(1)
                .filter(|label| !label.is_empty());
            (
                fault,
                label.unwrap_or("a tensor without a label").to_owned(),
            )
        })
    }
}

/// Whether a buffer was made with a usage; `doing` needs it.
pub(crate) fn check_usage(
    label: &str,
    buffer: &wgpu::Buffer,
    usage: wgpu::BufferUsages,
    doing: &str,
) -> Result<(), Error> {
    let names = [
        (wgpu::BufferUsages::STORAGE, "STORAGE"),
        (wgpu::BufferUsages::COPY_SRC, "COPY_SRC"),
        (wgpu::BufferUsages::COPY_DST, "COPY_DST"),
    ];
    let missing = names
        .into_iter()
        .find(|&(flag, _)| usage.contains(flag) && !buffer.usage().contains(flag));
    match missing {
        None => Ok(()),
        Some((_, name)) => Err(Error::Buffer {
            label: label.to_owned(),
            doing: doing.to_owned(),
            fault: BufferFault::Usage(name),
        }),
    }
}

impl Gpu {
    /// Whether kernels of this device can bind a tensor in a buffer from outside. wgpu tells whose a buffer is, and
    /// whether it is still there, when it is bound. In a browser it tells later.
    pub(crate) fn check_binding(
        &self,
        label: &str,
        binding: wgpu::BindingResource<'_>,
    ) -> Result<(), Error> {
        let doing = format!("binding {label}");
        let bound = self.guarded(&doing, || {
            let layout = wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: false },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            };
            let layout = wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &[layout],
            };
            let entry = wgpu::BindGroupEntry {
                binding: 0,
                resource: binding,
            };
            self.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &self.device().create_bind_group_layout(&layout),
                entries: &[entry],
            })
        });
        bound.map(drop).map_err(|error| match error {
            // wgpu writes: Device with '' label of Buffer with 'x' label doesn't match Device with '' label.
            Error::Gpu { message, .. } if message.contains("doesn't match Device") => {
                Error::OtherGpu {
                    what: label.to_owned(),
                }
            }
            error => error.of_tensor(label),
        })
    }
}

impl Error {
    /// An error of a tensor's buffer, with the label of the tensor.
    pub(crate) fn of_tensor(self, label: &str) -> Self {
        match self {
            Self::Buffer { doing, fault, .. } => Self::Buffer {
                label: label.to_owned(),
                doing,
                fault,
            },
            error => error,
        }
    }
}
