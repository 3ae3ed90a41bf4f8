//! The program: what it prints and how it ends.

#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A folder of its own for each test, with these files.
struct Folder(PathBuf);

struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{error}"));
        let folder = Self(path);
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    fn write(&self, name: &str, contents: &[u8]) {
        std::fs::write(self.0.join(name), contents).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs the program there, with arguments that blanks separate.
    fn run(&self, arguments: &str) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_wgsl-sanitizer"))
            .current_dir(&self.0)
            .args(arguments.split_whitespace())
            .output()
            .unwrap_or_else(|error| panic!("{error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: output.status.code(),
            out: text(&output.stdout),
            error: text(&output.stderr),
        }
    }

    /// Runs what is a mistake of the caller: its message.
    fn mistake(&self, arguments: &str) -> String {
        let ended = self.run(arguments);
        assert_eq!(
            (ended.code, &*ended.out),
            (Some(2), ""),
            "{arguments}: {}",
            ended.error
        );
        ended.error
    }
}

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
       0: 1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0
       8: 9.0 10.0 11.0 12.0 13.0 14.0 15.0 16.0
      16: 17.0 18.0 19.0 20.0 21.0 22.0 23.0 24.0
      24: 25.0 26.0 27.0 28.0 29.0 30.0 31.0 32.0
      32: 33.0 34.0 35.0 36.0 37.0 38.0 39.0 40.0
      40: 41.0 42.0 43.0 44.0 45.0 46.0 47.0 48.0
      48: 49.0 50.0 51.0 52.0 53.0 54.0 55.0 56.0
      56: 57.0 58.0 59.0 60.0 61.0 62.0 63.0 0.0
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
        "data race on scalar 1 of `tile` in workgroup memory: no workgroupBarrier() between
  --> racy.wgsl:7:5
   |  tile[i] = x[i]
   |  written by invocation (1, 0, 0) of workgroup (0, 0, 0)
  --> racy.wgsl:8:12
   |  tile[(i + 1) % 64]
   |  read by invocation (0, 0, 0) of workgroup (0, 0, 0)
   = 64 times
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
        "error: `shift` has bindings that nothing is bound to; for instance:
  @group(0) @binding(1) var<storage, read_write> y: array<f32>, 4 bytes at least
      --buffer '0:1:f32[64]=random'
