//! The history that two copies of its file show together.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use packcast_protocol::{PackageId, UnixTime};

use super::chain::{Chain, DamagedLine};
use super::{Barrier, Record};

/// The records of both copies.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) records: Vec<Record>,
    /// `true` if records were lost, so that barriers stand for them.
    pub(super) has_lost: bool,
}

/// Merges two copies. A record that one of them has is not lost.
///
/// The agent appends each line to the first copy, and then to the second. So after a crash, the
/// first copy has one line more, or a torn one.
pub(super) fn merge(first: &Chain, second: &Chain, now: UnixTime) -> Merged {
    let mut chains = [first, second];
    // The longer copy knows the order of the records, but a copy with damage does not count.
    chains.sort_by_key(|chain| (!chain.is_whole(), Reverse(chain.last_number())));
    let mut seen = BTreeSet::new();
    let all = chains.into_iter().flat_map(|chain| chain.records.values());
    let mut records: Vec<Record> = all
        .filter(|record| seen.insert(record.key()))
        .cloned()
        .collect();
    // A clock that was reset must not make the lost packages look later than the barrier.
    let ids = records.iter().filter_map(Record::package);
    let noticed = ids.map(|id| UnixTime(id.get().into())).max().max(Some(now));
    let barriers = barriers(first, second, noticed.unwrap_or(now));
    let has_lost = !barriers.is_empty();
    // At the end, so that no earlier record lifts them.
    records.extend(barriers.into_iter().map(Record::Barrier));
    Merged { records, has_lost }
}

/// Returns the barriers for the records that neither copy shows.
fn barriers(first: &Chain, second: &Chain, noticed: UnixTime) -> Vec<Barrier> {
    let lost = lost_lines(first, second);
    if lost == 0 {
        return Vec::new();
    }
    let damaged = || [first, second].into_iter().flat_map(|chain| &chain.damaged);
    let packages: BTreeSet<PackageId> = damaged()
        .flat_map(|line| line.owners.iter().flatten())
        .copied()
        .collect();
    let named = |chain: &Chain| chain.damaged.iter().map(DamagedLine::lines).sum::<u64>();
    let is_explained = named(first).max(named(second)) >= lost;
    let all = (!is_explained).then_some(Barrier {
        package: None,
        noticed,
    });
    let of_packages = packages.into_iter().map(|package| Barrier {
        package: Some(package),
        noticed,
    });
    of_packages.chain(all).collect()
}

/// Returns the number of lines that neither copy shows, at least.
fn lost_lines(first: &Chain, second: &Chain) -> u64 {
    match (first.is_whole(), second.is_whole()) {
        // One of them is shorter, or was rewritten without the harmless attempts.
        (true, true) => 0,
        // The append did not reach the second copy, so the journal still has the record.
        (false, true) if is_cut_append(first, second) => 0,
        (true, false) => lines_beyond(first, second),
        (false, true) => lines_beyond(second, first),
        (false, false) => lost_in_both(first, second),
    }
}

fn is_cut_append(torn: &Chain, whole: &Chain) -> bool {
    torn.is_only_torn() && torn.last_number() == whole.last_number() && agree(torn, whole)
}

/// Returns the number of lines that a damaged copy has after the last line of the whole copy.
fn lines_beyond(whole: &Chain, damaged: &Chain) -> u64 {
    if damaged.is_broken || !agree(whole, damaged) {
        return u64::MAX;
    }
    let last = damaged.last_number();
    let tail: Vec<&DamagedLine> = damaged
        .damaged
        .iter()
        .filter(|line| line.after == last)
        .collect();
    let named: u64 = tail.iter().map(|line| line.lines()).sum();
    let reach = last + named.max(u64::from(!tail.is_empty()));
    reach.saturating_sub(whole.last_number())
}

fn lost_in_both(first: &Chain, second: &Chain) -> u64 {
    if first.is_broken || second.is_broken || !agree(first, second) {
        return u64::MAX;
    }
    // A part without a package may be a line, or the end of one.
    let lines = |chain: &Chain| {
        let damaged = chain.damaged.iter().map(|line| line.lines().max(1));
        chain.records.len() as u64 + damaged.sum::<u64>()
    };
    let reach = |chain: &Chain| chain.last_number().max(lines(chain));
    let numbers = |chain: &Chain| chain.records.keys().copied().collect::<BTreeSet<u64>>();
    let known = numbers(first).union(&numbers(second)).count() as u64;
    reach(first).max(reach(second)) - known
}

/// Returns `true` if the lines with the same number are the same.
///
/// Otherwise the numbers do not count the lines of one history, and any record may be lost.
fn agree(first: &Chain, second: &Chain) -> bool {
    first.records.iter().all(|(number, record)| {
        let other = second.records.get(number);
        other.is_none_or(|other| other == record)
    })
}
