//! The command line.

use std::path::PathBuf;

use clap::Parser;
use wgsl_sanitizer::Order;

use super::contents::Contents;
use super::names::Target;

/// Finds data races, barriers that diverge, accesses out of bounds and reads of unwritten memory in WGSL compute
/// shaders, without a GPU.
#[derive(Debug, Parser)]
#[command(version, after_help = BUFFERS)]
pub(crate) struct Args {
    /// WGSL files, which are joined in this order, or one TOML file with all settings
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The entry point; may be omitted if the shader has only one
    #[arg(long)]
    pub(crate) entry: Option<String>,
    /// Workgroups in x, y and z [default: 1,1,1]
    #[arg(long, value_name = "X,Y,Z", value_parser = workgroups)]
    pub(crate) workgroups: Option<[u32; 3]>,
    /// Value of an `override` constant; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = constant)]
    pub(crate) constant: Vec<(String, f64)>,
    /// The contents of a binding; once for each, see below
    #[arg(long, value_name = "BINDING:TYPE[COUNT]=CONTENTS", value_parser = buffer)]
    pub(crate) buffer: Vec<(Target, Contents)>,
    /// Seed of random contents [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Orders of the invocations, one run for each [default: forward,backward,random:0]
    #[arg(long, value_delimiter = ',', value_parser = order)]
    pub(crate) orders: Vec<Order>,
    /// Workgroup memory is not set to zero: reads of unwritten memory are reported
    #[arg(long)]
    pub(crate) no_zero_workgroup_memory: bool,
    /// Most loop iterations of one invocation; more are reported [default: 1000000]
    #[arg(long, value_name = "ITERATIONS")]
    pub(crate) loop_budget: Option<u64>,
    /// Prints what a buffer holds in the end: by its binding, or by its name; may be repeated
    #[arg(long, value_name = "BINDING")]
    pub(crate) print: Vec<String>,
    /// Lists the blocks that no invocation reached
    #[arg(long)]
    pub(crate) blocks: bool,
    /// Lists entry points and their bindings, and interprets nothing
    #[arg(long)]
    pub(crate) list: bool,
}

impl Args {
    /// Returns the name of the first given option that cannot be combined with a TOML file, because its setting
    /// belongs in the file.
    pub(crate) fn settings(&self) -> Option<&'static str> {
        let given = [
            (self.entry.is_some(), "entry"),
            (self.workgroups.is_some(), "workgroups"),
            (!self.constant.is_empty(), "constant"),
            (!self.buffer.is_empty(), "buffer"),
            (self.seed.is_some(), "seed"),
            (!self.orders.is_empty(), "orders"),
            (self.no_zero_workgroup_memory, "no-zero-workgroup-memory"),
            (self.loop_budget.is_some(), "loop-budget"),
        ];
        let first = given.into_iter().find(|&(is_given, _)| is_given);
        first.map(|(_, name)| name)
    }
}

const BUFFERS: &str = "\
Buffers: --buffer BINDING:TYPE[COUNT]=CONTENTS

  BINDING   0:1 (group and binding), 1 (of group 0), or the variable's name
  TYPE      f32, u32, i32, f16 or bytes; without TYPE, numbers have the types of the variable
  COUNT     how many numbers of TYPE; without TYPE, how many elements of the array at the variable's end;
            leave it out if the length of the variable is fixed
  CONTENTS  random       drawn with --seed; random:-2..2 in this range (f32 and f16: -1..1, u32: 0..16, i32: -8..8)
            zeros        zeros
            index        0, 1, 2, ...
            unwritten    reads before the first write are reported
            1,2,3        these numbers, repeated if there is a COUNT; leave out padding
            u32:5,f32:1  a number may name its type, also for the next numbers; then list padding, too
            @file.bin    the bytes of a file

  --buffer 'x[64]=random'  --buffer params=64,0.5  --buffer '1:2:u32[16]=unwritten'

Exit status: 0 if nothing was found, 1 if something was found, 2 if the input cannot be interpreted.";

fn buffer(text: &str) -> Result<(Target, Contents), String> {
    let (left, right) = text
        .split_once('=')
        .ok_or_else(|| "no `=` before the contents".to_owned())?;
    let (target, ty) = Target::with_rest(left)?;
    Ok((target, Contents::parse(ty, right)?))
}

fn constant(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    let value = match value {
        "true" => 1.0,
        "false" => 0.0,
        number => number
            .parse()
            .map_err(|_| format!("`{number}` is not a number, `true` or `false`"))?,
    };
    Ok((name.to_owned(), value))
}

fn workgroups(text: &str) -> Result<[u32; 3], String> {
    let counts: Result<Vec<u32>, _> = text.split(',').map(|count| count.trim().parse()).collect();
    let counts = counts.map_err(|_| "expected up to three counts, as in 4,1,1".to_owned())?;
    three(&counts)
}

/// Completes counts in x, y and z to three numbers. Counts of 1 at the end may be left out.
pub(super) fn three(counts: &[u32]) -> Result<[u32; 3], String> {
    match *counts {
        _ if counts.contains(&0) => Err("0 workgroups: nothing would be run".to_owned()),
        [x] => Ok([x, 1, 1]),
        [x, y] => Ok([x, y, 1]),
        [x, y, z] => Ok([x, y, z]),
        _ => Err(format!(
            "{} counts of workgroups: expected one to three",
            counts.len()
        )),
    }
}

/// Parses the name of an order of invocations, such as `forward` or `random:0`.
pub(super) fn order(text: &str) -> Result<Order, String> {
    let seed = text.strip_prefix("random").map(|seed| match seed {
        "" => Ok(0),
        _ => seed.strip_prefix(':').unwrap_or("").parse(),
    });
    match (text, seed) {
        ("forward", _) => Ok(Order::Forward),
        ("backward", _) => Ok(Order::Backward),
        (_, Some(Ok(seed))) => Ok(Order::Random(seed)),
        _ => Err(format!(
            "`{text}` is not an order: expected forward, backward or random:SEED"
        )),
    }
}
