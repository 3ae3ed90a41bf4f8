//! Vectors: components, swizzles and operators.

use super::{Expected, check, floats, signed};

#[test]
fn swizzles_and_constructors() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let v = vec4f(xf(0), xf(1), xf(2), xf(3));
            f4(v.wzyx); f3(v.rrb); f2(v.yw); f(v.a);
            f4(vec4f(v.xy, v.x, 7.0)); f4(vec4f(9.0, v.yzw.zx, 8.0)); f3(vec3f(v.zz, 1.0)); f2(vec2f(3.0));
            f4(v.xyzw.zwxy.xyzw);
            f3(vec4f().xyz);
            f(v[x[4]]);
        }";
    let x = [floats(&[1.5, 2.5, 3.5, 4.5]), vec![2]].concat();
    let told = [
        4.5, 3.5, 2.5, 1.5, 1.5, 1.5, 3.5, 2.5, 4.5, 4.5, 1.5, 2.5, 1.5, 7.0, 9.0, 4.5, 2.5, 8.0,
        3.5, 3.5, 1.0, 3.0, 3.0, 3.5, 4.5, 1.5, 2.5, 0.0, 0.0, 0.0, 3.5,
    ];
    check(text, &x, &Expected::default().f(&told));
}

#[test]
fn components_are_assigned() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            var v = vec3u(1u, 2u, 3u);
            v.z = 9u; v[0] = 5u; v[x[0]] += 10u;
            u(v.x); u(v.y); u(v.z);
            var list = array<vec2i, 2>();
            list[x[0]].y = -4;
            list[1][0] = 6;
            i(list[1].x); i(list[1].y); i(list[0].x);
        }";
    check(
        text,
        &[1],
        &Expected::default().u(&[5, 12, 9]).i(&[6, -4, 0]),
    );
}

#[test]
fn operators_on_vectors() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let a = vec3f(xf(0), xf(1), xf(2));
            f3(a + 1.0); f3(1.0 - a); f3(a * a); f3(a / 2.0); f3(2.0 / a); f3(-a); f3(a % vec3f(2.0));
            let c = vec3i(xi(3), xi(4), xi(5));
            let d = c / 2 + c % 2 * vec3i(100);
            i(d.x); i(d.y); i(d.z);
            let e = ~c; i(e.x);
            let g = (c << vec3u(1u)) | vec3i(1); i(g.y);
            let h = c & vec3i(0xff); i(h.z);
        }";
    let a = [3.0_f32, -5.0, 0.5];
    let c = [7, -7, -1_i32];
    let x = [floats(&a), signed(&c)].concat();
    let told = Expected::default()
        .f(&a.map(|a| a + 1.0))
        .f(&a.map(|a| 1.0 - a))
        .f(&a.map(|a| a * a))
        .f(&a.map(|a| a / 2.0))
        .f(&a.map(|a| 2.0 / a))
        .f(&a.map(|a| -a))
        .f(&a.map(|a| a % 2.0))
        .i(&c.map(|c| c / 2 + c % 2 * 100))
        .i(&[!c[0], c[1] << 1 | 1, c[2] & 0xff]);
    check(text, &x, &told);
}

#[test]
fn vectors_of_bool() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let a = vec4i(xi(0), xi(1), xi(2), xi(3));
            let less = a < vec4i(2);
            b(less.x); b(less.y); b(less.z); b(less.w);
            b(any(less)); b(all(less)); b(all(less | !less)); b(any(less & !less));
            let chosen = select(a, vec4i(100), less);
            i(chosen.x); i(chosen.y); i(chosen.z); i(chosen.w);
            let one = select(vec2f(1.0, 2.0), vec2f(3.0, 4.0), less.z);
            f2(one);
            let from_bool = vec2u(less.xy);
            u(from_bool.x); u(from_bool.y);
            let same = (a == a.yxzw) != (a >= vec4i(3));
            b(same.x); b(same.z); b(same.w);
            var flags = vec2<bool>(true, false);
            flags.y = flags.x && a.x == 1;
            b(flags.y);
            b(select(false, true, a.w > 0));
        }";
    let a = [1, 2, -3, 4];
    let less = a.map(|a| a < 2);
    let told = Expected::default()
        .b(&less)
        .b(&[true, false, true, false])
        .i(&[100, 2, 100, 4])
        .f(&[3.0, 4.0])
        .u(&[1, 0])
        .b(&[false, true, false, true, true]);
    check(text, &signed(&a), &told);
}

#[test]
fn geometry() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let a = vec3f(xf(0), xf(1), xf(2));
            let c = vec3f(2.0, -1.0, 0.5);
            f(dot(a, c)); f3(cross(a, c)); f(length(vec2f(xf(0), xf(1)))); f(distance(a, a + vec3f(0.0, 2.0, 0.0)));
            f2(normalize(vec2f(xf(0), xf(1))));
            f3(faceForward(c, a, a)); f3(reflect(a, vec3f(0.0, 1.0, 0.0)));
            i(dot(vec3i(xi(3), 2, 3), vec3i(4, -5, 6)));
            f3(mix(a, c, 0.25)); f3(mix(a, c, vec3f(0.0, 1.0, 0.5)));
        }";
    let a = [3.0_f32, 4.0, 1.0];
    let c = [2.0_f32, -1.0, 0.5];
    let x = [floats(&a), signed(&[-7])].concat();
    let mix = |by: [f32; 3]| [0, 1, 2].map(|at| a[at] * (1.0 - by[at]) + c[at] * by[at]);
    let told = Expected::default()
        .f(&[2.5])
        .f(&[4.0 * 0.5 + 1.0, 2.0 - 1.5, -3.0 - 8.0])
        .f(&[5.0, 2.0, 0.6, 0.8])
        .f(&c.map(|c| -c))
        .f(&[3.0, -4.0, 1.0])
        .i(&[-28 - 10 + 18])
        .f(&mix([0.25; 3]))
        .f(&mix([0.0, 1.0, 0.5]));
    check(text, &x, &told);
}
