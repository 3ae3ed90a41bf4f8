//! Options and exit codes.

use super::Folder;

const SHIFT: &str = "\
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<f32, 64>;

@compute @workgroup_size(64)
fn shift(@builtin(local_invocation_index) i: u32) {
    tile[i] = x[i];
    workgroupBarrier();
    y[i] = tile[(i + 1) % 64];
}
";

const SCALE: &str = "\
struct Params { n: u32, rate: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(2) var<storage, read_write> y: array<f32>;
override times: f32 = 1.0;

@compute @workgroup_size(4)
fn scale(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < params.n) {
        y[id.x] *= params.rate * times;
    }
}

@compute @workgroup_size(4)
fn fill(@builtin(global_invocation_id) id: vec3u) {
    y[id.x] = f32(id.x);
}
";

fn shift(name: &str) -> Folder {
    let racy = SHIFT.replace("    workgroupBarrier();\n", "");
    Folder::new(name, &[("shift.wgsl", SHIFT), ("racy.wgsl", &racy)])
}

#[test]
fn a_clean_shader_ends_with_0() {
    let folder = shift("clean");
    let ended =
        folder.run("shift.wgsl --buffer 0:0:f32[64]=index --buffer 1[64]=unwritten --print 1");
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    assert_eq!(
        ended.out,
        "clean; 2,496 operations; 1 block, all reached
0:1:
   [0]: 1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0
   [8]: 9.0 10.0 11.0 12.0 13.0 14.0 15.0 16.0
  [16]: 17.0 18.0 19.0 20.0 21.0 22.0 23.0 24.0
  [24]: 25.0 26.0 27.0 28.0 29.0 30.0 31.0 32.0
  [32]: 33.0 34.0 35.0 36.0 37.0 38.0 39.0 40.0
  [40]: 41.0 42.0 43.0 44.0 45.0 46.0 47.0 48.0
  [48]: 49.0 50.0 51.0 52.0 53.0 54.0 55.0 56.0
  [56]: 57.0 58.0 59.0 60.0 61.0 62.0 63.0 0.0
"
    );
}

#[test]
fn a_racy_shader_ends_with_1() {
    let folder = shift("racy");
    let ended = folder.run("racy.wgsl --buffer x[64]=random --buffer y[64]=zeros --orders forward");
    assert_eq!(ended.code, Some(1), "{}", ended.error);
    assert_eq!(
        ended.out,
        "data race on `tile[1]` in workgroup memory: no workgroupBarrier() between
  --> racy.wgsl:7:5
   |  tile[i] = x[i]
   |  written by invocation (1, 0, 0) of workgroup (0, 0, 0)
  --> racy.wgsl:8:12
   |  tile[(i + 1) % 64]
   |  read by invocation (0, 0, 0) of workgroup (0, 0, 0)
   = 64 times in this order
   = help: put a workgroupBarrier() that all invocations reach between the two

1 problem; 768 operations; 1 block, all reached
"
    );
    let ended = folder
        .run("racy.wgsl --buffer x[64]=random --buffer y[64]=zeros --orders backward,random:5");
    assert!(ended.out.contains("order-dependent: "), "{}", ended.out);
}

#[test]
fn what_is_not_bound_is_listed_with_an_example() {
    let told = shift("missing").mistake("shift.wgsl --buffer x[64]=random");
    assert_eq!(
        told,
        "error: `shift` has bindings without buffers; give, for example:
  @group(0) @binding(1) var<storage, read_write> y: array<f32>, 4 bytes at least
      --buffer 'y[64]=unwritten'
"
    );
    let told =
        Folder::new("missing2", &[("scale.wgsl", SCALE)]).mistake("scale.wgsl --entry scale");
    assert_eq!(
        told,
        "error: `scale` has bindings without buffers; give, for example:
  @group(0) @binding(0) var<uniform> params: Params, 8 bytes
      --buffer 'params=4,0.5'
  @group(1) @binding(2) var<storage, read_write> y: array<f32>, 4 bytes at least
      --buffer 'y[64]=unwritten'
"
    );
}

