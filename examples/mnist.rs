//! Trains the two-layer network of "Deep Learning from Scratch", chapter 5, to read digits.
use wgrad::data::{Sampling, mnist, synthetic};
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Gpu, Init, Sequential, Trainer};

fn main() -> Result<(), Error> {
    let cache = mnist::cache_dir().unwrap_or_else(|| "mnist".into());
    let found = match mnist::locate() {
        Some(directory) => mnist::open(directory),
        None => mnist::download(&cache, &mut |_| {}).and_then(|()| mnist::open(&cache)),
    };
    let digits = found.unwrap_or_else(|reason| {
        println!("on digits drawn by this program, as MNIST cannot be had: {reason}");
        synthetic::digits(1)
    });
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.01 });
    let network = Sequential::input(784)
        .layer(linear(50))
        .layer(Relu)
        .layer(linear(10));
    let model = network.seed(42).build(&Gpu::new()?)?;
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::Shuffled { seed: 42 };
    let mut trainer = Trainer::new(model, loss, Sgd::new(0.1), &digits.train, 100, sampling)?;
    for epoch in 1..=16 {
        let loss = trainer.steps(600)?.iter().sum::<f32>() / 600.0; // on the GPU, read once
        let test = trainer.evaluate(&digits.test)?;
        println!("epoch {epoch}: mean loss {loss:.4}, test {test}");
    }
    Ok(())
}
