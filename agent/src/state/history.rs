//! The history of this device: one record for each finished attempt.
//!
//! The history is a chain of lines in two files with the same content, so that a change of one file
//! loses nothing. A record that neither file shows any more becomes a barrier: the agent does not
//! act again on a package whose records may be lost, until the publisher assigns the package again.

mod chain;
mod merge;
#[cfg(test)]
mod properties;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use packcast_protocol::state::{ActedUnder, Mandate, TargetId};
use packcast_protocol::{Outcome, PackageId, PackageName, UnixTime};
use serde::{Deserialize, Serialize};

use self::chain::{Chain, ChainEnd};
use self::merge::merge;
use crate::state::damage::{self, DamagedFile};
use crate::state::durable;
use crate::state::journal::{self, Finished, PackageLabel, StoredJournal};
use crate::state::{StateDir, StateError};

/// The limit of stored harmless attempts, and the number that is kept once there are more.
///
/// Attempts that may have changed the device are kept forever. There are no more of them than
/// entries in signed states.
const MAX_HARMLESS: usize = 2000;
const KEPT_HARMLESS: usize = 1000;

/// The finished attempts whose reports were accepted, or that another attempt replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The records in the order of the file.
    records: Vec<Record>,
    packages: BTreeMap<PackageId, PastResults>,
    /// The time of the latest barrier for all packages.
    barrier: Option<UnixTime>,
    /// The packages whose result is later than that barrier.
    lifted: BTreeSet<PackageId>,
    /// The end of both files. `None` if the files have to be written again.
    end: Option<ChainEnd>,
}

/// A record of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record {
    Finished(Box<Finished>),
    Barrier(Barrier),
}

/// A mark for lost records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Barrier {
    /// The package of the records. `None` if it is unknown: then the barrier concerns every package
    /// that was published before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    package: Option<PackageId>,
    noticed: UnixTime,
}

/// The identity of a record.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RecordKey {
    Attempt(PackageId, u32),
    Barrier(Barrier),
}

impl Record {
    const fn package(&self) -> Option<PackageId> {
        match self {
            Self::Finished(finished) => Some(finished.report.id),
            Self::Barrier(barrier) => barrier.package,
        }
    }

    fn key(&self) -> RecordKey {
        match self {
            Self::Finished(finished) => {
                let report = &finished.report;
                RecordKey::Attempt(report.id, report.attempt)
            }
            Self::Barrier(barrier) => RecordKey::Barrier(barrier.clone()),
        }
    }
}

/// The finished attempts at one package.
#[derive(Clone, Debug, Default)]
pub(crate) struct PastResults {
    attempts: BTreeMap<u32, Finished>,
    is_barred: bool,
}

impl PastResults {
    pub(crate) fn attempt(&self, attempt: u32) -> Option<&Finished> {
        self.attempts.get(&attempt)
    }

    pub(crate) fn succeeded(&self) -> bool {
        let mut finished = self.attempts.values();
        finished.any(|finished| finished.outcome == Outcome::Succeeded)
    }

    /// Returns the name and the version of the package, from its latest success.
    pub(crate) fn label_of_success(&self) -> Option<&PackageLabel> {
        let mut finished = self.attempts.values().rev();
        let success = finished.find(|finished| finished.outcome == Outcome::Succeeded);
        success.and_then(|finished| finished.package.as_ref())
    }

    /// Returns the mandates of a target that were used up.
    pub(crate) fn used_up(&self, target: TargetId) -> BTreeSet<Mandate> {
        let finished = self.attempts.values();
        let acted = finished.filter_map(|finished| finished.acted.as_ref());
        let here = acted.filter(|permission| permission.under.target == target);
        let mandates = here.flat_map(|permission| &permission.mandates);
        mandates.cloned().collect()
    }

    /// Returns `true` if records of the package may be lost, and no later result has
    /// replaced them.
    pub(crate) const fn is_barred(&self) -> bool {
        self.is_barred
    }

    pub(crate) fn insert(&mut self, finished: Finished) {
        // A result without an action does not show the mandates that the lost records used up.
        self.is_barred &= finished.acted.is_none();
        self.attempts.insert(finished.report.attempt, finished);
    }

    #[cfg(test)]
    pub(crate) fn barred() -> Self {
        Self {
            is_barred: true,
            ..Self::default()
        }
    }
}

