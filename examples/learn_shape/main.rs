//! A network learns a shape: it maps a position to the signed distance to the shape's surface, negative inside.
//!
//! ```text
//! cargo run --release --example learn_shape -- --mesh shape.obj --out pictures
//! ```
//!
//! Positions in a cube are encoded by a multiresolution hash grid (Müller et al., "Instant neural graphics primitives",
//! 2022, section 5.2). The cube's side is the unit of all distances. The network learns from points whose distance is
//! computed exactly. The program writes pictures of the shape learned so far as `step-….png`, and a picture of the
//! exact shape as `target.png`.
//!
//! Each line reports the mean loss, the mean error of distances near the surface, and the training samples per second.
//! The last line reports the errors at newly drawn points, and the agreement of the last picture with the exact
//! picture: the fraction of pixels that show the shape in both pictures or in neither.

mod distance;
#[path = "../common/graphics.rs"]
mod graphics;
mod mesh;
mod obj;
#[path = "../common/output.rs"]
mod output;
mod samples;
mod tracing;

use std::convert::Infallible;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use glam::Vec3;
use image::ImageFormat;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use wgrad::data::{Sampling, Table};
use wgrad::ops::{Adam, HashGrid, Huber, Linear, Optimizer as _, Relu, Schedule};
use wgrad::{Error, Init, Sequential, Train, files};

use distance::Surface;
use graphics::{DeviceChoice, take};
use mesh::Mesh;
use output::line;
use samples::{Places, Samples};
use tracing::{Camera, Picture};

/// Number of newly drawn points at which the error is measured.
const FRESH_SAMPLES: usize = 1 << 14;
/// Error at which the Huber loss changes from squares to absolute values, in sides of the cube. It is small, so the
/// loss is nearly proportional to the mean absolute error until the errors are of this size.
const DELTA: f32 = 1e-3;
/// Numbers of points per prediction. A prediction is padded to the smallest sufficient number. There are only three
/// numbers, because a device plans and stores buffers for each number of rows separately.
const ROWS: [usize; 3] = [1 << 10, 1 << 12, 1 << 14];

/// Learns a shape.
#[derive(Debug, Parser)]
struct Args {
    /// OBJ file of a closed surface; without it, the program makes a knot
    #[arg(long)]
    mesh: Option<PathBuf>,
    /// Width and height of the pictures
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: u32,
    /// Number of resolutions of the hash grid
    #[arg(long, default_value_t = 8)]
    levels: usize,
    /// Maximum number of entries per resolution of the hash grid, a power of two
    #[arg(long, default_value_t = 1 << 17)]
    table_size: usize,
    #[arg(long, default_value_t = 1_000)]
    steps: usize,
    /// Points to learn from: one in eight anywhere in the cube, the others near the surface
    #[arg(long, default_value_t = 1 << 20)]
    samples: usize,
    /// Points per minibatch [default: 262144 on a GPU, 16384 otherwise]
    #[arg(long)]
    batch: Option<usize>,
    /// Where to compute: on a GPU, or with the CPU engine [default: a GPU if there is one]
    #[arg(long, value_enum)]
    device: Option<DeviceChoice>,
    /// Directory for the pictures
    #[arg(long, default_value = "learned-shape")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    output::run(|| learn(&args))
}

fn learn(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mesh = mesh(args)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("cannot make the directory {}: {error}", args.out.display()))?;
    let surface = Surface::new(&mesh);
    let places = Places::new(&mesh);
    let camera = Camera::showing(mesh.vertices.iter().map(|vertex| vertex.as_vec3()));
    let target = draw_exact(&camera, args.size, &surface);
    save(args, &target, "target.png")?;

    let (mut trainer, batch) = trainer(args, &known(args, &surface, &places)?)?;
    let shown = Samples::new(&surface, places.near(FRESH_SAMPLES, &mut random(2)));
    let mut training = Duration::ZERO;
    for (before, taken) in reports(args.steps) {
        let start = Instant::now();
        let losses = pollster::block_on(take(&mut *trainer, taken - before))?;
        training += start.elapsed();
        let learned = draw_learned(&camera, args.size, &mut *trainer)?;
        save(args, &learned, &format!("step-{taken:05}.png"))?;
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        let error = mean_error(&mut *trainer, &shown)?;
        let samples = (taken * batch) as f64 / training.as_secs_f64();
        line(format!(
            "step {taken}: loss {loss:.2e}, error {error:.6} near the surface, {samples:.0} samples/s"
        ))?;
    }

    let near = Samples::new(&surface, places.near(FRESH_SAMPLES, &mut random(3)));
    let anywhere = Samples::new(&surface, Places::uniform(FRESH_SAMPLES, &mut random(4)));
    line(format!(
        "steps={} batch={batch} error_near={:.6} error_anywhere={:.6} agreement={:.4} training_s={:.2}",
        args.steps,
        mean_error(&mut *trainer, &near)?,
        mean_error(&mut *trainer, &anywhere)?,
        draw_learned(&camera, args.size, &mut *trainer)?.agreement(&target),
        training.as_secs_f64()
    ))?;
    Ok(())
}

