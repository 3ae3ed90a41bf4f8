//! The predictions of a trained network on the test examples: a table and a picture.

use std::fs;
use std::path::Path;
use wgrad::ops::SoftmaxCrossEntropy;

use image::{RgbImage, imageops};
use wgrad::data::{Dataset, Sampling, mnist};
use wgrad::ops::Sgd;
use wgrad::{Prediction, TwoLayerNet, cpu};

use super::{Few, NAMES, assert_refused, last_line, lines, text, train, write_part};

/// The width and height of a digit in the picture, in pixels, and the positions of the digits.
const SIDE: u32 = 5 * 28;
const CELL: [u32; 2] = [SIDE + 12, SIDE + 72];
const FIRST: [u32; 2] = [12, 44];

#[test]
fn the_table_has_the_examples_and_the_accuracy_of_the_last_line() {
    let few = Few::new();
    for (device, quiet) in [("cpu", ""), ("gpu", "--quiet")] {
        let words = format!("--device {device} --batch 20 --steps 200 --confusion {quiet}");
        let lines = lines(&few.train(&words));
        let end = lines.len() - 2;
        assert_eq!(lines[end], "results are for few");
        let table = &lines[end - 12..end];
        assert!(table[0].starts_with("class  examples  precision  recall      f1   as 0 "));
        let mut hits = 0;
        for (class, line) in table[1..11].iter().enumerate() {
            let words: Vec<_> = line.split_whitespace().collect();
            let counts = words[5..].iter().map(|count| count.parse().unwrap());
            let counts: Vec<usize> = counts.collect();
            assert_eq!((words[0], counts.len()), (&*class.to_string(), 10));
            assert_eq!(words[1], counts.iter().sum::<usize>().to_string());
            let recall = counts[class] as f64 / counts.iter().sum::<usize>() as f64;
            assert_eq!(words[3], format!("{recall:.4}"));
            hits += counts[class];
        }
        let accuracy = format!("{:.4}", hits as f64 / 500.0);
        assert!(table[11].ends_with(&format!("  500 examples, accuracy {accuracy}")));
        assert_eq!(last_line(&lines)["test_accuracy"], accuracy);
        assert_eq!(lines.len() == 3 + table.len(), quiet == "--quiet");
    }
}

/// Trains on `few` with `--samples`. Returns the picture and the lines of standard output.
fn draw(few: &Few, words: &str) -> (RgbImage, Vec<String>) {
    let png = few.path.join("wrong.png");
    let saved = few.path.join("saved");
    fs::write(&png, "from an earlier run\n".repeat(10_000)).unwrap();
    let data = ["--unverified", "--data"].map(Path::new);
    let files = [&few.path, Path::new("--samples"), &png];
    let save = [Path::new("--save"), &saved];
    let words = format!("--device cpu --batch 20 --eval-every 0 {words}");
    let lines = lines(&train(&[&data[..], &files, &save].concat(), &words));
    let picture = image::load_from_memory(&fs::read(&png).unwrap()).unwrap();
    (picture.to_rgb8(), lines)
}

/// Returns the test data, and the wrong predictions of the saved network, the most confident first.
fn wrong(few: &Few) -> (Dataset, Vec<(usize, Prediction)>) {
    let split = mnist::open_unverified(&few.path).unwrap();
    let spec = TwoLayerNet::spec(784, 50, 10).seed(42);
    let sampling = Sampling::WithReplacement { seed: 42 };
    let mut trainer = cpu::Trainer::new(
        cpu::Network::<f32>::new(&spec).unwrap(),
        SoftmaxCrossEntropy,
        Sgd::new(0.1),
        &split.train,
        20,
        sampling,
    )
    .unwrap();
    trainer.resume(few.path.join("saved")).unwrap();
    let predictions = trainer.predictions(&split.test).unwrap();
    let labels = split.test.labels().indices();
    let all = predictions.into_iter().enumerate();
    let mut wrong: Vec<_> = all.filter(|(at, p)| p.class != labels[*at]).collect();
    wrong.sort_by(|(_, a), (_, b)| b.probability.total_cmp(&a.probability));
    (split.test, wrong)
}

