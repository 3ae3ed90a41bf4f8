use wgrad::Sequential;
use wgrad::ndarray::{Array2, ArrayView1};
use wgrad::ops::{Backward, HashGrid, Layer, Mode};

use crate::gpu::{Bench, FLUSHED, Numbers, ROUNDING, assert_close, dispatching, folding_gpu, gpu};
use crate::passes::{Operands, Results};

/// The settings of a grid.
#[derive(Debug, Clone, Copy)]
struct Grid {
    levels: usize,
    features: usize,
    table_size: usize,
    base: usize,
    growth: f32,
    dimensions: usize,
}

/// A level of a grid: the index of its first table entry, its number of cells along an axis, and its number of entries.
#[derive(Debug, Clone, Copy)]
struct Level {
    first: usize,
    cells: usize,
    entries: usize,
}

impl Grid {
    fn layer(&self) -> HashGrid {
        let grid = HashGrid::new().levels(self.levels);
        let grid = grid.features_per_level(self.features);
        let grid = grid.table_size(self.table_size).growth(self.growth);
        grid.base_resolution(self.base)
    }

    fn levels(&self) -> Vec<Level> {
        let mut first = 0;
        let mut levels = Vec::new();
        for level in 0..self.levels {
            let exponent = i32::try_from(level).unwrap();
            let cells = (self.base as f64 * f64::from(self.growth).powi(exponent)).floor();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small"
            )]
            let cells = cells as usize;
            let corners = (cells + 1).pow(u32::try_from(self.dimensions).unwrap());
            let entries = corners.min(self.table_size);
            levels.push(Level {
                first,
                cells,
                entries,
            });
            first += entries;
        }
        levels
    }

    /// Returns the table entries of the corners of the cell that contains a position, and the position's fraction along
    /// each axis of the cell.
    fn cell(&self, level: Level, x: ArrayView1<'_, f32>) -> (Vec<usize>, Vec<f64>) {
        let mut cells = Vec::new();
        let mut fractions = Vec::new();
        for &x in x {
            let position = f64::from(x.clamp(0.0, 1.0)) * level.cells as f64;
            let cell = position.floor().min((level.cells - 1) as f64);
            fractions.push(position - cell);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small"
            )]
            cells.push(cell as usize);
        }
        let entries = (0..1usize << self.dimensions).map(|corner| {
            let at = cells
                .iter()
                .enumerate()
                .map(|(d, cell)| cell + (corner >> d & 1));
            let at: Vec<usize> = at.collect();
            let corners = (level.cells + 1).pow(u32::try_from(self.dimensions).unwrap());
            let entry = if corners <= self.table_size {
                at.iter()
                    .rev()
                    .fold(0, |sum, at| sum * (level.cells + 1) + at)
            } else {
                let hash = at.iter().zip([1u64, 2_654_435_761, 805_459_861]);
                let hash = hash.fold(0, |hash, (&at, prime)| hash ^ (at as u64 * prime));
                usize::try_from(hash % self.table_size as u64).unwrap()
            };
            level.first + entry
        });
        (entries.collect(), fractions)
    }
}

/// The largest contribution to a gradient sum has this many bits.
const BITS: f64 = 30.0;

/// Returns a coordinate in −0.5…1.5. Some positions are therefore outside the grid.
fn around(numbers: &mut Numbers) -> f32 {
    numbers.uniform() + 0.5
}

/// Returns a coordinate in 0…1, in steps of 2⁻²⁴.
fn within(numbers: &mut Numbers) -> f32 {
    numbers.uniform() / 2.0 + 0.5
}

/// Returns the error of a position's fraction: the fraction is truncated after 24 bits, and a small coordinate after 31
/// bits.
fn off_by(level: Level) -> f64 {
    ROUNDING + level.cells as f64 / f64::from(1u32 << 31)
}

