//! All settings in a TOML file.

use super::Folder;

const SHADER: &str = "\
struct Params { n: u32, rate: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
override times = 1.0;
var<workgroup> tile: array<f32, 8>;

@compute @workgroup_size(8)
fn scale(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < params.n) {
        y[id.x] = params.rate * times * x[id.x];
    } else {
        y[id.x] = -1.0;
    }
}

@compute @workgroup_size(8)
fn turn(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) i: u32) {
    tile[i] = x[id.x];
    workgroupBarrier();
    y[id.x] = tile[7 - i];
}
";

const PLAN: &str = r#"
shaders = ["shader.wgsl"]
print = ["turned"]

[buffers]
params = "u32:9, f32:0.5"
input  = "f32[16] = index"
scaled = "f32[16] = unwritten"
turned = "f32[16] = unwritten"

[[dispatch]]
entry = "scale"
workgroups = [2]
constants = { times = 4 }
bindings = { x = "input", y = "scaled" }

[[dispatch]]
entry = "turn"
workgroups = [2, 1, 1]
bindings = { x = "scaled", "0:2" = "turned" }
"#;

/// Writes `plan.toml` into a new folder, and runs the program on it from another folder. Returns the exit code,
/// standard output and standard error.
fn run(name: &str, plan: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new(name, &[]);
    folder.write_below("files", &[("shader.wgsl", SHADER), ("plan.toml", plan)]);
    let ended = folder.run(&format!("files/plan.toml {}", options.join(" ")));
    (ended.code, ended.out, ended.error)
}

