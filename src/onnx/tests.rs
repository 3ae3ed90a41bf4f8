#![allow(clippy::unwrap_used)]

use super::{File, LENGTHS, MOST_BYTES, OnnxError};
use crate::error::Error;
use crate::network::{Parameters, Sequential, array};
use crate::ops::{BatchNorm, Linear};

/// If the file of a network is too large, returns its size and the limit as an error. Building a graph allocates no
/// parameters.
fn bytes(spec: &Sequential) -> Result<(), (u64, u64)> {
    match File::of(&spec.graph().unwrap()) {
        // The result does not depend on the memory of this machine.
        Ok(_) | Err(Error::Memory { .. }) => Ok(()),
        Err(Error::Onnx(OnnxError::TooLarge { bytes, most, .. })) => Err((bytes, most)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_file_has_at_most_two_gibibytes() {
    // 2²⁹ weights of 4 bytes are 1 byte too many, even without the rest of the file.
    let wide = |outputs| Sequential::input(1 << 14).layer(Linear::new(outputs).without_bias());
    let (found, most) = bytes(&wide(1 << 15)).unwrap_err();
    assert_eq!(most, (1 << 31) - 1);
    assert!((1 << 31..(1 << 31) + 1_000).contains(&found), "{found}");
    assert_eq!(bytes(&wide((1 << 15) - 1)), Ok(()));
    // The number of bytes exceeds a `u64`.
    let most = Sequential::input(1 << 40).layer(Linear::new(1 << 40));
    assert_eq!(bytes(&most), Err((u64::MAX, MOST_BYTES)));
}

/// The file's size that is computed before any allocation is an upper bound of the true size, and a tight one.
#[test]
fn the_size_is_known_before() {
    let spec = Sequential::input(30)
        .layer(Linear::new(40))
        .layer(BatchNorm::new());
    let graph = spec.graph().unwrap();
    let zeros = |all: &[crate::network::Parameter]| -> Parameters {
        let values = all.iter().map(|of| {
            let count = of.spec.shape.len();
            (of.name.clone(), array(&of.spec.shape, vec![0.0; count]))
        });
        values.collect()
    };
    let file = File::of(&graph).unwrap();
    let bound = file.bytes;
    let parameters = zeros(&graph.parameters);
    let state = zeros(&graph.state);
    let found = file.encode(&graph, &parameters, &state).unwrap().len() as u64;
    let tensors = (graph.parameters.len() + graph.state.len()) as u64;
    // Per tensor, the bound exceeds the true size by less than the largest length prefixes and two extents.
    let most = found + tensors * (LENGTHS + 2 * 11);
    assert!((found..most).contains(&bound), "{found} {bound}");
}
