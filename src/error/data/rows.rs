use super::RowNumber;
use super::words::{counted, excerpt, nearest, quoted};
use crate::error::memory::readable;

/// Errors of reading rows from text and of selecting rows.
///
/// Column numbers in these errors start at 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// The text has no header.
    #[error(
        "{name} is empty: expected a header with the names of the columns, and then one row on each line, found \
         nothing; check that the file was written completely"
    )]
    Empty {
        /// Name of the file.
        name: String,
    },
    /// The text has a header but no rows.
    #[error(
        "{name} has a header ({}) but no rows: expected at least one row, found none; check that the file was written \
         completely. If this line is a row, not a header, pass the columns' names to `Csv::header`",
        quoted(header)
    )]
    NoRows {
        /// Name of the file.
        name: String,
        /// The header of the file.
        header: Vec<String>,
    },
    /// Two columns have the same name.
    #[error(
        "{name} has two columns named \"{column}\", the {} and the {}: expected different names; rename one in the \
         header",
        ordinal(places[0]),
        ordinal(places[1])
    )]
    NamedTwice {
        /// Name of the file.
        name: String,
        /// The name that both columns have.
        column: String,
        /// Numbers of the two columns, counted from 1.
        places: [usize; 2],
    },
    /// A row has more or fewer fields than the header.
    #[error(
        "{name}, {row}: expected {}, as in the header, found {found}; {}",
        counted(*expected, "field"),
        fields_remedy(*expected, *found)
    )]
    Fields {
        /// Name of the file.
        name: String,
        /// Number of the row.
        row: RowNumber,
        /// Number of fields in the header.
        expected: usize,
        /// Number of fields in the row.
        found: usize,
    },
    /// A field is not UTF-8.
    #[error(
        "{name}, {row}, column {column}: expected UTF-8, found bytes of another encoding; save the file as UTF-8, for \
         example as \"CSV UTF-8\" from a spreadsheet, or with `iconv -f WINDOWS-1252 -t UTF-8`"
    )]
    NotUtf8 {
        /// Name of the file.
        name: String,
        /// Number of the row.
        row: RowNumber,
        /// Name of the column in quotes; its number, counted from 1, if it has no name.
        column: String,
    },
    /// The file is not text.
    #[error(
        "{name} is {kind}: expected a table as text with delimiters (CSV); save its table as CSV"
    )]
    NotText {
        /// Name of the file.
        name: String,
        /// The kind of the file, for example `an Excel workbook`.
        kind: String,
    },
    /// A quoted field is never closed.
    #[error(
        "{name}, {row}, column {column}: a quote opens a field, but no quote closes it: expected a closing quote \
         before the end of the file, found none; close the field, or write a quote that is part of the text as \"\" \
         within a quoted field"
    )]
    OpenQuote {
        /// Name of the file.
        name: String,
        /// The line of the opening quote.
        row: RowNumber,
        /// Name of the column in quotes; its number, counted from 1, if it has no name.
        column: String,
    },
    /// Text follows the closing quote of a field.
    #[error(
        "{name}, {row}, column {column}: expected the end of the field after its closing quote, found {found:?}; \
         write a quote that is part of the text as \"\", or close the quote of an earlier field"
    )]
    AfterQuote {
        /// Name of the file.
        name: String,
        /// The line of the closing quote.
        row: RowNumber,
        /// Name of the column in quotes; its number, counted from 1, if it has no name.
        column: String,
        /// The first character after the quote.
        found: char,
    },
    /// A row is larger than 4 GiB.
    #[error(
        "{name}, {row} is larger than 4 GiB: expected one row on each line, found no end of the row; check that this \
         is a file of rows, and check its quotes"
    )]
    TooLong {
        /// Name of the file.
        name: String,
        /// Number of the row.
        row: RowNumber,
    },
    /// The file does not fit in memory.
    #[error(
        "{name} has {}, but there is memory for {} ({limit}); use a part of its rows, or a `Stream` of blocks",
        readable(*bytes),
        readable(*available)
    )]
    TooLarge {
        /// Name of the file.
        name: String,
        /// Size of the file in bytes.
        bytes: u64,
        /// Bytes of memory available.
        available: u64,
        /// What limits the memory.
        limit: &'static str,
    },
    /// The requested delimiter is not allowed.
    #[error(
        "delimiter {:?}: expected an ASCII character other than a quote and a line break, such as ',', ';' or a tab, \
         found another one; use the character that separates the fields of the file",
        *found as char
    )]
    Delimiter {
        /// The requested delimiter.
        found: u8,
    },
    /// The header does not have the requested column.
    #[error("{}", no_column(name, column, header))]
    NoColumn {
        /// Name of the file.
        name: String,
        /// The requested name.
        column: String,
        /// The names in the header.
        header: Vec<String>,
    },
    /// No row was selected.
    #[error(
        "no row of {name} is chosen: expected at least one of {rows}, found none; choose at least one row"
    )]
    NoneChosen {
        /// Name of the data.
        name: String,
        /// Number of rows.
        rows: usize,
    },
    /// A selected row does not exist.
    #[error(
        "{name} has no row {index}: expected an index below {rows}, the number of its rows (the first row is 0); \
         choose another"
    )]
    Index {
        /// Name of the data.
        name: String,
        /// The requested index.
        index: usize,
        /// Number of rows.
        rows: usize,
    },
    /// The fraction of rows for the first part is not between 0 and 1.
    #[error(
        "share of {name} in the first part: expected more than 0 and less than 1, such as 0.8, found {found}"
    )]
    Share {
        /// Name of the data.
        name: String,
        /// The requested fraction.
        found: f64,
    },
    /// The fraction of rows for the first part leaves one of the two parts empty.
    #[error(
        "{share} of the {} of {name} is {first}, which leaves none for the {} part: expected rows in both; use another \
         share, or more rows",
        counted(*rows, "row"),
        if *first == 0 { "first" } else { "second" }
    )]
    EmptyPart {
        /// Name of the data.
        name: String,
        /// The requested fraction.
        share: f64,
        /// Number of rows.
        rows: usize,
        /// Number of rows that the first part would have.
        first: usize,
    },
    /// Rows cannot be selected by class, because the targets are values and not classes.
    #[error(
        "{name} has values and no classes: expected a class for each row, to choose rows by class; choose rows in \
         another way, such as with `split`"
    )]
    NoClasses {
        /// Name of the data.
        name: String,
    },
    /// A class has no rows to select.
    #[error(
        "{name} has no row of class {class}: expected at least one of each of {classes} classes; add one, or leave out \
         the class"
    )]
    EmptyClass {
        /// Name of the data.
        name: String,
        /// Index of the class.
        class: usize,
        /// Number of classes.
        classes: usize,
    },
}

