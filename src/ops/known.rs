//! The settings of this crate's layers, in the form that files store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::window::{Size2, Window};
use super::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, Frequency, Gelu, HashGrid, Layer,
    LayerNorm, LeakyRelu, Linear, MaxPool2d, OneBlob, Relu, Sigmoid, SphericalHarmonics, Tanh,
    unwrapped,
};

/// The type and the settings of a layer of this crate. Initial values are not included, because a file stores the
/// parameters themselves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Known {
    Linear {
        outputs: usize,
        bias: bool,
    },
    Conv2d {
        outputs: usize,
        window: Sizes,
        dilation: [usize; 2],
        bias: bool,
    },
    MaxPool2d(Sizes),
    AvgPool2d(Sizes),
    /// An `AvgPool2d` whose window is the whole image.
    GlobalAvgPool2d,
    BatchNorm {
        eps: f32,
        momentum: f32,
    },
    LayerNorm {
        eps: f32,
    },
    Embedding {
        count: usize,
        width: usize,
    },
    Frequency {
        octaves: usize,
    },
    OneBlob {
        bins: usize,
    },
    SphericalHarmonics {
        degrees: usize,
    },
    HashGrid {
        levels: usize,
        features_per_level: usize,
        table_size: usize,
        base_resolution: usize,
        growth: f32,
    },
    Dropout {
        p: f32,
    },
    LeakyRelu {
        negative_slope: f32,
    },
    Relu,
    Gelu,
    Sigmoid,
    Tanh,
    Flatten,
}

/// A window without dilation. Each pair is (height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sizes {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

impl From<Window> for Sizes {
    fn from(window: Window) -> Self {
        Self {
            kernel: window.kernel.as_array(),
            stride: window.stride.as_array(),
            padding: window.padding.as_array(),
        }
    }
}

impl From<Sizes> for Window {
    fn from(sizes: Sizes) -> Self {
        Self {
            kernel: Size2::from(sizes.kernel),
            stride: Size2::from(sizes.stride),
            padding: Size2::from(sizes.padding),
            dilation: Size2::from(1),
        }
    }
}

impl Known {
    /// Returns the type and the settings of the layer inside any boxes and `Arc`s, or `None` if it is not one of this
    /// crate's layers.
    pub(crate) fn of(layer: &dyn Layer) -> Option<Self> {
        let layer = unwrapped(layer);
        if let Some(linear) = layer.downcast_ref::<Linear>() {
            return Some(Self::Linear {
                outputs: linear.outputs,
                bias: linear.bias.is_some(),
            });
        }
        if let Some(conv) = layer.downcast_ref::<Conv2d>() {
            return Some(Self::Conv2d {
                outputs: conv.outputs,
                window: conv.window.into(),
                dilation: conv.window.dilation.as_array(),
                bias: conv.bias.is_some(),
            });
        }
        if let Some(&BatchNorm { eps, momentum }) = layer.downcast_ref() {
            return Some(Self::BatchNorm { eps, momentum });
        }
        if let Some(&LayerNorm { eps }) = layer.downcast_ref() {
            return Some(Self::LayerNorm { eps });
        }
        if let Some(embedding) = layer.downcast_ref::<Embedding>() {
            return Some(Self::Embedding {
                count: embedding.count,
                width: embedding.width,
            });
        }
        if let Some(grid) = layer.downcast_ref::<HashGrid>() {
            return Some(Self::HashGrid {
                levels: grid.levels,
                features_per_level: grid.features_per_level,
                table_size: grid.table_size,
                base_resolution: grid.base_resolution,
                growth: grid.growth,
            });
        }
        Self::without_parameters(layer)
    }

