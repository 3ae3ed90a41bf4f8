#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array2;

use super::{Layout, Stream};
use crate::data::{Labels, Table, Windows};
use crate::error::{Error, TargetKind};

const LAYOUT: Layout = Layout {
    width: 2,
    outputs: 1000,
    targets: TargetKind::Classes,
};

/// Rows in which every number identifies the row.
fn rows(first: usize, count: usize) -> Table {
    let features = Array2::from_shape_fn((count, 2), |(row, column)| {
        (first + row) as f32 + column as f32 / 2.0
    });
    let classes = (0u32..).skip(first).take(count).collect();
    let labels = Labels::from_classes(classes, 1000).unwrap();
    Table::classification("rows", features.view(), labels).unwrap()
}

/// Blocks of the given numbers of rows. Rows are numbered consecutively over all blocks.
fn blocks(sizes: &[usize]) -> Vec<Result<Table, Infallible>> {
    let mut first = 0;
    let block = |&size: &usize| {
        first += size;
        Ok(rows(first - size, size))
    };
    sizes.iter().map(block).collect()
}

fn windows(sizes: &[usize], window: usize, seed: u64) -> Windows {
    let stream = Stream::new(blocks(sizes), window, seed);
    Windows::new(stream, LAYOUT, 5).unwrap()
}

/// Returns the classes of all minibatches. Takes at most `most` minibatches at a time, and reads `ahead` rows ahead.
fn all(windows: &mut Windows, most: usize, ahead: usize) -> Vec<u32> {
    let mut classes = Vec::new();
    all_into(windows, most, ahead, &mut classes);
    classes
}

fn all_into(windows: &mut Windows, most: usize, ahead: usize, classes: &mut Vec<u32>) {
    loop {
        let ready = windows.ready().min(most);
        if ready == 0 {
            return;
        }
        let (order, rows) = windows.minibatches(ready);
        for &row in order {
            let row = row as usize;
            let class = rows.classes[row];
            let expected = [class as f32, class as f32 + 0.5];
            assert_eq!(rows.features[2 * row..][..2], expected);
            classes.push(class);
        }
        windows.advance(ready);
        windows.read_ahead(ahead, usize::MAX);
    }
}

#[test]
fn every_row_comes_once_in_its_window_in_an_order_of_its_own() {
    // A window of 18 rows is rounded up to 20, the next multiple of the batch.
    let mut of_stream = windows(&[1, 33, 7, 40, 22], 18, 3);
    assert_eq!(of_stream.rows_left(), None);
    let found = all(&mut of_stream, 3, 0);
    assert_eq!((found.len(), of_stream.rows_left()), (100, Some(3)));
    let mut orders = Vec::new();
    for (number, window) in (0u32..).zip(found.chunks(20)) {
        let order: Vec<u32> = window.iter().map(|class| class - 20 * number).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..20), "window {number}: {order:?}");
        orders.push(order);
    }
    for (at, order) in orders.iter().enumerate() {
        assert!(!orders[..at].contains(order), "{order:?}");
    }
}

#[test]
fn the_order_depends_on_seed_and_window_alone() {
    let expected = all(&mut windows(&[103], 20, 3), 1, 0);
    for (sizes, most, ahead) in [
        (&[103][..], 4, 20),
        (&[1, 33, 7, 40, 22], 3, 7),
        (&[20, 20, 20, 20, 20, 3], 2, 1000),
    ] {
        let found = all(&mut windows(sizes, 20, 3), most, ahead);
        assert_eq!(found, expected, "{sizes:?}");
    }
    assert_ne!(all(&mut windows(&[103], 20, 4), 1, 0), expected);
    let from_there = Stream::new([Ok::<_, Infallible>(rows(40, 63))], 20, 3).from_window(2);
    let mut windows = Windows::new(from_there, LAYOUT, 5).unwrap();
    assert_eq!(all(&mut windows, 1, 0), expected[40..]);
}

#[test]
fn a_window_that_the_stream_does_not_fill_is_what_is_there() {
    for (rows, expected) in [(3, 0), (5, 5), (17, 15)] {
        let mut windows = windows(&[rows], 100, 1);
        let mut found = all(&mut windows, 9, 50);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), expected);
        assert_eq!(windows.rows_left(), Some(rows - expected));
    }
}

#[test]
fn nothing_is_asked_behind_the_end() {
    let mut is_over = false;
    let blocks = std::iter::from_fn(move || {
        assert!(!is_over, "asked again");
        is_over = true;
        None::<Result<Table, Infallible>>
    });
    let mut windows = Windows::new(Stream::new(blocks, 20, 1), LAYOUT, 5).unwrap();
    for _ in 0..3 {
        assert_eq!((windows.ready(), windows.rows_left()), (0, Some(0)));
        windows.read_ahead(20, usize::MAX);
    }
}

