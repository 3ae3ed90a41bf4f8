use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use wgrad::Prediction;
use wgrad::data::{Dataset, mnist};

use crate::common::Failure;
use crate::font;
use crate::outputs::Output;

/// Maximum number of digits in the picture, and digits per row.
const MOST: usize = 20;
const IN_A_ROW: u32 = 5;
/// Width and height of a digit's pixel in the picture, in pixels of the picture.
const ENLARGED: u32 = 5;
/// Width and height of a letter's pixel in the picture, in pixels of the picture.
const DOT: u32 = 2;
const LINE: u32 = 20;
const MARGIN: u32 = 12;
#[expect(clippy::cast_possible_truncation, reason = "28")]
const DIGIT: (u32, u32) = (
    ENLARGED * mnist::COLUMNS as u32,
    ENLARGED * mnist::ROWS as u32,
);
/// Width and height of a cell: a digit, three lines of text below it, and the space to the next cell.
const CELL: (u32, u32) = (DIGIT.0 + MARGIN, DIGIT.1 + 3 * LINE + MARGIN);
const HEAD: u32 = LINE + MARGIN;

const PAPER: Rgb<u8> = Rgb([255; 3]);
const PLAIN: Rgb<u8> = Rgb([60; 3]);
const LABEL: Rgb<u8> = Rgb([0, 120, 60]);
const PREDICTED: Rgb<u8> = Rgb([190, 30, 30]);

/// A picture of the most confidently misclassified test digits.
#[derive(Debug)]
pub(crate) struct Samples(Output);

/// A misclassified test digit.
struct Wrong<'a> {
    pixels: &'a [u8],
    label: u32,
    prediction: Prediction,
}

impl Samples {
    /// Checks that the file can be written, but does not change it before [`draw`](Self::draw).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self(Output::new(path, "samples", "--samples")?))
    }

    /// Draws the picture and writes the file. Returns a line that describes the picture.
    pub(crate) fn draw(
        &mut self,
        test: &Dataset,
        predictions: &[Prediction],
    ) -> Result<String, Failure> {
        let mut wrong = wrong(test, predictions);
        let count = wrong.len();
        let all = test.len();
        wrong.truncate(MOST);
        let picture = picture(&format!("{count} OF {all} WRONG"), &wrong);
        let mut png = Vec::new();
        let encoded = picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png);
        encoded.map_err(|error| {
            Failure::Message(format!(
                "cannot draw the samples: {error}; leave out --samples"
            ))
        })?;
        self.0.write(png)?;
        Ok(match count {
            0 => format!("samples: none of {all} test examples was predicted wrongly"),
            _ => format!(
                "samples: {count} of {all} test examples were predicted wrongly; {} drawn",
                wrong.len()
            ),
        })
    }
}

/// Returns the misclassified digits, sorted by the probability of the predicted class, the largest first.
fn wrong<'a>(test: &'a Dataset, predictions: &[Prediction]) -> Vec<Wrong<'a>> {
    let examples = test.labels().indices().iter().zip(predictions).enumerate();
    let wrong = examples.filter(|(_, (label, prediction))| **label != prediction.class);
    let wrong = wrong.map(|(example, (&label, &prediction))| Wrong {
        pixels: test.row(example),
        label,
        prediction,
    });
    let mut wrong: Vec<_> = wrong.collect();
    wrong.sort_by(|a, b| {
        b.prediction
            .probability
            .total_cmp(&a.prediction.probability)
    });
    wrong
}

/// Draws the digits in rows below the heading `head`.
fn picture(head: &str, digits: &[Wrong<'_>]) -> RgbImage {
    let rows = digits.chunks(IN_A_ROW as usize);
    let height = rows.map(|_| CELL.1).sum::<u32>();
    let size = (MARGIN + IN_A_ROW * CELL.0, MARGIN + HEAD + height);
    let mut picture = RgbImage::from_pixel(size.0, size.1, PAPER);
    write(&mut picture, (MARGIN, MARGIN), PLAIN, head);
    for (index, digit) in (0..).zip(digits) {
        let x = MARGIN + index % IN_A_ROW * CELL.0;
        let y = MARGIN + HEAD + index / IN_A_ROW * CELL.1;
        let gray = |x: u32, y: u32| {
            let at = (y / ENLARGED) as usize * mnist::COLUMNS + (x / ENLARGED) as usize;
            Rgb([digit.pixels[at]; 3])
        };
        let enlarged = RgbImage::from_fn(DIGIT.0, DIGIT.1, gray);
        imageops::replace(&mut picture, &enlarged, x.into(), y.into());
        let Prediction { class, probability } = digit.prediction;
        let lines = [
            (LABEL, format!("LABEL {}", digit.label)),
            (PREDICTED, format!("PREDICTED {class}")),
            (PREDICTED, format!("{:.2}%", 100.0 * probability)),
        ];
        for (line, (color, text)) in (0..).zip(lines) {
            let below = y + DIGIT.1 + MARGIN / 2 + line * LINE;
            write(&mut picture, (x, below), color, &text);
        }
    }
    picture
}

/// Draws a text into the picture. The text's upper left corner is at the pixel `at`, (x, y).
fn write(picture: &mut RgbImage, at: (u32, u32), color: Rgb<u8>, text: &str) {
    let dot = RgbImage::from_pixel(DOT, DOT, color);
    for (index, letter) in (0..).zip(text.chars()) {
        let left = at.0 + index * DOT * (font::COLUMNS + 1);
        for (row, bits) in (0..).zip(font::glyph(letter)) {
            let is_inked = |column: &u32| bits >> (font::COLUMNS - 1 - column) & 1 == 1;
            for column in (0..font::COLUMNS).filter(is_inked) {
                let x = left + DOT * column;
                let y = at.1 + DOT * row;
                imageops::replace(picture, &dot, x.into(), y.into());
            }
        }
    }
}
