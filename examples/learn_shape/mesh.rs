//! A closed surface of triangles in the unit cube.

use std::collections::HashMap;
use std::f64::consts::TAU;

use glam::{DVec2, DVec3};

/// Longest side of a mesh after it is moved into the unit cube. So a tenth of the cube is free at either end.
const LONGEST_SIDE: f64 = 0.8;

/// A closed surface whose triangles are counterclockwise as seen from outside.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) vertices: Vec<DVec3>,
    /// For each triangle, the indices of its vertices in `vertices`.
    pub(crate) triangles: Vec<[usize; 3]>,
}

impl Mesh {
    /// Moves and scales a surface into the unit cube. Merges vertices at the same position, because some programs write
    /// separate vertices for each face. Reverses all triangles if the surface is inside out.
    ///
    /// Fails if the surface is not closed: each edge must belong to exactly two triangles, which traverse it in
    /// opposite directions. Does not check whether the surface intersects itself, where "inside" would have no meaning.
    pub(crate) fn new(positions: &[DVec3], triangles: &[[usize; 3]]) -> Result<Self, String> {
        let (vertices, index) = merged(positions);
        let triangles = triangles.iter().map(|corners| corners.map(|at| index[at]));
        let is_triangle = |&[a, b, c]: &[usize; 3]| a != b && b != c && c != a;
        let triangles: Vec<_> = triangles.filter(is_triangle).collect();
        let mut mesh = Self {
            vertices,
            triangles,
        };
        mesh.check_closed()?;
        mesh.fit()?;
        let volume = mesh.volume();
        if volume.abs() < 1e-9 {
            return Err("the mesh encloses no volume: expected the surface of a solid".to_owned());
        }
        if volume < 0.0 {
            mesh.triangles
                .iter_mut()
                .for_each(|corners| corners.swap(1, 2));
        }
        Ok(mesh)
    }

    /// Returns a tube along a (2, 3) torus knot, with ridges that wind around the tube.
    pub(crate) fn knot() -> Result<Self, String> {
        let centre = |angle: f64| {
            let around = 2.0 * angle;
            let through = 3.0 * angle;
            let radius = 1.0 + 0.5 * through.cos();
            DVec3::new(
                radius * around.cos(),
                radius * around.sin(),
                0.6 * through.sin(),
            )
        };
        let rings = 480;
        let sides = 60;
        let mut positions = Vec::new();
        for ring in 0..rings {
            let angle = TAU * f64::from(ring) / f64::from(rings);
            let along = (centre(angle + 1e-4) - centre(angle - 1e-4)).normalize();
            // Measure the angle around the tube from a direction that changes continuously along the knot: away from
            // the circle in the middle of the torus.
            let place = centre(angle);
            let ring_of_torus = DVec2::new(place.x, place.y).normalize().extend(0.0);
            let away = place - ring_of_torus;
            let u = away.reject_from(along).normalize();
            let v = along.cross(u);
            for side in 0..sides {
                let turn = TAU * f64::from(side) / f64::from(sides);
                let radius = 0.26 + 0.03 * (5.0 * turn + 12.0 * angle).cos();
                positions.push(place + radius * (turn.cos() * u + turn.sin() * v));
            }
        }
        let at = |ring: i32, side: i32| (ring % rings * sides + side % sides) as usize;
        let quads = (0..rings).flat_map(|ring| (0..sides).map(move |side| (ring, side)));
        let triangles: Vec<_> = quads
            .flat_map(|(ring, side)| {
                let a = at(ring, side);
                let b = at(ring + 1, side);
                let c = at(ring + 1, side + 1);
                let d = at(ring, side + 1);
                [[a, b, c], [a, c, d]]
            })
            .collect();
        Self::new(&positions, &triangles)
    }

    pub(crate) fn corners(&self, triangle: usize) -> [DVec3; 3] {
        self.triangles[triangle].map(|vertex| self.vertices[vertex])
    }

    fn check_closed(&self) -> Result<(), String> {
        let mut uses: HashMap<[usize; 2], usize> = HashMap::new();
        for edge in self.triangles.iter().flat_map(edges) {
            *uses.entry(edge).or_default() += 1;
        }
        let found = |edge: [usize; 2]| uses.get(&edge).copied().unwrap_or(0);
        // Check the edges in the order of the file, so that the same mesh always gives the same message.
        for [a, b] in self.triangles.iter().flat_map(edges) {
            let problem = match (found([a, b]), found([b, a])) {
                (1, 1) => continue,
                (1, 0) => "has a hole: only one triangle is",
                (2, 0) => {
                    "has triangles that face opposite ways: two of them run in the same direction"
                }
                _ => "is not a simple surface: more than two triangles are",
            };
            let [from, to] = [a, b].map(|vertex| self.vertices[vertex]);
            return Err(format!(
                "the mesh {problem} at the edge from {from} to {to}; only a closed surface, where each edge belongs to \
                 two triangles, has an inside: repair the mesh first, for example with Blender's \"Make Manifold\""
            ));
        }
        Ok(())
    }

    /// Moves and scales the vertices into the unit cube, by the same factor along all axes.
    fn fit(&mut self) -> Result<(), String> {
        let [mut low, mut high] = [DVec3::INFINITY, DVec3::NEG_INFINITY];
        for &vertex in self.triangles.iter().flatten() {
            low = low.min(self.vertices[vertex]);
            high = high.max(self.vertices[vertex]);
        }
        let scale = LONGEST_SIDE / (high - low).max_element();
        if !(scale.is_finite() && scale > 0.0) {
            return Err(
                "the mesh has no finite size above 0, to which it could be scaled".to_owned(),
            );
        }
        let middle = low + (high - low) / 2.0;
        for vertex in &mut self.vertices {
            *vertex = (*vertex - middle) * scale + 0.5;
        }
        Ok(())
    }

    /// Returns the signed volume inside the surface, negative if the surface is inside out. By the divergence theorem,
    /// it is the sum of the signed volumes of the tetrahedra between each triangle and a common point.
    fn volume(&self) -> f64 {
        let tetrahedron = |triangle| {
            let [a, b, c] = self.corners(triangle).map(|corner| corner - 0.5);
            a.dot(b.cross(c)) / 6.0
        };
        (0..self.triangles.len()).map(tetrahedron).sum()
    }
}

/// Returns the edges of a triangle, each as a pair of vertices in the order in which the triangle traverses them.
pub(crate) fn edges(&[a, b, c]: &[usize; 3]) -> [[usize; 2]; 3] {
    [[a, b], [b, c], [c, a]]
}

/// Merges equal positions. Returns the distinct positions, and for each input the index of its position.
fn merged(positions: &[DVec3]) -> (Vec<DVec3>, Vec<usize>) {
    let mut places = Vec::new();
    let mut known = HashMap::new();
    let index = positions.iter().map(|&position| {
        // Adding 0 turns −0 into +0.
        let bits = (position + 0.0).to_array().map(f64::to_bits);
        *known.entry(bits).or_insert_with(|| {
            places.push(position);
            places.len() - 1
        })
    });
    let index = index.collect();
    (places, index)
}
