//! Chooses how each layer is computed. Only this module knows which layers have a fast form.

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
    /// An implementation for `f32` and one for `f64`: fast ones, or the layer's definition.
    Layer(Twin),
    /// A multiresolution hash grid, fast in `f32`. `scratch` is the number of `f32` elements of temporary memory for
    /// its backward pass.
    HashGrid { twin: Twin, scratch: u64 },
    /// A fast fully connected layer.
    Linear,
    /// A fast convolution.
    Conv2d(Conv2d),
    /// A fast max pooling.
    MaxPool2d(MaxPool2d),
    /// A fast average pooling.
    AvgPool2d(AvgPool2d),
    /// A fast `Relu`.
    Relu,
    /// A fast dropout.
    #[cfg(not(target_arch = "wasm32"))]
    Dropout(Dropout),
}

impl Form {
    /// Returns the fastest form of a layer.
    pub(super) fn fast(graph: &Graph, layer_use: &Use) -> Self {
        let layer = &*layer_use.layer;
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
            let is_behind_relu = graph.relu_before(layer_use).is_some();
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
            && let Some(grid) = hash_grid(graph, layer_use, grid)
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

    /// Whether this is a fully connected layer: only this layer can read its input in sparse form.
    pub(super) fn is_linear(&self) -> bool {
        matches!(self, Self::Linear)
    }

    /// Whether the layer may have so much work that several cores share the steps of its network.
    pub(super) fn is_product(&self) -> bool {
        matches!(self, Self::Linear | Self::Conv2d(_) | Self::HashGrid { .. })
    }

    /// Number of elements of scratch memory that a pass needs, for an input of this shape.
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

    /// Computes the forward pass of the layer; with `relu`, also of the `Relu` after it.
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

    /// Computes the backward pass of the layer; with `relu`, also of the `Relu` before it, whose output is the layer's
    /// input `x`.
    pub(super) fn backward<F: Float>(&self, pass: Backward<'_, F>, relu: bool) {
        match self {
            Self::Linear => Linear::backward_with(pass, relu),
            // Max pooling needs no `relu`: its forward pass has removed the winners (the largest pixels of windows)
            // through which the `Relu` passes no gradient.
            form => form.formulas().backward(pass),
        }
    }
}

/// Returns the fast form of a grid, for positions with as many dimensions as this use of the layer reads. `None` does
/// not occur, because the network's specification was checked.
fn hash_grid(graph: &Graph, layer_use: &Use, grid: &ops::HashGrid) -> Option<HashGrid> {
    let Source::Layer { x, .. } = graph.values[layer_use.value].source else {
        return None;
    };
    HashGrid::of(grid, graph.values[x].shape.len()).ok()
}
