//! The picture that programs paint to have one to learn from.

/// Red, green and blue at a place, `x` and `y` in 0…1 from the left upper corner: a sun over hills, with haze and
/// ripples. It has smooth slopes, hard edges and fine detail.
pub(crate) fn paint([x, y]: [f32; 2]) -> [u8; 3] {
    let hill = |height: f32, frequency: f32, phase: f32| {
        height
            + 0.06 * (frequency * x + phase).sin()
            + 0.02 * (3.7 * frequency * x + 2.0 * phase).sin()
    };
    let sun = ((x - 0.68).powi(2) + (y - 0.3).powi(2)).sqrt();
    let mut colour = [0.95 - 0.5 * y, 0.55 + 0.25 * y, 0.45 + 0.4 * y * y];
    if sun < 0.13 {
        colour = [1.0, 0.9 - 1.5 * sun, 0.5 - 2.0 * sun];
    } else {
        let glow = (-9.0 * (sun - 0.13)).exp() * 0.5;
        colour = [
            colour[0] + glow * (1.0 - colour[0]),
            colour[1] + 0.5 * glow * (1.0 - colour[1]),
            colour[2],
        ];
    }
    for (layer, height) in [0.55f32, 0.68, 0.82].into_iter().enumerate() {
        let depth = layer as f32;
        if y > hill(height, 7.0 + 4.0 * depth, 1.3 + 2.1 * depth) {
            let grain = 0.04 * (60.0 * x + 8.0 * (9.0 * y).sin()).sin() * (45.0 * y).cos();
            let shade = 0.42 - 0.12 * depth + grain;
            colour = [
                shade * 0.9,
                shade * (0.9 + 0.15 * depth),
                shade * (1.25 - 0.25 * depth),
            ];
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 255"
    )]
    let bytes = colour.map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8);
    bytes
}
