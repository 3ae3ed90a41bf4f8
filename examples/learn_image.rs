//! A network learns an image: coordinates in, colour out, the classic demonstration of neural graphics.
//!
//! ```text
//! cargo run --release --example learn_image -- --out pictures
//! ```
//!
//! Coordinates are encoded by sines and cosines of rising frequency (Mildenhall et al., "`NeRF`", 2020),
//! without which a small network sees smooth shapes only. The picture as it sharpens is written as
//! `step-….png`; the last line says the peak signal-to-noise ratio of the last one, in dB.

#[path = "common/output.rs"]
mod output;

use std::f32::consts::PI;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use image::{ImageFormat, Rgb, RgbImage};
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{Adam, Linear, MeanSquaredError, Optimizer as _, Relu, Schedule, Sigmoid};
use wgrad::{Error, Gpu, Init, Model, Sequential, Trainer, files};

use output::line;

/// Octaves of the encoding.
const OCTAVES: usize = 7;
/// The coordinate itself, and a sine and a cosine of each octave.
const INPUTS: usize = 2 * (1 + 2 * OCTAVES);
/// Rows predicted at a time.
const ROWS: usize = 16_384;

/// Learns an image.
#[derive(Debug, Parser)]
struct Args {
    /// A PNG file; by default a picture that the program paints
    #[arg(long)]
    image: Option<PathBuf>,
    /// Width and height of the painted picture
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: u32,
    #[arg(long, default_value_t = 2_000)]
    steps: usize,
    /// Pixels in a minibatch, of a smaller picture all of them
    #[arg(long, default_value_t = 4_096)]
    batch: usize,
    /// Directory for the pictures
    #[arg(long, default_value = "learned")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    output::run(|| learn(&args))
}

fn learn(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let target = match &args.image {
        Some(path) => image::open(path)
            .map_err(|error| format!("cannot read the picture {}: {error}", path.display()))?
            .to_rgb8(),
        None => RgbImage::from_fn(args.size, args.size, |x, y| {
            paint([x, y].map(|at| at as f32 / args.size as f32))
        }),
    };
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("cannot make the directory {}: {error}", args.out.display()))?;
    save(args, &target, "target.png")?;
    let gpu = Gpu::new()?;
    line(format!("on {}", gpu.description()))?;
    let (x, colours) = (encoded(&target), colours(&target));
    let pixels = Table::regression("pixels", x.view(), colours.view())?;
    let sampling = Sampling::WithReplacement { seed: 1 };
    let schedule = Schedule::cosine(args.steps as u64 + 1);
    let optimizer = Adam::new(5e-3).scheduled(schedule);
    let (model, loss) = (network().build(&gpu)?, MeanSquaredError);
    let batch = args.batch.min(pixels.len());
    let mut trainer = Trainer::new(model, loss, optimizer, &pixels, batch, sampling)?;
    let mut taken = 0;
    while taken < args.steps {
        let steps = (args.steps / 8).max(1).min(args.steps - taken);
        let losses = trainer.steps(steps)?;
        taken += steps;
        let learned = predict(trainer.model(), &x, &target)?;
        save(args, &learned, &format!("step-{taken:05}.png"))?;
        let loss = losses.iter().sum::<f32>() / steps as f32;
        let psnr = decibels(&learned, &target);
        line(format!("step {taken}: loss {loss:.5}, {psnr:.2} dB"))?;
    }
    let learned = predict(trainer.model(), &x, &target)?;
    let psnr = decibels(&learned, &target);
    line(format!("steps={taken} psnr_db={psnr:.2}"))?;
    Ok(())
}

fn save(args: &Args, picture: &RgbImage, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let path = args.out.join(name);
    if args
        .image
        .as_ref()
        .is_some_and(|image| files::are_same(image, &path))
    {
        let path = path.display();
        return Err(
            format!("{path} is the picture to learn: name another directory with --out").into(),
        );
    }
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(files::write(path, png.get_ref())?)
}

