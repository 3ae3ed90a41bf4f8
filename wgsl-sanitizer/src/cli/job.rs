//! A job: dispatches that run one after the other. This module binds their buffers, runs them and prints the reports.

use std::ops::Range;
use std::path::{Path, PathBuf};

use wgsl_sanitizer::{
    Binding, BindingKind, Block, Dispatch, Kernel, Scalar, Settings, Shader, sanitize,
};

use super::contents::Contents;
use super::listing::print;
use super::names::{Declared, Target};
use super::{Args, Mistake, file};

/// A binding and the buffer that is bound to it.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) target: Target,
    /// Index of the buffer. The field `bytes` below is the bound range in bytes; `None` binds the whole buffer.
    pub(super) buffer: usize,
    pub(super) bytes: Option<Range<u64>>,
}

/// A dispatch, as the user described it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) entry: Option<String>,
    pub(super) workgroups: [u32; 3],
    pub(super) constants: Vec<(String, f64)>,
    pub(super) bindings: Vec<Bind>,
}

pub(super) const NO_ENTRY: &str = "there is no entry point with @compute";

/// Dispatches that run one after the other on the same buffers.
pub(super) struct Job {
    pub(super) shader: Shader,
    /// Name and contents of each buffer.
    buffers: Vec<(String, Contents)>,
    pub(super) runs: Vec<Run>,
    settings: Settings,
    seed: u64,
    print: Vec<String>,
    /// The folder of the TOML file. Paths of files with contents are relative to it.
    folder: PathBuf,
    /// Whether the job comes from a TOML file, where buffers have their own names.
    is_file: bool,
}

impl Job {
    pub(super) fn new(args: Args) -> Result<Self, Mistake> {
        let is_toml = |path: &&PathBuf| path.extension().is_some_and(|end| end == "toml");
        match args.files.iter().find(is_toml) {
            Some(_) if args.files.len() > 1 => Err(Mistake::new(
                "a TOML file must be the only file: it names its shaders itself",
            )),
            Some(path) => match args.settings() {
                Some(option) => Err(Mistake::new(format!(
                    "--{option} cannot be combined with {}: write it there",
                    path.display()
                ))),
                None => Self::of_file(path, args.print.clone()),
            },
            None => Self::of_options(args),
        }
    }

