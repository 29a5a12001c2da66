//! Processor time of running processes, as counted by the system.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// The part of `/proc/<id>/stat` that is needed here.
#[derive(Debug, PartialEq, Eq)]
struct ProcessUsage {
    parent: u32,
    /// In clock ticks, with the time of children that have ended.
    ticks: u64,
}

/// Returns the processor time of these processes and all their descendants up to now.
///
/// Meant for servers, whose processes run on or are reaped: the time of orphans is missing.
pub fn used_by(roots: &[u32]) -> Duration {
    let usages = usages();
    let is_counted = |id: &u32| ancestors(*id, &usages).any(|id| roots.contains(&id));
    let counted = usages.iter().filter(|(id, _)| is_counted(id));
    let ticks: u64 = counted.map(|(_, usage)| usage.ticks).sum();
    Duration::from_millis(ticks * 1000 / clock_ticks_per_second())
}

/// Returns a process, its parent, and so on.
fn ancestors(id: u32, usages: &HashMap<u32, ProcessUsage>) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(id), |id| usages.get(id).map(|usage| usage.parent))
}

fn usages() -> HashMap<u32, ProcessUsage> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| {
        // A process that has just ended is counted with its parent.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Some((id, usage(&stat).expect("the format of proc(5)")))
    })
    .collect()
}

/// Parses `/proc/<id>/stat`; its second field is a name in parentheses with any characters.
fn usage(stat: &str) -> Option<ProcessUsage> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // utime, stime, cutime and cstime: fields 14 to 17 of the whole line.
    let times = fields.get(11..15)?;
    Some(ProcessUsage {
        parent: fields.get(1)?.parse().ok()?,
        ticks: times
            .iter()
            .map(|time| time.parse::<u64>().ok())
            .sum::<Option<u64>>()?,
    })
}
