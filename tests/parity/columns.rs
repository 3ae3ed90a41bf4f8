use wgrad::plumbing::values::copy_columns;

use crate::gpu::{self, Bench, Fill, Numbers, folding_gpu, gpu};

/// A range of columns of a matrix: its first column (`first`), and the number of columns of the matrix (`of`).
struct Columns {
    first: usize,
    of: usize,
}

fn check(rows: usize, columns: usize, from: &Columns, to: &Columns) {
    let case = format!(
        "{rows}×{columns} from {} of {} to {} of {}",
        from.first, from.of, to.first, to.of
    );
    let mut numbers = Numbers::new((rows * 1009 + columns) as u64);
    let [source, before] =
        [from.of, to.of].map(|columns| numbers.fill(rows * columns, Fill::Extreme));
    let folds = rows * columns >= gpu::FOLDED;
    let bench = Bench::new(if folds { folding_gpu() } else { gpu() });
    let source_in = bench.input("source", [rows, from.of], &source);
    let destination = bench.changed("destination", [rows, to.of], &before);
    bench.run(&case, 1, |recorder| {
        let ends = [(&source_in, from.first), (&destination, to.first)];
        copy_columns(recorder, ends[0], ends[1], columns);
    });
    // All other columns stay unchanged.
    let mut expected = before;
    for row in 0..rows {
        let read = row * from.of + from.first;
        let written = row * to.of + to.first;
        expected[written..written + columns].copy_from_slice(&source[read..read + columns]);
    }
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|x| x.to_bits()).collect() };
    let found = bench.read(&destination);
    assert!(bits(&found) == bits(&expected), "{case}");
}

#[test]
fn columns_are_copied_and_no_others() {
    let column = |first, of| Columns { first, of };
    for rows in [1, 2, 3, 64, 65, 257] {
        check(rows, 1, &column(0, 1), &column(0, 1));
        check(rows, 3, &column(0, 3), &column(2, 5));
        check(rows, 3, &column(4, 9), &column(0, 3));
        check(rows, 7, &column(1, 8), &column(3, 11));
    }
    // Sizes around the number of elements that a workgroup takes. The last size is for a dispatch that is folded into
    // two dimensions.
    for columns in [255, 256, 257, 1023, 1024, 1025, 2049] {
        check(1, columns, &column(0, columns), &column(5, columns + 6));
        check(3, columns, &column(2, columns + 2), &column(0, columns));
    }
}
