//! Parses the arguments of `cargo xtask mutants`.

use std::ffi::OsString;

use super::faults::{Fault, Kind};

/// Options for faults in shaders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// How many faults to plant; `None` plants all.
    pub(crate) sample: Option<usize>,
    /// The seed of the sample.
    pub(crate) seed: u64,
    /// Plant only faults in these shaders (names without `.wgsl`), of these kinds (`kinds`) and with these ids (`ids`).
    /// An empty list allows all.
    pub(crate) files: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) ids: Vec<String>,
    /// How many tests run at the same time.
    pub(crate) jobs: usize,
    /// Print the faults, and plant none.
    pub(crate) list: bool,
    /// Also plant the faults that are listed as changing no result.
    pub(crate) equivalent: bool,
    /// Run only the tests of `cargo xtask sanitize`, and interpret every plan that they run.
    pub(crate) sanitizer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sample: None,
            seed: 1,
            files: Vec::new(),
            kinds: Vec::new(),
            ids: Vec::new(),
            jobs: 1,
            list: false,
            equivalent: false,
            sanitizer: false,
        }
    }
}

/// What `cargo xtask mutants` has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Plant faults in shaders.
    Wgsl(Options),
    /// Plant faults in Rust, by running cargo-mutants with these arguments.
    Rust(Vec<OsString>),
}

impl Request {
    /// Parses the arguments after `mutants`.
    pub(crate) fn parse(args: &[OsString]) -> Result<Self, String> {
        if args.first().is_some_and(|first| first == "--rust") {
            return Ok(Self::Rust(args[1..].to_vec()));
        }
        let mut options = Options::default();
        let mut rest = args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = rest.next() {
            let (name, given) = match arg.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (arg.into_owned(), None),
            };
            let mut value = || {
                let value = given.clone().or_else(|| rest.next().map(Into::into));
                value.ok_or_else(|| format!("`{name}` needs a value"))
            };
            match &*name {
                "--sample" => options.sample = Some(number(&name, &value()?)?),
                "--seed" => options.seed = number(&name, &value()?)?,
                "--jobs" => options.jobs = number(&name, &value()?)?,
                "--file" => options.files.push(shader(&value()?)),
                "--kind" => options.kinds.push(kind(&value()?)?),
                "--fault" => options.ids.push(value()?),
                "--list" => options.list = true,
                "--equivalent" => options.equivalent = true,
                "--sanitizer" => options.sanitizer = true,
                "--rust" => {
                    return Err(
                        "`--rust` comes first, and the options of cargo-mutants follow it"
                            .to_owned(),
                    );
                }
                _ => return Err(format!("`mutants` has no option `{name}`")),
            }
        }
        match options {
            Options { jobs: 0, .. } => Err("`--jobs` must be at least 1".to_owned()),
            Options {
                sample: Some(0), ..
            } => Err("`--sample` must be at least 1".to_owned()),
            options => Ok(Self::Wgsl(options)),
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    let wrong = |_| format!("`{name}` takes a whole number, but got `{text}`");
    text.parse().map_err(wrong)
}

/// Returns the shader's name: `linear` for `linear`, `linear.wgsl` or `shaders/linear.wgsl`.
fn shader(text: &str) -> String {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
    name.strip_suffix(".wgsl").unwrap_or(name).to_owned()
}

fn kind(text: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join(", ");
        format!("there is no kind `{text}`: the kinds are {names}")
    })
}

impl Options {
    /// Returns the faults that these options select.
    pub(crate) fn choose(&self, mut faults: Vec<Fault>) -> Result<Vec<Fault>, String> {
        let unknown =
            |what: &str, name: &String| format!("there is no {what} `{name}`: --list prints all");
        if let Some(id) = self
            .ids
            .iter()
            .find(|id| !faults.iter().any(|it| it.id == **id))
        {
            return Err(unknown("fault", id));
        }
        let has_file = |file: &&String| !faults.iter().any(|it| it.shader == **file);
        if let Some(file) = self.files.iter().find(has_file) {
            return Err(unknown("fault in a shader", file));
        }
        faults.retain(|fault| {
            (self.ids.is_empty() || self.ids.contains(&fault.id))
                && (self.files.is_empty() || self.files.contains(&fault.shader))
                && (self.kinds.is_empty() || self.kinds.contains(&fault.kind))
        });
        Ok(match self.sample {
            Some(count) => spread(faults, count, self.seed),
            None => faults,
        })
    }
}

