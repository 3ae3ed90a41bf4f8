//! From WGSL text to a kernel that can be interpreted.

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
    /// Parses a text. The file name is used in messages.
    ///
    /// # Errors
    /// [`Error::Wgsl`] when the text is not valid WGSL.
    pub fn parse(file: &str, source: &str) -> Result<Self, Error> {
        Self::join(&[(file, source)])
    }

    /// Parses a shader that is split over several files: pairs of name and text, joined in their order. Findings
    /// name the file, and count lines within it.
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
        // The interpreter itself checks that all invocations reach a barrier.
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

    /// Names of the compute entry points.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        let entries = self.module.entry_points.iter();
        let entries = entries.filter(|entry| entry.stage == ShaderStage::Compute);
        entries.map(|entry| &*entry.name)
    }

    /// Compiles an entry point with values for its `override` constants. A constant is given by its name, or by its
    /// number if it has an `@id`.
    ///
    /// # Errors
    /// [`Error::Entry`] for an unknown entry point, [`Error::Constant`] for wrong constants, and
    /// [`Error::Unsupported`] for constructs that the interpreter does not support.
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

/// A message of naga. If the text comes from several files, the place in its own file is put in front.
fn told(source: &Source, span: naga::Span, message: &str) -> String {
    let place = source.place(span);
    if span.is_defined() && source.is_joined() {
        format!("{}:{}:{}: {message}", place.file, place.line, place.column)
    } else {
        message.to_owned()
    }
}

/// How a shader may use a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingKind {
    /// `var<uniform>`.
    Uniform,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// A binding that an entry point uses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// Name of the variable.
    pub name: String,
    /// How the shader may use it.
    pub kind: BindingKind,
    /// Type of the variable, in WGSL.
    pub ty: String,
    /// Where the variable's numbers lie, in bytes.
    pub layout: Layout,
    /// The fewest bytes that may be bound. An array of unknown length counts as one element.
    pub least_bytes: u64,
}

/// An entry point, compiled for the interpreter. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Kernel(pub(crate) Arc<Compiled>);

impl Kernel {
    /// Name of the entry point.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.0.program.entry
    }

    /// `@workgroup_size`.
    #[must_use]
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.0.program.workgroup_size
    }

    /// The bindings that the entry point uses, directly or through functions, sorted by group and number.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.0.program.bindings
    }

    /// The basic blocks of the entry point, and of the functions that it calls.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.0.program.blocks
    }
}
