//! Compares the Rust declaration of every kernel with its WGSL. No GPU is needed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;

use wgrad::kernel::{Binding, Block, Constant, Contract, Field, Kernel, Scalar};
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

/// Reads the text of every shader file. The key is the file name without `.wgsl`. (The path is relative to the
/// package's directory, where cargo runs tests.)
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
    let mut used = BTreeSet::new();
    let mut found = BTreeSet::new();
    for contract in &contracts {
        let shader = contract.shader.as_str();
        used.insert(shader);
        let before = contract.source.strip_suffix(&files[shader]);
        let mut before = before.unwrap_or_else(|| panic!("{shader}: another text"));
        while !before.is_empty() {
            let mut texts = files.iter();
            let file = texts.find(|(_, text)| before.ends_with(*text));
            let (name, text) = file.expect("what stands before a shader is files");
            used.insert(name);
            before = &before[..before.len() - text.len()];
        }
        let module = wgsl::parse_str(&contract.source).unwrap();
        let entries = module.entry_points.iter();
        found.extend(entries.map(|entry| (shader, entry.name.clone())));
    }
    let mut declared: Vec<_> = contracts
        .iter()
        .map(|contract| (contract.shader.as_str(), contract.entry.clone()))
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
    override width: u32;
    override scale: f32;
    override shift: i32;
    override negated: bool;
    override spare: f32 = 2.0;
    @group(0) @binding(0) var<uniform> rows: vec2u;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    var<workgroup> tile: array<f32, 64 * width>;
    @compute @workgroup_size(width, 2)
    fn scaled(@builtin(local_invocation_index) i: u32) {
        tile[i] = select(scale, -scale, negated) * spare;
        y[i] = tile[i] + f32(shift) + f32(rows.x);
    }";

const NUMBERED: &str = "
    @id(3) override width: u32;
    @group(0) @binding(0) var<uniform> rows: vec2u;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64)
    fn scaled(@builtin(local_invocation_index) i: u32) { y[i] = f32(width + rows.x); }";

const VECTORS: &str = "
    @group(0) @binding(0) var<uniform> rows: vec2u;
    @group(0) @binding(1) var<storage, read> fours: array<vec4f>;
    @group(0) @binding(2) var<storage, read> pairs: array<vec2i>;
    @group(0) @binding(3) var<storage, read> words: array<vec4u>;
    @group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;
    @group(0) @binding(5) var<storage, read_write> most: array<atomic<i32>>;
    @group(0) @binding(6) var<storage, read> steps: array<i32>;
    @group(0) @binding(7) var<storage, read_write> y: array<vec2f>;
    @compute @workgroup_size(64)
    fn good(@builtin(local_invocation_index) i: u32) {
        atomicAdd(&counts[0], rows.x + words[i].x);
        y[i] = fours[i].xy * vec2f(pairs[i]) + f32(atomicLoad(&most[0]) + steps[i]);
    }";

const OF_THREE: &str = "
    @group(0) @binding(0) var<uniform> rows: vec2u;
    @group(0) @binding(1) var<storage, read_write> y: array<vec3f>;
    @compute @workgroup_size(64)
    fn good(@builtin(local_invocation_index) i: u32) { y[i] = vec3f(f32(rows.x)); }";

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

const GOOD: Kernel<[u32; 2]> = Kernel::new("good", SOURCE, "good", &BINDINGS).fields(&FIELDS);

const CONSTANTS: [Constant; 4] = [
    Constant::u32("width", 32),
    Constant::f32("scale", 0.5),
    Constant::i32("shift", -7),
    Constant::bool("negated", true),
];

const SCALED: Kernel<[u32; 2]> = Kernel::new(
    "scaled",
    OVERRIDES,
    "scaled",
    const { &[Binding::write("y")] },
)
.constants(&CONSTANTS)
.workgroup_size([32, 2, 1]);

