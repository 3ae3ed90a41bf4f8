use super::programs::last;
use super::*;

/// Runs `learn_shape` with few steps and these arguments. It writes its files to `directory`.
fn learn(directory: &Path, arguments: &[&str]) -> Output {
    let small = "--size 64 --batch 2048 --samples 65536 --levels 6 --table-size 32768 --out";
    let mut command = example("learn_shape");
    command.args(small.split(' ')).arg(directory);
    command.args(arguments).output().unwrap()
}

/// Returns the mean absolute difference between the bytes of two pictures in the directory.
fn difference(directory: &Path, names: [&str; 2]) -> f64 {
    let [a, b] = names.map(|name| image::open(directory.join(name)).unwrap().to_rgb8());
    assert_eq!([a.dimensions(), b.dimensions()], [(64, 64); 2]);
    let pairs = a.as_raw().iter().zip(b.as_raw());
    let sum: f64 = pairs.map(|(&a, &b)| f64::from(a.abs_diff(b))).sum();
    sum / a.as_raw().len() as f64
}

#[test]
fn a_shape_is_learnt_and_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for device in ["cpu", "gpu"] {
        let run = |steps| lines(&learn(at, &["--device", device, "--steps", steps]));
        let barely = run("1");
        let learnt = run("200");
        // For comparison: a network that is 0 everywhere has an error of 0.008 near the surface.
        assert!(last(&barely, "error_near") > 0.02, "{barely:?}");
        assert!(last(&learnt, "error_near") < 0.002, "{learnt:?}");
        // The picture of a network that has learned almost nothing does not agree with the shape.
        assert!(last(&barely, "agreement") < 0.9, "{barely:?}");
        assert!(last(&learnt, "agreement") > 0.985, "{learnt:?}");
        let [first, middle, end] = ["step-00001.png", "step-00025.png", "step-00200.png"]
            .map(|name| difference(at, [name, "target.png"]));
        assert!(
            first > 1.5 * middle && middle > 1.5 * end,
            "{device}: {first}, {middle}, {end}"
        );
    }
}

/// A cube whose faces are squares.
const CUBE: &str = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1\n\
    f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8\n";

#[test]
fn a_mesh_of_ones_own_is_learnt_and_one_that_is_unsound_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cube.obj");
    let path = file.to_str().unwrap();
    let run = |contents: &str| {
        fs::write(&file, contents).unwrap();
        let words = ["--device", "cpu", "--steps", "200", "--mesh", path];
        learn(directory.path(), &words)
    };
    let learnt = lines(&run(CUBE));
    assert!(learnt[0].starts_with("12 triangles"), "{learnt:?}");
    assert!(last(&learnt, "error_near") < 0.004, "{learnt:?}");
    assert!(last(&learnt, "agreement") > 0.98, "{learnt:?}");

    let open = CUBE.replace("f 5 6 7 8\n", "");
    assert_refused(&run(&open), &[path, "has a hole", "closed surface"]);
    let broken = CUBE.replace("f 2 3 7 6", "f 2 3 seven 6");
    assert_refused(&run(&broken), &[path, "line 12", "found \"seven\""]);
    let missing = CUBE.replace("v 0 1 1\n", "");
    assert_refused(&run(&missing), &[path, "line 9", "7 vertices", "vertex 8"]);
    fs::remove_file(&file).unwrap();
    let none = learn(directory.path(), &["--mesh", path]);
    assert_refused(&none, &["cannot read the mesh", path]);
}