fn crop(picture: &RgbImage, [x, y]: [u32; 2], [width, height]: [u32; 2]) -> RgbImage {
    imageops::crop_imm(picture, x, y, width, height).to_image()
}

/// Asserts that the picture shows these digits. Also asserts that the pixels of two captions are equal if and only if
/// their texts are equal.
fn check_picture(picture: &RgbImage, test: &Dataset, wrong: &[(usize, Prediction)]) {
    let mut seen: Vec<(String, RgbImage)> = Vec::new();
    for (index, (example, prediction)) in (0..).zip(wrong) {
        let at = [0, 1].map(|axis| FIRST[axis] + CELL[axis] * [index % 5, index / 5][axis]);
        let digit = crop(picture, at, [SIDE; 2]);
        for (x, y, pixel) in digit.enumerate_pixels() {
            let expected = test.row(*example)[(y / 5 * 28 + x / 5) as usize];
            assert_eq!(pixel.0, [expected; 3], "digit {index} at {x}, {y}");
        }
        let label = test.labels().indices()[*example];
        let said = [
            format!("label {label}"),
            format!("predicted {}", prediction.class),
            format!("{:.2}%", 100.0 * prediction.probability),
        ];
        for (line, said) in (0..).zip(said) {
            let written = crop(picture, [at[0], at[1] + SIDE + 6 + 20 * line], [SIDE, 14]);
            assert!(written.pixels().any(|pixel| pixel.0 != [255; 3]), "{said}");
            seen.push((said, written));
        }
    }
    for (said, written) in &seen {
        let same = seen.iter().all(|(s, w)| (s == said) == (w == written));
        assert!(same, "{said}");
    }
}

#[test]
fn the_picture_has_the_twenty_surest_mistakes() {
    let few = Few::new();
    let (picture, lines) = draw(&few, "--steps 100");
    let (test, wrong) = wrong(&few);
    assert!(wrong.len() > 20, "{}", wrong.len());
    let said = format!(
        "samples: {} of 500 test examples were predicted wrongly; 20 drawn",
        wrong.len()
    );
    assert!(lines.contains(&said), "{lines:?}");
    assert_eq!(picture.dimensions(), (12 + 5 * CELL[0], 44 + 4 * CELL[1]));
    check_picture(&picture, &test, &wrong[..20]);
}

/// Replaces the test digits by the first `count` training digits.
fn tested_with_the_first(few: &Few, count: usize) {
    let train = mnist::open_unverified(&few.path).unwrap().train;
    let labels = train.labels().indices()[..count].to_vec();
    let labels = wgrad::data::Labels::from_classes(labels, 10).unwrap();
    let pixels = train.features()[..784 * count].to_vec();
    let first = Dataset::new("first", 784, pixels, labels).unwrap();
    write_part(&few.path, &first, NAMES[2], NAMES[3]);
}

#[test]
fn fewer_mistakes_than_places_make_a_smaller_picture() {
    let few = Few::new();
    tested_with_the_first(&few, 9);
    let (picture, _) = draw(&few, "--steps 1");
    let (test, wrong) = wrong(&few);
    assert!((6..=9).contains(&wrong.len()), "{}", wrong.len());
    assert_eq!(picture.height(), 44 + 2 * CELL[1]);
    check_picture(&picture, &test, &wrong);
}

#[test]
fn no_mistake_is_said_and_drawn() {
    let few = Few::new();
    tested_with_the_first(&few, 9);
    let (picture, lines) = draw(&few, "--steps 2000");
    let said = "samples: none of 9 test examples was predicted wrongly";
    assert!(lines.iter().any(|line| line == said), "{lines:?}");
    assert_eq!(picture.height(), 44);
    assert!(picture.pixels().any(|pixel| pixel.0 != [255; 3]));
}

#[test]
fn samples_that_cannot_be_written_are_told_before_the_data_set_is_loaded() {
    let words = "--data no/such/directory --device cpu --samples no/such/wrong.png";
    let output = train(&[], words);
    let parts = [
        "cannot write the samples to no/such/wrong.png",
        "--samples, or leave --samples out",
    ];
    assert_refused(&output, &parts);
    assert_eq!(text(&output.stdout), "");
}