/// Compares `y`, `dx` and `dtable` with the formulas, and `dtable` bit by bit with the sums of integers that define
/// it.
fn check(case: &str, gpu: &wgrad::Gpu, grid: Grid, rows: usize, x: impl Fn(&mut Numbers) -> f32) {
    let layer = &grid.layer();
    let operands = Operands::new(layer, [rows, grid.dimensions], x);
    let case = format!("{case}, {rows} rows, {grid:?}");
    let found = operands.on_gpu(&case, gpu, layer, true);
    let expected = operands.by_reference(layer, true);
    let bounds = [
        of_y(grid, &operands),
        of_dx(grid, &operands),
        of_table(grid, &operands, &expected[2]),
    ];
    for (((name, found), expected), bounds) in found.iter().zip(&expected).zip(bounds) {
        let case = format!("{case}: {name}");
        assert_close(&case, found, expected.iter().copied(), bounds);
    }
    assert_bits(&case, grid, &operands, &found);
}

/// Returns the error of `y`, a sum with one term per corner: the product of the corner's weight and a number of the
/// table, whose magnitude is at most 1½. A weight is a product of fractions, so it has their errors. The products and
/// the sum are rounded.
fn of_y(grid: Grid, operands: &Operands) -> Vec<f64> {
    let corners = (1 << grid.dimensions) as f64;
    let dimensions = grid.dimensions as f64;
    let of_level = grid.levels().into_iter().flat_map(|level| {
        let bound =
            1.5 * (corners * dimensions * off_by(level) + (corners + dimensions + 1.0) * ROUNDING);
        vec![bound + 2.0 * corners * FLUSHED; grid.features]
    });
    let of_row: Vec<f64> = of_level.collect();
    of_row.repeat(operands.x.nrows())
}

/// Returns the error of `dx`. It is computed like the error of `y`, but with `N·Σ dy·table` instead of a number of the
/// table. N is the number of cells along an axis. The roundings of `Σ dy·table` and of the sum over levels are added.
fn of_dx(grid: Grid, operands: &Operands) -> Vec<f64> {
    let corners = (1 << grid.dimensions) as f64;
    let dimensions = grid.dimensions as f64;
    let terms = grid.features as f64 + corners + dimensions + 3.0 + grid.levels as f64;
    let of_row = |dy: ArrayView1<'_, f32>| {
        let levels = grid
            .levels()
            .into_iter()
            .zip(dy.exact_chunks(grid.features));
        let of_level = levels.map(|(level, dy)| {
            let product = dy.iter().map(|dy| 1.5 * f64::from(dy.abs())).sum::<f64>();
            let off = (dimensions - 1.0) * off_by(level) + terms * ROUNDING;
            level.cells as f64 * corners * (product * off + terms * FLUSHED)
        });
        vec![of_level.sum(); grid.dimensions]
    };
    operands.dy.outer_iter().flat_map(of_row).collect()
}

/// Returns the error of the table's gradient, a sum of integers. Each level has its own unit of these integers. A
/// contribution to the sum has an error of less than one unit because `dy` is truncated, an error of half a unit for
/// the rounding along each axis, and the errors of the fractions. The sum is rounded once.
fn of_table(grid: Grid, operands: &Operands, expected: &[f64]) -> Vec<f64> {
    let dimensions = grid.dimensions as f64;
    let mut bounds: Vec<f64> = expected
        .iter()
        .map(|g| g.abs() * ROUNDING + FLUSHED)
        .collect();
    for (index, level) in grid.levels().into_iter().enumerate() {
        // The unit of the integers: it follows from a power of two that exceeds the largest value by a factor of at
        // most 2.
        let unit = 2.0 * largest(grid, operands, index) / BITS.exp2();
        let unit = unit.max(FLUSHED);
        for (row, x) in operands.x.outer_iter().enumerate() {
            for entry in grid.cell(level, x).0 {
                for f in 0..grid.features {
                    let dy = f64::from(operands.dy[[row, index * grid.features + f]].abs());
                    let off = dy * dimensions * off_by(level) + unit * (1.0 + dimensions / 2.0);
                    bounds[entry * grid.features + f] += off;
                }
            }
        }
    }
    bounds
}

fn largest(grid: Grid, operands: &Operands, level: usize) -> f64 {
    let columns = level * grid.features..(level + 1) * grid.features;
    let rows = operands.dy.outer_iter();
    let values = rows.flat_map(|dy| {
        columns
            .clone()
            .map(move |column| f64::from(dy[column].abs()))
    });
    values.fold(0.0, f64::max)
}

