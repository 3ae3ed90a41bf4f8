//! Trains the convolutional network of chapter 7.

use std::error::Error;

use wgrad::SimpleConvNet;

use crate::conv;
pub(crate) use crate::conv::TrainArgs as Args;

pub(crate) const NAME: &str = "train-convnet";

pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let network = |classes| SimpleConvNet::default().classes(classes).spec();
    conv::train(args, NAME, network)
}
