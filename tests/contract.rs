//! What Rust declares of every kernel, compared with the WGSL itself; no GPU is needed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;

use wgrad::kernel::{Binding, Block, Contract, Field, Trust};
use wgrad::wgpu::naga::front::wgsl;

#[test]
fn every_contract_is_what_its_shader_says() {
    let contracts = wgrad::plumbing::contracts();
    assert!(!contracts.is_empty());
    for contract in contracts {
        let faults = contract.faults();
        assert!(faults.is_empty(), "{}: {faults:#?}", contract.name());
    }
}

/// The text of every file of the folder, by its name without `.wgsl`. Cargo runs tests in the package's
/// directory, wherever that lies.
fn files() -> BTreeMap<String, String> {
    let read = |entry: std::io::Result<DirEntry>| {
        let path = entry.unwrap().path();
        assert_eq!(path.extension().unwrap(), "wgsl", "{}", path.display());
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (stem, std::fs::read_to_string(&path).unwrap())
    };
    std::fs::read_dir("shaders").unwrap().map(read).collect()
}

#[test]
fn every_entry_point_has_one_contract_and_every_contract_its_file() {
    let files = files();
    let contracts = wgrad::plumbing::contracts();
    let (mut used, mut found) = (BTreeSet::new(), BTreeSet::new());
    for contract in &contracts {
        used.insert(contract.shader);
        let prelude = contract.source.strip_suffix(&files[contract.shader]);
        let prelude = prelude.unwrap_or_else(|| panic!("{}: another text", contract.shader));
        if !prelude.is_empty() {
            let file = files.iter().find(|(_, text)| *text == prelude);
            used.insert(file.expect("what stands before a shader is a file").0);
        }
        let module = wgsl::parse_str(contract.source).unwrap();
        let entries = module.entry_points.iter();
        found.extend(entries.map(|entry| (contract.shader, entry.name.clone())));
    }
    let mut declared: Vec<_> = contracts
        .iter()
        .map(|contract| (contract.shader, contract.entry.to_owned()))
        .collect();
    declared.sort();
    assert!(
        found.iter().eq(&declared),
        "in the shaders: {found:?}, in contracts(): {declared:?}"
    );
    let mut unused = files.keys().filter(|file| !used.contains(file.as_str()));
    let unused = unused.next();
    assert_eq!(unused, None, "no contract in contracts() is of this shader");
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

const OVERRIDES: &str = "
    override size: u32;
    override scale: f32;
    @compute @workgroup_size(64)
    fn good() {}";

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
    constants: &[],
    uniform_size: 8,
    block: Block::Uniform,
    trust: Trust::CHECKED,
    workgroup_size: [64, 1, 1],
};

/// The checks above are checked: each fault that a contract can have is reported as what it is.
#[test]
fn each_fault_of_a_doctored_contract_is_reported() {
    assert_eq!(GOOD.faults(), Vec::<String>::new());
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
        (fields("scale", 8), "members of the block"),
        (fields("slope", 4), "members of the block"),
        (
            Contract {
                constants: &["size"],
                ..GOOD
            },
            "constants [], declared [\"size\"]",
        ),
        (
            Contract {
                source: OVERRIDES,
                ..GOOD
            },
            "constants [\"size\", \"(not a u32)\"], declared []",
        ),
        (
            Contract {
                fields: &[],
                ..GOOD
            },
            "members of the block",
        ),
        (
            Contract {
                uniform_size: 12,
                ..GOOD
            },
            "block of 8 bytes",
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
            "not exactly one block",
        ),
        (entry("missing"), "no such entry point"),
        (entry("vertex"), "not a compute shader"),
        (entry("no_uniform"), "not exactly one block"),
        (entry("unwritten"), "y is never written"),
        (entry("large"), "16400 bytes of workgroup memory"),
        (entry("large"), "257 invocations"),
        (
            Contract {
                source: "fn good() { return 1; }",
                ..GOOD
            },
            "good.wgsl:1:",
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
        let found = contract.faults();
        assert!(
            found.iter().any(|fault| fault.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}
