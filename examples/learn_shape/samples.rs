//! Points in the unit cube with their distances to a surface, which the network learns from.

use glam::{DVec3, Vec3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use wgrad::ndarray::Array2;

use crate::distance::Surface;
use crate::mesh::Mesh;

/// Standard deviation along each axis between a point near the surface and its point on the surface, in sides of the
/// cube.
const DEVIATION: f64 = 0.01;

/// Points, and the distance of each one.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) places: Vec<Vec3>,
    pub(crate) distances: Vec<f32>,
}

impl Samples {
    pub(crate) fn new(surface: &Surface, places: Vec<Vec3>) -> Self {
        Self {
            distances: surface.signed_distances(&places),
            places,
        }
    }

    /// Points (rows, 3) and distances (rows, 1).
    pub(crate) fn rows(&self) -> (Array2<f32>, Array2<f32>) {
        let distance = |(row, _)| self.distances[row];
        let distances = Array2::from_shape_fn((self.distances.len(), 1), distance);
        (rows(&self.places), distances)
    }
}

/// Points as rows (rows, 3).
pub(crate) fn rows(places: &[Vec3]) -> Array2<f32> {
    Array2::from_shape_fn((places.len(), 3), |(row, axis)| places[row][axis])
}

/// Draws random points for a mesh.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) mesh: &'a Mesh,
    /// Cumulative areas: of each triangle and all triangles before it.
    areas: Vec<f64>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(mesh: &'a Mesh) -> Self {
        let areas = (0..mesh.triangles.len()).scan(0.0, |sum, triangle| {
            let [a, b, c] = mesh.corners(triangle);
            *sum += (b - a).cross(c - a).length() / 2.0;
            Some(*sum)
        });
        Self {
            mesh,
            areas: areas.collect(),
        }
    }

    /// One in eight points is anywhere in the cube; the others are near the surface.
    pub(crate) fn mixed(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let uniform = count / 8;
        let mut places = Self::uniform(uniform, random);
        places.extend(self.near(count - uniform, random));
        places
    }

    /// Draws points anywhere in the cube.
    pub(crate) fn uniform(count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let place = |_| Vec3::from([(); 3].map(|()| random.random::<f32>()));
        (0..count).map(place).collect()
    }

    /// Draws points on the surface, uniformly by area, and moves them along each axis by a normal distribution.
    pub(crate) fn near(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let place = |_| {
            let offset = [(); 3].map(|()| StandardNormal.sample(random));
            let place = self.on_surface(random) + DEVIATION * DVec3::from(offset);
            place.clamp(DVec3::ZERO, DVec3::ONE).as_vec3()
        };
        (0..count).map(place).collect()
    }

    fn on_surface(&self, random: &mut ChaCha8Rng) -> DVec3 {
        let whole = self.areas[self.areas.len() - 1];
        let area = random.random_range(0.0..whole);
        let triangle = self.areas.partition_point(|&before| before <= area);
        let [a, b, c] = self.mesh.corners(triangle);
        let [mut u, mut v]: [f64; 2] = [(); 2].map(|()| random.random());
        // Maps the far half of the parallelogram to the triangle.
        if u + v > 1.0 {
            (u, v) = (1.0 - u, 1.0 - v);
        }
        a + u * (b - a) + v * (c - a)
    }
}
