//! Interprets a dispatch in each requested order of its invocations, and reports its problems.

use crate::buffer::Buffer;
use crate::error::Error;
use crate::machine::{Machine, Range};
use crate::program::{self, Program};
use crate::report::Report;
use crate::settings::{Bound, Dispatch, Rounding, Settings};
use crate::shader::Kernel;

/// The maximum number of workgroups in one dimension (WebGPU's limit), and in total (the interpreter's limit).
const MOST_WORKGROUPS: u32 = 65_535;
const MOST_IN_ALL: u32 = 1 << 24;

/// The maximum size of a bound range, in bytes. Every offset then fits in 32 bits, and is less than the two values that
/// mark an index out of bounds.
const MOST_BYTES: u64 = 1 << 31;

/// Interprets a dispatch once in each order of [`Settings::orders`], and reports the problems that it finds. Every run
/// starts from the given contents of `buffers`. At the end, `buffers` has the contents after the run in the first
/// order.
///
/// # Errors
/// [`Error::Binding`] when a binding that the entry point uses is not bound, is bound twice, lies outside its
/// buffer, has fewer bytes than its variable needs, or has more than 2 GiB. [`Error::Setting`] when no order is
/// given, a number of workgroups is too large, or the number of orders plus the number of workgroups and barriers in
/// all orders exceeds 2³² − 1.
pub fn sanitize(
    kernel: &Kernel,
    dispatch: &Dispatch,
    buffers: &mut [Buffer],
    settings: &Settings,
) -> Result<Report, Error> {
    let program = &kernel.0.program;
    let Some((&first, others)) = settings.orders.split_first() else {
        return Err(Error::Setting(
            "no order of the invocations is given: name at least one".to_owned(),
        ));
    };
    let total = program::product(dispatch.workgroups);
    let is_too_long = dispatch
        .workgroups
        .iter()
        .any(|&count| count > MOST_WORKGROUPS);
    if is_too_long || total > MOST_IN_ALL.into() {
        let [x, y, z] = dispatch.workgroups;
        return Err(Error::Setting(format!(
            "{x}×{y}×{z} workgroups, {total} in all: a dispatch has at most {MOST_WORKGROUPS} in each direction, \
             and is interpreted with at most {MOST_IN_ALL} in all"
        )));
    }
    let ranges = ranges(program, dispatch, buffers)?;
    let mut machine = Machine::new(&kernel.0, settings, dispatch.workgroups, ranges, buffers);
    let (result, is_whole) = machine.run(first, buffers)?;
    for &order in others {
        let (other, is_other_whole) = machine.run(order, buffers)?;
        // A run that ended early has written only a part of its results. With random rounding, results differ in any
        // case.
        if is_whole && is_other_whole && settings.rounding == Rounding::Nearest {
            machine.compare([first, order], &result, &other);
        }
    }
    buffers.clone_from_slice(&result);
    Ok(machine.report())
}

/// Returns the bound range of each variable of a program, after checking it.
fn ranges(program: &Program, dispatch: &Dispatch, buffers: &[Buffer]) -> Result<Vec<Range>, Error> {
    let variables = program.variables.iter();
    let range = |binding: Option<usize>| {
        let Some(binding) = binding else {
            return Ok(Range::default());
        };
        let declared = &program.bindings[binding];
        let group = declared.group;
        let binding = declared.binding;
        let error = |message: String| Error::Binding {
            group,
            binding,
            name: declared.name.clone(),
            ty: declared.ty.clone(),
            message,
        };
        let is_it = |bound: &&Bound| (bound.group, bound.binding) == (group, binding);
        let mut bound = dispatch.bindings.iter().filter(is_it);
        let Some(first) = bound.next() else {
            return Err(error(
                "nothing is bound, but the variable is used".to_owned(),
            ));
        };
        if bound.next().is_some() {
            return Err(error("two buffers are bound: leave out one".to_owned()));
        }
        range(first, buffers, declared.least_bytes).map_err(error)
    };
    variables.map(|variable| range(variable.binding)).collect()
}

fn range(bound: &Bound, buffers: &[Buffer], least: u64) -> Result<Range, String> {
    let Some(buffer) = buffers.get(bound.buffer) else {
        return Err(format!(
            "buffer {} is bound, but there are {}, counted from 0",
            bound.buffer,
            buffers.len()
        ));
    };
    let all = 0..buffer.bytes();
    let bytes = bound.bytes.as_ref().unwrap_or(&all);
    if bytes.start > bytes.end || bytes.end > all.end {
        return Err(format!(
            "bytes {}..{} are bound of buffer {}, which has {}",
            bytes.start, bytes.end, bound.buffer, all.end
        ));
    }
    if !bytes.start.is_multiple_of(4) || !bytes.end.is_multiple_of(4) {
        return Err(format!(
            "bytes {}..{} are bound: both ends must be multiples of 4",
            bytes.start, bytes.end
        ));
    }
    let length = bytes.end - bytes.start;
    if length < least {
        return Err(format!(
            "{length} bytes are bound, but the variable needs at least {least}"
        ));
    }
    if length > MOST_BYTES {
        return Err(format!(
            "{length} bytes are bound, but at most {MOST_BYTES} can be bound: bind a part of the buffer"
        ));
    }
    let words = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
    Ok(Range {
        buffer: bound.buffer,
        start: words(bytes.start),
        words: words(length),
    })
}
