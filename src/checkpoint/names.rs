//! Compares the tensor names of a file with those of a network, for messages.

use std::collections::BTreeMap;

use super::header::{File, View};
use super::shown;
use crate::error::joined;

/// Largest number of names in one message.
const TOLD: usize = 8;
/// Largest number of prefixes of the file's tensor names that are tried in place of the network's prefix.
const TRIED: usize = 16;
/// The common prefix of all parameter names of a network.
const LAYERS: &str = "layers.";

/// Lists the tensor names of a file, beginning with the names that the network does not have.
pub(super) fn listed(
    tensors: &BTreeMap<String, View<'_>>,
    is_known: impl Fn(&str) -> bool,
) -> String {
    let (known, unknown): (Vec<&String>, _) = tensors.keys().partition(|name| is_known(name));
    let all = unknown.into_iter().chain(known);
    let mut listed: Vec<String> = all.take(TOLD).map(|name| shown(name)).collect();
    match tensors.len().checked_sub(TOLD) {
        None | Some(0) => {}
        Some(more) => listed.push(format!("{more} more")),
    }
    match listed[..] {
        [] => "the file has no tensors".to_owned(),
        _ => format!("the file has {}", joined(&listed)),
    }
}

/// Says what to do about a missing tensor. For example, if the names in the file differ from the network's only by a
/// prefix, shows the code that renames them.
pub(super) fn remedy(file: &File<'_>, network: &[&str]) -> String {
    let tensors = &file.tensors;
    let call = prefixes(tensors, network)
        .and_then(|(theirs, ours)| closure(tensors, network, theirs, ours));
    if let Some(closure) = call {
        return format!(
            "The names differ only by a prefix: pass the result of checkpoint::import(&bytes, |name| {closure}) to \
             set_safetensors or set_weights"
        );
    }
    // `save_model` of `safetensors.torch` stores only one of several tensors that share their memory. The metadata maps
    // the name of each omitted tensor to the name of the stored one.
    let mut said = file.metadata.iter();
    let tied =
        said.find(|(name, other)| !tensors.contains_key(*name) && tensors.contains_key(*other));
    if let Some((name, other)) = tied {
        return format!(
            "According to its metadata, {} is the same tensor as {}: save both, in Python with \
             safetensors.torch.save_file({{name: tensor.clone() for name, tensor in model.state_dict().items()}}, \
             \"model.safetensors\")",
            shown(name),
            shown(other)
        );
    }
    "Build the network that the file was saved from. If only the names differ, rename the tensors with \
     checkpoint::import"
        .to_owned()
}

/// Returns the Rust code of a closure body that replaces the prefix `theirs` by `ours`, and leaves out tensors that the
/// network does not have. `None` if the code would be too long.
fn closure(
    tensors: &BTreeMap<String, View<'_>>,
    network: &[&str],
    theirs: &str,
    ours: &str,
) -> Option<String> {
    let rests = tensors.keys().filter_map(|name| name.strip_prefix(theirs));
    let is_known = |rest: &&str| {
        network
            .iter()
            .any(|name| name.strip_prefix(ours) == Some(rest))
    };
    let (known, others): (Vec<&str>, Vec<&str>) = rests.partition(is_known);
    let tells_apart = |is_ours: fn(&str) -> bool| {
        known.iter().all(|rest| is_ours(rest)) && !others.iter().any(|rest| is_ours(rest))
    };
    let filter = if others.is_empty() {
        String::new()
    } else if tells_apart(|rest| rest.starts_with(LAYERS)) {
        format!(".filter(|name| name.starts_with({LAYERS:?}))")
    } else if tells_apart(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        ".filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))".to_owned()
    } else if others.len() <= TOLD {
        format!(".filter(|name| !{others:?}.contains(name))")
    } else {
        return None;
    };
    let stripped = match theirs {
        "" => "Some(name)".to_owned(),
        _ => format!("name.strip_prefix({theirs:?})"),
    };
    Some(match ours {
        "" => format!("{stripped}{filter}.map(str::to_owned)"),
        _ => format!("{stripped}{filter}.map(|name| format!(\"{ours}{{name}}\"))"),
    })
}

