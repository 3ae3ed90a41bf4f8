//! Contents of buffers, as they are given and printed.

use super::Folder;

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
            "array<i32>",
            "=--9223372036854775808",
            "`--9223372036854775808` is no number of type i32",
        ),
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
