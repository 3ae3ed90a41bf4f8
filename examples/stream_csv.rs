//! Trains on a CSV file of any size in bounded memory. Reads the file in blocks of lines, and shuffles the rows within
//! a window of fixed size.
//!
//! ```text
//! cargo run --release --example stream_csv -- --rows 10000000
//! ```
//!
//! If the file does not exist, the program first writes one with synthetic numbers. Each line has `--columns` features,
//! followed by the value to predict. With `--made`, the program trains on such rows without a file. The last line
//! reports losses, rows per second and, on Linux, the peak memory of the process.

#[path = "common/output.rs"]
mod output;

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use wgrad::data::{Stream, Table};
use wgrad::ndarray::ArrayView2;
use wgrad::ops::{Adam, Linear, MeanSquaredError, Relu};
use wgrad::random::threefry;
use wgrad::{Device, Sequential, Train};

use output::line;

/// Rows per block that is read or generated at a time.
const BLOCK: usize = 4_096;

/// Trains on a CSV file that need not fit in memory.
#[derive(Debug, Parser)]
struct Args {
    /// CSV file without a header; the last value of each line is the one to predict
    #[arg(long, default_value = "rows.csv")]
    csv: PathBuf,
    /// Rows to generate if the file does not exist
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Features per row
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    columns: u32,
    /// Generate the rows while training, without a file
    #[arg(long)]
    made: bool,
    /// Rows shuffled together
    #[arg(long, default_value_t = 65_536)]
    window: usize,
    #[arg(long, default_value_t = 256)]
    batch: usize,
    #[arg(long, value_enum, default_value_t = DeviceChoice::Cpu)]
    device: DeviceChoice,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceChoice {
    Cpu,
    Gpu,
}

fn main() -> ExitCode {
    let args = Args::parse();
    output::run(|| train(&args))
}

fn train(args: &Args) -> Result<(), Box<dyn Error>> {
    let columns = args.columns as usize;
    let blocks: Box<dyn Iterator<Item = Result<Table, Box<dyn Error + Send + Sync>>> + Send> =
        if args.made {
            Box::new(made_blocks(args.rows, columns))
        } else {
            if !args.csv.exists() {
                write_csv(&args.csv, args.rows, columns)?;
            }
            Box::new(Blocks::open(&args.csv, columns)?)
        };
    let stream = Stream::new(blocks, args.window, 1);
    let loss = MeanSquaredError;
    let optimizer = Adam::new(0.001);
    let network = Sequential::input(columns).layer(Linear::new(32));
    let network = network.layer(Relu).layer(Linear::new(1)).seed(1);
    let started = Instant::now();
    let device = match args.device {
        DeviceChoice::Cpu => Device::cpu("asked for with --device cpu"),
        DeviceChoice::Gpu => Device::shaders()?,
    };
    let mut trainer = device.streamed(&network, loss, optimizer, stream, args.batch)?;
    let losses = to_the_end(&mut *trainer)?;
    let seconds = started.elapsed().as_secs_f64();
    let rows = losses.steps * args.batch;
    let memory = peak_memory().map_or(String::new(), |mb| format!(" peak_mb={mb}"));
    line(format!(
        "rows={rows} rows_per_s={:.0} first_loss={:.6} last_loss={:.6}{memory}",
        rows as f64 / seconds,
        losses.first,
        losses.last
    ))?;
    Ok(())
}

/// The number of steps, and the mean loss over the first and over the last 500 steps or fewer.
struct Losses {
    steps: usize,
    first: f32,
    last: f32,
}

fn to_the_end(trainer: &mut dyn Train) -> Result<Losses, Box<dyn Error>> {
    let mut all: Option<Losses> = None;
    loop {
        let losses = trainer.steps(500)?;
        if losses.is_empty() {
            return all.ok_or_else(|| "there are not enough rows for a minibatch".into());
        }
        let last = losses.iter().sum::<f32>() / losses.len() as f32;
        let before = all.as_ref().map_or((0, last), |all| (all.steps, all.first));
        let steps = before.0 + losses.len();
        if steps / 5_000 > before.0 / 5_000 {
            line(format!("step {steps}, loss {last:.6}"))?;
        }
        all = Some(Losses {
            steps,
            first: before.1,
            last,
        });
    }
}

/// An iterator over the blocks of a CSV file. Each block is a [`Table`] of up to [`BLOCK`] rows.
struct Blocks {
    lines: BufReader<File>,
    columns: usize,
    path: PathBuf,
    number: usize,
    line: String,
}

impl Blocks {
    fn open(path: &Path, columns: usize) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| {
            format!(
                "cannot open {}: {error}; name a file with --csv",
                path.display()
            )
        })?;
        Ok(Self {
            lines: BufReader::with_capacity(1 << 16, file),
            columns,
            path: path.to_owned(),
            number: 0,
            line: String::new(),
        })
    }

    /// Reads up to [`BLOCK`] rows. Returns their numbers in row-major order, or an empty vector at the end of the file.
    fn read(&mut self) -> Result<Vec<f32>, String> {
        let wanted = self.columns + 1;
        let mut rows = Vec::with_capacity(BLOCK * wanted);
        while rows.len() < BLOCK * wanted {
            self.line.clear();
            let place = |number| format!("line {number} of {}", self.path.display());
            self.number += 1;
            match self.lines.read_line(&mut self.line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(format!("{}: {error}", place(self.number))),
            }
            let before = rows.len();
            for field in self.line.trim_end().split(',') {
                let value = field.trim().parse().map_err(|_| {
                    format!("{}: expected a number, found {field:?}", place(self.number))
                })?;
                rows.push(value);
            }
            let found = rows.len() - before;
            if found != wanted {
                return Err(format!(
                    "{}: expected {wanted} numbers, found {found}; --columns says how many are features",
                    place(self.number)
                ));
            }
        }
        Ok(rows)
    }
}

