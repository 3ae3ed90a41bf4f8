//! A reader of OBJ files (Wavefront, "Object files", appendix B1 of the Advanced Visualizer's manual). It reads vertex
//! positions, `v x y z`, and faces, `f a b c …`. It ignores all other lines, because they do not affect the shape.

use std::fs;
use std::path::Path;

use glam::DVec3;

/// Vertex positions, and triangles of three indices of positions.
pub(crate) type Triangles = (Vec<DVec3>, Vec<[usize; 3]>);

/// Reads a file. A face of more than three corners becomes a fan of triangles around its first corner. The fan equals
/// the face if the face is convex and flat. Errors name the file and, if a line is invalid, the line.
pub(crate) fn read(path: &Path) -> Result<Triangles, String> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| format!("cannot read the mesh {name}: {error}"))?;
    // Names and comments may be in any encoding. They are not needed, so replace bytes that are not UTF-8.
    parse(&String::from_utf8_lossy(&bytes)).map_err(|fault| match fault.line {
        Some(line) => format!("{name}, line {line}: {}", fault.text),
        None => format!("{name}: {}", fault.text),
    })
}

/// A description of what is wrong in a file, and the number of the line, counted from 1.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

pub(crate) fn parse(text: &str) -> Result<Triangles, Fault> {
    let mut positions = Vec::new();
    let mut faces = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let at = |text| Fault {
            line: Some(line),
            text,
        };
        let content = content.split('#').next().unwrap_or_default();
        let mut words = content.split_whitespace();
        match words.next() {
            Some("v") => positions.push(position(words).map_err(at)?),
            Some("f") => {
                let corners = words.map(|word| corner(word, positions.len()));
                let corners = corners.collect::<Result<Vec<_>, _>>().map_err(at)?;
                if corners.len() < 3 {
                    let found = corners.len();
                    return Err(at(format!(
                        "expected a face of at least 3 vertices, found {found}"
                    )));
                }
                faces.push((line, corners));
            }
            _ => {}
        }
    }
    let triangles = fans(&faces, positions.len())?;
    Ok((positions, triangles))
}

/// Reads three coordinates. Ignores further words of the line: a weight or a color.
fn position<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<DVec3, String> {
    let mut coordinates = [0.0; 3];
    for coordinate in &mut coordinates {
        let word = words
            .next()
            .ok_or("expected 3 coordinates of a vertex, found fewer")?;
        *coordinate = word
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| format!("expected a coordinate of a vertex, found \"{word}\""))?;
    }
    Ok(DVec3::from(coordinates))
}

/// Returns the 0-based index of a corner's vertex. A corner is `7`, `7/2`, `7//3` or `7/2/3`; the first number is the
/// vertex. A positive number counts from 1. A negative number counts backward: −1 is the last vertex so far.
fn corner(word: &str, vertices_so_far: usize) -> Result<usize, String> {
    let fault = || {
        format!("expected the number of a vertex, such as 7, -1, 7/2 or 7/2/3, found \"{word}\"")
    };
    let number = word.split('/').next().unwrap_or_default();
    let number: i64 = number.parse().map_err(|_| fault())?;
    let magnitude = usize::try_from(number.unsigned_abs()).map_err(|_| fault())?;
    match number {
        1.. => Ok(magnitude - 1),
        0 => Err("vertices are numbered from 1, found vertex 0".to_owned()),
        _ => vertices_so_far.checked_sub(magnitude).ok_or_else(|| {
            format!("expected one of the {vertices_so_far} vertices above, found vertex {number}")
        }),
    }
}

fn fans(faces: &[(usize, Vec<usize>)], vertices: usize) -> Result<Vec<[usize; 3]>, Fault> {
    if faces.is_empty() {
        let text =
            "expected an OBJ file with faces, lines such as \"f 1 2 3\", found none".to_owned();
        return Err(Fault { line: None, text });
    }
    let mut triangles = Vec::new();
    for (line, corners) in faces {
        if let Some(missing) = corners.iter().find(|&&corner| corner >= vertices) {
            let number = missing + 1;
            return Err(Fault {
                line: Some(*line),
                text: format!(
                    "expected one of the file's {vertices} vertices, found vertex {number}"
                ),
            });
        }
        let rest = corners[1..].windows(2);
        triangles.extend(rest.map(|pair| [corners[0], pair[0], pair[1]]));
    }
    Ok(triangles)
}
