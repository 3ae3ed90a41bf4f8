//! A drawing, prepared as the images of MNIST were.

use wasm_bindgen::prelude::*;

/// Side of an image.
const SIDE: usize = 28;
/// Side of the box into which a digit is scaled.
const BOX: usize = 20;

/// The image of a drawing as MNIST has it: scaled to fit into 20×20 pixels with its proportions,
/// antialiased, and put into 28×28 pixels so that its centre of mass is in the middle (LeCun, Cortes and
/// Burges, "The MNIST database of handwritten digits"). `ink` is `width` pixels a row, 0 to 255. Nothing
/// where there is no ink.
#[wasm_bindgen(js_name = asMnist)]
#[must_use]
pub fn as_mnist(ink: &[u8], width: usize) -> Option<Vec<u8>> {
    let bounds = Bounds::of(ink, width)?;
    let [columns, rows] = bounds.scaled();
    let scaled = scale(ink, width, &bounds, [columns, rows]);
    let [left, top] = offset(&scaled, [columns, rows]);
    let mut image = vec![0; SIDE * SIDE];
    for (y, row) in scaled.chunks_exact(columns).enumerate() {
        let start = (top + y) * SIDE + left;
        image[start..start + columns].copy_from_slice(row);
    }
    Some(image)
}

/// The smallest rectangle around all ink: columns `x`, rows `y`.
struct Bounds {
    x: [usize; 2],
    y: [usize; 2],
}

impl Bounds {
    fn of(ink: &[u8], width: usize) -> Option<Self> {
        let rows = ink.chunks_exact(width.max(1));
        let inked = rows.enumerate().filter_map(|(y, row)| {
            let first = row.iter().position(|&ink| ink > 0)?;
            let last = row.iter().rposition(|&ink| ink > 0)?;
            Some(Self {
                x: [first, last + 1],
                y: [y, y + 1],
            })
        });
        inked.reduce(|all, row| Self {
            x: [all.x[0].min(row.x[0]), all.x[1].max(row.x[1])],
            y: [all.y[0], row.y[1]],
        })
    }

    /// Columns and rows of it when the longer side is [`BOX`].
    fn scaled(&self) -> [usize; 2] {
        let [width, height] = [self.x[1] - self.x[0], self.y[1] - self.y[0]];
        let longer = width.max(height);
        // To the nearest whole number.
        [width, height].map(|side| ((2 * side * BOX + longer) / (2 * longer)).max(1))
    }
}

/// Each pixel is the mean of the ink that it covers.
fn scale(ink: &[u8], width: usize, bounds: &Bounds, [columns, rows]: [usize; 2]) -> Vec<u8> {
    let xs = overlaps(bounds.x, columns);
    let ys = overlaps(bounds.y, rows);
    let mut scaled = Vec::with_capacity(columns * rows);
    for y in &ys {
        for x in &xs {
            let (mut sum, mut area) = (0.0, 0.0);
            for &(row, height) in y {
                for &(column, width_covered) in x {
                    let part = height * width_covered;
                    sum += part * f32::from(ink[row * width + column]);
                    area += part;
                }
            }
            scaled.push(to_byte(sum / area));
        }
    }
    scaled
}

/// For each of `count` equal parts of a range of pixels, the pixels it covers and how much of each.
fn overlaps([start, end]: [usize; 2], count: usize) -> Vec<Vec<(usize, f32)>> {
    let step = (end - start) as f32 / count as f32;
    let parts = (0..count).map(|part| {
        let from = start as f32 + part as f32 * step;
        let to = from + step;
        let pixels = (start..end).filter_map(|pixel| {
            let covered = to.min(pixel as f32 + 1.0) - from.max(pixel as f32);
            (covered > 0.0).then_some((pixel, covered))
        });
        pixels.collect()
    });
    parts.collect()
}

/// Where the left upper corner goes, so that the centre of mass comes as near to the middle as whole
/// pixels and the border allow.
fn offset(scaled: &[u8], [columns, rows]: [usize; 2]) -> [usize; 2] {
    let (mut mass, mut x, mut y) = (0.0, 0.0, 0.0);
    for (index, &ink) in scaled.iter().enumerate() {
        let ink = f32::from(ink);
        mass += ink;
        x += ink * ((index % columns) as f32 + 0.5);
        y += ink * ((index / columns) as f32 + 0.5);
    }
    let middle = SIDE as f32 / 2.0;
    let corner = |moment: f32, side: usize| {
        // Ink too faint to survive scaling has no mass.
        let centre = if mass > 0.0 {
            moment / mass
        } else {
            side as f32 / 2.0
        };
        let corner = (middle - centre).round().clamp(0.0, (SIDE - side) as f32);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small whole number"
        )]
        let corner = corner as usize;
        corner
    };
    [corner(x, columns), corner(y, rows)]
}

fn to_byte(value: f32) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mean of bytes"
    )]
    let byte = value.round() as u8;
    byte
}
