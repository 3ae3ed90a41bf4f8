//! Joins source files. Finds the file and line of a position in the joined text.

use crate::report::Place;

/// The texts of the source files, joined in order.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) text: String,
    /// For each file: its name, and the byte offset in the joined text where it begins.
    files: Vec<(String, usize)>,
}

impl Source {
    pub(crate) fn join(files: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        let mut starts = Vec::new();
        for (name, part) in files {
            starts.push(((*name).to_owned(), text.len()));
            text.push_str(part);
        }
        Self {
            text,
            files: starts,
        }
    }

    /// Returns the names of all files, joined with ` + `.
    pub(crate) fn names(&self) -> String {
        let names = self.files.iter().map(|(name, _)| &**name);
        names.collect::<Vec<_>>().join(" + ")
    }

    /// Returns whether there are several files.
    pub(crate) fn is_joined(&self) -> bool {
        self.files.len() > 1
    }

    /// Returns the place of a span in its file. For a span that naga left undefined, this is the first line of the
    /// first file.
    pub(crate) fn place(&self, span: naga::Span) -> Place {
        let range = span.to_range().unwrap_or_default();
        let start = self.boundary(range.start);
        let end = self.boundary(range.end).max(start);
        let at = self.files.iter().rposition(|&(_, begin)| begin <= start);
        let (file, begin) = at.map_or(("", 0), |at| (&*self.files[at].0, self.files[at].1));
        let before = &self.text[begin..start];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let lines = before.bytes().filter(|&byte| byte == b'\n').count();
        let end = self.end_of_call(end);
        Place {
            file: file.to_owned(),
            line: u32::try_from(lines).map_or(u32::MAX, |lines| lines.saturating_add(1)),
            column: count(&before[line_start..]).saturating_add(1),
            text: self.text[start..end]
                .lines()
                .next()
                .unwrap_or("")
                .trim_end()
                .to_owned(),
        }
    }

    /// Returns the end of a call. naga's span of a call of a built-in function covers only the function's name. This
    /// function extends it over the arguments if they end on the same line.
    fn end_of_call(&self, end: usize) -> usize {
        let rest = self.text[end..].lines().next().unwrap_or("");
        let mut depth = 0;
        let close = rest.char_indices().find(|&(_, char)| {
            depth += i32::from(char == '(') - i32::from(char == ')');
            depth <= 0
        });
        match close {
            Some((at, ')')) if depth == 0 => end + at + 1,
            _ => end,
        }
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
