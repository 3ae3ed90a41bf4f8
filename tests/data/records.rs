//! Reads CSV files. Each mistake in a file gives an error with its place.

use std::io::Read;

use proptest::prelude::*;
use wgrad::data::{Csv, DataError, Records, RowNumber, RowsError};

/// A reader that returns one byte at a time.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.len().min(to.len()).min(1);
        let (read, rest) = self.0.split_at(length);
        to[..length].copy_from_slice(read);
        self.0 = rest;
        Ok(length)
    }
}

fn read(text: &[u8]) -> Result<Records, DataError> {
    let slowly = Csv::new().read("t.csv", Slowly(text));
    let at_once = Csv::new().read("t.csv", text);
    match (&slowly, &at_once) {
        (Ok(slowly), Ok(at_once)) => assert_eq!(fields(slowly), fields(at_once)),
        (Err(slowly), Err(at_once)) => assert_eq!(slowly.to_string(), at_once.to_string()),
        _ => panic!("{slowly:?} and {at_once:?}"),
    }
    at_once
}

fn fields(records: &Records) -> Vec<Vec<String>> {
    let rows = (0..records.len()).map(|row| records.row(row).map(str::to_owned).collect());
    rows.collect()
}

fn lines(records: &Records) -> Vec<RowNumber> {
    (0..records.len()).map(|row| records.number(row)).collect()
}

/// Returns the error message for a text. Asserts that it is the same when the text arrives byte by byte.
fn refused(text: &[u8]) -> String {
    read(text).unwrap_err().to_string()
}

/// Returns records with one column, which contains the numbers from 0 on.
fn counted(rows: usize) -> Records {
    Records::new("t", ["n"], (0..rows).map(|row| [row.to_string()])).unwrap()
}

fn numbers(records: &Records) -> Vec<usize> {
    let column = records.column("n").unwrap();
    column.map(|field| field.parse().unwrap()).collect()
}

#[test]
fn quotes_line_breaks_and_a_byte_order_mark() {
    let text = "\u{feff}\"a\", b ,c\r\n1,\"x, \"\"y\"\"\",\r\n\r\n\"2\n\r\n2\",\" \" ,z\r\n   \r\n3,5\" pipe,é\r\n";
    let records = read(text.as_bytes()).unwrap();
    assert_eq!(records.header(), ["a", "b", "c"]);
    let expected = [
        ["1", "x, \"y\"", ""],
        ["2\n\r\n2", " ", "z"],
        ["3", "5\" pipe", "é"],
    ];
    assert_eq!(fields(&records), expected);
    assert_eq!(lines(&records), [2, 4, 8].map(RowNumber::Line));
    assert_eq!(records.name(), "t.csv");
}

#[test]
fn the_last_row_ends_with_or_without_a_line_break() {
    for end in ["", "\n", "\r\n", "\r", "\n\n\n", "\n  \n"] {
        let records =
            read(format!("a,b{0}1,2{end}", if end.is_empty() { "\n" } else { end }).as_bytes());
        assert_eq!(fields(&records.unwrap()), [["1", "2"]], "{end:?}");
    }
    let records = read(b"a,b\n1,").unwrap();
    assert_eq!(fields(&records), [["1", ""]]);
    let records = read(b"a,b\n1,\"\"").unwrap();
    assert_eq!(fields(&records), [["1", ""]]);
    // A line with only an empty field in quotes is a row with one column. A line without any character is no row.
    let records = read(b"a\n\"\"\n\n1\n").unwrap();
    assert_eq!(fields(&records), [[""], ["1"]]);
    assert_eq!(lines(&records), [2, 4].map(RowNumber::Line));
}

#[test]
fn lines_are_counted_with_any_line_break() {
    for line_break in ["\n", "\r\n", "\r"] {
        let text = ["a", "1", "", "2", "3"].join(line_break);
        let records = read(text.as_bytes()).unwrap();
        assert_eq!(
            lines(&records),
            [2, 4, 5].map(RowNumber::Line),
            "{line_break:?}"
        );
    }
}

#[test]
fn other_delimiters_and_files_without_a_header() {
    let csv = Csv::new().delimiter(b'\t').header(["a", "b"]);
    let records = csv.read("t.tsv", "1\t2,5\n3\t\n".as_bytes()).unwrap();
    assert_eq!(fields(&records), [["1", "2,5"], ["3", ""]]);
    assert_eq!(lines(&records), [1, 2].map(RowNumber::Line));
    for delimiter in [b'"', b'\n', b'\r', 200] {
        let error = Csv::new()
            .delimiter(delimiter)
            .read("t", &b"a"[..])
            .unwrap_err();
        assert_matches!(error, DataError::Rows(RowsError::Delimiter { found }) if found == delimiter);
    }
}

