//! Lists and numbers in messages.

use std::path::Path;

use crate::error::joined;

/// The first of these items, and how many more there are.
fn shortened(mut items: Vec<String>) -> String {
    const MOST: usize = 8;
    if items.len() > MOST + 1 {
        let others = items.split_off(MOST).len();
        items.push(format!("{others} more"));
    }
    joined(&items)
}

/// Names of data sets, of which the one without a prefix has none.
pub(super) fn data_sets(names: &[String]) -> String {
    let named = names.iter().map(|name| match name.as_str() {
        "" => "one without a prefix".to_owned(),
        name => name.to_owned(),
    });
    shortened(named.collect())
}

/// The path that chooses one of the data sets in a directory.
pub(super) fn one_of(directory: &Path, names: &[String]) -> String {
    let first = names.first().map_or("NAME", String::as_str);
    directory.join(first).display().to_string()
}

/// Ascending labels: `3, 5 to 9 and 12`.
pub(super) fn ranges(labels: &[u8]) -> String {
    let runs = labels.chunk_by(|label, next| label.checked_add(1) == Some(*next));
    let shown = runs.filter_map(|run| match run {
        [] => None,
        [label] => Some(label.to_string()),
        [first, .., last] => Some(format!("{first} to {last}")),
    });
    shortened(shown.collect())
}

/// A message about one column that is not finite in all rows: its place, what is there, and in how many rows of how
/// many.
pub(super) fn not_finite(
    what: &str,
    name: &str,
    [column, row]: [usize; 2],
    found: f32,
    [rows, of]: [usize; 2],
) -> String {
    if rows == 1 {
        return format!(
            "{what} {column} of row {row} of table \"{name}\" is {found}: it must be a finite number. Leave the \
             row out, or put a number in its place"
        );
    }
    format!(
        "{what} {column} of table \"{name}\" is not a finite number in {rows} of {of} rows, {found} in row {row} \
         at first: all must be finite. Put numbers in their place, or leave out these rows or the column"
    )
}

/// A message about columns that are finite in no row.
pub(super) fn columns_not_finite(what: &str, name: &str, columns: &[usize], found: f32) -> String {
    let listed = shortened(columns.iter().map(usize::to_string).collect());
    let (noun, hold, them) = match columns {
        [_] => ("column", "holds", "it"),
        _ => ("columns", "hold", "them"),
    };
    format!(
        "{what} {noun} {listed} of table \"{name}\" {hold} no finite number in any row ({found} in the first). \
         A column that is always the same becomes that when it is divided by its standard deviation, which is \
         0: leave {them} out, or divide by 1 where a deviation is 0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_a_person_would_say_them() {
        assert_eq!(ranges(&[7]), "7");
        assert_eq!(ranges(&[3, 5, 6, 7, 12]), "3, 5 to 7 and 12");
        assert_eq!(ranges(&[254, 255]), "254 to 255");
        let odd: Vec<u8> = (0..12).map(|n| 2 * n).collect();
        assert_eq!(ranges(&odd), "0, 2, 4, 6, 8, 10, 12, 14 and 4 more");
        assert_eq!(ranges(&odd[..9]), "0, 2, 4, 6, 8, 10, 12, 14 and 16");
        assert_eq!(
            data_sets(&[String::new(), "b".to_owned()]),
            "one without a prefix and b"
        );
    }
}
