//! Grey pictures side by side, as paths of SVG: an image inside of an SVG file is not shown everywhere.

use std::fmt::Write as _;

/// Greys that are told apart, from white to black.
const GREYS: usize = 12;
const MARGIN: usize = 10;
const LINE: usize = 18;

/// A picture, row after row: 0 is white, 1 black.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) ink: Vec<f32>,
    /// Lines below it.
    pub(crate) caption: Vec<String>,
}

impl Picture {
    /// Numbers of any size, the smallest as white and the largest as black.
    pub(crate) fn of_numbers(width: usize, numbers: &[f32], caption: Vec<String>) -> Self {
        let least = numbers.iter().copied().fold(f32::INFINITY, f32::min);
        let most = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let span = (most - least).max(f32::MIN_POSITIVE);
        let ink = numbers.iter().map(|number| (number - least) / span);
        Self {
            width,
            ink: ink.collect(),
            caption,
        }
    }

    /// A digit of a data set.
    pub(crate) fn of_bytes(width: usize, bytes: &[u8], caption: Vec<String>) -> Self {
        let ink = bytes.iter().map(|&byte| f32::from(byte) / 255.0);
        Self {
            width,
            ink: ink.collect(),
            caption,
        }
    }

    fn height(&self) -> usize {
        self.ink.len().div_ceil(self.width)
    }

    /// A path for each grey: runs of pixels that have it, as rectangles one pixel high.
    fn paths(&self) -> String {
        let mut paths = vec![String::new(); GREYS];
        for (y, row) in self.ink.chunks(self.width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| grey(*a) == grey(*b)) {
                let (path, length) = (&mut paths[grey(run[0])], run.len());
                // Writing to a string cannot fail.
                let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
                x += length;
            }
        }
        let mut svg = String::new();
        for (grey, path) in paths.iter().enumerate().skip(1) {
            if !path.is_empty() {
                let level = 255 - 255 * grey / (GREYS - 1);
                let _ = writeln!(
                    svg,
                    r##"<path fill="#{0:02x}{0:02x}{0:02x}" d="{path}"/>"##,
                    level
                );
            }
        }
        svg
    }
}

/// 0 is white.
fn grey(ink: f32) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to GREYS - 1"
    )]
    let grey = (ink.clamp(0.0, 1.0) * (GREYS - 1) as f32).round() as usize;
    grey
}

/// Pictures of one size row after row, each pixel `scale` wide, with a frame around each.
pub(crate) fn grid(pictures: &[Picture], columns: usize, scale: usize) -> String {
    let width = pictures
        .iter()
        .map(|picture| picture.width)
        .max()
        .unwrap_or(1)
        * scale;
    let height = pictures.iter().map(Picture::height).max().unwrap_or(1) * scale;
    let lines = pictures.iter().map(|picture| picture.caption.len()).max();
    let cell = [width + MARGIN, height + MARGIN + lines.unwrap_or(0) * LINE];
    let rows = pictures.len().div_ceil(columns);
    let size = [MARGIN + columns * cell[0], MARGIN + rows * cell[1]];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"#FFFFFF\"/>\n",
        size[0], size[1]
    );
    for (index, picture) in pictures.iter().enumerate() {
        let left = MARGIN + index % columns * cell[0];
        let top = MARGIN + index / columns * cell[1];
        let (across, down) = (picture.width, picture.height());
        let _ = write!(
            svg,
            "<g transform=\"translate({left} {top}) scale({scale})\" shape-rendering=\"crispEdges\">\n\
             <rect width=\"{across}\" height=\"{down}\" fill=\"none\" stroke=\"#BBBBBB\" stroke-width=\".2\"/>\n\
             {}</g>\n",
            picture.paths()
        );
        for (line, text) in picture.caption.iter().enumerate() {
            let below = top + height + (line + 1) * LINE - 3;
            let _ = writeln!(svg, "<text x=\"{left}\" y=\"{below}\">{text}</text>");
        }
    }
    svg + "</svg>\n"
}
