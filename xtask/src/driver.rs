//! Finds a GPU driver for the tests, installs one, or asks the user to install one.
//!
//! Only Linux needs any of this: macOS has Metal, and Windows has DX12 with the
//! WARP software adapter. On Linux the tests need the Vulkan loader and at least
//! one driver; Mesa's lavapipe is one that runs on any processor.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::Apt;
use crate::host::{Failure, Host};

const LOADER: &str = "libvulkan.so.1";
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Instructions for installation by hand.
const BY_HAND: &str = "\
Install the Vulkan loader and Mesa's software driver, then run this again:

  Debian, Ubuntu  sudo apt-get install mesa-vulkan-drivers libvulkan1
  Fedora          sudo dnf install mesa-vulkan-drivers vulkan-loader
  Arch            sudo pacman -S vulkan-swrast vulkan-icd-loader
  Alpine          sudo apk add mesa-vulkan-swrast vulkan-loader
  NixOS           hardware.graphics.enable = true; and in the shell
                  LD_LIBRARY_PATH=$(nix-build '<nixpkgs>' -A vulkan-loader --no-out-link)/lib

The driver of your own GPU works as well.";

/// Makes sure that the tests will find a GPU driver.
pub(crate) fn setup(host: &impl Host) -> Result<(), Failure> {
    if host.os() != "linux" {
        eprintln!("xtask: {} brings its own GPU drivers", host.os());
        return Ok(());
    }
    let found = Found::look(host);
    match decide(&found, || Apt::find(host)) {
        Action::GoOn => {
            eprintln!("xtask: {found}");
            Ok(())
        }
        Action::Explain(message) => Err(Failure::new(message)),
        Action::Install(apt) => {
            eprintln!("xtask: {found}");
            install(host, apt)
        }
    }
}

/// The parts of Vulkan that are on the machine.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// The Vulkan loader library.
    loader: Option<PathBuf>,
    /// The manifest of one driver; any driver will do.
    manifest: Option<PathBuf>,
    /// The environment variable that replaces the Vulkan loader's default directories for driver manifests. `None` if
    /// no such variable is set.
    overridden_by: Option<&'static str>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.loader {
            Some(path) => write!(f, "Vulkan loader {}, ", path.display())?,
            None => write!(f, "no Vulkan loader ({LOADER}), ")?,
        }
        match &self.manifest {
            Some(path) => write!(f, "driver manifest {}", path.display()),
            None => write!(f, "no driver manifest"),
        }
    }
}

impl Found {
    fn look(host: &impl Host) -> Self {
        // As in the loader: the older variable, `VK_ICD_FILENAMES`, is used only if the newer one is not set.
        let overridden_by = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]
            .into_iter()
            .find(|name| host.var(name).is_some());
        let places = match overridden_by {
            Some(name) => paths_in(host, name),
            None => manifest_places(host),
        };
        Self {
            loader: find_loader(host),
            manifest: places.iter().find_map(|place| manifest_at(host, place)),
            overridden_by,
        }
    }
}

fn find_loader(host: &impl Host) -> Option<PathBuf> {
    let arch = host.arch();
    let mut dirs = paths_in(host, "LD_LIBRARY_PATH");
    for base in ["/usr/local", "/usr", ""] {
        dirs.push(format!("{base}/lib/{arch}-linux-gnu").into());
        if arch == "arm" {
            dirs.push(format!("{base}/lib/arm-linux-gnueabihf").into());
        }
        dirs.push(format!("{base}/lib64").into());
        dirs.push(format!("{base}/lib").into());
    }
    dirs.into_iter()
        .map(|dir| dir.join(LOADER))
        .find(|path| host.locate(path).is_file())
        .or_else(|| {
            // On Debian, `/sbin` is not in an ordinary user's search path.
            ["ldconfig", "/sbin/ldconfig"]
                .iter()
                .find_map(|program| host.output(program, &["-p"]))
                .and_then(|cache| loader_in_cache(&cache, arch))
        })
}

/// Returns the path of the Vulkan loader in the output of `ldconfig -p`.
fn loader_in_cache(cache: &str, arch: &str) -> Option<PathBuf> {
    // A 64-bit system may also have a 32-bit library, which the tests cannot load.
    let flag = match arch {
        "x86_64" => "x86-64",
        "aarch64" => "AArch64",
        _ => "",
    };
    cache.lines().find_map(|line| {
        let (entry, path) = line.split_once("=>")?;
        let (name, flags) = entry.trim().split_once(' ')?;
        (name == LOADER && flags.contains(flag)).then(|| path.trim().into())
    })
}

