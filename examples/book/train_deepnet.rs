//! Trains the deep convolutional network of chapter 8.

use std::error::Error;

use wgrad::DeepConvNet;

use crate::conv;
pub(crate) use crate::conv::TrainArgs as Args;

pub(crate) const NAME: &str = "train-deepnet";

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let network = |classes| DeepConvNet::default().classes(classes).spec();
    conv::train(args, NAME, network)
}
