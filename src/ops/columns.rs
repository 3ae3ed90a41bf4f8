//! Copies columns between tensors: to concatenate values, and to take a concatenated value or gradient apart.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::to_u32;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    rows: u32,
    columns: u32,
    from_columns: u32,
    from_first: u32,
    to_columns: u32,
    to_first: u32,
}

static COPY_COLUMNS: Kernel<Settings> = Kernel {
    shader: "columns",
    source: include_str!("../../shaders/columns.wgsl"),
    entry: "copy_columns",
    bindings: &[Binding::read("source"), Binding::write("destination")],
    fields: fields!(Settings: rows, columns, from_columns, from_first, to_columns, to_first),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

/// Records `to[r, to_first + c] = from[r, from_first + c]` for every row `r` and for `c` from 0 to `columns − 1`.
///
/// # Panics
/// If a tensor has too few columns or the numbers of rows differ, which is a bug in the caller.
pub fn copy(
    recorder: &mut Recorder<'_>,
    (from, from_first): (&Tensor, usize),
    (to, to_first): (&Tensor, usize),
    columns: usize,
) {
    let fits = |tensor: &Tensor, first| first + columns <= tensor.columns();
    assert!(
        from.rows() == to.rows() && fits(from, from_first) && fits(to, to_first),
        "columns::copy_columns: {columns} of {} and {}",
        from.label(),
        to.label()
    );
    let settings = Settings {
        rows: to_u32(from.rows()),
        columns: to_u32(columns),
        from_columns: to_u32(from.columns()),
        from_first: to_u32(from_first),
        to_columns: to_u32(to.columns()),
        to_first: to_u32(to_first),
    };
    let elements = from.rows() * columns;
    record_elements(recorder, &COPY_COLUMNS, settings, &[from, to], elements, 0);
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![COPY_COLUMNS.contract()]
}
