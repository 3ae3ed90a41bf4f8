//! Parses WGSL text, and compiles its entry points for the interpreter.

use std::sync::Arc;

use naga::back::PipelineConstants;
use naga::back::pipeline_constants::process_overrides;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};

use crate::compile::compile;
use crate::error::Error;
use crate::layout::Layout;
use crate::program::Compiled;
use crate::report::Block;
use crate::source::Source;

/// A valid WGSL shader.
#[derive(Debug)]
pub struct Shader {
    source: Source,
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    /// Parses the text of a shader. Messages contain the file name `file`.
    ///
    /// # Errors
    /// [`Error::Wgsl`] when the text is not valid WGSL.
    pub fn parse(file: &str, source: &str) -> Result<Self, Error> {
        Self::join(&[(file, source)])
    }

    /// Parses a shader that is split over several files. `files` are pairs of a file name and its text; the texts are
    /// joined in this order. Findings give the file name, and the line number in that file.
    ///
    /// # Errors
    /// [`Error::Wgsl`] when the joined text is not valid WGSL.
    pub fn join(files: &[(&str, &str)]) -> Result<Self, Error> {
        let source = Source::join(files);
        let text = &source.text;
        let module = naga::front::wgsl::parse_str(text).map_err(|error| {
            let span = error
                .labels()
                .next()
                .map_or(naga::Span::UNDEFINED, |(span, _)| span);
            Error::Wgsl(told(
                &source,
                span,
                &error.emit_to_string_with_path(text, &source.names()),
            ))
        })?;
        // naga's check that all invocations reach a barrier is off: the interpreter checks this itself.
        let flags = ValidationFlags::all() - ValidationFlags::CONTROL_FLOW_UNIFORMITY;
        let info = Validator::new(flags, Capabilities::all())
            .validate(&module)
            .map_err(|error| {
                let span = error
                    .spans()
                    .next()
                    .map_or(naga::Span::UNDEFINED, |(span, _)| *span);
                let message = error.emit_to_string_with_path(text, &source.names());
                Error::Wgsl(told(&source, span, &message))
            })?;
        Ok(Self {
            source,
            module,
            info,
        })
    }

    /// Iterates over the names of the compute entry points.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        let entries = self.module.entry_points.iter();
        let entries = entries.filter(|entry| entry.stage == ShaderStage::Compute);
        entries.map(|entry| &*entry.name)
    }

    /// Compiles an entry point with values for its `override` constants. A constant is identified by its name, or by
    /// its number (as text) if it has an `@id`.
    ///
    /// # Errors
    /// [`Error::Entry`] for an unknown entry point, [`Error::Constant`] for a missing, unknown or invalid constant, and
    /// [`Error::Unsupported`] for a construct that the interpreter does not support.
    pub fn kernel(&self, entry: &str, constants: &[(&str, f64)]) -> Result<Kernel, Error> {
        if !self.entries().any(|name| name == entry) {
            return Err(Error::Entry {
                entry: entry.to_owned(),
                available: self.entries().map(str::to_owned).collect(),
            });
        }
        let constant = |message: String| Error::Constant {
            entry: entry.to_owned(),
            message,
        };
        let values: PipelineConstants = constants
            .iter()
            .map(|&(name, value)| (name.to_owned(), value))
            .collect();
        let kept = Some((ShaderStage::Compute, entry));
        let (module, info) = process_overrides(&self.module, &self.info, kept, &values)
            .map_err(|error| constant(error.to_string()))?;
        let index = module
            .entry_points
            .iter()
            .position(|point| point.name == entry);
        let index = index.ok_or_else(|| constant("the entry point is gone".to_owned()))?;
        let program = compile(&module, &info, index, &self.source)?;
        Ok(Kernel(Arc::new(Compiled {
            program,
            source: self.source.clone(),
        })))
    }
}

/// Returns a message of naga. If the shader has several files, the message starts with the place in the right file,
/// because naga only knows the joined text.
fn told(source: &Source, span: naga::Span, message: &str) -> String {
    let place = source.place(span);
    if span.is_defined() && source.is_joined() {
        format!("{}:{}:{}: {message}", place.file, place.line, place.column)
    } else {
        message.to_owned()
    }
}

/// The address space and access mode of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingKind {
    /// A uniform buffer, `var<uniform>`.
    Uniform,
    /// A storage buffer that the shader only reads, `var<storage, read>`.
    Read,
    /// A storage buffer that the shader reads and writes, `var<storage, read_write>`.
    ReadWrite,
}

/// A binding that an entry point uses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The number of the binding's `@group`.
    pub group: u32,
    /// The number of the binding's `@binding`.
    pub binding: u32,
    /// Name of the variable.
    pub name: String,
    /// Address space and access mode.
    pub kind: BindingKind,
    /// Type of the variable, in WGSL.
    pub ty: String,
    /// The positions of the variable's numbers, in bytes.
    pub layout: Layout,
    /// The minimum size of the bound range, in bytes. An array of unknown length counts as one element.
    pub least_bytes: u64,
}

/// An entry point that is compiled for the interpreter. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Kernel(pub(crate) Arc<Compiled>);

impl Kernel {
    /// Returns the name of the entry point.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.0.program.entry
    }

    /// Returns the `@workgroup_size` in x, y and z.
    #[must_use]
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.0.program.workgroup_size
    }

    /// Returns the bindings that the entry point uses, directly or in functions that it calls. They are sorted by group
    /// and then by binding number.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.0.program.bindings
    }

    /// Returns the basic blocks of the entry point and of the functions that it calls.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.0.program.blocks
    }
}
