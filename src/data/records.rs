//! Rows of text fields with a header.

mod csv;

use std::collections::HashMap;
use std::sync::Arc;

use super::parts::Rows;
use super::{DataError, RowNumber, RowsError};
pub use csv::Csv;

/// Rows of text fields, for example of a CSV file, with a header that names the columns.
///
/// [`Columns`](super::Columns) convert records to numbers. Cloning records and selecting rows is cheap, because the
/// text is shared.
///
/// ```
/// use wgrad::data::Records;
///
/// let text = "area,town,price\n95,Bonn,410\n60,Köln,\n120,\"Bonn, Beuel\",475\n";
/// let houses = Records::read_csv("houses.csv", text.as_bytes())?;
/// assert_eq!((houses.len(), houses.header()), (3, &["area", "town", "price"].map(String::from)[..]));
/// let priced = houses.filter("price", |price| !price.is_empty())?;
/// assert!(priced.column("town")?.eq(["Bonn", "Bonn, Beuel"]));
///
/// // From anything else, such as a database.
/// let rows = [["95", "410"], ["60", "300"]];
/// let [train, test] = Records::new("houses", ["area", "price"], rows)?.split(0.5, 1)?;
/// assert_eq!((train.len(), test.len()), (1, 1));
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Records {
    name: String,
    text: Arc<Text>,
    /// Indices of the selected rows in `text`; `None` for all rows.
    chosen: Option<Arc<[usize]>>,
}

/// The fields of all rows, in one string.
#[derive(Debug, Default)]
struct Text {
    header: Vec<String>,
    fields: String,
    /// Start of each row in `fields`, in bytes.
    starts: Vec<usize>,
    /// End of each field, in bytes from the start of its row. These `u32` offsets take half the memory of `usize`
    /// offsets into `fields`.
    ends: Vec<u32>,
    /// Line number of each row; `None` if the rows do not come from a file.
    lines: Option<Vec<u64>>,
}

impl Records {
    /// Creates records from rows of fields in the order of the header.
    ///
    /// # Errors
    /// [`RowsError::Empty`] without a header, [`RowsError::NoRows`] without rows, [`RowsError::NamedTwice`] when two
    /// columns have the same name, and [`RowsError::Fields`] when a row has more or fewer fields than the header.
    pub fn new(
        name: impl Into<String>,
        header: impl IntoIterator<Item: Into<String>>,
        rows: impl IntoIterator<Item: IntoIterator<Item: AsRef<str>>>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let header = header.into_iter().map(Into::into).collect();
        let mut text = Text::with_header(&name, header)?;
        for (row, fields) in (0..).zip(rows) {
            let number = RowNumber::Row(row);
            for field in fields {
                text.push_field(&name, number, field.as_ref())?;
            }
            text.end_row(&name, number)?;
        }
        Self::of(name, text)
    }