/// Finds a prefix in the file and a prefix in the network, so that replacing the first by the second gives the
/// network's names. `None` if there is no such pair.
fn prefixes<'a>(
    tensors: &'a BTreeMap<String, View<'_>>,
    network: &[&str],
) -> Option<(&'a str, &'static str)> {
    for ours in ["", LAYERS] {
        let rests: Option<Vec<&str>> = network.iter().map(|name| name.strip_prefix(ours)).collect();
        let rests = rests?;
        let candidates = tensors
            .keys()
            .filter_map(|name| name.strip_suffix(*rests.first()?));
        let whole = candidates
            .filter(|theirs| theirs.is_empty() || theirs.ends_with(['.', '/', '_', '-', ':']));
        for theirs in whole.filter(|theirs| *theirs != ours).take(TRIED) {
            let is_there = |rest: &&str| tensors.contains_key(&format!("{theirs}{rest}"));
            if theirs.len() < 100 && rests.iter().all(is_there) {
                return Some((theirs, ours));
            }
        }
    }
    None
}

/// Shortens two different texts for a message. If both texts are short, returns both in full. Otherwise returns a part
/// of each text: the part contains all differences, and each opening brace in it has its closing brace.
pub(super) fn difference(expected: &str, found: &str) -> [String; 2] {
    const SHORT: usize = 100;
    let texts = [expected, found];
    if expected.len().max(found.len()) <= SHORT {
        return texts.map(shown);
    }
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let pairs = expected.chars().zip(found.chars());
    let start: usize = pairs.take_while(same).map(|(c, _)| c.len_utf8()).sum();
    // Find the smallest part from the name of the first differing field to the end of the last differing field.
    let names_follow = |at: usize| {
        expected[at..]
            .trim_ascii_start()
            .starts_with(|c: char| c.is_ascii_alphabetic())
    };
    let starts = expected[..start].char_indices().rev();
    let starts = starts.filter(|&(_, c)| "{(,→".contains(c));
    let starts = starts.map(|(at, c)| at + c.len_utf8());
    for start in starts.filter(|&at| names_follow(at)) {
        let [expected, found] = texts.map(|text| &text[start..]);
        let pairs = expected.chars().rev().zip(found.chars().rev());
        let same: usize = pairs.take_while(same).map(|(c, _)| c.len_utf8()).sum();
        let tail = &expected[expected.len() - same..];
        let ends = tail.char_indices().filter(|&(_, c)| "}),→".contains(c));
        for left_out in ends.map(|(at, _)| tail.len() - at).chain([0]) {
            let parts = [expected, found].map(|text| &text[..text.len() - left_out]);
            if parts.iter().all(|part| is_balanced(part)) {
                return parts.map(|part| shown(part.trim_ascii()));
            }
        }
    }
    texts.map(shown)
}

/// Whether the braces in a text are balanced.
fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    let is_in_order = text.chars().all(|c| match c {
        '{' | '(' | '[' => {
            open.push(c);
            true
        }
        '}' => open.pop() == Some('{'),
        ')' => open.pop() == Some('('),
        ']' => open.pop() == Some('['),
        _ => true,
    });
    is_in_order && open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_its_braces_in_pairs() {
        let sgd = |rate: &str, decay: &str| {
            format!(
                "Sgd {{ learning_rate: {rate}, momentum: 0.9, is_nesterov: false, weight_decay: {decay} }}"
            )
        };
        let scheduled = |rate: &str, steps: &str| {
            let sgd = sgd(rate, "0.0");
            format!("Scheduled {{ optimizer: {sgd}, schedule: Cosine {{ steps: {steps} }} }}")
        };
        for (expected, found, parts) in [
            (
                scheduled("0.1", "100"),
                scheduled("0.2", "100"),
                ["learning_rate: 0.1", "learning_rate: 0.2"],
            ),
            (
                scheduled("0.1", "100"),
                scheduled("0.1", "20"),
                ["steps: 100", "steps: 20"],
            ),
            (
                scheduled("0.1", "100"),
                sgd("0.1", "0.0"),
                [&*scheduled("0.1", "100"), &*sgd("0.1", "0.0")],
            ),
        ] {
            assert_eq!(difference(&expected, &found), parts);
        }
        // Two differing fields in different structures.
        for part in difference(&scheduled("0.1", "100"), &scheduled("0.2", "20")) {
            assert!(is_balanced(&part), "{part}");
        }
    }
}