/// Returns the paths where the Vulkan loader looks for driver manifests by default.
fn manifest_places(host: &impl Host) -> Vec<PathBuf> {
    let home = host.var("HOME").map(PathBuf::from);
    let in_home = |dir: &str| home.as_ref().map(|home| home.join(dir)).into_iter();
    let or_else = |name: &str, default: Vec<PathBuf>| {
        let set = paths_in(host, name);
        if set.is_empty() { default } else { set }
    };
    let mut bases = or_else("XDG_CONFIG_HOME", in_home(".config").collect());
    bases.extend(or_else("XDG_CONFIG_DIRS", vec!["/etc/xdg".into()]));
    bases.extend(["/usr/local/etc".into(), "/etc".into()]);
    bases.extend(or_else("XDG_DATA_HOME", in_home(".local/share").collect()));
    bases.extend(paths_in(host, "XDG_DATA_DIRS"));
    bases.extend(["/usr/local/share".into(), "/usr/share".into()]);
    // The directory of drivers on NixOS.
    bases.push("/run/opengl-driver/share".into());

    let mut places = paths_in(host, "VK_ADD_DRIVER_FILES");
    places.extend(bases.into_iter().map(|base| base.join("vulkan/icd.d")));
    places
}

/// Returns a manifest at the path `place`, which is either a manifest or a directory of manifests.
fn manifest_at(host: &impl Host, place: &Path) -> Option<PathBuf> {
    let real = host.locate(place);
    if real.is_file() {
        return Some(place.to_owned());
    }
    let mut names: Vec<_> = fs::read_dir(real)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| Path::new(name).extension().is_some_and(|ext| ext == "json"))
        .collect();
    // The software driver always works: prefer it.
    names.sort_by_key(|name| (!name.to_string_lossy().starts_with("lvp"), name.clone()));
    names
        .into_iter()
        .map(|name| place.join(name))
        .find(|path| host.locate(path).is_file())
}

/// Returns the paths in an environment variable that contains a list of paths.
fn paths_in(host: &impl Host, name: &str) -> Vec<PathBuf> {
    // Only Linux uses these variables, so the separator is always a colon.
    host.var(name)
        .unwrap_or_default()
        .split(':')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// What [`setup`] does next.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    /// Nothing is missing.
    GoOn,
    /// Install [`PACKAGES`].
    Install(Apt),
    /// Stop with this message.
    Explain(String),
}

/// Decides what to do. Calls `apt` only if a package would help, because a refused sudo may send mail to the
/// administrator.
fn decide(found: &Found, apt: impl FnOnce() -> Option<Apt>) -> Action {
    match (found.overridden_by, &found.loader, &found.manifest) {
        (_, Some(_), Some(_)) => Action::GoOn,
        // Installing a package would not help: because of the variable, the loader would not read the package's
        // manifest.
        (Some(name), _, None) => Action::Explain(format!(
            "{name} is set, but names no driver manifest that exists; unset it, or set it to one (a file, or a \
             directory with .json files)"
        )),
        _ => match apt() {
            Some(apt) => Action::Install(apt),
            None => Action::Explain(format!("the tests need a GPU driver: {found}.\n{BY_HAND}")),
        },
    }
}

