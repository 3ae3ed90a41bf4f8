//! Training on data streams.

use std::collections::VecDeque;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::{io, iter};

use wgrad::data::{Labels, Sampling, Stream, Table};
use wgrad::ndarray::{Array2, s};
use wgrad::ops::{
    Adam, Group, Linear, MeanSquaredError, Optimizer, Schedule, Sgd, SoftmaxCrossEntropy, Tanh,
};
use wgrad::{Device, Error, Sequential, Targets, Train, Trainer, cpu, wgpu};

use crate::gpu::gpu;

/// Returns a trainer on each engine. Both train on a stream of rows with target values.
fn both(stream: impl Fn() -> Stream, batch: usize) -> [Box<dyn Train>; 2] {
    both_with(Adam::new(0.01), stream, batch)
}

fn both_with(
    optimizer: impl Optimizer + Clone + 'static,
    stream: impl Fn() -> Stream,
    batch: usize,
) -> [Box<dyn Train>; 2] {
    let devices = [
        Device::with_gpu(gpu().clone(), "a test"),
        Device::cpu("a test"),
    ];
    devices.map(|device| {
        let loss = MeanSquaredError;
        let optimizer = optimizer.clone();
        let trainer = device.streamed(&values_net(), loss, optimizer, stream(), batch);
        trainer.unwrap()
    })
}

/// Trains to the end of the stream with `at_a_time` steps per call. Returns all losses.
fn all(engine: &mut dyn Train, at_a_time: usize) -> Vec<f32> {
    let mut all = Vec::new();
    while !engine.is_finished() {
        all.extend(engine.steps(at_a_time).unwrap());
    }
    all
}

fn values_net() -> Sequential {
    let network = Sequential::input(3).layer(Linear::new(8)).layer(Tanh);
    network.layer(Linear::new(2)).seed(4)
}

fn classes_net() -> Sequential {
    let network = Sequential::input(3).layer(Linear::new(8)).layer(Tanh);
    network.layer(Linear::new(4)).seed(4)
}

/// Returns rows of numbers that do not repeat.
fn features(rows: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, 3), |(row, column)| {
        ((row * 37 + column * 11) as f32 * 0.618).sin()
    })
}

fn values(rows: usize) -> Table {
    let x = features(rows);
    let y = Array2::from_shape_fn((rows, 2), |(row, output)| x[[row, output]] * x[[row, 2]]);
    Table::regression("values", x.view(), y.view()).unwrap()
}

fn classes(rows: usize) -> Table {
    let classes = (0u32..).map(|row| row * 7 % 4).take(rows).collect();
    let labels = Labels::from_classes(classes, 4).unwrap();
    Table::classification("classes", features(rows).view(), labels).unwrap()
}

/// Splits a table into blocks with these numbers of rows.
fn in_blocks(table: &Table, sizes: &[usize]) -> Vec<Result<Table, io::Error>> {
    let x = Array2::from_shape_vec((table.len(), table.width()), table.features().to_vec());
    let x = x.unwrap();
    let mut first = 0;
    let block = |&size: &usize| {
        let rows = first..first + size;
        first += size;
        let x = x.slice(s![rows.clone(), ..]);
        let block = match table.targets() {
            wgrad::data::Targets::Values { outputs, values } => {
                let y = Array2::from_shape_vec((table.len(), *outputs), values.clone()).unwrap();
                Table::regression("block", x, y.slice(s![rows, ..]))
            }
            wgrad::data::Targets::Classes(labels) => {
                let classes = labels.indices()[rows].to_vec();
                let labels = Labels::from_classes(classes, labels.classes()).unwrap();
                Table::classification("block", x, labels)
            }
            other => panic!("{other:?}"),
        };
        Ok(block.unwrap())
    };
    let blocks = sizes.iter().map(block).collect();
    assert_eq!(first, table.len());
    blocks
}

fn bits(losses: &[f32]) -> Vec<u32> {
    losses.iter().map(|loss| loss.to_bits()).collect()
}

/// Asserts that the losses of both engines are close. They differ by the rounding of single precision, which is far
/// less than the effect of another minibatch.
fn assert_alike(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference < 1e-4 * (0.01 + expected),
            "step {step}: {found} and {expected}"
        );
    }
}

