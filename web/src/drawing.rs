//! Converts a drawing to an image like those of MNIST.

use wasm_bindgen::prelude::*;

/// Width and height of an image, in pixels.
const SIDE: usize = 28;
/// Width and height of the box into which a digit is scaled, in pixels.
const BOX: usize = 20;

/// Converts a drawing to an image like those of MNIST. The digit is scaled to fit into 20×20 pixels, with its
/// proportions kept and its edges antialiased. Then it is placed into 28×28 pixels so that its center of mass is in the
/// middle (`LeCun`, Cortes and Burges, "The MNIST database of handwritten digits").
///
/// `ink` has `width` pixels per row, each from 0 (blank) to 255. Returns `None` if all pixels are 0.
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

/// The smallest rectangle around all ink, as ranges of columns `x` and rows `y`.
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

    /// Number of columns and rows after the longer side is scaled to [`BOX`] pixels.
    fn scaled(&self) -> [usize; 2] {
        let [width, height] = [self.x[1] - self.x[0], self.y[1] - self.y[0]];
        let longer = width.max(height);
        // Rounds to the nearest whole number, at least 1.
        [width, height].map(|side| ((2 * side * BOX + longer) / (2 * longer)).max(1))
    }
}

/// Scales the part of the drawing within `bounds`. Each scaled pixel is the mean of the ink in the area it covers.
fn scale(ink: &[u8], width: usize, bounds: &Bounds, [columns, rows]: [usize; 2]) -> Vec<u8> {
    let xs = overlaps(bounds.x, columns);
    let ys = overlaps(bounds.y, rows);
    let mut scaled = Vec::with_capacity(columns * rows);
    for y in &ys {
        for x in &xs {
            let mut sum = 0.0;
            let mut area = 0.0;
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

/// Divides a range of pixels into `count` equal parts. For each part, returns the pixels that it overlaps, and the
/// covered fraction of each pixel.
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

/// Column and row where the upper left corner of the scaled digit goes. The position brings the center of mass as near
/// to the middle of the image as whole pixels and the image's edges allow.
fn offset(scaled: &[u8], [columns, rows]: [usize; 2]) -> [usize; 2] {
    let mut mass = 0.0;
    let mut x = 0.0;
    let mut y = 0.0;
    for (index, &ink) in scaled.iter().enumerate() {
        let ink = f32::from(ink);
        mass += ink;
        x += ink * ((index % columns) as f32 + 0.5);
        y += ink * ((index / columns) as f32 + 0.5);
    }
    let middle = SIDE as f32 / 2.0;
    let corner = |moment: f32, side: usize| {
        // If all scaled pixels round to 0, there is no center of mass.
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

#[cfg(test)]
mod tests {
    use super::{BOX, SIDE, as_mnist};

    const WIDTH: usize = 280;

    /// A drawing of a filled rectangle, from column `x[0]` to `x[1]` and from row `y[0]` to `y[1]`.
    fn rectangle(x: [usize; 2], y: [usize; 2], value: u8) -> Vec<u8> {
        let mut ink = vec![0; WIDTH * WIDTH];
        for row in y[0]..y[1] {
            ink[row * WIDTH + x[0]..row * WIDTH + x[1]].fill(value);
        }
        ink
    }

    /// The smallest rectangle around all ink of an image, and the ink's center of mass.
    fn measured(image: &[u8]) -> ([usize; 4], [f64; 2]) {
        let mut bounds = [SIDE, SIDE, 0, 0];
        let mut mass = 0.0;
        let mut moments = [0.0; 2];
        for (index, &ink) in image.iter().enumerate().filter(|(_, ink)| **ink > 0) {
            let [x, y] = [index % SIDE, index / SIDE];
            bounds = [
                bounds[0].min(x),
                bounds[1].min(y),
                bounds[2].max(x + 1),
                bounds[3].max(y + 1),
            ];
            mass += f64::from(ink);
            moments[0] += f64::from(ink) * (x as f64 + 0.5);
            moments[1] += f64::from(ink) * (y as f64 + 0.5);
        }
        (bounds, moments.map(|moment| moment / mass))
    }

    #[test]
    fn nothing_is_no_image() {
        assert_eq!(as_mnist(&vec![0; WIDTH * WIDTH], WIDTH), None);
        assert_eq!(as_mnist(&[], 0), None);
    }

    #[test]
    fn a_square_fills_the_box_wherever_it_is_and_however_large() {
        let expected: Vec<u8> = (0..SIDE * SIDE)
            .map(|index| {
                let inside = |at| (4..4 + BOX).contains(&at);
                let is_ink = inside(index % SIDE) && inside(index / SIDE);
                if is_ink { 200 } else { 0 }
            })
            .collect();
        for (x, y) in [
            ([10, 50], [200, 240]),
            ([0, 280], [0, 280]),
            ([3, 10], [3, 10]),
            ([100, 101], [7, 8]),
        ] {
            let image = as_mnist(&rectangle(x, y, 200), WIDTH);
            assert_eq!(image.as_ref(), Some(&expected), "{x:?} {y:?}");
        }
    }

    #[test]
    fn proportions_are_kept() {
        for (x, y, size) in [
            ([40, 80], [20, 220], [4, 20]), // 20 · 40/200
            ([20, 220], [40, 80], [20, 4]),
            ([50, 53], [20, 220], [1, 20]), // never less than a pixel
        ] {
            let image = as_mnist(&rectangle(x, y, 255), WIDTH).unwrap_or_default();
            let ([left, top, right, bottom], _) = measured(&image);
            assert_eq!([right - left, bottom - top], size);
        }
    }

    #[test]
    fn a_pixel_is_the_mean_of_what_it_covers() {
        // Ten alternating columns of the drawing are averaged into one pixel of the image.
        let mut ink = vec![0; WIDTH * WIDTH];
        for row in 0..200 {
            for column in 0..200 {
                ink[row * WIDTH + column] = if column % 2 == 0 { 255 } else { 45 };
            }
        }
        let image = as_mnist(&ink, WIDTH).unwrap_or_default();
        assert!(image.iter().all(|&pixel| pixel == 0 || pixel == 150));
        // 30 pixels are scaled to 20: each covers one pixel and half of another.
        let mut stripes = vec![0; WIDTH * WIDTH];
        for row in 0..30 {
            for column in (0..30).step_by(3) {
                stripes[row * WIDTH + column..row * WIDTH + column + 3]
                    .copy_from_slice(&[240, 60, 240]);
            }
        }
        let image = as_mnist(&stripes, WIDTH).unwrap_or_default();
        // Mean of a pixel of 240 and half a pixel of 60: (240 + 60/2) / 1.5 = 180.
        assert!(image.iter().all(|&pixel| pixel == 0 || pixel == 180));
    }

    #[test]
    fn the_centre_of_mass_is_in_the_middle() {
        // An L, whose mass is low and to the left.
        let mut ink = rectangle([60, 90], [40, 240], 255);
        for (to, from) in ink.iter_mut().zip(rectangle([60, 190], [210, 240], 255)) {
            *to = from.max(*to);
        }
        let (bounds, centre) = measured(&as_mnist(&ink, WIDTH).unwrap_or_default());
        // At most half a pixel off, because the digit is moved by whole pixels.
        for of_axis in centre {
            assert!((of_axis - 14.0).abs() <= 0.5, "{centre:?}");
        }
        // The rectangle around the ink is not in the middle.
        assert_ne!([bounds[0] + bounds[2], bounds[1] + bounds[3]], [SIDE, SIDE]);
    }

    #[test]
    fn all_of_a_lopsided_drawing_stays_inside() {
        // With faint ink far to the right of a dark block, the center of mass cannot be in the middle of the image.
        let mut ink = rectangle([0, 20], [0, 200], 255);
        for (to, from) in ink.iter_mut().zip(rectangle([20, 200], [100, 110], 30)) {
            *to = from.max(*to);
        }
        let image = as_mnist(&ink, WIDTH).unwrap_or_default();
        let ([left, _, right, _], _) = measured(&image);
        assert_eq!([left, right], [SIDE - BOX, SIDE]);
    }
}
