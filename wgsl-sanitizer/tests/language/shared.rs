//! Computations by several invocations, and the built-in values of each.

use wgsl_sanitizer::{Buffer, Dispatch, Settings, Shader, sanitize};

use super::{Expected, check};

/// Runs `main` with buffers at bindings 0, 1, … of group 0. Returns their contents afterwards.
fn run(
    text: &str,
    workgroups: [u32; 3],
    constants: &[(&str, f64)],
    buffers: &[Buffer],
) -> Vec<Buffer> {
    let shader = Shader::parse("test.wgsl", text).unwrap_or_else(|error| panic!("{error}"));
    let kernel = shader
        .kernel("main", constants)
        .unwrap_or_else(|error| panic!("{error}"));
    let numbered = (0..).take(buffers.len()).zip(0_u32..);
    let dispatch = numbered.fold(Dispatch::new(workgroups), |dispatch, (buffer, binding)| {
        dispatch.bind(0, binding, buffer)
    });
    let mut buffers = buffers.to_vec();
    let report = sanitize(&kernel, &dispatch, &mut buffers, &Settings::default());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert!(report.is_clean(), "{report}");
    buffers
}

#[test]
fn built_in_values() {
    let text = "
        struct Given {
            @builtin(local_invocation_id) local: vec3u,
            @builtin(workgroup_id) group: vec3u,
            @builtin(num_workgroups) groups: vec3u,
        }
        @group(0) @binding(0) var<storage, read_write> out: array<array<u32, 13>>;
        @compute @workgroup_size(2, 3, 2)
        fn main(
            given: Given,
            @builtin(global_invocation_id) global: vec3u,
            @builtin(local_invocation_index) index: u32,
        ) {
            let size = vec3u(2, 3, 2) * given.groups;
            let at = (global.z * size.y + global.y) * size.x + global.x;
            let l = given.local; let g = given.group; let n = given.groups;
            out[at] = array(l.x, l.y, l.z, g.x, g.y, g.z, n.x, n.y, n.z, global.x, global.y, global.z, index);
        }";
    let [nx, ny, nz] = [3_u32, 2, 2];
    let size = [2 * nx, 3 * ny, 2 * nz];
    let mut expected = Vec::new();
    for z in 0..size[2] {
        for y in 0..size[1] {
            for x in 0..size[0] {
                let [l, g] = [[x % 2, y % 3, z % 2], [x / 2, y / 3, z / 2]];
                expected.extend([l, g, [nx, ny, nz], [x, y, z]].concat());
                expected.push((l[2] * 3 + l[1]) * 2 + l[0]);
            }
        }
    }
    let out = run(
        text,
        [nx, ny, nz],
        &[],
        &[Buffer::unwritten(expected.len())],
    );
    assert_eq!(out[0].u32s(), expected);
}

#[test]
fn a_tree_of_sums() {
    let text = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        override size: u32 = 64;
        var<workgroup> tile: array<f32, 128>;
        @compute @workgroup_size(size)
        fn main(@builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
            tile[i] = x[group.x * size + i];
            for (var half = size / 2u; half > 0u; half /= 2u) {
                workgroupBarrier();
                if (i < half) { tile[i] += tile[i + half]; }
            }
            if (i == 0u) { y[group.x] = tile[0]; }
        }";
    let x: Vec<f32> = (0..256_u16).map(|at| 1.0 / f32::from(at + 1)).collect();
    for (size, count) in [(64.0, 4), (32.0, 8), (128.0, 2)] {
        let sum = |numbers: &[f32]| {
            let mut sums = numbers.to_vec();
            while sums.len() > 1 {
                let (left, right) = sums.split_at(sums.len() / 2);
                sums = left
                    .iter()
                    .zip(right)
                    .map(|(left, right)| left + right)
                    .collect();
            }
            sums[0]
        };
        let expected: Vec<f32> = x.chunks(256 / count).map(sum).collect();
        let buffers = [Buffer::from_f32s(&x), Buffer::unwritten(count)];
        let groups = u32::try_from(count).unwrap_or(0);
        let out = run(text, [groups, 1, 1], &[("size", size)], &buffers);
        assert_eq!(out[1].f32s(), expected);
    }
}

#[test]
fn prefix_sums() {
    let text = "
        @group(0) @binding(0) var<storage, read_write> x: array<u32>;
        var<workgroup> tile: array<u32, 64>;
        @compute @workgroup_size(64)
        fn main(@builtin(local_invocation_index) i: u32) {
            tile[i] = x[i];
            for (var step = 1u; step < 64u; step *= 2u) {
                workgroupBarrier();
                var sum = tile[i];
                if (i >= step) { sum += tile[i - step]; }
                workgroupBarrier();
                tile[i] = sum;
            }
            x[i] = tile[i];
        }";
    let x: Vec<u32> = (0..64).map(|at| at * at % 17).collect();
    let sums = x.iter().scan(0, |sum, x| {
        *sum += x;
        Some(*sum)
    });
    let expected: Vec<u32> = sums.collect();
    let out = run(text, [1, 1, 1], &[], &[Buffer::from_u32s(&x)]);
    assert_eq!(out[0].u32s(), expected);
}

