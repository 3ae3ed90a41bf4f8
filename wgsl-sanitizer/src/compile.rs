//! Compiles naga's IR to a [`Program`].

mod atomic;
mod constant;
mod expression;
mod numeric;
mod pointer;
mod statement;
mod types;
mod variable;

use std::collections::HashMap;

use naga::common::DiagnosticDisplay;
use naga::proc::GlobalCtx;
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    AddressSpace, BuiltIn, EntryPoint, Expression, Function, GlobalVariable, Handle, Module, Span,
    StorageAccess, TypeInner,
};

use crate::error::Error;
use crate::layout::Layout;
use crate::program::{Instruction, NONE, Name, Program, Site, Variable, builtin};
use crate::report::{Block, Space};
use crate::shader::{Binding, BindingKind};
use crate::shadow::{MOST_INSTRUCTIONS, MOST_INVOCATIONS};
use crate::source::Source;
use pointer::{Pointer, Root};
use types::Types;

/// The maximum number of slots in the frames of all invocations of a workgroup: 1 GiB.
const MOST_SLOTS: u64 = 1 << 28;

/// The maximum number of slots of workgroup memory: 64 MiB. WebGPU guarantees 16 KiB.
const MOST_WORKGROUP_SLOTS: u32 = 1 << 24;

/// Compiles an entry point of a module whose `override` constants have values.
pub(crate) fn compile(
    module: &Module,
    info: &ModuleInfo,
    entry: usize,
    source: &Source,
) -> Result<Program, Error> {
    // The first pass only counts the constants. The second pass needs their number, because the variables lie after
    // them in the frame.
    let first = Compiler::new(module, info, source, 0).run(entry)?;
    Compiler::new(module, info, source, first.constants.len()).run(entry)
}

/// The value of an expression.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// A value in consecutive slots: the index of the first slot.
    Slots(u32),
    Pointer(Pointer),
}

/// The memory and the offset of a global variable.
#[derive(Debug, Clone, Copy)]
struct Global {
    root: Root,
    at: u32,
    name: u32,
}

/// A loop or a switch that `break` can leave.
#[derive(Debug)]
struct Breakable {
    is_loop: bool,
    /// Indices of jump instructions: `breaks` jump to the end of the loop or switch, `continues` to the loop's
    /// `continuing` block. The compiler sets the targets of the jumps when it has compiled the loop or switch.
    breaks: Vec<usize>,
    continues: Vec<usize>,
}

/// The compiler's state for a function that it inlines at one call.
struct Frame<'a> {
    function: &'a Function,
    info: &'a FunctionInfo,
    values: Vec<Option<Value>>,
    locals: Vec<(u32, u32)>,
    arguments: Vec<Value>,
    /// The first slot of the result; `None` in an entry point.
    result: Option<u32>,
    is_entry: bool,
    returns: Vec<usize>,
    breakables: Vec<Breakable>,
    /// The number of loops around the call.
    outer_loops: usize,
}

struct Compiler<'a> {
    module: &'a Module,
    info: &'a ModuleInfo,
    source: &'a Source,
    types: Types<'a>,
    program: Program,
    /// The first slot of each constant. The key is the constant's words.
    constants: HashMap<Vec<u32>, u32>,
    /// The next free slot.
    top: u32,
    globals: HashMap<Handle<GlobalVariable>, Global>,
    names: HashMap<(String, Space), u32>,
    /// The call that is being inlined: an index into the program's call sites, or [`NONE`].
    call: u32,
    sites: HashMap<(Option<std::ops::Range<usize>>, u32), u32>,
    blocks: HashMap<*const naga::Block, u32>,
    /// The source position of the code that is being compiled.
    span: Span,
    /// The counters of all loops around the code that is being compiled.
    loops: Vec<u32>,
}

