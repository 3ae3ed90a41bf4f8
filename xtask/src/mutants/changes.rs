//! Finds all changes of a shader's text that are faults, token by token.

use std::collections::HashSet;
use std::ops::Range;

use super::faults::Kind;
use super::lex::{Class, Token, tokens};

/// A fault in a shader's text: the byte range that is replaced, and its replacement.
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
    pub(crate) replacement: String,
    /// Name of the enclosing function; empty outside functions.
    pub(crate) function: String,
}

/// Returns all faults of a shader's text.
pub(crate) fn changes(text: &str) -> Vec<Change> {
    Reader::new(text).changes()
}

/// A shader's tokens and their context.
struct Reader<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    /// For each token: whether it belongs to an attribute.
    in_attribute: Vec<bool>,
    /// For each token: the name of the function whose body contains it.
    function: Vec<Option<&'t str>>,
    /// Names of the parameters that are built-in values.
    builtins: HashSet<&'t str>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let tokens = tokens(text);
        let mut reader = Self {
            text,
            in_attribute: vec![false; tokens.len()],
            function: vec![None; tokens.len()],
            tokens,
            builtins: HashSet::new(),
        };
        reader.mark_attributes();
        reader.mark_functions();
        reader
    }

    /// Returns a token's text, or an empty text after the last token.
    fn at(&self, index: usize) -> &'t str {
        let token = self.tokens.get(index);
        token.map_or("", |token| &self.text[token.range.clone()])
    }

    fn before(&self, index: usize) -> &'t str {
        index.checked_sub(1).map_or("", |before| self.at(before))
    }

    fn is(&self, index: usize, class: Class) -> bool {
        self.tokens
            .get(index)
            .is_some_and(|token| token.class == class)
    }

    /// Returns the byte range of the tokens from `first` to `last`, both included.
    fn span(&self, first: usize, last: usize) -> Range<usize> {
        self.tokens[first].range.start..self.tokens[last].range.end
    }

    /// Returns the index of the token that closes the bracket at `open`, or of the last token if no token closes it.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for index in open..self.tokens.len() {
            match self.at(index) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return index;
            }
        }
        self.tokens.len() - 1
    }

    fn mark_attributes(&mut self) {
        for index in 0..self.tokens.len() {
            if self.at(index) != "@" {
                continue;
            }
            let last = match self.at(index + 2) {
                "(" => self.closing(index + 2),
                _ => (index + 1).min(self.tokens.len() - 1),
            };
            self.in_attribute[index..=last].fill(true);
            if self.at(index + 1) == "builtin" {
                self.builtins.insert(self.at(last + 1));
            }
        }
    }

    fn mark_functions(&mut self) {
        let mut index = 0;
        while index < self.tokens.len() {
            if self.at(index) != "fn" {
                index += 1;
                continue;
            }
            let name = self.at(index + 1);
            let opens = (index..self.tokens.len()).find(|&index| self.at(index) == "{");
            let Some(open) = opens else {
                return;
            };
            let last = self.closing(open);
            self.function[open..=last].fill(Some(name));
            index = last + 1;
        }
    }

    /// Returns whether an operand ends with this token. An operator that follows is then a binary operator.
    fn ends_operand(&self, index: usize) -> bool {
        match self.tokens[index].class {
            Class::Integer | Class::Float => true,
            Class::Name => !matches!(self.at(index), "return" | "case" | "if" | "else"),
            Class::Sign => matches!(self.at(index), ")" | "]"),
            Class::Template => false,
        }
    }

    fn is_binary(&self, index: usize) -> bool {
        index > 0 && self.ends_operand(index - 1)
    }

    /// Returns the index of the first token of the declaration or statement that contains a token. Inside parentheses
    /// or brackets, such as the head of a `for` loop, it is the first token of the part that contains the token.
    fn head(&self, index: usize) -> usize {
        let mut depth = 0;
        for before in (0..index).rev() {
            match self.at(before) {
                ")" | "]" => depth += 1,
                "(" | "[" if depth > 0 => depth -= 1,
                "(" | "[" | "{" | "}" => return before + 1,
                ";" if depth == 0 => return before + 1,
                _ => {}
            }
        }
        0
    }

    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for index in 0..self.tokens.len() {
            if self.in_attribute[index] {
                continue;
            }
            let mut add = |kind, range: Range<usize>, replacement: String| {
                changes.push(Change {
                    kind,
                    range,
                    replacement,
                    function: self.function[index].unwrap_or_default().to_owned(),
                });
            };
            let range = self.tokens[index].range.clone();
            match self.tokens[index].class {
                Class::Integer | Class::Float => {
                    let (kind, texts) = self.other_numbers(index);
                    for text in texts {
                        add(kind, range.clone(), text);
                    }
                }
                Class::Sign => {
                    if let Some((kind, text)) = self.other_sign(index) {
                        add(kind, range.clone(), text.to_owned());
                    }
                    if let Some((range, text)) = self.next_element(index) {
                        add(Kind::Index, range, text);
                    }
                }
                Class::Name => {
                    if let Some(text) = self.other_function(index) {
                        add(Kind::Function, range.clone(), text.to_owned());
                    }
                    if let Some((range, text)) = self.swapped_values(index) {
                        add(Kind::Select, range, text);
                    }
                    if let Some(text) = self.other_component(index) {
                        add(Kind::Component, range.clone(), text.to_owned());
                    }
                }
                Class::Template => {}
            }
            if let Some((kind, range)) = self.statement(index) {
                add(kind, range, String::new());
            }
        }
        changes
    }

    fn other_numbers(&self, index: usize) -> (Kind, Vec<String>) {
        let is_whole = self.is(index, Class::Integer);
        let kind = match (self.at(self.head(index)), is_whole) {
            ("const" | "override", _) => Kind::Constant,
            (_, true) => Kind::Integer,
            (_, false) => Kind::Float,
        };
        let text = self.at(index);
        let others = if is_whole {
            other_wholes(text)
        } else {
            twice(text).into_iter().collect()
        };
        (kind, others)
    }

    fn other_sign(&self, index: usize) -> Option<(Kind, &'static str)> {
        let sign = self.at(index);
        if sign == "-" && !self.is_binary(index) {
            return Some((Kind::Arithmetic, ""));
        }
        // The unary `&` (address) and `*` (dereference) are not changed.
        if matches!(sign, "*" | "&") && !self.is_binary(index) {
            return None;
        }
        let declares = matches!(
            self.at(self.head(index)),
            "let" | "var" | "const" | "override" | "alias" | "_"
        );
        if sign == "=" && declares {
            return None;
        }
        Some(match sign {
            "<" => (Kind::Comparison, "<="),
            "<=" => (Kind::Comparison, "<"),
            ">" => (Kind::Comparison, ">="),
            ">=" => (Kind::Comparison, ">"),
            "==" => (Kind::Comparison, "!="),
            "!=" => (Kind::Comparison, "=="),
            "+" => (Kind::Arithmetic, "-"),
            "-" => (Kind::Arithmetic, "+"),
            "*" => (Kind::Arithmetic, "+"),
            "/" => (Kind::Arithmetic, "*"),
            "%" => (Kind::Arithmetic, "/"),
            "&&" => (Kind::Logic, "||"),
            "||" => (Kind::Logic, "&&"),
            "!" => (Kind::Logic, ""),
            "<<" => (Kind::Bits, ">>"),
            ">>" => (Kind::Bits, "<<"),
            "&" => (Kind::Bits, "|"),
            "|" => (Kind::Bits, "&"),
            "^" => (Kind::Bits, "&"),
            "=" => (Kind::Assignment, "+="),
            "+=" => (Kind::Assignment, "="),
            "-=" => (Kind::Assignment, "+="),
            "*=" => (Kind::Assignment, "="),
            "/=" => (Kind::Assignment, "*="),
            "++" => (Kind::Assignment, "--"),
            "--" => (Kind::Assignment, "++"),
            _ => return None,
        })
    }

    /// Returns the fault "an index is one larger": the byte range of the index, and its replacement.
    fn next_element(&self, index: usize) -> Option<(Range<usize>, String)> {
        if self.at(index) != "[" || !self.is_binary(index) {
            return None;
        }
        let first = index + 1;
        let last = self.closing(index) - 1;
        let range = self.span(first, last.max(first));
        let inner = &self.text[range.clone()];
        match () {
            // For a literal index, the fault `Integer` already adds 1.
            () if first == last && self.is(first, Class::Integer) => None,
            () if first == last => Some((range.clone(), format!("{inner} + 1"))),
            () => Some((range.clone(), format!("({inner}) + 1"))),
        }
    }

    fn is_call(&self, index: usize) -> bool {
        self.at(index + 1) == "(" && !matches!(self.before(index), "fn" | ".")
    }

    fn other_function(&self, index: usize) -> Option<&'static str> {
        if !self.is_call(index) {
            return None;
        }
        Some(match self.at(index) {
            "min" => "max",
            "max" => "min",
            "exp" => "exp2",
            "exp2" => "exp",
            "log" => "log2",
            "log2" => "log",
            "sqrt" => "inverseSqrt",
            "inverseSqrt" => "sqrt",
            "floor" => "ceil",
            "ceil" => "floor",
            "all" => "any",
            "any" => "all",
            "countLeadingZeros" => "countTrailingZeros",
            "firstTrailingBit" => "firstLeadingBit",
            "unpack4x8unorm" => "unpack4x8snorm",
            "abs" => "",
            _ => return None,
        })
    }

    fn swapped_values(&self, index: usize) -> Option<(Range<usize>, String)> {
        if self.at(index) != "select" || !self.is_call(index) {
            return None;
        }
        let first = index + 2;
        let last = self.closing(index + 1);
        let mut depth = 0;
        let is_comma = |&index: &usize| {
            match (self.at(index), self.is(index, Class::Template)) {
                ("(" | "[", _) | ("<", true) => depth += 1,
                (")" | "]", _) | (">", true) => depth -= 1,
                (",", _) => return depth == 0,
                _ => {}
            }
            false
        };
        let commas: Vec<usize> = (first..last).filter(is_comma).collect();
        let (&one, &two) = (commas.first()?, commas.get(1)?);
        let text = |first: usize, last: usize| &self.text[self.span(first, last)];
        let swapped = [text(one + 1, two - 1), ", ", text(first, one - 1)].concat();
        Some((self.span(first, two - 1), swapped))
    }

    fn other_component(&self, index: usize) -> Option<&'static str> {
        let of = index.checked_sub(2).map(|of| self.at(of))?;
        if self.before(index) != "." || !self.builtins.contains(of) {
            return None;
        }
        match self.at(index) {
            "x" => Some("y"),
            "y" => Some("x"),
            _ => None,
        }
    }

    /// Returns the statement that begins at a token, if leaving it out is a fault.
    fn statement(&self, index: usize) -> Option<(Kind, Range<usize>)> {
        self.function[index]?;
        // Parts of a loop's head are not statements.
        if !matches!(self.before(index), "{" | "}" | ";") || self.is_in_parentheses(index) {
            return None;
        }
        let end = (index..self.tokens.len()).find(|&at| matches!(self.at(at), ";" | "{" | "}"))?;
        if self.at(end) != ";" || end == index {
            return None;
        }
        let assigns = |at| {
            let sign = self.at(at);
            matches!(sign, "=" | "++" | "--") || (sign.len() > 1 && is_assignment(sign))
        };
        let name = self.at(index);
        let kind = match name {
            "let" | "var" | "const" | "_" | "for" => return None,
            "continue" | "break" | "return" => Kind::Statement,
            "workgroupBarrier" | "storageBarrier" | "textureBarrier" => Kind::Barrier,
            _ if (index..end).any(assigns) => Kind::Statement,
            _ if self.is_call(index) && self.closing(index + 1) + 1 == end => Kind::Statement,
            _ => return None,
        };
        Some((kind, self.span(index, end)))
    }

    fn is_in_parentheses(&self, index: usize) -> bool {
        let mut depth = 0;
        for before in (0..index).rev() {
            match self.at(before) {
                ")" => depth += 1,
                "(" if depth == 0 => return true,
                "(" => depth -= 1,
                "{" | "}" => return false,
                _ => {}
            }
        }
        false
    }
}