impl History {
    /// Reads both files, without a change on disk.
    ///
    /// # Errors
    /// [`StateError::OlderHistory`]: the files have the form of an agent before the chain.
    pub(crate) fn load(state: &StateDir, now: UnixTime) -> Result<Self, StateError> {
        Ok(HistoryFiles::read(state)?.history(now).0)
    }

    /// Reads both files, and repairs them. The caller holds the lock of the state folder.
    ///
    /// Returns the damaged files, each of which stays beside the repaired one.
    pub(crate) fn open(
        state: &StateDir,
        now: UnixTime,
    ) -> Result<(Self, Vec<DamagedFile>), StateError> {
        let files = HistoryFiles::read(state)?;
        let (mut history, has_lost) = files.history(now);
        let mut damaged = Vec::new();
        for (path, bytes, chain) in &files.0 {
            if chain.is_whole() || (chain.is_only_torn() && !has_lost) {
                continue;
            }
            let kept = damage::keep_copy(path, bytes).map_err(StateError::at(path))?;
            damaged.push(DamagedFile {
                path: path.clone(),
                kept,
                effect: if has_lost {
                    "records are lost: the agent does not act again on packages whose records may be lost, until they are assigned again"
                } else {
                    "repaired from the other copy"
                },
            });
        }
        if !files.are_same() {
            history.end = None;
            history.write_files(state)?;
        }
        Ok((history, damaged))
    }

    fn of(records: Vec<Record>, end: Option<ChainEnd>) -> Self {
        let mut history = Self {
            end,
            ..Self::default()
        };
        for record in records {
            history.add(record);
        }
        history
    }

    fn add(&mut self, record: Record) {
        match &record {
            Record::Finished(finished) => {
                let id = finished.report.id;
                if finished.acted.is_some() {
                    self.lifted.insert(id);
                }
                self.packages
                    .entry(id)
                    .or_default()
                    .insert((**finished).clone());
            }
            Record::Barrier(Barrier {
                package: Some(package),
                ..
            }) => self.packages.entry(*package).or_default().is_barred = true,
            Record::Barrier(Barrier {
                package: None,
                noticed,
            }) => {
                self.barrier = self.barrier.max(Some(*noticed));
                self.lifted.clear();
            }
        }
        self.records.push(record);
    }

    /// Adds a result in memory only.
    #[cfg(test)]
    fn insert(&mut self, finished: Finished) {
        self.add(Record::Finished(Box::new(finished)));
    }

    /// Adds a result once, without the program's output; it is on disk when this returns.
    pub(crate) fn remember(
        &mut self,
        state: &StateDir,
        finished: &Finished,
    ) -> Result<(), StateError> {
        let mut kept = finished.clone();
        kept.report.output_tail = None;
        let past = self.packages.get(&kept.report.id);
        if past.is_some_and(|past| past.attempt(kept.report.attempt).is_some()) {
            return Ok(());
        }
        let record = Record::Finished(Box::new(kept));
        // On disk first, so that memory never has more than the next start would read.
        if let Some(end) = self.end.take() {
            self.end = Some(append(state, end, &record)?);
        } else {
            let mut whole = self.clone();
            whole.add(record.clone());
            whole.write_files(state)?;
            self.end = whole.end;
        }
        self.add(record);
        if self.drop_harmless(MAX_HARMLESS, KEPT_HARMLESS) {
            self.write_files(state)?;
        }
        Ok(())
    }

    /// Drops the oldest harmless attempts beyond `kept` if there are more than `max`.
    ///
    /// Returns `true` if it dropped any.
    fn drop_harmless(&mut self, max: usize, kept: usize) -> bool {
        let harmless = || self.iter().filter(|finished| finished.acted.is_none());
        if harmless().count() <= max {
            return false;
        }
        let mut harmless: Vec<(Reverse<UnixTime>, PackageId, u32)> = harmless()
            .map(|Finished { report, .. }| (Reverse(report.finished), report.id, report.attempt))
            .collect();
        harmless.sort_unstable();
        let dropped: BTreeSet<RecordKey> = harmless
            .into_iter()
            .skip(kept)
            .map(|(_, id, attempt)| RecordKey::Attempt(id, attempt))
            .collect();
        let mut records = std::mem::take(&mut self.records);
        records.retain(|record| !dropped.contains(&record.key()));
        *self = Self::of(records, None);
        true
    }