fn network() -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::HeNormal);
    Sequential::input(INPUTS)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(3))
        .layer(Sigmoid)
        .seed(1)
}

/// A row for every pixel.
fn encoded(image: &RgbImage) -> Array2<f32> {
    let (width, height) = image.dimensions();
    let mut rows = Array2::zeros(((width * height) as usize, INPUTS));
    for (row, (x, y, _)) in rows.outer_iter_mut().zip(image.enumerate_pixels()) {
        let at =
            [(x, width), (y, height)].map(|(at, size)| (at as f32 + 0.5) / size as f32 * 2.0 - 1.0);
        let waves = at.into_iter().flat_map(|at| {
            let octave = move |k: usize| {
                let angle = PI * at * (1u32 << k) as f32;
                [angle.sin(), angle.cos()]
            };
            std::iter::once(at).chain((0..OCTAVES).flat_map(octave))
        });
        for (to, value) in row.into_iter().zip(waves) {
            *to = value;
        }
    }
    rows
}

/// Red, green and blue of every pixel, 0 to 1.
fn colours(image: &RgbImage) -> Array2<f32> {
    let pixels = (image.width() * image.height()) as usize;
    let bytes = image.as_raw();
    Array2::from_shape_fn((pixels, 3), |(pixel, c)| {
        f32::from(bytes[3 * pixel + c]) / 255.0
    })
}

fn predict(model: &Model, x: &Array2<f32>, like: &RgbImage) -> Result<RgbImage, Error> {
    let mut bytes = Vec::with_capacity(like.as_raw().len());
    for first in (0..x.nrows()).step_by(ROWS) {
        let rows = x.slice(s![first..(first + ROWS).min(x.nrows()), ..]);
        let colours = model.predict(rows)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 255"
        )]
        bytes.extend(colours.iter().map(|c| (c * 255.0).round() as u8));
    }
    Ok(RgbImage::from_fn(like.width(), like.height(), |x, y| {
        let at = 3 * (y * like.width() + x) as usize;
        Rgb([bytes[at], bytes[at + 1], bytes[at + 2]])
    }))
}

/// Peak signal-to-noise ratio, 10·log₁₀(255² / mean squared error).
fn decibels(image: &RgbImage, target: &RgbImage) -> f64 {
    let pairs = image.as_raw().iter().zip(target.as_raw());
    let squares = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    let mean = squares.sum::<f64>() / target.as_raw().len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// A sun over hills, with haze and ripples: smooth slopes, hard edges and fine detail.
fn paint([x, y]: [f32; 2]) -> Rgb<u8> {
    let hill = |height: f32, frequency: f32, phase: f32| {
        height
            + 0.06 * (frequency * x + phase).sin()
            + 0.02 * (3.7 * frequency * x + 2.0 * phase).sin()
    };
    let sun = ((x - 0.68).powi(2) + (y - 0.3).powi(2)).sqrt();
    let mut colour = [0.95 - 0.5 * y, 0.55 + 0.25 * y, 0.45 + 0.4 * y * y];
    if sun < 0.13 {
        colour = [1.0, 0.9 - 1.5 * sun, 0.5 - 2.0 * sun];
    } else {
        let glow = (-9.0 * (sun - 0.13)).exp() * 0.5;
        colour = [
            colour[0] + glow * (1.0 - colour[0]),
            colour[1] + 0.5 * glow * (1.0 - colour[1]),
            colour[2],
        ];
    }
    for (layer, height) in [0.55f32, 0.68, 0.82].into_iter().enumerate() {
        let depth = layer as f32;
        if y > hill(height, 7.0 + 4.0 * depth, 1.3 + 2.1 * depth) {
            let grain = 0.04 * (60.0 * x + 8.0 * (9.0 * y).sin()).sin() * (45.0 * y).cos();
            let shade = 0.42 - 0.12 * depth + grain;
            colour = [
                shade * 0.9,
                shade * (0.9 + 0.15 * depth),
                shade * (1.25 - 0.25 * depth),
            ];
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    Rgb(colour.map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8))
}