#[test]
fn rows_are_read_ahead_where_minibatches_need_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let blocks = blocks(&[1; 100]).into_iter();
    let count = Arc::clone(&asked);
    let blocks = blocks.inspect(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut windows = Windows::new(Stream::new(blocks, 20, 1), LAYOUT, 5).unwrap();
    let asked = || asked.load(Ordering::Relaxed);
    windows.read_ahead(7, usize::MAX);
    assert_eq!(asked(), 0, "there is no window yet");
    assert_eq!((windows.ready(), asked()), (4, 20));
    windows.advance(1);
    for (wanted, expected) in [
        (0, 20),
        (3, 20),
        (4, 27),
        (3, 27),
        (100, 34),
        (100, 40),
        (100, 40),
    ] {
        windows.read_ahead(7, wanted);
        assert_eq!(asked(), expected, "{wanted} are wanted, 3 are left");
    }
    windows.advance(3);
    assert_eq!((windows.ready(), asked()), (4, 40));
    windows.advance(4);
    windows.read_ahead(7, 0);
    assert_eq!(asked(), 40);
    windows.read_ahead(7, 1);
    assert_eq!(asked(), 47);
}

/// This test covers a panic while the current window is read, and a panic while reading ahead.
#[test]
fn an_iterator_that_panics_loses_no_row() {
    let expected = all(&mut windows(&[103], 20, 3), 1, 0);
    for (fails, ahead) in [(1, 0), (3, 0), (3, 20), (7, 3), (9, 20), (12, 1000)] {
        let mut calls = 0;
        let mut blocks = blocks(&[10; 10]).into_iter();
        let mut rest = Some(Ok(rows(100, 3)));
        let next = move || {
            calls += 1;
            assert!(calls != fails, "a panic of the iterator");
            blocks.next().or_else(|| rest.take())
        };
        let stream = Stream::new(iter::from_fn(next), 20, 3);
        let mut windows = Windows::new(stream, LAYOUT, 5).unwrap();
        let mut found = Vec::new();
        let mut panics = 0;
        while windows.rows_left().is_none() {
            let classes = &mut found;
            let run = AssertUnwindSafe(|| all_into(&mut windows, 3, ahead, classes));
            panics += usize::from(catch_unwind(run).is_err());
        }
        assert_eq!(panics, 1);
        assert_eq!(found, expected, "call {fails}, {ahead} rows read ahead");
        assert_eq!(windows.rows_left(), Some(3));
    }
}

/// This test also covers an error that occurs while reading ahead.
#[test]
fn an_error_comes_behind_the_whole_windows_before_it_and_loses_nothing() {
    let expected = all(&mut windows(&[103], 20, 3), 1, 0);
    for ahead in [0, 3, 20, 1000] {
        let mut blocks: Vec<_> = blocks(&[25, 30, 48]);
        let mut failing: Vec<Result<Table, &str>> =
            blocks.drain(..).map(|it| Ok(it.unwrap())).collect();
        failing.insert(2, Err("the disk is gone"));
        failing.insert(3, Err("the disk is still gone"));
        let mut windows = Windows::new(Stream::new(failing, 20, 3), LAYOUT, 5).unwrap();
        let mut found = all(&mut windows, 3, ahead);
        assert_eq!(found.len(), 40);
        for (at, text) in [(2, "the disk is gone"), (3, "the disk is still gone")] {
            assert_eq!(windows.rows_left(), None);
            let error = windows.fault(|| vec![0.5; 2]).unwrap_err();
            match &error {
                Error::Stream {
                    block,
                    source,
                    losses,
                } => assert_eq!((*block, &*source.to_string(), losses.len()), (at, text, 2)),
                other => panic!("{other}"),
            }
            // Take the minibatches before the next error, or before the end of the stream.
            found.extend(all(&mut windows, 3, ahead));
        }
        assert!(windows.fault(Vec::new).is_ok());
        assert_eq!(found, expected, "{ahead} rows read ahead");
        assert_eq!(windows.rows_left(), Some(3));
    }
}

#[test]
fn windows_and_batches_that_make_no_sense_are_refused() {
    for (window, batch, what) in [
        (0, 5, "window of the stream must be 1 to"),
        (usize::MAX, 5, "window of the stream must be 1 to"),
        (20, 0, "batch must be 1 to"),
        (20, usize::MAX, "batch must be 1 to"),
    ] {
        let stream = Stream::new(blocks(&[1]), window, 1);
        let error = Windows::new(stream, LAYOUT, batch).unwrap_err();
        assert!(error.to_string().starts_with(what), "{error}");
    }
}
