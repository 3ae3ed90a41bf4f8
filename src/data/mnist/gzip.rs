//! Reads gzip files, also those that have several members (gzip streams one after another) or are padded with zeros.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first bytes of every gzip file.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The source of the [`io::Error`] for bytes after a complete gzip stream that are neither zeros nor another stream.
#[derive(Debug)]
pub(super) struct Tail;

impl Tail {
    pub(super) fn is_source_of(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(source) if source.is::<Self>())
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes that are not gzip follow the end of the gzip stream")
    }
}

impl std::error::Error for Tail {}

/// Reads the unpacked contents of all members of a gzip file. Zeros may follow each member, because tapes, block
/// devices and some mirrors pad files with zeros.
#[derive(Debug)]
pub(super) struct Members<R> {
    /// The decoder of the current member; `None` at the end of the file.
    member: Option<GzDecoder<R>>,
    is_first: bool,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(gz: R) -> Self {
        Self {
            member: Some(GzDecoder::new(gz)),
            is_first: true,
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            match member.read(into) {
                Ok(0) if !into.is_empty() => {}
                // Bytes without a gzip header are not another member.
                Err(error)
                    if !self.is_first
                        && error.kind() == io::ErrorKind::InvalidInput
                        && member.header().is_none() =>
                {
                    return Err(io::Error::other(Tail));
                }
                read => return read,
            }
            let rest = self.member.take().map(GzDecoder::into_inner);
            let rest = rest.map(after_zeros).transpose()?.flatten();
            self.member = rest.map(GzDecoder::new);
            self.is_first = false;
        }
        Ok(0)
    }
}

/// Skips zeros. Returns the reader, positioned at the next member, or `None` at the end of the file.
fn after_zeros<R: BufRead>(mut reader: R) -> io::Result<Option<R>> {
    loop {
        let bytes = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            filled => filled?,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        match bytes.iter().position(|byte| *byte != 0) {
            Some(zeros) if bytes[zeros] == MAGIC[0] => {
                reader.consume(zeros);
                return Ok(Some(reader));
            }
            Some(_) => return Err(io::Error::other(Tail)),
            None => {
                let zeros = bytes.len();
                reader.consume(zeros);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufReader, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Unpacks through buffers of several sizes, so that each boundary between members and zeros is the end of a
    /// buffer at least once.
    fn unpack(gz: &[u8]) -> io::Result<Vec<u8>> {
        let results = [1, 2, 3, 5, 7, 512].map(|capacity| {
            let mut unpacked = Vec::new();
            let mut members = Members::new(BufReader::with_capacity(capacity, gz));
            members.read_to_end(&mut unpacked).map(|_| unpacked)
        });
        let [first, others @ ..] = results;
        for other in others {
            let shown = |result: &io::Result<Vec<u8>>| format!("{result:?}");
            assert_eq!(shown(&first), shown(&other));
        }
        first
    }

    #[test]
    fn members_and_zeros_in_every_order() {
        let [one, two] = [gzip(b"one"), gzip(b"two")];
        for zeros in [0, 1, 7, 512, 5000] {
            let zeros = &vec![0; zeros][..];
            assert_eq!(unpack(&[&one, zeros].concat()).unwrap(), b"one");
            assert_eq!(unpack(&[&one, zeros, &two].concat()).unwrap(), b"onetwo");
            assert_eq!(
                unpack(&[&one, zeros, &two, zeros].concat()).unwrap(),
                b"onetwo"
            );
        }
        assert_eq!(unpack(&gzip(b"")).unwrap(), b"");
    }

    #[test]
    fn a_tail_is_no_damage_and_damage_no_tail() {
        let one = gzip(b"one");
        for tail in [&b"garbage"[..], b"\x1fno member", b"PK\x03\x04 and so on"] {
            for zeros in [0, 3] {
                let error = unpack(&[&one, &vec![0; zeros][..], tail].concat()).unwrap_err();
                assert!(Tail::is_source_of(&error), "{error}");
            }
        }
        let mut damaged = one.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for damaged in [
            damaged.clone(),
            one[..one.len() - 1].to_vec(),
            b"no gzip at all".to_vec(),
            [&one[..], &one[..one.len() - 1]].concat(),
            [one, damaged].concat(),
        ] {
            assert!(!Tail::is_source_of(&unpack(&damaged).unwrap_err()));
        }
    }
}
