//! Code shared by the peers in Rust: options, data, random numbers, timing of matrix products, and the output line.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Learning rate of SGD in jobs 1 and 2.
pub const RATE: f64 = 0.1;
/// Settings of Adam in job 4. As in PyTorch, epsilon is added to the root of the bias-corrected second moment.
pub const ADAM_RATE: f64 = 0.001;
pub const BETA: [f64; 2] = [0.9, 0.999];
pub const EPSILON: f64 = 1e-8;
/// Job 4: width and height of an image, width and height of a filter, number of filters, and width and height of a
/// feature map after convolution and pooling.
pub const SIDE: usize = 28;
pub const KERNEL: usize = 5;
pub const FILTERS: usize = 30;
pub const POOLED: usize = (SIDE - KERNEL + 1) / 2;
/// Steps between two readbacks of the loss.
pub const CHUNK: usize = 200;

pub struct Args {
    pub data: Option<PathBuf>,
    pub job: usize,
    pub steps: usize,
    pub shapes: Vec<String>,
    pub seed: u64,
    pub device: String,
    /// Whether the examples stay in host memory, for drivers that cannot hold all of them in device memory.
    pub host_rows: bool,
}

impl Args {
    /// Parses the command line. Also sets the number of threads, so it must be called first.
    pub fn parse(default_device: &str) -> Result<Self> {
        let mut args = Self {
            data: None,
            job: 1,
            steps: 10_000,
            shapes: Vec::new(),
            seed: 42,
            device: default_device.to_owned(),
            host_rows: false,
        };
        let mut words = std::env::args().skip(1).peekable();
        while let Some(word) = words.next() {
            if word == "--shapes" {
                while let Some(shape) = words.next_if(|next| !next.starts_with("--")) {
                    args.shapes.push(shape);
                }
                continue;
            }
            if word == "--host-rows" {
                args.host_rows = true;
                continue;
            }
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            match word.as_str() {
                "--data" => args.data = Some(value.into()),
                "--job" => args.job = value.parse()?,
                "--steps" => args.steps = value.parse()?,
                "--threads" => std::env::set_var("RAYON_NUM_THREADS", value),
                "--seed" => args.seed = value.parse()?,
                "--device" => args.device = value,
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        Ok(args)
    }

    pub fn load(&self) -> Result<[Data; 2]> {
        let data = self.data.as_ref().ok_or("--data is required")?;
        Ok([Data::load(data, "train")?, Data::load(data, "t10k")?])
    }

    pub fn is_convolutional(&self) -> bool {
        self.job == 4
    }

    pub fn batch(&self) -> usize {
        if self.job == 2 {
            1024
        } else {
            100
        }
    }

    pub fn warmup_steps(&self) -> usize {
        self.steps.min(if self.job == 1 { 100 } else { 5 })
    }

    /// Example indices of all minibatches, one minibatch after another, drawn uniformly with replacement.
    pub fn indices(&self, steps: usize, examples: usize) -> Vec<u32> {
        let mut rng = Rng(self.seed ^ 0x5eed);
        (0..steps * self.batch())
            .map(|_| rng.below(examples))
            .collect()
    }

    /// Rows, columns and initial weights, 0.01·N(0, 1), of each dense layer. Biases start as 0. In job 4, these layers
    /// follow the convolution, whose weights are `initial_filters`.
    pub fn initial(&self, inputs: usize) -> Vec<(usize, usize, Vec<f32>)> {
        let sizes = match self.job {
            1 => vec![inputs, 50, 10],
            2 => vec![inputs, 1024, 1024, 10],
            _ => vec![FILTERS * POOLED * POOLED, 100, 10],
        };
        let mut rng = Rng(self.seed);
        let layer = |pair: &[usize]| {
            let weights = (0..pair[0] * pair[1]).map(|_| 0.01 * rng.normal());
            (pair[0], pair[1], weights.collect())
        };
        sizes.windows(2).map(layer).collect()
    }

    /// Shape (filters, channels, rows, columns) and initial weights of the convolution. Its biases start as 0.
    pub fn initial_filters(&self) -> ([usize; 4], Vec<f32>) {
        let mut rng = Rng(self.seed ^ 0xf117);
        let weights = (0..FILTERS * KERNEL * KERNEL).map(|_| 0.01 * rng.normal());
        ([FILTERS, 1, KERNEL, KERNEL], weights.collect())
    }

    /// Prints the output line. `forward_s` is the time that only the forward passes of all steps take.
    pub fn report(
        &self,
        peer: &str,
        train_s: f64,
        warmup_s: f64,
        accuracy: f64,
        loss: f64,
        forward_s: Option<f64>,
    ) -> Result<()> {
        if !(loss < 10.0) {
            return Err(format!("{peer}: the loss is {loss}").into());
        }
        let forward = forward_s.map_or(String::new(), |seconds| format!(" forward_s={seconds:.4}"));
        println!(
            "peer={peer} job={} steps={} train_s={train_s:.4} warmup_s={warmup_s:.2} \
             steps_per_s={:.1} test_accuracy={accuracy:.4}{forward}",
            self.job,
            self.steps,
            self.steps as f64 / train_s
        );
        Ok(())
    }
}

pub struct Data {
    pub rows: usize,
    pub width: usize,
    /// Pixels of all rows, each from 0 to 1.
    pub x: Vec<f32>,
    pub labels: Vec<u8>,
}

impl Data {
    fn load(directory: &Path, part: &str) -> Result<Self> {
        let images = read(directory, &format!("{part}-images-idx3-ubyte"))?;
        let labels = read(directory, &format!("{part}-labels-idx1-ubyte"))?;
        let x = images[16..].iter().map(|&byte| f32::from(byte) / 255.0);
        let (x, labels): (Vec<_>, _) = (x.collect(), labels[8..].to_vec());
        Ok(Self {
            rows: labels.len(),
            width: x.len() / labels.len(),
            x,
            labels,
        })
    }

    /// Fraction of the rows whose predicted class is their label.
    pub fn accuracy(&self, predicted: impl Iterator<Item = usize>) -> f64 {
        let pairs = predicted.zip(&self.labels);
        let right = pairs.filter(|&(found, &label)| found == usize::from(label));
        right.count() as f64 / self.rows as f64
    }
}

fn read(directory: &Path, name: &str) -> Result<Vec<u8>> {
    let path = directory.join(name);
    let mut content = Vec::new();
    if path.exists() {
        File::open(path)?.read_to_end(&mut content)?;
    } else {
        let file = File::open(path.with_extension("gz"))?;
        flate2::read::GzDecoder::new(file).read_to_end(&mut content)?;
    }
    Ok(content)
}

/// A SplitMix64 generator: fast, and random enough for initial weights and minibatches.
pub struct Rng(pub u64);

impl Rng {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> u32 {
        (((self.bits() >> 32) * bound as u64) >> 32) as u32
    }

    /// A number from N(0, 1), by the method of Box and Muller.
    pub fn normal(&mut self) -> f32 {
        let mut uniform = || ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let radius = (-2.0 * uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * uniform();
        (radius * angle.cos()) as f32
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// Measures matrix products of each shape and prints their GFLOP/s, the median of seven samples. `make(m, k, n)`
/// returns a function that computes `count` products and waits for the last one. `count` is chosen so that a sample
/// takes at least 43 ms.
pub fn matmuls<F: FnMut(usize) -> Result<()>>(
    peer: &str,
    shapes: &[String],
    mut make: impl FnMut(usize, usize, usize) -> Result<F>,
) -> Result<()> {
    for shape in shapes {
        let sizes: Vec<usize> = shape
            .split('x')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        let [m, k, n] = sizes[..] else {
            return Err(format!("{shape} is not MxKxN").into());
        };
        let mut multiply = make(m, k, n)?;
        multiply(1)?;
        let mut seconds = |count| -> Result<f64> {
            let started = Instant::now();
            multiply(count)?;
            Ok(started.elapsed().as_secs_f64())
        };
        let mut count = 1;
        while seconds(count)? < 0.3 / 7.0 {
            count *= 2;
        }
        let mut samples = Vec::new();
        for _ in 0..7 {
            samples.push(seconds(count)? / count as f64);
        }
        samples.sort_by(f64::total_cmp);
        let gflops = 2e-9 * (m * k * n) as f64 / samples[3];
        println!("peer={peer} job=3 shape={shape} gflops={gflops:.1}");
    }
    Ok(())
}
