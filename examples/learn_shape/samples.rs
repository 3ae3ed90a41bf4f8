//! Points in the unit cube with their signed distances to a surface. The network learns from them.

use glam::{DVec3, Vec3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use wgrad::ndarray::Array2;

use crate::distance::Surface;
use crate::mesh::Mesh;

/// A point near the surface is a point on the surface plus a normally distributed offset. This is the offset's standard
/// deviation along each axis, in sides of the cube.
const DEVIATION: f64 = 0.01;

/// Points, and the signed distance of each point to the surface.
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

    /// Returns the points, shape (rows, 3), and their distances, shape (rows, 1).
    pub(crate) fn rows(&self) -> (Array2<f32>, Array2<f32>) {
        let distance = |(row, _)| self.distances[row];
        let distances = Array2::from_shape_fn((self.distances.len(), 1), distance);
        (rows(&self.places), distances)
    }
}

/// Returns the points as an array of shape (rows, 3).
pub(crate) fn rows(places: &[Vec3]) -> Array2<f32> {
    Array2::from_shape_fn((places.len(), 3), |(row, axis)| places[row][axis])
}

/// Draws random points near a mesh and anywhere in the cube.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) mesh: &'a Mesh,
    /// For each triangle, the total area of this triangle and all triangles before it.
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

    /// Draws `count` points: one in eight anywhere in the cube, the others near the surface.
    pub(crate) fn mixed(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let uniform = count / 8;
        let mut places = Self::uniform(uniform, random);
        places.extend(self.near(count - uniform, random));
        places
    }

    /// Draws points uniformly in the cube.
    pub(crate) fn uniform(count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let place = |_| Vec3::from([(); 3].map(|()| random.random::<f32>()));
        (0..count).map(place).collect()
    }

    /// Draws points uniformly by area on the surface, and adds a normally distributed offset along each axis.
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
        // (u, v) is uniform in a parallelogram. Reflect the half outside the triangle into the triangle.
        if u + v > 1.0 {
            (u, v) = (1.0 - u, 1.0 - v);
        }
        a + u * (b - a) + v * (c - a)
    }
}
