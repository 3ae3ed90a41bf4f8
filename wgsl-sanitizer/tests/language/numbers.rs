//! Numbers: operators, conversions, built-in functions, `f16`.

use half::f16;

use super::{Expected, check, floats, signed};

#[test]
fn integers_wrap_and_divide_towards_zero() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            i(xi(0) + 1); i(xi(1) - 1); i(xi(0) * 2); i(-xi(1));
            i(xi(2) / 2); i(xi(2) % 2); i(xi(2) / -2); i(xi(2) % -2); i(xi(2) >> 1u);
            u(x[3] + x[3]); u(x[3] * x[3]); u(x[4] - x[3]); u(x[3] / 7u); u(x[3] % 7u); u(x[3] >> 4u);
            u(x[3] << 4u); u(-1u + x[4] * 0u);
            b(xi(2) < 0); b(x[2] < 5u); b(xi(0) > xi(1)); b(x[0] > x[1]);
        }"
    .replace("-1u", "0xffffffffu");
    let x = [i32::MAX, i32::MIN, -7];
    let big = 4_000_000_000_u32;
    let small = 5;
    let words = [signed(&x), vec![big, small]].concat();
    let told = Expected::default()
        .i(&[i32::MIN, i32::MAX, -2, i32::MIN])
        .i(&[-3, -1, 3, -1, -4])
        .u(&[
            big.wrapping_add(big),
            big.wrapping_mul(big),
            small.wrapping_sub(big),
            big / 7,
            big % 7,
            big >> 4,
            big << 4,
            u32::MAX,
        ])
        .b(&[true, false, true, false]);
    check(&text, &words, &told);
}

#[test]
fn floats_by_ieee() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let a = xf(0); let c = xf(1);
            f(a + c); f(a - c); f(a * c); f(a / c); f(a % c); f(fma(a, c, -a)); f(sqrt(a)); f(-a);
            b(a < c); b(a <= a); b(xf(2) == xf(2)); b(xf(2) != xf(2)); b(xf(2) < 1.0);
            b(xf(3) == -xf(3));
            f(xf(4) * 2.0); f(xf(5) / 2.0);
        }";
    let a = 0.1_f32;
    let c = 3.7_f32;
    let x = floats(&[a, c, f32::NAN, 0.0, f32::MAX, f32::MIN_POSITIVE]);
    let told = Expected::default()
        .f(&[
            a + c,
            a - c,
            a * c,
            a / c,
            a % c,
            a.mul_add(c, -a),
            a.sqrt(),
            -a,
        ])
        .b(&[true, true, false, true, false, true])
        .f(&[f32::INFINITY, f32::MIN_POSITIVE / 2.0]);
    check(text, &x, &told);
}

#[test]
fn conversions() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            f(f32(xi(0))); f(f32(x[0])); f(f32(x[1] == 3u)); f(f32(xi(2)));
            i(i32(xf(3))); i(i32(xf(4))); i(i32(x[0])); i(i32(x[1] != 3u));
            u(u32(xf(3))); u(u32(xi(0))); u(u32(x[1] == 3u));
            b(bool(xi(0))); b(bool(x[5])); b(bool(xf(3))); b(bool(xf(5)));
            let v = vec3i(vec3f(xf(3), xf(4), 1.9));
            i(v.x); i(v.y); i(v.z);
            let w = vec2f(vec2u(x[0], x[1]));
            f2(w);
            u(bitcast<u32>(xf(4))); f(bitcast<f32>(x[3])); i(bitcast<i32>(x[0]));
            let bits = bitcast<vec2u>(vec2f(1.0, xf(3)));
            u(bits.x); u(bits.y);
        }";
    let minus = -9_i32;
    let plus = 7.75_f32;
    let less = -7.75_f32;
    let x = [
        minus.cast_unsigned(),
        3,
        16_777_217,
        plus.to_bits(),
        less.to_bits(),
        0,
    ];
    let told = Expected::default()
        .f(&[-9.0, 4_294_967_296.0, 1.0, 16_777_216.0])
        .i(&[7, -7, -9, 0])
        .u(&[7, minus.cast_unsigned(), 1])
        .b(&[true, false, true, false])
        .i(&[7, -7, 1])
        .f(&[4_294_967_296.0, 3.0])
        .u(&[less.to_bits()])
        .f(&[plus])
        .i(&[-9])
        .u(&[1.0_f32.to_bits(), plus.to_bits()]);
    check(text, &x, &told);
}

