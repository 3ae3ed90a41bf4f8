//! Shaders, bindings and settings that are refused, and their error messages.

use wgsl_sanitizer::{Buffer, Dispatch, Error, Kernel, Order, Settings, Shader, sanitize};

/// Compiles the entry point `main`.
fn kernel(text: &str, constants: &[(&str, f64)]) -> Result<Kernel, Error> {
    Shader::parse("a.wgsl", text)?.kernel("main", constants)
}

/// Returns the error message for a shader that does not compile.
fn refused(text: &str) -> String {
    match kernel(text, &[]) {
        Ok(_) => panic!("it is compiled"),
        Err(error) => error.to_string(),
    }
}

fn main_with(declarations: &str, body: &str) -> String {
    format!("{declarations}\n@compute @workgroup_size(1) fn main() {{\n{body}\n}}")
}

#[test]
fn what_is_no_wgsl() {
    assert_eq!(
        refused("fn main( {"),
        "error: expected identifier, found \"{\"\n  ┌─ a.wgsl:1:10\n  │\n1 │ fn main( {\n  │          ^ expected identifier\n\n"
    );
    let text = main_with("", "let a: u32 = 1.5;");
    let told = refused(&text);
    assert!(told.contains("a.wgsl:3:5"), "{told}");
}

#[test]
fn what_is_wrong_in_one_of_several_files() {
    let files = [
        ("one.wgsl", "const a = 1;\n"),
        ("two.wgsl", "fn f() {\n  b = 2;\n}\n"),
    ];
    let told = Shader::join(&files).map_or_else(|error| error.to_string(), |_| String::new());
    assert!(told.starts_with("two.wgsl:2:3: error: "), "{told}");
    assert!(matches!(Shader::join(&files), Err(Error::Wgsl(_))));
}

