//! Structs, arrays and matrices, and their layout in buffers.

use wgsl_sanitizer::{Buffer, Dispatch, Settings, Shader, sanitize};

use super::{Expected, check, floats};

/// Checks that each expression in `reads` reads the buffer's word with the given index. The indices follow from the
/// WGSL specification (section "Memory Layout").
fn check_layout(declarations: &str, reads: &[(&str, u32)]) {
    let text = format!(
        "{declarations}
         @group(0) @binding(1) var<storage, read_write> out: array<u32>;
         @compute @workgroup_size(1) fn main() {{ {} }}",
        (0..)
            .zip(reads)
            .map(|(at, (read, _))| format!("out[{at}] = {read};\n"))
            .collect::<String>()
    );
    let shader = Shader::parse("layout.wgsl", &text).unwrap_or_else(|error| panic!("{error}"));
    let kernel = shader
        .kernel("main", &[])
        .unwrap_or_else(|error| panic!("{error}"));
    let words: Vec<u32> = (0..256).collect();
    let mut buffers = [Buffer::from_u32s(&words), Buffer::unwritten(reads.len())];
    let dispatch = Dispatch::new([1, 1, 1]).bind(0, 0, 0).bind(0, 1, 1);
    let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default());
    assert!(report.is_ok_and(|report| report.is_clean()));
    let expected: Vec<u32> = reads.iter().map(|&(_, word)| word).collect();
    assert_eq!(buffers[1].u32s(), expected);
}

#[test]
fn members_lie_at_their_alignments() {
    check_layout(
        "struct Inner { a: vec2u, b: u32 }
         struct Outer {
             a: u32, b: vec3u, c: u32, d: vec2u, inner: Inner, list: array<Inner, 2>,
             @align(32) e: u32, @size(20) f: u32, g: vec4u, h: array<vec3u, 2>, tail: array<vec3u>,
         }
         @group(0) @binding(0) var<storage, read> x: Outer;",
        &[
            ("x.a", 0),
            ("x.b.x", 4),
            ("x.b.z", 6),
            ("x.c", 7),
            ("x.d.y", 9),
            ("x.inner.a.x", 10),
            ("x.inner.b", 12),
            ("x.list[0].a.y", 15),
            ("x.list[1].b", 20),
            ("x.e", 24),
            ("x.f", 25),
            ("x.g.x", 32),
            ("x.h[1].y", 41),
            ("x.tail[0].x", 44),
            ("x.tail[2].z", 54),
            ("arrayLength(&x.tail)", (256 - 44) / 4),
        ],
    );
}

#[test]
fn columns_of_matrices_lie_at_their_alignments() {
    let words = |name: &str, columns: u32, rows: u32, stride: u32, start: u32| {
        let all = (0..columns).flat_map(move |column| (0..rows).map(move |row| (column, row)));
        let place = move |(column, row)| start + column * stride + row;
        all.map(|at @ (column, row)| {
            (
                format!("bitcast<u32>(x.{name}[{column}][{row}])"),
                place(at),
            )
        })
        .collect::<Vec<_>>()
    };
    let reads = [
        words("a", 2, 2, 2, 0),
        words("b", 3, 3, 4, 4),
        words("c", 2, 4, 4, 16),
        words("d", 4, 2, 2, 24),
        words("e", 4, 3, 4, 32),
        words("f[1]", 3, 3, 4, 60),
    ]
    .concat();
    let reads: Vec<(&str, u32)> = reads.iter().map(|(read, word)| (&**read, *word)).collect();
    check_layout(
        "struct Matrices {
             a: mat2x2f, b: mat3x3f, c: mat2x4f, d: mat4x2f, e: mat4x3f, f: array<mat3x3f, 2>,
         }
         @group(0) @binding(0) var<storage, read> x: Matrices;",
        &reads,
    );
}

#[test]
fn uniform_arrays_lie_at_multiples_of_16() {
    check_layout(
        "struct Inner { @size(16) a: u32 }
         struct Uniform { a: array<vec4u, 2>, b: array<Inner, 3>, c: vec3u, d: u32 }
         @group(0) @binding(0) var<uniform> x: Uniform;",
        &[
            ("x.a[1].w", 7),
            ("x.b[0].a", 8),
            ("x.b[2].a", 16),
            ("x.c.y", 21),
            ("x.d", 23),
        ],
    );
}

#[test]
fn writes_leave_gaps_as_they_are() {
    let text = "
        struct Pair { a: u32, b: vec3u }
        @group(0) @binding(0) var<storage, read_write> pairs: array<Pair>;
        @group(0) @binding(1) var<storage, read_write> matrix: mat3x3f;
        @compute @workgroup_size(1) fn main() {
            pairs[1] = Pair(100u, vec3u(101u, 102u, 103u));
            pairs[0].b.y = 104u;
            matrix = mat3x3f(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0);
            matrix[1] *= 10.0;
            matrix[2][0] = -1.0;
        }";
    let shader = Shader::parse("gaps.wgsl", text).unwrap_or_else(|error| panic!("{error}"));
    let kernel = shader
        .kernel("main", &[])
        .unwrap_or_else(|error| panic!("{error}"));
    let words: Vec<u32> = (0..16).collect();
    let mut buffers = [Buffer::from_u32s(&words), Buffer::from_f32s(&[0.5; 12])];
    let dispatch = Dispatch::new([1, 1, 1]).bind(0, 0, 0).bind(0, 1, 1);
    let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default());
    assert!(report.is_ok_and(|report| report.is_clean()));
    assert_eq!(
        buffers[0].u32s(),
        [0, 1, 2, 3, 4, 104, 6, 7, 100, 9, 10, 11, 101, 102, 103, 15]
    );
    assert_eq!(
        buffers[1].f32s(),
        [
            1.0, 2.0, 3.0, 0.5, 40.0, 50.0, 60.0, 0.5, -1.0, 8.0, 9.0, 0.5
        ]
    );
}

