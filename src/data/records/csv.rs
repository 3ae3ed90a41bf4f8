//! A streaming reader of delimited text as described in RFC 4180.

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};

use super::{Records, Text};
use crate::data::{DataError, RowNumber, RowsError};
#[cfg(not(target_arch = "wasm32"))]
use crate::error::Error;
use crate::file_kind::{FileKind, Format};
#[cfg(not(target_arch = "wasm32"))]
use crate::memory;

/// Options for reading the text of a CSV file.
///
/// Delimiters separate fields, and line breaks separate rows (RFC 4180). A field in double quotes may contain
/// delimiters, line breaks and quotes. Such a quote is written as `""`. A line ends with LF, CRLF or CR. Blank lines
/// and a byte order mark are skipped. The text must be UTF-8. A quoted field that is never closed is an error.
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
    /// Creates options for text with commas between fields and a header in the first row.
    #[must_use]
    pub fn new() -> Self {
        Self {
            delimiter: b',',
            header: None,
        }
    }

    /// Sets the character between fields: an ASCII character such as `b';'` or `b'\t'`.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Sets the names of the columns for a file that has no header row.
    #[must_use]
    pub fn header(mut self, names: impl IntoIterator<Item: Into<String>>) -> Self {
        self.header = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the rows of a file.
    ///
    /// # Errors
    /// [`DataError::Read`] when the file cannot be read; [`RowsError::TooLarge`] when there is not enough memory for
    /// it; the errors of [`read`](Self::read).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(&self, path: impl AsRef<std::path::Path>) -> Result<Records, DataError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|source| DataError::Read {
            file: path.to_owned(),
            source,
        })?;
        // The fields take no more memory than the file. Reserving that much avoids reallocation while reading.
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

    /// Reads the rows of a text. Error messages call the text `name`.
    ///
    /// # Errors
    /// [`DataError::Read`] when the input fails, [`RowsError::Delimiter`] when the delimiter is not allowed, and
    /// [`RowsError::NotText`] when the input is another kind of file. [`RowsError::Empty`] without a header,
    /// [`RowsError::NoRows`] without rows, and [`RowsError::NamedTwice`] when two columns have the same name.
    ///
    /// These errors have the number of the line: [`RowsError::Fields`] when a row has more or fewer fields than the
    /// header, [`RowsError::TooLong`] when a row is too long, [`RowsError::NotUtf8`], [`RowsError::OpenQuote`] and
    /// [`RowsError::AfterQuote`].
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

/// Number of bytes at the beginning of a file from which its kind is recognized.
const BEGINNING: u64 = 1 << 12;
/// U+FEFF in UTF-8. Some programs write it at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Fails if the beginning of a file shows that the file is not text.
fn check_text(name: &str, beginning: &[u8]) -> Result<(), RowsError> {
    let is_text = match std::str::from_utf8(beginning) {
        Ok(text) => !text.contains('\0'),
        // The last character may be cut off, because `beginning` is only a part of the file.
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

/// The position of the parser before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After a delimiter or a line break. A quote here opens a quoted field.
    Start,
    /// Inside a field without quotes.
    Plain,
    /// Inside a quoted field.
    Quoted,
    /// After a quote that closes a field, unless another quote follows.
    Closed,
    /// After the closing quote and blanks.
    Behind,
}

struct Parser<'a> {
    name: &'a str,
    delimiter: u8,
    state: State,
    /// Whether the previous byte was a carriage return outside quotes. A line feed that follows it belongs to the same
    /// line break.
    is_after_return: bool,
    line: u64,
    line_of_row: u64,
    line_of_quote: u64,
    has_quotes: bool,
    field: Vec<u8>,
    /// The fields of the header row so far; `None` once the header is complete.
    header: Option<Vec<String>>,
    text: Text,
}

impl<'a> Parser<'a> {
    fn new(name: &'a str, csv: &Csv, bytes: usize) -> Result<Self, RowsError> {
        let (header, mut text) = match &csv.header {
            None => (Some(Vec::new()), Text::default()),
            Some(header) => (None, Text::with_header(name, header.clone())?),
        };
        // Ignore a failure: the fields are smaller than the file, so there may still be enough memory for them.
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

    /// Reads a field without quotes up to its end, or to the end of `rest`. Returns the number of bytes read.
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

    /// Reads a quoted field up to the next quote, or to the end of `rest`. Returns the number of bytes read.
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

    /// Ends a field. `byte` is the delimiter or line break after the field. A line break also ends the row.
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

    /// The quoted name of the current field's column, or the column's number if it has no name.
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

    /// Ends the last row, even if no line break follows it, and returns all rows.
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
