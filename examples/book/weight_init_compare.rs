//! Compares the losses for different initial weights. The network is 784 → 100 → 100 → 100 → 100 → 10 with `ReLU`,
//! trained by SGD.

use std::error::Error;

use wgrad::Init;
use wgrad::ops::Sgd;

use crate::lab::Lab;
pub(crate) use crate::loss_curves::Args;
use crate::loss_curves::{Entry, compare, network};

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (lab, data) = Lab::with_data(&args.lab, &args.data, "weight-init-compare")?;
    let starts = [
        ("std 0.01", Init::Normal { std: 0.01 }),
        // The book calls this Xavier initialization: a standard deviation of √(1 / inputs).
        ("Xavier", Init::LecunNormal),
        ("He", Init::HeNormal),
    ];
    let entry = |(name, init)| -> Entry {
        let network = network(&data.train).weight_init(init);
        (name, network.spec(), Box::new(Sgd::new(0.01)))
    };
    let entries = starts.into_iter().map(entry).collect();
    compare(args, &lab, &data.train, entries)
}