#[test]
fn functions_of_numbers() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let a = xf(0); let n = xi(1); let w = x[2];
            f(abs(a)); f(floor(a)); f(ceil(a)); f(trunc(a)); f(fract(a)); f(round(a)); f(sign(a));
            f(min(a, 1.0)); f(max(a, 1.0)); f(clamp(a, -1.0, 1.0)); f(saturate(a)); f(step(a, 0.0));
            f(smoothstep(0.0, 2.0, 0.5 - a * 0.0)); f(degrees(0.0)); f(pow(2.0, 3.0 + a * 0.0)); f(exp2(a * 0.0 + 5.0));
            f(log2(8.0 + a * 0.0)); f(inverseSqrt(4.0 + a * 0.0)); f(ldexp(a, 3));
            i(abs(n)); i(sign(n)); i(min(n, 3)); i(max(n, 3)); i(clamp(n, -2, 2));
            u(countOneBits(w)); u(countLeadingZeros(w)); u(countTrailingZeros(w)); u(firstLeadingBit(w));
            u(firstTrailingBit(w)); u(reverseBits(w)); u(extractBits(w, 4u, 8u)); u(insertBits(w, 0xfu, 8u, 4u));
            i(extractBits(n, 0u, 3u)); u(min(w, 5u)); u(max(w, 5u));
        }";
    let a = -2.5_f32;
    let n = -5_i32;
    let w = 0x00f0_1230_u32;
    let x = [a.to_bits(), n.cast_unsigned(), w];
    let told = Expected::default()
        .f(&[2.5, -3.0, -2.0, -2.0, 0.5, -2.0, -1.0])
        .f(&[-2.5, 1.0, -1.0, 0.0, 1.0])
        .f(&[0.25 * 0.25 * (3.0 - 0.5), 0.0, 8.0, 32.0, 3.0, 0.5, -20.0])
        .i(&[5, -1, -5, 3, -2])
        .u(&[
            w.count_ones(),
            w.leading_zeros(),
            w.trailing_zeros(),
            31 - w.leading_zeros(),
            w.trailing_zeros(),
            w.reverse_bits(),
            w >> 4 & 0xff,
            w & !0xf00 | 0xf00,
        ])
        .i(&[3])
        .u(&[5, w]);
    check(text, &x, &told);
}

#[test]
fn results_in_two_parts() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let parts = modf(xf(0)); f(parts.fract); f(parts.whole);
            let both = modf(vec2f(xf(0), 2.0)); f2(both.fract); f2(both.whole);
            let split = frexp(xf(1)); f(split.fract); i(split.exp);
            let splits = frexp(vec2f(xf(1), 1.0)); f2(splits.fract); i(splits.exp.x); i(splits.exp.y);
        }";
    let told = Expected::default()
        .f(&[-0.25, -3.0, -0.25, 0.0, -3.0, 2.0])
        .f(&[0.75])
        .i(&[4])
        .f(&[0.75, 0.5])
        .i(&[4, 1]);
    check(text, &floats(&[-3.25, 12.0]), &told);
}