#[test]
fn dispatches_go_over_the_same_buffers() {
    let (code, out, error) = run("plan", PLAN, &[]);
    assert_eq!(code, Some(0), "{error}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "`scale`, 2×1×1 workgroups:");
    assert!(lines[1].starts_with("clean; "), "{out}");
    assert_eq!(lines[2], "`turn`, 2×1×1 workgroups:");
    assert!(lines[3].starts_with("clean; "), "{out}");
    assert_eq!(
        lines[4..],
        [
            "turned:",
            "  [0]: 14.0 12.0 10.0 8.0 6.0 4.0 2.0 0.0",
            "  [8]: -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 16.0",
        ]
    );
}

#[test]
fn a_buffer_is_bound_to_the_variable_of_its_name() {
    let plan = PLAN
        .replace("input ", "x ")
        .replace("scaled", "y")
        .replace("bindings = { x = \"input\", y = \"y\" }", "");
    let (code, out, error) = run("names", &plan, &["--print", "y"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("\ny:\n  [0]: 0.0 2.0 4.0"), "{out}");
}

#[test]
fn a_binding_may_be_a_range_of_a_buffer() {
    let plan = PLAN
        .replace(
            "scaled = \"f32[16] = unwritten\"",
            "scaled = \"f32[40] = unwritten\"",
        )
        .replace("y = \"scaled\"", "y = \"scaled[96..160]\"")
        .replace("x = \"scaled\"", "x = \"scaled[96..160]\"");
    let (code, out, error) = run("range", &plan, &[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.ends_with("[8]: -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 16.0\n"),
        "{out}"
    );
    let short = plan.replace("x = \"scaled[96..160]\"", "x = \"scaled[96..156]\"");
    let (code, out, _) = run("range", &short, &[]);
    assert_eq!(code, Some(1));
    let title = "out of bounds: `x` is read at index 15, but 15 elements are bound there";
    assert!(out.contains(title), "{out}");
}

#[test]
fn what_one_dispatch_left_unwritten_another_reads() {
    let plan = PLAN.replacen("workgroups = [2]", "workgroups = [1]", 1);
    let (code, out, error) = run("unwritten", &plan, &[]);
    assert_eq!(code, Some(1), "{error}");
    let (first, second) = out.split_once("`turn`").unwrap_or(("", ""));
    assert!(first.contains("clean"), "{out}");
    let title = "unwritten: `x[8]` in storage is read, but nothing wrote it";
    assert!(second.contains(title), "{out}");
}

/// The name of a buffer can be any text. It need not be the name of a variable.
#[test]
fn any_name_of_a_buffer_is_printed() {
    let plan = PLAN.replace("turned", "turned-round");
    let plan = plan.replace("turned-round = ", "\"turned-round\" = ");
    let (code, out, error) = run("any_name", &plan, &[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("\nturned-round:\n  [0]: 14.0"), "{out}");
}

#[test]
fn settings_have_the_names_of_options() {
    let settings = "orders = [\"forward\", \"random:3\"]\nzero-workgroup-memory = false\nloop-budget = 5\nseed = 7\n";
    let plan = format!("{settings}{PLAN}");
    let (code, out, error) = run("settings_in_toml", &plan, &["--blocks"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(!out.contains("never reached: "), "{out}");
    let racy = plan.replace("zero-workgroup-memory = false", "zero-workgroup-memory = 1");
    let (code, _, error) = run("settings_in_toml", &racy, &[]);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("invalid type: integer `1`, expected a boolean"),
        "{error}"
    );
}

#[test]
fn blocks_are_those_that_no_dispatch_reaches() {
    let plan = PLAN.replace("u32:9,", "u32:99,");
    let (_, out, _) = run("blocks", &plan, &["--blocks"]);
    let told: Vec<&str> = out
        .lines()
        .filter(|line| line.starts_with("never reached"))
        .collect();
    assert_eq!(told.len(), 1, "{out}");
    assert!(
        told[0].ends_with(
            "never reached: files/shader.wgsl:13:9: where a condition does not hold: y[id.x] = -1.0"
        ),
        "{out}"
    );
}

#[test]
fn mistakes_in_the_file() {
    let change = |what: &str, by: &str| PLAN.replacen(what, by, 1);
    for (plan, message) in [
        (
            change("entry", "entri"),
            "unknown field `entri`, expected one of `entry`, `workgroups`",
        ),
        (
            change("print", "loops"),
            "unknown field `loops`, expected one of `shaders`, `buffers`",
        ),
        (change("shader.wgsl", "none.wgsl"), "none.wgsl: "),
        (change("[\"shader.wgsl\"]", "[]"), "`shaders` names no file"),
        (
            change("y = \"scaled\"", "y = \"scoled\""),
            "binding `y`: there is no buffer `scoled` in [buffers]: there is input, params, scaled, turned",
        ),
        (
            change("y = \"scaled\"", "z = \"scaled\""),
            "`z` is not a binding of `scale`, which has:",
        ),
        (
            change("x = \"input\", ", ""),
            "`scale` has bindings without buffers; give, for example:
  @group(0) @binding(1) var<storage, read> x: array<f32>, 4 bytes at least
      x = \"[64]=random\"",
        ),
        (
            change("= index", "= indices"),
            "`indices` is neither a number of type f32",
        ),
        (
            change("params", "p"),
            "`scale` has bindings without buffers; give, for example:
  @group(0) @binding(0) var<uniform> params: Params, 8 bytes
      params = \"4,0.5\"",
        ),
        (
            change("times = 4", "times = \"4\""),
            "the value of a constant is a number, `true` or `false`",
        ),
        (
            change("times = 4", "time = 4"),
            "'time' not found in the shader",
        ),
        (
            change("[2]", "[1, 2, 3, 4]"),
            "4 counts of workgroups: expected one to three",
        ),
        (
            change("y = \"scaled\"", "y = \"scaled[0-4]\""),
            "`scaled[0-4]` is neither a buffer nor a range of its bytes",
        ),
        (
            change("print = [\"turned\"]", "print = [\"tuned\"]"),
            "no buffer `tuned` to print: there is input, params",
        ),
        (
            change("entry = \"scale\"", ""),
            "name the entry point by `entry`: there is scale, turn",
        ),
        (format!("{PLAN}\n[buffers.more]\n"), "plan.toml: "),
        (
            change("[buffers]", "[buffers]\nspare = \"f32[4]=zeros\""),
            "buffer `spare` is not bound in any dispatch",
        ),
        (
            PLAN.split_once("[[")
                .map_or("", |(start, _)| start)
                .to_owned(),
            "there is no [[dispatch]]",
        ),
    ] {
        let (code, out, error) = run("mistakes_in_toml", &plan, &[]);
        assert_eq!((code, &*out), (Some(2), ""), "{message}: {error}");
        assert!(error.contains(message), "{message}: {error}");
    }
}
