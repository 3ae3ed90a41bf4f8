//! Draws the filters of the first layer of chapter 7's network before and after training, and their outputs for a
//! digit.

use std::error::Error;

use wgrad::SimpleConvNet;
use wgrad::data::mnist;
use wgrad::ndarray::{Array2, ArrayD, Axis};

use crate::common::{DataArgs, line};
use crate::conv::{self, WeightsArgs};
use crate::lab::{Lab, LabArgs};
use crate::picture::{Picture, Section, page};
use crate::train_convnet;

/// Name of the first layer's weight, whose shape is (filters, 1, rows, columns).
const WEIGHT: &str = "layers.0.weight";
/// Number of filters that are applied to the test image.
const APPLIED: usize = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct VisualizeArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    weights: WeightsArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    weights: WeightsArgs,
    /// Index of the test image to which the filters are applied
    #[arg(long, default_value_t = 0)]
    image: usize,
}

/// Draws the filters as the seed initializes them, and the trained filters.
pub(crate) fn visualize(args: &VisualizeArgs) -> Result<(), Box<dyn Error>> {
    let weights = args.weights.path(train_convnet::NAME)?;
    let lab = Lab::open(&args.lab, "visualize-filter")?;
    let network = SimpleConvNet::default().spec().seed(lab.seed);
    let before = network.on_cpu()?.parameter(WEIGHT)?;
    let after = conv::trained(&lab.device, &network, &weights)?.parameter(WEIGHT)?;
    let roughness = [&before, &after].map(roughness);
    let sections = [("before training", &before), ("after training", &after)];
    let sections = sections.map(|(title, filters)| Section::new(title, pictures(filters)));
    lab.save(&page(&sections, 10, 10))?;
    line(format!(
        "neighbouring weights of a filter differ by {:.2} standard deviations before training, by {:.2} after it",
        roughness[0], roughness[1]
    ))?;
    line(format!(
        "before={:.4} after={:.4}",
        roughness[0], roughness[1]
    ))?;
    Ok(())
}

/// Draws a digit, and the output of each of the first filters for this digit.
pub(crate) fn apply(args: &ApplyArgs) -> Result<(), Box<dyn Error>> {
    let weights = args.weights.path(train_convnet::NAME)?;
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "apply-filter")?;
    let image = args.image.min(data.test.len() - 1);
    let bytes = data.test.row(image);
    let x = Array2::from_shape_fn((1, bytes.len()), |(_, at)| f32::from(bytes[at]) / 255.0);
    let network = SimpleConvNet::default().spec();
    let parameters = conv::trained(&lab.device, &network, &weights)?.parameters()?;
    // Compute the outputs of all layers for this image. Only the convolution's output is drawn.
    let values = match lab.device.gpu() {
        Some(gpu) => {
            let mut model = network.build(gpu)?;
            model.set_parameters(&parameters)?;
            model.activations(x.view())?
        }
        None => {
            let mut on_cpu = network.on_cpu()?;
            on_cpu.set_parameters(&parameters)?;
            on_cpu.activations(x.view())?
        }
    };
    let convolved = values.iter().find(|value| value.name == "layers.0");
    let convolved = convolved.ok_or("the network has no first layer")?;
    let [_, height, width] = convolved.shape.extents() else {
        return Err("the first layer gives no images".into());
    };
    let given: Vec<f32> = convolved.values.iter().copied().collect();
    let maps = given.chunks(height * width).take(APPLIED);
    let maps = maps.map(|map| Picture::of_numbers(*width, map, Vec::new()));
    let digit = Picture::of_bytes(mnist::COLUMNS, bytes, Vec::new());
    let sections = [
        Section::new("a test image", vec![digit]),
        Section::new("by each of the first 16 filters", maps.collect()),
    ];
    lab.save(&page(&sections, 8, 3))?;
    line(format!(
        "image={image} filters={APPLIED} height={height} width={width}"
    ))?;
    Ok(())
}

fn pictures(filters: &ArrayD<f32>) -> Vec<Picture> {
    let picture = |filter: wgrad::ndarray::ArrayViewD<'_, f32>| {
        let width = filter.shape().last().copied().unwrap_or(1);
        let numbers: Vec<f32> = filter.iter().copied().collect();
        Picture::of_numbers(width, &numbers, Vec::new())
    };
    filters.axis_iter(Axis(0)).map(picture).collect()
}

/// Measures how rough the filters are: the root mean square difference of horizontally adjacent weights, divided by the
/// standard deviation of all weights. The result is about √2 for independent weights, and smaller for smooth filters.
fn roughness(filters: &ArrayD<f32>) -> f64 {
    let columns = Axis(filters.ndim() - 1);
    let width = filters.len_of(columns);
    let left = filters.slice_axis(columns, (0..width - 1).into());
    let right = filters.slice_axis(columns, (1..width).into());
    let differences = left
        .iter()
        .zip(&right)
        .map(|(a, b)| f64::from(a - b).powi(2));
    let mean = differences.sum::<f64>() / left.len() as f64;
    (mean / filters.mapv(f64::from).var(0.0)).sqrt()
}