    /// Writes both files again, one after the other.
    fn write_files(&mut self, state: &StateDir) -> Result<(), StateError> {
        // Unknown until both files are written.
        self.end = None;
        let written = chain::write(&self.records).map_err(io::Error::from);
        let (bytes, end) = written.map_err(StateError::at(&state.history()))?;
        for path in paths(state) {
            durable::replace(&path, &bytes).map_err(StateError::at(&path))?;
        }
        self.end = Some(end);
        Ok(())
    }

    /// Returns the finished attempts at a package.
    pub(crate) fn past(&self, id: PackageId) -> PastResults {
        let mut past = self.packages.get(&id).cloned().unwrap_or_default();
        // The id of a package is the time of its publication, and a later package cannot be lost.
        let is_older = |noticed: UnixTime| u64::from(id.get()) <= noticed.0;
        past.is_barred |= self.barrier.is_some_and(is_older) && !self.lifted.contains(&id);
        past
    }

    /// Returns the highest id of the succeeded packages with this name.
    pub(crate) fn newest(&self, name: &PackageName) -> Option<PackageId> {
        let mut newest_first = self.iter().rev();
        newest_first.find_map(|finished| finished.success_of(name))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Finished> {
        self.packages
            .values()
            .flat_map(|past| past.attempts.values())
    }
}

/// Appends a record to both files, and returns their new end.
fn append(state: &StateDir, end: ChainEnd, record: &Record) -> Result<ChainEnd, StateError> {
    let line = end.append(record).map_err(io::Error::from);
    let (line, end) = line.map_err(StateError::at(&state.history()))?;
    for path in paths(state) {
        durable::append(&path, &line).map_err(StateError::at(&path))?;
    }
    Ok(end)
}

fn paths(state: &StateDir) -> [PathBuf; 2] {
    [state.history(), state.history_copy()]
}

/// Both files, as they are on disk.
struct HistoryFiles([(PathBuf, Vec<u8>, Chain); 2]);

impl HistoryFiles {
    fn read(state: &StateDir) -> Result<Self, StateError> {
        let [first, second] = paths(state).map(Self::read_one);
        Ok(Self([first?, second?]))
    }

    fn read_one(path: PathBuf) -> Result<(PathBuf, Vec<u8>, Chain), StateError> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StateError::at(&path)(error)),
        };
        if chain::is_of_an_older_agent(&bytes) {
            return Err(StateError::OlderHistory { path });
        }
        let chain = Chain::parse(&bytes);
        Ok((path, bytes, chain))
    }

    fn are_same(&self) -> bool {
        let [(_, first, chain), (_, second, _)] = &self.0;
        chain.is_whole() && first == second
    }

    /// Returns the history of both files, and `true` if it has lost records.
    fn history(&self, now: UnixTime) -> (History, bool) {
        let [(_, _, first), (_, _, second)] = &self.0;
        let merged = merge(first, second, now);
        let end = self.are_same().then(|| first.end());
        (History::of(merged.records, end), merged.has_lost)
    }
}