#[test]
fn a_stream_that_repeats_a_table_has_the_minibatches_of_shuffled_epochs() {
    let shuffled = Sampling::Shuffled { seed: 9 };
    let sizes = [1, 29, 50, 20];
    let table = values(100);
    let stream = || {
        let epochs = std::iter::repeat_with({
            let table = table.clone();
            move || in_blocks(&table, &sizes)
        });
        Stream::new(epochs.take(3).flatten(), 100, 9)
    };
    let model = values_net().build(gpu()).unwrap();
    let network = values_net().on_cpu().unwrap();
    let adam = Adam::new(0.01);
    let mut on_gpu =
        Trainer::new(model, MeanSquaredError, adam, &table, 10, shuffled.clone()).unwrap();
    let mut on_cpu =
        cpu::Trainer::new(network, MeanSquaredError, adam, &table, 10, shuffled).unwrap();
    let expected = [on_gpu.steps(30).unwrap(), on_cpu.steps(30).unwrap()];
    let parameters = [
        on_gpu.model().parameters().unwrap(),
        on_cpu.network().parameters(),
    ];
    let engines = both(stream, 10);
    for ((mut engine, expected), parameters) in engines.into_iter().zip(&expected).zip(parameters) {
        // One call requests more steps than the stream has.
        let found = engine.steps(1_000).unwrap();
        assert_eq!(bits(&found), bits(expected));
        assert_eq!(engine.rows_left(), Some(0));
        assert!(engine.parameters().unwrap() == parameters);
        assert!(engine.steps(5).unwrap().is_empty());
    }
    assert_alike(&expected[0], &expected[1]);
}

#[test]
fn so_have_classes() {
    let shuffled = Sampling::Shuffled { seed: 2 };
    let table = classes(60);
    let stream = || Stream::new(in_blocks(&table, &[50, 10]), 60, 2);
    let loss = SoftmaxCrossEntropy;
    let sgd = Sgd::new(0.3);
    let model = || classes_net().build(gpu()).unwrap();
    let network = || classes_net().on_cpu().unwrap();
    let mut expected = Trainer::new(model(), loss, sgd, &table, 6, shuffled.clone()).unwrap();
    let mut found = Trainer::streamed(model(), loss, sgd, stream(), 6).unwrap();
    let on_gpu = expected.steps(10).unwrap();
    assert_eq!(bits(&found.steps(10).unwrap()), bits(&on_gpu));
    let mut expected = cpu::Trainer::new(network(), loss, sgd, &table, 6, shuffled).unwrap();
    let mut found = cpu::Trainer::streamed(network(), loss, sgd, stream(), 6).unwrap();
    let on_cpu = expected.steps(10).unwrap();
    assert_eq!(bits(&found.steps(10).unwrap()), bits(&on_cpu));
    assert_alike(&on_gpu, &on_cpu);
}

#[test]
fn the_same_seed_gives_the_same_bits_however_blocks_end_and_another_seed_another_order() {
    let table = values(105);
    let run = |seed, sizes: &[usize], at_a_time| {
        let engines = both(|| Stream::new(in_blocks(&table, sizes), 30, seed), 10);
        engines.map(|mut engine| {
            let losses = all(&mut *engine, at_a_time);
            assert_eq!((losses.len(), engine.rows_left()), (10, Some(5)));
            (bits(&losses), engine.parameters().unwrap())
        })
    };
    let first = run(1, &[105], 100);
    assert!(first == run(1, &[105], 100), "another run");
    assert!(
        first == run(1, &[30, 30, 45], 1),
        "blocks of windows, step by step"
    );
    assert!(first == run(1, &[1, 2, 3, 44, 54, 1], 4), "other blocks");
    let second = run(2, &[105], 100);
    assert!(first[0].0[0] != second[0].0[0] && first[1].0[0] != second[1].0[0]);
}

#[test]
fn both_engines_see_the_same_minibatches() {
    let table = values(500);
    for window in [10, 70, 500, 10_000] {
        let stream = || Stream::new(in_blocks(&table, &[123, 377]), window, 3);
        let [on_gpu, on_cpu] = both(stream, 10).map(|mut engine| all(&mut *engine, 7));
        assert_eq!(on_gpu.len(), 50, "a window of {window}");
        assert_alike(&on_gpu, &on_cpu);
    }
}