fn mesh(args: &Args) -> Result<Mesh, String> {
    let Some(path) = &args.mesh else {
        return Mesh::knot();
    };
    let (positions, triangles) = obj::read(path)?;
    Mesh::new(&positions, &triangles).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// Draws the points that the network learns from, and computes their distances.
fn known(
    args: &Args,
    surface: &Surface,
    places: &Places<'_>,
) -> Result<Samples, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let known = Samples::new(surface, places.mixed(args.samples, &mut random(1)));
    let seconds = start.elapsed().as_secs_f64();
    let (places, triangles) = (args.samples, places.mesh.triangles.len());
    line(format!(
        "{triangles} triangles; {places} places with their distances in {seconds:.1} s"
    ))?;
    Ok(known)
}

/// Builds the trainer on the requested device. Returns it and its minibatch size.
fn trainer(
    args: &Args,
    known: &Samples,
) -> Result<(Box<dyn Train>, usize), Box<dyn std::error::Error>> {
    let (device, usual_batch) = graphics::open(args.device)?;
    let batch = args.batch.unwrap_or(usual_batch);
    let (places, distances) = known.rows();
    let table = Table::regression("places", places.view(), distances.view())?;
    let sampling = Sampling::WithReplacement { seed: 1 };
    let network = network(args);
    let loss = Huber::new(DELTA);
    let optimizer = optimizer(args);
    let trainer = device.trainer(&network, loss, optimizer, &table, batch, sampling)?;
    Ok((trainer, batch))
}

/// Returns the ranges of training steps between reports, as pairs of the number of steps before a range and the number
/// of steps at its end. A report comes after 1/64, 1/32, … 1/2 and all of the steps, because the shape appears early
/// and its detail late.
fn reports(steps: usize) -> Vec<(usize, usize)> {
    let mut ends: Vec<_> = (0..=6).rev().map(|halvings| steps >> halvings).collect();
    ends.retain(|&end| end > 0);
    ends.dedup();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends.iter().copied()).collect()
}

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Returns the network: the hash grid, followed by two hidden layers of 64 units.
fn network(args: &Args) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::HeNormal);
    let grid = HashGrid::new()
        .levels(args.levels)
        .table_size(args.table_size);
    Sequential::input(3)
        .layer(grid)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(64))
        .layer(Relu)
        .layer(linear(1))
        .seed(1)
}

/// Returns `Adam` with the settings of the hash grid paper. Lazy updates leave a table entry unchanged if no sample of
/// the minibatch used it.
fn optimizer(args: &Args) -> impl wgrad::ops::Optimizer + use<> {
    let adam = Adam::new(1e-2).betas(0.9, 0.99).epsilon(1e-15).lazy();
    adam.scheduled(Schedule::cosine(args.steps as u64 + 1))
}

fn save(args: &Args, picture: &Picture, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut png = Cursor::new(Vec::new());
    picture.image.write_to(&mut png, ImageFormat::Png)?;
    Ok(files::write(args.out.join(name), png.get_ref())?)
}

fn draw_exact(camera: &Camera, size: u32, surface: &Surface) -> Picture {
    let exact = |places: &[Vec3]| Ok::<_, Infallible>(surface.signed_distances(places));
    let Ok(picture) = tracing::draw(camera, size, exact);
    picture
}

fn draw_learned(camera: &Camera, size: u32, trainer: &mut dyn Train) -> Result<Picture, Error> {
    tracing::draw(camera, size, |places| predict(trainer, places))
}

/// Predicts the signed distances at points with the network.
fn predict(trainer: &mut dyn Train, places: &[Vec3]) -> Result<Vec<f32>, Error> {
    let most = ROWS[ROWS.len() - 1];
    let mut distances = Vec::with_capacity(places.len());
    for places in places.chunks(most) {
        let rows = ROWS.into_iter().find(|&rows| rows >= places.len());
        let mut filled = places.to_vec();
        filled.resize(rows.unwrap_or(most), Vec3::ZERO);
        let found = pollster::block_on(trainer.predict_async(samples::rows(&filled).view()))?;
        distances.extend(found.iter().take(places.len()));
    }
    Ok(distances)
}

/// Returns the mean absolute difference between predicted and exact distances.
fn mean_error(trainer: &mut dyn Train, samples: &Samples) -> Result<f64, Error> {
    let found = predict(trainer, &samples.places)?;
    let pairs = found.iter().zip(&samples.distances);
    let differences = pairs.map(|(a, b)| f64::from((a - b).abs()));
    Ok(differences.sum::<f64>() / found.len() as f64)
}
