//! Places in the unit cube with their distance to a surface: what a network learns from.

use glam::{DVec3, Vec3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use wgrad::ndarray::Array2;

use crate::distance::Surface;
use crate::mesh::Mesh;

/// How far the places near a surface are from a point on it along each axis: the standard deviation, in sides of the
/// cube.
const DEVIATION: f64 = 0.01;

/// Places, and the distance of each.
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

    /// Places (rows, 3) and distances (rows, 1).
    pub(crate) fn rows(&self) -> (Array2<f32>, Array2<f32>) {
        let distance = |(row, _)| self.distances[row];
        let distances = Array2::from_shape_fn((self.distances.len(), 1), distance);
        (rows(&self.places), distances)
    }
}

/// Places as rows (rows, 3).
pub(crate) fn rows(places: &[Vec3]) -> Array2<f32> {
    Array2::from_shape_fn((places.len(), 3), |(row, axis)| places[row][axis])
}

/// Draws places by a mesh.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) mesh: &'a Mesh,
    /// The area of a triangle and of all before it.
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

    /// Of eight places one anywhere in the cube, and the others near the surface.
    pub(crate) fn mixed(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let uniform = count / 8;
        let mut places = Self::uniform(uniform, random);
        places.extend(self.near(count - uniform, random));
        places
    }

    /// Anywhere in the cube.
    pub(crate) fn uniform(count: usize, random: &mut ChaCha8Rng) -> Vec<Vec3> {
        let place = |_| Vec3::from([(); 3].map(|()| random.random::<f32>()));
        (0..count).map(place).collect()
    }

    /// Points on the surface, as many per area everywhere, moved by a normal distribution along each axis.
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
        // The half of the parallelogram beyond the triangle is turned into it.
        if u + v > 1.0 {
            (u, v) = (1.0 - u, 1.0 - v);
        }
        a + u * (b - a) + v * (c - a)
    }
}
