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
/// Grids of several resolutions cover the square or cube, and each grid corner has trainable features. Followed by a
/// small network, the encoding learns an image, a shape or another function of a position in seconds. (Müller, Evans,
/// Schied and Keller, "Instant neural graphics primitives with a multiresolution hash encoding", 2022, section 3.)
///
/// The input is a position: 2 or 3 coordinates in 0…1. Level `l` divides each axis into `⌊base_resolution·growthˡ⌋`
/// cells. A position's features are interpolated linearly, along each axis, from the features of its cell's corners.
/// The output has `levels`×`features_per_level` numbers, those of the coarsest level first.
///
/// A level with at most `table_size` corners is dense: each corner has its own entry in the table. Any other level has
/// `table_size` entries, and a hash of a corner's coordinates selects its entry, so that several corners share an
/// entry. If `table_size` is large enough for the finest level, all levels are dense. The entries of all levels form
/// one parameter, `table`, (entries, features per level). Its initial values are uniform in ±10⁻⁴, and weight decay
/// does not apply to it.
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
/// A coordinate outside of 0…1 is clamped, and the gradient with respect to it is 0. A row with a NaN has a NaN output,
/// and adds nothing to the table's gradient.
///
/// The table's gradient is a sum of integers. Their unit is a power of two, chosen for each level and minibatch such
/// that the level's largest gradient has 30 bits. So the same seed gives bit-identical results, and equal gradients
/// give bit-identical sums on every device and on the CPU engine, except for subnormal numbers, which a GPU may treat
/// as 0. The sums have 64 bits and cannot overflow: a tensor has fewer than 2³² rows, and each row adds at most 2³⁰ to
/// an entry. A gradient below 2⁻³¹ of the level's largest one counts as 0. If a gradient is not finite, the table's
/// gradient is NaN for the whole level.
///
/// `tiny-cuda-nn` differs in four points: a coordinate `x` has the position `x·(base_resolution·growthˡ − 1) + ½` in
/// units of a level's cells; the number of entries of a dense level is rounded up to a multiple of 8; features have
/// half precision; and gradients are added in any order.
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
    /// Creates an encoding with 16 levels of 2 features, at most 2¹⁵ entries per level, 16 cells along each axis of the
    /// coarsest level, and growth 1.5.
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

    /// Sets the number of levels (resolutions), 1 to 32: the paper's `L`.
    #[must_use]
    #[doc(alias = "n_levels")]
    pub fn levels(self, levels: usize) -> Self {
        Self { levels, ..self }
    }

    /// Sets the number of features per entry, 1, 2, 4 or 8: the paper's `F`.
    #[must_use]
    #[doc(alias = "n_features_per_level")]
    pub fn features_per_level(self, features_per_level: usize) -> Self {
        Self {
            features_per_level,
            ..self
        }
    }

    /// Sets the maximum number of entries per level, a power of two from 2 to 2²⁴: the paper's `T`.
    #[must_use]
    #[doc(alias = "log2_hashmap_size")]
    pub fn table_size(self, table_size: usize) -> Self {
        Self { table_size, ..self }
    }

    /// Sets the number of cells along each axis of the coarsest level, at least 1: the paper's `N_min`.
    #[must_use]
    pub fn base_resolution(self, base_resolution: usize) -> Self {
        Self {
            base_resolution,
            ..self
        }
    }

    /// Sets the growth, at least 1: along an axis, a level has this many times the cells of the next coarser level.
    /// This is the paper's `b`. For `N_max` cells in the finest level, use `(N_max / N_min)^(1 / (L − 1))`. The finest
    /// level may have at most 65,535 cells along an axis.
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

    /// Returns the levels for positions with `dimensions` coordinates, 2 or 3.
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
