//! Names of tensors in messages, and what a file's names have in common with a network's.

use std::collections::BTreeMap;

use super::header::View;

/// Names told in one message.
const TOLD: usize = 8;
/// Tensors of a file that are tried for a common prefix.
const TRIED: usize = 16;
/// What all names of a network begin with.
const LAYERS: &str = "layers.";

/// A text of a file, which may be long or have line breaks, as it can stand in a message.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown = String::new();
    for c in text.chars().take(MOST) {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// The tensors that a file has, those first that are unknown to the network.
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
    match listed.pop() {
        None => "the file has no tensors".to_owned(),
        Some(only) if listed.is_empty() => format!("the file has {only}"),
        Some(last) => format!("the file has {} and {last}", listed.join(", ")),
    }
}

/// What to do about a missing tensor: where all names of the network are there with another prefix, the
/// call that exchanges it.
pub(super) fn remedy(tensors: &BTreeMap<String, View<'_>>, network: &[&str]) -> String {
    let Some((theirs, ours)) = prefixes(tensors, network) else {
        return "Build the network that the file was saved from, or, where the names alone differ, give \
            each tensor its name here with checkpoint::import"
            .to_owned();
    };
    let closure = match (theirs, ours) {
        ("", _) => format!("Some(format!(\"{ours}{{name}}\"))"),
        (_, "") => format!("name.strip_prefix({theirs:?}).map(str::to_owned)"),
        _ => format!("Some(format!(\"{ours}{{}}\", name.strip_prefix({theirs:?})?))"),
    };
    format!(
        "The names differ by a prefix alone: give set_safetensors or set_weights what \
         checkpoint::import(&bytes, |name| {closure}) returns"
    )
}

/// The prefix that the names have in a file, and the one that they have in a network.
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
        let whole = candidates.filter(|theirs| theirs.is_empty() || theirs.ends_with('.'));
        for theirs in whole.filter(|theirs| *theirs != ours).take(TRIED) {
            let is_there = |rest: &&str| tensors.contains_key(&format!("{theirs}{rest}"));
            if theirs.len() < 100 && rests.iter().all(is_there) {
                return Some((theirs, ours));
            }
        }
    }
    None
}

/// Two texts that differ, or, where they are long, the parts of them that do.
pub(super) fn difference(expected: &str, found: &str) -> [String; 2] {
    const SHORT: usize = 100;
    if expected.len().max(found.len()) <= SHORT {
        return [shown(expected), shown(found)];
    }
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let pairs = expected.chars().zip(found.chars());
    let start: usize = pairs.take_while(same).map(|(c, _)| c.len_utf8()).sum();
    // From the name of the first field that differs, to the end of the last.
    let names_follow = |at: usize| {
        expected[at..]
            .trim_start()
            .starts_with(|c: char| c.is_ascii_alphabetic())
    };
    let mut before = expected[..start].char_indices();
    let start = before.rfind(|&(at, c)| "{(,→".contains(c) && names_follow(at + c.len_utf8()));
    let start = start.map_or(0, |(at, c)| at + c.len_utf8());
    let [expected, found] = [&expected[start..], &found[start..]];
    let pairs = expected.chars().rev().zip(found.chars().rev());
    let end: usize = pairs.take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let tail = &expected[expected.len() - end..];
    let end = tail.find(['}', ',', '→']).map_or(0, |at| tail.len() - at);
    [expected, found].map(|text| shown(text[..text.len() - end].trim()))
}