const FOURS: Binding = Binding::read("fours").vec4();
const PAIRS: Binding = Binding::read("pairs").of_i32().vec2();
const WORDS: Binding = Binding::read("words").of_u32().vec4();
const COUNTS: Binding = Binding::write("counts").of_u32().atomic();
const MOST: Binding = Binding::write("most").of_i32().atomic();
const STEPS: Binding = Binding::read("steps").of_i32();
const OUT: Binding = Binding::write("y").vec2();

/// Asserts that the check of a contract reports a fault with this text.
fn assert_fault(contract: &Contract, expected: &str) {
    let found = contract.faults();
    assert!(
        found.iter().any(|fault| fault.contains(expected)),
        "{expected}: {found:?}"
    );
}

/// Tests the check itself: it reports each possible fault of a contract.
#[test]
fn each_fault_of_a_doctored_contract_is_reported() {
    assert_eq!(GOOD.contract().faults(), Vec::<String>::new());
    let [x, labels, y] = BINDINGS;
    let bound = |bindings: &[Binding]| {
        let mut kernel = GOOD;
        kernel.bindings = bindings.to_vec().leak();
        kernel
    };
    let fields = |name, offset| GOOD.fields(vec![FIELDS[0], Field { name, offset }].leak());
    let entry = |entry| {
        let mut kernel = GOOD;
        kernel.entry = entry;
        kernel
    };
    let source = |source| {
        let mut kernel = GOOD;
        kernel.source = source;
        kernel
    };
    let doctored = [
        (bound(&[Binding::write("x"), labels, y]), "access of x"),
        (bound(&[x, labels, Binding::read("y")]), "access of y"),
        (bound(&[Binding::read("z"), labels, y]), "binding 1 is x"),
        (
            bound(&[x, Binding::read("labels"), y]),
            "elements of labels are u32, declared f32",
        ),
        (bound(&[x.of_u32(), labels, y]), "elements of x"),
        (bound(&[x, labels]), "y at undeclared binding 3"),
        (bound(&[x, labels, y, x]), "storage buffers in use"),
        (bound(&[labels, x, y]), "binding 1 is x"),
        (fields("scale", 8), "members of the block"),
        (fields("slope", 4), "members of the block"),
        (GOOD.fields(&[]), "members of the block"),
        (
            GOOD.workgroup_size([32, 2, 1]),
            "workgroup size [64, 1, 1], declared [32, 2, 1]",
        ),
        (GOOD.block(Block::Storage), "must use exactly one block"),
        (entry("missing"), "no such entry point"),
        (entry("vertex"), "not a compute shader"),
        (entry("no_uniform"), "must use exactly one block"),
        (entry("unwritten"), "y is never written"),
        (entry("large"), "16400 bytes of workgroup memory"),
        (entry("large"), "257 invocations"),
        (source("fn good() { return 1; }"), "good.wgsl:1:"),
        (source(MANY_BUFFERS), "9 storage buffers"),
        (source(MANY_BUFFERS), "i is not in group 0"),
    ];
    for (kernel, expected) in doctored {
        assert_fault(&kernel.contract(), expected);
    }
    let mut larger = GOOD.contract();
    larger.uniform_size = 12;
    assert_fault(&larger, "block of 8 bytes, declared 12");
}

