//! Tests of `examples/learn_shape`: its mesh reader, its distances, its sample positions and its pictures.
#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "of the example, which uses all of it")]

#[path = "../examples/learn_shape/distance.rs"]
mod distance;
#[path = "../examples/learn_shape/mesh.rs"]
mod mesh;
#[path = "../examples/learn_shape/obj.rs"]
mod obj;
#[path = "../examples/learn_shape/samples.rs"]
mod samples;
#[path = "../examples/learn_shape/tracing.rs"]
mod tracing;

use std::convert::Infallible;
use std::f64::consts::TAU;

use glam::{DVec3, Vec3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use distance::Surface;
use mesh::Mesh;
use samples::{Places, Samples};
use tracing::Camera;

/// A box of 2 × 2 × 1, in the forms that other programs write: with squares, comments, all notations of a corner, and
/// indices that count back from the end.
const BOX: &str = "\
# a box
mtllib none.mtl
v 0 0 0
v 2 0 0 1.0
v 2 2 0 0.5 0.5 0.5
v 0 2 0
vt 0.5 0.5
vn 0 0 1
v 0 0 1
v 2 0 1
v 2 2 1
v 0 2 1
f 1 4 3 2
f 5/1 6/1 7/1 8/1 # the top
f 1//1 2//1 6//1 5//1
f 2/1/1 3/1/1 7/1/1 6/1/1
f -6 -5 -1 -2
f 4 1 5 8
";

fn solid(text: &str) -> Result<Mesh, String> {
    let (positions, triangles) = obj::parse(text).map_err(|fault| fault.text)?;
    Mesh::new(&positions, &triangles)
}

/// Half the size of [`BOX`] after it is scaled into the unit cube: it is then 0.8 × 0.8 × 0.4, around the center.
const HALF: DVec3 = DVec3::new(0.4, 0.4, 0.2);

/// Returns the signed distance of a point from the scaled [`BOX`] (Quilez, "Distance functions").
fn of_box(p: DVec3) -> f64 {
    let beyond = (p - 0.5).abs() - HALF;
    beyond.max(DVec3::ZERO).length() + beyond.max_element().min(0.0)
}

fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

fn uniform(random: &mut ChaCha8Rng, low: f64, high: f64) -> DVec3 {
    DVec3::from([(); 3].map(|()| random.random_range(low..high)))
}

/// Returns the winding number of a surface about a point: 1 inside, 0 outside. It is the sum of the solid angles of the
/// triangles, divided by 4π (Jacobson et al., "Robust inside-outside segmentation using generalized winding numbers",
/// 2013). For the formula of an angle, see Van Oosterom and Strackee, "The solid angle of a plane triangle", 1983.
fn winding(mesh: &Mesh, p: DVec3) -> f64 {
    let angle = |triangle| {
        let [a, b, c] = mesh.corners(triangle).map(|corner| corner - p);
        let [u, v, w] = [a.length(), b.length(), c.length()];
        let below = u * v * w + a.dot(b) * w + b.dot(c) * u + c.dot(a) * v;
        2.0 * a.dot(b.cross(c)).atan2(below)
    };
    (0..mesh.triangles.len()).map(angle).sum::<f64>() / (2.0 * TAU)
}

#[test]
fn distances_to_a_box_are_those_of_its_faces_edges_and_corners() {
    let surface = Surface::new(&solid(BOX).unwrap());
    for (place, expected) in [
        // The center, and three points near a face: inside, outside, and on it.
        ([0.5, 0.5, 0.5], -0.2),
        ([0.5, 0.4, 0.69], -0.01),
        ([0.3, 0.6, 0.75], 0.05),
        ([0.9, 0.4, 0.6], 0.0),
        // Three points near an edge: outside, inside, and on it.
        ([0.93, 0.94, 0.4], 0.05),
        ([0.88, 0.89, 0.5], -0.01),
        ([0.5, 0.9, 0.7], 0.0),
        // Three points near a corner: outside, inside, and on it.
        ([0.92, 0.93, 0.76], 0.07),
        ([0.11, 0.12, 0.33], -0.01),
        ([0.1, 0.9, 0.3], 0.0),
    ] {
        let found = surface.signed_distance(DVec3::from(place));
        assert!((found - expected).abs() < 1e-14, "{place:?}: {found}");
    }
    let mut random = random();
    for _ in 0..20_000 {
        let p = uniform(&mut random, -0.2, 1.2);
        let found = surface.signed_distance(p);
        assert!((found - of_box(p)).abs() < 1e-14, "{p}: {found}");
    }
}

/// Near an edge or a vertex of a sharp shape, a point may be inside of one adjacent face and outside of another.
#[test]
fn the_side_is_that_of_the_winding_number_where_a_shape_is_sharp() {
    // Two spikes. One penetrates the base of the other, so there are also edges that point inwards.
    let spikes = "v 0 0 0\nv 1 0 0\nv 0 0.2 0\nv 0.1 0.05 3\nv 0.2 0.05 0.9\n\
                  f 1 2 4\nf 2 3 4\nf 3 1 4\nf 2 1 5\nf 3 2 5\nf 1 3 5\n";
    let mut random = random();
    for (mesh, places) in [
        (solid(spikes).unwrap(), 20_000),
        (Mesh::knot().unwrap(), 200),
    ] {
        let surface = Surface::new(&mesh);
        let mut inside = 0;
        for index in 0..places {
            let vertex = mesh.vertices[index % mesh.vertices.len()];
            let p = vertex + uniform(&mut random, -0.03, 0.03);
            let [is_inside, winds] = [surface.signed_distance(p) < 0.0, winding(&mesh, p) > 0.5];
            assert_eq!(is_inside, winds, "{p}");
            inside += usize::from(is_inside);
        }
        assert!(places / 100 < inside && inside < places, "{inside}");
    }
}

#[test]
fn the_closest_of_many_triangles_is_found() {
    let mesh = Mesh::knot().unwrap();
    let surface = Surface::new(&mesh);
    let mut random = random();
    for _ in 0..100 {
        let p = uniform(&mut random, 0.0, 1.0);
        let found = surface.signed_distance(p).abs();
        // Each triangle is at most 0.02 wide, so the nearest vertex is about as near as the surface.
        let nearest = mesh.vertices.iter().map(|vertex| vertex.distance(p));
        let nearest = nearest.fold(f64::INFINITY, f64::min);
        assert!(
            found <= nearest && nearest - found < 0.02,
            "{p}: {found}, {nearest}"
        );
    }
}

#[test]
fn an_unsound_line_is_named() {
    for (text, line, part) in [
        ("v 1 2\n", Some(1), "3 coordinates"),
        (
            "\nv 1 2 x\n",
            Some(2),
            "a coordinate of a vertex, found \"x\"",
        ),
        ("v 1 2 inf\n", Some(1), "found \"inf\""),
        ("v 0 0 0\nf 1 1\n", Some(2), "at least 3 vertices, found 2"),
        (
            "v 0 0 0\n\nf 1 1 2\n",
            Some(3),
            "1 vertices, found vertex 2",
        ),
        ("v 0 0 0\nf 1 1 -2\n", Some(2), "found vertex -2"),
        ("v 0 0 0\nf 1 0 1\n", Some(2), "found vertex 0"),
        ("v 0 0 0\nf 1 /2 1\n", Some(2), "found \"/2\""),
        ("v 0 0 0\n", None, "faces"),
        ("\u{89}PNG\n", None, "faces"),
    ] {
        let fault = obj::parse(text).unwrap_err();
        assert_eq!(fault.line, line, "{text:?}");
        assert!(fault.text.contains(part), "{text:?}: {}", fault.text);
    }
}

#[test]
fn what_is_no_surface_of_a_solid_is_refused() {
    let without = |line: &str| BOX.replace(line, "");
    let top = "f 5/1 6/1 7/1 8/1 # the top";
    for (text, part) in [
        (without(top), "has a hole"),
        (BOX.replace(top, "f 8 7 6 5"), "face opposite ways"),
        (format!("{BOX}f 1 2 3\n"), "more than two triangles"),
        (
            "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 3 2 1\n".to_owned(),
            "no volume",
        ),
        ("v 0 0 0\nf 1 1 1\n".to_owned(), "no finite size"),
    ] {
        let refused = solid(&text).unwrap_err();
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn a_box_inside_out_and_one_with_a_vertex_for_each_corner_are_the_same_box() {
    let (positions, triangles) = obj::parse(BOX).unwrap();
    let turned: Vec<_> = triangles.iter().map(|&[a, b, c]| [c, b, a]).collect();
    let of_its_own: Vec<_> = triangles
        .iter()
        .flatten()
        .map(|&at| positions[at])
        .collect();
    let counted: Vec<_> = (0..triangles.len())
        .map(|at| [3 * at, 3 * at + 1, 3 * at + 2])
        .collect();
    let mut random = random();
    for mesh in [
        Mesh::new(&positions, &turned),
        Mesh::new(&of_its_own, &counted),
    ] {
        let mesh = mesh.unwrap();
        assert_eq!(mesh.vertices.len(), 8);
        let surface = Surface::new(&mesh);
        for _ in 0..100 {
            let p = uniform(&mut random, 0.0, 1.0);
            assert!(
                (surface.signed_distance(p) - of_box(p)).abs() < 1e-14,
                "{p}"
            );
        }
    }
}

#[test]
fn places_lie_near_the_surface_by_its_area() {
    let mesh = solid(BOX).unwrap();
    let places = Places::new(&mesh);
    let count = 40_000;
    let near = Samples::new(&Surface::new(&mesh), places.near(count, &mut random()));
    // The mean magnitude of a normal distribution is √(2/π) times its standard deviation. Near edges the distances are
    // smaller, but few samples are there.
    let magnitudes = near
        .distances
        .iter()
        .map(|distance| f64::from(distance.abs()));
    let mean = magnitudes.sum::<f64>() / count as f64;
    assert!((mean / 0.01 - (4.0 / TAU).sqrt()).abs() < 0.03, "{mean}");
    // Two faces have an area of 0.64 each, and four have 0.32 each. So half of the samples are on the two larger faces.
    let is_at = |place: &&Vec3| {
        let beyond = (place.as_dvec3() - 0.5).abs() - HALF;
        beyond.z.abs() < beyond.x.abs().min(beyond.y.abs())
    };
    let share = near.places.iter().filter(is_at).count() as f64 / count as f64;
    // The tolerance is five standard deviations.
    assert!(
        (share - 0.5).abs() < 5.0 * (0.25 / count as f64).sqrt(),
        "{share}"
    );

    let mixed = Samples::new(&Surface::new(&mesh), places.mixed(count, &mut random()));
    let far = mixed
        .distances
        .iter()
        .filter(|distance| distance.abs() > 0.06)
        .count();
    let uniform = Places::uniform(count, &mut random());
    let of_uniform = uniform
        .iter()
        .filter(|place| of_box(place.as_dvec3()).abs() > 0.06)
        .count();
    let expected = of_uniform as f64 / 8.0;
    assert!(
        (far as f64 - expected).abs() < 5.0 * expected.sqrt(),
        "{far}, {expected}"
    );
}

#[test]
fn a_picture_shows_what_the_rays_meet() {
    let size = 128;
    let corners = [0, 1, 2, 3, 4, 5, 6, 7].map(|at| [at & 1, at >> 1 & 1, at >> 2]);
    let corners = corners.map(|of| Vec3::from(of.map(|side| 0.2 + 0.6 * side as f32)));
    let camera = Camera::showing(corners.into_iter());
    let drawn = |distance: &dyn Fn(DVec3) -> f64| {
        let distances = |places: &[Vec3]| {
            #[expect(clippy::cast_possible_truncation, reason = "rounded")]
            let found = places.iter().map(|place| distance(place.as_dvec3()) as f32);
            Ok::<_, Infallible>(found.collect())
        };
        let Ok(picture) = tracing::draw(&camera, size, distances);
        picture
    };
    let count = |hits: &[bool]| hits.iter().filter(|&&hit| hit).count() as f64;
    // A camera at distance `d` sees a ball of radius `r` around the center as a disc of radius r / √(d² − r²) in the
    // plane at distance 1.
    let squared = (camera.origin.as_dvec3() - 0.5).length_squared();
    let radius = 0.301;
    let half_width = f64::from(camera.half_width);
    let ball = drawn(&|p| (p - 0.5).length() - 0.3);
    let disc = radius / (squared - radius * radius).sqrt() / half_width * f64::from(size) / 2.0;
    let expected = TAU / 2.0 * disc * disc;
    assert!(
        (count(&ball.hits) / expected - 1.0).abs() < 0.01,
        "{} {expected}",
        count(&ball.hits)
    );
    assert!(ball.hits[(size / 2 * size + size / 2) as usize] && !ball.hits[0]);

    let surface = Surface::new(&solid(BOX).unwrap());
    let [by_mesh, by_formula] = [drawn(&|p| surface.signed_distance(p)), drawn(&of_box)];
    assert!(by_mesh.agreement(&by_formula) > 0.999);
    assert!(by_mesh.agreement(&ball) < 0.9);
    // The light comes from above, so the top is brighter than the front.
    let brightness = |picture: &tracing::Picture, y: u32| picture.image.get_pixel(size / 2, y).0[0];
    assert!(brightness(&ball, size / 2 - 20) > brightness(&ball, size / 2 + 30));
}
