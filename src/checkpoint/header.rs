//! Reads and writes the file format: eight bytes with the length of the JSON header, the header, and the bytes of the
//! tensors.
//!
//! The crate `safetensors` checks the header and the tensors. Its own JSON reader is not used: it stores the header as
//! a tree of dynamic values, and a malicious header can make that tree 50 times as large as the header.

use std::collections::BTreeMap;
use std::fmt;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer as _};
use sha2::{Digest, Sha256};

use super::kind::Kind;
use super::{CheckpointError, hex, shown};
use crate::error::checkpoint::FORMAT;

/// The `format` of files of the previous version. Their tensors are the same as now, but the metadata of a training
/// differ.
pub(super) const OLDER_FORMAT: &str = "wgrad 1";
/// Metadata key of the format.
pub(super) const FORMAT_KEY: &str = "format";
/// Metadata key of the digest.
const DIGEST_KEY: &str = "sha256";
/// Header key of the metadata.
pub(super) const METADATA_KEY: &str = "__metadata__";
/// Bytes of the header's length field.
const LENGTH: usize = 8;
/// Largest allowed header, in bytes. It is enough for 30,000 tensors.
const MOST_HEADER: usize = 4 << 20;

/// Largest size of a file without its tensors, in bytes: the length field and the header.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const LARGEST: usize = LENGTH + MOST_HEADER;

/// Largest allowed number of dimensions of a tensor.
const MOST_DIMENSIONS: usize = 64;

pub(super) type Texts = BTreeMap<String, String>;
/// Shape and bytes of each `f32` tensor, by name.
pub(super) type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

/// A tensor in a file.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: &'a [u8],
}

/// A file's tensors and metadata.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) tensors: BTreeMap<String, View<'a>>,
    pub(super) metadata: Texts,
}

impl<'a> File<'a> {
    /// Parses a file, and checks that it follows the format. If this crate wrote the file, also checks its digest.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let (header, data) = split(bytes)?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| damaged(format!("its header cannot be read: {error}")))?;
        if let Some((name, found)) = header.of_unknown_type {
            let [name, found] = [&name, &found].map(|text| shown(text));
            return Err(CheckpointError::Type { name, found });
        }
        let named =
            Metadata::new(None, header.tensors).map_err(|error| damaged(error.to_string()))?;
        let expected = named.data_len();
        if data.len() < expected {
            let found = data.len();
            let reason =
                format!("it is truncated: it has {found} of the {expected} bytes of its tensors");
            return Err(damaged(reason));
        }
        if data.len() > expected {
            let more = data.len() - expected;
            return Err(damaged(format!(
                "it has {more} extra bytes after its tensors"
            )));
        }
        let view = |(name, info): (String, &TensorInfo)| {
            let (start, end) = info.data_offsets;
            let view = View {
                dtype: info.dtype,
                shape: info.shape.clone(),
                data: &data[start..end],
            };
            (name, view)
        };
        let file = Self {
            tensors: named.tensors().into_iter().map(view).collect(),
            metadata: header.metadata,
        };
        let format = file.text(FORMAT_KEY);
        if file.is_ours() && ![FORMAT, OLDER_FORMAT].contains(&format) {
            let found = shown(format);
            // Another version may compute the digest in another way, so the digest cannot be checked.
            return Err(CheckpointError::Version {
                found,
                is_older: false,
            });
        }
        let tensors = file.tensors.iter().map(|(name, view)| (&**name, view.data));
        if file.is_ours() && file.metadata.get(DIGEST_KEY) != Some(&digest(&file.metadata, tensors))
        {
            return Err(CheckpointError::Changed);
        }
        Ok(file)
    }

    /// The metadata value of this key; empty if the file does not have the key.
    pub(super) fn text(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", String::as_str)
    }

    /// Whether the file says that any version of this crate wrote it. Otherwise its metadata must be ignored, because
    /// other programs may use the same keys for other purposes.
    pub(super) fn is_ours(&self) -> bool {
        self.text(FORMAT_KEY).starts_with("wgrad ")
    }
}

fn damaged(reason: String) -> CheckpointError {
    CheckpointError::Damaged {
        reason: shown(&reason),
    }
}

/// Splits a file into its header and the bytes after it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), CheckpointError> {
    let other_kind = || {
        let Kind { found, remedy } = Kind::of(bytes);
        CheckpointError::Kind { found, remedy }
    };
    let (length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or_else(other_kind)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MOST_HEADER || rest.first() != Some(&b'{') {
        return Err(other_kind());
    }
    rest.split_at_checked(length).ok_or_else(|| {
        let found = rest.len();
        damaged(format!(
            "it is truncated: it has {found} of the {length} bytes of its header"
        ))
    })
}

/// Returns the size that a file must have according to its header, in bytes. `None` if `start` does not contain a valid
/// header.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn bytes_of_file(start: &[u8]) -> Option<u64> {
    let (header, _) = split(start).ok()?;
    let before = LENGTH + header.len();
    let header: Header = serde_json::from_slice(header).ok()?;
    let ends = header.tensors.iter().map(|(_, info)| info.data_offsets.1);
    (before as u64).checked_add(ends.max().unwrap_or(0) as u64)
}