/// In the WGSL, the size of a workgroup and of its memory may be computed from constants.
#[test]
fn constants_are_those_of_the_wgsl() {
    assert_eq!(SCALED.contract().faults(), Vec::<String>::new());
    assert_eq!(SCALED.contract().workgroup_bytes(), 4 * 64 * 32);
    let [width, scale, shift, negated] = CONSTANTS;
    let spare = Constant::f32("spare", 3.0);
    let with_spare = [width, scale, shift, negated, spare];
    let with_spare = SCALED.constants(&with_spare).contract();
    assert_eq!(with_spare.faults(), Vec::<String>::new());
    let open = Constant::open;
    let numbered = {
        let mut kernel = SCALED;
        kernel.source = NUMBERED;
        kernel
    };
    for (kernel, constants, expected) in [
        (
            SCALED,
            vec![width, scale, shift],
            "constant negated has no value in the WGSL",
        ),
        (
            SCALED,
            vec![width, scale, shift, negated, width],
            "constant width is declared twice",
        ),
        (
            SCALED,
            vec![width, scale, shift, negated, Constant::u32("height", 2)],
            "constant height is declared, but is not in the WGSL",
        ),
        (
            SCALED,
            vec![width, Constant::u32("scale", 1), shift, negated],
            "constant scale is f32, declared u32",
        ),
        (
            SCALED,
            vec![width, scale, Constant::bool("shift", true), negated],
            "constant shift is i32, declared bool",
        ),
        (
            SCALED,
            vec![width, scale, shift, open("negated", Scalar::F32)],
            "constant negated is bool, declared f32",
        ),
        (
            SCALED,
            vec![open("width", Scalar::U32), scale, shift, negated],
            "workgroup size uses constants without a value",
        ),
        (
            SCALED,
            vec![Constant::u32("width", 16), scale, shift, negated],
            "workgroup size [16, 2, 1], declared [32, 2, 1]",
        ),
        (
            SCALED,
            vec![Constant::u32("width", 0), scale, shift, negated],
            "workgroup_size",
        ),
        (
            SCALED,
            vec![width, Constant::f32("scale", f32::NAN), shift, negated],
            "needs to be finite",
        ),
        (
            SCALED.workgroup_size([65, 2, 1]),
            vec![Constant::u32("width", 65), scale, shift, negated],
            "16640 bytes of workgroup memory",
        ),
        (numbered, vec![], "constant width has an @id"),
    ] {
        assert_fault(&kernel.constants(&constants).contract(), expected);
    }
}

#[test]
fn vectors_and_atomics_are_those_of_the_wgsl() {
    let faults = |bindings: &[Binding]| {
        let kernel = Kernel::<[u32; 2]>::new("good", VECTORS, "good", bindings.to_vec().leak());
        kernel.contract()
    };
    let good = [FOURS, PAIRS, WORDS, COUNTS, MOST, STEPS, OUT];
    assert_eq!(faults(&good).faults(), Vec::<String>::new());
    for (at, wrong, expected) in [
        (
            0,
            Binding::read("fours"),
            "fours are vec4<f32>, declared f32",
        ),
        (0, FOURS.vec2(), "fours are vec4<f32>, declared vec2<f32>"),
        (0, FOURS.of_u32(), "fours are vec4<f32>, declared vec4<u32>"),
        (1, PAIRS.of_u32(), "pairs are vec2<i32>, declared vec2<u32>"),
        (2, WORDS.of_i32(), "words are vec4<u32>, declared vec4<i32>"),
        (
            3,
            Binding::write("counts").of_u32(),
            "counts are atomic<u32>, declared u32",
        ),
        (
            3,
            COUNTS.of_i32(),
            "counts are atomic<u32>, declared atomic<i32>",
        ),
        (
            3,
            Binding::read("counts").of_u32().atomic(),
            "access of counts",
        ),
        (
            4,
            Binding::write("most").atomic(),
            "most are atomic<i32>, declared atomic<f32>",
        ),
        (5, STEPS.of_u32(), "steps are i32, declared u32"),
        (6, OUT.atomic(), "y are vec2<f32>, declared atomic<f32>"),
    ] {
        let mut bindings = good;
        bindings[at] = wrong;
        assert_fault(&faults(&bindings), expected);
    }
    let three = const { &[Binding::write("y").vec4()] };
    let three = Kernel::<[u32; 2]>::new("good", OF_THREE, "good", three);
    assert_fault(
        &three.contract(),
        "elements of y are of a type that no tensor has, declared vec4<f32>",
    );
}