    /// Reads a CSV file with commas between fields and a header row. For other formats, see [`Csv`].
    ///
    /// # Errors
    /// The errors of [`Csv::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_csv(path: impl AsRef<std::path::Path>) -> Result<Self, DataError> {
        Csv::new().open(path)
    }

    /// Reads CSV text with commas between fields and a header row. For other formats, see [`Csv`].
    ///
    /// # Errors
    /// The errors of [`Csv::read`].
    pub fn read_csv(name: impl Into<String>, input: impl std::io::Read) -> Result<Self, DataError> {
        Csv::new().read(name, input)
    }

    fn of(name: String, text: Text) -> Result<Self, DataError> {
        if text.starts.is_empty() {
            return Err(RowsError::NoRows {
                name,
                header: text.header,
            }
            .into());
        }
        Ok(Self {
            name,
            text: Arc::new(text),
            chosen: None,
        })
    }

    /// The display name, for example the name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a table made from these rows. For a selection of rows, the name has both row counts, such as
    /// `houses, 4 of 5 rows`.
    pub(super) fn name_of_table(&self) -> String {
        match &self.chosen {
            None => self.name.clone(),
            Some(rows) => self.all().name_of_part(rows.len()),
        }
    }

    /// Number of rows.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "records are never empty")]
    pub fn len(&self) -> usize {
        let all = self.text.starts.len();
        self.chosen.as_ref().map_or(all, |rows| rows.len())
    }

    /// Names of the columns.
    #[must_use]
    pub fn header(&self) -> &[String] {
        &self.text.header
    }

    /// The fields of a row, in the order of the header.
    ///
    /// # Panics
    /// When `row` is [`len`](Self::len) or greater.
    pub fn row(&self, row: usize) -> impl Iterator<Item = &str> + Clone {
        let place = self.place(row);
        (0..self.header().len()).map(move |column| self.text.field(place, column))
    }

    /// The number by which a user finds a row: its line number if it comes from a file, otherwise its index.
    ///
    /// # Panics
    /// When `row` is [`len`](Self::len) or greater.
    #[must_use]
    pub fn number(&self, row: usize) -> RowNumber {
        let place = self.place(row);
        match &self.text.lines {
            Some(lines) => RowNumber::Line(lines[place]),
            None => RowNumber::Row(place as u64),
        }
    }

    /// The fields of a column, one per row.
    ///
    /// # Errors
    /// [`RowsError::NoColumn`] when the header has no column of that name.
    pub fn column(&self, column: &str) -> Result<impl Iterator<Item = &str> + Clone, DataError> {
        let column = self.place_of(column)?;
        Ok((0..self.len()).map(move |row| self.field(row, column)))
    }

    /// Returns the index of a column in the header.
    pub(super) fn place_of(&self, column: &str) -> Result<usize, RowsError> {
        place_in(&self.name, self.header(), column)
    }

    pub(super) fn field(&self, row: usize, column: usize) -> &str {
        self.text.field(self.place(row), column)
    }

    fn place(&self, row: usize) -> usize {
        self.chosen.as_ref().map_or(row, |rows| rows[row])
    }

    /// Selects the rows with these indices, in this order. An index may occur twice.
    ///
    /// # Errors
    /// [`RowsError::NoneChosen`] when `rows` is empty, and [`RowsError::Index`] when an index is [`len`](Self::len) or
    /// greater.
    pub fn select(&self, rows: &[usize]) -> Result<Self, DataError> {
        self.rows().check(rows, size_of::<usize>())?;
        Ok(self.part(rows))
    }

    /// Selects the rows whose field in `column` satisfies `is`. The field is passed without surrounding blanks.
    ///
    /// # Errors
    /// [`RowsError::NoColumn`] when the header has no column of that name; [`RowsError::NoneChosen`] when no row
    /// satisfies `is`.
    pub fn filter(&self, column: &str, is: impl Fn(&str) -> bool) -> Result<Self, DataError> {
        let fields = self.column(column)?.enumerate();
        let rows: Vec<usize> = fields
            .filter_map(|(row, field)| is(field.trim()).then_some(row))
            .collect();
        self.select(&rows)
    }

    /// Shuffles the rows and splits them into two parts. The first part has the fraction `share` of the rows, rounded.
    /// The same seed gives the same parts on every machine.
    ///
    /// # Errors
    /// [`RowsError::Share`] unless `share` is between 0 and 1; [`RowsError::EmptyPart`] when a part would have no row.
    pub fn split(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        let parts = self.rows().split(share, seed)?;
        Ok(parts.map(|rows| self.part(&rows)))
    }

    /// Splits the rows with each value of `column` separately, like [`split`](Self::split) (a stratified split).
    ///
    /// So the proportions of these values are about the same in both parts. If a value has two or more rows, each part
    /// gets at least one of them. A single row goes to the first part.
    ///
    /// # Errors
    /// The errors of [`split`](Self::split), and [`RowsError::NoColumn`] when the header has no column of that name.
    pub fn split_by(&self, column: &str, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        let mut groups = HashMap::new();
        let group_of = self.column(column)?.map(|field| {
            let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            *groups.entry(field.trim()).or_insert(next)
        });
        let group_of: Vec<u32> = group_of.collect();
        let parts = self.rows().split_by(&group_of, share, seed)?;
        Ok(parts.map(|rows| self.part(&rows)))
    }

    fn part(&self, rows: &[usize]) -> Self {
        let places = rows.iter().map(|&row| self.place(row)).collect();
        Self {
            name: self.name.clone(),
            text: Arc::clone(&self.text),
            chosen: Some(places),
        }
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            name: &self.name,
            len: self.len(),
        }
    }

    fn all(&self) -> Rows<'_> {
        Rows {
            name: &self.name,
            len: self.text.starts.len(),
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("name", &self.name)
            .field("rows", &self.len())
            .field("header", &self.header())
            .finish_non_exhaustive()
    }
}

