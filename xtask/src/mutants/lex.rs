//! Splits WGSL into tokens with their byte ranges.

use std::ops::Range;

/// The class of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A name or a keyword.
    Name,
    /// A literal without a fraction.
    Integer,
    /// A literal with a fraction.
    Float,
    /// An operator or other punctuation, as long as possible: `<=` is one token.
    Sign,
    /// `<` or `>` around the arguments of a type, as in `array<f32, 4>`.
    Template,
}

/// A token of WGSL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) class: Class,
    /// Byte range of the token in the text.
    pub(crate) range: Range<usize>,
}

/// Operators that may have several characters. An operator comes before its own prefixes, so that the longest is found.
const SIGNS: [&str; 26] = [
    "<<=", ">>=", "<=", ">=", "==", "!=", "&&", "||", "<<", ">>", "++", "--", "->", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=", "<", ">", "=", "+", "-",
];

/// Returns whether `<` after this name starts template arguments. Only predeclared names of WGSL do this.
fn is_generic(name: &str) -> bool {
    let vector = |name: &str| matches!(name, "vec2" | "vec3" | "vec4");
    let matrix = |name: &str| {
        let sizes = name.strip_prefix("mat").unwrap_or_default().as_bytes();
        matches!(sizes, [b'2'..=b'4', b'x', b'2'..=b'4'])
    };
    matches!(name, "array" | "atomic" | "bitcast" | "ptr" | "var") || vector(name) || matrix(name)
}

/// Returns the tokens of a text, without comments.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    // The brackets that are open at this position.
    let mut open: Vec<char> = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if let Some(length) = comment(rest) {
            at += length;
            continue;
        }
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (class, length) = if is_of_name(first) && !first.is_ascii_digit() {
            (Class::Name, prefix(rest, is_of_name))
        } else if first.is_ascii_digit() || is_fraction(rest) {
            number(rest)
        } else if rest.starts_with('<') && follows_generic(text, at, tokens.last()) {
            open.push('<');
            (Class::Template, 1)
        } else if rest.starts_with('>') && open.last() == Some(&'<') {
            open.pop();
            (Class::Template, 1)
        } else {
            let long = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            (
                Class::Sign,
                long.map_or(first.len_utf8(), |sign| sign.len()),
            )
        };
        match first {
            '(' | '[' | '{' => open.push(first),
            ')' | ']' | '}' => drop(open.pop()),
            _ => {}
        }
        let range = at..at + length;
        at = range.end;
        tokens.push(Token { class, range });
    }
    tokens
}

/// Returns the length in bytes of the comment at the start of a text, if there is one.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut at = 2;
    let mut depth = 1;
    while depth > 0 {
        // WGSL's block comments can be nested.
        match text[at..].find(['*', '/']) {
            None => return Some(text.len()),
            Some(skipped) => at += skipped,
        }
        let rest = &text[at..];
        let change = match () {
            () if rest.starts_with("/*") => 1,
            () if rest.starts_with("*/") => -1,
            () => 0,
        };
        depth += change;
        at += if change == 0 { 1 } else { 2 };
    }
    Some(at)
}

pub(crate) fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn prefix(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn is_fraction(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('.') && chars.next().is_some_and(|c| c.is_ascii_digit())
}

/// Returns the class and the length in bytes of the number at the start of a text.
fn number(text: &str) -> (Class, usize) {
    if text.starts_with("0x") || text.starts_with("0X") {
        return (Class::Integer, prefix(text, is_of_name));
    }
    let digits = |from: usize| from + prefix(&text[from..], |c| c.is_ascii_digit());
    let mut end = digits(0);
    let mut class = Class::Integer;
    if text[end..].starts_with('.') {
        (class, end) = (Class::Float, digits(end + 1));
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        (class, end) = (Class::Float, digits(end + 1 + sign));
    }
    if text[end..].starts_with(['f', 'h']) {
        class = Class::Float;
    }
    let suffix = usize::from(text[end..].starts_with(['f', 'h', 'u', 'i']));
    (class, end + suffix)
}

fn follows_generic(text: &str, at: usize, last: Option<&Token>) -> bool {
    last.is_some_and(|last| last.range.end == at && is_generic(&text[last.range.clone()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(Class, &str)> {
        let found = tokens(text).into_iter();
        found
            .map(|token| (token.class, &text[token.range]))
            .collect()
    }

    #[test]
    fn comments_are_no_tokens() {
        let text = "a // b < c\n/* d /* e */ f */ g /* h";
        assert_eq!(texts(text), [(Class::Name, "a"), (Class::Name, "g")]);
    }

    #[test]
    fn numbers_end_where_they_do() {
        let text = "1u+0x1Fu-2.5e-3f*.5 x.y 3i 1e6 7f";
        let numbers = texts(text).into_iter();
        let numbers = numbers.filter(|(class, _)| matches!(class, Class::Integer | Class::Float));
        let whole = Class::Integer;
        let fractions = Class::Float;
        let expected = [
            (whole, "1u"),
            (whole, "0x1Fu"),
            (fractions, "2.5e-3f"),
            (fractions, ".5"),
            (whole, "3i"),
            (fractions, "1e6"),
            (fractions, "7f"),
        ];
        assert_eq!(numbers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn brackets_of_types_are_no_comparisons() {
        let text = "var<workgroup> a: array<vec2<f32>, (4 > b)>; if (array_ < c >> d) {}";
        let found = texts(text).into_iter();
        let signs = found.filter(|(_, text)| text.starts_with(['<', '>']));
        let template = Class::Template;
        let sign = Class::Sign;
        let expected = [
            (template, "<"),
            (template, ">"),
            (template, "<"),
            (template, "<"),
            (template, ">"),
            (sign, ">"),
            (template, ">"),
            (sign, "<"),
            (sign, ">>"),
        ];
        assert_eq!(signs.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_longest_sign_is_taken() {
        let found = texts("a<<=b<=c<d&&!e");
        let signs = found.into_iter().filter(|(class, _)| *class == Class::Sign);
        let signs: Vec<_> = signs.map(|(_, sign)| sign).collect();
        assert_eq!(signs, ["<<=", "<=", "<", "&&", "!"]);
    }
}