#[test]
fn entry_points_are_listed() {
    let folder = Folder::new("list", &[("scale.wgsl", SCALE)]);
    let ended = folder.run("scale.wgsl --list");
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    assert_eq!(
        ended.out,
        "scale: 4×1×1 invocations
  @group(0) @binding(0) var<uniform> params: Params, 8 bytes
  @group(1) @binding(2) var<storage, read_write> y: array<f32>, 4 bytes at least
fill: 4×1×1 invocations
  @group(1) @binding(2) var<storage, read_write> y: array<f32>, 4 bytes at least
"
    );
    assert_eq!(
        folder.mistake("scale.wgsl"),
        "error: name the entry point by --entry: there is scale, fill\n"
    );
    assert_eq!(
        folder.mistake("scale.wgsl --entry main"),
        "error: no compute entry point `main`: there is scale, fill\n"
    );
}

#[test]
fn constants_workgroups_and_structs() {
    let folder = Folder::new("scale", &[("scale.wgsl", SCALE)]);
    let ended = folder.run(
        "scale.wgsl --entry scale --workgroups 2 --constant times=3 --buffer params=u32:7,f32:0.5 \
         --buffer y[8]=2 --print 1:2 --print params",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    let printed = ended
        .out
        .split_once("all reached\n")
        .map(|(_, printed)| printed);
    assert_eq!(
        printed,
        Some("y:\n  [0]: 3.0 3.0 3.0 3.0 3.0 3.0 3.0 2.0\nparams:\n  .n: 7 0.5\n")
    );
    let ended = folder
        .run("scale.wgsl --entry scale --buffer params=u32:0,f32:0.5 --buffer y[8]=2 --blocks");
    let last = ended.out.lines().last();
    let hint = folder.run("scale.wgsl --entry scale --buffer params=0,0.5 --buffer y[8]=2");
    let hint = hint.out.lines().last().map(str::to_owned);
    assert_eq!(hint.as_deref(), Some("--blocks lists those never reached"));
    assert_eq!(
        last,
        Some(
            "never reached: scale.wgsl:9:9: where a condition holds: y[id.x] *= params.rate * times"
        )
    );
}

#[test]
fn settings() {
    let text = "var<workgroup> w: array<u32, 4>;
@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(4)
fn main(@builtin(local_invocation_index) i: u32) {
    for (var k = 0u; k < 10; k++) { y[i] += w[i]; }
}
";
    let folder = Folder::new("settings", &[("a.wgsl", text)]);
    let run = |options: &str| folder.run(&format!("a.wgsl --buffer y[4]=zeros {options}"));
    assert_eq!(run("").code, Some(0));
    let ended = run("--no-zero-workgroup-memory");
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .out
            .starts_with("unwritten: `w[0]` in workgroup memory"),
        "{}",
        ended.out
    );
    let ended = run("--loop-budget 9");
    assert_eq!(ended.code, Some(1));
    let title = "endless: more than 9 loop iterations of one invocation";
    assert!(ended.out.starts_with(title), "{}", ended.out);
    assert_eq!(run("--loop-budget 10").code, Some(0));
}

#[test]
fn files_are_joined() {
    let (before, after) = SHIFT.split_at(SHIFT.find("@compute").unwrap_or(0));
    let after = after.replace("    workgroupBarrier();\n", "");
    let folder = Folder::new("joined", &[("one.wgsl", before), ("two.wgsl", &after)]);
    let ended = folder.run("one.wgsl two.wgsl --buffer x[64]=index --buffer y[64]=zeros");
    assert_eq!(ended.code, Some(1), "{}", ended.error);
    assert!(ended.out.contains("--> two.wgsl:3:5"), "{}", ended.out);
}

