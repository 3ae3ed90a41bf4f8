//! The list of faults that change no result, with a reason for each: `equivalent.txt` beside this file.

use super::faults::Fault;

/// Path of the list, relative to the workspace root.
pub(crate) const FILE: &str = "xtask/src/mutants/equivalent.txt";

/// An entry of the list. It stands for all faults in `function` that change the line `before` into the line `after`.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Line number of the entry in the list.
    line: usize,
    shader: String,
    function: String,
    before: String,
    after: String,
    reason: String,
}

/// The whole list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Equivalent {
    entries: Vec<Entry>,
}

impl Equivalent {
    /// Parses the list. An entry has four lines. Empty lines separate the entries, and lines that start with `#` are
    /// comments.
    ///
    /// ```text
    /// linear.wgsl multiply
    /// - line of the shader
    /// + the same line with the fault
    /// = why no result is another
    /// ```
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().zip(1..);
        let lines: Vec<(&str, usize)> = lines.filter(|(line, _)| !line.starts_with('#')).collect();
        let entries = lines.split(|(line, _)| line.trim().is_empty());
        let entries = entries.filter(|entry| !entry.is_empty()).map(entry);
        Ok(Self {
            entries: entries.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the reason why a fault changes no result, or `None` if the fault is not listed.
    pub(crate) fn reason(&self, fault: &Fault) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.is_of(fault));
        entry.map(|entry| &*entry.reason)
    }

    /// Returns an error message for the first entry that matches no fault.
    pub(crate) fn stale(&self, faults: &[Fault]) -> Option<String> {
        let is_stale = |entry: &&Entry| !faults.iter().any(|fault| entry.is_of(fault));
        let entry = self.entries.iter().find(is_stale)?;
        Some(format!(
            "{FILE}:{}: there is no such fault in {}.wgsl (any more)",
            entry.line, entry.shader
        ))
    }
}

impl Entry {
    fn is_of(&self, fault: &Fault) -> bool {
        self.shader == fault.shader
            && self.function == fault.function
            && self.before == fault.before
            && self.after == fault.after
    }
}

fn entry(lines: &[(&str, usize)]) -> Result<Entry, String> {
    let line = lines[0].1;
    let part = |at: usize, sign: char| {
        let (text, _) = lines.get(at)?;
        Some(text.strip_prefix(sign)?.trim().to_owned())
    };
    let read = || {
        let mut names = lines[0].0.split_whitespace();
        let reason = part(3, '=')?;
        Some(Entry {
            line,
            shader: names.next()?.strip_suffix(".wgsl")?.to_owned(),
            function: names.next().unwrap_or_default().to_owned(),
            before: part(1, '-')?,
            after: part(2, '+')?,
            reason: Some(reason).filter(|reason| !reason.is_empty())?,
        })
    };
    let entry = read().filter(|_| lines.len() == 4);
    entry.ok_or_else(|| {
        format!(
            "{FILE}:{line}: an entry is four lines: `shader.wgsl function`, `- before`, `+ after`, `= reason`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::faults::faults;
    use super::*;

    const SHADER: &str = "fn f() {\n    a = min(b, c);\n}\nfn g() {\n    a = min(b, c);\n}\n";
    const LIST: &str = "# A comment.\n\none.wgsl f\n- a = min(b, c);\n+ a = max(b, c);\n= They are equal.\n\n\
        one.wgsl g\n- a = min(b, c);\n+\n= Nobody reads it.\n";

    #[test]
    fn faults_are_known_by_their_text_and_function() {
        let list = Equivalent::parse(LIST).unwrap_or_default();
        let all = faults("one", SHADER);
        let reasons: Vec<_> = all.iter().map(|fault| list.reason(fault)).collect();
        // Each of the two functions has three faults: in the statement, in `=` and in `min`.
        let equal = "They are equal.";
        let unread = "Nobody reads it.";
        assert_eq!(reasons, [None, None, Some(equal), Some(unread), None, None]);
        assert_eq!(list.stale(&all), None);
    }

    #[test]
    fn an_entry_without_a_fault_is_told() {
        let list = Equivalent::parse(LIST).unwrap_or_default();
        let expected =
            "xtask/src/mutants/equivalent.txt:3: there is no such fault in one.wgsl (any more)";
        assert_eq!(
            list.stale(&faults("two", SHADER)),
            Some(expected.to_owned())
        );
    }

    #[test]
    fn an_entry_has_all_of_its_parts() {
        for text in [
            "one.wgsl f\n- a\n+ b\n",
            "one.wgsl f\n- a\n+ b\n=\n",
            "one f\n- a\n+ b\n= c\n",
            "one.wgsl f\n- a\n+ b\n= c\n= d\n",
        ] {
            let error = Equivalent::parse(text).err().unwrap_or_default();
            assert!(
                error.contains("equivalent.txt:1: an entry is four lines"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn the_list_of_the_project_is_of_faults_that_there_are() -> std::io::Result<()> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = std::fs::read_to_string(root.join(FILE))?;
        let list = Equivalent::parse(&text);
        let mut all = Vec::new();
        for entry in std::fs::read_dir(root.join("shaders"))? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            all.extend(faults(
                name.unwrap_or_default(),
                &std::fs::read_to_string(&path)?,
            ));
        }
        assert_eq!(list.map(|list| list.stale(&all)), Ok(None));
        Ok(())
    }
}