/// The device's buffer has room for a few minibatches. The rows are therefore written in several pieces.
#[test]
fn rows_that_are_wide_are_written_in_several_pieces() {
    let rows = 6_144;
    let width = 1_001;
    let x = Array2::from_shape_fn((rows, width), |(row, column)| {
        ((row * 31 + column * 17) % 1_009) as f32 / 1_009.0 - 0.5
    });
    let y = Array2::from_shape_fn((rows, 1), |(row, _)| x[[row, 0]]);
    let table = Table::regression("wide", x.view(), y.view()).unwrap();
    let shuffled = Sampling::Shuffled { seed: 5 };
    let sgd = Sgd::new(0.001);
    let model = || {
        let network = Sequential::input(width).layer(Linear::new(1)).seed(1);
        network.build(gpu()).unwrap()
    };
    let mut expected = Trainer::new(model(), MeanSquaredError, sgd, &table, 512, shuffled).unwrap();
    let stream = Stream::new(in_blocks(&table, &[5_000, 1_144]), rows, 5);
    let mut found = Trainer::streamed(model(), MeanSquaredError, sgd, stream, 512).unwrap();
    // The second call starts inside the buffer that the first call has partly filled.
    let found = [3, 9].map(|steps| found.steps(steps).unwrap()).concat();
    assert_eq!(bits(&found), bits(&expected.steps(12).unwrap()));
}

/// Steps on other rows also count as steps. They must not change which minibatches of the stream are used.
#[test]
fn a_stream_goes_on_behind_steps_on_other_rows_and_with_other_groups() {
    let table = values(400);
    let stream = || Stream::new(in_blocks(&table, &[400]), 80, 3);
    let (x, y) = (Array2::<f32>::ones((4, 3)), Array2::<f32>::zeros((4, 2)));
    let run = |mut engine: Box<dyn Train>| {
        let mut losses = engine.steps(3).unwrap();
        let given = || Targets::Values(y.view());
        losses.push(engine.step_on(x.view(), given()).unwrap());
        losses.extend(engine.steps(7).unwrap());
        let group = || Group::new().rate(0.1);
        engine.set_group("*.bias", group()).unwrap();
        losses.extend(all(&mut *engine, 9));
        losses
    };
    let [on_gpu, on_cpu] = both(stream, 10).map(run);
    assert_eq!(on_gpu.len(), 41);
    assert_alike(&on_gpu, &on_cpu);
}

#[test]
fn a_stream_is_gone_on_with_from_a_checkpoint_with_the_same_bits() {
    let table = values(120);
    let blocks = || in_blocks(&table, &[40, 40, 40]);
    let engines = || both(|| Stream::new(blocks(), 40, 6), 10);
    // This stream starts after the first window.
    let behind = || Stream::new(blocks().into_iter().skip(1), 40, 6).from_window(1);
    let halves = engines().into_iter().zip(both(behind, 10));
    for (whole, (half, mut rest)) in engines().into_iter().zip(halves) {
        let [mut whole, mut half] = [whole, half];
        let expected = all(&mut *whole, 100);
        let mut found = half.steps(4).unwrap();
        let saved = half.to_safetensors();
        rest.set_safetensors(&saved.unwrap()).unwrap();
        found.extend(all(&mut *rest, 100));
        assert_eq!(bits(&found), bits(&expected));
        assert!(whole.parameters().unwrap() == rest.parameters().unwrap());
    }
}

/// The checkpoint does not depend on whether the trainer has noticed the end of the stream.
#[test]
fn a_training_that_is_finished_has_the_file_of_one_that_has_taken_all_steps() {
    for (rows, steps) in [(80, 8), (85, 8), (70, 7)] {
        let table = values(rows);
        let stream = || Stream::new(in_blocks(&table, &[rows]), 40, 6);
        for mut engine in both(stream, 10) {
            assert_eq!(engine.steps(steps).unwrap().len(), steps);
            let before = engine.to_safetensors().unwrap();
            assert!(engine.steps(1).unwrap().is_empty() && engine.is_finished());
            assert!(engine.to_safetensors().unwrap() == before, "{rows} rows");
        }
    }
}

