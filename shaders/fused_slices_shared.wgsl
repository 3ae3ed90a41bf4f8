// A fused step: a whole SGD step of a multilayer perceptron in two dispatches. This file has the second dispatch, and
// fused_middle_shared.wgsl the first. A file with the entry points, for GPUs or for software drivers, follows this one.
//
//   x = bytes / 255 of the minibatch      z₁ = x·W₁ + b₁      a₁ = f(z₁)      z₂ = a₁·W₂ + b₂  …
//   W ← W − learning_rate · aᵀ·δ          b ← b − learning_rate · Σ_rows δ
//
// In a step, only two dependencies need all workgroups to synchronize: a gradient sums over all rows, and a forward
// pass reads all of W₁. Everything between z₁ and δ₁ depends only on the same row. W₁ is split along its inputs into
// slices. Then the gradient of a slice, its update and its part of the next step's z₁ need no other slice. So one
// dispatch can compute all three, and a step needs only these dispatches:
//
//   middle            for each row: z₁ from the parts of all slices, everything up to δ₁, and the loss
//   backward_forward  for each block of weights: gradient and update; for blocks of W₁ also the part of the next z₁;
//                     further, the biases, the history of losses and the step counter
//   forward           only the parts of z₁; runs once before the first step
//
// All sums are added in a fixed order, so the same state gives the same bits.

// Bytes of the next minibatch, followed by those of the current minibatch: (2, rows, words).
@group(0) @binding(1) var<storage, read> minibatch: array<u32>;
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(2) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>; // all parameters of the network
@group(0) @binding(4) var<storage, read_write> history: array<f32>;    // (1, capacity)
@group(0) @binding(5) var<storage, read_write> step_count: array<u32>; // (1, 1)
@group(0) @binding(3) var<storage, read> weights: array<f32>;          // the same buffer as `parameters`, for `forward`
