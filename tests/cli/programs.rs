//! The examples that are programs of their own kind: they learn what they say they learn.

use std::fs;

use super::{example, lines};

/// The number behind `key=` in the last line.
fn last(lines: &[String], key: &str) -> f64 {
    let mut pairs = lines.last().unwrap().split(' ');
    let value = pairs.find_map(|pair| pair.strip_prefix(&format!("{key}=")));
    value.unwrap().parse().unwrap()
}

#[test]
fn a_program_with_a_device_of_its_own_learns_a_wave() {
    let lines = lines(&example("in_your_program").output().unwrap());
    assert_eq!(last(&lines, "steps"), 1_200.0);
    let error = last(&lines, "mean_squared_error");
    // The wave's own variance is a half.
    assert!(error < 0.01, "{lines:?}");
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
    // A picture of the mean colour has about 10 dB.
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
