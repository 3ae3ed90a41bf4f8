//! Functions, pointers and module-scope variables.

use super::{Expected, check, floats};

#[test]
fn functions_within_functions_have_variables_of_their_own() {
    let text = "
        fn count(n: u32) -> u32 {
            var sum: u32;
            for (var at = 1u; at <= n; at++) { sum += at; }
            return sum;
        }
        fn twice(n: u32) -> u32 { return count(n) + count(n + 1u); }
        fn four(n: u32) -> u32 { let a = twice(n); return a + twice(count(n)); }
        @compute @workgroup_size(1) fn main() {
            for (var at = 0u; at < 4u; at++) { u(four(at)); }
        }";
    let count = |n: u32| n * (n + 1) / 2;
    let twice = |n| count(n) + count(n + 1);
    let told: Vec<u32> = (0..4).map(|n| twice(n) + twice(count(n))).collect();
    check(text, &[], &Expected::default().u(&told));
}

#[test]
fn returns_from_within_loops() {
    let text = "
        fn find(what: u32) -> i32 {
            for (var row = 0u; row < 3u; row++) {
                for (var column = 0u; column < 3u; column++) {
                    if (x[3u * row + column] == what) { return i32(10u * row + column); }
                    if (column > row) { break; }
                }
                switch row { case 2u: { return -2; } default: {} }
            }
            return -1;
        }
        @compute @workgroup_size(1) fn main() {
            for (var what = 0u; what < 10u; what++) { i(find(what)); }
        }";
    let x: [u32; 9] = [4, 1, 7, 2, 9, 5, 0, 3, 8];
    let find = |what: u32| {
        for row in 0..3_i32 {
            for column in 0..3_i32 {
                if i64::from(x[usize::try_from(3 * row + column).unwrap_or(9)]) == i64::from(what) {
                    return 10 * row + column;
                }
                if column > row {
                    break;
                }
            }
        }
        -2
    };
    let told: Vec<i32> = (0..10).map(find).collect();
    check(text, &x, &Expected::default().i(&told));
}

#[test]
fn structs_and_arrays_are_passed_and_returned_by_value() {
    let text = "
        struct Pair { a: f32, b: array<vec2f, 2> }
        fn change(pair: Pair, numbers: array<f32, 3>) -> Pair {
            var changed = pair;
            changed.a += numbers[2];
            changed.b[1].y = 9.0;
            return changed;
        }
        fn list(first: f32) -> array<f32, 3> { return array(first, first + 1.0, first + 2.0); }
        @compute @workgroup_size(1) fn main() {
            let pair = Pair(xf(0), array(vec2f(1.0, 2.0), vec2f(3.0, 4.0)));
            let changed = change(pair, list(xf(1)));
            f(pair.a); f2(pair.b[1]);
            f(changed.a); f2(changed.b[0]); f2(changed.b[1]);
            f(list(5.0)[x[2]]);
            f(change(changed, list(0.0)).a);
        }";
    let x = [floats(&[0.5, 10.0]), vec![1]].concat();
    let told = [0.5, 3.0, 4.0, 12.5, 1.0, 2.0, 3.0, 9.0, 6.0, 14.5];
    check(text, &x, &Expected::default().f(&told));
}

#[test]
fn pointers_to_variables_of_functions() {
    let text = "
        struct Pair { a: u32, b: array<u32, 3> }
        fn add(to: ptr<function, u32>, what: u32) { *to += what; }
        fn fill(to: ptr<function, array<u32, 3>>) { for (var at = 0u; at < 3u; at++) { (*to)[at] = at * at; } }
        fn sum(pair: ptr<function, Pair>) -> u32 {
            let b = &(*pair).b;
            add(&(*pair).a, 1u);
            return (*pair).a + (*b)[1] + b[2];
        }
        @compute @workgroup_size(1) fn main() {
            var pair: Pair;
            add(&pair.a, 5u);
            fill(&pair.b);
            u(sum(&pair)); u(pair.a);
            var at = x[0];
            let place = &pair.b[at];
            at = 0u;
            *place = 77u;
            u(pair.b[0]); u(pair.b[1]); u(pair.b[2]); u(*place);
            let whole = &pair;
            (*whole).b[at + 1u] = 8u;
            whole.a = 6u;
            u(pair.b[1]); u((*whole).a);
        }";
    check(
        text,
        &[2],
        &Expected::default().u(&[11, 6, 0, 1, 77, 77, 8, 6]),
    );
}