/// Fails if the file is not a safetensors file.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn check_kind(bytes: &[u8]) -> Result<(), CheckpointError> {
    match split(bytes) {
        Err(error @ CheckpointError::Kind { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// The contents of a file's header.
struct Header {
    metadata: Texts,
    /// The tensors, sorted by the offsets of their bytes.
    tensors: Vec<(String, TensorInfo)>,
    /// The name and the type of the first tensor whose type is not known.
    of_unknown_type: Option<(String, String)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut metadata = None;
        let mut tensors = BTreeMap::new();
        let mut of_unknown_type = None;
        while let Some(key) = map.next_key::<String>()? {
            let is_first = if key == METADATA_KEY {
                metadata
                    .replace(map.next_value::<Option<Texts>>()?)
                    .is_none()
            } else {
                let info: Info = map.next_value()?;
                let dimensions = info.shape.len();
                if dimensions > MOST_DIMENSIONS {
                    let text = format!("tensor {key} has {dimensions} dimensions");
                    return Err(A::Error::custom(text));
                }
                let dtype = StrDeserializer::<ValueError>::new(&info.dtype);
                let dtype = Dtype::deserialize(dtype).unwrap_or_else(|_| {
                    of_unknown_type.get_or_insert((key.clone(), info.dtype));
                    Dtype::U8
                });
                let info = TensorInfo {
                    dtype,
                    shape: info.shape,
                    data_offsets: info.data_offsets,
                };
                tensors.insert(key.clone(), info).is_none()
            };
            if !is_first {
                return Err(A::Error::custom(format!("it names {key} twice")));
            }
        }
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        Ok(Header {
            metadata: metadata.flatten().unwrap_or_default(),
            tensors,
            of_unknown_type,
        })
    }
}

/// A [`TensorInfo`] whose element type is still a string.
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'de> Deserialize<'de> for Info {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InfoVisitor)
    }
}

struct InfoVisitor;

impl<'de> Visitor<'de> for InfoVisitor {
    type Value = Info;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dtype, shape and data_offsets of a tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Info, A::Error> {
        let mut dtype = None;
        let mut shape = None;
        let mut data_offsets = None;
        while let Some(key) = map.next_key::<String>()? {
            let is_first = match &*key {
                "dtype" => dtype.replace(map.next_value()?).is_none(),
                "shape" => shape.replace(map.next_value()?).is_none(),
                "data_offsets" => data_offsets.replace(map.next_value()?).is_none(),
                _ => map.next_value::<IgnoredAny>().map(|_| true)?,
            };
            if !is_first {
                return Err(A::Error::custom(format!("a tensor has {key} twice")));
            }
        }
        let missing = A::Error::missing_field;
        Ok(Info {
            dtype: dtype.ok_or_else(|| missing("dtype"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            data_offsets: data_offsets.ok_or_else(|| missing("data_offsets"))?,
        })
    }
}

/// Encodes a file of `f32` tensors, sorted by name. Equal contents give equal bytes. If `metadata` is not empty, a
/// digest is added to it.
pub(super) fn write(tensors: &Tensors, mut metadata: Texts) -> Result<Vec<u8>, CheckpointError> {
    if !metadata.is_empty() {
        let all = tensors.iter().map(|(name, (_, data))| (&**name, &**data));
        metadata.insert(DIGEST_KEY.to_owned(), digest(&metadata, all));
    }
    let mut header = header(tensors, &metadata).map_err(|error| damaged(error.to_string()))?;
    // Pad the header so that the tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(LENGTH), b' ');
    if header.len() > MOST_HEADER {
        return Err(CheckpointError::Header {
            most: MOST_HEADER,
            found: header.len(),
        });
    }
    let data: usize = tensors.values().map(|(_, data)| data.len()).sum();
    let mut bytes = Vec::with_capacity(LENGTH + header.len() + data);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    tensors.values().for_each(|(_, data)| bytes.extend(data));
    Ok(bytes)
}

/// Encodes the header as JSON: the metadata, then the tensors.
fn header(tensors: &Tensors, metadata: &Texts) -> Result<Vec<u8>, serde_json::Error> {
    let mut header = Vec::new();
    let mut writer = serde_json::Serializer::new(&mut header);
    let mut map = writer.serialize_map(None)?;
    if !metadata.is_empty() {
        map.serialize_entry(METADATA_KEY, metadata)?;
    }
    let mut end = 0;
    for (name, (shape, data)) in tensors {
        let start = end;
        end += data.len();
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            data_offsets: (start, end),
        };
        map.serialize_entry(name, &info)?;
    }
    map.end()?;
    Ok(header)
}

/// Returns the SHA-256 of the metadata (without the digest) and of all tensors, both sorted by name. The safetensors
/// format itself has no checksum.
fn digest<'a>(metadata: &Texts, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let said = metadata.iter().filter(|(key, _)| *key != DIGEST_KEY);
    let mut hash = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        // Hash the lengths too: otherwise ("ab", "c") and ("a", "bc") would have the same digest.
        for part in [name.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    };
    said.for_each(|(key, value)| add(key, value.as_bytes()));
    tensors.for_each(|(name, bytes)| add(name, bytes));
    hex(&hash.finalize())
}