/// Returns `value·fraction / 2²⁴`, rounded to the nearest integer, halves away from 0.
fn share(value: i64, fraction: i64) -> i64 {
    value.signum() * ((value.abs() * fraction + (1 << 23)) >> 24)
}

/// Asserts that the gradient with respect to the table has the right bits. By definition, it is a sum of integers that
/// is rounded once, so it has the same bits on all devices.
fn assert_bits(case: &str, grid: Grid, operands: &Operands, found: &Results) {
    let found = &found[2].1;
    let mut sums = vec![0i64; found.len()];
    let mut units = vec![0.0; found.len()];
    for (index, level) in grid.levels().into_iter().enumerate() {
        let exponent = largest(grid, operands, index).log2().floor() + 1.0;
        let unit = (exponent - BITS).max(-126.0).exp2();
        let numbers = level.first * grid.features..(level.first + level.entries) * grid.features;
        units[numbers].fill(unit);
        for (row, x) in operands.x.outer_iter().enumerate() {
            let (entries, fractions) = grid.cell(level, x);
            for f in 0..grid.features {
                let dy = f64::from(operands.dy[[row, index * grid.features + f]]);
                #[expect(clippy::cast_possible_truncation, reason = "the fraction is cut off")]
                let mut parts = vec![(dy / unit) as i64];
                for fraction in &fractions {
                    #[expect(clippy::cast_possible_truncation, reason = "of 25 bits")]
                    let fraction = (fraction * f64::from(1 << 24)) as i64;
                    let upper: Vec<i64> = parts.iter().map(|&part| share(part, fraction)).collect();
                    let lower = parts.iter().zip(&upper).map(|(part, upper)| part - upper);
                    parts = lower.chain(upper.iter().copied()).collect();
                }
                for (entry, part) in entries.iter().zip(parts) {
                    sums[entry * grid.features + f] += part;
                }
            }
        }
    }
    for (at, ((&sum, &unit), &found)) in sums.iter().zip(&units).zip(found).enumerate() {
        let places = (64 - sum.unsigned_abs().leading_zeros()).saturating_sub(24);
        let half = (1u64 << places) >> 1;
        let rounded = (((sum.unsigned_abs() + half) >> places) << places) as f64;
        let expected = sum.signum() as f64 * rounded * unit;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it has 24 bits; what is too large is infinite"
        )]
        let is_it = found == expected as f32 || (expected.abs() < FLUSHED && found == 0.0);
        assert!(
            is_it,
            "{case}: number {at} is {found:e}, expected {expected:e}"
        );
    }
}

const SMALL: Grid = Grid {
    levels: 5,
    features: 2,
    table_size: 64,
    base: 3,
    growth: 1.6,
    dimensions: 2,
};

/// Tests dense and hashed levels, with numbers of rows around the 256 rows of a workgroup.
#[test]
fn hash_grid_is_its_formula() {
    for dimensions in [2, 3] {
        for features in [1, 2, 4, 8] {
            let grid = Grid {
                dimensions,
                features,
                ..SMALL
            };
            for rows in [1, 5, 255, 257, 600] {
                check("within", gpu(), grid, rows, within);
            }
            check("around", gpu(), grid, 77, around);
        }
    }
}

/// Tests positions on the borders of cells and of the grid, and just outside the grid.
#[test]
fn hash_grid_on_borders_is_its_formula() {
    const BORDERS: [f32; 8] = [0.0, -0.0, 1.0, 0.25, 0.75, 1.000_000_1, -1e-30, 0.5];
    for dimensions in [2, 3] {
        // The cells of the two levels have a quarter and an eighth of the grid's width.
        let grid = Grid {
            dimensions,
            base: 4,
            growth: 2.0,
            ..SMALL
        };
        check("borders", gpu(), grid, 200, |numbers| {
            BORDERS[numbers.below(8)]
        });
    }
}