#[test]
fn packing() {
    let text = "
        @compute @workgroup_size(1) fn main() {
            let v = vec4f(xf(0), xf(1), xf(2), xf(3));
            u(pack4x8unorm(v)); u(pack4x8snorm(v)); u(pack2x16unorm(v.xz)); u(pack2x16snorm(v.xy)); u(pack2x16float(v.xy));
            f4(unpack4x8unorm(x[4])); f4(unpack4x8snorm(x[4])); f2(unpack2x16unorm(x[4])); f2(unpack2x16float(x[5]));
            u(pack4xU8(vec4u(1u, 2u, 300u, x[6]))); u4(unpack4xU8(x[4]));
            i(dot4I8Packed(x[4], x[4])); u(dot4U8Packed(x[4], 0x01010101u));
        }";
    let word = 0x80_7f_01_ff_u32;
    let half =
        u32::from(f16::from_f32(1.5).to_bits()) | u32::from(f16::from_f32(-2.0).to_bits()) << 16;
    let x = [floats(&[1.0, -0.5, 0.2, 2.0]), vec![word, half, 5]].concat();
    let bytes = word.to_le_bytes();
    let unit = bytes.map(|byte| f32::from(byte) / 255.0);
    let signed = bytes.map(|byte| (f32::from(byte.cast_signed()) / 127.0).max(-1.0));
    let unorm = |value: f32| (value.clamp(0.0, 1.0) * 255.0 + 0.5).floor();
    let snorm = |value: f32| (value.clamp(-1.0, 1.0) * 127.0 + 0.5).floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let packed = |bytes: [f32; 4]| u32::from_le_bytes(bytes.map(|byte| byte as i32 as u8));
    let v = [1.0, -0.5, 0.2, 2.0];
    // −0.5 · 32,767 = −16,383.5 is half way between two integers. WGSL rounds it up.
    let half_of = (-16_383_i32).cast_unsigned() << 16 | 32_767;
    let float = u32::from(f16::ONE.to_bits()) | u32::from(f16::from_f32(-0.5).to_bits()) << 16;
    let sum = |byte: i32| byte * byte;
    let told = Expected::default()
        .u(&[packed(v.map(unorm)), packed(v.map(snorm))])
        .u(&[0xffff | 13_107 << 16, half_of, float])
        .f(&unit)
        .f(&signed)
        .f(&[
            f32::from(0x01ff_u16) / 65_535.0,
            f32::from(0x807f_u16) / 65_535.0,
        ])
        .f(&[1.5, -2.0])
        .u(&[1 | 2 << 8 | 44 << 16 | 5 << 24])
        .u(&bytes.map(u32::from))
        .i(&[sum(-1) + sum(1) + sum(127) + sum(-128)])
        .u(&[0xff + 1 + 0x7f + 0x80]);
    check(text, &x, &told);
}

#[test]
fn halves_round_after_each_operation() {
    let text = "enable f16;
        struct Mixed { a: f16, b: f16, c: vec2h, d: f32, e: vec3h, f: f16, g: mat2x2h, h: array<f16, 3> }
        @compute @workgroup_size(1) fn main() {
            let a = f16(xf(0)); let c = f16(xf(1));
            f(f32(a)); f(f32(a + c)); f(f32(a * c)); f(f32(a / c)); f(f32(a - c)); f(f32(-a)); f(f32(sqrt(a)));
            f(f32(f16(2049u))); i(i32(c)); u(u32(c)); f(f32(f16(xi(2)))); b(a < c); b(bool(a));
            let v = vec3h(a, c, 1.0h) * 3.0h;
            f(f32(v.x)); f(f32(v.y)); f(f32(max(v.x, v.z)));
            f(f32(dot(vec2h(a, c), vec2h(2.0h))));
            var mixed: Mixed;
            mixed.c.y = a; mixed.e = v; mixed.g[1] = vec2h(1.0h, 2.0h); mixed.h[x[3]] = 9.0h;
            let copy = mixed;
            f(f32(copy.c.y)); f(f32(copy.e.z)); f(f32(copy.g[1].y)); f(f32(copy.h[2])); f(copy.d);
            f3(vec3f(copy.e));
        }";
    let a = f16::from_f32(0.1);
    let c = f16::from_f32(3.3);
    let wide_a = f32::from(a);
    let wide_c = f32::from(c);
    let round = |value: f32| f32::from(f16::from_f32(value));
    let v = [wide_a, wide_c, 1.0].map(|value| round(value * 3.0));
    let x = [floats(&[0.1, 3.3]), signed(&[-2049, 2])].concat();
    let told = Expected::default()
        .f(&[
            wide_a,
            round(wide_a + wide_c),
            round(wide_a * wide_c),
            round(wide_a / wide_c),
        ])
        .f(&[
            round(wide_a - wide_c),
            -wide_a,
            round(wide_a.sqrt()),
            2048.0,
        ])
        .i(&[3])
        .u(&[3])
        .f(&[-2048.0])
        .b(&[true, true])
        .f(&[v[0], v[1], v[2]])
        .f(&[round(round(wide_a * 2.0) + round(wide_c * 2.0))])
        .f(&[wide_a, v[2], 2.0, 9.0, 0.0])
        .f(&v);
    check(text, &x, &told);
}
