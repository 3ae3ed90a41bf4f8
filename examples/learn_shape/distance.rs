//! The exact signed distance to a closed surface of triangles: negative inside, positive outside.
//!
//! The absolute value is the distance to the closest point of all triangles, which a hierarchy of bounding boxes finds.
//! The sign is the sign of `(p − c)·n`, where `c` is the point closest to `p` and `n` the angle-weighted pseudonormal
//! at `c`. On a face, `n` is the face's normal; on an edge, the sum of its two faces' normals; at a vertex, the sum of
//! its faces' normals, each multiplied by the face's angle there. (Bærentzen and Aanæs, "Signed distance computation
//! using the angle weighted pseudonormal", 2005, prove that this sign is right. A face's normal alone is wrong near
//! edges and vertices.)

use std::collections::HashMap;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use glam::{DVec3, Vec3};

use crate::mesh::{Mesh, edges};

/// Maximum number of triangles in a box that is not divided further.
const LEAF: usize = 4;

/// A surface with a hierarchy of bounding boxes for distance queries.
#[derive(Debug)]
pub(crate) struct Surface {
    triangles: Vec<Triangle>,
    /// All bounding boxes. A box comes before the boxes that it contains, and the first box contains the whole surface.
    boxes: Vec<Box3>,
}

#[derive(Debug, Clone)]
struct Triangle {
    corners: [DVec3; 3],
    /// Pseudonormals: of the face (index 0), of the edges from corner 0 to 1, 1 to 2 and 2 to 0 (indices 1 to 3), and
    /// of the corners (indices 4 to 6).
    normals: [DVec3; 7],
}

#[derive(Debug)]
struct Box3 {
    low: DVec3,
    high: DVec3,
    contents: Contents,
}

#[derive(Debug, Clone, Copy)]
enum Contents {
    /// The triangles with indices from the first number up to, but not including, the second number.
    Triangles(usize, usize),
    /// Two boxes: the next box in [`Surface::boxes`], and the box with this index.
    Boxes(usize),
}

/// The point of a triangle closest to a query point.
#[derive(Debug, Clone, Copy)]
struct Closest {
    squared_distance: f64,
    point: DVec3,
    /// Index of the point's pseudonormal in [`Triangle::normals`].
    normal: usize,
}

impl Surface {
    pub(crate) fn new(mesh: &Mesh) -> Self {
        let mut surface = Self {
            triangles: triangles(mesh),
            boxes: Vec::new(),
        };
        surface.divide(0, surface.triangles.len());
        surface
    }

    /// Builds the boxes of the triangles from index `first` up to, but not including, `end`. Divides the triangles into
    /// two halves along the axis on which their centers spread most, until at most [`LEAF`] triangles are left.
    fn divide(&mut self, first: usize, end: usize) {
        let triangles = &mut self.triangles[first..end];
        let corners = triangles.iter().flat_map(|triangle| triangle.corners);
        let (low, high) = bounds(corners);
        let at = self.boxes.len();
        let contents = Contents::Triangles(first, end);
        self.boxes.push(Box3 {
            low,
            high,
            contents,
        });
        if triangles.len() <= LEAF {
            return;
        }
        let (low, high) = bounds(triangles.iter().map(Triangle::middle));
        let axis = (high - low).max_position();
        let half = triangles.len() / 2;
        triangles
            .select_nth_unstable_by(half, |a, b| a.middle()[axis].total_cmp(&b.middle()[axis]));
        self.divide(first, first + half);
        self.boxes[at].contents = Contents::Boxes(self.boxes.len());
        self.divide(first + half, end);
    }

    pub(crate) fn signed_distance(&self, p: DVec3) -> f64 {
        let (closest, triangle) = self.closest(p);
        let normal = self.triangles[triangle].normals[closest.normal];
        let is_outside = (p - closest.point).dot(normal) >= 0.0;
        let distance = closest.squared_distance.sqrt();
        if is_outside { distance } else { -distance }
    }

    fn closest(&self, p: DVec3) -> (Closest, usize) {
        let mut best = (self.triangles[0].closest(p), 0);
        let mut waiting = vec![(self.boxes[0].squared_distance(p), 0)];
        while let Some((squared_distance, at)) = waiting.pop() {
            if squared_distance >= best.0.squared_distance {
                continue;
            }
            match self.boxes[at].contents {
                Contents::Triangles(first, end) => {
                    for (triangle, index) in self.triangles[first..end].iter().zip(first..) {
                        let closest = triangle.closest(p);
                        if closest.squared_distance < best.0.squared_distance {
                            best = (closest, index);
                        }
                    }
                }
                Contents::Boxes(second) => {
                    let [first, second] = [at + 1, second]
                        .map(|child| (self.boxes[child].squared_distance(p), child));
                    // Visit the nearer box first (it is pushed last). After that, the other box is often farther away
                    // than the best point and is skipped.
                    let is_first_nearer = first.0 <= second.0;
                    waiting.push(if is_first_nearer { second } else { first });
                    waiting.push(if is_first_nearer { first } else { second });
                }
            }
        }
        best
    }

