//! Training by two hosts, simulated by network namespaces with their own addresses and host names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::processes::{add_program, mpirun, started, training};
use super::{Few, lines, text};

const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// Two simulated hosts, connected by a virtual cable.
struct Hosts {
    names: [String; 2],
}

impl Hosts {
    /// Creates the hosts. The error says why this is impossible.
    fn new() -> Result<Self, String> {
        let id = std::process::id();
        let names = [0, 1].map(|host| format!("wgrad-{id}-{host}"));
        let hosts = Self { names };
        let [one, other] = &hosts.names;
        run(&["ip", "netns", "add", one])?;
        run(&["ip", "netns", "add", other])?;
        let cable = [
            "ip", "link", "add", "cable", "netns", one, "type", "veth", "peer", "name", "cable",
            "netns", other,
        ];
        run(&cable)?;
        for (name, address) in hosts.names.iter().zip(ADDRESSES) {
            let address = format!("{address}/24");
            run(&["ip", "-n", name, "addr", "add", &address, "dev", "cable"])?;
            run(&["ip", "-n", name, "link", "set", "lo", "up"])?;
            run(&["ip", "-n", name, "link", "set", "cable", "up"])?;
        }
        Ok(hosts)
    }

    /// Returns a command that runs `command` on one of the hosts.
    fn on(&self, host: usize, command: &Command) -> Command {
        let name = &self.names[host];
        let mut all = Command::new("ip");
        all.args(["netns", "exec", name, "unshare", "--uts", "sh", "-c"]);
        all.args(["hostname \"$1\"; shift; exec \"$@\"", "sh", name]);
        all.arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => all.env(variable, value),
                None => all.env_remove(variable),
            };
        }
        all
    }

    /// Returns the number of bytes that a host has sent.
    fn sent(&self, host: usize) -> u64 {
        let counter = "/sys/class/net/cable/statistics/tx_bytes";
        let mut read = Command::new("cat");
        let output = self.on(host, read.arg(counter)).output().unwrap();
        text(&output.stdout).trim().parse().unwrap()
    }

    /// Creates a replacement for `ssh`, and returns its path. Its arguments are a host, and a command for the shell of
    /// that host.
    fn remote_shell(&self, directory: &Path) -> String {
        let path = directory.join("remote-shell");
        let name = &self.names[1];
        let line = format!(
            "#!/bin/sh\nshift\nexec ip netns exec {name} unshare --uts sh -c \"hostname {name}; $*\"\n"
        );
        fs::write(&path, line).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = run(&["ip", "netns", "del", name]);
        }
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let done = Command::new(words[0]).args(&words[1..]).output();
    let done: Output = done.map_err(|error| format!("{}: {error}", words[0]))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("`{}`: {}", words.join(" "), text(&done.stderr)))
    }
}

#[test]
fn two_hosts_train_as_one() {
    let hosts = match Hosts::new() {
        Ok(hosts) => hosts,
        Err(why) => {
            println!("SKIPPED: needs root and network namespaces, by iproute2; {why}");
            return;
        }
    };
    let few = Few::new();
    const STEPS: u64 = 50;
    let run = |program: &mut dyn FnMut(&Command) -> Command| {
        let saved = few.path.join("saved.safetensors");
        let words = format!("--device cpu --batch 20 --eval-every 0 --steps {STEPS}");
        let mut command = training(&few, &words);
        command.arg("--save").arg(&saved);
        let printed = lines(&program(&command).output().unwrap());
        let told = printed.iter().any(|line| line.starts_with("processes: "));
        assert!(told, "{printed:?}");
        fs::read(&saved).unwrap()
    };
    let alone = run(&mut |command| mpirun(1, command));
    let shell = hosts.remote_shell(&few.path);
    let before = hosts.sent(1);
    let on_both = run(&mut |command| {
        let mut started = started();
        started.args(["--host", &ADDRESSES.join(",")]);
        started.args(["--mca", "plm_rsh_agent", &shell]);
        add_program(&mut started, 2, command);
        hosts.on(0, &started)
    });
    assert!(on_both == alone, "the same bits");
    // Per step, a host sends half of its gradients and half of their mean. There are 39,760 parameters and a loss.
    let sent = hosts.sent(1) - before;
    assert!(sent >= STEPS * 4 * 39_760, "{sent} bytes");
}
