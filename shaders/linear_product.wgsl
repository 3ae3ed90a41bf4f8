// The products left·right of a linear layer (called Affine in the book "Deep Learning from Scratch"). A file with the
// entry points, for GPUs or for software drivers, follows this one.
//
//   forward          y  = x·w + b      y[r,o]  = b[o] + Σ_i x[r,i]·w[i,o]
//   backward_input   dx = dy·wᵀ        dx[r,i] = Σ_o dy[r,o]·w[i,o]
//   backward_input_relu                as backward_input where x[r,i] > 0, else 0; x is the output of a ReLU
//   backward_weight  dw = xᵀ·dy        dw[i,o] = Σ_r x[r,i]·dy[r,o]

@group(0) @binding(1) var<storage, read> left: array<f32>;          // x: (rows, inputs), or dy: (rows, outputs)
@group(0) @binding(2) var<storage, read> right: array<f32>;         // w: (inputs, outputs), or dy: (rows, outputs)
// y: (rows, outputs), dx: (rows, inputs), or dw: (inputs, outputs)
@group(0) @binding(3) var<storage, read_write> product: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>; // (1, outputs), used by forward
@group(0) @binding(4) var<storage, read> x: array<f32>;    // (rows, inputs), used by backward_input_relu
