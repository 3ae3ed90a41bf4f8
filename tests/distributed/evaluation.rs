//! The processes share the work of evaluating a data set.

use wgrad::data::{Examples, synthetic};

use crate::world::{KINDS, by, devices};

#[test]
fn it_has_the_bits_of_one_process() {
    // A pass takes 1,000 rows on a GPU, and 500 on the CPU. So there are fewer passes than processes, or more.
    for rows in [300, 3100] {
        let digits = synthetic::digits_of(7, 10, rows).unwrap().test;
        for device in devices() {
            let [book, _] = KINDS;
            let examples = Examples::from(&digits);
            let expected = book.trainer(&device).evaluate(&examples).unwrap();
            for processes in [1, 2, 4] {
                let make = || book.trainer(&device);
                let found = by(
                    processes,
                    make,
                    |all| all,
                    |trainer| trainer.evaluate(&examples),
                );
                for found in found.unwrap() {
                    assert_eq!(found, expected, "{device}, {processes} processes");
                }
            }
        }
    }
}
