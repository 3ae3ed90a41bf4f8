//! What Rust declares of every kernel, compared with the WGSL itself; no GPU is needed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::path::Path;

use wgrad::kernel::{Access, Binding, Block, Contract, Element, Field, Trust};
use wgrad::wgpu::naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use wgrad::wgpu::naga::{
    AddressSpace, ArraySize, GlobalVariable, Handle, Module, ScalarKind, ShaderStage,
    StorageAccess, Type, TypeInner, front::wgsl,
};

/// What a browser grants without being asked.
const WORKGROUP_BYTES: u32 = 16 << 10;
const INVOCATIONS: u32 = 256;
const STORAGE_BUFFERS: usize = 8;

struct Shader {
    module: Module,
    info: ModuleInfo,
}

impl Shader {
    fn parse(source: &str) -> Result<Self, String> {
        let module = wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .map_err(|error| error.emit_to_string(source))?;
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

/// Everything in which a shader differs from its contract.
fn faults(contract: &Contract) -> Vec<String> {
    let shader = match Shader::parse(contract.source) {
        Ok(shader) => shader,
        Err(error) => return vec![error],
    };
    let entries = &shader.module.entry_points;
    let Some(index) = entries.iter().position(|e| e.name == contract.entry) else {
        return vec!["no such entry point".to_owned()];
    };
    let mut faults = Vec::new();
    if entries[index].stage != ShaderStage::Compute {
        faults.push("not a compute shader".to_owned());
    }
    if entries[index].workgroup_size != contract.workgroup_size {
        faults.push(format!(
            "workgroup size {:?}",
            entries[index].workgroup_size
        ));
    }
    faults.extend(uniform_faults(&shader, index, contract));
    faults.extend(storage_faults(&shader, index, contract));
    faults.extend(limit_faults(&shader, index));
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
        return vec!["not exactly one uniform block in use".to_owned()];
    };
    let mut faults = Vec::new();
    let place = uniform.binding.map(|at| (at.group, at.binding));
    if place != Some((0, 0)) {
        faults.push(format!("uniform block at {place:?}"));
    }
    let TypeInner::Struct { members, span } = shader.inner(uniform.ty) else {
        return vec!["uniform is no struct".to_owned()];
    };
    let found = members
        .iter()
        .map(|member| (member.name.as_deref(), member.offset as usize));
    let declared = contract
        .fields
        .iter()
        .map(|field| (Some(field.name), field.offset));
    if !found.clone().eq(declared) {
        faults.push(format!("uniform members {:?}", found.collect::<Vec<_>>()));
    }
    if *span as usize != contract.uniform_size {
        faults.push(format!("uniform block of {span} bytes"));
    }
    faults
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
            faults.push(format!("binding {} is {name}", at.binding));
        }
        let writes = declared.access == Access::ReadWrite;
        if access.contains(StorageAccess::STORE) != writes {
            faults.push(format!("access of {name} is {access:?}"));
        }
        if writes && !used.contains(GlobalUse::WRITE) {
            faults.push(format!("{name} is never written"));
        }
        if shader.element(variable.ty) != Some(declared.element) {
            faults.push(format!("elements of {name}"));
        }
    }
    if !found.iter().copied().eq(1..=contract.bindings.len()) {
        faults.push(format!("storage buffers in use: {found:?}"));
    }
    faults
}

fn limit_faults(shader: &Shader, entry: usize) -> Vec<String> {
    let used = shader.used(entry);
    let workgroup_bytes: u32 = used
        .iter()
        .filter(|(_, variable, _)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable, _)| shader.inner(variable.ty).size(shader.module.to_ctx()))
        .sum();
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
        faults.push(format!("{workgroup_bytes} bytes of workgroup memory"));
    }
    if invocations > INVOCATIONS {
        faults.push(format!("{invocations} invocations in a workgroup"));
    }
    if buffers > STORAGE_BUFFERS {
        faults.push(format!("{buffers} storage buffers"));
    }
    faults
}

#[test]
fn every_contract_is_what_its_shader_says() {
    let contracts = wgrad::ops::contracts();
    assert!(!contracts.is_empty());
    for contract in contracts {
        let faults = faults(&contract);
        assert!(faults.is_empty(), "{}: {faults:#?}", contract.name());
    }
}

/// The text of every file of the folder, by its name without `.wgsl`.
fn files() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let read = |entry: std::io::Result<DirEntry>| {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "wgsl", "{}", path.display());
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (stem, std::fs::read_to_string(&path).unwrap())
    };
    std::fs::read_dir(directory).unwrap().map(read).collect()
}

#[test]
fn every_entry_point_has_one_contract_and_every_contract_its_file() {
    let files = files();
    let contracts = wgrad::ops::contracts();
    let (mut used, mut found) = (BTreeSet::new(), BTreeSet::new());
    for contract in &contracts {
        used.insert(contract.shader);
        let prelude = contract.source.strip_suffix(&files[contract.shader]);
        let prelude = prelude.unwrap_or_else(|| panic!("{}: another text", contract.shader));
        if !prelude.is_empty() {
            let file = files.iter().find(|(_, text)| *text == prelude);
            used.insert(file.expect("what stands before a shader is a file").0);
        }
        let shader = Shader::parse(contract.source).unwrap();
        let entries = shader.module.entry_points.iter();
        found.extend(entries.map(|entry| (contract.shader, entry.name.clone())));
    }
    let mut declared: Vec<_> = contracts
        .iter()
        .map(|contract| (contract.shader, contract.entry.to_owned()))
        .collect();
    declared.sort();
    assert!(found.into_iter().eq(declared));
    assert!(files.keys().map(String::as_str).eq(used), "unused files");
}