impl Text {
    fn with_header(name: &str, mut header: Vec<String>) -> Result<Self, RowsError> {
        for column in &mut header {
            column.truncate(column.trim_end().len());
            column.drain(..column.len() - column.trim_start().len());
        }
        if header.iter().all(String::is_empty) {
            return Err(RowsError::Empty {
                name: name.to_owned(),
            });
        }
        let mut places = HashMap::new();
        for (place, column) in (1..).zip(&header) {
            // Columns without a name are ignored: spreadsheets often write such columns at the end of each row.
            let earlier = (!column.is_empty()).then(|| places.insert(column, place));
            if let Some(earlier) = earlier.flatten() {
                return Err(RowsError::NamedTwice {
                    name: name.to_owned(),
                    column: column.clone(),
                    places: [earlier, place],
                });
            }
        }
        Ok(Self {
            header,
            ..Self::default()
        })
    }

    fn field(&self, place: usize, column: usize) -> &str {
        let start = self.starts[place];
        let columns = self.header.len();
        let ends = &self.ends[place * columns..][..=column];
        let begin = if column == 0 { 0 } else { ends[column - 1] };
        &self.fields[start + begin as usize..start + ends[column] as usize]
    }

    /// Number of fields in the unfinished row.
    fn fields_of_row(&self) -> usize {
        self.ends.len() - self.starts.len() * self.header.len()
    }

    /// Start of the unfinished row: a byte offset into `fields`.
    fn start_of_row(&self) -> usize {
        match (self.starts.last(), self.header.len()) {
            (Some(&start), columns) if columns > 0 => {
                start + self.ends[self.starts.len() * columns - 1] as usize
            }
            _ => 0,
        }
    }

    fn push_field(&mut self, name: &str, row: RowNumber, field: &str) -> Result<(), RowsError> {
        let start = self.start_of_row();
        self.fields.push_str(field);
        let end = u32::try_from(self.fields.len() - start);
        self.ends.push(end.map_err(|_| RowsError::TooLong {
            name: name.to_owned(),
            row,
        })?);
        Ok(())
    }

    /// Removes the unfinished row if it is a single blank field. Returns whether the row was removed.
    fn drop_blank_row(&mut self) -> bool {
        let start = self.start_of_row();
        let is_blank = self.fields_of_row() == 1 && self.fields[start..].trim().is_empty();
        if is_blank {
            self.fields.truncate(start);
            self.ends.pop();
        }
        is_blank
    }

    fn end_row(&mut self, name: &str, row: RowNumber) -> Result<(), RowsError> {
        let expected = self.header.len();
        let found = self.fields_of_row();
        if expected != found {
            return Err(RowsError::Fields {
                name: name.to_owned(),
                row,
                expected,
                found,
            });
        }
        self.starts.push(self.start_of_row());
        if let RowNumber::Line(line) = row {
            self.lines.get_or_insert_default().push(line);
        }
        Ok(())
    }
}

/// Returns the index of a column in a header.
pub(super) fn place_in(
    name: &str,
    header: &[impl AsRef<str>],
    column: &str,
) -> Result<usize, RowsError> {
    let names = || header.iter().map(|found| found.as_ref().trim());
    let mut places = names().zip(0..).filter(|(found, _)| *found == column);
    match (places.next(), places.next()) {
        (Some((_, place)), None) => Ok(place),
        (Some((_, first)), Some((_, second))) => Err(RowsError::NamedTwice {
            name: name.to_owned(),
            column: column.to_owned(),
            places: [first + 1, second + 1],
        }),
        (None, _) => Err(RowsError::NoColumn {
            name: name.to_owned(),
            column: column.to_owned(),
            header: names().map(str::to_owned).collect(),
        }),
    }
}