#[test]
fn a_row_of_another_length_is_told_by_its_line() {
    assert_eq!(
        refused(b"a,b,c\n1,2,3\n\n\"4\n4\",5,6\n7,8\n9,10,11\n"),
        "t.csv, line 6: expected 3 fields, as in the header, found 2; put a delimiter for each field that is blank"
    );
    assert_eq!(
        refused(b"a,b\r\n1,2\r\n3,4,5\r\n"),
        "t.csv, line 3: expected 2 fields, as in the header, found 3; put quotes around a field that holds a delimiter"
    );
    let error = Records::new("t", ["a", "b"], [vec!["1", "2"], vec!["3"]]).unwrap_err();
    assert!(
        error.to_string().starts_with("t, row 1: expected 2 fields"),
        "{error}"
    );
    assert_matches!(
        error,
        DataError::Rows(RowsError::Fields {
            expected: 2,
            found: 1,
            row: RowNumber::Row(1),
            ..
        })
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_told_by_line_and_column() {
    let message = refused(b"a,b\n1,2\n3,K\xf6ln\n");
    assert!(
        message.starts_with("t.csv, line 3, column \"b\": expected UTF-8"),
        "{message}"
    );
    assert!(message.contains("iconv"), "{message}");
    let message = refused(b"a,\xff\n1,2\n");
    assert!(
        message.starts_with("t.csv, line 1, column 2: expected UTF-8"),
        "{message}"
    );
    // Each field must be valid UTF-8. These two are valid only if they are joined.
    let message = refused(b"a,b\n\xc3,\xa9\n");
    assert!(
        message.starts_with("t.csv, line 2, column \"a\""),
        "{message}"
    );
}

#[test]
fn quotes_that_are_not_closed_or_closed_too_early() {
    let message = refused(b"a,b\n1,2\n3,\"4\n5,6\n7,8\n");
    let expected = "t.csv, line 3, column \"b\": a quote opens a field, but no quote closes it";
    assert!(message.starts_with(expected), "{message}");
    let message = refused(b"a,b\n1,\"4\" inch\n");
    let expected = "t.csv, line 2, column \"b\": expected the end of the field after its closing quote, found 'i'";
    assert!(message.starts_with(expected), "{message}");
    let message = refused(b"a,b\n1,\"4\" \"5\"\n");
    assert!(message.contains("found '\"'"), "{message}");
}

#[test]
fn texts_without_a_header_or_rows() {
    for text in ["", "\n \n", "\u{feff}", ",,\n1,2,3\n"] {
        let error = read(text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("t.csv is empty"), "{error}");
        assert_matches!(error, DataError::Rows(RowsError::Empty { .. }));
    }
    let message = refused(b"area,price\n\n");
    let expected = "t.csv has a header (\"area\" and \"price\") but no rows: expected at least one row, found none";
    assert!(message.starts_with(expected), "{message}");
    let error = Records::new("t", ["a"], [["1"]; 0]).unwrap_err();
    assert_matches!(error, DataError::Rows(RowsError::NoRows { .. }));
}

#[test]
fn two_columns_of_one_name() {
    let expected = "t.csv has two columns named \"area\", the 1st and the 3rd: expected different names; rename one in \
                    the header";
    assert_eq!(refused(b"area,price, area\n1,2,3\n"), expected);
    // Several columns may have an empty name, because no column is requested by an empty name.
    assert_eq!(read(b"a,,\n1,2,3\n").unwrap().header(), ["a", "", ""]);
}

#[test]
fn files_that_are_not_there_or_no_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("houses.csv");
    let error = Records::from_csv(&path).unwrap_err();
    assert!(error.to_string().contains("houses.csv"), "{error}");
    assert_matches!(error, DataError::Read { .. });
    std::fs::write(&path, b"PK\x03\x04\x14\0\x06\0\xff\xfe\0\0\n\xff").unwrap();
    let error = Records::from_csv(&path).unwrap_err();
    assert!(error.to_string().contains("zip"), "{error}");
    assert_matches!(error, DataError::Rows(RowsError::NotText { .. }));
    // The file is sparse, so it needs no space on the disk.
    let file = std::fs::File::create(&path).unwrap();
    if file.set_len(1 << 42).is_ok() {
        let error = Records::from_csv(&path).unwrap_err();
        assert_matches!(error, DataError::Rows(RowsError::TooLarge { bytes, .. }) if bytes == 1 << 42);
    }
    std::fs::write(&path, "a,b\n1,2\n").unwrap();
    let records = Records::from_csv(&path).unwrap();
    assert_eq!(records.name(), path.display().to_string());
    assert_eq!(fields(&records), [["1", "2"]]);
}

#[test]
fn a_column_that_is_not_there() {
    let records = read(b"area,town\n1,2\n").unwrap();
    let message = |column| records.column(column).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        message("twon"),
        "t.csv has no column \"twon\": expected one of the columns in its header, \"area\" and \"town\"; did you mean \
         \"town\"?"
    );
    assert!(message("price").ends_with("name one of them"));
    let error = read(b"area;town\n1;2\n")
        .unwrap()
        .column("area")
        .map(|_| ())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("give that character to `Csv::delimiter`"),
        "{error}"
    );
}

