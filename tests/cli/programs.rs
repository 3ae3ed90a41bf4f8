//! The other example programs. Each must learn what its description says.

use std::fs;

use super::{assert_refused, example, lines};

/// Returns the number after `key=` in the last line.
pub(super) fn last(lines: &[String], key: &str) -> f64 {
    let mut pairs = lines.last().unwrap().split(' ');
    let value = pairs.find_map(|pair| pair.strip_prefix(&format!("{key}=")));
    value.unwrap().parse().unwrap()
}

#[test]
fn a_program_with_a_device_of_its_own_learns_a_wave() {
    let lines = lines(&example("in_your_program").output().unwrap());
    assert_eq!(last(&lines, "steps"), 1_200.0);
    let error = last(&lines, "mean_squared_error");
    // The wave has a variance of ½, which is the error of a constant prediction.
    assert!(error < 0.01, "{lines:?}");
}

/// The example checks its optimizer first, then trains with it on the GPU and on the CPU.
#[test]
fn an_optimizer_of_ones_own_trains_on_both_engines() {
    let lines = lines(&example("custom_optimizer").output().unwrap());
    assert!(
        lines[0].starts_with("Lion { learning_rate: 0.0003, "),
        "{lines:?}"
    );
    assert_eq!(lines[1], "contract  lion::update matches its WGSL");
    // Random guessing among ten classes has a loss of ln 10 = 2.3.
    for engine in ["loss_on_gpu", "loss_on_cpu"] {
        assert!(last(&lines, engine) < 0.5, "{lines:?}");
    }
}

#[test]
fn a_picture_sharpens_and_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let words = "--size 64 --steps 200 --batch 512 --out";
    let output = example("learn_image")
        .args(words.split(' '))
        .arg(directory.path())
        .output()
        .unwrap();
    let lines = lines(&output);
    // A picture that has the mean color everywhere reaches about 10 dB.
    assert!(last(&lines, "psnr_db") > 20.0, "{lines:?}");
    let mut files: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let picture = image::open(&file).unwrap();
        assert_eq!(
            [picture.width(), picture.height()],
            [64, 64],
            "{}",
            file.display()
        );
    }
}

/// Compares two runs: one reads the rows from a CSV file block by block, the other uses the rows without a file.
#[test]
fn a_csv_file_is_trained_on_as_a_stream() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("rows.csv");
    let run = |words: &str| {
        let mut command = example("stream_csv");
        command.args(["--csv".as_ref(), csv.as_os_str()]);
        command.args(words.split_whitespace());
        command.output().unwrap()
    };
    for device in ["cpu", "gpu"] {
        let words = format!("--rows 100100 --window 5000 --batch 100 --device {device}");
        let read = lines(&run(&words));
        let made = lines(&run(&format!("{words} --made")));
        for lines in [&read, &made] {
            // The last window of the stream is not full, but all its rows are used.
            assert_eq!(last(lines, "rows"), 100_100.0);
            let [first, end] = ["first_loss", "last_loss"].map(|key| last(lines, key));
            assert!(end < 0.3 * first, "{device}: {lines:?}");
            if cfg!(target_os = "linux") {
                assert!(last(lines, "peak_mb") < 300.0, "{device}: {lines:?}");
            }
        }
        // The file has six digits per number.
        let [read, made] = [&read, &made].map(|lines| last(lines, "first_loss"));
        assert!((read - made).abs() < 1e-4, "{device}: {read} and {made}");
    }
}

#[test]
fn a_csv_file_with_a_mistake_is_told_by_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("rows.csv");
    for (contents, parts) in [
        (
            "1,2,3\n4,x,6\n",
            ["line 2", "expected a number, found \"x\""],
        ),
        (
            "1,2,3\n4,5,6\n7,8\n",
            ["line 3", "expected 3 numbers, found 2"],
        ),
        ("1,2,3\n", ["not enough rows", "minibatch"]),
    ] {
        fs::write(&csv, contents).unwrap();
        let mut command = example("stream_csv");
        command.args(["--columns", "2", "--csv"]).arg(&csv);
        assert_refused(&command.output().unwrap(), &parts);
    }
}

#[test]
fn a_moving_shape_is_followed_by_one_submit_a_frame() {
    let lines = lines(&example("moving_shape").output().unwrap());
    let last = |key| last(&lines, key);
    // In each frame, the program and the library together submit once, and nothing waits for the GPU.
    assert_eq!(last("submits"), last("frames"), "{lines:?}");
    assert_eq!([last("maps"), last("waits")], [0.0; 2], "{lines:?}");
    // After the frames, the program reads the losses and the picture, which are two reads. It reads the losses by a
    // future, for which a thread of the device polls, and the picture by a call that waits.
    assert_eq!([last("maps_behind"), last("waits_behind")], [2.0, 1.0]);
    assert!(last("fall") >= 100.0, "{lines:?}");
    // The picture covers an area of 2 × 2. The box is 1 × 0.6, less its rounded corners.
    let picture: String = lines
        .iter()
        .filter(|line| line.len() == 64)
        .cloned()
        .collect();
    assert_eq!(picture.len(), 64 * 32);
    let inside = picture.chars().filter(|&pixel| pixel == '#').count();
    let share = inside as f64 / picture.len() as f64;
    let area = 1.0 * 0.6 - (4.0 - std::f64::consts::PI) * 0.1 * 0.1;
    assert!((share - area / 4.0).abs() < 0.01, "{share} {lines:?}");
}

#[test]
fn a_loss_of_ones_own_is_checked_and_predicts_a_quantile() {
    let lines = lines(&example("custom_loss").output().unwrap());
    assert_eq!(lines[0], "Quantile { share: 0.9 }");
    let contract = "contract  quantile::forward_backward matches";
    assert!(lines[1].starts_with(contract), "{lines:?}");
    let below = lines.last().unwrap().split(' ').next().unwrap();
    let below: f64 = below.parse().unwrap();
    assert!((below - 900.0).abs() < 20.0, "{lines:?}");
}

#[test]
fn a_pole_is_balanced_and_again_in_the_same_way() {
    let run = || lines(&example("cart_pole").args(["--seed", "1"]).output().unwrap());
    let first = run();
    let again = run();
    // The task counts as solved at a mean of 195. An episode has at most 500 steps.
    assert!(last(&first, "mean_of_100") >= 195.0, "{first:?}");
    for key in ["episodes", "steps", "mean_of_100"] {
        assert_eq!(last(&first, key), last(&again, key), "{key}");
    }
}
