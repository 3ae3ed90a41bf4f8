// A whole SGD step of a multilayer perceptron in two dispatches. This is the second; the first is in
// fused_middle_shared.wgsl. A file with the entry points follows this one, for GPUs or for software drivers.
//
//   x = bytes / 255 of the minibatch      z₁ = x·W₁ + b₁      a₁ = f(z₁)      z₂ = a₁·W₂ + b₂  …
//   W ← W − learning_rate · aᵀ·δ          b ← b − learning_rate · Σ_rows δ
//
// Only two dependencies in a step cross all workgroups: rows → parameters (a gradient sums over the rows)
// and parameters → rows (a forward pass reads all of W₁). Everything between z₁ and δ₁ is local to a row.
// W₁ is cut along its inputs into slices. This makes both of its products local to a slice: its gradient,
// its update and its part of the next z₁ need nothing from another slice. So
//
//   middle            per row: z₁ from the parts of all slices, then everything up to δ₁; the loss
//   backward_forward  per block of weights: gradient and update; for W₁ also its part of the next step's z₁;
//                     biases; the log of losses and the step counter
//   forward           only the parts of z₁, before the first step
//
// Sums run in a fixed order, so the same state gives the same bits.

@group(0) @binding(1) var<storage, read> minibatch: array<u32>;        // bytes, next and this: (2, rows, words)
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(2) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>; // all parameters of the network
@group(0) @binding(4) var<storage, read_write> history: array<f32>;    // (1, capacity)
@group(0) @binding(5) var<storage, read_write> step_count: array<u32>; // (1, 1)
@group(0) @binding(3) var<storage, read> weights: array<f32>;          // `parameters`, in `forward`