#[test]
fn products_of_matrices() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let m = mat3x2f(xf(0), xf(1), xf(2), xf(3), xf(4), xf(5));
            f2(m * vec3f(1.0, 2.0, 3.0));
            f3(vec2f(1.0, 2.0) * m);
            let square = m * mat2x3f(vec3f(1.0, 0.0, 2.0), vec3f(0.0, 3.0, 0.0));
            f2(square[0]); f2(square[1]);
            let t = transpose(m);
            f3(t[0]); f3(t[1]);
            f2((2.0 * m)[2]); f2((m * 0.5)[1]);
            let sum = m + m - mat3x2f(1.0, 1.0, 1.0, 1.0, 1.0, 1.0);
            f2(sum[0]); f2(sum[2]);
            f(determinant(square));
            b(all(m[0] == vec2f(xf(0), xf(1))));
            var changed = m;
            changed[x[6]] = vec2f(-1.0, -2.0);
            changed[0][x[6]] = 9.0;
            f2(changed[0]); f2(changed[1]); f2(changed[2]);
            let copy = mat3x2f(m);
            f(copy[2].y);
        }";
    let m = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let x = [floats(&m.concat()), vec![1]].concat();
    let times =
        |v: [f32; 3]| [0, 1].map(|row| m[0][row] * v[0] + m[1][row] * v[1] + m[2][row] * v[2]);
    let [c0, c1] = [times([1.0, 0.0, 2.0]), times([0.0, 3.0, 0.0])];
    let told = Expected::default()
        .f(&times([1.0, 2.0, 3.0]))
        .f(&m.map(|column: [f32; 2]| column[0] + 2.0 * column[1]))
        .f(&[c0, c1].concat())
        .f(&[1.0, 3.0, 5.0, 2.0, 4.0, 6.0])
        .f(&[10.0, 12.0, 1.5, 2.0])
        .f(&[1.0, 3.0, 9.0, 11.0])
        .f(&[c0[0] * c1[1] - c1[0] * c0[1]])
        .b(&[true])
        .f(&[1.0, 9.0, -1.0, -2.0, 5.0, 6.0, 6.0]);
    check(text, &x, &told);
}

#[test]
fn nested_arrays() {
    let text = "
        struct Cell { value: u32, pair: array<vec2u, 2> }
        @compute @workgroup_size(1) fn main() {
            var cells: array<array<Cell, 3>, 2>;
            for (var row = 0u; row < 2u; row++) {
                for (var column = 0u; column < 3u; column++) {
                    cells[row][column].value = 10u * row + column;
                    cells[row][column].pair[column % 2u][row] = 5u + column;
                }
            }
            let copy = cells;
            cells[1] = cells[0];
            u(copy[1][2].value); u(cells[1][2].value);
            u(copy[x[0]][x[1]].pair[0].y);
            u(cells[x[0]][x[1]].pair[0].x);
            var row = copy[x[0]];
            row[0].pair = array(vec2u(1u, 2u), vec2u(3u, x[1]));
            u(row[0].pair[1].y); u(copy[1][0].pair[1].y);
            var big = array<array<u32, 16>, 16>();
            big[x[1]][15] = 4u;
            var total = 0u;
            for (var at = 0u; at < 256u; at++) { total += big[at / 16u][at % 16u]; }
            u(total);
            big = array<array<u32, 16>, 16>();
            u(big[2][15]);
        }";
    check(
        text,
        &[1, 2],
        &Expected::default().u(&[12, 2, 7, 7, 2, 0, 4, 0]),
    );
}

#[test]
fn long_constants_of_zeros() {
    let text = "
        const z = array<f32, 100>();
        const both = array<array<f32, 100>, 2>(z, array<f32, 100>());
        const pair = Pair(7u, array<u32, 80>(), 9u);
        struct Pair { first: u32, list: array<u32, 80>, last: u32 }
        var<private> p: array<f32, 100> = array<f32, 100>();
        var<private> q: array<f32, 100> = z;
        var<private> r: Pair = Pair(1u, array<u32, 80>(), 2u);
        @compute @workgroup_size(1) fn main() {
            if (x[0] == 5u) { var unused = z; unused[0] = 1.0; }
            var a = z;
            a[99] += 1.0;
            var c = both;
            c[1][3] += 2.0;
            for (var k = 0; k < 2; k++) {
                var d = z;
                d[k] += 4.0;
                f(d[0] + d[1]);
            }
            f(a[99]); f(a[0]); f(c[1][3]); f(c[0][3]); f(p[x[0]]); f(q[x[0]]); f(z[x[0]]);
            u(r.first); u(r.list[x[0]]); u(r.last); u(pair.first); u(pair.list[x[0]]); u(pair.last);
        }";
    let told = Expected::default()
        .f(&[4.0, 4.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0])
        .u(&[1, 0, 2, 7, 0, 9]);
    check(text, &[79], &told);
}

#[test]
fn pointers_that_are_not_used() {
    let text = "
        struct Pair { a: u32, list: array<vec4u, 3> }
        var<workgroup> shared_one: array<Pair, 2>;
        var<private> own: array<u32, 4>;
        fn unused(at: ptr<private, u32>) -> u32 { return 3u; }
        @compute @workgroup_size(1) fn main() {
            let i = x[0];
            let p = &x[i];
            let r = &shared_one[i];
            let s = &own[i];
            let q = &(*r).list[1];
            u(unused(&own[1]));
        }";
    check(text, &[1], &Expected::default().u(&[3]));
}
