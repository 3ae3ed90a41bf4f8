// A whole SGD step of a multilayer perceptron in two dispatches. This is of the second; the first is
// fused_middle_shared.wgsl. Behind it stands a file with the entry points, for GPUs or for software drivers.
//
//   x = bytes / 255 of the minibatch      z₁ = x·W₁ + b₁      a₁ = f(z₁)      z₂ = a₁·W₂ + b₂  …
//   W ← W − learning_rate · aᵀ·δ          b ← b − learning_rate · Σ_rows δ
//
// Only two edges of a step are grid-wide: rows → parameters (a gradient sums over the rows) and
// parameters → rows (a forward pass reads all of W₁). Everything between z₁ and δ₁ is local to a row.
// And W₁ cut along its inputs into slices makes both of its products local to a slice: its gradient,
// its update, and its part of the next z₁ need nothing from another slice. So
//
//   middle            rows: z₁ from the parts of all slices, then everything up to δ₁; their losses
//   backward_forward  blocks of weights: gradient, update, and of W₁ its part of the z₁ of the next step;
//                     biases; the log of losses and the step counter
//   forward           the parts of z₁ alone, before the first step
//
// Sums run in a fixed order, so the same state gives the same bits.

@group(0) @binding(1) var<storage, read> minibatch: array<u32>;        // bytes of the next and of this one: (2, rows, words)
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(2) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;    // (1, capacity)
@group(0) @binding(5) var<storage, read_write> step_count: array<u32>; // (1, 1)
@group(0) @binding(3) var<storage, read> weights: array<f32>;          // `parameters`, where they are only read