/// Tests numbers of rows around the number from which coarse levels are summed in workgroup memory. All, some or none
/// of the levels fit into it.
#[test]
fn hash_grid_of_many_rows_is_its_formula() {
    for (dimensions, base, table_size) in [(2, 3, 64), (2, 20, 2048), (2, 33, 2048), (3, 4, 512)] {
        let grid = Grid {
            dimensions,
            base,
            table_size,
            ..SMALL
        };
        for rows in [1023, 1024, 2049] {
            check("many rows", gpu(), grid, rows, within);
        }
    }
    let wide = Grid {
        features: 8,
        table_size: 256,
        ..SMALL
    };
    check("wide", gpu(), wide, 1500, around);
    // 32 levels of 8 features have as many columns as a workgroup has invocations.
    let widest = Grid {
        levels: 32,
        growth: 1.1,
        ..wide
    };
    check("widest", gpu(), widest, 40, within);
}

/// All rows are in one cell, and half of its corners share a table entry. The gradients are just below a power of two,
/// so the sums overflow the low word of their two words many times, in both directions.
#[test]
fn hash_grid_sums_repeated_rows() {
    let most = if cfg!(target_arch = "wasm32") {
        1 << 15
    } else {
        1 << 18
    };
    for (dimensions, table_size) in [(2, 2), (3, 2), (3, 4096)] {
        let grid = Grid {
            levels: 2,
            features: 1,
            base: 40,
            growth: 30.0,
            table_size,
            dimensions,
        };
        for (rows, dy) in [(1000, 1.999_999_9), (most, -1.999_999_9), (most + 1, 1.5)] {
            let layer = &grid.layer();
            let mut operands = Operands::new(layer, [rows, dimensions], |_| 0.4);
            operands.dy.fill(dy);
            let case = format!("repeated, {rows} rows, {grid:?}");
            let found = operands.on_gpu(&case, gpu(), layer, true);
            assert_bits(&case, grid, &operands, &found);
            let again = operands.on_gpu(&case, gpu(), layer, true);
            let bits = |results: &Results| {
                results
                    .iter()
                    .flat_map(|(_, values)| values.clone())
                    .map(f32::to_bits)
                    .collect::<Vec<_>>()
            };
            assert!(bits(&found) == bits(&again), "{case}");
        }
    }
}

/// Tests a dispatch that is folded into two rows of workgroups, and a grid in several dispatches, with and without
/// levels in workgroup memory.
#[test]
fn hash_grid_comes_apart() {
    let three = Grid { levels: 3, ..SMALL };
    for rows in [600, 1100] {
        check("folded", folding_gpu(), three, rows, within);
    }
    for (flops, base, rows) in [(60_000, 33, 8000), (400_000, 20, 5000)] {
        let grid = Grid {
            base,
            table_size: 2048,
            ..SMALL
        };
        check("in parts", &dispatching(flops), grid, rows, within);
    }
}

/// Tests gradients that are very large, very small, 0 and subnormal, in one level each.
#[test]
fn hash_grid_of_extreme_gradients_is_its_formula() {
    let layer = &SMALL.layer();
    let mut operands = Operands::new(layer, [50, 2], within);
    for (column, dy) in operands.dy.indexed_iter_mut() {
        *dy *= [3e38, 1e-30, 0.0, 1e-38, 1.0][column.1 / 2];
    }
    let found = operands.on_gpu("extreme", gpu(), layer, true);
    assert_bits("extreme", SMALL, &operands, &found);
    assert!(found[2].1.contains(&f32::INFINITY));
}

