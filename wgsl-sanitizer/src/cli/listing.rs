//! Prints lists of entry points, and contents of buffers. (Reports are printed elsewhere.)

use wgsl_sanitizer::{Binding, Buffer, Scalar};

use super::Mistake;
use super::job::{Job, NO_ENTRY, Run};
use super::names::{Declared, numbers_of};

/// The maximum number of numbers per printed line, unless a single element has more.
const IN_A_LINE: usize = 8;

/// Prints the entry points with their bindings.
pub(super) fn list(job: &Job) -> Result<(), Mistake> {
    if job.shader.entries().next().is_none() {
        return Err(Mistake::new(NO_ENTRY));
    }
    for entry in job.shader.entries() {
        // The constants come from the entry point's first dispatch.
        let is_it = |run: &&Run| run.entry.as_deref().is_none_or(|name| name == entry);
        let constants = job.runs.iter().find(is_it).map(|run| &run.constants[..]);
        let constants: Vec<_> = constants
            .unwrap_or(&[])
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        let kernel = match job.shader.kernel(entry, &constants) {
            Ok(kernel) => kernel,
            Err(error) => {
                println!("{entry}: cannot be interpreted: {error}");
                continue;
            }
        };
        let [x, y, z] = kernel.workgroup_size();
        println!("{entry}: {x}×{y}×{z} invocations");
        for binding in kernel.bindings() {
            println!("  {}", Declared(binding));
        }
    }
    Ok(())
}

/// Prints the numbers of a buffer. Each line begins with the path of its first number. `?` stands for an unwritten
/// number.
pub(super) fn print(name: &str, binding: &Binding, buffer: &Buffer) {
    let layout = &binding.layout;
    let bits = |at: u64, scalar: Scalar| {
        let word = usize::try_from(at / 4).unwrap_or(usize::MAX);
        let word = buffer.u32s()[word];
        match scalar {
            Scalar::F16 if at % 4 == 2 => word >> 16,
            _ => word,
        }
    };
    let numbers = layout.numbers(buffer.bytes()).map(|(at, scalar)| {
        let is_written = buffer.is_written(at);
        let text = is_written.then(|| scalar.text(bits(at, scalar)));
        (at, text.unwrap_or("?".to_owned()))
    });
    let numbers: Vec<(u64, String)> = numbers.collect();
    // Each line has whole elements of the array.
    let each = layout.elements().map_or(1, |elements| {
        let [_, each] = numbers_of(layout, elements);
        usize::try_from(each).unwrap_or(usize::MAX)
    });
    let lines = numbers.chunks((IN_A_LINE / each).max(1) * each);
    let lines: Vec<(String, String)> = lines
        .map(|line| {
            let texts: Vec<&str> = line.iter().map(|(_, text)| &**text).collect();
            (layout.path(line[0].0), texts.join(" "))
        })
        .collect();
    if let [(path, number)] = &lines[..]
        && path.is_empty()
    {
        println!("{name}: {number}");
        return;
    }
    let width = lines.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    println!("{name}:");
    for (path, numbers) in lines {
        println!("  {path:>width$}: {numbers}");
    }
}
