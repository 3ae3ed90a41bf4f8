// The first of the two dispatches of a fused training step of a multilayer perceptron. fused_slices_shared.wgsl
// explains the method. A file with the entry point, for GPUs or for software drivers, follows this one.
//
//   z₁ = b₁ + Σ_slices (parts of z₁)    a₁ = f(z₁)     z₂ = a₁·W₂ + b₂  …
//   loss = cross-entropy of softmax(z_L)
//   δ_L = (softmax(z_L) − onehot(label)) / rows          δ_l = (δ_{l+1}·W_{l+1}ᵀ) ∘ f′(z_l)

const RELU = 1u;
const SIGMOID = 2u;

@group(0) @binding(1) var<storage, read> weights: array<f32>;       // all parameters of the network
@group(0) @binding(2) var<storage, read> list: array<u32>;          // (minibatches, rows)
@group(0) @binding(3) var<storage, read> labels: array<u32>;        // (minibatches, rows)
@group(0) @binding(4) var<storage, read> step_now: array<u32>;      // (1, 1)
@group(0) @binding(5) var<storage, read> bytes: array<u32>;         // (examples, words)
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(6) var<storage, read_write> scratch: array<f32>;
// Bytes of the next minibatch, followed by those of the current minibatch: (2, rows, words).
@group(0) @binding(7) var<storage, read_write> minibatch: array<u32>;

fn activate(kind: u32, z: f32) -> f32 {
    if (kind == RELU) {
        return rectified(z);
    }
    if (kind == SIGMOID) {
        let e = exp(-abs(z));
        return select(e, 1.0, z >= 0.0) / (1.0 + e);
    }
    return z;
}

// Returns the gradient with respect to the input of an activation. y is the activation's output, and dy the gradient
// with respect to y.
fn through(kind: u32, y: f32, dy: f32) -> f32 {
    if (kind == RELU) {
        return select(dy, 0.0, y <= 0.0);
    }
    if (kind == SIGMOID) {
        return dy * (1.0 - y) * y;
    }
    return dy;
}
