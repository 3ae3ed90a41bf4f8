//! Draws the surface of a signed distance function by sphere tracing (Hart, "Sphere tracing", 1996). If the distance at
//! a point of a ray is d, the surface is at least d away. So the ray can advance by d without passing through the
//! surface.

use glam::Vec3;
use image::{Rgb, RgbImage};

/// Maximum number of steps per ray. A ray that has not reached the surface by then counts as a miss. This happens if it
/// runs along the surface.
const MOST_STEPS: usize = 96;
/// A ray has reached the surface if the distance is below this value, in sides of the cube.
const ARRIVED: f32 = 1e-3;
/// Half the distance between the two points of a central difference, for surface normals.
const NORMAL_STEP: f32 = 2e-3;

/// A picture, and for each pixel whether it shows the shape, in row-major order.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) image: RgbImage,
    pub(crate) hits: Vec<bool>,
}

impl Picture {
    /// Returns the fraction of pixels that show the shape in both pictures or in neither.
    pub(crate) fn agreement(&self, other: &Self) -> f64 {
        let pairs = self.hits.iter().zip(&other.hits);
        pairs.filter(|(a, b)| a == b).count() as f64 / self.hits.len() as f64
    }
}

/// Draws the surface in the unit cube on which the distance is 0. `distances` returns the distances at many points.
pub(crate) fn draw<E>(
    camera: &Camera,
    size: u32,
    mut distances: impl FnMut(&[Vec3]) -> Result<Vec<f32>, E>,
) -> Result<Picture, E> {
    let rays = camera.rays(size);
    let arrived = march(&rays, &mut distances)?;
    let places: Vec<Vec3> = arrived.iter().flatten().copied().collect();
    let mut normals = normals(&places, &mut distances)?.into_iter();
    let mut image = RgbImage::new(size, size);
    for ((pixel, ray), place) in image.pixels_mut().zip(&rays).zip(&arrived) {
        let normal = place.and_then(|_| normals.next());
        *pixel = to_bytes(normal.map_or_else(|| background(ray), |normal| lit(ray, normal)));
    }
    let hits = arrived.iter().map(Option::is_some).collect();
    Ok(Picture { image, hits })
}

#[derive(Debug, Clone, Copy)]
struct Ray {
    origin: Vec3,
    direction: Vec3,
}

impl Ray {
    fn at(&self, distance: f32) -> Vec3 {
        self.origin + distance * self.direction
    }

    /// Returns the distances along the ray at which it enters and leaves the unit cube. Returns `None` if it misses the
    /// cube. Each pair of opposite sides bounds an interval of the ray, and the result is the intersection of these
    /// intervals (Kay and Kajiya, "Ray tracing complex scenes", 1986).
    fn in_cube(&self) -> Option<(f32, f32)> {
        let [at_low, at_high] =
            [Vec3::ZERO, Vec3::ONE].map(|side| (side - self.origin) / self.direction);
        let enters = at_low.min(at_high).max_element().max(0.0);
        let leaves = at_low.max(at_high).min_element();
        (enters < leaves).then_some((enters, leaves))
    }
}

/// A camera above the cube that looks at the cube's center. Its picture is square.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) origin: Vec3,
    right: Vec3,
    up: Vec3,
    forward: Vec3,
    /// Half the width that the picture shows in the plane at distance 1 from the camera.
    pub(crate) half_width: f32,
}

impl Camera {
    /// Returns a camera whose picture shows all of these points, with a margin.
    pub(crate) fn showing(places: impl Iterator<Item = Vec3>) -> Self {
        let origin = Vec3::new(1.35, 1.3, 2.25);
        let forward = (Vec3::splat(0.5) - origin).normalize();
        let right = forward.cross(Vec3::Y).normalize();
        let up = right.cross(forward);
        let off_centre = places.map(|place| {
            let place = place - origin;
            let sideways = [right, up].map(|axis| place.dot(axis).abs());
            sideways[0].max(sideways[1]) / place.dot(forward)
        });
        Self {
            half_width: 1.1 * off_centre.fold(0.0, f32::max),
            origin,
            right,
            up,
            forward,
        }
    }

