//! Lazy Adam, which leaves parameters without a gradient unchanged.

use wgrad::ndarray::{Array2, array};
use wgrad::ops::{Adam, AdamW, Embedding, Linear, MeanSquaredError, Optimizer};
use wgrad::{Sequential, Targets, Train, Trainer, cpu};

use crate::gpu::gpu;

/// Returns the rows of the embedding's table twice: after steps that read all rows, and after further steps that read
/// only the first row.
fn rows(trainer: &mut dyn Train) -> [Array2<f32>; 2] {
    let targets = array![[1.0], [-1.0]];
    [array![[0.0], [1.0]], array![[0.0], [0.0]]].map(|indices| {
        for _ in 0..3 {
            let values = Targets::Values(targets.view());
            trainer.step_on(indices.view(), values).unwrap();
        }
        let table = trainer.parameter("layers.0.weight").unwrap();
        Array2::from_shape_fn((2, 2), |(row, column)| table[[row, column]])
    })
}

fn check(optimizer: impl Optimizer + Clone + 'static, is_lazy: bool) {
    let network = Sequential::input(1).layer(Embedding::new(2, 2));
    let network = network.layer(Linear::new(1)).seed(3);
    let model = network.clone().build(gpu()).unwrap();
    let of_cpu = network.on_cpu().unwrap();
    let mut on_gpu = Trainer::online(model, MeanSquaredError, optimizer.clone()).unwrap();
    let mut on_cpu = cpu::Trainer::online(of_cpu, MeanSquaredError, optimizer.clone()).unwrap();
    let trainers: [&mut dyn Train; 2] = [&mut on_gpu, &mut on_cpu];
    for trainer in trainers {
        let [before, after] = rows(trainer);
        let case = optimizer.describe();
        assert_ne!(before.row(0), after.row(0), "{case}: it learns");
        assert_eq!(before.row(1) == after.row(1), is_lazy, "{case}");
    }
}

#[test]
fn a_lazy_adam_leaves_alone_what_no_row_reads() {
    check(Adam::new(0.1), false);
    check(Adam::new(0.1).lazy(), true);
    check(Adam::new(0.1).weight_decay(0.1).lazy(), true);
    check(AdamW::new(0.1), false);
    check(AdamW::new(0.1).lazy(), true);
    check(AdamW::new(0.1).lazy().clip_norm(0.5), true);
}

/// The description of a lazy Adam says that it is lazy. Without `lazy`, the description must be the same as in files of
/// earlier versions.
#[test]
fn a_lazy_adam_says_that_it_is_one() {
    let plain =
        "Adam { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 }";
    assert_eq!(Adam::new(0.1).describe(), plain);
    let lazy = plain.replace(" }", ", lazy: true }");
    assert_eq!(Adam::new(0.1).lazy().describe(), lazy);
    assert_ne!(
        AdamW::new(0.1).lazy().describe(),
        AdamW::new(0.1).describe()
    );
}