    fn without_parameters(layer: &dyn std::any::Any) -> Option<Self> {
        if let Some(pool) = layer.downcast_ref::<MaxPool2d>() {
            return Some(Self::MaxPool2d(pool.window.into()));
        }
        if let Some(pool) = layer.downcast_ref::<AvgPool2d>() {
            let of_window = |window: Window| Self::AvgPool2d(window.into());
            return Some(pool.window.map_or(Self::GlobalAvgPool2d, of_window));
        }
        if let Some(dropout) = layer.downcast_ref::<Dropout>() {
            return Some(Self::Dropout { p: dropout.p() });
        }
        if let Some(relu) = layer.downcast_ref::<LeakyRelu>() {
            let negative_slope = relu.negative_slope();
            return Some(Self::LeakyRelu { negative_slope });
        }
        Self::encoding(layer).or_else(|| Self::without_settings(layer))
    }

    fn without_settings(layer: &dyn std::any::Any) -> Option<Self> {
        let without_settings = [
            (layer.is::<Relu>(), Self::Relu),
            (layer.is::<Gelu>(), Self::Gelu),
            (layer.is::<Sigmoid>(), Self::Sigmoid),
            (layer.is::<Tanh>(), Self::Tanh),
            (layer.is::<Flatten>(), Self::Flatten),
        ];
        let mut found = without_settings.into_iter().filter(|(is_it, _)| *is_it);
        found.next().map(|(_, known)| known)
    }

    fn encoding(layer: &dyn std::any::Any) -> Option<Self> {
        if let Some(frequency) = layer.downcast_ref::<Frequency>() {
            let octaves = frequency.octaves();
            return Some(Self::Frequency { octaves });
        }
        if let Some(blob) = layer.downcast_ref::<OneBlob>() {
            return Some(Self::OneBlob { bins: blob.bins() });
        }
        let harmonics = layer.downcast_ref::<SphericalHarmonics>()?;
        let degrees = harmonics.degrees();
        Some(Self::SphericalHarmonics { degrees })
    }

    /// Creates the layer. If its settings are invalid, the layer's `spec` returns an error.
    pub(crate) fn layer(self) -> Arc<dyn Layer> {
        match self {
            Self::Linear { outputs, bias } => {
                let linear = Linear::new(outputs);
                Arc::new(if bias { linear } else { linear.without_bias() })
            }
            Self::Conv2d {
                outputs,
                window,
                dilation,
                bias,
            } => {
                let conv = Conv2d::with_window(outputs, window.into()).dilation(dilation);
                Arc::new(if bias { conv } else { conv.without_bias() })
            }
            Self::MaxPool2d(sizes) => Arc::new(MaxPool2d {
                window: sizes.into(),
            }),
            Self::AvgPool2d(sizes) => Arc::new(AvgPool2d {
                window: Some(sizes.into()),
            }),
            Self::GlobalAvgPool2d => Arc::new(AvgPool2d::global()),
            Self::BatchNorm { eps, momentum } => {
                Arc::new(BatchNorm::new().eps(eps).momentum(momentum))
            }
            Self::LayerNorm { eps } => Arc::new(LayerNorm::new().eps(eps)),
            Self::Embedding { count, width } => Arc::new(Embedding::new(count, width)),
            Self::Frequency { octaves } => Arc::new(Frequency::new(octaves)),
            Self::OneBlob { bins } => Arc::new(OneBlob::new(bins)),
            Self::SphericalHarmonics { degrees } => Arc::new(SphericalHarmonics::new(degrees)),
            Self::HashGrid {
                levels,
                features_per_level,
                table_size,
                base_resolution,
                growth,
            } => {
                let grid = HashGrid::new().levels(levels);
                let grid = grid.features_per_level(features_per_level);
                let grid = grid.table_size(table_size);
                Arc::new(grid.base_resolution(base_resolution).growth(growth))
            }
            Self::Dropout { p } => Arc::new(Dropout::new(p)),
            Self::LeakyRelu { negative_slope } => Arc::new(LeakyRelu::new(negative_slope)),
            Self::Relu => Arc::new(Relu),
            Self::Gelu => Arc::new(Gelu),
            Self::Sigmoid => Arc::new(Sigmoid),
            Self::Tanh => Arc::new(Tanh),
            Self::Flatten => Arc::new(Flatten),
        }
    }
}
