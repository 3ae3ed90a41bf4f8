// The normal distribution function Φ(x) = (1 + erf(x/√2)) / 2, and its density φ(x).
//
// WGSL has no erf. With a = |x|, t = 1/(1 + 0.27a) and a polynomial P of degree 9 without a constant,
//
//   Φ(−a) = e^(−a²/2) · P(t)
//
// This is the form of Abramowitz and Stegun, 26.2.17. P is fitted for the smallest *relative* error, which is 2.5e-8
// for a up to 15. For negative x there is no cancellation, unlike in 1 + erf.

struct Gaussian {
    distribution: f32,
    density: f32,
}

fn gaussian(x: f32) -> Gaussian {
    // For a > 15, Φ(−a) and φ(a) underflow f32, and a² could overflow. (`min` may lose a NaN; the caller multiplies by
    // x, which restores it.)
    let a = min(abs(x), 15.0);
    let e = exp(-0.5 * (a * a));
    let t = 1.0 / (1.0 + 0.27 * a);
    var p = 0.0289935538817;
    p = p * t - 0.126649640889;
    p = p * t + 0.170138477243;
    p = p * t - 0.0696316840586;
    p = p * t + 0.108130285493;
    p = p * t + 0.0719131986285;
    p = p * t + 0.101847403586;
    p = p * t + 0.107537422516;
    p = p * t + 0.107720995564;
    let below = e * (p * t);
    return Gaussian(select(below, 1.0 - below, x > 0.0), 0.3989422804 * e);
}
