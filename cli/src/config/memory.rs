//! How much memory the process may use, and what that makes of the defaults of everything that takes some.
//!
//! In: `/proc/meminfo` and the memory limits of the control groups the process is in (cgroup v2:
//! `memory.max`; v1: `memory.limit_in_bytes`). Out: bytes. What cannot be read counts as no limit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orlop_api::limits::Limits;

/// The default never exceeds this many bytes, however large the machine is: the operating system's
/// own cache serves the rest, and an operator who wants more can say so.
const HOT_BYTES_MAX: u64 = 1 << 30;

/// The default takes this part of the memory the process may use.
const HOT_PART: u64 = 8;

/// Uploads, readers and the index take what they take everywhere, but no more than these parts ...
const UPLOAD_PART: u64 = 8;
const READER_PART: u64 = 8;
const INDEX_PART: u64 = 16;

/// ... and not less than they can work with, in bytes.
const PART_BYTES_MIN: u64 = 8 << 20;

/// A connection that sends takes two buffers of a size that lets so many of them have a sixteenth of the
/// memory the process may use.
const SENDERS: u64 = 256;

/// There may be a connection for so many bytes of the memory the process may use: with a request under way it takes about
/// half of them. What comes at once is let in before any of it can be counted.
const CONNECTION_PART_BYTES: u64 = 64 << 10;

/// Percent of the memory the process may use, beyond which it takes no requests that bring bytes. The
/// rest is for those that were taken already, and for the kernel's buffers.
const TAKEN_PERCENT: u64 = 60;

/// The engine's defaults, as far as this machine or its container allows them.
pub fn engine_options() -> orlop_engine::Options {
    let options = orlop_engine::Options::default();
    let most = |default: usize, part: u64| default.min(bounded(available() / part));
    orlop_engine::Options {
        hot_bytes_max: hot_bytes(),
        upload_memory_bytes_max: most(options.upload_memory_bytes_max, UPLOAD_PART),
        reader_memory_bytes_max: most(options.reader_memory_bytes_max, READER_PART),
        cache_bytes: most(options.cache_bytes, INDEX_PART),
        ..options
    }
}

/// The limits' defaults, as far as this machine or its container allows them. A crowd whose bodies are refused still
/// sends what it has under way, and that comes on top of everything that was taken.
pub fn limits() -> Limits {
    let least =
        Limits::table().iter().find(|limit| limit.name == "http1_buffer_bytes_max").map_or(0, |limit| limit.min);
    let default = Limits::default();
    let buffer = (available() / 16 / SENDERS).clamp(least, default.http1_buffer_bytes_max);
    let connections = (available() / CONNECTION_PART_BYTES).clamp(1, default.connections_max);
    Limits { http1_buffer_bytes_max: buffer, connections_max: connections, ..default }
}

fn bounded(bytes: u64) -> usize {
    usize::try_from(bytes.max(PART_BYTES_MIN)).unwrap_or(usize::MAX)
}

/// Bytes in use beyond which requests that bring bytes are refused.
pub fn request_bytes_max() -> u64 {
    available() / 100 * TAKEN_PERCENT
}

/// The default of `storage.hotBytes`: an eighth of the memory the process may use, at most 1 GiB.
pub fn hot_bytes() -> usize {
    usize::try_from((available() / HOT_PART).min(HOT_BYTES_MAX)).unwrap_or(usize::MAX)
}

/// Bytes the process may use: the machine's memory or the smallest limit around it.
fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| limit(&fs::read_to_string(path).ok()?));
    limits.chain(machine).min().unwrap_or(HOT_BYTES_MAX)
}

/// `MemTotal` of `/proc/meminfo`, in bytes (proc_meminfo(5): the file says kB and means KiB).
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may limit the groups of `/proc/self/cgroup` (cgroups(7)), those around them included.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // In a container the path is the host's or "/", and the mount shows the own group at its top.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            files.push(Path::new(mount).join(group).join(file));
        }
    }
    files
}

/// Bytes, or `None` for "max".
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total("MemTotal:       24658148 kB\nMemFree: 1 kB\n"), Some(24_658_148 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(total("MemTotal: many\n"), None);
    }

    #[test]
    fn limits_of_all_groups_around_count() {
        let of = |groups| limit_files(groups).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            of("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(
            of("5:cpu,memory:/x\n4:pids:/x\n"),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert_eq!(of("nonsense"), [""; 0]);
        assert_eq!((limit("max\n"), limit("1048576\n")), (None, Some(1 << 20)));
    }

    #[test]
    fn the_default_is_bounded() {
        assert!((1..=1 << 30).contains(&hot_bytes()));
        let (options, default) = (engine_options(), orlop_engine::Options::default());
        assert!(options.upload_memory_bytes_max <= default.upload_memory_bytes_max);
        assert!(options.reader_memory_bytes_max <= default.reader_memory_bytes_max);
        assert!(options.cache_bytes <= default.cache_bytes);
        assert!((64 << 10..=Limits::default().http1_buffer_bytes_max).contains(&limits().http1_buffer_bytes_max));
        assert!((1..=Limits::default().connections_max).contains(&limits().connections_max));
        // All of them together leave room for requests.
        let moved = options.upload_memory_bytes_max + options.reader_memory_bytes_max;
        let taken = options.hot_bytes_max + moved + options.cache_bytes;
        assert!((taken as u64) < request_bytes_max(), "{taken} of {}", request_bytes_max());
    }
}
