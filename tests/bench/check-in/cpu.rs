//! Processor time, as the system counts it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// What `/proc` says of one process.
#[derive(Debug, PartialEq, Eq)]
struct Usage {
    parent: u32,
    /// In clock ticks; of children only those that have ended.
    ticks: u64,
}

/// Returns what these processes and all that they have started have used up to now.
///
/// Meant for servers, whose processes stay or are waited for: of one that a child of theirs
/// started and left behind nothing is known.
pub(crate) fn used_by(roots: &[u32]) -> Duration {
    let usages = usages();
    let is_ours = |id: &u32| ancestors(*id, &usages).any(|id| roots.contains(&id));
    let ours = usages.iter().filter(|(id, _)| is_ours(id));
    let ticks: u64 = ours.map(|(_, usage)| usage.ticks).sum();
    Duration::from_millis(ticks * 1000 / clock_ticks_per_second())
}

/// Returns a process, its parent, and so on.
fn ancestors(id: u32, usages: &HashMap<u32, Usage>) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(id), |id| usages.get(id).map(|usage| usage.parent))
}

fn usages() -> HashMap<u32, Usage> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| {
        // One that has just ended is with its parent's.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Some((id, usage(&stat).expect("/proc is as proc(5) says")))
    })
    .collect()
}

/// Reads a line of `/proc/<id>/stat`, whose second field is a name that may hold anything.
fn usage(stat: &str) -> Option<Usage> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // utime, stime, cutime and cstime: fields 14 to 17 of the whole line.
    let times = fields.get(11..15)?;
    Some(Usage {
        parent: fields.get(1)?.parse().ok()?,
        ticks: times
            .iter()
            .map(|time| time.parse::<u64>().ok())
            .sum::<Option<u64>>()?,
    })
}
