//! Moves parameters part of the way toward another network's parameters.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::to_u32;
use crate::error::{Error, number};
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    share: f32,
}

static MIX_IN: Kernel<Settings> = Kernel {
    shader: "mix",
    source: include_str!("../../shaders/mix.wgsl"),
    entry: "mix_in",
    bindings: &[Binding::read("other"), Binding::write("own")],
    fields: fields!(Settings: elements, share),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

/// Checks that `share`, the fraction of the way that parameters move, is 0 to 1.
pub(crate) fn check(share: f32) -> Result<(), Error> {
    if !(0.0..=1.0).contains(&share) {
        let name = "share of the other network";
        return Err(Error::setting(name, "0 to 1", number(share)));
    }
    Ok(())
}

/// Records `own = own + share·(other − own)`.
///
/// # Panics
/// If the tensors differ in size, which is a bug in the caller.
pub fn record(recorder: &mut Recorder<'_>, other: &Tensor, own: &Tensor, share: f32) {
    let elements = own.len();
    assert_eq!(other.len(), elements, "mix::mix_in: {}", own.label());
    let settings = Settings {
        elements: to_u32(elements),
        share,
    };
    record_elements(recorder, &MIX_IN, settings, &[other, own], elements, 3);
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![MIX_IN.contract()]
}