#[test]
fn another_entry_point() -> Result<(), Error> {
    let text = "@compute @workgroup_size(1) fn one() {} @compute @workgroup_size(1) fn two() {}
        @fragment fn three() {}";
    let shader = Shader::parse("a.wgsl", text)?;
    let told = |entry| {
        shader
            .kernel(entry, &[])
            .map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(
        told("main"),
        "no compute entry point `main`: there is one, two"
    );
    assert_eq!(
        told("three"),
        "no compute entry point `three`: there is one, two"
    );
    let none = Shader::parse("a.wgsl", "fn f() {}")?;
    let told = none
        .kernel("f", &[])
        .map_or_else(|error| error.to_string(), |_| String::new());
    assert_eq!(told, "no compute entry point `f`: there is none");
    Ok(())
}

#[test]
fn textures() {
    let declared = "@group(0) @binding(0) var t: texture_2d<f32>;";
    assert_eq!(
        refused(&main_with(declared, "_ = textureLoad(t, vec2i(0), 0);")),
        "a.wgsl:1:23: `t`, a texture or sampler, is not supported"
    );
    let declared = "\n@group(0) @binding(0) var s: texture_storage_2d<rgba8unorm, write>;";
    assert_eq!(
        refused(&main_with(declared, "textureStore(s, vec2i(0), vec4f(0));")),
        "a.wgsl:2:23: `s`, a texture or sampler, is not supported"
    );
}

#[test]
fn subgroups() {
    assert_eq!(
        refused(&main_with("", "  let a = subgroupAdd(1u);")),
        "a.wgsl:3:11: an operation of subgroups is not supported"
    );
    assert_eq!(
        refused(&main_with("", "  _ = subgroupBallot(true);")),
        "a.wgsl:3:7: an operation of subgroups is not supported"
    );
    assert_eq!(
        refused(&main_with("", "subgroupBarrier();")),
        "a.wgsl:3:1: a barrier of subgroups is not supported"
    );
    let text = "
@compute @workgroup_size(1) fn main(@builtin(subgroup_size) size: u32) {}";
    let told = refused(text);
    assert!(
        told.ends_with("a built-in value of subgroups is not supported"),
        "{told}"
    );
}

#[test]
fn numbers_of_64_bits() {
    let declared = "@group(0) @binding(0) var<storage, read_write> y: array<f64>;";
    let told = refused(&main_with(declared, "y[0] = 1.0lf;"));
    assert!(told.ends_with("f64 is not supported"), "{told}");
    let told = refused(&main_with("", "var a = 1li; a += 2li;"));
    assert!(told.ends_with("i64 is not supported"), "{told}");
    let told = refused(&main_with("", "var a = 1lu; a += 2lu;"));
    assert!(told.ends_with("u64 is not supported"), "{told}");
}

#[test]
fn workgroups_that_are_too_large() {
    assert_eq!(
        refused("@compute @workgroup_size(32, 33) fn main() {}"),
        "a.wgsl: a workgroup of 1056 invocations (`main`), more than 1024, is not supported"
    );
}

/// Returns the error message for a kernel with these `override` constants, or an empty text if it compiles.
fn with_constants(constants: &[(&str, f64)]) -> String {
    let text = "override n: u32; override m: u32 = 2; @id(7) override k: f32 = 1.0;
        var<private> x: f32;
        @compute @workgroup_size(1) fn main() { x = f32(n + m) * k; }";
    kernel(text, constants).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn override_constants() {
    assert_eq!(
        with_constants(&[]),
        "constants of `main`: Missing value for pipeline-overridable constant with identifier string: 'n'"
    );
    assert_eq!(with_constants(&[("n", 1.0), ("7", 2.5)]), "");
    assert_eq!(
        with_constants(&[("n", 1.0), ("nn", 1.0)]),
        "constants of `main`: pipeline-overridable constant 'nn' not found in the shader"
    );
    for value in [-1.0, 5_000_000_000.0] {
        assert_eq!(
            with_constants(&[("n", value)]),
            "constants of `main`: Source f64 value doesn't fit in destination"
        );
    }
    assert_eq!(
        with_constants(&[("n", f64::NAN)]),
        "constants of `main`: Source f64 value needs to be finite (NaNs and Inifinites are not allowed) for \
         number destinations"
    );
}

const BINDINGS: &str = "
    struct Params { n: u32, list: array<vec4f, 2> }
    @group(0) @binding(0) var<uniform> params: Params;
    @group(1) @binding(3) var<storage, read_write> y: array<vec2f>;
    @compute @workgroup_size(1) fn main() { y[0] = params.list[0].xy; }";

fn bound(dispatch: &Dispatch) -> String {
    let mut buffers = [Buffer::zeros(12), Buffer::zeros(64), Buffer::zeros(1)];
    let kernel = kernel(BINDINGS, &[]);
    let report =
        kernel.and_then(|kernel| sanitize(&kernel, dispatch, &mut buffers, &Settings::default()));
    report.map_or_else(|error| error.to_string(), |report| report.to_string())
}

#[test]
fn bindings() {
    let one = Dispatch::new([1, 1, 1]).bind(0, 0, 0);
    assert_eq!(
        bound(&one),
        "@group(1) @binding(3) y: array<vec2<f32>>: nothing is bound, but the variable is used"
    );
    let both = one.clone().bind(1, 3, 1);
    assert!(bound(&both).starts_with("clean"), "{}", bound(&both));
    assert_eq!(
        bound(&both.bind(1, 3, 2)),
        "@group(1) @binding(3) y: array<vec2<f32>>: two buffers are bound: leave out one"
    );
    assert_eq!(
        bound(&one.clone().bind(1, 3, 3)),
        "@group(1) @binding(3) y: array<vec2<f32>>: buffer 3 is bound, but there are 3, counted from 0"
    );
    assert_eq!(
        bound(&one.clone().bind(1, 3, 2)),
        "@group(1) @binding(3) y: array<vec2<f32>>: 4 bytes are bound, but the variable needs at least 8"
    );
    assert_eq!(
        bound(&one.clone().bind_range(1, 3, 1, 0..260)),
        "@group(1) @binding(3) y: array<vec2<f32>>: bytes 0..260 are bound of buffer 1, which has 256"
    );
    // The range is reversed on purpose.
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 8..4;
    assert_eq!(
        bound(&one.clone().bind_range(1, 3, 1, reversed)),
        "@group(1) @binding(3) y: array<vec2<f32>>: bytes 8..4 are bound of buffer 1, which has 256"
    );
    assert_eq!(
        bound(&one.clone().bind_range(1, 3, 1, 2..18)),
        "@group(1) @binding(3) y: array<vec2<f32>>: bytes 2..18 are bound: both ends must be multiples of 4"
    );
    assert_eq!(
        bound(&one.clone().bind_range(1, 3, 1, 4..4)),
        "@group(1) @binding(3) y: array<vec2<f32>>: 0 bytes are bound, but the variable needs at least 8"
    );
    let short = Dispatch::new([1, 1, 1]).bind(0, 0, 2).bind(1, 3, 1);
    assert_eq!(
        bound(&short),
        "@group(0) @binding(0) params: Params: 4 bytes are bound, but the variable needs at least 48"
    );
}

#[test]
fn settings() -> Result<(), Error> {
    let kernel = kernel("@compute @workgroup_size(1) fn main() {}", &[])?;
    let run = |workgroups, settings: Settings| {
        let report = sanitize(&kernel, &Dispatch::new(workgroups), &mut [], &settings);
        report.map_or_else(|error| error.to_string(), |_| String::new())
    };
    let none: [Order; 0] = [];
    assert_eq!(
        run([1, 1, 1], Settings::default().orders(none)),
        "no order of the invocations is given: name at least one"
    );
    assert_eq!(
        run([65_535, 1, 1], Settings::default().orders([Order::Forward])),
        ""
    );
    assert_eq!(
        run([65_536, 1, 1], Settings::default()),
        "65536×1×1 workgroups, 65536 in all: a dispatch has at most 65535 in each direction, and is interpreted with at \
         most 16777216 in all"
    );
    assert_eq!(
        run([4097, 4096, 1], Settings::default()),
        "4097×4096×1 workgroups, 16781312 in all: a dispatch has at most 65535 in each direction, and is interpreted \
         with at most 16777216 in all"
    );
    assert_eq!(run([5, 0, 1], Settings::default()), "");
    Ok(())
}

#[test]
fn pointers_that_naga_refuses() {
    let text = "var<workgroup> a: u32;
        fn f(p: ptr<workgroup, u32>) { *p = 1u; }
        @compute @workgroup_size(1) fn main() { f(&a); }";
    let told = refused(text);
    assert!(told.contains("a.wgsl:2:9"), "{told}");
}

#[test]
fn memory_of_more_than_a_gibibyte() {
    let private = |size: &str, count: u32| {
        format!(
            "var<private> p: array<u32, {count}>;
            @compute @workgroup_size({size}) fn main() {{ p[0] = 1u; }}"
        )
    };
    assert_eq!(
        refused(&private("32, 32", 100_000_000)),
        "a.wgsl:1:1: `p` of 400000000 bytes, beside 52 others, in each of 1024 invocations, more than 1073741824 in \
         all, is not supported"
    );
    // 2²⁸ slots for 1024 invocations are 2¹⁸ slots for each. The built-in values take 13 of them.
    let most = (1 << 18) - 13;
    let told = refused(&private("1024", most + 1));
    assert!(
        told.starts_with("a.wgsl:1:1: `p` of 1048528 bytes"),
        "{told}"
    );
    assert!(kernel(&private("1024", most - 16), &[]).is_ok());
    let local = "  var q: array<u32, 400000000>; q[1] = 2u;";
    assert_eq!(
        refused(&main_with("", local)),
        "a.wgsl:3:3: `q` of 1600000000 bytes, beside 52 others, in each of 1 invocations, more than 1073741824 in all, \
         is not supported"
    );
}

#[test]
fn workgroup_memory_of_more_than_64_mebibytes() {
    let shared = |count: u32| {
        let declared = format!("var<workgroup> a: u32; var<workgroup> b: array<u32, {count}>;");
        main_with(&declared, "a = 1u; b[0] = 1u;")
    };
    assert_eq!(
        refused(&shared(500_000_000)),
        "a.wgsl:1:24: `b` of 2000000000 bytes, beside 4 others of workgroup memory, more than 67108864 in all, is not \
         supported"
    );
    assert!(kernel(&shared((1 << 24) - 1), &[]).is_ok());
    assert!(kernel(&shared(1 << 24), &[]).is_err());
}

#[test]
fn buffers_of_more_than_two_gibibytes() -> Result<(), Error> {
    let kernel = kernel(BINDINGS, &[])?;
    // The operating system allocates no memory for zeros that nothing accesses.
    let mut buffers = [Buffer::zeros(12), Buffer::zeros((1 << 29) + 1)];
    let dispatch = Dispatch::new([1, 1, 1]).bind(0, 0, 0).bind(1, 3, 1);
    let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default());
    let told = report.map_or_else(|error| error.to_string(), |report| report.to_string());
    assert_eq!(
        told,
        "@group(1) @binding(3) y: array<vec2<f32>>: 2147483652 bytes are bound, but at most 2147483648 can be bound: \
         bind a part of the buffer"
    );
    Ok(())
}

#[test]
fn constants_of_more_than_64_mebibytes() {
    let text = main_with(
        "const z = array<u32, 16777216>(); const c = array<array<u32, 16777216>, 2>(z, z);",
        "  var a = c; a[0][1] = 2u;",
    );
    assert_eq!(
        refused(&text),
        "a.wgsl:3:11: a constant of 134217728 bytes, beside 0 others of `main`, more than 67108864 in all, is not \
         supported"
    );
    // Zeros are not stored as a constant but written where they are used.
    let text = main_with(
        "const z = array<u32, 16777217>();",
        "  var a = z; a[1] = 2u;",
    );
    assert!(kernel(&text, &[]).is_ok());
}

#[test]
fn programs_that_are_too_long() {
    let call = |callee: u32| format!("f{callee}();").repeat(16);
    let functions: Vec<String> = (1..7)
        .map(|at| format!("fn f{at}() {{ {} }}\n", call(at - 1)))
        .collect();
    let declared = format!(
        "var<private> x: u32; fn f0() {{ x += 1u; }} {}",
        functions.concat()
    );
    let told = refused(&main_with(&declared, "f6();"));
    assert!(
        told.ends_with(
            ": `main` of more than 4194304 instructions, with all function calls inlined, is not supported"
        ),
        "{told}"
    );
}
