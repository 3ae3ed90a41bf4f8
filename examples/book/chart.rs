//! Charts as SVG: panels side by side, each with a pair of axes and curves.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, LineSeries, PathElement, Polygon,
    RGBColor, SVGBackend, SeriesLabelPosition, Text, WHITE,
};

/// Colors of the curves. People with red-green color blindness can distinguish them.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(0, 140, 90),
    RGBColor(170, 90, 180),
    RGBColor(230, 150, 0),
];
const PALE: RGBColor = RGBColor(190, 190, 190);

/// Limit of a panel's width in pixels. Narrower panels have fewer axis labels, and the chart has the names of the
/// curves in a line of height [`HEAD`] above all panels instead of a legend.
const NARROW: u32 = 300;
const HEAD: u32 = 24;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One panel of a chart: a pair of axes and curves.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    title: String,
    /// Names of the x axis and the y axis. An axis with an empty name has no name.
    axes: [String; 2],
    ranges: [Range<f64>; 2],
    curves: Vec<Curve>,
    legend: SeriesLabelPosition,
}

#[derive(Debug, Clone)]
struct Curve {
    label: String,
    look: Look,
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Line,
    /// A line with a dot at each point.
    Dots,
    /// The filled area between the curve and the x axis.
    Area,
    /// A thin gray line that is not in the legend.
    Background,
}

impl Panel {
    /// Returns a panel without curves. `x` and `y` are the ranges of the axes.
    pub(crate) fn new(title: impl Into<String>, x: Range<f64>, y: Range<f64>) -> Self {
        Self {
            title: title.into(),
            axes: Default::default(),
            ranges: [x, y],
            curves: Vec::new(),
            legend: SeriesLabelPosition::UpperRight,
        }
    }

    /// Moves the legend to the lower right corner, where it does not cover rising curves.
    pub(crate) fn legend_below(mut self) -> Self {
        self.legend = SeriesLabelPosition::LowerRight;
        self
    }

    /// Sets the names of the axes.
    pub(crate) fn axes(mut self, x: &str, y: &str) -> Self {
        self.axes = [x.to_owned(), y.to_owned()];
        self
    }

    /// Adds a curve as a line.
    pub(crate) fn line(self, label: &str, points: Vec<(f64, f64)>) -> Self {
        self.curve(label, Look::Line, points)
    }

    /// Adds a curve with a dot at each point.
    pub(crate) fn dots(self, label: &str, points: Vec<(f64, f64)>) -> Self {
        self.curve(label, Look::Dots, points)
    }

    /// Adds a curve as a thin gray line that is not in the legend.
    pub(crate) fn background(self, points: Vec<(f64, f64)>) -> Self {
        self.curve("", Look::Background, points)
    }

    /// Adds a histogram. The bins have equal widths and cover the range of the x axis. Their heights are `counts`.
    pub(crate) fn histogram(self, counts: &[usize]) -> Self {
        let Range { start, end } = self.ranges[0].clone();
        let edge = |bin: usize| start + (end - start) * bin as f64 / counts.len() as f64;
        let steps = counts.iter().enumerate().flat_map(|(bin, &count)| {
            let height = count as f64;
            [(edge(bin), height), (edge(bin + 1), height)]
        });
        let points: Vec<_> = steps.collect();
        self.curve("", Look::Area, points)
    }

    fn curve(mut self, label: &str, look: Look, points: Vec<(f64, f64)>) -> Self {
        let label = label.to_owned();
        self.curves.push(Curve {
            label,
            look,
            points,
        });
        self
    }

    /// Returns the names of all curves that have a name.
    fn names(&self) -> Vec<&str> {
        let names = self.curves.iter().map(|curve| &*curve.label);
        names.filter(|name| !name.is_empty()).collect()
    }

