//! The kernels of a multiresolution hash grid, and the code that records its passes.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::levels::{Levels, MOST_LEVELS};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Constant, Contract, Element, Kernel, Scalar, Trust};
use crate::ops::elementwise::WORKGROUP_SIZE;
use crate::ops::{Backward, Forward, to_u32};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Invocations per workgroup.
const INVOCATIONS: usize = 256;
/// Maximum number of workgroups that search for the largest gradient. In a later kernel, each invocation of a workgroup
/// reads the result of one of them.
const MOST_SLOTS: usize = 256;
/// Elements per invocation in the search for the largest gradient, unless it would then need more than [`MOST_SLOTS`]
/// workgroups.
const ROUNDS: usize = 16;
/// 32-bit words of workgroup memory for the sums of a level: two words per element.
const SUMS: usize = 4080;
/// Rows per workgroup of `SCATTER_SMALL`.
const ROWS_OF_SMALL: usize = 2048;
/// Minimum number of rows for `SCATTER_SMALL`. With fewer, a workgroup has fewer contributions than the level has
/// elements.
const LEAST_ROWS_OF_SMALL: usize = 1024;
/// Elements per invocation of `FINISH`, which converts sums to floats.
const FINISHED: usize = 4;
/// Integer operations per contribution, approximately.
const CONTRIBUTION: usize = 20;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    levels: u32,
    small: u32,
    slots: u32,
    columns: u32,
    numbers: u32,
    first: u32,
    unused: u32,
    of_level: [[u32; 4]; MOST_LEVELS],
}

const CONSTANTS: [Constant; 2] = [
    Constant::open("dimensions", Scalar::U32),
    Constant::open("features", Scalar::U32),
];

