//! Text with delimiters, as RFC 4180 describes it, read as it comes.

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};

use super::{Records, Text};
use crate::data::{DataError, RowNumber, RowsError};
#[cfg(not(target_arch = "wasm32"))]
use crate::error::Error;
use crate::file_kind::{FileKind, Format};
#[cfg(not(target_arch = "wasm32"))]
use crate::memory;

/// How the text of a CSV file is read.
///
/// Fields lie between commas and rows on lines (RFC 4180): a field in double quotes may hold delimiters, line breaks
/// and, as `""`, quotes. Lines end with LF, CRLF or CR; those with nothing but blanks are left out, as is a byte
/// order mark. The text is UTF-8. A quote that nothing closes is an error, and does not make one field of the rest of
/// the file.
///
/// ```
/// use wgrad::data::Csv;
///
/// // Semicolons, and no header in the file.
/// let csv = Csv::new().delimiter(b';').header(["length", "species"]);
/// let flowers = csv.read("iris.data", "5.1;setosa\n7,0;versicolor\n".as_bytes())?;
/// assert!(flowers.row(1).eq(["7,0", "versicolor"]));
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Csv {
    delimiter: u8,
    header: Option<Vec<String>>,
}

impl Default for Csv {
    fn default() -> Self {
        Self::new()
    }
}

impl Csv {
    /// Commas between fields, and a header in the first row.
    #[must_use]
    pub fn new() -> Self {
        Self {
            delimiter: b',',
            header: None,
        }
    }

    /// Another character between fields: an ASCII character such as `b';'` or `b'\t'`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Names of the columns, where the file has no header: its first row is data.
    #[must_use]
    pub fn header(mut self, names: impl IntoIterator<Item: Into<String>>) -> Self {
        self.header = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The rows of a file.
    ///
    /// # Errors
    /// [`DataError::Read`] when it cannot be read, [`RowsError::TooLarge`] when there is no memory for it, and otherwise as
    /// [`read`](Self::read).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(&self, path: impl AsRef<std::path::Path>) -> Result<Records, DataError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|source| DataError::Read {
            file: path.to_owned(),
            source,
        })?;
        // Its fields take no more than the file, so that nothing is moved while they are read.
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        if let Err(Error::Memory {
            available, limit, ..
        }) = memory::check(String::new, bytes)
        {
            return Err(RowsError::TooLarge {
                name,
                bytes,
                available,
                limit,
            }
            .into());
        }
        self.read_sized(name, file, usize::try_from(bytes).unwrap_or(0))
    }

    /// The rows of a text; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`DataError::Read`] when the input fails. [`RowsError::Empty`] without a header, [`RowsError::NoRows`] without
    /// rows, [`RowsError::NamedTwice`] when two columns have one name. By line: [`RowsError::Fields`] when a row is
    /// longer or shorter than the header, [`RowsError::NotUtf8`], [`RowsError::OpenQuote`],
    /// [`RowsError::AfterQuote`]. [`RowsError::NotText`] when it is another kind of file, and
    /// [`RowsError::Delimiter`] when that cannot be one.
    pub fn read(&self, name: impl Into<String>, input: impl Read) -> Result<Records, DataError> {
        self.read_sized(name.into(), input, 0)
    }

    fn read_sized(
        &self,
        name: String,
        input: impl Read,
        bytes: usize,
    ) -> Result<Records, DataError> {
        let found = self.delimiter;
        if !found.is_ascii() || [b'"', b'\n', b'\r'].contains(&found) {
            return Err(RowsError::Delimiter { found }.into());
        }
        let failed = |source| DataError::Read {
            file: name.clone().into(),
            source,
        };
        let mut input = BufReader::with_capacity(1 << 16, input);
        let mut beginning = Vec::new();
        input
            .by_ref()
            .take(BEGINNING)
            .read_to_end(&mut beginning)
            .map_err(failed)?;
        check_text(&name, &beginning)?;
        let start = if beginning.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let mut input = Cursor::new(&beginning[start..]).chain(input);
        let mut parser = Parser::new(&name, self, bytes)?;
        loop {
            let chunk = match input.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                chunk => chunk.map_err(failed)?,
            };
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len();
            parser.read(chunk)?;
            input.consume(length);
        }
        let text = parser.finish()?;
        Records::of(name, text)
    }
}

/// Bytes by which the kind of a file is told.
const BEGINNING: u64 = 1 << 12;
/// The UTF-8 of U+FEFF, which some programs put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a file may be text, by its beginning.
fn check_text(name: &str, beginning: &[u8]) -> Result<(), RowsError> {
    let is_text = match std::str::from_utf8(beginning) {
        Ok(text) => !text.contains('\0'),
        // The last character may go on behind the beginning.
        Err(error) => error.error_len().is_none() && beginning.len() > 3,
    };
    let kind = FileKind::of(beginning).filter(|kind| {
        let text = [Format::Text, Format::Json, Format::Page];
        !text.contains(&kind.format)
    });
    match kind {
        Some(kind) if !is_text => Err(RowsError::NotText {
            name: name.to_owned(),
            kind: kind.name,
        }),
        _ => Ok(()),
    }
}

/// What was read before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A delimiter or a line break: a quote here opens a field.
    Start,
    /// Some of a field without quotes.
    Plain,
    /// Some of a field in quotes.
    Quoted,
    /// The quote that closes a field, unless another follows.
    Closed,
    /// Blanks after the closing quote.
    Behind,
}

struct Parser<'a> {
    name: &'a str,
    delimiter: u8,
    state: State,
    /// The last byte was a carriage return outside of quotes, with which a line feed is one line break.
    is_after_return: bool,
    line: u64,
    line_of_row: u64,
    line_of_quote: u64,
    has_quotes: bool,
    field: Vec<u8>,
    /// The fields of the row, while there is no header yet.
    header: Option<Vec<String>>,
    text: Text,
}