#[test]
fn private_variables_and_pointers_to_them() {
    let text = "
        var<private> count: u32 = 5u;
        var<private> list = array<i32, 3>(1, -2, 3);
        var<private> vector: vec3f = vec3f(0.5, 1.5, 2.5);
        var<private> zero: mat2x2f;
        fn next(of_count: ptr<private, u32>) -> u32 { *of_count += 1u; return *of_count; }
        fn also() { count *= 2u; list[1] = list[0] + list[2]; }
        @compute @workgroup_size(1) fn main() {
            u(next(&count)); u(next(&count));
            also();
            u(count);
            for (var at = 0u; at < 3u; at++) { i(list[at]); }
            vector.y = -1.0;
            f3(vector); f2(zero[1]);
        }";
    let told = Expected::default().u(&[6, 7, 14]).i(&[1, 4, 3]);
    check(text, &[], &told.f(&[0.5, -1.0, 2.5, 0.0, 0.0]));
}

#[test]
fn constants() {
    let text = "
        struct Pair { a: i32, b: vec2f }
        const three = 3;
        const list = array(1u, 2u, three * three);
        const pair = Pair(-three, vec2f(0.25 * three, sqrt(16.0)));
        const nested = array<array<vec2u, 2>, 2>(
            array(vec2u(1, 2), vec2u(3, 4)), array(vec2u(5, 6), vec2u(7, 8)));
        const_assert three < 4;
        alias Word = u32;
        @compute @workgroup_size(1) fn main() {
            const local = three + 4;
            u(list[x[0]]); i(pair.a); f2(pair.b);
            u(nested[x[1]][x[0] - 1u].y);
            u(Word(local));
            let copy = nested;
            u(copy[1][1].x);
            var changed = list;
            changed[x[0]] = local;
            u(changed[2]); u(changed[1]);
        }";
    let told = Expected::default()
        .u(&[9])
        .i(&[-3])
        .f(&[0.75, 4.0])
        .u(&[4, 7, 7, 7, 2]);
    check(text, &[2, 0], &told);
}

#[test]
fn results_that_are_dropped() {
    let text = "
        fn tell(value: u32) -> u32 { u(value); return value; }
        @must_use fn square(value: u32) -> u32 { return value * value; }
        @compute @workgroup_size(1) fn main() {
            tell(3u);
            _ = tell(4u);
            _ = square(2u);
            u(square(tell(5u)));
        }";
    check(text, &[], &Expected::default().u(&[3, 4, 5, 25]));
}

#[test]
fn assignments_with_operators() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            var a = x[0];
            a += 5u; u(a); a -= 2u; u(a); a *= 7u; u(a); a /= 4u; u(a); a %= 10u; u(a);
            a <<= 3u; u(a); a >>= 1u; u(a); a |= 0x41u; u(a); a &= 0x6cu; u(a); a ^= 0xffu; u(a);
            a++; u(a); a--; a--; u(a);
            var c = vec2f(1.0, 2.0);
            c += vec2f(0.5); f2(c); c *= 2.0; f2(c); c -= 1.0; f2(c); c /= vec2f(2.0, 4.0); f2(c);
            c.x += 10.0; f2(c);
            var d = array<i32, 2>(1, 2);
            d[x[1]] -= 5; i(d[1]);
        }";
    let mut a = 9_u32;
    let mut told = Vec::new();
    let steps: [fn(u32) -> u32; 12] = [
        |a| a + 5,
        |a| a - 2,
        |a| a * 7,
        |a| a / 4,
        |a| a % 10,
        |a| a << 3,
        |a| a >> 1,
        |a| a | 0x41,
        |a| a & 0x6c,
        |a| a ^ 0xff,
        |a| a + 1,
        |a| a - 2,
    ];
    for step in steps {
        a = step(a);
        told.push(a);
    }
    let floats = [1.5, 2.5, 3.0, 5.0, 2.0, 4.0, 1.0, 1.0, 11.0, 1.0];
    check(
        text,
        &[9, 1],
        &Expected::default().u(&told).f(&floats).i(&[-3]),
    );
}
