//! A network learns an image: it maps coordinates to colors. This is the classic demonstration of neural graphics.
//!
//! ```text
//! cargo run --release --example learn_image -- --image photo.jpg --out pictures
//! ```
//!
//! Coordinates are encoded by a multiresolution hash grid (Müller et al., "Instant neural graphics primitives", 2022),
//! or with `--encoding frequency` by sines and cosines (Mildenhall et al., "`NeRF`", 2020). Without an encoding, a
//! small network learns only smooth shapes.
//!
//! After each eighth of the steps, the program writes the picture learned so far as `step-….png` and prints a line: the
//! mean loss, the peak signal-to-noise ratio (PSNR) of the whole picture in dB, and the training samples per second.
//! The last line describes the final picture.

#[path = "common/graphics.rs"]
mod graphics;
#[path = "common/output.rs"]
mod output;

use std::io::Cursor;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use image::{ImageFormat, Rgb, RgbImage};
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{
    Adam, Frequency, HashGrid, Linear, MeanSquaredError, Optimizer as _, Relu, Schedule, Sigmoid,
};
use wgrad::{Error, Init, Sequential, Train, files};

use graphics::{DeviceChoice, take};
use output::line;

/// Maximum number of pixels per prediction.
const ROWS: usize = 1 << 16;

/// Learns an image.
#[derive(Debug, Parser)]
struct Args {
    /// PNG or JPEG file to learn; without it, the program paints a picture
    #[arg(long)]
    image: Option<PathBuf>,
    /// Width and height of the painted picture
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: u32,
    /// How coordinates are encoded
    #[arg(long, value_enum, default_value_t = Encoding::HashGrid)]
    encoding: Encoding,
    /// Number of resolutions of the hash grid
    #[arg(long, default_value_t = 16)]
    levels: usize,
    /// Maximum number of entries per resolution of the hash grid, a power of two
    #[arg(long, default_value_t = 1 << 15)]
    table_size: usize,
    #[arg(long, default_value_t = 1_000)]
    steps: usize,
    /// Pixels per minibatch, at most all pixels of the picture [default: 262144 on a GPU, 16384 otherwise]
    #[arg(long)]
    batch: Option<usize>,
    /// Where to compute: on a GPU, or with the CPU engine [default: a GPU if there is one]
    #[arg(long, value_enum)]
    device: Option<DeviceChoice>,
    /// Directory for the pictures
    #[arg(long, default_value = "learned")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Encoding {
    HashGrid,
    Frequency,
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
    let (device, usual_batch) = graphics::open(args.device)?;
    let x = places(&target);
    let colours = colours(&target);
    let pixels = Table::regression("pixels", x.view(), colours.view())?;
    let batch = args.batch.unwrap_or(usual_batch);
    let batch = batch.min(pixels.len());
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = device.trainer(
        &network(args),
        MeanSquaredError,
        optimizer(args),
        &pixels,
        batch,
        sampling,
    )?;
    let mut taken = 0;
    let mut training = Duration::ZERO;
    while taken < args.steps {
        let steps = (args.steps / 8).max(1).min(args.steps - taken);
        let start = Instant::now();
        let losses = pollster::block_on(take(&mut *trainer, steps))?;
        training += start.elapsed();
        taken += steps;
        let learned = predict(&mut *trainer, &x, &target)?;
        save(args, &learned, &format!("step-{taken:05}.png"))?;
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        let psnr = decibels(&learned, &target);
        let samples = (taken * batch) as f64 / training.as_secs_f64();
        line(format!(
            "step {taken}: loss {loss:.6}, {psnr:.2} dB, {samples:.0} samples/s"
        ))?;
    }
    let learned = predict(&mut *trainer, &x, &target)?;
    let psnr = decibels(&learned, &target);
    let seconds = training.as_secs_f64();
    line(format!(
        "steps={taken} batch={batch} psnr_db={psnr:.2} training_s={seconds:.2}"
    ))?;
    Ok(())
}

/// Returns the network: the encoding, followed by two hidden layers of 64 units.
fn network(args: &Args) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::HeNormal);
    let place = Sequential::input(2);
    let encoded = match args.encoding {
        Encoding::HashGrid => {
            let grid = HashGrid::new()
                .levels(args.levels)
                .table_size(args.table_size);
            place.layer(grid)
        }
        Encoding::Frequency => place.layer(Frequency::new(10)),
    };
    encoded
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(3))
        .layer(Sigmoid)
        .seed(1)
}

