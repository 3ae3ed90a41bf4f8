//! A TOML file with all settings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use wgsl_sanitizer::{Order, Settings};

use super::Mistake;
use super::args::{order, three};
use super::contents::Contents;
use super::job::{Bind, Run};
use super::names::Target;

/// The contents of the TOML file. Its keys have the names of the command-line options.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    shaders: Vec<String>,
    #[serde(default)]
    buffers: BTreeMap<String, String>,
    #[serde(default)]
    dispatch: Vec<DispatchText>,
    orders: Option<Vec<String>>,
    zero_workgroup_memory: Option<bool>,
    loop_budget: Option<u64>,
    seed: Option<u64>,
    #[serde(default)]
    print: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DispatchText {
    entry: Option<String>,
    #[serde(default)]
    workgroups: Option<Vec<u32>>,
    #[serde(default)]
    constants: BTreeMap<String, Constant>,
    #[serde(default)]
    bindings: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "the value of a constant is a number, `true` or `false`"
)]
enum Constant {
    Bool(bool),
    Number(f64),
}

/// The settings in a file.
pub(super) struct Parsed {
    pub(super) shaders: Vec<String>,
    pub(super) buffers: Vec<(String, Contents)>,
    pub(super) runs: Vec<Run>,
    pub(super) settings: Settings,
    pub(super) seed: u64,
    pub(super) print: Vec<String>,
}

pub(super) fn read(path: &Path) -> Result<Parsed, Mistake> {
    let error = |message: String| Mistake::new(format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|io| error(io.to_string()))?;
    let text: Text = toml::from_str(&text).map_err(|toml| error(toml.to_string()))?;
    if text.shaders.is_empty() {
        return Err(error("`shaders` names no file".to_owned()));
    }
    let mut buffers = Vec::new();
    for (name, contents) in text.buffers {
        let contents = Contents::parse_all(&contents)
            .map_err(|message| error(format!("buffer `{name}`: {message}")))?;
        buffers.push((name, contents));
    }
    let mut settings = Settings::default();
    if let Some(orders) = text.orders {
        let orders: Result<Vec<Order>, _> = orders.iter().map(|name| order(name)).collect();
        settings = settings.orders(orders.map_err(error)?);
    }
    if let Some(is_zeroed) = text.zero_workgroup_memory {
        settings = settings.zero_workgroup_memory(is_zeroed);
    }
    if let Some(budget) = text.loop_budget {
        settings = settings.loop_budget(budget);
    }
    let runs = text.dispatch.into_iter().map(|run| run.read(&buffers));
    let runs = runs.collect::<Result<_, String>>().map_err(error)?;
    Ok(Parsed {
        shaders: text.shaders,
        runs,
        buffers,
        settings,
        seed: text.seed.unwrap_or(0),
        print: text.print,
    })
}

impl DispatchText {
    fn read(self, buffers: &[(String, Contents)]) -> Result<Run, String> {
        let mut bindings = Vec::new();
        for (target, buffer) in self.bindings {
            let (name, bytes) = range(&buffer)?;
            let known = buffers.iter().position(|(known, _)| known == name);
            let Some(buffer) = known else {
                let names: Vec<_> = buffers.iter().map(|(known, _)| &**known).collect();
                return Err(format!(
                    "binding `{target}`: there is no buffer `{name}` in [buffers]: there is {}",
                    names.join(", ")
                ));
            };
            let target: Target = target.parse()?;
            bindings.push(Bind {
                target,
                buffer,
                bytes,
            });
        }
        let constants = self.constants.into_iter().map(|(name, value)| {
            let value = match value {
                Constant::Bool(value) => value.into(),
                Constant::Number(value) => value,
            };
            (name, value)
        });
        Ok(Run {
            entry: self.entry,
            workgroups: three(&self.workgroups.unwrap_or(vec![1]))?,
            constants: constants.collect(),
            bindings,
        })
    }
}

/// Parses `name` or `name[bytes..bytes]`.
fn range(text: &str) -> Result<(&str, Option<Range<u64>>), String> {
    let Some((name, range)) = text.split_once('[') else {
        return Ok((text.trim(), None));
    };
    let ends = range
        .trim_end()
        .strip_suffix(']')
        .and_then(|range| range.split_once(".."));
    let ends =
        ends.and_then(|(start, end)| Some((start.trim().parse().ok()?, end.trim().parse().ok()?)));
    match ends {
        Some((start, end)) => Ok((name.trim(), Some(start..end))),
        None => Err(format!(
            "`{text}` is neither a buffer nor a range of its bytes: expected a text such as arena[0..256]"
        )),
    }
}
