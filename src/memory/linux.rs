//! The limits that Linux writes down: the machine's memory, the process's control groups, its `ulimit`s.

use std::fs;
use std::path::{Path, PathBuf};

use super::Room;
use crate::error::memory::MACHINE;

/// What is left under every limit that this process has.
pub(super) fn rooms() -> Vec<Room> {
    rooms_under(Path::new("/"))
}

/// The same, with `proc` and `sys` in a folder.
pub(super) fn rooms_under(root: &Path) -> Vec<Room> {
    let of_process = root.join("proc/self");
    let meminfo = text(root.join("proc/meminfo"));
    let swap = kibibytes(&meminfo, "SwapFree:").unwrap_or(0);
    let mut rooms = Vec::new();
    if let Some(free) = kibibytes(&meminfo, "MemAvailable:") {
        rooms.push(Room {
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

/// Room under `ulimit -v` and `ulimit -d`. Both count what is allocated, whether it was written or not.
fn rooms_of_process(limits: &str, status: &str) -> Vec<Room> {
    let limits_of = [
        ("Max address space", "VmSize:", "the limit of ulimit -v"),
        ("Max data size", "VmData:", "the limit of ulimit -d"),
    ];
    let rooms = limits_of.into_iter().filter_map(|(name, used, limit)| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        // "unlimited" is no number.
        let most: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(Room {
            bytes: most.saturating_sub(kibibytes(status, used)?),
            limit,
            is_of_addresses: true,
        })
    });
    rooms.collect()
}

/// Room in a control group and in all groups around it. Each line of `groups` is `id:controllers:path`: version 2 has one
/// tree for all controllers, which have no names there.
fn rooms_of_groups(mounted: &Path, groups: &str, swap: u64) -> Vec<Room> {
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
            // In a container the path may be that outside of it. Then the group is the root of the tree.
            let folders = Path::new(path.trim_start_matches('/')).ancestors();
            rooms.extend(folders.filter_map(|folder| {
                Some(Room {
                    bytes: room(&tree.join(folder), swap)?,
                    limit: "the memory limit of its control group",
                    is_of_addresses: false,
                })
            }));
        }
    }
    rooms
}

/// `None` where the group has no limit.
fn room_of_group(folder: &Path, swap: u64) -> Option<u64> {
    let left = |most, used| left(folder, most, used);
    let memory = left("memory.max", "memory.current")?;
    let reclaimable = reclaimable(folder, ["inactive_file", "active_file"]);
    let swap = left("memory.swap.max", "memory.swap.current").map_or(swap, |left| left.min(swap));
    Some(memory.saturating_add(reclaimable).saturating_add(swap))
}

/// Room under the limits of memory alone, and of memory and swap together, where swap is counted.
fn room_of_group_of_version_1(folder: &Path, swap: u64) -> Option<u64> {
    let left = |most, used| left(folder, most, used);
    let memory = left("memory.limit_in_bytes", "memory.usage_in_bytes")?.saturating_add(swap);
    let both = left("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes");
    let reclaimable = reclaimable(folder, ["total_inactive_file", "total_active_file"]);
    let left = both.map_or(memory, |both| both.min(memory));
    Some(left.saturating_add(reclaimable))
}

/// What is left of a limit by the two files that say it and what is used; `None` where there is no limit.
fn left(folder: &Path, most: &str, used: &str) -> Option<u64> {
    let most = number(folder.join(most))?;
    Some(most.saturating_sub(number(folder.join(used))?))
}

/// Cached files count as used, but make room for what is allocated.
fn reclaimable(folder: &Path, keys: [&str; 2]) -> u64 {
    let stat = text(folder.join("memory.stat"));
    let of_key = |key: &str| field(&stat, key).unwrap_or(0);
    keys.into_iter().map(of_key).sum()
}

/// What a file says, or nothing.
fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number in a file; `None` where it says "max".
fn number(path: PathBuf) -> Option<u64> {
    text(path).trim().parse().ok()
}

/// The number behind a key at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut found = lines.find_map(|mut words| (words.next() == Some(key)).then_some(words))?;
    found.next()?.parse().ok()
}

/// Lines of `/proc` count in units of 1,024 bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    field(text, key).map(|count| count.saturating_mul(1024))
}
