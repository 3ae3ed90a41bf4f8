#![allow(clippy::unwrap_used)]

#[cfg(not(target_arch = "wasm32"))]
use super::room_for_threads_in;
use super::{BESIDE, FreeMemory, SMALL, check, narrowest, probe};
use crate::error::Error;
use crate::error::memory::{MACHINE, readable, remedy};

#[test]
fn what_no_machine_has_is_refused_and_what_each_has_is_not() {
    check(|| unreachable!("fits"), 0).unwrap();
    check(|| unreachable!("fits"), SMALL - 1).unwrap();
    check(|| unreachable!("fits"), 16 << 20).unwrap();
    for needed in [1 << 50, u64::MAX] {
        let error = check(|| "a matrix".to_owned(), needed).unwrap_err();
        let Error::Memory {
            what,
            needed: found,
            available,
            limit,
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((what.as_str(), *found), ("a matrix", needed));
        assert!(*available < needed && !limit.is_empty(), "{error}");
        let message = error.to_string();
        for part in [
            "a matrix needs ",
            &readable(needed),
            &readable(*available),
            limit,
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

/// If no other limit applies, the probe returns how much the allocator grants.
#[test]
fn the_probe_finds_what_the_allocator_grants() {
    assert_eq!(probe(1 << 20), None);
    let refused = probe(u64::MAX).unwrap();
    assert!(refused.bytes >= 64 << 20, "{refused:?}");
    assert!(refused.bytes < 1 << 60, "{refused:?}");
}

/// Under each limit, a small part of the memory must stay free. Under a limit of address space, the address range of a
/// heap must also stay free, if at least that many addresses are free. If fewer addresses are free than requested, but
/// the allocator can reserve the requested bytes nevertheless, the limit of address space does not apply.
#[test]
fn what_fits_is_not_refused() {
    const MIB: u64 = 1 << 20;
    let room = |bytes, is_of_addresses| FreeMemory {
        bytes,
        limit: "a limit",
        is_of_addresses,
    };
    let refused =
        |room, needed, grants: bool| narrowest(vec![room], needed, BESIDE, |_| grants).is_some();
    for (of_memory, needed, expected) in [(50, 45, false), (50, 46, true), (5000, 4900, false)] {
        let room = room(of_memory * MIB, false);
        assert_eq!(refused(room, needed * MIB, true), expected, "{needed}");
    }
    for (addresses, needed, grants, expected) in [
        (50, 46, false, false),
        (50, 47, false, true),
        (50, 47, true, false),
        (50, 1000, true, false),
        // 64 MiB for a heap and 4 MiB for other parts of the program are kept free, although the allocator would grant
        // them. From 161 MiB on, too few addresses are free, and only the allocator decides.
        (164, 96, true, false),
        (164, 97, true, true),
        (164, 160, true, true),
        (164, 161, true, false),
    ] {
        let room = room(addresses * MIB, true);
        assert_eq!(refused(room, needed * MIB, grants), expected, "{needed}");
    }
}

/// Each thread needs addresses for its stack and its heap; the thread that starts them needs addresses for a heap.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn as_many_threads_start_as_there_are_addresses_for() {
    let room = |mib: u64, is_of_addresses| FreeMemory {
        bytes: mib << 20,
        limit: "a limit",
        is_of_addresses,
    };
    let threads = |addresses, most| {
        let rooms = [room(1, false), room(addresses, true), room(100_000, true)];
        room_for_threads_in(&rooms, most)
    };
    assert_eq!(room_for_threads_in(&[room(1, false)], 64), 64);
    for (addresses, expected) in [(0, 0), (63, 0), (133, 0), (134, 1), (200, 2), (4356, 64)] {
        assert_eq!(threads(addresses, 64), expected, "{addresses} MiB");
        assert_eq!(threads(addresses, 1), expected.min(1), "{addresses} MiB");
    }
}

/// The error reports the available memory, however much was requested.
#[test]
fn little_is_kept_back_of_what_is_told() {
    const GIB: u64 = 1 << 30;
    let machine = FreeMemory {
        bytes: 22 * GIB,
        limit: MACHINE,
        is_of_addresses: false,
    };
    for needed in [23 * GIB, 1 << 50, u64::MAX] {
        let told = narrowest(vec![machine], needed, BESIDE, |_| true).unwrap();
        assert_eq!(told.bytes, 22 * GIB - 22 * GIB / 512 - BESIDE, "{needed}");
    }
}

#[test]
fn each_limit_has_its_remedy() {
    assert_eq!(remedy(MACHINE), "close other programs");
    assert_eq!(remedy("the limit of ulimit -v"), "raise that limit");
}

#[test]
fn bytes_are_readable() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (64 << 20, "67.1 MB"),
        (17_179_344_900, "17.2 GB"),
        (u64::MAX, "18446744073.7 GB"),
    ] {
        assert_eq!(readable(bytes), text);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::Path;

    use super::FreeMemory;
    use crate::memory::linux::rooms_under;

    const MEMINFO: &str =
        "MemTotal: 16000000 kB\nMemFree: 100 kB\nMemAvailable:    8000000 kB\nSwapFree: 500 kB\n";
    const MACHINE: FreeMemory = FreeMemory {
        bytes: 8_000_500 * 1024,
        limit: crate::error::memory::MACHINE,
        is_of_addresses: false,
    };

    /// The limits found on a machine on which Linux has only these files.
    fn rooms(files: &[(&str, &str)]) -> Vec<FreeMemory> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        rooms_under(folder.path())
    }

    fn bytes(rooms: &[FreeMemory]) -> Vec<u64> {
        rooms.iter().map(|room| room.bytes).collect()
    }

    #[test]
    fn a_machine_without_limits_has_its_free_memory_and_swap() {
        assert_eq!(rooms(&[]), []);
        assert_eq!(rooms(&[("proc/meminfo", MEMINFO)]), [MACHINE]);
        let unlimited = "Limit  Soft Limit  Hard Limit  Units\n\
            Max data size             unlimited            unlimited            bytes\n\
            Max address space         unlimited            unlimited            bytes\n";
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/limits", unlimited),
            ("proc/self/status", "VmSize: 100 kB\nVmData: 50 kB\n"),
            ("proc/self/cgroup", "0::/\n"),
        ];
        assert_eq!(rooms(&files), [MACHINE]);
    }

    /// Memory that the process already uses counts against its soft limits.
    #[test]
    fn limits_of_the_process() {
        let limits = "Max data size             3000000              unlimited            bytes\n\
            Max address space         1000000              9000000              bytes\n";
        let files = [
            ("proc/self/limits", limits),
            (
                "proc/self/status",
                "Name:\tx\nVmPeak:\t 999 kB\nVmSize:\t 100 kB\nVmData:\t 4000 kB\n",
            ),
        ];
        let found = rooms(&files);
        assert_eq!(bytes(&found), [1_000_000 - 102_400, 0]);
        assert!(found[0].limit.contains("ulimit -v"));
        assert!(found[1].limit.contains("ulimit -d"));
    }

    /// Each of two nested groups has its own limit. Cached files count as free, and so does swap up to the group's
    /// limit of swap.
    #[test]
    fn control_groups_of_version_2() {
        let group = |path: &str, name: &str| format!("sys/fs/cgroup/{path}{name}");
        let files = [
            ("proc/meminfo".to_owned(), MEMINFO),
            ("proc/self/cgroup".to_owned(), "0::/outer/inner\n"),
            (group("outer/inner/", "memory.max"), "max\n"),
            (group("outer/inner/", "memory.current"), "700\n"),
            (group("outer/", "memory.max"), "5000\n"),
            (group("outer/", "memory.current"), "1000\n"),
            (
                group("outer/", "memory.stat"),
                "anon 600\nfile 300\ninactive_file 100\nactive_file 200\n",
            ),
            (group("outer/", "memory.swap.max"), "40\n"),
            (group("outer/", "memory.swap.current"), "10\n"),
        ];
        let files = files.iter().map(|(path, text)| (path.as_str(), *text));
        let found = rooms(&files.collect::<Vec<_>>());
        assert_eq!(bytes(&found), [MACHINE.bytes, 4000 + 300 + 30]);
        assert!(found[1].limit.contains("control group"));
    }

    /// In a container, the process's control group is the root of the mounted tree of groups, whatever path
    /// `/proc/self/cgroup` names.
    #[test]
    fn a_group_whose_path_is_that_outside_of_the_container() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/docker-1.scope\n"),
            ("sys/fs/cgroup/memory.max", "5000\n"),
            ("sys/fs/cgroup/memory.current", "6000\n"),
        ];
        assert_eq!(bytes(&rooms(&files)), [0]);
    }

    #[test]
    fn control_groups_of_version_1() {
        let group = "sys/fs/cgroup/memory/job";
        let file = |name: &str| format!("{group}/{name}");
        let with_swap = |memory_and_swap: &'static str| {
            let files = [
                ("proc/self/cgroup".to_owned(), "5:cpu,memory:/job\n0::/\n"),
                ("proc/meminfo".to_owned(), "SwapFree: 1 kB\n"),
                (file("memory.limit_in_bytes"), "9000\n"),
                (file("memory.usage_in_bytes"), "8000\n"),
                (file("memory.memsw.limit_in_bytes"), memory_and_swap),
                (file("memory.memsw.usage_in_bytes"), "8000\n"),
                (
                    file("memory.stat"),
                    "total_inactive_file 20\ntotal_active_file 3\n",
                ),
            ];
            let files = files.iter().map(|(path, text)| (path.as_str(), *text));
            bytes(&rooms(&files.collect::<Vec<_>>()))
        };
        assert_eq!(with_swap("9223372036854771712\n"), [1000 + 1024 + 23]);
        assert_eq!(with_swap("9500\n"), [1500 + 23]);
        assert_eq!(with_swap("none\n"), [1000 + 1024 + 23]);
    }

    /// The file in which this machine's Linux reports its free memory has the expected format.
    #[test]
    fn this_machine_says_what_it_has() {
        let rooms = rooms_under(Path::new("/"));
        assert_eq!(rooms[0].limit, MACHINE.limit);
        assert!(
            (1 << 20..1 << 50).contains(&rooms[0].bytes),
            "{:?}",
            rooms[0]
        );
    }
}

#[cfg(target_os = "linux")]
mod limited;
