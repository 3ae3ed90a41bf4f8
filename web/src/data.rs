//! Data sets for training and testing: synthetic digits, or files in MNIST's format.

use std::ops::Range;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wgrad::Error;
use wgrad::data::synthetic::Drawing;
use wgrad::data::{Dataset, Labels, Split, mnist};

use crate::error::thrown;

/// Examples per part of the test set. The page evaluates one part per call.
const PART: usize = 500;

/// Synthetic digits that are being drawn.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Digits {
    drawing: Drawing,
}

#[wasm_bindgen]
impl Digits {
    /// Reserves memory for `train` training digits and `test` test digits, but draws none of them yet. For the same
    /// `seed`, the digits have the same bytes as those of `wgrad::data::synthetic::digits_of`.
    ///
    /// # Errors
    /// Throws an `Error` named `Data` if there is not enough memory.
    #[wasm_bindgen(constructor)]
    pub fn new(seed: u32, train: usize, test: usize) -> Result<Self, JsValue> {
        let drawing = Drawing::new(seed.into(), train, test).map_err(Error::from);
        Ok(Self {
            drawing: drawing.map_err(thrown)?,
        })
    }

    /// Draws the next `count` digits. Returns how many remain.
    pub fn draw(&mut self, count: usize) -> usize {
        self.drawing.draw(count);
        self.drawing.remaining()
    }

    /// Draws the remaining digits and returns all of them.
    ///
    /// # Errors
    /// Throws an `Error` named `Data` if there are no training digits or no test digits.
    pub fn finish(self) -> Result<Data, JsValue> {
        let split = self.drawing.finish().map_err(Error::from);
        split.and_then(Data::new).map_err(thrown)
    }
}

/// A data set with training and test examples.
#[wasm_bindgen]
#[derive(Debug, Clone)]
pub struct Data {
    pub(crate) train: Dataset,
    pub(crate) test: Dataset,
    /// The test examples, split into parts of at most [`PART`] examples.
    pub(crate) test_parts: Vec<Dataset>,
}

#[wasm_bindgen]
impl Data {
    /// Reads MNIST, or a data set in its format, from its four files.
    ///
    /// # Errors
    /// Throws an `Error` named `Data` if a file is invalid or missing. The message names the file.
    #[wasm_bindgen(js_name = fromFiles)]
    pub fn from_files(names: Vec<String>, contents: Vec<Uint8Array>) -> Result<Self, JsValue> {
        let bytes = contents.iter().map(Uint8Array::to_vec);
        let split = mnist::from_files("dropped files", names.into_iter().zip(bytes));
        split
            .map_err(Error::from)
            .and_then(Self::new)
            .map_err(thrown)
    }

    /// Name of the data set: `MNIST`, `synthetic digits`, the common prefix of the file names, or `dropped files` if
    /// they have none.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.train.name();
        name.strip_suffix(" train").unwrap_or(name).to_owned()
    }

    /// Number of classes.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn classes(&self) -> usize {
        self.train.labels().classes()
    }

    /// Number of training examples.
    #[wasm_bindgen(getter, js_name = trainCount)]
    #[must_use]
    pub fn train_count(&self) -> usize {
        self.train.len()
    }

    /// Number of test examples.
    #[wasm_bindgen(getter, js_name = testCount)]
    #[must_use]
    pub fn test_count(&self) -> usize {
        self.test.len()
    }

    /// Returns the pixels of the first `count` test images, one byte per pixel. Returns all images if there are fewer.
    #[wasm_bindgen(js_name = testImages)]
    #[must_use]
    pub fn test_images(&self, count: usize) -> Vec<u8> {
        let count = count.min(self.test.len());
        self.test.features()[..count * self.test.width()].to_vec()
    }

    /// Returns the class of each of the first `count` test images. Returns all classes if there are fewer images.
    #[wasm_bindgen(js_name = testLabels)]
    #[must_use]
    pub fn test_labels(&self, count: usize) -> Vec<u32> {
        let count = count.min(self.test.len());
        self.test.labels().indices()[..count].to_vec()
    }
}

impl Data {
    fn new(Split { train, test }: Split) -> Result<Self, Error> {
        let starts = (0..test.len()).step_by(PART);
        let parts = starts.map(|start| part(&test, start..(start + PART).min(test.len())));
        Ok(Self {
            test_parts: parts.collect::<Result<_, _>>()?,
            train,
            test,
        })
    }
}

fn part(of: &Dataset, examples: Range<usize>) -> Result<Dataset, Error> {
    let name = of.name();
    let width = of.width();
    let labels = of.labels();
    let indices = labels.indices()[examples.clone()].to_vec();
    let labels = Labels::from_classes(indices, labels.classes())?;
    let features = of.features()[examples.start * width..examples.end * width].to_vec();
    Ok(Dataset::new(name, width, features, labels)?)
}