/// Returns the commits and key lists under which the device has acted, by its history and its
/// journals.
pub(crate) fn acted_under(state: &StateDir, history: &History) -> Vec<ActedUnder> {
    let acted = history
        .iter()
        .filter_map(|finished| finished.acted.as_ref());
    let of_history = acted.map(|permission| (*permission.under).clone());
    let journals = journal::read_all(state).into_values();
    let of_journals = journals.filter_map(|found| match found {
        StoredJournal::Read(journal) => journal.acted_under().cloned(),
        StoredJournal::Unreadable { .. } => None,
    });
    of_history.chain(of_journals).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use packcast_protocol::result::NamedCode;

    use super::*;
    use crate::state::journal::Permission;

    const NOW: UnixTime = UnixTime(1_795_000_900);

    fn id(n: u32) -> PackageId {
        PackageId::try_from(1_795_000_000 + n).unwrap()
    }

    fn finished(n: u32, attempt: u32, outcome: Outcome) -> Finished {
        let now = UnixTime(attempt.into());
        Finished {
            outcome,
            ..Finished::concluded(id(n), attempt, NamedCode::Execute, "", now)
        }
    }

    fn state(dir: &Path) -> StateDir {
        StateDir::open(&dir.join("state")).unwrap()
    }

    fn open(state: &StateDir) -> (History, Vec<DamagedFile>) {
        History::open(state, NOW).unwrap()
    }

    #[test]
    fn an_attempt_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let mut history = History::default();
        for _ in 0..2 {
            let finished = finished(0, 1, Outcome::Failed);
            history.remember(&state, &finished).unwrap();
        }
        for path in paths(&state) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), 1);
        }
    }

    #[test]
    fn a_failed_write_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let mut history = History::default();
        let remember =
            |history: &mut History, n| history.remember(&state, &finished(n, 1, Outcome::Failed));
        remember(&mut history, 0).unwrap();
        // A folder in the place of the second file.
        std::fs::remove_file(state.history_copy()).unwrap();
        std::fs::create_dir(state.history_copy()).unwrap();
        assert!(remember(&mut history, 1).is_err());
        assert_eq!(history.iter().count(), 1);
        std::fs::remove_dir(state.history_copy()).unwrap();
        remember(&mut history, 1).unwrap();
        remember(&mut history, 2).unwrap();
        let (read, damaged) = open(&state);
        assert_eq!((read.iter().count(), damaged), (3, Vec::new()));
        let [first, second] = paths(&state).map(|path| std::fs::read(path).unwrap());
        assert_eq!(first, second);
    }

    #[test]
    fn a_history_of_an_older_agent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let json = "{\"report\":{}}";
        let line = format!(
            "{} {json}\n",
            packcast_protocol::Sha256Digest::of(json.as_bytes())
        );
        std::fs::write(state.history(), line).unwrap();
        let refused = History::open(&state, NOW);
        assert!(matches!(refused, Err(StateError::OlderHistory { .. })));
    }

    #[test]
    fn a_reset_clock_does_not_weaken_a_barrier() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let (mut history, _) = open(&state);
        for n in [3, 5] {
            let acted = Finished {
                acted: Some(Permission::of_all(1)),
                ..finished(n, 1, Outcome::Failed)
            };
            history.remember(&state, &acted).unwrap();
        }
        for path in paths(&state) {
            let whole = std::fs::read(&path).unwrap();
            let end = whole.iter().position(|byte| *byte == b'\n').unwrap();
            std::fs::write(&path, [&[0; 9], &whole[end..]].concat()).unwrap();
        }
        let (history, damaged) = History::open(&state, UnixTime(0)).unwrap();
        assert_eq!(damaged.len(), 2);
        let barred = (0..8).filter(|n| history.past(id(*n)).is_barred());
        assert_eq!(barred.collect::<Vec<u32>>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_barrier_for_all_packages_ends_with_their_next_result_or_with_later_packages() {
        let barrier = |package| {
            Record::Barrier(Barrier {
                package,
                noticed: UnixTime(u64::from(id(5).get())),
            })
        };
        let acted = |n, attempt| {
            Record::Finished(Box::new(Finished {
                acted: Some(Permission::of_all(1)),
                ..finished(n, attempt, Outcome::Failed)
            }))
        };
        let barred = |records: &[Record]| {
            let history = History::of(records.to_vec(), None);
            let barred = (0..8).filter(|n| history.past(id(*n)).is_barred());
            barred.collect::<Vec<u32>>()
        };
        let harmless = Record::Finished(Box::new(finished(2, 2, Outcome::Failed)));
        assert_eq!(barred(&[acted(1, 1), barrier(None)]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(
            barred(&[barrier(None), acted(1, 1), harmless.clone()]),
            [0, 2, 3, 4, 5]
        );
        assert_eq!(barred(&[barrier(Some(id(2))), harmless]), [2]);
        assert_eq!(barred(&[barrier(Some(id(2))), acted(2, 3)]), [] as [u32; 0]);
    }

    #[test]
    fn only_harmless_attempts_are_dropped_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let mut history = History::default();
        for attempt in 1..=9 {
            history.insert(finished(0, attempt, Outcome::Failed));
        }
        let refused = Finished {
            package: Some(PackageLabel {
                name: "vlc".parse().unwrap(),
                version: "3.0".parse().unwrap(),
            }),
            ..finished(0, 1, Outcome::Failed)
        };
        history.insert(refused);
        for n in 1..=2 {
            history.insert(Finished {
                acted: Some(Permission::of_all(1)),
                ..finished(n, 1, Outcome::Failed)
            });
        }
        assert!(!history.drop_harmless(9, 3));
        assert!(history.drop_harmless(8, 3));
        history.write_files(&state).unwrap();
        let history = History::load(&state, NOW).unwrap();
        let kept: Vec<(u32, u32)> = history
            .iter()
            .map(|Finished { report, .. }| (report.id.get() % 10, report.attempt))
            .collect();
        assert_eq!(kept, [(0, 7), (0, 8), (0, 9), (1, 1), (2, 1)]);
    }
}