impl<'a> Compiler<'a> {
    fn new(module: &'a Module, info: &'a ModuleInfo, source: &'a Source, room: usize) -> Self {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        Self {
            module,
            info,
            source,
            types: Types { module },
            program: Program::default(),
            constants: HashMap::new(),
            top: builtin::COUNT + room,
            globals: HashMap::new(),
            names: HashMap::new(),
            call: NONE,
            sites: HashMap::new(),
            blocks: HashMap::new(),
            span: Span::UNDEFINED,
            loops: Vec::new(),
        }
    }

    fn run(mut self, index: usize) -> Result<Program, Error> {
        let entry = &self.module.entry_points[index];
        let info = self.info.get_entry_point(index);
        self.program.entry.clone_from(&entry.name);
        self.program.workgroup_size = entry.workgroup_size;
        let invocations = self.program.invocations();
        if invocations > MOST_INVOCATIONS.into() {
            return Err(Error::Unsupported {
                place: self.source.names(),
                what: format!(
                    "a workgroup of {invocations} invocations (`{}`), more than {MOST_INVOCATIONS},",
                    entry.name
                ),
            });
        }
        // Checks the size of what every frame starts with: the built-in values and the constants.
        self.reserve(0, "the frame")?;
        self.bind(info)?;
        let arguments = self.entry_arguments(entry)?;
        let mut frame = self.frame(&entry.function, info, arguments, None);
        frame.is_entry = true;
        self.function(&mut frame)?;
        self.emit(Instruction::End)?;
        Ok(self.program)
    }

    /// Assigns memory to each global variable that the entry point uses.
    fn bind(&mut self, info: &FunctionInfo) -> Result<(), Error> {
        let used = self.module.global_variables.iter();
        let mut used: Vec<_> = used
            .filter(|(handle, _)| !info[*handle].is_empty())
            .collect();
        used.sort_by_key(|(_, variable)| {
            variable.binding.as_ref().map(|at| (at.group, at.binding))
        });
        for (handle, variable) in used {
            self.span = self.module.global_variables.get_span(handle);
            let global = self.global(variable)?;
            self.globals.insert(handle, global);
        }
        Ok(())
    }

    fn global(&mut self, variable: &GlobalVariable) -> Result<Global, Error> {
        let inner = self.types.inner(variable.ty);
        if let Some(name) = self.types.unknown(inner) {
            return Err(self.unsupported(name));
        }
        let label = variable.name.clone().unwrap_or_default();
        let (space, kind) = match variable.space {
            AddressSpace::Private => (Space::Private, None),
            AddressSpace::WorkGroup => (Space::Workgroup, None),
            AddressSpace::Uniform => (Space::Uniform, Some(BindingKind::Uniform)),
            AddressSpace::Storage { access } => {
                let kind = if access.contains(StorageAccess::STORE) {
                    BindingKind::ReadWrite
                } else {
                    BindingKind::Read
                };
                (Space::Storage, Some(kind))
            }
            AddressSpace::Handle => {
                return Err(self.unsupported(format!("`{label}`, a texture or sampler,")));
            }
            _ => return Err(self.unsupported(format!("the address space of `{label}`"))),
        };
        let is_shared = space != Space::Private;
        let layout = is_shared.then(|| Layout(self.types.layout(inner, kind.is_some())));
        let binding = kind.zip(layout.clone());
        let binding = binding.map(|(kind, layout)| self.binding(variable, kind, layout));
        let name = self.name(&label, space, layout);
        if space == Space::Private {
            let count = self.types.slots(inner);
            let at = self.reserve(count, &format!("`{label}`"))?;
            match variable.init {
                Some(init) => self.set_global(at, init, count)?,
                None => self.emit(Instruction::Zero { to: at, count })?,
            }
            return Ok(Global {
                root: Root::Local,
                at,
                name,
            });
        }
        let index = u16::try_from(self.program.variables.len())
            .map_err(|_| self.unsupported("more than 65,535 variables"))?;
        let slot = self.program.workgroup_slots;
        let binding = match binding {
            Some(binding) => {
                self.program.bindings.push(binding);
                Some(self.program.bindings.len() - 1)
            }
            None => {
                self.reserve_shared(&label, inner)?;
                None
            }
        };
        self.program.variables.push(Variable {
            name: label,
            space,
            binding,
            slot,
            is_writable: kind.is_none_or(|kind| kind == BindingKind::ReadWrite),
        });
        let root = match space {
            Space::Workgroup => Root::Workgroup(index),
            _ => Root::Buffer(index),
        };
        Ok(Global {
            root,
            at: if space == Space::Workgroup { slot } else { 0 },
            name,
        })
    }

    fn binding(&self, variable: &GlobalVariable, kind: BindingKind, layout: Layout) -> Binding {
        let context: GlobalCtx<'_> = self.module.to_ctx();
        let at = variable.binding.as_ref();
        // naga's size of a struct does not include an array of unknown length at its end: add one element.
        let with_element = layout.elements().map(|(at, stride)| at + stride);
        let size = || self.types.inner(variable.ty).size(context).into();
        Binding {
            group: at.map_or(0, |at| at.group),
            binding: at.map_or(0, |at| at.binding),
            name: variable.name.clone().unwrap_or_default(),
            kind,
            ty: DiagnosticDisplay((variable.ty, context)).to_string(),
            least_bytes: with_element.unwrap_or_else(size),
            layout,
        }
    }

    /// Returns the slots of the entry point's arguments, which are built-in values.
    fn entry_arguments(&mut self, entry: &EntryPoint) -> Result<Vec<Value>, Error> {
        let mut arguments = Vec::new();
        for argument in &entry.function.arguments {
            let members = match self.types.inner(argument.ty) {
                TypeInner::Struct { members, .. } => members.as_slice(),
                _ => &[],
            };
            if argument.binding.is_some() {
                let slot = self.built_in(argument.binding.as_ref(), entry)?;
                arguments.push(Value::Slots(slot));
                continue;
            }
            let count = self.types.slots(self.types.inner(argument.ty));
            let first = self.allocate(count)?;
            let mut to = first;
            for member in members {
                let from = self.built_in(member.binding.as_ref(), entry)?;
                let count = self.types.slots(self.types.inner(member.ty));
                self.copy(to, from, count)?;
                to += count;
            }
            arguments.push(Value::Slots(first));
        }
        Ok(arguments)
    }

    fn built_in(
        &mut self,
        binding: Option<&naga::Binding>,
        entry: &EntryPoint,
    ) -> Result<u32, Error> {
        let Some(naga::Binding::BuiltIn(built_in)) = binding else {
            return Err(self.unsupported("an argument of the entry point that is not a built-in"));
        };
        Ok(match built_in {
            BuiltIn::LocalInvocationId => builtin::LOCAL_ID,
            BuiltIn::LocalInvocationIndex => builtin::LOCAL_INDEX,
            BuiltIn::GlobalInvocationId => builtin::GLOBAL_ID,
            BuiltIn::WorkGroupId => builtin::WORKGROUP_ID,
            BuiltIn::NumWorkGroups => builtin::NUM_WORKGROUPS,
            BuiltIn::WorkGroupSize => self.constant(entry.workgroup_size.to_vec())?,
            BuiltIn::SubgroupSize
            | BuiltIn::SubgroupInvocationId
            | BuiltIn::SubgroupId
            | BuiltIn::NumSubgroups => {
                return Err(self.unsupported("a built-in value of subgroups"));
            }
            other => return Err(self.unsupported(format!("the built-in value {other:?}"))),
        })
    }

    fn frame(
        &self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Value>,
        result: Option<u32>,
    ) -> Frame<'a> {
        Frame {
            function,
            info,
            values: vec![None; function.expressions.len()],
            locals: Vec::new(),
            arguments,
            result,
            is_entry: false,
            returns: Vec::new(),
            breakables: Vec::new(),
            outer_loops: self.loops.len(),
        }
    }

    /// Reserves `count` slots for a value, and returns the first.
    fn allocate(&mut self, count: u32) -> Result<u32, Error> {
        self.reserve(count, "a value")
    }

    fn emit(&mut self, instruction: Instruction) -> Result<(), Error> {
        self.emit_on(instruction, u32::MAX)
    }

    /// Emits an instruction that accesses the variable `name`.
    fn emit_on(&mut self, instruction: Instruction, name: u32) -> Result<(), Error> {
        if self.program.code.len() + 1 >= MOST_INSTRUCTIONS {
            return Err(self.unsupported(format!(
                "`{}` of more than {MOST_INSTRUCTIONS} instructions, with all function calls inlined,",
                self.program.entry
            )));
        }
        let key = (self.span.to_range(), name);
        let next = u32::try_from(self.program.sites.len()).unwrap_or(u32::MAX);
        let site = *self.sites.entry(key).or_insert(next);
        if site == next {
            self.program.sites.push(Site {
                span: self.span,
                name,
            });
        }
        self.program.code.push(instruction);
        self.program.site_of.push(site);
        self.program.call_of.push(self.call);
        Ok(())
    }

    /// Returns the index of the instruction that will be emitted next.
    fn here(&self) -> u32 {
        u32::try_from(self.program.code.len()).unwrap_or(u32::MAX)
    }

    fn copy(&mut self, to: u32, from: u32, count: u32) -> Result<(), Error> {
        match count {
            0 => Ok(()),
            _ => self.emit(Instruction::Copy { to, from, count }),
        }
    }

    fn name(&mut self, text: &str, space: Space, layout: Option<Layout>) -> u32 {
        let next = u32::try_from(self.program.names.len()).unwrap_or(u32::MAX);
        let text = text.to_owned();
        let index = *self.names.entry((text.clone(), space)).or_insert(next);
        if index == next {
            self.program.names.push(Name {
                text: text.into(),
                space,
                layout,
            });
        }
        index
    }

    /// Returns the index of a source block in the program's list of blocks. All calls of a function share the blocks of
    /// its body.
    fn block_index(&mut self, block: &naga::Block, span: Span, what: &'static str) -> u32 {
        let next = u32::try_from(self.program.blocks.len()).unwrap_or(u32::MAX);
        let index = *self.blocks.entry(std::ptr::from_ref(block)).or_insert(next);
        if index == next {
            let place = self.source.place(span);
            self.program.blocks.push(Block { place, what });
        }
        index
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        let place = self.source.place(self.span);
        Error::Unsupported {
            place: format!("{}:{}:{}", place.file, place.line, place.column),
            what: what.into(),
        }
    }

    /// Returns the type of an expression.
    fn inner(&self, frame: &Frame<'a>, expression: Handle<Expression>) -> &'a TypeInner {
        frame.info[expression].ty.inner_with(&self.module.types)
    }
}
