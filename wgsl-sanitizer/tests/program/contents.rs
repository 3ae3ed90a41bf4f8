//! The contents of buffers: as the user gives them, and as the program prints them.

use super::Folder;

/// Returns the printed contents of a variable of type `ty` whose buffer is given by the text `buffer`.
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
            let lines = ended.out.lines().skip(1);
            let numbers = lines.filter_map(|line| line.split_once(": "));
            let numbers = numbers.map(|(_, numbers)| numbers);
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
        // The padding between the vectors is not printed.
        ("array<vec3<f32>>", "[2]=index", "0.0 1.0 2.0 3.0 4.0 5.0"),
        (
            "array<vec3<f32>>",
            "=1,2,3,4,5,6",
            "1.0 2.0 3.0 4.0 5.0 6.0",
        ),
        ("array<f32>", "=1,2.5,-3e2", "1.0 2.5 -300.0"),
        ("array<f32>", ":f32=1,2.5,-3e2", "1.0 2.5 -300.0"),
        ("array<f32>", "[5]=1,2", "1.0 2.0 1.0 2.0 1.0"),
        ("array<f32>", ":f32[5]=1,2", "1.0 2.0 1.0 2.0 1.0"),
        ("array<f32>", "=inf,-inf,NaN", "inf -inf NaN"),
        ("array<i32>", "=-1,0x10", "-1 16"),
        ("vec4<u32>", "=zeros", "0 0 0 0"),
        ("mat2x2<f32>", "=unwritten", "? ? ? ?"),
        ("array<f16>", "[4]=index", "0.0 1.0 2.0 3.0"),
        ("array<u32>", ":bytes=1,2,255,0", "16712193"),
        ("S", "=5,0.5", "5 0.5"),
        ("S", "=u32:5,f32:0.5", "5 0.5"),
        // Without a number type, the count is a number of elements. With a number type, it is a number of numbers.
        ("array<S>", "[2]=5,0.5", "5 0.5 5 0.5"),
        ("array<S>", "[4]=u32:5,f32:0.5", "5 0.5 5 0.5"),
        ("array<S>", "[2]=5,0.5,6", "5 0.5 6 5.0"),
        ("array<S>", "=@bytes.bin", "1 1.0"),
        ("array<S>", "[1]=@bytes.bin", "1 1.0"),
        ("array<u32>", ":bytes[8]=@bytes.bin", "1 1065353216"),
        ("T", "=7,8,9", "7 8 9"),
        ("T", "[2]=1", "1 1 1"),
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
        // 512 random numbers cover the whole range: some are close to each end.
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
            "say how many elements it has, as in [64]=random",
        ),
        (
            "T",
            ":u32=zeros",
            "say how many numbers it has, as in u32[64]=zeros",
        ),
        (
            "S",
            "[4]=random",
            "its length is fixed: leave out the count, or say a type, as in f32[4]=random",
        ),
        ("S", "=5", "1 numbers are listed, but it has 2"),
        (
            "array<S>",
            "=5,6,7",
            "3 numbers are listed, but it has 0 and 2 for each element",
        ),
        (
            "array<S>",
            "=5,f32:7",
            "`5` needs a type, because other numbers name theirs, as in u32:5",
        ),
        (
            "array<f32>",
            ":u32[4]=random",
            "`x[0]` is of type f32, but a number of type u32 is given: leave out the types, or give numbers of type bytes",
        ),
        (
            "array<S>",
            "[4]=u32:5,6",
            "`x[0].b` is of type f32, but a number of type u32 is given",
        ),
        (
            "array<S>",
            ":u32[3]=zeros",
            "12 bytes are 1 elements of 8 bytes and 4 bytes more",
        ),
        (
            "array<f32>",
            "=rondom",
            "`rondom` is neither a number of type f32 nor random, zeros, index, unwritten or @FILE",
        ),
        (
            "array<f32>",
            "=1e39",
            "`1e39` is outside the range of type f32",
        ),
        (
            "array<f32>",
            "[4]=random:-inf..inf",
            "-inf..inf is not a range of f32",
        ),
        (
            "array<f32>",
            "[1000000000000]=0",
            "4000000000000 bytes are requested, but at most 1073741824 are possible",
        ),
        ("array<u32>", "=-1", "`-1` is neither a number of type u32"),
        (
            "array<i32>",
            "=--9223372036854775808",
            "`--9223372036854775808` is neither a number of type i32",
        ),
        (
            "array<u32>",
            "=u32:1,f99:2",
            "`f99` is not a type of numbers: expected f32, u32, i32, f16 or bytes",
        ),
        (
            "array<u32>",
            ":bytes=1,2,u32:1,u32:2,bytes:0,0",
            "a number of type u32 would lie at byte 2",
        ),
        (
            "array<u32>",
            ":f33[4]=zeros",
            "`f33` is not a type of numbers",
        ),
        (
            "array<u32>",
            "[four]=zeros",
            "expected a count of numbers in brackets, as in f32[64]",
        ),
        (
            "array<u32>",
            "[4]=random:5..5",
            "5..5 is not a range of u32",
        ),
        (
            "array<u32>",
            "[4]=random:5",
            "`5` is not a range: expected low..high, as in random:-2..2",
        ),
        (
            "array<u32>",
            "[3]=@bytes.bin",
            "bytes.bin: expected 12 bytes, found 8",
        ),
        ("array<u32>", "=@none.bin", "none.bin: "),
        (
            "array<u32>",
            "[9999999999]=zeros",
            "39999999996 bytes are requested, but at most 1073741824 are possible",
        ),
        (
            "array<u32>",
            "[0]=zeros",
            "@group(0) @binding(0) x: array<u32>: 0 bytes are bound, but the variable needs at least 4",
        ),
        ("array<u32>", "", "no `=` before the contents"),
    ] {
        let told = printed(&folder, ty, buffer);
        let told = told.map_or_else(|error| error, |told| panic!("{ty} {buffer}: {told}"));
        assert!(told.contains(message), "{ty} {buffer}: {told}");
    }
}