    fn draw(&self, area: &Area<'_>, has_legend: bool) -> Result<(), Box<dyn Error>> {
        let is_narrow = area.dim_in_pixel().0 < NARROW;
        let [x, y] = self.ranges.clone();
        let [x_name, y_name] = &self.axes;
        let mut builder = ChartBuilder::on(area);
        builder.margin(8).margin_right(14);
        if !self.title.is_empty() {
            builder.caption(&self.title, ("sans-serif", 15));
        }
        let mut chart = builder
            .x_label_area_size(if x_name.is_empty() { 20 } else { 40 })
            .y_label_area_size(if y_name.is_empty() { 40 } else { 55 })
            .build_cartesian_2d(x, y)?;
        let labels = if is_narrow { 3 } else { 8 };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(labels)
            .y_labels(labels)
            .x_desc(x_name)
            .y_desc(y_name)
            .x_label_formatter(&|value| tick(*value))
            .y_label_formatter(&|value| tick(*value))
            .draw()?;
        let mut colours = COLOURS.iter().cycle();
        for curve in &self.curves {
            let points = curve.points.iter().copied();
            let colour = match curve.look {
                Look::Background => PALE,
                _ => *colours.next().unwrap_or(&PALE),
            };
            let series = match curve.look {
                Look::Line => chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?,
                Look::Dots => {
                    let line = LineSeries::new(points, colour.filled());
                    chart.draw_series(line.point_size(2))?
                }
                Look::Background => chart.draw_series(LineSeries::new(points, colour))?,
                Look::Area => {
                    let ends = [curve.points.first(), curve.points.last()];
                    let [first, last] = ends.map(|end| end.map(|&(x, _)| (x, 0.0)));
                    let outline = first.into_iter().chain(points).chain(last);
                    let area = Polygon::new(outline.collect::<Vec<_>>(), colour.filled());
                    chart.draw_series([area])?
                }
            };
            if !curve.label.is_empty() {
                let sample = move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
                };
                series.label(&curve.label).legend(sample);
            }
        }
        if has_legend {
            chart
                .configure_series_labels()
                .position(self.legend.clone())
                .background_style(WHITE.mix(0.8))
                .draw()?;
        }
        Ok(())
    }
}

/// Formats the number of an axis label, without trailing zeros.
fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

/// Draws the panels in rows of `columns` panels. Each panel is `size` pixels wide and high. The names of the curves are
/// the same in all panels, so only the first panel has a legend.
pub(crate) fn draw(
    panels: &[Panel],
    columns: usize,
    size: (u32, u32),
) -> Result<String, Box<dyn Error>> {
    let rows = panels.len().div_ceil(columns);
    let width = u32::try_from(columns)? * size.0;
    let height = u32::try_from(rows)? * size.1;
    let names: Vec<&str> = panels.first().map_or_else(Vec::new, Panel::names);
    let head = if names.is_empty() || size.0 >= NARROW {
        0
    } else {
        HEAD
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, head + height)).into_drawing_area();
        area.fill(&WHITE)?;
        let (above, below) = area.split_vertically(head);
        if head > 0 {
            write_names(&above, &names)?;
        }
        let areas = below.split_evenly((rows, columns));
        for (index, (area, panel)) in areas.iter().zip(panels).enumerate() {
            panel.draw(area, head == 0 && index == 0 && !names.is_empty())?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Writes the names of the curves in one line, each after a short line in the curve's color.
fn write_names(area: &Area<'_>, names: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut left = 50;
    for (name, colour) in names.iter().zip(COLOURS) {
        let sample = vec![(left, 12), (left + 16, 12)];
        area.draw(&PathElement::new(sample, colour.stroke_width(2)))?;
        area.draw(&Text::new(*name, (left + 22, 6), ("sans-serif", 13)))?;
        left += 40 + 8 * i32::try_from(name.len())?;
    }
    Ok(())
}

/// Returns at most about `most` of the points: every n-th point and the last one.
pub(crate) fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(most).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.iter().enumerate();
    let kept = kept.filter(|(index, _)| index % every == 0 || *index == last);
    kept.map(|(_, point)| *point).collect()
}