const FORWARD: Kernel<Shape> = Kernel {
    shader: "hash_grid",
    source: concat!(
        include_str!("../../../shaders/hash_grid_shape.wgsl"),
        include_str!("../../../shaders/is_nan.wgsl"),
        include_str!("../../../shaders/hash_grid_cell.wgsl"),
        include_str!("../../../shaders/hash_grid.wgsl"),
    ),
    entry: "forward",
    bindings: &[
        Binding::read("x"),
        Binding::read("table"),
        Binding::write("y"),
    ],
    fields: fields!(Shape: rows, levels, small, slots, columns, numbers, first, unused, of_level),
    constants: &CONSTANTS,
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

const BACKWARD_INPUT: Kernel<Shape> = Kernel {
    entry: "backward_input",
    bindings: &[
        Binding::read("x"),
        Binding::read("table"),
        Binding::read("dy"),
        Binding::write("dx"),
    ],
    ..FORWARD
};

const MEASURE: Kernel<Shape> = Kernel {
    shader: "hash_grid_table",
    source: concat!(
        include_str!("../../../shaders/hash_grid_shape.wgsl"),
        include_str!("../../../shaders/hash_grid_unit.wgsl"),
        include_str!("../../../shaders/hash_grid_table.wgsl"),
    ),
    entry: "measure",
    bindings: &[
        Binding::read("dy"),
        Binding::write("found").of_u32(),
        Binding::write("low_zeros").of_u32(),
        Binding::write("high_zeros").of_i32(),
    ],
    ..FORWARD
};

const SCATTER: Kernel<Shape> = Kernel {
    shader: "hash_grid_scatter",
    source: concat!(
        include_str!("../../../shaders/hash_grid_shape.wgsl"),
        include_str!("../../../shaders/is_nan.wgsl"),
        include_str!("../../../shaders/hash_grid_cell.wgsl"),
        include_str!("../../../shaders/hash_grid_unit.wgsl"),
        include_str!("../../../shaders/hash_grid_scatter.wgsl"),
    ),
    entry: "scatter",
    bindings: &[
        Binding::read("x"),
        Binding::read("dy"),
        Binding::read("measured").of_u32(),
        Binding::write("largest_of").of_u32(),
        Binding::write("low").of_u32().atomic(),
        Binding::write("high").of_i32().atomic(),
    ],
    ..FORWARD
};

const SCATTER_SMALL: Kernel<Shape> = Kernel {
    entry: "scatter_small",
    ..SCATTER
};

const FINISH: Kernel<Shape> = Kernel {
    entry: "finish",
    bindings: &[
        Binding::read("of_levels").of_u32(),
        Binding::read("low_sums").of_u32(),
        Binding::read("high_sums").of_i32(),
        Binding::write("dtable"),
    ],
    ..MEASURE
};

/// The temporary tensors of a backward pass.
struct Sums {
    /// Bit patterns of the largest absolute gradient of each level. `found` has the results of the single workgroups,
    /// and `largest` the maximum of these.
    found: Tensor,
    largest: Tensor,
    low: Tensor,
    high: Tensor,
}

/// Records the passes over `rows` rows.
pub(super) struct Pass<'a> {
    levels: &'a Levels,
    rows: usize,
    /// Number of levels, from the coarsest on, whose sums fit in workgroup memory; 0 if there are too few rows for
    /// `SCATTER_SMALL`.
    small: usize,
    slots: usize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(levels: &'a Levels, rows: usize) -> Self {
        let columns = levels.columns();
        let fits = |entries: usize| 2 * entries * levels.features <= SUMS;
        let small = if rows >= LEAST_ROWS_OF_SMALL {
            levels
                .of
                .iter()
                .take_while(|level| fits(level.entries))
                .count()
        } else {
            0
        };
        let compared = (rows * columns).div_ceil(ROUNDS * (INVOCATIONS / columns * columns));
        let cleared = levels.numbers().div_ceil(ROUNDS * INVOCATIONS);
        Self {
            levels,
            rows,
            small,
            slots: compared.max(cleared).clamp(1, MOST_SLOTS),
        }
    }

    fn shape(&self, first: u32) -> Shape {
        let mut of_level = [[0; 4]; MOST_LEVELS];
        for (to, level) in of_level.iter_mut().zip(&self.levels.of) {
            let is_hashed = usize::from(level.is_hashed);
            *to = [level.first, level.cells, level.entries, is_hashed].map(to_u32);
        }
        Shape {
            rows: to_u32(self.rows),
            levels: to_u32(self.levels.of.len()),
            small: to_u32(self.small),
            slots: to_u32(self.slots),
            columns: to_u32(self.levels.columns()),
            numbers: to_u32(self.levels.numbers()),
            first,
            unused: 0,
            of_level,
        }
    }

    fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: Kernel<Shape>,
        tensors: &[&Tensor],
        workgroups: usize,
        cost: Cost,
    ) {
        let Levels {
            dimensions,
            features,
            ..
        } = *self.levels;
        let constants = [
            Constant::u32("dimensions", to_u32(dimensions)),
            Constant::u32("features", to_u32(features)),
        ];
        let kernel = kernel.constants(&constants);
        let shape = |first| self.shape(first);
        recorder.dispatch_in_parts(&kernel, shape, tensors, workgroups as u64, cost);
    }

    pub(super) fn forward(&self, recorder: &mut Recorder<'_>, pass: &Forward<'_>) {
        let corners = self.levels.corners();
        let features = self.levels.features;
        let iterations = corners + 1 + corners * (features + 1) + features + 1;
        let cost = Cost::new(self.levels.flops() * self.rows as u64).iterations(iterations as u64);
        let workgroups = self.rows.div_ceil(INVOCATIONS) * self.levels.of.len();
        let tensors = [pass.x, &pass.parameters[0], pass.y];
        self.record(recorder, FORWARD, &tensors, workgroups, cost);
    }

    pub(super) fn backward_input(&self, recorder: &mut Recorder<'_>, pass: &Backward<'_>) {
        let Some(dx) = pass.dx else { return };
        let levels = self.levels.of.len();
        let corners = self.levels.corners();
        let dimensions = self.levels.dimensions;
        let features = self.levels.features;
        let of_level = corners * (2 * features + 3 * dimensions);
        let flops = (self.rows * levels * of_level) as u64;
        let rounds = levels * (1 + corners * (features + 2) + 1) + 1 + dimensions + 1;
        let cost = Cost::new(flops).iterations(rounds as u64);
        let tensors = [pass.x, &pass.parameters[0], pass.dy, dx];
        let workgroups = self.rows.div_ceil(INVOCATIONS);
        self.record(recorder, BACKWARD_INPUT, &tensors, workgroups, cost);
    }

    /// Allocates the temporary tensors of a backward pass.
    fn sums(&self, recorder: &Recorder<'_>) -> Result<Sums, Error> {
        let tensor = |label: &str, shape: [usize; 2]| {
            let label = format!("{label} of a hash grid");
            Tensor::zeros(recorder.gpu(), label, shape, Element::U32)
        };
        let levels = self.levels.of.len();
        let numbers = [self.levels.entries(), self.levels.features];
        Ok(Sums {
            found: tensor("largest gradients by workgroup", [self.slots, levels])?,
            largest: tensor("largest gradients", [1, levels])?,
            low: tensor("low words", numbers)?,
            high: tensor("high words", numbers)?,
        })
    }

    pub(super) fn backward_table(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &Backward<'_>,
    ) -> Result<(), Error> {
        let sums = self.sums(recorder)?;
        let Sums {
            found,
            largest,
            low,
            high,
        } = &sums;
        let numbers = self.levels.numbers();
        let taken = INVOCATIONS / self.levels.columns() * self.levels.columns();
        let compared = pass.dy.len();
        let rounds =
            compared.div_ceil(taken * self.slots) + numbers.div_ceil(INVOCATIONS * self.slots) + 2;
        let cost = Cost::new(compared as u64).iterations(rounds as u64);
        let tensors = [pass.dy, found, low, high];
        self.record(recorder, MEASURE, &tensors, self.slots, cost);

        let tensors = [pass.x, pass.dy, found, largest, low, high];
        self.scatter(recorder, &tensors);

        let cost = Cost::new((numbers * CONTRIBUTION) as u64);
        let rounds = self.levels.of.len() + 2 * FINISHED + 1;
        let cost = cost.iterations(rounds as u64);
        let workgroups = numbers.div_ceil(FINISHED * INVOCATIONS);
        let tensors = [largest, low, high, &pass.gradients[0]];
        self.record(recorder, FINISH, &tensors, workgroups, cost);
        Ok(())
    }

    /// Records the kernels that add all rows' contributions to the sums. Levels whose sums fit in workgroup memory have
    /// a kernel of their own.
    fn scatter(&self, recorder: &mut Recorder<'_>, tensors: &[&Tensor]) {
        let corners = self.levels.corners();
        let features = self.levels.features;
        let of_row = features * corners;
        let rounds = features * (2 * corners + self.levels.dimensions + 3) + corners + 2;
        let large = self.levels.of.len() - self.small;
        let flops = |levels: usize| (self.rows * levels * of_row * CONTRIBUTION) as u64;
        if self.small > 0 {
            let workgroups = self.rows.div_ceil(ROWS_OF_SMALL) * self.small;
            let rows = ROWS_OF_SMALL / INVOCATIONS;
            let iterations = rows * (rounds + 1) + 3 * SUMS.div_ceil(2 * INVOCATIONS) + 3;
            let cost = Cost::new(flops(self.small)).iterations(iterations as u64);
            self.record(recorder, SCATTER_SMALL, tensors, workgroups, cost);
        }
        if large > 0 {
            let workgroups = self.rows.div_ceil(INVOCATIONS) * large;
            let cost = Cost::new(flops(large)).iterations(rounds as u64);
            self.record(recorder, SCATTER, tensors, workgroups, cost);
        }
    }
}

pub(in crate::ops) fn contracts() -> Vec<Contract> {
    let kernels = [
        FORWARD,
        BACKWARD_INPUT,
        MEASURE,
        SCATTER,
        SCATTER_SMALL,
        FINISH,
    ];
    kernels.iter().map(Kernel::contract).collect()
}
