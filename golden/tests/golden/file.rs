//! Reads golden files. Checks that the runner (this test program) has read everything in a file, so that nothing is
//! silently ignored.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// The reason why a file was not checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The runner does not know the form of the file, or could not run its contents.
    Failed(String),
}

/// The elements of a tensor, in one of the three supported types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
}

#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: BTreeMap<String, Array>,
    /// The names of the keys and tensors that have been read.
    read: RefCell<BTreeSet<String>>,
}

impl File {
    pub(crate) fn open(path: &Path) -> Result<Self, Refusal> {
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let failed = |error: &dyn std::fmt::Display| Refusal::Failed(format!("{name}: {error}"));
        let bytes = fs::read(path).map_err(|error| failed(&error))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| failed(&error))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| failed(&error))?;
        let mut arrays = BTreeMap::new();
        for (tensor, view) in tensors.tensors() {
            let data = match view.dtype() {
                Dtype::F32 => Data::F32(numbers(view.data(), f32::from_le_bytes)),
                Dtype::F64 => Data::F64(numbers(view.data(), f64::from_le_bytes)),
                Dtype::I32 => Data::I32(numbers(view.data(), i32::from_le_bytes)),
                other => return Err(failed(&format!("tensor {tensor} has type {other:?}"))),
            };
            let shape = view.shape().to_vec();
            arrays.insert(tensor, Array { shape, data });
        }
        Ok(Self {
            metadata: metadata.into_iter().collect(),
            tensors: arrays,
            read: RefCell::default(),
            name,
        })
    }

    pub(crate) fn failed(&self, why: impl std::fmt::Display) -> Refusal {
        Refusal::Failed(format!("{}: {why}", self.name))
    }

    /// Returns the value of a metadata key, if the key exists.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.read.borrow_mut().insert(key.to_owned());
        self.metadata.get(key).map(String::as_str)
    }

    /// Returns the value of a required metadata key.
    pub(crate) fn key(&self, key: &str) -> Result<&str, Refusal> {
        self.find(key)
            .ok_or_else(|| self.failed(format!("metadata key \"{key}\" is missing")))
    }

    /// Returns the value of a metadata key as a number, if the key exists.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let parse = |value: &str| {
            let wrong = || self.failed(format!("metadata key \"{key}\" is no number: \"{value}\""));
            value.trim().parse().map_err(|_| wrong())
        };
        self.find(key).map(parse).transpose()
    }

    /// Returns the refusal that a key has an unknown value.
    pub(crate) fn unknown(&self, key: &str, value: &str) -> Refusal {
        self.failed(format!(
            "metadata key \"{key}\" asks for \"{value}\", which is unknown"
        ))
    }

    fn tensor(&self, name: &str) -> Result<&Array, Refusal> {
        self.read.borrow_mut().insert(format!("tensor {name}"));
        let array = self.tensors.get(name);
        let array = array.ok_or_else(|| self.failed(format!("tensor {name} is missing")))?;
        if array.shape.contains(&0) {
            return Err(self.failed(format!("tensor {name} is empty: {:?}", array.shape)));
        }
        Ok(array)
    }

    /// Returns the number of rows and columns of a tensor. A vector is one row.
    pub(crate) fn shape(&self, name: &str) -> Result<[usize; 2], Refusal> {
        match self.tensor(name)?.shape[..] {
            [] => Ok([1, 1]),
            [columns] => Ok([1, columns]),
            [rows, columns] => Ok([rows, columns]),
            ref other => Err(self.failed(format!("tensor {name} is no matrix: {other:?}"))),
        }
    }

    /// Returns the extents of a tensor. A tensor without extents (a single number) is refused.
    pub(crate) fn extents(&self, name: &str) -> Result<Vec<usize>, Refusal> {
        match self.tensor(name)?.shape[..] {
            [] => Err(self.failed(format!("tensor {name} is a number, and no array"))),
            ref extents => Ok(extents.to_vec()),
        }
    }

    /// Returns whether the elements of a tensor are integers.
    pub(crate) fn is_i32(&self, name: &str) -> Result<bool, Refusal> {
        Ok(matches!(self.tensor(name)?.data, Data::I32(_)))
    }

    /// Returns a tensor, which must have this shape. Leading extents of 1 do not count: a file may store a vector as a
    /// row, and a number as a vector.
    fn of_shape(&self, name: &str, shape: &[usize]) -> Result<&Array, Refusal> {
        let tensor = self.tensor(name)?;
        let found = &tensor.shape;
        if without_ones(found) != without_ones(shape) {
            let why = format!("tensor {name}: expected shape {shape:?}, found {found:?}");
            return Err(self.failed(why));
        }
        Ok(tensor)
    }

    pub(crate) fn f32(&self, name: &str, shape: impl AsRef<[usize]>) -> Result<Vec<f32>, Refusal> {
        match &self.of_shape(name, shape.as_ref())?.data {
            Data::F32(values) => Ok(values.clone()),
            _ => Err(self.failed(format!("tensor {name} is not float32"))),
        }
    }

    pub(crate) fn f64(&self, name: &str, shape: impl AsRef<[usize]>) -> Result<Vec<f64>, Refusal> {
        match &self.of_shape(name, shape.as_ref())?.data {
            Data::F64(values) => Ok(values.clone()),
            _ => Err(self.failed(format!("tensor {name} is not float64"))),
        }
    }

    /// Returns the features of examples: numbers, or indices that must be less than `below`.
    pub(crate) fn features(
        &self,
        name: &str,
        shape: &[usize],
        below: Option<usize>,
    ) -> Result<Vec<f32>, Refusal> {
        match below {
            Some(below) if self.is_i32(name)? => {
                let indices = self.u32(name, shape, below)?;
                // `f32` can represent every index exactly, because the number of an embedding's rows is limited.
                Ok(indices.into_iter().map(|index| index as f32).collect())
            }
            _ => self.f32(name, shape),
        }
    }

    /// Returns the integers of a tensor, which must be in `0..below`.
    pub(crate) fn u32(
        &self,
        name: &str,
        shape: impl AsRef<[usize]>,
        below: usize,
    ) -> Result<Vec<u32>, Refusal> {
        let Data::I32(values) = &self.of_shape(name, shape.as_ref())?.data else {
            return Err(self.failed(format!("tensor {name} is not int32")));
        };
        let in_range = |&value: &i32| {
            let index = u32::try_from(value)
                .ok()
                .filter(|&index| (index as usize) < below);
            index.ok_or_else(|| self.failed(format!("tensor {name}: {value} is not below {below}")))
        };
        values.iter().map(in_range).collect()
    }

    /// Returns the prefixes of the tensors' names, such as `3x5x7.` for `3x5x7.dw`. Each prefix is a case.
    pub(crate) fn cases(&self) -> BTreeSet<String> {
        let prefix = |name: &String| match name.rsplit_once('.') {
            Some((case, _)) => format!("{case}."),
            None => String::new(),
        };
        self.tensors.keys().map(prefix).collect()
    }

    /// Fails if a metadata key or a tensor has not been read.
    pub(crate) fn all_read(&self) -> Result<(), Refusal> {
        let read = self.read.borrow();
        if let Some((key, value)) = self.metadata.iter().find(|(key, _)| !read.contains(*key)) {
            let why = format!("metadata key \"{key}\" = \"{value}\" is unknown here");
            return Err(self.failed(why));
        }
        let is_unread = |name: &&String| !read.contains(&format!("tensor {name}"));
        match self.tensors.keys().find(is_unread) {
            Some(name) => Err(self.failed(format!("tensor {name} is unknown here"))),
            None => Ok(()),
        }
    }
}

fn without_ones(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().take_while(|&&extent| extent == 1).count();
    &shape[ones..]
}

fn numbers<T, const SIZE: usize>(bytes: &[u8], from: fn([u8; SIZE]) -> T) -> Vec<T> {
    let chunks = bytes.as_chunks::<SIZE>().0;
    chunks.iter().map(|&chunk| from(chunk)).collect()
}

/// Returns the paths of all golden files in a directory and its subdirectories, sorted by name.
pub(crate) fn walk(directory: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        Refusal::Failed(format!("{}: {error}", path.display()))
    };
    let entries = fs::read_dir(directory).map_err(|error| failed(directory, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(directory, &error))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() {
            paths.extend(walk(&path)?);
        } else if extension == "safetensors" {
            paths.push(path);
        } else if !hidden && extension != "md" {
            return Err(failed(&path, &"not a safetensors file"));
        }
    }
    paths.sort();
    Ok(paths)
}