/// Stops and resumes a training in the middle of a window, at its end, and in the last, shorter window. A stream that
/// starts at another window is refused.
#[test]
fn a_training_that_stopped_within_a_window_goes_on_there() {
    let table = values(110);
    let blocks = || in_blocks(&table, &[10; 11]);
    let from = |window: usize| {
        let rest = blocks().into_iter().skip(4 * window);
        Stream::new(rest, 40, 6).from_window(window as u32)
    };
    for (steps, window) in [(1, 0), (3, 0), (4, 1), (6, 1), (9, 2), (10, 2)] {
        let engines = both(|| from(0), 10).into_iter().zip(both(|| from(0), 10));
        let others = both(|| from(window), 10)
            .into_iter()
            .zip(both(|| from(window + 1), 10));
        for ((mut whole, mut half), (mut rest, mut wrong)) in engines.zip(others) {
            let expected = all(&mut *whole, 100);
            let mut found = half.steps(steps).unwrap();
            let saved = half.to_safetensors().unwrap();
            let error = wrong.set_safetensors(&saved).unwrap_err().to_string();
            let told = format!(
                "window of the stream: expected {}, found {window}",
                window + 1
            );
            assert!(
                error.contains(&told) && error.contains(".examples()"),
                "{error}"
            );
            rest.set_safetensors(&saved).unwrap();
            found.extend(all(&mut *rest, 100));
            assert_eq!(bits(&found), bits(&expected), "{steps} steps");
            assert!(whole.parameters().unwrap() == rest.parameters().unwrap());
            // The same trainer can resume from an earlier step of the current window.
            let again = half.steps(1).unwrap();
            if [1, 2].contains(&(steps % 4)) && steps != 10 {
                half.set_safetensors(&saved).unwrap();
                assert_eq!(bits(&half.steps(1).unwrap()), bits(&again));
            }
        }
    }
}

#[test]
fn an_error_comes_behind_the_steps_before_it_and_loses_nothing() {
    let table = values(100);
    let whole = || Stream::new(in_blocks(&table, &[100]), 20, 3);
    let failing = || {
        let mut blocks = in_blocks(&table, &[25, 30, 45]);
        blocks.insert(2, Err(io::Error::other("the disk is gone")));
        Stream::new(blocks, 20, 3)
    };
    let engines = both(whole, 5).into_iter().zip(both(failing, 5));
    for (mut whole, mut engine) in engines {
        let expected = all(&mut *whole, 100);
        let mut found = engine.steps(3).unwrap();
        let error = engine.steps(100).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("block 2") && text.contains("the disk is gone"),
            "{text}"
        );
        assert!(error.source().unwrap().is::<io::Error>());
        let Error::Stream {
            block: 2, losses, ..
        } = error
        else {
            panic!("{error}");
        };
        // The third window has only 15 rows.
        assert_eq!(losses.len(), 5);
        found.extend(losses);
        found.extend(all(&mut *engine, 100));
        assert_eq!(bits(&found), bits(&expected));
        assert!(engine.parameters().unwrap() == whole.parameters().unwrap());
    }
}

#[test]
fn steps_that_nobody_waits_for_say_so_as_well() {
    let table = values(100);
    let stream = || {
        let mut blocks = in_blocks(&table, &[60, 40]);
        blocks.insert(1, Err(io::Error::other("the disk is gone")));
        Stream::new(blocks, 20, 3)
    };
    let whole = || Stream::new(in_blocks(&table, &[100]), 20, 3);
    for (mut whole, mut engine) in both(whole, 5).into_iter().zip(both(stream, 5)) {
        let expected = all(&mut *whole, 100);
        engine.advance(5).unwrap();
        assert_eq!(engine.steps_taken(), 5);
        let error = engine.advance(100).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("block 1") && text.contains("7 steps"),
            "{text}"
        );
        let Error::Stream { losses, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(bits(&losses), bits(&expected[5..12]));
        assert_eq!(bits(&engine.losses(12).unwrap()), bits(&expected[..12]));
        engine.advance(100).unwrap();
        assert_eq!((engine.steps_taken(), engine.rows_left()), (20, Some(0)));
    }
}

