//! Compares a contract with its WGSL source, without a GPU.

use std::collections::BTreeSet;

use wgpu::naga::back::pipeline_constants::process_overrides;
use wgpu::naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use wgpu::naga::{
    self, AddressSpace, ArraySize, GlobalVariable, Handle, Module, ScalarKind, ShaderStage,
    StorageAccess, Type, TypeInner, VectorSize, front::wgsl,
};

use super::{
    Access, Binding, Block, Constant, Contract, Element, Item, Scalar, WORKGROUP_BYTES, product,
};

/// Limits that WebGPU grants by default, in addition to `WORKGROUP_BYTES`.
const INVOCATIONS: u32 = 256;
const STORAGE_BUFFERS: usize = 8;

struct Shader {
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    /// Parses and validates the source. The error is naga's message, which has the line number.
    fn parse(contract: &Contract) -> Result<Self, String> {
        let source = &*contract.source;
        let path = format!("{}.wgsl", contract.shader);
        let module = wgsl::parse_str(source)
            .map_err(|error| error.emit_to_string_with_path(source, &path))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .map_err(|error| error.emit_to_string_with_path(source, &path))?;
        Ok(Self { module, info })
    }

    /// Lists the global variables that an entry point uses, directly or through functions.
    fn used(&self, entry: usize) -> Vec<(Handle<GlobalVariable>, &GlobalVariable, GlobalUse)> {
        let uses = self.info.get_entry_point(entry);
        let globals = self.module.global_variables.iter();
        globals
            .map(|(handle, variable)| (handle, variable, uses[handle]))
            .filter(|(.., used)| !used.is_empty())
            .collect()
    }

    fn entry(&self, contract: &Contract) -> Option<usize> {
        let mut entries = self.module.entry_points.iter();
        entries.position(|entry| entry.name == contract.entry)
    }

    /// Replaces the constants by the contract's values, because workgroup sizes and workgroup memory may depend on
    /// constants. Does nothing if one of the contract's constants has no value.
    fn with_values(self, contract: &Contract) -> Result<Self, String> {
        let module = &self.module;
        let is_open = |constant: &Constant<String>| constant.value.is_none();
        let Some(entry) = self.entry(contract) else {
            return Ok(self);
        };
        if module.overrides.is_empty() || contract.constants.iter().any(is_open) {
            return Ok(self);
        }
        let values = contract.constants.iter();
        let values = values.filter_map(|constant| Some((constant.name.clone(), constant.value?)));
        let stage = module.entry_points[entry].stage;
        let kept = Some((stage, &*contract.entry));
        let (module, info) = process_overrides(module, &self.info, kept, &values.collect())
            .map_err(|error| format!("constants: {error}"))?;
        Ok(Self {
            module: module.into_owned(),
            info: info.into_owned(),
        })
    }

    /// The bytes of workgroup memory that an entry point uses. As in WebGPU, each variable's size is rounded up to a
    /// multiple of 16 bytes.
    fn workgroup_bytes(&self, entry: usize) -> u32 {
        let used = self.used(entry).into_iter();
        used.filter(|(_, variable, _)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable, _)| self.inner(variable.ty).try_size(self.module.to_ctx()))
            .fold(0, |sum: u32, bytes| {
                let whole = bytes.and_then(|bytes| bytes.checked_next_multiple_of(16));
                sum.saturating_add(whole.unwrap_or(u32::MAX))
            })
    }

    fn inner(&self, handle: Handle<Type>) -> &TypeInner {
        &self.module.types[handle].inner
    }

    /// The WGSL name of the item type of a runtime-sized array, or `None` if no tensor can be bound to the array.
    fn item(&self, handle: Handle<Type>) -> Option<String> {
        let &TypeInner::Array {
            base,
            size: ArraySize::Dynamic,
            ..
        } = self.inner(handle)
        else {
            return None;
        };
        match *self.inner(base) {
            TypeInner::Scalar(scalar) => scalar_name(scalar).map(str::to_owned),
            TypeInner::Atomic(scalar) => Some(format!("atomic<{}>", scalar_name(scalar)?)),
            TypeInner::Vector { size, scalar } if size != VectorSize::Tri => {
                Some(format!("vec{}<{}>", size as u8, scalar_name(scalar)?))
            }
            _ => None,
        }
    }
}

fn scalar_name(scalar: naga::Scalar) -> Option<&'static str> {
    match (scalar.kind, scalar.width) {
        (ScalarKind::Float, 4) => Some(Scalar::F32.name()),
        (ScalarKind::Sint, 4) => Some(Scalar::I32.name()),
        (ScalarKind::Uint, 4) => Some(Scalar::U32.name()),
        (ScalarKind::Bool, _) => Some(Scalar::Bool.name()),
        _ => None,
    }
}