    fn of_file(path: &Path, print: Vec<String>) -> Result<Self, Mistake> {
        let parsed = file::read(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let shaders: Vec<_> = parsed
            .shaders
            .iter()
            .map(|name| folder.join(name))
            .collect();
        Ok(Self {
            shader: read(&shaders)?,
            buffers: parsed.buffers,
            runs: parsed.runs,
            settings: parsed.settings,
            seed: parsed.seed,
            print: [parsed.print, print].concat(),
            folder,
            is_file: true,
        })
    }

    fn of_options(args: Args) -> Result<Self, Mistake> {
        let mut settings =
            Settings::default().zero_workgroup_memory(!args.no_zero_workgroup_memory);
        if !args.orders.is_empty() {
            settings = settings.orders(args.orders);
        }
        if let Some(budget) = args.loop_budget {
            settings = settings.loop_budget(budget);
        }
        let mut bindings = Vec::new();
        let mut buffers = Vec::new();
        for (target, contents) in args.buffer {
            buffers.push((target.to_string(), contents));
            bindings.push(Bind {
                target,
                buffer: buffers.len() - 1,
                bytes: None,
            });
        }
        let run = Run {
            entry: args.entry,
            workgroups: args.workgroups.unwrap_or([1; 3]),
            constants: args.constant,
            bindings,
        };
        Ok(Self {
            shader: read(&args.files)?,
            buffers,
            runs: vec![run],
            settings,
            seed: args.seed.unwrap_or(0),
            print: args.print,
            folder: PathBuf::new(),
            is_file: false,
        })
    }

    /// Interprets all dispatches and prints the reports. Returns true if there are no findings.
    pub(super) fn run(&self, lists_blocks: bool) -> Result<bool, Mistake> {
        if self.runs.is_empty() {
            return Err(Mistake::new("there is no [[dispatch]]"));
        }
        let kernels = self.runs.iter().map(|run| self.kernel(run));
        let kernels: Vec<Kernel> = kernels.collect::<Result<_, _>>()?;
        let mut dispatches = Vec::new();
        // For each buffer: the first binding that uses it.
        let mut uses: Vec<Option<&Binding>> = vec![None; self.buffers.len()];
        for (run, kernel) in self.runs.iter().zip(&kernels) {
            dispatches.push(self.bind(run, kernel, &mut uses)?);
        }
        let printed = self.printed(&kernels, &dispatches)?;
        let mut bindings = Vec::new();
        let mut buffers = Vec::new();
        for (index, ((name, contents), binding)) in (0..).zip(self.buffers.iter().zip(uses)) {
            let Some(binding) = binding else {
                return Err(Mistake::new(format!(
                    "buffer `{name}` is not bound in any dispatch"
                )));
            };
            bindings.push(binding);
            // Each buffer has its own seed, so two buffers get different random numbers.
            let seed = self
                .seed
                .wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index));
            buffers.push(contents.make(binding, seed, &self.folder)?);
        }
        let mut is_clean = true;
        let mut blocks: Vec<(&Block, bool)> = Vec::new();
        for (kernel, dispatch) in kernels.iter().zip(&dispatches) {
            let report = sanitize(kernel, dispatch, &mut buffers, &self.settings)?;
            if self.runs.len() > 1 {
                let [x, y, z] = dispatch.workgroups;
                println!("`{}`, {x}×{y}×{z} workgroups:", kernel.entry());
            }
            println!("{report}");
            is_clean &= report.is_clean();
            for (block, &is_reached) in kernel.blocks().iter().zip(&report.reached) {
                match blocks.iter_mut().find(|(known, _)| *known == block) {
                    Some((_, reached)) => *reached |= is_reached,
                    None => blocks.push((block, is_reached)),
                }
            }
        }
        let mut unreached = blocks.iter().filter(|(_, reached)| !reached).peekable();
        if !lists_blocks && unreached.peek().is_some() {
            println!("--blocks lists those never reached");
        }
        for (block, _) in unreached.filter(|_| lists_blocks) {
            println!("never reached: {block}");
        }
        for index in printed {
            print(&self.buffers[index].0, bindings[index], &buffers[index]);
        }
        Ok(is_clean)
    }

    fn kernel(&self, run: &Run) -> Result<Kernel, Mistake> {
        let entries: Vec<&str> = self.shader.entries().collect();
        let entry = match (&run.entry, &entries[..]) {
            (Some(entry), _) => entry,
            (None, &[entry]) => entry,
            (None, &[]) => return Err(Mistake::new(NO_ENTRY)),
            (None, _) => {
                let entries = entries.join(", ");
                let how = if self.is_file { "`entry`" } else { "--entry" };
                return Err(Mistake::new(format!(
                    "name the entry point by {how}: there is {entries}"
                )));
            }
        };
        let constants: Vec<_> = run
            .constants
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        Ok(self.shader.kernel(entry, &constants)?)
    }

    /// Finds the buffer of each binding of the kernel, and records each buffer's first binding in `uses`.
    fn bind<'a>(
        &self,
        run: &Run,
        kernel: &'a Kernel,
        uses: &mut [Option<&'a Binding>],
    ) -> Result<Dispatch, Mistake> {
        let mut dispatch = Dispatch::new(run.workgroups);
        let mut bound = Vec::new();
        for bind in &run.bindings {
            let declared = kernel
                .bindings()
                .iter()
                .find(|binding| bind.target.is(binding));
            let Some(declared) = declared else {
                let all = kernel.bindings().iter();
                let all: Vec<_> = all
                    .map(|known| format!("\n  {}", Declared(known)))
                    .collect();
                return Err(Mistake::new(format!(
                    "`{}` is not a binding of `{}`, which has{}",
                    bind.target,
                    kernel.entry(),
                    if all.is_empty() {
                        " none".to_owned()
                    } else {
                        format!(":{}", all.concat())
                    }
                )));
            };
            bound.push((declared, bind.buffer, bind.bytes.clone()));
        }
        let mut missing = Vec::new();
        for binding in kernel.bindings() {
            if bound.iter().any(|&(known, ..)| known == binding) {
                continue;
            }
            let of_its_name = |(name, _): &(String, Contents)| *name == binding.name;
            match self
                .buffers
                .iter()
                .position(of_its_name)
                .filter(|_| self.is_file)
            {
                Some(buffer) => bound.push((binding, buffer, None)),
                None => missing.push(self.example(binding)),
            }
        }
        if !missing.is_empty() {
            return Err(Mistake::new(format!(
                "`{}` has bindings without buffers; give, for example:{}",
                kernel.entry(),
                missing.concat()
            )));
        }
        for (binding, buffer, bytes) in bound {
            uses[buffer].get_or_insert(binding);
            dispatch = match bytes {
                None => dispatch.bind(binding.group, binding.binding, buffer),
                Some(bytes) => dispatch.bind_range(binding.group, binding.binding, buffer, bytes),
            };
        }
        Ok(dispatch)
    }

    /// Returns an example of how the user can bind a buffer here: an option or a line of the TOML file.
    fn example(&self, binding: &Binding) -> String {
        let layout = &binding.layout;
        let example = |scalar: Scalar| match scalar {
            Scalar::F32 | Scalar::F16 => "0.5",
            _ => "4",
        };
        let numbers = layout.numbers(binding.least_bytes);
        let numbers: Vec<&str> = numbers.map(|(_, scalar)| example(scalar)).collect();
        let whole = match binding.kind {
            BindingKind::ReadWrite if binding.ty.contains("atomic<") => "zeros",
            BindingKind::ReadWrite => "unwritten",
            _ => "random",
        };
        let contents = match layout.elements() {
            Some(_) => format!("[64]={whole}"),
            None if binding.kind != BindingKind::ReadWrite && numbers.len() <= 16 => {
                format!("={}", numbers.join(","))
            }
            None => format!("={whole}"),
        };
        let name = &binding.name;
        let example = if self.is_file {
            format!("{name} = \"{}\"", contents.trim_start_matches('='))
        } else {
            format!("--buffer '{name}{contents}'")
        };
        format!("\n  {}\n      {example}", Declared(binding))
    }

    /// Returns the indices of the buffers to print. The user names each by the buffer's name or by a binding.
    fn printed(&self, kernels: &[Kernel], dispatches: &[Dispatch]) -> Result<Vec<usize>, Mistake> {
        let find = |name: &String| {
            if let Some(named) = self.buffers.iter().position(|(known, _)| known == name) {
                return Ok(named);
            }
            let target = name.parse::<Target>().map_err(Mistake::new)?;
            let bound = kernels
                .iter()
                .zip(dispatches)
                .find_map(|(kernel, dispatch)| {
                    let at = kernel
                        .bindings()
                        .iter()
                        .find(|binding| target.is(binding))?;
                    let is_it = |bound: &&wgsl_sanitizer::Bound| {
                        (bound.group, bound.binding) == (at.group, at.binding)
                    };
                    let bound = dispatch.bindings.iter().find(is_it)?;
                    Some(bound.buffer)
                });
            let names = || {
                let names = self.buffers.iter().map(|(name, _)| &**name);
                names.collect::<Vec<_>>().join(", ")
            };
            bound.ok_or_else(|| {
                Mistake::new(format!("no buffer `{name}` to print: there is {}", names()))
            })
        };
        self.print.iter().map(find).collect()
    }
}

/// Reads the shader files and joins them into one shader.
fn read(paths: &[PathBuf]) -> Result<Shader, Mistake> {
    let mut files = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let mut text = std::fs::read_to_string(path)
            .map_err(|error| Mistake::new(format!("{name}: {error}")))?;
        // A comment on a file's last line must not continue in the next file.
        if !text.ends_with('\n') {
            text.push('\n');
        }
        files.push((name, text));
    }
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    Ok(Shader::join(&files)?)
}
