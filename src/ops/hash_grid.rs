mod kernels;
mod levels;

use super::{Backward, Forward, Layer, LayerSpec, ParameterSpec};
use crate::error::{Error, number};
use crate::init::Init;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;
use kernels::Pass;

pub(super) use kernels::contracts;
pub(crate) use levels::{Level, Levels, unit};

/// Multiresolution hash encoding: encodes a point in the unit square or cube as trainable features.
///
/// The features come from grids of several resolutions, whose corners have trainable features. With a small network
/// behind it, the encoding learns an image, a shape or another function of a position in seconds. (Müller, Evans,
/// Schied and Keller, "Instant neural graphics primitives with a multiresolution hash encoding", 2022, section 3.)
///
/// The input is a position of 2 or 3 coordinates in 0…1. Level `l` divides each axis into `⌊base_resolution·growthˡ⌋`
/// cells. The features of a point are those of its cell's corners, interpolated linearly along each axis. The output
/// has `levels`×`features_per_level` numbers, the coarsest level's first.
///
/// A level is dense, with one entry per corner of its cells, if these are at most `table_size`. Otherwise it has
/// `table_size` entries, which corners share by a hash of their coordinates. If the table has room for the finest
/// level, all levels are dense. The entries of all levels are one parameter, `table`, (entries, features per level). It
/// starts uniform in ±10⁻⁴ and does not decay.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ndarray::array;
/// use wgrad::ops::{HashGrid, Linear, Relu};
///
/// // The colour at a place of an image.
/// let grid = HashGrid::new().levels(8).table_size(1 << 12).base_resolution(16).growth(1.5);
/// let network = Sequential::input(2).layer(grid).layer(Linear::new(32)).layer(Relu).layer(Linear::new(3)).on_cpu()?;
/// assert_eq!(network.predict(array![[0.25, 0.75]].view())?.dim(), (1, 3));
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// A coordinate outside of 0…1 is clamped, and the gradient with respect to it is 0. A row with a NaN gives NaN, and
/// changes no entry.
///
/// The gradient with respect to the table is summed in integers. Their unit is a power of two, such that the largest
/// gradient of a level in the minibatch has 30 bits. So the same seed gives the same bits, and equal gradients give the
/// same bits on every device and on the CPU engine, except for subnormal numbers, which a GPU may treat as 0. Sums have
/// 64 bits and cannot saturate: a tensor has fewer than 2³² rows, and each row adds at most 2³⁰ to an entry. A gradient
/// below 2⁻³¹ of the largest of its level counts as 0. If a gradient is not finite, all gradients of its level are NaN.
///
/// `tiny-cuda-nn` differs: there a coordinate `x` is at `x·(base_resolution·growthˡ − 1) + ½` of a level's cells, dense
/// levels are rounded up to 8 entries, features have half precision, and gradients are added in any order.
#[doc(alias = "HashEncoding")]
#[doc(alias = "DenseGrid")]
#[doc(alias = "MultiresolutionHashEncoding")]
#[derive(Debug, Clone)]
pub struct HashGrid {
    pub(super) levels: usize,
    pub(super) features_per_level: usize,
    pub(super) table_size: usize,
    pub(super) base_resolution: usize,
    pub(super) growth: f32,
    table: Init,
}

impl Default for HashGrid {
    fn default() -> Self {
        Self::new()
    }
}