#[test]
fn parts_share_the_text_and_keep_the_lines() {
    let records = read(b"n,kind\n0,a\n1,b\n2,a\n3,b\n").unwrap();
    let chosen = records.select(&[3, 0, 3]).unwrap();
    assert_eq!(numbers(&chosen), [3, 0, 3]);
    assert_eq!(lines(&chosen), [5, 2, 5].map(RowNumber::Line));
    assert_eq!(numbers(&chosen.select(&[1]).unwrap()), [0]);
    assert_eq!(
        numbers(&records.filter("kind", |kind| kind == "b").unwrap()),
        [1, 3]
    );
    let error = records.filter("kind", |kind| kind == "c").unwrap_err();
    assert_matches!(
        error,
        DataError::Rows(RowsError::NoneChosen { rows: 4, .. })
    );
    let error = records.select(&[0, 4]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("t.csv has no row 4: expected an index below 4"),
        "{error}"
    );
}

#[test]
fn the_same_seed_splits_alike() {
    let records = counted(10);
    let split = |seed| records.split(0.8, seed).unwrap().map(|part| numbers(&part));
    // The random numbers come from the Threefry generator, so they are the same on every machine.
    assert_eq!(split(1), [vec![1, 0, 2, 3, 5, 8, 6, 9], vec![4, 7]]);
    assert_ne!(split(1), split(2));
    for rows in [2, 3, 17, 1000] {
        let parts = counted(rows).split(0.5, 3).unwrap();
        let mut all = parts.map(|part| numbers(&part)).concat();
        all.sort_unstable();
        assert_eq!(all, (0..rows).collect::<Vec<_>>());
    }
}

#[test]
fn shares_that_leave_a_part_empty() {
    let records = counted(10);
    for share in [0.0, 1.0, 1.2, -0.1, f64::NAN] {
        let error = records.split(share, 1).unwrap_err();
        assert!(error.to_string().contains("such as 0.8, found"), "{error}");
        assert_matches!(error, DataError::Rows(RowsError::Share { .. }));
    }
    let error = records.split(0.01, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0.01 of the 10 rows of t is 0, which leaves none for the first part: expected rows in both; use another \
         share, or more rows"
    );
    let error = counted(1).split(0.8, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the 1 row of t is 1, which leaves none for the second"),
        "{error}"
    );
}

#[test]
fn strata_are_split_by_themselves() {
    let kinds = ["a", "b", "a ", "a", "c", "a", "b", "a", "a", "a", "a", "a"];
    let rows = kinds
        .iter()
        .enumerate()
        .map(|(n, kind)| [n.to_string(), (*kind).to_owned()]);
    let records = Records::new("t", ["n", "kind"], rows).unwrap();
    for seed in 0..20 {
        let parts = records.split_by("kind", 0.75, seed).unwrap();
        let count = |part: &Records, of: &str| {
            part.column("kind")
                .unwrap()
                .filter(|kind| kind.trim() == of)
                .count()
        };
        let counts = parts
            .each_ref()
            .map(|part| ["a", "b", "c"].map(|kind| count(part, kind)));
        // The classes have 9, 2 and 1 rows. Both parts get at least one row of every class that has two or more rows.
        assert_eq!(counts, [[7, 1, 1], [2, 1, 0]], "seed {seed}");
        let mut all = parts.map(|part| numbers(&part)).concat();
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<_>>());
    }
    let error = records.split_by("n", 0.75, 1).unwrap_err();
    assert_matches!(
        error,
        DataError::Rows(RowsError::EmptyPart {
            rows: 12,
            first: 12,
            ..
        })
    );
}

/// Returns a field in the format of RFC 4180, with quotes if necessary.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) || field.trim().is_empty() {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

proptest! {
    #[test]
    fn fields_that_are_written_are_read(
        rows in proptest::collection::vec(proptest::collection::vec("[a-c,\"\n\r é]{0,6}", 3), 1..6),
    ) {
        let line = |row: &Vec<String>| row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
        let text: Vec<String> = rows.iter().map(line).collect();
        let records = read(format!("x,y,z\n{}", text.join("\n")).as_bytes()).unwrap();
        prop_assert_eq!(fields(&records), rows);
        let mut line = 2;
        for (number, row) in lines(&records).into_iter().zip(text) {
            prop_assert_eq!(number, RowNumber::Line(line));
            line += 1 + row.matches('\n').count() as u64;
        }
    }

    /// If this reader accepts a text, another CSV reader gives the same rows.
    #[test]
    fn any_text_is_read_as_another_reader_does(text in "[ab,\"\n\r]{0,40}") {
        let text = format!("x,y\n{text}");
        let mut other = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let other: Vec<Vec<String>> = other.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        match read(text.as_bytes()) {
            Ok(records) => prop_assert_eq!(fields(&records), other),
            Err(DataError::Rows(RowsError::Fields { .. })) => prop_assert!(other.iter().any(|row| row.len() != 2)),
            Err(DataError::Rows(RowsError::NoRows { .. })) => prop_assert!(other.is_empty()),
            Err(DataError::Rows(RowsError::OpenQuote { .. } | RowsError::AfterQuote { .. })) => {
                prop_assert!(text.contains('"'));
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_read_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Err(error) = read(&bytes) {
            prop_assert!(error.to_string().starts_with("t.csv"), "{error}");
        }
    }
}
