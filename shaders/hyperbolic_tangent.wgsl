// Hyperbolic tangent of a number.
//
//   tanh x = x · (945 + 105s + s²) / (945 + 420s + 15s²), s = x², where |x| < ½
//          = ± (1 − e) / (1 + e), e = e^−2|x|, elsewhere
//
// WGSL's built-in `tanh` may be computed from e^x and e^−x. Then it is NaN for large |x|, and inexact because of
// cancellation for small |x|. The fraction above is Lambert's continued fraction x/(1 + s/(3 + s/(5 + s/(7 + s/9)))),
// which has an error of 1e-10 for |x| < ½.

fn hyperbolic_tangent(x: f32) -> f32 {
    let a = abs(x);
    let s = a * a;
    let small = a * ((945.0 + s * (105.0 + s)) / (945.0 + s * (420.0 + s * 15.0)));
    // For |x| > 16 the result rounds to ±1. The limit prevents an overflow of −2|x|.
    let e = exp(-2.0 * min(a, 16.0));
    let magnitude = select((1.0 - e) / (1.0 + e), small, a < 0.5);
    return select(select(magnitude, -magnitude, x < 0.0), x, is_nan(x));
}
