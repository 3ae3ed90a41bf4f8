//! Trains a network to read handwritten digits.
use wgrad::data::{Sampling, mnist};
use wgrad::ops::{Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Device, Error, Sequential};

fn main() -> Result<(), Error> {
    let data = mnist::open_or_download()?;
    let network = Sequential::input(784).layer(Linear::new(50));
    let network = network.layer(Relu).layer(Linear::new(10)).seed(42);
    let loss = SoftmaxCrossEntropy;
    let sampling = Sampling::Shuffled { seed: 42 };
    let device = Device::auto(); // a GPU, or the CPU engine where there is none
    let mut trainer = device.trainer(&network, loss, Sgd::new(0.1), &data.train, 100, sampling)?;
    for epoch in 1..=16 {
        trainer.steps(600)?; // 600 minibatches of 100 images
        println!("epoch {epoch}: {}", trainer.evaluate(&data.test)?);
    }
    Ok(())
}