const SOURCE: &str = "
    struct Shape { rows: u32, scale: f32 }
    @group(0) @binding(0) var<uniform> shape: Shape;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read> labels: array<u32>;
    @group(0) @binding(3) var<storage, read_write> y: array<f32>;
    var<workgroup> tile: array<f32, 4097>;
    fn through(i: u32) -> f32 { return x[i] * shape.scale; }
    @compute @workgroup_size(64)
    fn good(@builtin(local_invocation_index) i: u32) { y[i] = through(i) + f32(labels[i]); }
    @compute @workgroup_size(64)
    fn no_uniform(@builtin(local_invocation_index) i: u32) { y[i] = x[i] + f32(labels[i]); }
    @compute @workgroup_size(64)
    fn unwritten(@builtin(local_invocation_index) i: u32) {
        if (shape.rows + labels[i] == 0u) { tile[i] = x[i] + y[i]; }
    }
    @compute @workgroup_size(257)
    fn large(@builtin(local_invocation_index) i: u32) {
        tile[i] = through(i);
        y[i] = tile[i] + f32(labels[i]);
    }
    @vertex fn vertex() -> @builtin(position) vec4f { return vec4f(through(labels[0])); }";

const MANY_BUFFERS: &str = "
    @group(0) @binding(1) var<storage, read_write> a: array<f32>;
    @group(0) @binding(2) var<storage, read_write> b: array<f32>;
    @group(0) @binding(3) var<storage, read_write> c: array<f32>;
    @group(0) @binding(4) var<storage, read_write> d: array<f32>;
    @group(0) @binding(5) var<storage, read_write> e: array<f32>;
    @group(0) @binding(6) var<storage, read_write> f: array<f32>;
    @group(0) @binding(7) var<storage, read_write> g: array<f32>;
    @group(0) @binding(8) var<storage, read_write> h: array<f32>;
    @group(1) @binding(9) var<storage, read_write> i: array<f32>;
    @compute @workgroup_size(64)
    fn good() { a[0] = b[0] + c[0] + d[0] + e[0] + f[0] + g[0] + h[0] + i[0]; }";

const BINDINGS: [Binding; 3] = [
    Binding::read("x"),
    Binding::read("labels").of_u32(),
    Binding::write("y"),
];

const FIELDS: [Field; 2] = [
    Field {
        name: "rows",
        offset: 0,
    },
    Field {
        name: "scale",
        offset: 4,
    },
];

const GOOD: Contract = Contract {
    shader: "good",
    source: SOURCE,
    entry: "good",
    bindings: &BINDINGS,
    fields: &FIELDS,
    uniform_size: 8,
    block: Block::Uniform,
    trust: Trust::CHECKED,
    workgroup_size: [64, 1, 1],
};

/// The checks above are checked: each fault that a contract can have is reported as what it is.
#[test]
fn each_fault_of_a_doctored_contract_is_reported() {
    assert_eq!(faults(&GOOD), Vec::<String>::new());
    let [x, labels, y] = BINDINGS;
    let bound = |bindings: &[Binding]| Contract {
        bindings: bindings.to_vec().leak(),
        ..GOOD
    };
    let fields = |name, offset| Contract {
        fields: vec![FIELDS[0], Field { name, offset }].leak(),
        ..GOOD
    };
    let entry = |entry| Contract { entry, ..GOOD };
    let doctored = [
        (bound(&[Binding::write("x"), labels, y]), "access of x"),
        (bound(&[x, labels, Binding::read("y")]), "access of y"),
        (bound(&[Binding::read("z"), labels, y]), "binding 1 is x"),
        (
            bound(&[x, Binding::read("labels"), y]),
            "elements of labels",
        ),
        (bound(&[x.of_u32(), labels, y]), "elements of x"),
        (bound(&[x, labels]), "y at undeclared binding 3"),
        (bound(&[x, labels, y, x]), "storage buffers in use"),
        (bound(&[labels, x, y]), "binding 1 is x"),
        (fields("scale", 8), "uniform members"),
        (fields("slope", 4), "uniform members"),
        (
            Contract {
                fields: &[],
                ..GOOD
            },
            "uniform members",
        ),
        (
            Contract {
                uniform_size: 12,
                ..GOOD
            },
            "uniform block of 8 bytes",
        ),
        (
            Contract {
                workgroup_size: [32, 2, 1],
                ..GOOD
            },
            "workgroup size [64, 1, 1]",
        ),
        (
            Contract {
                block: Block::Storage,
                ..GOOD
            },
            "not exactly one uniform block",
        ),
        (entry("missing"), "no such entry point"),
        (entry("vertex"), "not a compute shader"),
        (entry("no_uniform"), "not exactly one uniform block"),
        (entry("unwritten"), "y is never written"),
        (entry("large"), "16388 bytes of workgroup memory"),
        (entry("large"), "257 invocations"),
        (
            Contract {
                source: "fn good() { return 1; }",
                ..GOOD
            },
            "error",
        ),
        (
            Contract {
                source: MANY_BUFFERS,
                ..GOOD
            },
            "9 storage buffers",
        ),
        (
            Contract {
                source: MANY_BUFFERS,
                ..GOOD
            },
            "i is not in group 0",
        ),
    ];
    for (contract, expected) in doctored {
        let found = faults(&contract);
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}