fn is_assignment(sign: &str) -> bool {
    sign.ends_with('=') && !matches!(sign, "==" | "!=" | "<=" | ">=")
}

/// Splits a number from its suffix.
fn split_suffix<'n>(text: &'n str, suffixes: &[char]) -> (&'n str, &'n str) {
    text.split_at(text.trim_end_matches(suffixes).len())
}

/// Returns the text of the number plus 1 and of the number minus 1. A result that does not fit in 32 bits is left out.
fn other_wholes(text: &str) -> Vec<String> {
    let (digits, suffix) = split_suffix(text, &['u', 'i']);
    let hexadecimal = digits.strip_prefix("0x");
    let value = match hexadecimal {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    };
    let Some(value) = value else {
        return Vec::new();
    };
    let others = [value.checked_add(1), value.checked_sub(1)];
    let write = |value: u32| match hexadecimal {
        Some(digits) => format!("0x{value:0width$x}{suffix}", width = digits.len()),
        None => format!("{value}{suffix}"),
    };
    others.into_iter().flatten().map(write).collect()
}

/// Returns the text of twice the number, or of 1 if the number is 0.
fn twice(text: &str) -> Option<String> {
    let (digits, suffix) = split_suffix(text, &['f', 'h']);
    let value: f64 = digits.parse().ok()?;
    let other = if value == 0.0 { 1.0 } else { 2.0 * value };
    Some(format!("{other:?}{suffix}"))
}