fn install(host: &impl Host, apt: Apt) -> Result<(), Failure> {
    let by_hand = |failure: Failure| Failure::new(format!("{failure}.\n{BY_HAND}"));
    apt.install(host, &PACKAGES, "so that the tests have a GPU to run on")
        .map_err(by_hand)?;
    let found = Found::look(host);
    if found.loader.is_some() && found.manifest.is_some() {
        eprintln!("xtask: {found}");
        Ok(())
    } else {
        Err(Failure::new(format!(
            "apt-get succeeded, but still: {found}.\n{BY_HAND}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fake::Fake;

    const LIB: &str = "/usr/lib/x86_64-linux-gnu/libvulkan.so.1";
    const ICD: &str = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";
    const APT: &str = "apt-get --version";

    fn bare() -> io::Result<Fake> {
        Fake::new("linux")
    }

    /// A fake machine without Vulkan, on which packages can be installed.
    fn installable() -> io::Result<Fake> {
        Ok(bare()?.answers(APT, "apt 2.6.1").on_run(|fake, line| {
            let installs = line.contains("apt-get") && line.contains(" install ");
            u8::from(installs && (fake.put(LIB).is_err() || fake.put(ICD).is_err()))
        }))
    }

    fn message(outcome: Result<(), Failure>) -> String {
        outcome
            .err()
            .map(|failure| failure.message)
            .unwrap_or_default()
    }

    #[test]
    fn a_complete_machine_is_left_alone() -> io::Result<()> {
        let fake = bare()?.file(LIB)?.file(ICD)?;
        assert!(setup(&fake).is_ok());
        assert!(fake.ran().is_empty());
        Ok(())
    }

    #[test]
    fn other_systems_need_nothing() -> io::Result<()> {
        for os in ["macos", "windows"] {
            let fake = Fake::new(os)?;
            assert!(setup(&fake).is_ok());
            assert!(fake.ran().is_empty());
        }
        Ok(())
    }

    #[test]
    fn without_rights_it_says_what_to_install_and_touches_nothing() -> io::Result<()> {
        let no_apt = bare()?.answers("id -u", "0\n").answers("sudo -n true", "");
        let no_rights = bare()?.answers(APT, "apt 2.6.1").answers("id -u", "1000\n");
        for fake in [no_apt, no_rights] {
            let outcome = setup(&fake);
            assert_eq!(outcome.as_ref().err().map(|failure| failure.code), Some(1));
            let message = message(outcome);
            for text in [
                "no Vulkan loader (libvulkan.so.1), no driver manifest",
                "apt-get install mesa-vulkan-drivers libvulkan1",
                "dnf install mesa-vulkan-drivers vulkan-loader",
                "pacman -S vulkan-swrast vulkan-icd-loader",
                "apk add mesa-vulkan-swrast vulkan-loader",
                "NixOS",
            ] {
                assert!(message.contains(text), "{text:?} is not in:\n{message}");
            }
            assert!(fake.ran().is_empty());
        }
        Ok(())
    }

    #[test]
    fn root_installs() -> io::Result<()> {
        let fake = installable()?.answers("id -u", "0\n");
        assert!(setup(&fake).is_ok());
        assert_eq!(
            fake.ran(),
            [
                "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 update",
                "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
                 install -y --no-install-recommends mesa-vulkan-drivers libvulkan1",
            ]
        );
        Ok(())
    }

    #[test]
    fn a_sudo_without_password_installs() -> io::Result<()> {
        let fake = installable()?
            .answers("id -u", "1000\n")
            .answers("sudo -n true", "");
        assert!(setup(&fake).is_ok());
        let ran = fake.ran();
        assert_eq!(ran.len(), 2);
        for line in &ran {
            assert!(
                line.starts_with("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get "),
                "{line}"
            );
        }
        Ok(())
    }

    #[test]
    fn half_of_it_is_not_enough() -> io::Result<()> {
        for half in [LIB, ICD] {
            let fake = installable()?.file(half)?.answers("id -u", "0\n");
            assert!(setup(&fake).is_ok());
            assert_eq!(fake.ran().len(), 2, "with {half} alone");
        }
        Ok(())
    }

    #[test]
    fn a_failed_update_is_survived_and_a_failed_install_is_not() -> io::Result<()> {
        let fake = installable()?.answers("id -u", "0").on_run(|fake, line| {
            if line.ends_with("update") {
                return 100;
            }
            u8::from(fake.put(LIB).is_err() || fake.put(ICD).is_err())
        });
        assert!(setup(&fake).is_ok());

        let fake = installable()?.answers("id -u", "0").on_run(|_, _| 100);
        let message = message(setup(&fake));
        assert!(message.contains("failed with exit code 100"), "{message}");
        assert!(message.contains(BY_HAND), "{message}");
        Ok(())
    }

    #[test]
    fn an_install_that_brings_nothing_is_a_failure() -> io::Result<()> {
        let fake = installable()?.answers("id -u", "0").on_run(|_, _| 0);
        assert!(message(setup(&fake)).contains("apt-get succeeded, but still: no Vulkan loader"));
        Ok(())
    }

    #[test]
    fn an_override_that_names_nothing_is_explained() -> io::Result<()> {
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            let fake = installable()?
                .file(LIB)?
                .file(ICD)?
                .answers("id -u", "0")
                .env(name, "/nowhere.json");
            let message = message(setup(&fake));
            assert!(message.starts_with(&format!("{name} is set")), "{message}");
            assert!(fake.ran().is_empty());
        }
        Ok(())
    }

    #[test]
    fn the_loader_is_found_wherever_it_may_be() -> io::Result<()> {
        for lib in [
            "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
            "/usr/lib64/libvulkan.so.1",
            "/usr/lib/libvulkan.so.1",
            "/usr/local/lib/libvulkan.so.1",
            "/lib/libvulkan.so.1",
        ] {
            assert_eq!(find_loader(&bare()?.file(lib)?), Some(lib.into()));
        }
        let fake = bare()?
            .file("/opt/vulkan/libvulkan.so.1")?
            .env("LD_LIBRARY_PATH", "/opt/none::/opt/vulkan");
        assert_eq!(
            find_loader(&fake),
            Some("/opt/vulkan/libvulkan.so.1".into())
        );
        for line in ["ldconfig -p", "/sbin/ldconfig -p"] {
            let cache = "\tlibvulkan.so.1 (libc6,x86-64) => /odd/libvulkan.so.1\n";
            let fake = bare()?.answers(line, cache);
            assert_eq!(find_loader(&fake), Some("/odd/libvulkan.so.1".into()));
        }
        // Programs load `libvulkan.so.1`. `libvulkan.so` is used only for compilation.
        assert_eq!(find_loader(&bare()?.file("/usr/lib/libvulkan.so")?), None);
        Ok(())
    }

    #[test]
    fn the_cache_is_read_for_our_architecture() {
        let cache = "2 libs found in cache `/etc/ld.so.cache'\n\
                     \tlibvulkan.so.1 (libc6) => /usr/lib32/libvulkan.so.1\n\
                     \tlibvulkan.so.1 (libc6,x86-64) => /usr/lib/libvulkan.so.1\n\
                     \tlibvulkan_lvp.so (libc6,AArch64) => /usr/lib/libvulkan_lvp.so\n";
        assert_eq!(
            loader_in_cache(cache, "x86_64"),
            Some("/usr/lib/libvulkan.so.1".into())
        );
        assert_eq!(loader_in_cache(cache, "aarch64"), None);
    }

    #[test]
    fn a_manifest_is_found_wherever_it_may_be() -> io::Result<()> {
        let manifest = |fake: &Fake| Found::look(fake).manifest;
        for path in [
            "/usr/share/vulkan/icd.d/a.json",
            "/usr/local/share/vulkan/icd.d/a.json",
            "/etc/vulkan/icd.d/a.json",
            "/run/opengl-driver/share/vulkan/icd.d/a.json",
            "/home/me/.local/share/vulkan/icd.d/a.json",
        ] {
            let fake = bare()?.env("HOME", "/home/me").file(path)?;
            assert_eq!(manifest(&fake), Some(path.into()));
        }
        for (name, value) in [
            ("XDG_DATA_HOME", "/data"),
            ("XDG_DATA_DIRS", "/other:/data"),
            ("XDG_CONFIG_HOME", "/data"),
            ("VK_ADD_DRIVER_FILES", "/data/vulkan/icd.d"),
            ("VK_DRIVER_FILES", "/none.json:/data/vulkan/icd.d/a.json"),
            ("VK_ICD_FILENAMES", "/data/vulkan/icd.d/a.json"),
        ] {
            let path = "/data/vulkan/icd.d/a.json";
            let fake = bare()?.file(path)?;
            assert_eq!(manifest(&fake), None);
            assert_eq!(
                manifest(&fake.env(name, value)),
                Some(path.into()),
                "{name}"
            );
        }
        // An empty directory is no driver, and neither is a file that is not a `.json` file.
        let fake = bare()?.file("/usr/share/vulkan/icd.d/readme.txt")?;
        assert_eq!(manifest(&fake), None);
        Ok(())
    }

    #[test]
    fn apt_is_not_asked_for_in_vain() {
        let found = Found {
            loader: Some(LIB.into()),
            manifest: Some(ICD.into()),
            overridden_by: None,
        };
        assert_eq!(decide(&found, || unreachable!()), Action::GoOn);
    }
}