/// A comment on the last line of a file does not continue in the next file.
#[test]
fn a_file_may_end_without_a_line_feed() {
    let (before, after) = SHIFT.split_at(SHIFT.find("@compute").unwrap_or(0));
    let before = format!("{before}// the end");
    let folder = Folder::new("comment", &[("one.wgsl", &before), ("two.wgsl", after)]);
    let ended = folder.run("one.wgsl two.wgsl --buffer x[64]=index --buffer y[64]=zeros");
    assert_eq!(ended.code, Some(0), "{}", ended.error);
}

#[test]
fn what_is_listed_may_hold_what_cannot_be_interpreted() {
    let text = format!("{TEXTURE}\n@compute @workgroup_size(2) fn plain() {{}}\n");
    let folder = Folder::new("list_texture", &[("mixed.wgsl", &text)]);
    let ended = folder.run("mixed.wgsl --list");
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    let expected =
        "main: cannot be interpreted: mixed.wgsl:1:23: `t`, a texture or sampler, is not supported
plain: 2×1×1 invocations\n";
    assert_eq!(ended.out, expected);
    assert_eq!(folder.run("mixed.wgsl --entry plain").code, Some(0));
}

const TEXTURE: &str = "\
@group(0) @binding(0) var t: texture_2d<f32>;
@compute @workgroup_size(1) fn main() { _ = textureLoad(t, vec2i(0), 0); }
";

#[test]
fn mistakes_of_the_caller_end_with_2() {
    let folder = Folder::new(
        "mistakes",
        &[
            ("scale.wgsl", SCALE),
            ("wrong.wgsl", "fn f( {"),
            ("texture.wgsl", TEXTURE),
            ("none_of.wgsl", "fn f() {}"),
            ("a.toml", ""),
        ],
    );
    for (arguments, message) in [
        ("none.wgsl", "error: none.wgsl: "),
        ("wrong.wgsl", "error: expected identifier, found \"{\"\n"),
        ("wrong.wgsl", "wrong.wgsl:1:7"),
        (
            "texture.wgsl",
            "error: texture.wgsl:1:23: `t`, a texture or sampler, is not supported",
        ),
        (
            "scale.wgsl --orders sideways",
            "`sideways` is not an order: expected forward, backward or random:SEED",
        ),
        (
            "scale.wgsl --workgroups 1,2,3,4",
            "4 counts of workgroups: expected one to three",
        ),
        (
            "scale.wgsl --workgroups many",
            "expected up to three counts, as in 4,1,1",
        ),
        (
            "scale.wgsl --workgroups 4,0",
            "0 workgroups: nothing would be run",
        ),
        (
            "none_of.wgsl",
            "error: there is no entry point with @compute",
        ),
        (
            "none_of.wgsl --list",
            "error: there is no entry point with @compute",
        ),
        ("scale.wgsl --constant times", "expected NAME=VALUE"),
        (
            "scale.wgsl --constant times=x",
            "`x` is not a number, `true` or `false`",
        ),
        (
            "scale.wgsl --buffer ?=zeros",
            "`?` names no binding: expected 0:1",
        ),
        (
            "scale.wgsl --entry fill --buffer 3[4]=zeros",
            "`0:3` is not a binding of `fill`, which has:\n  @group(1) @binding(2) var<storage, read_write> y: array<f32>",
        ),
        (
            "scale.wgsl --entry fill --buffer y[4]=0 --buffer 1:2[4]=0",
            "@group(1) @binding(2) y: array<f32>: two buffers are bound: leave out one",
        ),
        (
            "scale.wgsl --entry fill --buffer y[4]=0 --print z",
            "no buffer `z` to print: there is y",
        ),
        (
            "scale.wgsl --entry fill --buffer y[4]=0 --workgroups 70000",
            "at most 65535 in each direction",
        ),
        ("scale.wgsl --verbose", "unexpected argument '--verbose'"),
        (
            "scale.wgsl a.toml",
            "a TOML file must be the only file: it names its shaders itself",
        ),
        (
            "a.toml --seed 5",
            "--seed cannot be combined with a.toml: write it there",
        ),
        ("", "required arguments were not provided"),
    ] {
        let told = folder.mistake(arguments);
        assert!(told.contains(message), "{arguments}: {told}");
    }
}