fn fields_remedy(expected: usize, found: usize) -> &'static str {
    if found < expected {
        "put a delimiter for each field that is blank"
    } else {
        "put quotes around a field that holds a delimiter"
    }
}

fn ordinal(place: usize) -> String {
    let ending = match (place % 10, place % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{place}{ending}")
}

/// The message about a missing column. It suggests a similar name from the header, if there is one.
fn no_column(name: &str, column: &str, header: &[String]) -> String {
    let remedy = match (nearest(column, header), header) {
        // Check this before similar names: with the wrong delimiter, the whole header line is read as one name.
        (_, [one]) if one.contains([';', '\t', '|']) => {
            let delimiter = one.chars().find(|c| [';', '\t', '|'].contains(c));
            format!(
                "its fields seem to be separated by {:?}: give that character to `Csv::delimiter`",
                delimiter.unwrap_or(';')
            )
        }
        (Some(meant), _) => format!("did you mean \"{meant}\"?"),
        (None, _) => "name one of them".to_owned(),
    };
    format!(
        "{name} has no column {}: expected one of the columns in its header, {}; {remedy}",
        excerpt(column),
        quoted(header)
    )
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn places_read_as_a_person_would_say_them() {
        let found = [1, 2, 3, 4, 11, 12, 13, 21, 112, 122].map(ordinal);
        let expected = [
            "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd",
        ];
        assert_eq!(found, expected);
    }
}
