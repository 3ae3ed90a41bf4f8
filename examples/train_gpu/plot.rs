use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::{
    BLUE, ChartBuilder, Color as _, IntoDrawingArea as _, LineSeries, PathElement, RED, RGBColor,
    SVGBackend, SeriesLabelPosition, WHITE,
};

use crate::common::Failure;
use crate::log::Record;
use crate::outputs::Output;

const SIZE: (u32, u32) = (900, 500);
const LOSS: RGBColor = RED;
const ACCURACY: RGBColor = BLUE;

/// A plot of all evaluations.
#[derive(Debug)]
pub(crate) struct Plot {
    output: Output,
    /// Step, training loss and test accuracy of each evaluation.
    points: Vec<(f64, f64, f64)>,
}

impl Plot {
    /// Checks that the file can be written, but does not change it before [`draw`](Self::draw).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            output: Output::new(path, "plot", "--plot")?,
            points: Vec::new(),
        })
    }

    /// Adds the result of an evaluation to the plot.
    pub(crate) fn add(&mut self, record: &Record) {
        let loss = record.train.loss;
        // Leave out an evaluation whose loss is not finite, because it cannot be plotted.
        if let Some(accuracy) = record.test.accuracy.filter(|_| loss.is_finite()) {
            self.points.push((record.step as f64, loss, accuracy));
        }
    }

    /// Draws the plot and writes the file.
    pub(crate) fn draw(&mut self) -> Result<(), Failure> {
        let svg = svg(&self.points).map_err(|error| {
            Failure::Message(format!("cannot draw the plot: {error}; leave out --plot"))
        })?;
        self.output.write(svg.into_bytes())
    }
}

fn svg(points: &[(f64, f64, f64)]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    draw(points, SVGBackend::with_string(&mut svg, SIZE))?;
    Ok(svg)
}

fn draw(points: &[(f64, f64, f64)], onto: SVGBackend<'_>) -> Result<(), Box<dyn Error>> {
    let area = onto.into_drawing_area();
    area.fill(&WHITE)?;
    let (steps, losses) = ranges(points);
    let mut chart = ChartBuilder::on(&area)
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .right_y_label_area_size(60)
        .build_cartesian_2d(steps.clone(), losses)?
        .set_secondary_coord(steps, 0.0..1.0);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("step")
        .y_desc("training loss")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .draw()?;
    chart
        .configure_secondary_axes()
        .y_desc("test accuracy")
        .draw()?;
    let loss = points.iter().map(|&(step, loss, _)| (step, loss));
    chart
        .draw_series(line(loss, LOSS))?
        .label("training loss")
        .legend(|at| sample(at, LOSS));
    let accuracy = points.iter().map(|&(step, _, accuracy)| (step, accuracy));
    chart
        .draw_secondary_series(line(accuracy, ACCURACY))?
        .label("test accuracy")
        .legend(|at| sample(at, ACCURACY));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE)
        .draw()?;
    Ok(area.present()?)
}

/// A curve with a dot at each point, so that even a single point is visible.
fn line<'a>(
    points: impl Iterator<Item = (f64, f64)>,
    color: RGBColor,
) -> LineSeries<SVGBackend<'a>, (f64, f64)> {
    LineSeries::new(points, color.stroke_width(2)).point_size(2)
}

/// The short line that stands for a curve in the legend.
fn sample((x, y): (i32, i32), color: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 20, y)], color.stroke_width(2))
}

/// Returns the ranges of the axes of steps and of losses. The ranges are never empty, even for a single point.
fn ranges(points: &[(f64, f64, f64)]) -> (Range<f64>, Range<f64>) {
    let first = points.first().map_or(0.0, |point| point.0);
    let last = points.last().map_or(0.0, |point| point.0);
    let highest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    (
        first..last.max(first + 1.0),
        0.0..(1.05 * highest).max(1e-6),
    )
}