/// A value of `dy` that is not finite makes the gradients of all table entries of its level NaN. A row with a NaN
/// coordinate has outputs of NaN, and does not change the gradient of the table.
#[test]
fn hash_grid_shows_what_is_not_finite() {
    let layer = &SMALL.layer();
    for rows in [20, 1030] {
        let mut operands = Operands::new(layer, [rows, 2], around);
        operands.dy[[3, 2]] = f32::NEG_INFINITY;
        operands.dy[[4, 5]] = f32::NAN;
        operands.x[[5, 1]] = f32::NAN;
        operands.x[[6, 0]] = f32::NEG_INFINITY;
        let found = operands.on_gpu("not finite", gpu(), layer, true);
        let expected = operands.by_reference(layer, true);
        for of in [0, 1] {
            for (at, (found, expected)) in found[of].1.iter().zip(&expected[of]).enumerate() {
                assert_eq!(found.is_finite(), expected.is_finite(), "{of}, {at}");
            }
        }
        assert_eq!(found[0].1.iter().filter(|y| y.is_nan()).count(), 10);
        let [second, third, fourth] = [1, 2, 3].map(|at| SMALL.levels()[at].first * 2);
        for (at, number) in found[2].1.iter().enumerate() {
            let is_other = at < second || at >= fourth;
            assert!(
                if is_other {
                    number.is_finite()
                } else {
                    number.is_nan()
                },
                "{at}"
            );
        }
        assert!(second < third);
        // The other levels have the same bits as without these gradients and this row.
        let mut clean = operands;
        (clean.dy[[3, 2]], clean.dy[[4, 5]], clean.x[[5, 1]]) = (0.0, 0.0, 0.5);
        clean.dy.row_mut(5).fill(0.0);
        let clean = clean.on_gpu("finite", gpu(), layer, true);
        let bits = |of: &[f32]| of.iter().map(|of| of.to_bits()).collect::<Vec<_>>();
        assert!(bits(&found[2].1[..second]) == bits(&clean[2].1[..second]));
        assert!(bits(&found[2].1[fourth..]) == bits(&clean[2].1[fourth..]));
    }
}

/// For equal `dy`, the CPU engine sums the same integers as the GPU, so both gradients of the table are equal.
#[test]
fn the_cpu_engine_has_the_bits_of_a_hash_grids_gradient() {
    for (dimensions, features, rows) in [(2, 2, 700), (3, 2, 1300), (3, 4, 90)] {
        let grid = Grid {
            dimensions,
            features,
            ..SMALL
        };
        let operands = Operands::new(&grid.layer(), [rows, dimensions], around);
        let found = operands.on_gpu("both engines", gpu(), &grid.layer(), true);
        let network = Sequential::input(dimensions).layer(grid.layer());
        let mut network = network.on_cpu().unwrap();
        let mut on_cpu = network.pass(rows).unwrap();
        on_cpu.set_x(operands.x.view()).unwrap();
        on_cpu.forward(&mut network).unwrap();
        on_cpu.set_dy(operands.dy.view()).unwrap();
        on_cpu.backward(&network).unwrap();
        let expected = &on_cpu.read_gradients().unwrap()["layers.0.table"];
        let found = &found[2].1;
        assert!(found.iter().any(|&number| number != 0.0));
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| a.to_bits() == b.to_bits() || (*a == 0.0 && *b == 0.0)),
            "{grid:?}"
        );
    }
}

/// When a plan runs again, its sums start from 0 again.
#[test]
fn hash_grid_sums_each_step_alone() {
    let grid = Grid {
        table_size: 2048,
        base: 20,
        ..SMALL
    };
    let layer = &grid.layer();
    for rows in [70, 1100] {
        let operands = Operands::new(layer, [rows, 2], within);
        let flat = |values: &Array2<f32>| values.iter().copied().collect::<Vec<_>>();
        let columns = operands.dy.ncols();
        let bench = Bench::new(gpu());
        let x = bench.input("x", [rows, 2], &flat(&operands.x));
        let [y, dy] = ["y", "dy"].map(|of| bench.input(of, [rows, columns], &flat(&operands.dy)));
        let shape = operands.spec.parameters[0].tensor_shape();
        let table = [bench.input("table", shape, &flat(&operands.parameters[0]))];
        let dtable = [bench.output("dtable", shape)];
        bench.run("again", 3, |recorder| {
            let pass = Backward::new([&x, &y, &dy], None, Mode::Evaluation);
            let pass = pass.with_parameters(&table, &dtable);
            layer.backward(recorder, pass).unwrap();
        });
        let found = vec![
            ("y", vec![]),
            ("dx", vec![]),
            ("dtable", bench.read(&dtable[0])),
        ];
        assert_bits("again", grid, &operands, &found);
    }
}
