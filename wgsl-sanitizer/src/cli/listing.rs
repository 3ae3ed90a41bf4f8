//! What is printed beside reports.

use half::f16;
use wgsl_sanitizer::Buffer;

use super::Mistake;
use super::job::{Job, Run};
use super::names::{Declared, Scalar};

/// Numbers in a line.
const IN_A_LINE: usize = 8;

/// Entry points with their bindings.
pub(super) fn list(job: &Job) -> Result<(), Mistake> {
    for entry in job.shader.entries() {
        // Constants are those of the first dispatch of it.
        let is_it = |run: &&Run| run.entry.as_deref().is_none_or(|name| name == entry);
        let constants = job.runs.iter().find(is_it).map(|run| &run.constants[..]);
        let constants: Vec<_> = constants
            .unwrap_or(&[])
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        let kernel = job.shader.kernel(entry, &constants)?;
        let [x, y, z] = kernel.workgroup_size();
        println!("{entry}: {x}×{y}×{z} invocations");
        for binding in kernel.bindings() {
            println!("  {}", Declared(binding));
        }
    }
    Ok(())
}

/// The numbers of a buffer, whose types come again and again, in lines that begin with the index of their first.
pub(super) fn print(name: &str, layout: &[Scalar], buffer: &Buffer) {
    let bytes: Vec<u8> = buffer
        .u32s()
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let (mut rest, mut numbers) = (&bytes[..], Vec::new());
    for &scalar in layout.iter().cycle() {
        match take(scalar, rest) {
            Some((number, after)) => {
                numbers.push(number);
                rest = after;
            }
            None => break,
        }
    }
    println!("{name}:");
    for (line, numbers) in numbers.chunks(IN_A_LINE).enumerate() {
        println!("{:>8}: {}", line * IN_A_LINE, numbers.join(" "));
    }
}

/// A number, and what follows it.
fn take(scalar: Scalar, bytes: &[u8]) -> Option<(String, &[u8])> {
    let word = || bytes.split_first_chunk::<4>();
    let (number, rest) = match scalar {
        Scalar::F32 => {
            word().map(|(word, rest)| (format!("{:?}", f32::from_le_bytes(*word)), rest))?
        }
        Scalar::U32 => word().map(|(word, rest)| (u32::from_le_bytes(*word).to_string(), rest))?,
        Scalar::I32 => word().map(|(word, rest)| (i32::from_le_bytes(*word).to_string(), rest))?,
        Scalar::F16 => {
            let (half, rest) = bytes.split_first_chunk::<2>()?;
            (format!("{:?}", f16::from_le_bytes(*half)), rest)
        }
        Scalar::Bytes => {
            let (byte, rest) = bytes.split_first()?;
            (byte.to_string(), rest)
        }
    };
    Some((number, rest))
}
