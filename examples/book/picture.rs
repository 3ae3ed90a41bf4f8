//! Grayscale pictures side by side in an SVG file. The pixels are drawn as paths, because some viewers do not show
//! images that are embedded in an SVG file.

use std::fmt::Write as _;

/// Number of gray levels, from white to black.
const GREYS: usize = 12;
const MARGIN: usize = 10;
const LINE: usize = 18;

/// A grayscale picture. Its pixels are in row-major order; 0 is white and 1 is black.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) ink: Vec<f32>,
    /// Lines of text below the picture.
    pub(crate) caption: Vec<String>,
}

impl Picture {
    /// Makes a picture of any numbers, with `width` numbers per row. The smallest number becomes white, the largest
    /// black.
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

    /// Makes a picture of an image of a data set, with `width` pixels per row. 255 becomes black.
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

    /// Draws the picture in a frame, with its caption below.
    fn draw(&self, svg: &mut String, [left, top]: [usize; 2], scale: usize) {
        let width = self.width;
        let height = self.height();
        let _ = write!(
            svg,
            "<g transform=\"translate({left} {top}) scale({scale})\" shape-rendering=\"crispEdges\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#BBBBBB\" stroke-width=\".2\"/>\n\
             {}</g>\n",
            self.paths()
        );
        for (line, text) in self.caption.iter().enumerate() {
            let below = top + height * scale + (line + 1) * LINE - 3;
            let _ = writeln!(svg, "<text x=\"{left}\" y=\"{below}\">{text}</text>");
        }
    }

    /// Returns the SVG paths of the picture, one path per gray level except white. Adjacent pixels of a row with the
    /// same level are drawn together, as one line of width 1 through the centers of the pixels.
    fn paths(&self) -> String {
        let mut paths = vec![String::new(); GREYS];
        for (y, row) in self.ink.chunks(self.width).enumerate() {
            let mut x = 0;
            for run in row.chunk_by(|a, b| grey(*a) == grey(*b)) {
                let path = &mut paths[grey(run[0])];
                let length = run.len();
                // Ignore the result, because writing to a `String` never fails.
                let _ = write!(path, "M{x} {y}h{length}");
                x += length;
            }
        }
        let mut svg = String::new();
        for (grey, path) in paths.iter().enumerate().skip(1) {
            if !path.is_empty() {
                let level = 255 - 255 * grey / (GREYS - 1);
                let _ = writeln!(
                    svg,
                    r##"<path stroke="#{level:02x}{level:02x}{level:02x}" transform="translate(0 .5)" d="{path}"/>"##
                );
            }
        }
        svg
    }
}

/// Returns the gray level for a pixel; level 0 is white.
fn grey(ink: f32) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to GREYS - 1"
    )]
    let grey = (ink.clamp(0.0, 1.0) * (GREYS - 1) as f32).round() as usize;
    grey
}

/// A title, and pictures of equal size below it.
#[derive(Debug)]
pub(crate) struct Section {
    title: String,
    pictures: Vec<Picture>,
}

impl Section {
    pub(crate) fn new(title: &str, pictures: Vec<Picture>) -> Self {
        let title = title.to_owned();
        Self { title, pictures }
    }

    /// Returns width and height of a picture's cell, including caption and margin.
    fn cell(&self, scale: usize) -> [usize; 2] {
        let most = |of: fn(&Picture) -> usize| self.pictures.iter().map(of).max().unwrap_or(0);
        let lines = most(|picture| picture.caption.len());
        [
            most(|picture| picture.width) * scale + MARGIN,
            most(Picture::height) * scale + MARGIN + lines * LINE,
        ]
    }
}

/// Draws the sections below each other. A section has `columns` pictures per row, and each pixel is `scale` units wide.
pub(crate) fn page(sections: &[Section], columns: usize, scale: usize) -> String {
    let mut body = String::new();
    let mut width = 0;
    let mut top = MARGIN;
    for section in sections {
        // The results of `writeln!` are ignored here, because writing to a `String` never fails.
        if !section.title.is_empty() {
            top += LINE;
            let _ = writeln!(
                body,
                "<text x=\"{MARGIN}\" y=\"{}\">{}</text>",
                top - 5,
                section.title
            );
        }
        let cell = section.cell(scale);
        for (index, picture) in section.pictures.iter().enumerate() {
            let left = MARGIN + index % columns * cell[0];
            picture.draw(&mut body, [left, top + index / columns * cell[1]], scale);
        }
        let pictures = section.pictures.len();
        width = width.max(MARGIN + columns.min(pictures) * cell[0]);
        top += pictures.div_ceil(columns) * cell[1];
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{top}\" viewBox=\"0 0 {width} {top}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"{width}\" height=\"{top}\" fill=\"#FFFFFF\"/>\n\
         {body}</svg>\n"
    )
}
