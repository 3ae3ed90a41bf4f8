//! Reads the memory limits of Linux: the machine's memory, and the control groups and `ulimit`s of this process.

use std::fs;
use std::path::{Path, PathBuf};

use super::FreeMemory;
use crate::error::memory::MACHINE;

/// The free memory under each limit of this process.
pub(super) fn rooms() -> Vec<FreeMemory> {
    rooms_under(Path::new("/"))
}

/// [`rooms`], with the folders `proc` and `sys` below `root`.
pub(super) fn rooms_under(root: &Path) -> Vec<FreeMemory> {
    let of_process = root.join("proc/self");
    let meminfo = text(root.join("proc/meminfo"));
    let swap = kibibytes(&meminfo, "SwapFree:").unwrap_or(0);
    let mut rooms = Vec::new();
    if let Some(free) = kibibytes(&meminfo, "MemAvailable:") {
        rooms.push(FreeMemory {
            bytes: free.saturating_add(swap),
            limit: MACHINE,
            is_of_addresses: false,
        });
    }
    let groups = text(of_process.join("cgroup"));
    rooms.extend(rooms_of_groups(&root.join("sys/fs/cgroup"), &groups, swap));
    rooms.extend(rooms_of_process(
        &text(of_process.join("limits")),
        &text(of_process.join("status")),
    ));
    rooms
}

/// Free memory under `ulimit -v` and `ulimit -d`. Both count allocated memory, even if it was not written yet.
fn rooms_of_process(limits: &str, status: &str) -> Vec<FreeMemory> {
    let limits_of = [
        ("Max address space", "VmSize:", "the limit of ulimit -v"),
        ("Max data size", "VmData:", "the limit of ulimit -d"),
    ];
    let rooms = limits_of.into_iter().filter_map(|(name, used, limit)| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        // `parse` fails for "unlimited".
        let most: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(FreeMemory {
            bytes: most.saturating_sub(kibibytes(status, used)?),
            limit,
            is_of_addresses: true,
        })
    });
    rooms.collect()
}

/// Free memory in a control group and in all groups that contain it. Each line of `groups` is `id:controllers:path`. In
/// version 2 of control groups, one tree serves all controllers, and its line names no controllers.
fn rooms_of_groups(mounted: &Path, groups: &str, swap: u64) -> Vec<FreeMemory> {
    let mut rooms = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let is_memory = controllers.split(',').any(|name| name == "memory");
        let (trees, room): (_, fn(&Path, u64) -> Option<u64>) = match controllers.is_empty() {
            true => (&["", "unified"][..], room_of_group),
            false if is_memory => (&["memory"][..], room_of_group_of_version_1),
            false => continue,
        };
        for tree in trees.iter().map(|tree| mounted.join(tree)) {
            // In a container, the path may be the group's path outside of the container. The group is then the root of
            // the tree.
            let folders = Path::new(path.trim_start_matches('/')).ancestors();
            rooms.extend(folders.filter_map(|folder| {
                Some(FreeMemory {
                    bytes: room(&tree.join(folder), swap)?,
                    limit: "the memory limit of its control group",
                    is_of_addresses: false,
                })
            }));
        }
    }
    rooms
}

/// Free memory in a control group of version 2, with reclaimable memory and swap; `None` if the group has no limit.
fn room_of_group(folder: &Path, swap: u64) -> Option<u64> {
    let left = |most, used| left(folder, most, used);
    let memory = left("memory.max", "memory.current")?;
    let reclaimable = reclaimable(folder, ["inactive_file", "active_file"]);
    let swap = left("memory.swap.max", "memory.swap.current").map_or(swap, |left| left.min(swap));
    Some(memory.saturating_add(reclaimable).saturating_add(swap))
}

/// Free memory in a control group of version 1, with reclaimable memory and swap; `None` if the group has no limit of
/// memory. If there is also a limit of memory and swap together, the smaller of the two free amounts counts.
fn room_of_group_of_version_1(folder: &Path, swap: u64) -> Option<u64> {
    let left = |most, used| left(folder, most, used);
    let memory = left("memory.limit_in_bytes", "memory.usage_in_bytes")?.saturating_add(swap);
    let both = left("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes");
    let reclaimable = reclaimable(folder, ["total_inactive_file", "total_active_file"]);
    let left = both.map_or(memory, |both| both.min(memory));
    Some(left.saturating_add(reclaimable))
}

/// The free amount under a limit: the contents of the file `most` minus those of the file `used`. `None` without a
/// limit.
fn left(folder: &Path, most: &str, used: &str) -> Option<u64> {
    let most = number(folder.join(most))?;
    Some(most.saturating_sub(number(folder.join(used))?))
}

/// Bytes of cached files. They count as used, but the kernel frees them when a process needs memory.
fn reclaimable(folder: &Path, keys: [&str; 2]) -> u64 {
    let stat = text(folder.join("memory.stat"));
    let of_key = |key: &str| field(&stat, key).unwrap_or(0);
    keys.into_iter().map(of_key).sum()
}

/// The contents of a file; an empty string if it cannot be read.
fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number in a file; `None` if the file contains "max".
fn number(path: PathBuf) -> Option<u64> {
    text(path).trim().parse().ok()
}

/// The number that follows `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut found = lines.find_map(|mut words| (words.next() == Some(key)).then_some(words))?;
    found.next()?.parse().ok()
}

/// The amount that follows `key`, in bytes. `/proc` counts in units of 1,024 bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    field(text, key).map(|count| count.saturating_mul(1024))
}