    /// Computes the signed distances of many points on all CPU cores.
    pub(crate) fn signed_distances(&self, places: &[Vec3]) -> Vec<f32> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded to what a network has"
        )]
        let distance = |place: &Vec3| self.signed_distance(place.as_dvec3()) as f32;
        let work = |places: &[Vec3]| places.iter().map(distance).collect::<Vec<_>>();
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let share = places.len().div_ceil(cores).max(1);
        thread::scope(|scope| {
            let shares = places.chunks(share);
            let workers: Vec<_> = shares
                .map(|places| scope.spawn(move || work(places)))
                .collect();
            let distances = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            distances.collect()
        })
    }
}

impl Triangle {
    fn middle(&self) -> DVec3 {
        self.corners.iter().sum::<DVec3>() / 3.0
    }

    /// Returns the point of the triangle closest to `p`. This is the foot of the perpendicular if it lies in the
    /// triangle, otherwise the closest point of the edges. A triangle without area has no perpendicular, so only its
    /// edges count.
    fn closest(&self, p: DVec3) -> Closest {
        let normal = self.normals[0];
        let side = |i: usize| {
            let [a, b] = [self.corners[i], self.corners[(i + 1) % 3]];
            (b - a).cross(p - a).dot(normal)
        };
        if normal != DVec3::ZERO && (0..3).all(|i| side(i) >= 0.0) {
            let height = (p - self.corners[0]).dot(normal);
            return Closest {
                squared_distance: height * height,
                point: p - height * normal,
                normal: 0,
            };
        }
        let [a, b, c] = [0, 1, 2].map(|i| self.closest_of_edge(i, p));
        let nearer = |a: Closest, b: Closest| {
            if b.squared_distance < a.squared_distance {
                b
            } else {
                a
            }
        };
        nearer(nearer(a, b), c)
    }

    fn closest_of_edge(&self, i: usize, p: DVec3) -> Closest {
        let next = (i + 1) % 3;
        let [a, b] = [self.corners[i], self.corners[next]];
        let along = (p - a).dot(b - a);
        let whole = (b - a).length_squared();
        let (point, normal) = if along <= 0.0 {
            (a, 4 + i)
        } else if along >= whole {
            (b, 4 + next)
        } else {
            (a + along / whole * (b - a), 1 + i)
        };
        Closest {
            squared_distance: point.distance_squared(p),
            point,
            normal,
        }
    }
}

impl Box3 {
    fn squared_distance(&self, p: DVec3) -> f64 {
        p.clamp(self.low, self.high).distance_squared(p)
    }
}

fn bounds(points: impl Iterator<Item = DVec3>) -> (DVec3, DVec3) {
    let none = (DVec3::INFINITY, DVec3::NEG_INFINITY);
    points.fold(none, |(low, high), point| (low.min(point), high.max(point)))
}

/// Returns the triangles of a mesh, with their pseudonormals.
fn triangles(mesh: &Mesh) -> Vec<Triangle> {
    let mut of_edges: HashMap<[usize; 2], DVec3> = HashMap::new();
    let mut of_vertices = vec![DVec3::ZERO; mesh.vertices.len()];
    let face = |triangle: usize| {
        let [a, b, c] = mesh.corners(triangle);
        (b - a).cross(c - a).normalize_or_zero()
    };
    for (index, triangle) in mesh.triangles.iter().enumerate() {
        let normal = face(index);
        let corners = mesh.corners(index);
        for (i, edge) in edges(triangle).into_iter().enumerate() {
            *of_edges.entry(undirected(edge)).or_default() += normal;
            let [to_next, to_last] = [1, 2].map(|step| corners[(i + step) % 3] - corners[i]);
            of_vertices[triangle[i]] += to_next.angle_between(to_last) * normal;
        }
    }
    let with_normals = |(index, triangle): (usize, &[usize; 3])| {
        let [ab, bc, ca] = edges(triangle).map(|edge| of_edges[&undirected(edge)]);
        let [a, b, c] = triangle.map(|vertex| of_vertices[vertex]);
        Triangle {
            corners: mesh.corners(index),
            normals: [face(index), ab, bc, ca, a, b, c],
        }
    };
    mesh.triangles
        .iter()
        .enumerate()
        .map(with_normals)
        .collect()
}

fn undirected([a, b]: [usize; 2]) -> [usize; 2] {
    [a.min(b), a.max(b)]
}
