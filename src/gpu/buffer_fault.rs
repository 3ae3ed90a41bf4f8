//! Faults of buffers that the program passes to this crate.

use super::Gpu;
use crate::error::{BufferFault, Error};

impl BufferFault {
    /// Finds the fault of a buffer in wgpu's message. Returns it with the buffer's label.
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
        // wgpu's message has the form: Buffer with 'its label' label.
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

/// Checks that a buffer was created with a usage. `doing` names the action that needs this usage.
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
    /// Checks that kernels of this device can bind a tensor in a user's buffer. For this, it binds the buffer: wgpu
    /// then checks whether the buffer belongs to this device and still exists. A browser reports these errors later.
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
            // wgpu's message has the form: Device with '' label of Buffer with 'x' label doesn't match Device with ''
            // label.
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
    /// In an error about a buffer, replaces the buffer's label by the tensor's label.
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
