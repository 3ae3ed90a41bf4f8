//! Compares the losses of four optimizers on MNIST. The network is 784 → 100 → 100 → 100 → 100 → 10 with `ReLU` and He
//! initialization.

use std::error::Error;

use wgrad::ops::{AdaGrad, Adam, Sgd};

use crate::lab::Lab;
pub(crate) use crate::loss_curves::Args;
use crate::loss_curves::{Entry, compare, network};

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "optimizer-compare-mnist")?;
    let network = network(&data.train).spec();
    let entries: Vec<Entry> = vec![
        ("SGD", network.clone(), Box::new(Sgd::new(0.01))),
        (
            "Momentum",
            network.clone(),
            Box::new(Sgd::new(0.01).momentum(0.9)),
        ),
        ("AdaGrad", network.clone(), Box::new(AdaGrad::new(0.01))),
        ("Adam", network, Box::new(Adam::new(0.001))),
    ];
    compare(args, &lab, &data.train, entries)
}