/// The WGSL name of the item type that a binding declares.
fn declared_item(binding: &Binding<String>) -> String {
    let scalar = match (binding.element, binding.is_signed) {
        (Element::F32, _) => Scalar::F32,
        (Element::U32, false) => Scalar::U32,
        (Element::U32, true) => Scalar::I32,
    };
    let scalar = scalar.name();
    match binding.item {
        Item::Scalar => scalar.to_owned(),
        Item::Vec2 | Item::Vec4 => format!("vec{}<{scalar}>", binding.item.elements()),
        Item::Atomic => format!("atomic<{scalar}>"),
    }
}

/// See [`Contract::workgroup_bytes`].
pub(super) fn workgroup_bytes(contract: &Contract) -> u32 {
    let shader = Shader::parse(contract);
    let shader = shader.and_then(|shader| shader.with_values(contract)).ok();
    shader
        .and_then(|shader| Some(shader.workgroup_bytes(shader.entry(contract)?)))
        .unwrap_or(0)
}

/// Lists all differences between a shader and its contract.
pub(super) fn faults(contract: &Contract) -> Vec<String> {
    let shader = match Shader::parse(contract) {
        Ok(shader) => shader,
        Err(error) => return vec![error],
    };
    if shader.entry(contract).is_none() {
        return vec!["no such entry point in the WGSL".to_owned()];
    }
    let mut faults = constant_faults(&shader, contract);
    if !faults.is_empty() {
        return faults;
    }
    let shader = match shader.with_values(contract) {
        Ok(shader) => shader,
        Err(error) => return vec![error],
    };
    let Some(index) = shader.entry(contract) else {
        return vec!["no such entry point for the values of its constants".to_owned()];
    };
    let entries = &shader.module.entry_points;
    if entries[index].stage != ShaderStage::Compute {
        faults.push("not a compute shader".to_owned());
    }
    if entries[index].workgroup_size_overrides.is_some() {
        faults.push("workgroup size uses constants without a value".to_owned());
    } else if entries[index].workgroup_size != contract.workgroup_size {
        faults.push(format!(
            "workgroup size {:?}, declared {:?}",
            entries[index].workgroup_size, contract.workgroup_size
        ));
    }
    faults.extend(uniform_faults(&shader, index, contract));
    faults.extend(storage_faults(&shader, index, contract));
    faults.extend(limit_faults(&shader, index));
    faults
}

/// Lists the differences in the constants. All kernels of a source share its constants.
fn constant_faults(shader: &Shader, contract: &Contract) -> Vec<String> {
    let mut faults = Vec::new();
    let overrides = || shader.module.overrides.iter().map(|(_, found)| found);
    for found in overrides() {
        let name = found.name.as_deref().unwrap_or_default();
        if found.id.is_some() {
            faults.push(format!(
                "constant {name} has an @id, so it cannot be set by its name"
            ));
            continue;
        }
        let of = match shader.inner(found.ty) {
            TypeInner::Scalar(scalar) => scalar_name(*scalar),
            _ => None,
        };
        let of = of.unwrap_or("of another type");
        let mut declared = contract.constants.iter().filter(|c| c.name == name);
        match (declared.next(), declared.next()) {
            (None, _) if found.init.is_some() => {}
            (None, _) => faults.push(format!(
                "constant {name} has no value in the WGSL and is not declared"
            )),
            (Some(_), Some(_)) => faults.push(format!("constant {name} is declared twice")),
            (Some(one), None) if one.scalar.name() != of => {
                let declared = one.scalar.name();
                faults.push(format!("constant {name} is {of}, declared {declared}"));
            }
            (Some(_), None) => {}
        }
    }
    let is_known = |name: &str| overrides().any(|found| found.name.as_deref() == Some(name));
    let declared = contract.constants.iter().map(|constant| &*constant.name);
    let unknown = declared.filter(|name| !is_known(name));
    faults
        .extend(unknown.map(|name| format!("constant {name} is declared, but is not in the WGSL")));
    faults
}