#[test]
fn a_product_by_tiles() {
    let text = "
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read> b: array<f32>;
        @group(0) @binding(2) var<storage, read_write> c: array<f32>;
        var<workgroup> tile_a: array<array<f32, 4>, 4>;
        var<workgroup> tile_b: array<array<f32, 4>, 4>;
        const size = 8u;
        @compute @workgroup_size(4, 4)
        fn main(@builtin(global_invocation_id) global: vec3u, @builtin(local_invocation_id) local: vec3u) {
            var sum = 0.0;
            for (var block = 0u; block < size; block += 4u) {
                tile_a[local.y][local.x] = a[global.y * size + block + local.x];
                tile_b[local.y][local.x] = b[(block + local.y) * size + global.x];
                workgroupBarrier();
                for (var k = 0u; k < 4u; k++) { sum += tile_a[local.y][k] * tile_b[k][local.x]; }
                workgroupBarrier();
            }
            c[global.y * size + global.x] = sum;
        }";
    let numbers = |by: u16| {
        (0..64_u16)
            .map(|at| f32::from(at * by % 13) - 6.0)
            .collect::<Vec<f32>>()
    };
    let a = numbers(5);
    let b = numbers(7);
    let mut expected = Vec::new();
    for row in 0..8 {
        for column in 0..8 {
            let terms = (0..8).map(|k| a[8 * row + k] * b[8 * k + column]);
            expected.push(terms.fold(0.0, |sum, term| sum + term));
        }
    }
    let buffers = [
        Buffer::from_f32s(&a),
        Buffer::from_f32s(&b),
        Buffer::unwritten(64),
    ];
    let out = run(text, [2, 2, 1], &[], &buffers);
    assert_eq!(out[2].f32s(), expected);
}

#[test]
fn atomic_operations() {
    let text = "
        var<workgroup> w: atomic<i32>;
        var<workgroup> bits: array<atomic<u32>, 2>;
        @compute @workgroup_size(1) fn main() {
            atomicStore(&w, xi(0));
            i(atomicAdd(&w, 5)); i(atomicSub(&w, 20)); i(atomicMax(&w, 3)); i(atomicMin(&w, -4)); i(atomicLoad(&w));
            i(atomicExchange(&w, 77));
            let missed = atomicCompareExchangeWeak(&w, 1, 2);
            i(missed.old_value); b(missed.exchanged);
            let made = atomicCompareExchangeWeak(&w, 77, -9);
            i(made.old_value); b(made.exchanged); i(atomicLoad(&w));
            atomicStore(&bits[1], 0xf0u);
            let at = x[1];
            u(atomicAnd(&bits[at], 0x3cu)); u(atomicOr(&bits[at], 1u)); u(atomicXor(&bits[at], 0xffu));
            u(atomicLoad(&bits[at])); u(atomicMax(&bits[at], 0xfffffff0u)); u(atomicMin(&bits[at], 7u));
            u(atomicLoad(&bits[1])); u(atomicLoad(&bits[0]));
        }";
    let told = Expected::default()
        .i(&[10, 15, -5, 3, -4, -4, 77])
        .b(&[false])
        .i(&[77])
        .b(&[true])
        .i(&[-9])
        .u(&[0xf0, 0x30, 0x31, 0xce, 0xce, 0xffff_fff0, 7, 0]);
    check(text, &[10, 1], &told);
}

#[test]
fn a_uniform_load_is_the_same_for_all() {
    let text = "
        @group(0) @binding(0) var<storage, read_write> y: array<u32>;
        struct Pair { a: u32, b: vec2u }
        var<workgroup> pair: Pair;
        @compute @workgroup_size(8)
        fn main(@builtin(local_invocation_index) i: u32) {
            for (var turn = 0u; turn < 8u; turn++) {
                if (i == turn) { pair = Pair(turn * turn, vec2u(i, 1u)); }
                let all = workgroupUniformLoad(&pair);
                y[i] += all.a + all.b.x + all.b.y;
            }
        }";
    let out = run(text, [1, 1, 1], &[], &[Buffer::zeros(8)]);
    let sum: u32 = (0..8).map(|turn| turn * turn + turn + 1).sum();
    assert_eq!(out[0].u32s(), [sum; 8]);
}