impl Iterator for Blocks {
    type Item = Result<Table, Box<dyn Error + Send + Sync>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some(table(&rows, self.columns)),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// Makes a table of rows in row-major order. The last number of a row is the value to predict, the others are features.
fn table(rows: &[f32], columns: usize) -> Result<Table, Box<dyn Error + Send + Sync>> {
    let rows = ArrayView2::from_shape((rows.len() / (columns + 1), columns + 1), rows)?;
    let (x, y) = rows.split_at(wgrad::ndarray::Axis(1), columns);
    Ok(Table::regression("rows", x, y)?)
}

/// Appends a synthetic row to `to`: features from −1 to 1, then the value to predict. The value is sin(2·x₀) + x₁/2,
/// where x₀ and x₁ are the first two features.
fn made_row(row: usize, columns: usize, to: &mut Vec<f32>) {
    let first = to.len();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "other rows than 2³² before are not missed"
    )]
    let [row, count] = [row, columns].map(|number| number as u32);
    for column in (0..count).step_by(2) {
        let bits = threefry([1, 2], [row, column]).map(|bits| bits >> 8);
        to.extend(bits.map(|bits| bits as f32 / 8_388_608.0 - 1.0));
    }
    to.truncate(first + columns);
    let second = to.get(first + 1).map_or(0.0, |second| 0.5 * second);
    to.push((2.0 * to[first]).sin() + second);
}

fn made_blocks(
    rows: usize,
    columns: usize,
) -> impl Iterator<Item = Result<Table, Box<dyn Error + Send + Sync>>> + Send {
    (0..rows).step_by(BLOCK).map(move |first| {
        let mut block = Vec::with_capacity(BLOCK * (columns + 1));
        for row in first..rows.min(first + BLOCK) {
            made_row(row, columns, &mut block);
        }
        table(&block, columns)
    })
}

fn write_csv(path: &Path, rows: usize, columns: usize) -> Result<(), String> {
    let failed = |error| {
        format!(
            "cannot write {}: {error}; name a file with --csv",
            path.display()
        )
    };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut row = Vec::new();
    for number in 0..rows {
        row.clear();
        made_row(number, columns, &mut row);
        for (column, value) in row.iter().enumerate() {
            let end = if column == columns { '\n' } else { ',' };
            write!(file, "{value:.6}{end}").map_err(failed)?;
        }
    }
    file.flush().map_err(failed)
}

/// Returns the peak memory of the process in MB. Returns `None` on systems without Linux's `/proc`.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1_024 / 1_000_000)
}