    /// Returns a ray through the center of each pixel, in row-major order.
    fn rays(&self, size: u32) -> Vec<Ray> {
        let ray = |[x, y]: [u32; 2]| {
            let [x, y] =
                [x, y].map(|at| self.half_width * (2.0 * (at as f32 + 0.5) / size as f32 - 1.0));
            let direction = (self.forward + x * self.right - y * self.up).normalize();
            Ray {
                origin: self.origin,
                direction,
            }
        };
        let pixels = (0..size).flat_map(|y| (0..size).map(move |x| [x, y]));
        pixels.map(ray).collect()
    }
}

/// Returns the point where each ray reaches the surface, or `None` for a miss. In each step, all remaining rays advance
/// together, so that `distances` evaluates many points per call.
fn march<E>(
    rays: &[Ray],
    distances: &mut impl FnMut(&[Vec3]) -> Result<Vec<f32>, E>,
) -> Result<Vec<Option<Vec3>>, E> {
    let mut arrived = vec![None; rays.len()];
    let in_cube = |(index, ray): (usize, &Ray)| {
        let (enters, leaves) = ray.in_cube()?;
        Some((index, enters, leaves))
    };
    let mut under_way: Vec<_> = rays.iter().enumerate().filter_map(in_cube).collect();
    for _ in 0..MOST_STEPS {
        let places: Vec<_> = under_way
            .iter()
            .map(|&(index, at, _)| rays[index].at(at))
            .collect();
        let found = distances(&places)?;
        let mut still = Vec::with_capacity(under_way.len());
        for ((&(index, at, leaves), place), distance) in under_way.iter().zip(places).zip(found) {
            if distance < ARRIVED {
                arrived[index] = Some(place);
            } else if at + distance < leaves {
                still.push((index, at + distance, leaves));
            }
        }
        under_way = still;
    }
    Ok(arrived)
}

/// Returns the surface normals at points: the directions in which the distance grows fastest, by central differences.
fn normals<E>(
    places: &[Vec3],
    distances: &mut impl FnMut(&[Vec3]) -> Result<Vec<f32>, E>,
) -> Result<Vec<Vec3>, E> {
    let steps = Vec3::AXES.map(|axis| [NORMAL_STEP * axis, -NORMAL_STEP * axis]);
    let steps = steps.as_flattened();
    let beside = places
        .iter()
        .flat_map(|&place| steps.iter().map(move |&step| place + step));
    let found = distances(&beside.collect::<Vec<_>>())?;
    let normal = |of: &[f32]| Vec3::new(of[0] - of[1], of[2] - of[3], of[4] - of[5]);
    Ok(found
        .chunks_exact(steps.len())
        .map(|of| normal(of).normalize_or_zero())
        .collect())
}

/// Returns the color of the surface under one light, with some light from the sky and a small highlight (Blinn, "Models
/// of light reflection for computer synthesized pictures", 1977).
fn lit(ray: &Ray, normal: Vec3) -> Vec3 {
    let light = Vec3::new(0.35, 0.8, 0.5).normalize();
    let colour = Vec3::new(0.85, 0.45, 0.2);
    let halfway = (light - ray.direction).normalize();
    let diffuse = 0.8 * normal.dot(light).max(0.0);
    let sky = 0.15 + 0.1 * normal.y;
    let highlight = 0.3 * normal.dot(halfway).max(0.0).powi(40);
    colour * (diffuse + sky) + highlight
}

fn background(ray: &Ray) -> Vec3 {
    let height = ((ray.direction.y + 0.6) / 0.5).clamp(0.0, 1.0);
    Vec3::new(0.13, 0.15, 0.2).lerp(Vec3::new(0.35, 0.42, 0.52), height)
}

/// Converts linear light to bytes for a screen, with a gamma of 2.2.
fn to_bytes(colour: Vec3) -> Rgb<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    let byte = |part: f32| (part.clamp(0.0, 1.0).powf(1.0 / 2.2) * 255.0).round() as u8;
    Rgb(colour.to_array().map(byte))
}
