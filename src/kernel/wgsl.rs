//! What a contract says, compared with the WGSL itself; no GPU is needed.

use std::collections::BTreeSet;

use wgpu::naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use wgpu::naga::{
    self, AddressSpace, ArraySize, GlobalVariable, Handle, Module, ScalarKind, ShaderStage,
    StorageAccess, Type, TypeInner, front::wgsl,
};

use super::{Access, Block, Contract, Element, WORKGROUP_BYTES};

/// What a browser grants without being asked, as well as `WORKGROUP_BYTES`.
const INVOCATIONS: u32 = 256;
const STORAGE_BUFFERS: usize = 8;

struct Shader {
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    /// An error is naga's own message, with the line.
    fn parse(contract: &Contract) -> Result<Self, String> {
        let source = contract.source;
        let path = format!("{}.wgsl", contract.shader);
        let module = wgsl::parse_str(source)
            .map_err(|error| error.emit_to_string_with_path(source, &path))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .map_err(|error| error.emit_to_string_with_path(source, &path))?;
        Ok(Self { module, info })
    }

    /// Variables that an entry point uses, itself or through functions.
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

    /// Bytes of workgroup memory of an entry point, each variable rounded up as WebGPU does.
    fn workgroup_bytes(&self, entry: usize) -> u32 {
        let used = self.used(entry).into_iter();
        used.filter(|(_, variable, _)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable, _)| self.inner(variable.ty).size(self.module.to_ctx()))
            .fold(0, |sum: u32, bytes| {
                sum.saturating_add(bytes.checked_next_multiple_of(16).unwrap_or(u32::MAX))
            })
    }

    fn inner(&self, handle: Handle<Type>) -> &TypeInner {
        &self.module.types[handle].inner
    }

    fn element(&self, handle: Handle<Type>) -> Option<Element> {
        let &TypeInner::Array {
            base,
            size: ArraySize::Dynamic,
            stride: 4,
        } = self.inner(handle)
        else {
            return None;
        };
        match self.inner(base) {
            TypeInner::Scalar(scalar) if scalar.kind == ScalarKind::Float => Some(Element::F32),
            TypeInner::Scalar(scalar) if scalar.kind == ScalarKind::Uint => Some(Element::U32),
            _ => None,
        }
    }
}

/// See [`Contract::workgroup_bytes`].
pub(super) fn workgroup_bytes(contract: &Contract) -> u32 {
    let shader = Shader::parse(contract).ok();
    shader
        .and_then(|shader| Some(shader.workgroup_bytes(shader.entry(contract)?)))
        .unwrap_or(0)
}

/// Everything in which a shader differs from its contract.
pub(super) fn faults(contract: &Contract) -> Vec<String> {
    let shader = match Shader::parse(contract) {
        Ok(shader) => shader,
        Err(error) => return vec![error],
    };
    let Some(index) = shader.entry(contract) else {
        return vec!["no such entry point in the WGSL".to_owned()];
    };
    let entries = &shader.module.entry_points;
    let mut faults = Vec::new();
    if entries[index].stage != ShaderStage::Compute {
        faults.push("not a compute shader".to_owned());
    }
    if entries[index].workgroup_size != contract.workgroup_size {
        faults.push(format!(
            "workgroup size {:?}, declared {:?}",
            entries[index].workgroup_size, contract.workgroup_size
        ));
    }
    faults.extend(constant_faults(&shader, contract));
    faults.extend(uniform_faults(&shader, index, contract));
    faults.extend(storage_faults(&shader, index, contract));
    faults.extend(limit_faults(&shader, index));
    faults
}

/// Constants of the whole source, as an entry point may be compiled only with all of them.
fn constant_faults(shader: &Shader, contract: &Contract) -> Option<String> {
    let overrides = shader.module.overrides.iter();
    let found: Vec<_> = overrides
        .map(|(_, constant)| {
            let is_u32 = matches!(
                shader.inner(constant.ty),
                TypeInner::Scalar(scalar) if *scalar == naga::Scalar::U32
            );
            let name = constant.name.as_deref().unwrap_or_default();
            if is_u32 { name } else { "(not a u32)" }
        })
        .collect();
    let declared = contract.constants;
    (found != declared).then(|| format!("constants {found:?}, declared {declared:?}"))
}

fn uniform_faults(shader: &Shader, entry: usize, contract: &Contract) -> Vec<String> {
    let used = shader.used(entry);
    let is_block = |variable: &GlobalVariable| match contract.block {
        Block::Uniform => variable.space == AddressSpace::Uniform,
        Block::Storage => is_storage_block(variable),
    };
    let mut uniforms = used.iter().filter(|(_, variable, _)| is_block(variable));
    let (Some((_, uniform, _)), None) = (uniforms.next(), uniforms.next()) else {
        return vec!["not exactly one block of settings in use".to_owned()];
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
        inner.size(shader.module.to_ctx()) as usize,
        contract.uniform_size,
    ];
    if size != declared {
        faults.push(format!("block of {size} bytes, declared {declared}"));
    }
    faults
}

/// Members with their offsets.
fn listed<'a>(members: impl Iterator<Item = (Option<&'a str>, usize)>) -> String {
    let members = members.map(|(name, offset)| format!("{} at {offset}", name.unwrap_or("?")));
    match members.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        members => members,
    }
}

/// Only read, where a uniform block would be.
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
            let declared = declared.name;
            faults.push(format!(
                "binding {} is {name}, declared {declared}",
                at.binding
            ));
        }
        let writes = declared.access == Access::ReadWrite;
        if access.contains(StorageAccess::STORE) != writes {
            let found = match writes {
                true => "read, declared as written",
                false => "read_write, declared as read",
            };
            faults.push(format!("access of {name} is {found}"));
        }
        if writes && !used.contains(GlobalUse::WRITE) {
            faults.push(format!("{name} is never written"));
        }
        if shader.element(variable.ty) != Some(declared.element) {
            let declared = match declared.element {
                Element::F32 => "f32",
                Element::U32 => "u32",
            };
            faults.push(format!(
                "elements of {name} are not the {declared} declared"
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
    let invocations: u32 = shader.module.entry_points[entry]
        .workgroup_size
        .iter()
        .product();
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
