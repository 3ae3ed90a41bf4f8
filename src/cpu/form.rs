//! How each layer is computed. Only this module knows which layers have a fast form.

use super::activation::Activation;
use super::conv2d::Conv2d;
#[cfg(not(target_arch = "wasm32"))]
use super::dropout::Dropout;
use super::encoding;
use super::hash_grid::HashGrid;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::pooling::{AvgPool2d, MaxPool2d};
use super::relu::Relu;
use crate::network::{Graph, Source, Use};
use crate::ops;
use crate::reference::{Backward, Float, Forward, Layer, Twin};
use crate::shape::Shape;

/// The way a layer is computed.
#[derive(Debug)]
pub(super) enum Form {
    /// Formulas for both precisions: fast ones, or the layer's definition.
    Layer(Twin),
    /// A multiresolution hash grid, fast in `f32`; `scratch` is the number of `f32` that its backward pass needs.
    HashGrid { twin: Twin, scratch: u64 },
    /// A fully connected layer, fast.
    Linear,
    /// Convolution, fast.
    Conv2d(Conv2d),
    /// Max pooling, fast.
    MaxPool2d(MaxPool2d),
    /// Average pooling, fast.
    AvgPool2d(AvgPool2d),
    /// `Relu`, fast.
    Relu,
    /// Dropout, fast.
    #[cfg(not(target_arch = "wasm32"))]
    Dropout(Dropout),
}

impl Form {
    /// The fastest form of a layer.
    pub(super) fn fast(graph: &Graph, of_use: &Use) -> Self {
        let layer = &*of_use.layer;
        let of_type = ops::unwrapped(layer);
        if of_type.is::<ops::Linear>() {
            return Self::Linear;
        }
        if of_type.is::<ops::Relu>() {
            return Self::Relu;
        }
        if let Some(conv) = of_type.downcast_ref() {
            return Self::Conv2d(Conv2d::of(conv));
        }
        if let Some(pool) = of_type.downcast_ref() {
            let is_behind_relu = graph.relu_before(of_use).is_some();
            return Self::MaxPool2d(MaxPool2d::of(*pool, is_behind_relu));
        }
        if let Some(pool) = of_type.downcast_ref() {
            return Self::AvgPool2d(AvgPool2d::of(*pool));
        }
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(dropout) = of_type.downcast_ref::<ops::Dropout>() {
            return Self::Dropout(Dropout::of(*dropout));
        }
        if let Some(norm) = of_type.downcast_ref::<ops::LayerNorm>() {
            return Self::Layer(Twin::of(LayerNorm::new(norm.epsilon().into())));
        }
        if let Some(grid) = of_type.downcast_ref::<ops::HashGrid>()
            && let Some(grid) = hash_grid(graph, of_use, grid)
        {
            let scratch = grid.scratch();
            return Self::HashGrid {
                twin: Twin::of(grid),
                scratch,
            };
        }
        if let Some(activation) = Activation::of(of_type) {
            return Self::Layer(Twin::of(activation));
        }
        if let Some(encoding) = encoding::twin(of_type) {
            return Self::Layer(encoding);
        }
        Self::Layer(layer.reference())
    }

    /// Whether this is the fully connected layer, which can read rows that are mostly 0 in sparse form.
    pub(super) fn is_linear(&self) -> bool {
        matches!(self, Self::Linear)
    }

    /// Whether several cores share the layer's work if it is large.
    pub(super) fn is_product(&self) -> bool {
        matches!(self, Self::Linear | Self::Conv2d(_) | Self::HashGrid { .. })
    }

    /// Numbers of scratch memory that a pass needs, for rows of this shape.
    pub(super) fn scratch(&self, input: Shape) -> u64 {
        match self {
            Self::Conv2d(conv) => conv.scratch(input),
            Self::HashGrid { scratch, .. } => *scratch,
            _ => 0,
        }
    }

    fn formulas<F: Float>(&self) -> &dyn Layer<F> {
        match self {
            Self::Layer(twin) | Self::HashGrid { twin, .. } => F::of(twin),
            Self::Linear => &Linear,
            Self::Conv2d(conv) => conv,
            Self::MaxPool2d(pool) => pool,
            Self::AvgPool2d(pool) => pool,
            Self::Relu => &Relu,
            #[cfg(not(target_arch = "wasm32"))]
            Self::Dropout(dropout) => dropout,
        }
    }

    /// The forward pass; with `relu`, also that of the `Relu` after the layer.
    pub(super) fn forward<F: Float>(&self, pass: Forward<'_, F>, relu: bool) {
        match self {
            Self::Linear => Linear::forward_with(pass, relu),
            Self::Conv2d(conv) => conv.forward_with(pass, relu),
            form => {
                assert!(!relu, "cpu::Form: a Relu is part of products alone");
                form.formulas().forward(pass);
            }
        }
    }

    /// The backward pass; with `relu`, also that of the `Relu` before the layer, whose output is `x`.
    pub(super) fn backward<F: Float>(&self, pass: Backward<'_, F>, relu: bool) {
        match self {
            Self::Linear => Linear::backward_with(pass, relu),
            // A max pooling needs nothing: its forward pass left no winner where the `Relu` stops the gradient.
            form => form.formulas().backward(pass),
        }
    }
}

/// The fast form of a grid for the positions that this use reads. The specification has refused all unsupported ones.
fn hash_grid(graph: &Graph, of_use: &Use, grid: &ops::HashGrid) -> Option<HashGrid> {
    let Source::Layer { x, .. } = graph.values[of_use.value].source else {
        return None;
    };
    HashGrid::of(grid, graph.values[x].shape.len()).ok()
}