/// Returns `Adam` with the settings of the hash grid paper. Lazy updates leave a table entry unchanged if no sample of
/// the minibatch used it.
fn optimizer(args: &Args) -> impl wgrad::ops::Optimizer + use<> {
    let rate = match args.encoding {
        Encoding::HashGrid => 1e-2,
        Encoding::Frequency => 5e-3,
    };
    let adam = Adam::new(rate).betas(0.9, 0.99).epsilon(1e-15).lazy();
    adam.scheduled(Schedule::cosine(args.steps as u64 + 1))
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

/// Returns the coordinates of every pixel's center, shape (pixels, 2), from 0 to 1.
fn places(image: &RgbImage) -> Array2<f32> {
    let (width, height) = image.dimensions();
    let places = image.enumerate_pixels().flat_map(|(x, y, _)| {
        [(x, width), (y, height)].map(|(at, size)| (at as f32 + 0.5) / size as f32)
    });
    let mut rows = Array2::zeros(((width * height) as usize, 2));
    rows.iter_mut()
        .zip(places)
        .for_each(|(to, place)| *to = place);
    rows
}

/// Returns red, green and blue of every pixel, shape (pixels, 3), from 0 to 1.
fn colours(image: &RgbImage) -> Array2<f32> {
    let pixels = (image.width() * image.height()) as usize;
    let bytes = image.as_raw();
    Array2::from_shape_fn((pixels, 3), |(pixel, c)| {
        f32::from(bytes[3 * pixel + c]) / 255.0
    })
}

fn predict(trainer: &mut dyn Train, x: &Array2<f32>, like: &RgbImage) -> Result<RgbImage, Error> {
    let mut bytes = Vec::with_capacity(like.as_raw().len());
    for first in (0..x.nrows()).step_by(ROWS) {
        let rows = x.slice(s![first..(first + ROWS).min(x.nrows()), ..]);
        let colours = pollster::block_on(trainer.predict_async(rows))?;
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

/// Returns the peak signal-to-noise ratio in dB: 10·log₁₀(255² / mean squared error).
fn decibels(image: &RgbImage, target: &RgbImage) -> f64 {
    let pairs = image.as_raw().iter().zip(target.as_raw());
    let squares = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    let mean = squares.sum::<f64>() / target.as_raw().len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

/// Returns the color at a position in a picture of a sun over hazy hills. Like a photograph, the picture has smooth
/// gradients, hard edges, and detail at every scale.
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
        let cloud = (0.5 * detail([x, 3.0 * y])).max(0.0);
        colour = [
            colour[0] + glow * (1.0 - colour[0]) + 0.3 * cloud,
            colour[1] + 0.5 * glow * (1.0 - colour[1]) + 0.5 * cloud,
            colour[2] + 0.6 * cloud,
        ];
    }
    for (layer, height) in [0.55f32, 0.68, 0.82].into_iter().enumerate() {
        let depth = layer as f32;
        let ridge = 0.03 * detail([x + 0.37 * depth, 0.5 * depth]);
        if y > hill(height, 7.0 + 4.0 * depth, 1.3 + 2.1 * depth) + ridge {
            let grain = 0.25 * detail([x + depth, (1.0 + depth) * y]);
            let shade = 0.42 - 0.1 * depth + grain;
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

/// Noise of eight octaves, about −1 to 1. Each octave has half the amplitude of the previous octave. In photographs,
/// the amplitude falls with the frequency in the same way (Field, "Relations between the statistics of natural images",
/// 1987).
fn detail([x, y]: [f32; 2]) -> f32 {
    let octaves = (0..8u32).map(|octave| {
        let frequency = (4 << octave) as f32;
        noise([x, y].map(|at| at * frequency), octave) * 2.0 / (1 << octave) as f32
    });
    octaves.sum()
}

/// Noise with one random number per lattice point, −0.5 to 0.5, interpolated smoothly.
fn noise(at: [f32; 2], seed: u32) -> f32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "places in the picture are below some thousand, and not negative"
    )]
    let [i, j] = at.map(|at| at as u32);
    let [u, v] = at.map(|at| at.fract() * at.fract() * (3.0 - 2.0 * at.fract()));
    let corner = |i: u32, j: u32| {
        let mut bits = i.wrapping_mul(0x9e37_79b1) ^ j.wrapping_mul(0x85eb_ca77) ^ seed;
        for _ in 0..2 {
            bits = (bits ^ (bits >> 15)).wrapping_mul(0x2c1b_3c6d);
        }
        (bits >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let row = |j| corner(i, j) + u * (corner(i + 1, j) - corner(i, j));
    row(j) + v * (row(j + 1) - row(j))
}