/// Returns a random sample of `count` faults that is spread evenly over shaders and kinds. The faults keep their order.
fn spread(faults: Vec<Fault>, count: usize, seed: u64) -> Vec<Fault> {
    let mut random = Random(seed);
    let mut order: Vec<usize> = (0..faults.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    // In the shuffled order, takes the first fault of each pair of shader and kind, then the second fault of each pair,
    // and so on.
    let mut drawn = std::collections::HashMap::new();
    let mut ranked: Vec<(usize, usize, usize)> = Vec::new();
    for (position, &index) in order.iter().enumerate() {
        let group = (faults[index].shader.as_str(), faults[index].kind);
        let rank = drawn.entry(group).or_insert(0);
        ranked.push((*rank, position, index));
        *rank += 1;
    }
    ranked.sort_unstable();
    let mut kept: Vec<usize> = ranked
        .into_iter()
        .map(|(.., index)| index)
        .take(count)
        .collect();
    kept.sort_unstable();
    let mut all: Vec<Option<Fault>> = faults.into_iter().map(Some).collect();
    kept.into_iter()
        .filter_map(|index| all[index].take())
        .collect()
}

/// The random number generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u128::from(bits ^ (bits >> 31));
        // The value is less than `bound`, so it fits in `usize`.
        usize::try_from((bits * bound as u128) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::faults;
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Request::parse(&args)
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let expected = Options {
            sample: Some(20),
            seed: 7,
            files: vec!["linear".to_owned(), "gather".to_owned()],
            kinds: vec![Kind::Barrier],
            jobs: 2,
            ..Options::default()
        };
        let line =
            "--sample 20 --seed=7 --file shaders/linear.wgsl --file gather --kind barrier --jobs=2";
        assert_eq!(parse(line), Ok(Request::Wgsl(expected)));
        let expected = Options {
            ids: vec!["linear-00000000".to_owned()],
            list: true,
            equivalent: true,
            sanitizer: true,
            ..Options::default()
        };
        let line = "--list --equivalent --sanitizer --fault linear-00000000";
        assert_eq!(parse(line), Ok(Request::Wgsl(expected)));
        assert_eq!(parse(""), Ok(Request::Wgsl(Options::default())));
    }

    #[test]
    fn what_follows_rust_is_not_ours() {
        let expected = ["--file", "src/ops/clip.rs"].map(OsString::from).to_vec();
        assert_eq!(
            parse("--rust --file src/ops/clip.rs"),
            Ok(Request::Rust(expected))
        );
    }

    #[test]
    fn mistakes_are_told() {
        let said = |line| parse(line).err().unwrap_or_default();
        assert_eq!(said("--fast"), "`mutants` has no option `--fast`");
        assert_eq!(said("--sample"), "`--sample` needs a value");
        assert_eq!(
            said("--sample many"),
            "`--sample` takes a whole number, but got `many`"
        );
        assert_eq!(said("--sample 0"), "`--sample` must be at least 1");
        assert_eq!(said("--jobs 0"), "`--jobs` must be at least 1");
        assert!(
            said("--kind typo").starts_with("there is no kind `typo`: the kinds are barrier, ")
        );
        assert!(said("--list --rust").starts_with("`--rust` comes first"));
    }

    const TEXT: &str =
        "fn f() {\n    a = b + c;\n    d = min(e, f);\n    if (g < 4u) { barrier(); }\n}\n";

    #[test]
    fn faults_are_chosen_by_shader_kind_and_id() {
        let all = [faults("one", TEXT), faults("two", TEXT)].concat();
        let options = Options {
            files: vec!["two".to_owned()],
            kinds: vec![Kind::Function, Kind::Arithmetic],
            ..Options::default()
        };
        let chosen = options.choose(all.clone()).unwrap_or_default();
        let chosen: Vec<_> = chosen
            .iter()
            .map(|fault| (&*fault.shader, fault.kind))
            .collect();
        assert_eq!(chosen, [("two", Kind::Arithmetic), ("two", Kind::Function)]);

        let options = Options {
            ids: vec![all[3].id.clone()],
            ..Options::default()
        };
        assert_eq!(options.choose(all.clone()), Ok(vec![all[3].clone()]));
        let unknown = |options: &Options| options.choose(all.clone()).err().unwrap_or_default();
        let options = Options {
            ids: vec!["one-0".to_owned()],
            ..Options::default()
        };
        assert_eq!(
            unknown(&options),
            "there is no fault `one-0`: --list prints all"
        );
        let options = Options {
            files: vec!["three".to_owned()],
            ..Options::default()
        };
        assert_eq!(
            unknown(&options),
            "there is no fault in a shader `three`: --list prints all"
        );
    }

    #[test]
    fn a_sample_is_spread_and_the_same_for_the_same_seed() {
        let all = [faults("one", TEXT), faults("two", TEXT)].concat();
        let groups: std::collections::HashSet<_> = all
            .iter()
            .map(|fault| (&fault.shader, fault.kind))
            .collect();
        let sample = |seed| spread(all.clone(), groups.len(), seed);
        let drawn = sample(3);
        let of: std::collections::HashSet<_> = drawn
            .iter()
            .map(|fault| (&fault.shader, fault.kind))
            .collect();
        assert_eq!(of, groups);
        assert_eq!(sample(3), drawn);
        assert_ne!(sample(4), drawn);
        assert_eq!(spread(all.clone(), 1_000, 1), all);
    }
}
