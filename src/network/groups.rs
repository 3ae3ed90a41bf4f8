//! The parameter group to which each parameter belongs.

use std::fmt;

use super::gradients::Wanted;
use super::graph::{Graph, Parameter};
use super::parameters::listed;
use crate::error::{Error, number};
use crate::ops::Group;

/// The parameter group of every parameter, in the order of the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Groups {
    names: Vec<String>,
    /// For each parameter, whether its layer declares that weight decay applies to it.
    decays: Vec<bool>,
    groups: Vec<Group>,
    /// See [`resolved`](Self::resolved).
    resolved: Vec<Group>,
}

impl Groups {
    /// Puts all parameters in the default group, which uses the settings of the optimizer.
    pub(crate) fn new(graph: &Graph) -> Self {
        let all = graph.parameters.iter();
        let mut groups = Self {
            names: all
                .clone()
                .map(|Parameter { name, .. }| name.clone())
                .collect(),
            decays: all.map(|Parameter { spec, .. }| spec.decays).collect(),
            groups: vec![Group::new(); graph.parameters.len()],
            resolved: Vec::new(),
        };
        groups.resolve();
        groups
    }

    /// Puts all parameters whose name [`matches()`] `which` in a group.
    ///
    /// # Errors
    /// [`Error::Setting`] when `which` matches no parameter, all parameters would be frozen, or a setting of the group
    /// is invalid.
    pub(crate) fn set(&mut self, which: &str, group: Group) -> Result<(), Error> {
        group.check()?;
        self.change(which, |of| *of = group)
    }

    /// Freezes or unfreezes all parameters whose name [`matches()`] `which`.
    ///
    /// # Errors
    /// [`Error::Setting`] when `which` matches no parameter, or all parameters would be frozen.
    pub(crate) fn freeze(&mut self, which: &str, is_frozen: bool) -> Result<(), Error> {
        self.change(which, |of| *of = of.frozen(is_frozen))
    }

    fn change(&mut self, which: &str, change: impl Fn(&mut Group)) -> Result<(), Error> {
        let mut groups = self.groups.clone();
        let mut is_any = false;
        for (name, group) in self.names.iter().zip(&mut groups) {
            if matches(which, name) {
                change(group);
                is_any = true;
            }
        }
        if !is_any {
            let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
            let expected = format!(
                "one of {}, the beginning of some names (layers.0) or a pattern (*.bias)",
                listed(&names)
            );
            return Err(Error::setting("name of parameters", expected, which));
        }
        if groups.iter().all(Group::is_frozen) {
            let name = format!("number of parameters that are trained when {which} is frozen");
            return Err(Error::setting(name, "at least 1", 0));
        }
        self.groups = groups;
        self.resolve();
        Ok(())
    }

    /// The group of each parameter, with the effective weight decay: the group's own weight decay if it is set;
    /// otherwise 0 if the parameter's layer excludes it from weight decay; otherwise `None`, which means the
    /// optimizer's.
    pub(crate) fn resolved(&self) -> &[Group] {
        &self.resolved
    }

    fn resolve(&mut self) {
        let all = self.groups.iter().zip(&self.decays);
        let resolved = all.map(|(group, decays)| match (group.own_decay(), decays) {
            (None, false) => group.weight_decay(0.0),
            _ => *group,
        });
        self.resolved = resolved.collect();
    }

    /// For each parameter, whether it is trained.
    pub(crate) fn trained(&self) -> Vec<bool> {
        self.groups.iter().map(|group| !group.is_frozen()).collect()
    }

    /// The gradients that an update reads: those of all trained parameters.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            input: false,
            parameters: self.trained(),
        }
    }

    /// The learning-rate multipliers of all groups with trained parameters, except 1, in ascending order.
    pub(crate) fn multiples(&self) -> Vec<f32> {
        let trained = self.groups.iter().filter(|group| !group.is_frozen());
        let mut multiples: Vec<f32> = trained.map(Group::rate_of).collect();
        multiples.retain(|&rate| rate != 1.0);
        multiples.sort_by(f32::total_cmp);
        multiples.dedup();
        multiples
    }

    /// Whether all parameters are in the default group.
    pub(crate) fn is_default(&self) -> bool {
        self.groups.iter().all(|group| *group == Group::new())
    }
}

/// Writes the name and the group's settings of each parameter outside the default group. A checkpoint compares groups
/// by this text.
impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.names.iter().zip(&self.groups);
        let others = others.filter(|(_, group)| **group != Group::new());
        for (at, (name, group)) in others.enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: rate {}", number(group.rate_of()))?;
            if let Some(decay) = group.own_decay() {
                write!(f, ", weight decay {}", number(decay))?;
            }
            if group.is_frozen() {
                f.write_str(", frozen")?;
            }
        }
        Ok(())
    }
}

/// Whether `which` selects the parameter with this name. `which` is the full name, the beginning of the name up to a
/// dot (`layers.0`), or a pattern in which `*` stands for any characters (`*.bias`).
fn matches(which: &str, name: &str) -> bool {
    let rest = name.strip_prefix(which);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) || fits(which, name)
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| fits(rest, &name[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Groups, matches};
    use crate::error::Error;
    use crate::network::Sequential;
    use crate::ops::{Group, Linear, Relu};

    #[test]
    fn names_are_meant_whole_by_their_beginning_or_by_a_pattern() {
        for (which, name, expected) in [
            ("layers.0.weight", "layers.0.weight", true),
            ("layers.0", "layers.0.weight", true),
            ("layers.1", "layers.10.weight", false),
            ("layers.0.w", "layers.0.weight", false),
            ("*", "layers.0.weight", true),
            ("*.bias", "layers.2.bias", true),
            ("*.bias", "layers.2.weight", false),
            ("layers.*.bias", "layers.12.bias", true),
            ("", "layers.0.weight", false),
        ] {
            assert_eq!(matches(which, name), expected, "{which} {name}");
        }
    }

    #[test]
    fn biases_do_not_decay_unless_they_are_told_to() -> Result<(), Error> {
        let network = Sequential::input(4).layer(Linear::new(3)).layer(Relu);
        let mut groups = Groups::new(&network.graph()?);
        let decays = |groups: &Groups| {
            let resolved = groups.resolved();
            resolved.iter().map(Group::own_decay).collect::<Vec<_>>()
        };
        assert_eq!(decays(&groups), [None, Some(0.0)]);
        groups.set("*", Group::new().weight_decay(0.5))?;
        assert_eq!(decays(&groups), [Some(0.5); 2]);
        groups.freeze("layers.0.bias", true)?;
        assert!(
            groups.freeze("*", true).is_err(),
            "nothing would be trained"
        );
        assert_eq!(groups.trained(), [true, false]);
        assert!(groups.multiples().is_empty());
        groups.set("layers.0.weight", Group::new().rate(3.0).weight_decay(0.5))?;
        groups.set("layers.0.bias", Group::new().rate(0.1).weight_decay(0.5))?;
        assert_eq!(groups.multiples(), [0.1, 3.0]);
        groups.freeze("layers.0.bias", true)?;
        assert_eq!(groups.multiples(), [3.0]);
        let told = "layers.0.weight: rate 3, weight decay 0.5; layers.0.bias: rate 0.1, weight decay 0.5, frozen";
        assert_eq!(groups.to_string(), told);
        let error = groups
            .freeze("layers.1", true)
            .map_err(|error| error.to_string());
        let expected = "name of parameters must be one of layers.0.weight and layers.0.bias, the beginning of some \
             names (layers.0) or a pattern (*.bias); it is layers.1";
        assert_eq!(error, Err(expected.to_owned()));
        Ok(())
    }
}
