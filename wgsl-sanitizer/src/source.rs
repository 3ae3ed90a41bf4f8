//! Joins source files, and finds the file and line of a place in the joined text.

use crate::report::Place;

/// The texts of files, joined in order.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) text: String,
    /// Name of each file, and the offset where it begins in the text.
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

    /// The names of all files, joined with ` + `.
    pub(crate) fn names(&self) -> String {
        let names = self.files.iter().map(|(name, _)| &**name);
        names.collect::<Vec<_>>().join(" + ")
    }

    /// Whether there are several files.
    pub(crate) fn is_joined(&self) -> bool {
        self.files.len() > 1
    }

    /// The place of a span. A span that naga left undefined gives the first line of the first file.
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

    /// The end of a call. naga's span of a built-in function covers its name only; this adds the arguments if they
    /// end on the same line.
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