fn uniform_faults(shader: &Shader, entry: usize, contract: &Contract) -> Vec<String> {
    let used = shader.used(entry);
    let is_block = |variable: &GlobalVariable| match contract.block {
        Block::Uniform => variable.space == AddressSpace::Uniform,
        Block::Storage => is_storage_block(variable),
    };
    let mut uniforms = used.iter().filter(|(_, variable, _)| is_block(variable));
    let (Some((_, uniform, _)), None) = (uniforms.next(), uniforms.next()) else {
        return vec!["the entry point must use exactly one block of settings".to_owned()];
    };
    let mut faults = Vec::new();
    let place = uniform.binding.map(|at| (at.group, at.binding));
    if place != Some((0, 0)) {
        faults.push(format!(
            "block at (group, binding) {place:?}, not at (0, 0)"
        ));
    }
    let inner = shader.inner(uniform.ty);
    let members = match inner {
        TypeInner::Struct { members, .. } => members.as_slice(),
        _ => &[],
    };
    let found = members
        .iter()
        .map(|member| (member.name.as_deref(), member.offset as usize));
    let declared = contract
        .fields
        .iter()
        .map(|field| (Some(field.name), field.offset));
    if !found.clone().eq(declared.clone()) {
        let [found, declared] = [listed(found), listed(declared)];
        faults.push(format!(
            "members of the block: {found}; declared: {declared}"
        ));
    }
    let [size, declared] = [
        inner.try_size(shader.module.to_ctx()).unwrap_or(u32::MAX) as usize,
        contract.uniform_size,
    ];
    if size != declared {
        faults.push(format!("block of {size} bytes, declared {declared}"));
    }
    faults
}

/// Formats the members with their offsets.
fn listed<'a>(members: impl Iterator<Item = (Option<&'a str>, usize)>) -> String {
    let members = members.map(|(name, offset)| format!("{} at {offset}", name.unwrap_or("?")));
    match members.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        members => members,
    }
}

/// Whether the variable is a read-only storage buffer at binding 0, the binding of the settings block.
fn is_storage_block(variable: &GlobalVariable) -> bool {
    let access = StorageAccess::LOAD;
    let is_first = variable.binding.is_some_and(|at| at.binding == 0);
    is_first && variable.space == AddressSpace::Storage { access }
}

fn storage_faults(shader: &Shader, entry: usize, contract: &Contract) -> Vec<String> {
    let mut faults = Vec::new();
    let mut found = BTreeSet::new();
    for (_, variable, used) in shader.used(entry) {
        let AddressSpace::Storage { access } = variable.space else {
            continue;
        };
        if contract.block == Block::Storage && is_storage_block(variable) {
            continue;
        }
        let name = variable.name.as_deref().unwrap_or_default();
        let Some(at) = variable.binding.filter(|at| at.group == 0) else {
            faults.push(format!("{name} is not in group 0"));
            continue;
        };
        found.insert(at.binding as usize);
        let declared = (at.binding as usize)
            .checked_sub(1)
            .and_then(|index| contract.bindings.get(index));
        let Some(declared) = declared else {
            faults.push(format!("{name} at undeclared binding {}", at.binding));
            continue;
        };
        if declared.name != name {
            let declared = &declared.name;
            faults.push(format!(
                "binding {} is {name}, declared {declared}",
                at.binding
            ));
        }
        let writes = declared.access == Access::ReadWrite;
        if access.contains(StorageAccess::STORE) != writes {
            let found = if writes {
                "read, declared as written"
            } else {
                "read_write, declared as read"
            };
            faults.push(format!("access of {name} is {found}"));
        }
        // WGSL requires `read_write` even for atomics that are only read.
        if writes && declared.item != Item::Atomic && !used.contains(GlobalUse::WRITE) {
            faults.push(format!("{name} is never written"));
        }
        let item = shader.item(variable.ty);
        let expected = declared_item(declared);
        if item.as_ref() != Some(&expected) {
            let item = item.as_deref().unwrap_or("of a type that no tensor has");
            faults.push(format!(
                "elements of {name} are {item}, declared {expected}"
            ));
        }
    }
    if !found.iter().copied().eq(1..=contract.bindings.len()) {
        let declared = contract.bindings.len();
        faults.push(format!(
            "storage buffers in use at {found:?}, declared at 1 to {declared}"
        ));
    }
    faults
}

fn limit_faults(shader: &Shader, entry: usize) -> Vec<String> {
    let used = shader.used(entry);
    let workgroup_bytes = shader.workgroup_bytes(entry);
    let buffers = used
        .iter()
        .filter(|(_, variable, _)| matches!(variable.space, AddressSpace::Storage { .. }))
        .count();
    let invocations = product(shader.module.entry_points[entry].workgroup_size);
    let mut faults = Vec::new();
    if workgroup_bytes > WORKGROUP_BYTES {
        faults.push(format!(
            "{workgroup_bytes} bytes of workgroup memory, above the {WORKGROUP_BYTES} of WebGPU"
        ));
    }
    if invocations > INVOCATIONS {
        faults.push(format!(
            "{invocations} invocations in a workgroup, above the {INVOCATIONS} of WebGPU"
        ));
    }
    if buffers > STORAGE_BUFFERS {
        faults.push(format!(
            "{buffers} storage buffers, above the {STORAGE_BUFFERS} of WebGPU"
        ));
    }
    faults
}