"
    );
    let told =
        Folder::new("missing2", &[("scale.wgsl", SCALE)]).mistake("scale.wgsl --entry scale");
    assert_eq!(
        told,
        "error: `scale` has bindings that nothing is bound to; for instance:
  @group(0) @binding(0) var<uniform> params: Params, 8 bytes
      --buffer 0:0=u32:5,f32:0.5
  @group(1) @binding(2) var<storage, read_write> y: array<f32>, 4 bytes at least
      --buffer '1:2:f32[64]=random'
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
        Some("y:\n       0: 3.0 3.0 3.0 3.0 3.0 3.0 3.0 2.0\nparams:\n       0: 7 0.5\n")
    );
    let ended = folder
        .run("scale.wgsl --entry scale --buffer params=u32:0,f32:0.5 --buffer y[8]=2 --blocks");
    let last = ended.out.lines().last();
    assert_eq!(
        last,
        Some(
            "never reached: scale.wgsl:9:9: where a condition holds: y[id.x]"
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
            .starts_with("unwritten: scalar 0 of `w` in workgroup memory"),
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

/// What a buffer that is given so holds, as it is printed.
fn printed(folder: &Folder, ty: &str, buffer: &str) -> Result<String, String> {
    let text = format!(
        "enable f16; struct S {{ a: u32, b: f32 }} struct T {{ a: u32, b: array<u32> }}
         @group(0) @binding(0) var<storage, read_write> x: {ty};
         @compute @workgroup_size(1) fn main() {{ _ = &x; }}"
    );
    folder.write("contents.wgsl", text.as_bytes());
    let ended = folder.run(&format!("contents.wgsl --buffer x{buffer} --print x"));
    match ended.code {
        Some(0) => {
            let lines = ended.out.lines().skip(2);
            let numbers =
                lines.map(|line| line.split_once(": ").map_or("", |(_, numbers)| numbers));
            Ok(numbers.collect::<Vec<_>>().join(" "))
        }
        _ => Err(ended.error),
    }
}

#[test]
fn contents() {
    let folder = Folder::new("contents", &[]);
    folder.write("bytes.bin", &[1, 0, 0, 0, 0, 0, 128, 63]);
    for (ty, buffer, expected) in [
        ("array<f32>", "[5]=index", "0.0 1.0 2.0 3.0 4.0"),
        ("array<u32, 3>", "=index", "0 1 2"),
        ("array<vec2<i32>, 2>", "=index", "0 1 2 3"),
        ("array<f32>", "=1,2.5,-3e2", "1.0 2.5 -300.0"),
        ("array<f32>", "[5]=1,2", "1.0 2.0 1.0 2.0 1.0"),
        ("array<i32>", "=-1,0x10", "-1 16"),
        ("array<u32>", ":i32[2]=-1", "-1 -1"),
        ("vec4<u32>", "=zeros", "0 0 0 0"),
        ("mat2x2<f32>", "=unwritten", "0.0 0.0 0.0 0.0"),
        ("array<f16>", "[4]=index", "0.0 1.0 2.0 3.0"),
        ("array<u32>", ":bytes=1,2,255,0", "1 2 255 0"),
        ("S", "=u32:5,f32:0.5", "5 0.5"),
        ("array<S>", "[4]=u32:5,f32:0.5", "5 0.5 5 0.5"),
        ("array<S>", "=@bytes.bin", "1 0 0 0 0 0 128 63"),
        ("array<f32>", "=@bytes.bin", "1e-45 1.0"),
        ("atomic<u32>", "=7", "7"),
    ] {
        assert_eq!(
            printed(&folder, ty, buffer),
            Ok(expected.to_owned()),
            "{ty} {buffer}"
        );
    }
}

#[test]
fn random_contents_lie_in_their_range() {
    let folder = Folder::new("random", &[]);
    for (ty, buffer, low, high) in [
        ("array<f32>", "[512]=random", -1.0, 1.0),
        ("array<f32>", "[512]=random:3..3.5", 3.0, 3.5),
        ("array<f16>", "[512]=random", -1.0, 1.0),
        ("array<u32>", "[512]=random", 0.0, 15.0),
        ("array<i32>", "[512]=random:-3..2", -3.0, 1.0),
        ("array<u32>", ":bytes[512]=random", 0.0, 255.0),
    ] {
        let told = printed(&folder, ty, buffer).unwrap_or_else(|error| panic!("{error}"));
        let numbers: Vec<f64> = told
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        assert_eq!(numbers.len(), 512, "{ty} {buffer}");
        let (least, most) = numbers
            .iter()
            .fold((f64::MAX, f64::MIN), |(least, most), &number| {
                (least.min(number), most.max(number))
            });
        // All of the range is used: the ends come with 512 draws, or what is close to them.
        let near = (high - low) / 50.0;
        assert!(
            (low..=low + near).contains(&least),
            "{ty} {buffer}: {least}"
        );
        assert!(
            (high - near..=high).contains(&most),
            "{ty} {buffer}: {most}"
        );
        assert_eq!(printed(&folder, ty, buffer), Ok(told), "the same each time");
    }
}

#[test]
fn contents_that_make_no_sense() {
    let folder = Folder::new("nonsense", &[]);
    folder.write("bytes.bin", &[0; 8]);
    for (ty, buffer, message) in [
        (
            "array<f32>",
            "=random",
            "say how many numbers it has, as in f32[64]=random",
        ),
        (
            "T",
            ":u32=zeros",
            "say how many numbers it has, as in u32[64]=zeros",
        ),
        ("S", "[4]=random", "say of which type its numbers are"),
        (
            "S",
            "=5",
            "`5` is no contents that are known, or a number whose type is to be said, as in u32:5",
        ),
        ("array<f32>", "=rondom", "`rondom` is no number of type f32"),
        ("array<u32>", "=-1", "`-1` is no number of type u32"),
        (
            "array<u32>",
            "=u32:1,f99:2",
            "`f99` is no type of numbers: expected f32, u32, i32, f16 or bytes",
        ),
        (
            "array<u32>",
            "=u32:1,f16:1,f32:2",
            "a number of type f32 would lie at byte 6",
        ),
        ("array<u32>", ":f33[4]=zeros", "`f33` is no type of numbers"),
        (
            "array<u32>",
            "[four]=zeros",
            "expected a count of numbers in brackets, as in f32[64]",
        ),
        ("array<u32>", "[4]=random:5..5", "5..5 is no range of u32"),
        (
            "array<u32>",
            "[4]=random:5",
            "`5` is no range: expected low..high, as in random:-2..2",
        ),
        (
            "array<u32>",
            "[3]=@bytes.bin",
            "bytes.bin: 8 bytes, and 12 are asked for",
        ),
        ("array<u32>", "=@none.bin", "none.bin: "),
        (
            "array<u32>",
            "[9999999999]=zeros",
            "39999999996 bytes are asked for, and at most 4294967296 are possible",
        ),
        (
            "array<u32>",
            "[0]=zeros",
            "0 bytes are bound, and the variable needs 4 at least",
        ),
        ("array<u32>", "", "no `=` before the contents"),
    ] {
        let told = printed(&folder, ty, buffer);
        let told = told.map_or_else(|error| error, |told| panic!("{ty} {buffer}: {told}"));
        assert!(told.contains(message), "{ty} {buffer}: {told}");
    }
}

#[test]
fn mistakes_of_the_caller_end_with_2() {
    let folder = Folder::new(
        "mistakes",
        &[
            ("scale.wgsl", SCALE),
            ("wrong.wgsl", "fn f( {"),
            ("a.toml", ""),
        ],
    );
    for (arguments, message) in [
        ("none.wgsl", "error: none.wgsl: "),
        ("wrong.wgsl", "wrong.wgsl:1:7"),
        (
            "scale.wgsl --orders sideways",
            "`sideways` is no order: expected forward, backward or random:SEED",
        ),
        (
            "scale.wgsl --workgroups 1,2,3,4",
            "4 counts of workgroups: expected one to three",
        ),
        (
            "scale.wgsl --workgroups many",
            "expected up to three counts, as in 4,1,1",
        ),
        ("scale.wgsl --constant times", "expected NAME=VALUE"),
        (
            "scale.wgsl --constant times=x",
            "`x` is no number, `true` or `false`",
        ),
        (
            "scale.wgsl --buffer ?=zeros",
            "`?` names no binding: expected 0:1",
        ),
        (
            "scale.wgsl --entry fill --buffer 3[4]=zeros",
            "`0:3` is no binding of `fill`, which has:\n  @group(1) @binding(2) var<storage, read_write> y: array<f32>",
        ),
        (
            "scale.wgsl --entry fill --buffer y[4]=0 --buffer 1:2[4]=0",
            "@group(1) @binding(2): bound twice",
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
            "a TOML file stands alone: it names its shaders itself",
        ),
        (
            "a.toml --seed 5",
            "--seed is not taken beside a.toml: write it there",
        ),
        ("", "required arguments were not provided"),
    ] {
        let told = folder.mistake(arguments);
        assert!(told.contains(message), "{arguments}: {told}");
    }
}
