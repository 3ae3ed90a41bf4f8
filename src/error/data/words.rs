//! Wording of lists and numbers in messages.

use std::path::Path;

use crate::error::joined;

/// Quotes a text from a file. A long text is cut off after 40 characters.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// Quotes and joins the names of columns. A long list is shortened.
pub(super) fn quoted(names: &[String]) -> String {
    shortened(names.iter().map(|name| excerpt(name)).collect())
}

/// Quotes and joins `texts`, the first texts of a list, and adds the number of the list's other texts. `of` is the
/// length of the list.
pub(super) fn listed(texts: &[String], of: usize) -> String {
    let mut items: Vec<String> = texts.iter().map(|text| excerpt(text)).collect();
    if of > items.len() {
        items.push(format!("{} more", of - items.len()));
    }
    joined(&items)
}

/// Says what is wrong with the names of classes: too few, a blank one, or a repeated one.
pub(super) fn fault_of_classes(names: &[String]) -> String {
    let is_repeated = |&at: &usize| names[..at].contains(&names[at]);
    if let Some(at) = names.iter().position(String::is_empty) {
        format!("a blank name, number {}", at + 1)
    } else if let Some(at) = (0..names.len()).find(is_repeated) {
        format!("{} twice", excerpt(&names[at]))
    } else {
        counted(names.len(), "name")
    }
}

/// Formats a count with its noun, such as `1 row` or `2 rows`.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// Returns the name that the user probably meant: the name with the smallest edit distance, ignoring case. `None` if
/// more than about a third of the letters differ.
pub(super) fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let distances = names.iter().map(|other| (distance(name, other), other));
    let (distance, found) = distances.min_by_key(|(distance, _)| *distance)?;
    let letters = found.chars().count().max(name.chars().count());
    let is_near = distance <= letters.div_ceil(3).min(letters.saturating_sub(1));
    (is_near && !found.is_empty()).then_some(found)
}

/// The edit distance of two names (Levenshtein, 1965), ignoring case.
fn distance(one: &str, other: &str) -> usize {
    // A column name is short. The beginning of a longer text is enough.
    const MOST: usize = 100;
    let other: Vec<char> = other.chars().take(MOST).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().take(MOST).enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, found) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(!letter.eq_ignore_ascii_case(found));
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}

/// Joins the first items, and adds the number of the other items.
fn shortened(mut items: Vec<String>) -> String {
    const MOST: usize = 8;
    if items.len() > MOST + 1 {
        let others = items.split_off(MOST).len();
        items.push(format!("{others} more"));
    }
    joined(&items)
}

/// Joins the names of data sets. An empty name stands for a data set whose file names have no prefix.
pub(super) fn data_sets(names: &[String]) -> String {
    let named = names.iter().map(|name| match name.as_str() {
        "" => "one without a prefix".to_owned(),
        name => name.to_owned(),
    });
    shortened(named.collect())
}

/// Returns an example path that selects one of the data sets in a directory.
pub(super) fn one_of(directory: &Path, names: &[String]) -> String {
    let first = names.first().map_or("NAME", String::as_str);
    directory.join(first).display().to_string()
}

/// Formats ascending labels, with consecutive labels as ranges: `3, 5 to 9 and 12`.
pub(super) fn ranges(labels: &[u8]) -> String {
    let runs = labels.chunk_by(|label, next| label.checked_add(1) == Some(*next));
    let shown = runs.filter_map(|run| match run {
        [] => None,
        [label] => Some(label.to_string()),
        [first, .., last] => Some(format!("{first} to {last}")),
    });
    shortened(shown.collect())
}

/// The message about a column that is infinite or NaN in `rows` of `of` rows. `row` is the first such row, and `found`
/// is the value there.
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
        "{what} {column} of table \"{name}\" is not a finite number in {rows} of {of} rows, first in row {row} \
         ({found}): all must be finite. Put numbers in their place, or leave out these rows or the column"
    )
}

/// The message about columns that are infinite or NaN in every row.
pub(super) fn columns_not_finite(what: &str, name: &str, columns: &[usize], found: f32) -> String {
    let listed = shortened(columns.iter().map(usize::to_string).collect());
    let (noun, hold, them) = match columns {
        [_] => ("column", "holds", "it"),
        _ => ("columns", "hold", "them"),
    };
    format!(
        "{what} {noun} {listed} of table \"{name}\" {hold} no finite number in any row ({found} in the first). A \
         constant column becomes NaN or infinite when it is divided by its standard deviation, which is 0: leave \
         {them} out, or divide by 1 where a standard deviation is 0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant() {
        let names = ["area", "year built", "Town", "x"].map(str::to_owned);
        for (name, meant) in [
            ("aera", Some("area")),
            ("town", Some("Town")),
            ("year_built", Some("year built")),
            ("yearbuilt", Some("year built")),
            ("price", None),
            ("y", None),
        ] {
            assert_eq!(nearest(name, &names), meant, "{name}");
        }
        assert_eq!(nearest("a", &[]), None);
        for (one, other, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3)] {
            assert_eq!(distance(one, other), expected);
        }
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(excerpt("a \"b\"\n"), r#""a \"b\"\n""#);
        let long = "é".repeat(41);
        assert_eq!(excerpt(&long), format!("\"{}\"…", "é".repeat(40)));
    }

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