impl HashGrid {
    /// 16 levels of 2 features, at most 2¹⁵ entries per level, 16 cells along an axis of the coarsest level, growth
    /// 1.5.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            levels: 16,
            features_per_level: 2,
            table_size: 1 << 15,
            base_resolution: 16,
            growth: 1.5,
            table: Init::Uniform { bound: 1e-4 },
        }
    }

    /// Number of resolutions: 1 to 32. The paper's `L`.
    #[must_use]
    #[doc(alias = "n_levels")]
    pub fn levels(self, levels: usize) -> Self {
        Self { levels, ..self }
    }

    /// Features per entry: 1, 2, 4 or 8. The paper's `F`.
    #[must_use]
    #[doc(alias = "n_features_per_level")]
    pub fn features_per_level(self, features_per_level: usize) -> Self {
        Self {
            features_per_level,
            ..self
        }
    }

    /// Most entries per level: a power of two, 2 to 2²⁴. The paper's `T`.
    #[must_use]
    #[doc(alias = "log2_hashmap_size")]
    pub fn table_size(self, table_size: usize) -> Self {
        Self { table_size, ..self }
    }

    /// Cells along an axis of the coarsest level. The paper's `N_min`.
    #[must_use]
    pub fn base_resolution(self, base_resolution: usize) -> Self {
        Self {
            base_resolution,
            ..self
        }
    }

    /// The ratio of the cells along an axis from one level to the next: at least 1. The paper's `b`: for a finest level
    /// of `N_max` cells, `(N_max / N_min)^(1 / (L − 1))`. The finest level must have at most 65,535 cells along an
    /// axis.
    #[must_use]
    #[doc(alias = "per_level_scale")]
    pub fn growth(self, growth: f32) -> Self {
        Self { growth, ..self }
    }

    /// Sets the initial values of the table.
    #[must_use]
    pub fn table_init(self, init: Init) -> Self {
        Self {
            table: init,
            ..self
        }
    }

    fn check(&self, input: &Shape) -> Result<(), Error> {
        let fault =
            |name, expected: &str, found: String| Err(Error::setting(name, expected, found));
        if !matches!(input.extents(), [2 | 3]) {
            let expected = "2 or 3, the coordinates of a position";
            return fault(
                "shape of the input of a HashGrid",
                expected,
                input.to_string(),
            );
        }
        if !(1..=levels::MOST_LEVELS).contains(&self.levels) {
            return fault("levels", "1 to 32", self.levels.to_string());
        }
        if !matches!(self.features_per_level, 1 | 2 | 4 | 8) {
            let found = self.features_per_level.to_string();
            return fault("features per level", "1, 2, 4 or 8", found);
        }
        if !self.table_size.is_power_of_two() || !(2..=1 << 24).contains(&self.table_size) {
            let expected = "a power of two, 2 to 16777216";
            return fault("table size", expected, self.table_size.to_string());
        }
        if self.base_resolution == 0 {
            return fault("base resolution", "at least 1", "0".to_owned());
        }
        if !(1.0..=f32::MAX).contains(&self.growth) {
            return fault("growth", "a finite number from 1 on", number(self.growth));
        }
        Ok(())
    }

    /// The levels for positions of 2 or 3 coordinates.
    pub(crate) fn levels_in(&self, dimensions: usize) -> Result<Levels, Error> {
        Levels::new(self, dimensions)
    }
}

impl Layer for HashGrid {
    fn name(&self) -> String {
        format!(
            "HashGrid({} levels of {} features, {} entries, {} cells growing by {})",
            self.levels,
            self.features_per_level,
            self.table_size,
            self.base_resolution,
            self.growth
        )
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        self.check(input)?;
        let levels = self.levels_in(input.len())?;
        let shape = [levels.entries(), self.features_per_level];
        let table = ParameterSpec::new("table", shape, self.table.clone()).without_decay();
        Ok(LayerSpec::new(self.levels * self.features_per_level)
            .parameter(table)
            .flops(levels.flops()))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let levels = self.levels_in(pass.x.columns())?;
        Pass::new(&levels, pass.x.rows()).forward(recorder, &pass);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let levels = self.levels_in(pass.x.columns())?;
        let passes = Pass::new(&levels, pass.x.rows());
        passes.backward_table(recorder, &pass)?;
        passes.backward_input(recorder, &pass);
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::HashGrid {
            levels: self.levels,
            features: self.features_per_level,
            table_size: self.table_size,
            base_resolution: self.base_resolution,
            growth: self.growth.into(),
        })
    }
}