/// The stream fails after 16,390 steps. So many steps are taken in several parts, and the losses of only the last
/// 16,384 are stored. The error has these losses.
#[test]
fn an_error_behind_many_steps_has_the_losses_that_are_kept() {
    let table = values(16_390);
    let stream = || {
        let blocks = in_blocks(&table, &[16_390]).into_iter();
        let gone = Err(io::Error::other("the disk is gone"));
        Stream::new(blocks.chain([gone]), 10, 3)
    };
    for mut engine in both(stream, 1) {
        let error = engine.advance(20_000).unwrap_err();
        let Error::Stream { losses, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((engine.steps_taken(), losses.len()), (16_390, 16_384));
        assert_eq!(bits(&losses), bits(&engine.losses(16_384).unwrap()));
    }
}

/// A program can send rows and take their steps alternately. If it requested more steps than there are rows, the call
/// would wait forever; the stream of this test reports an error instead.
#[test]
fn rows_may_be_sent_and_their_steps_taken_in_turn() {
    let table = values(64);
    let expected = both(|| Stream::new(in_blocks(&table, &[64]), 8, 1), 4);
    let sent = Arc::new(Mutex::new(VecDeque::new()));
    let blocks = || {
        let sent = Arc::clone(&sent);
        let next = move || sent.lock().unwrap().pop_front();
        iter::repeat_with(move || next().unwrap_or(Err(io::Error::other("nothing was sent"))))
    };
    let engines = both(|| Stream::new(blocks(), 8, 1), 4);
    for (mut whole, mut engine) in expected.into_iter().zip(engines) {
        let mut rows = in_blocks(&table, &[8, 16, 8, 8, 8, 16]).into_iter();
        let mut found = Vec::new();
        // The cases are: one window, two windows with a call that starts in the middle of one, and several windows in
        // one call.
        for (blocks, calls) in [(1, &[2][..]), (1, &[1, 3]), (4, &[10])] {
            sent.lock().unwrap().extend(rows.by_ref().take(blocks));
            for &steps in calls {
                found.extend(engine.steps(steps).unwrap());
            }
        }
        assert_eq!(bits(&found), bits(&all(&mut *whole, 100)[..16]));
    }
}

#[test]
fn an_iterator_that_panics_loses_no_row() {
    let table = values(70);
    for window in [20, 40] {
        let failing = || {
            let mut calls = 0;
            let mut blocks = in_blocks(&table, &[10; 7]).into_iter();
            let next = move || {
                calls += 1;
                assert!(calls != 4, "a panic of the iterator");
                blocks.next()
            };
            Stream::new(iter::from_fn(next), window, 3)
        };
        let whole = || Stream::new(in_blocks(&table, &[70]), window, 3);
        for (mut whole, mut engine) in both(whole, 5).into_iter().zip(both(failing, 5)) {
            let expected = all(&mut *whole, 100);
            let steps = AssertUnwindSafe(|| engine.steps(100));
            assert!(catch_unwind(steps).is_err(), "no panic");
            let taken = engine.steps_taken() as usize;
            let mut found = engine.losses(taken).unwrap();
            assert_eq!(taken, if window == 20 { 4 } else { 0 });
            found.extend(all(&mut *engine, 100));
            assert_eq!(bits(&found), bits(&expected), "windows of {window}");
            assert_eq!(engine.rows_left(), Some(0));
            assert!(engine.parameters().unwrap() == whole.parameters().unwrap());
        }
    }
}

#[test]
fn steps_before_a_rate_that_is_bad_are_taken_and_behind_the_end_none_is_looked_at() {
    let table = values(40);
    let bad_from = |first: u64| {
        let rate = move |step| if step < first { 1.0 } else { -1.0 };
        Sgd::new(0.1).scheduled(Schedule::of("bad at last", rate))
    };
    for window in [10, 40] {
        let engines = |bad: u64| {
            let stream = || Stream::new(in_blocks(&table, &[40]), window, 3);
            both_with(bad_from(bad), stream, 5)
        };
        let expected = engines(u64::MAX).map(|mut engine| all(&mut *engine, 100));
        for bad in [0, 1, 3, 5, 7, 8, 30] {
            for (mut engine, expected) in engines(bad).into_iter().zip(&expected) {
                if bad >= 8 {
                    let found = engine.steps(100).unwrap();
                    assert_eq!(bits(&found), bits(expected), "bad from {bad} on");
                    continue;
                }
                for returns_losses in [window == 10, true, false] {
                    let error = if returns_losses {
                        engine.steps(100).unwrap_err()
                    } else {
                        engine.advance(100).unwrap_err()
                    };
                    assert!(matches!(error, Error::Setting { .. }), "{error}");
                    assert_eq!(engine.steps_taken(), bad);
                }
                let mut found = engine.losses(bad as usize).unwrap();
                // No row is lost: the training continues with another schedule.
                engine.set_optimizer(Box::new(bad_from(u64::MAX))).unwrap();
                found.extend(all(&mut *engine, 100));
                assert_eq!(bits(&found), bits(expected), "bad from {bad} on");
            }
        }
    }
}

#[test]
fn blocks_of_other_rows_are_refused_and_left_out() {
    let table = values(40);
    let of = |width, outputs| {
        let x = Array2::zeros((5, width));
        let y = Array2::zeros((5, outputs));
        Table::regression("other", x.view(), y.view()).unwrap()
    };
    for (other, found) in [
        (of(4, 2), "features: 4, and values: 2"),
        (of(3, 1), "features: 3, and values: 1"),
        (classes(5), "features: 3, and one of 4 classes"),
    ] {
        let stream = || {
            let mut blocks = in_blocks(&table, &[20, 20]);
            blocks.insert(1, Ok(other.clone()));
            Stream::new(blocks, 10, 3)
        };
        for mut engine in both(stream, 10) {
            let error = engine.steps(100).unwrap_err();
            let text = error.to_string();
            for part in ["block 1", "features: 3, and values: 2", found, "2 steps"] {
                assert!(text.contains(part), "no {part} in: {text}");
            }
            assert!(matches!(error, Error::Block { block: 1, losses, .. } if losses.len() == 2));
            assert_eq!(all(&mut *engine, 100).len(), 2);
        }
    }
}

#[test]
fn what_cannot_be_done_with_a_stream_is_refused() {
    let model = || values_net().build(gpu()).unwrap();
    let stream = |window| Stream::new(in_blocks(&values(10), &[10]), window, 1);
    let streamed = |window, batch| {
        Trainer::streamed(
            model(),
            MeanSquaredError,
            Sgd::new(0.1),
            stream(window),
            batch,
        )
    };
    for (window, batch) in [(0, 5), (10, 0)] {
        let error = streamed(window, batch).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
    // No machine has this much memory.
    let wide = Table::regression(
        "wide",
        Array2::zeros((5, 4096)).view(),
        Array2::zeros((5, 2)).view(),
    );
    let wide = wide.unwrap();
    let endless = || Stream::new(in_blocks(&wide, &[5]), 4_000_000_000, 1);
    let net = Sequential::input(4096).layer(Linear::new(2));
    let streamed_wide = |batch| {
        let model = net.build(gpu()).unwrap();
        Trainer::streamed(model, MeanSquaredError, Sgd::new(0.1), endless(), batch)
    };
    let error = streamed_wide(10).and_then(|_| streamed_wide(1_000_000_000));
    match error {
        Err(Error::Memory { what, .. }) => {
            assert!(what.contains("windows of its stream"), "{what}");
        }
        Err(Error::Limit { .. }) => {}
        other => panic!("{other:?}"),
    }
    let network = net.on_cpu().unwrap();
    let sgd = Sgd::new(0.1);
    let error = cpu::Trainer::streamed(network, MeanSquaredError, sgd, endless(), 10);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("one window of its stream alone needs"),
        "{error}"
    );

    for mut engine in both(|| stream(10), 5) {
        for minibatches in [1, 2] {
            let error = engine.accumulate(minibatches).unwrap_err().to_string();
            assert!(
                error.contains("from a stream, or rows that the caller passes"),
                "{error}"
            );
        }
    }
    let mut trainer = streamed(10, 5).unwrap();
    let mut encoder = gpu()
        .device()
        .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    let error = trainer.encode(1, &mut pass).unwrap_err();
    assert!(error.to_string().contains("steps or advance"), "{error}");
}