impl<'a> Parser<'a> {
    fn new(name: &'a str, csv: &Csv, bytes: usize) -> Result<Self, RowsError> {
        let (header, mut text) = match &csv.header {
            None => (Some(Vec::new()), Text::default()),
            Some(header) => (None, Text::with_header(name, header.clone())?),
        };
        // Where there is no such room, it may still do, as the fields are less than the file.
        let _ = text.fields.try_reserve_exact(bytes);
        Ok(Self {
            name,
            delimiter: csv.delimiter,
            state: State::Start,
            is_after_return: false,
            line: 1,
            line_of_row: 1,
            line_of_quote: 1,
            has_quotes: false,
            field: Vec::new(),
            header,
            text,
        })
    }

    fn read(&mut self, mut rest: &[u8]) -> Result<(), RowsError> {
        while let Some(&byte) = rest.first() {
            if std::mem::take(&mut self.is_after_return) && byte == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let taken = match self.state {
                State::Start if byte == b'"' => {
                    self.state = State::Quoted;
                    self.has_quotes = true;
                    self.line_of_quote = self.line;
                    1
                }
                State::Start | State::Plain => self.plain(rest)?,
                State::Quoted => self.quoted(rest),
                State::Closed if byte == b'"' => {
                    self.field.push(byte);
                    self.state = State::Quoted;
                    1
                }
                State::Closed | State::Behind => self.behind_quotes(byte)?,
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Takes a field without quotes up to its end, as far as it is there.
    fn plain(&mut self, rest: &[u8]) -> Result<usize, RowsError> {
        let delimiter = self.delimiter;
        let ends = |byte: &u8| [delimiter, b'\n', b'\r'].contains(byte);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.field.extend_from_slice(&rest[..length]);
        self.state = State::Plain;
        match rest.get(length) {
            None => Ok(length),
            Some(&byte) => {
                self.end(byte)?;
                Ok(length + 1)
            }
        }
    }

    /// Takes a field in quotes up to the next quote, as far as it is there.
    fn quoted(&mut self, rest: &[u8]) -> usize {
        let quote = rest.iter().position(|&byte| byte == b'"');
        let part = &rest[..quote.unwrap_or(rest.len())];
        self.field.extend_from_slice(part);
        self.line += part.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if quote.is_none() {
            return part.len();
        }
        self.state = State::Closed;
        part.len() + 1
    }

    fn behind_quotes(&mut self, byte: u8) -> Result<usize, RowsError> {
        if [self.delimiter, b'\n', b'\r'].contains(&byte) {
            self.end(byte)?;
        } else if [b' ', b'\t'].contains(&byte) {
            self.state = State::Behind;
        } else {
            return Err(RowsError::AfterQuote {
                name: self.name.to_owned(),
                row: RowNumber::Line(self.line),
                column: self.column(),
                found: if byte.is_ascii() {
                    char::from(byte)
                } else {
                    char::REPLACEMENT_CHARACTER
                },
            });
        }
        Ok(1)
    }

    /// Ends a field by the byte that follows it, and with a line break the row.
    fn end(&mut self, byte: u8) -> Result<(), RowsError> {
        self.end_field()?;
        if byte != self.delimiter {
            self.end_row()?;
            self.is_after_return = byte == b'\r';
            self.line += 1;
            self.line_of_row = self.line;
        }
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), RowsError> {
        self.state = State::Start;
        let field = std::str::from_utf8(&self.field).map_err(|_| RowsError::NotUtf8 {
            name: self.name.to_owned(),
            row: RowNumber::Line(self.line_of_row),
            column: self.column(),
        })?;
        match &mut self.header {
            Some(header) => header.push(field.to_owned()),
            None => {
                let row = RowNumber::Line(self.line_of_row);
                self.text.push_field(self.name, row, field)?;
            }
        }
        self.field.clear();
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), RowsError> {
        let has_quotes = std::mem::take(&mut self.has_quotes);
        if let Some(header) = &mut self.header {
            let header = std::mem::take(header);
            let is_blank = !has_quotes && header.len() == 1 && header[0].trim().is_empty();
            if !is_blank {
                let fields = std::mem::take(&mut self.text.fields);
                self.text = Text::with_header(self.name, header)?;
                self.text.fields = fields;
                self.header = None;
            }
            return Ok(());
        }
        if !has_quotes && self.text.drop_blank_row() {
            return Ok(());
        }
        self.text
            .end_row(self.name, RowNumber::Line(self.line_of_row))
    }

    /// The column of the field that is being read, by its name where it has one.
    fn column(&self) -> String {
        let place = match &self.header {
            Some(header) => header.len(),
            None => self.text.fields_of_row(),
        };
        match self.text.header.get(place) {
            Some(name) if !name.is_empty() => format!("\"{name}\""),
            _ => (place + 1).to_string(),
        }
    }

    /// Ends the last row, which may have no line break.
    fn finish(mut self) -> Result<Text, RowsError> {
        if self.state == State::Quoted {
            return Err(RowsError::OpenQuote {
                name: self.name.to_owned(),
                row: RowNumber::Line(self.line_of_quote),
                column: self.column(),
            });
        }
        let fields = self.header.as_ref().map(Vec::len);
        let has_fields = fields.unwrap_or_else(|| self.text.fields_of_row()) > 0;
        if has_fields || self.state != State::Start {
            self.end_field()?;
            self.end_row()?;
        }
        match self.header {
            None => Ok(self.text),
            Some(_) => Err(RowsError::Empty {
                name: self.name.to_owned(),
            }),
        }
    }
}
