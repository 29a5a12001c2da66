//! The history of this device: one line for each finished attempt.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use packcast_protocol::{Outcome, PackageId, PackageName, UnixTime};

use crate::state::StateError;
use crate::state::journal::Finished;
use crate::trust::mandates::Mandate;
use crate::{state::checked_line, state::durable};

/// The limit of stored harmless attempts, and the number that is kept once there are more.
///
/// Attempts that may have changed the device are kept forever. There are no more of them than
/// signed assignments.
const MAX_HARMLESS: usize = 2000;
const KEPT_HARMLESS: usize = 1000;

/// The finished attempts whose reports were accepted, or that another attempt replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(BTreeMap<PackageId, PastResults>);

/// The finished attempts at one package.
#[derive(Clone, Debug, Default)]
pub(crate) struct PastResults(BTreeMap<u32, Finished>);

impl PastResults {
    pub(crate) fn attempt(&self, attempt: u32) -> Option<&Finished> {
        self.0.get(&attempt)
    }

    pub(crate) fn succeeded(&self) -> bool {
        let mut finished = self.0.values();
        finished.any(|finished| finished.outcome == Outcome::Succeeded)
    }

    /// Returns the assignments that were used up.
    pub(crate) fn acted_on(&self) -> BTreeSet<Mandate> {
        let by = self.0.values().flat_map(|finished| &finished.by);
        by.cloned().collect()
    }

    pub(crate) fn insert(&mut self, finished: Finished) {
        self.0.insert(finished.report.attempt, finished);
    }
}

impl History {
    pub(crate) fn load(path: &Path) -> Result<Self, StateError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StateError::at(path)(error)),
        }
    }

    /// Parses lines. Damaged lines, such as a torn last line, are skipped.
    fn parse(bytes: &[u8]) -> Self {
        let mut history = Self::default();
        for (line, n) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1..) {
            match checked_line::read::<Finished>(line) {
                Ok(finished) => history.insert(finished),
                Err(error) => {
                    tracing::error!(line = n, %error, "skipped a damaged line of the history");
                }
            }
        }
        history
    }

    pub(crate) fn insert(&mut self, finished: Finished) {
        let package = self.0.entry(finished.report.id).or_default();
        package.insert(finished);
    }

    /// Adds a result once, without the program's output; it is on disk when this returns.
    pub(crate) fn remember(&mut self, path: &Path, finished: &Finished) -> Result<(), StateError> {
        let mut kept = finished.clone();
        kept.report.output_tail = None;
        let past = self.0.get(&kept.report.id);
        if past.is_some_and(|past| past.attempt(kept.report.attempt).is_some()) {
            return Ok(());
        }
        let line = checked_line::line(&kept).map_err(io::Error::from);
        // On disk first, so that memory never has more than the next start would read.
        line.and_then(|line| durable::append(path, &line))
            .map_err(StateError::at(path))?;
        self.insert(kept);
        if self.drop_harmless(MAX_HARMLESS, KEPT_HARMLESS) {
            self.rewrite(path).map_err(StateError::at(path))?;
        }
        Ok(())
    }

    /// Drops the oldest harmless attempts beyond `kept` if there are more than `max`.
    ///
    /// Returns `true` if it dropped any.
    fn drop_harmless(&mut self, max: usize, kept: usize) -> bool {
        let harmless = self.iter().filter(|finished| is_harmless(finished));
        let mut harmless: Vec<(Reverse<UnixTime>, PackageId, u32)> = harmless
            .map(|Finished { report, .. }| (Reverse(report.finished), report.id, report.attempt))
            .collect();
        if harmless.len() <= max {
            return false;
        }
        harmless.sort_unstable();
        let dropped: BTreeSet<(PackageId, u32)> = harmless
            .into_iter()
            .skip(kept)
            .map(|(_, id, attempt)| (id, attempt))
            .collect();
        self.0.retain(|id, past| {
            past.0
                .retain(|attempt, _| !dropped.contains(&(*id, *attempt)));
            !past.0.is_empty()
        });
        true
    }

    fn rewrite(&self, path: &Path) -> io::Result<()> {
        let lines: Result<Vec<Vec<u8>>, _> = self.iter().map(checked_line::line).collect();
        durable::replace(path, &lines?.concat())
    }

    /// Returns the finished attempts at a package.
    pub(crate) fn past(&self, id: PackageId) -> PastResults {
        self.0.get(&id).cloned().unwrap_or_default()
    }

    /// Returns the highest id of the succeeded packages with this name.
    pub(crate) fn newest(&self, name: &PackageName) -> Option<PackageId> {
        let named = |finished: &&Finished| {
            finished.outcome == Outcome::Succeeded
                && finished.package.as_ref().is_some_and(|p| p.name == *name)
        };
        let newest = self.iter().rfind(named);
        newest.map(|finished| finished.report.id)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Finished> {
        self.0.values().flat_map(|past| past.0.values())
    }
}

/// Returns `true` if the attempt reached its result without changing the device.
fn is_harmless(finished: &Finished) -> bool {
    !finished.acted && finished.by.is_empty()
}

#[cfg(test)]
mod tests {
    use packcast_protocol::result::NamedCode;

    use super::*;
    use crate::state::journal::PackageLabel;

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

    #[test]
    fn a_damaged_line_is_skipped_and_the_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mut history = History::default();
        for n in 0..2 {
            let finished = finished(n, 1, Outcome::Failed);
            history.remember(&path, &finished).unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        for at in 0..end {
            bytes[at] ^= 1;
            let read = History::parse(&bytes);
            let ids: Vec<PackageId> = read.iter().map(|finished| finished.report.id).collect();
            assert_eq!(ids, [id(1)], "{at}");
            bytes[at] ^= 1;
        }
        bytes.extend_from_slice(b"{\"report\":{\"id\":\"17");
        std::fs::write(&path, bytes).unwrap();
        let finished = finished(2, 1, Outcome::Succeeded);
        history.remember(&path, &finished).unwrap();
        let history = History::load(&path).unwrap();
        assert_eq!(history.iter().count(), 3);
        assert!(!history.past(id(0)).succeeded());
        assert!(history.past(id(2)).succeeded());
    }

    #[test]
    fn an_attempt_is_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mut history = History::default();
        for _ in 0..2 {
            let finished = finished(0, 1, Outcome::Failed);
            history.remember(&path, &finished).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn only_harmless_attempts_are_dropped_the_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
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
                acted: true,
                ..finished(n, 1, Outcome::Failed)
            });
        }
        assert!(!history.drop_harmless(9, 3));
        assert!(history.drop_harmless(8, 3));
        history.rewrite(&path).unwrap();
        let history = History::load(&path).unwrap();
        let kept: Vec<(u32, u32)> = history
            .iter()
            .map(|Finished { report, .. }| (report.id.get() % 10, report.attempt))
            .collect();
        assert_eq!(kept, [(0, 7), (0, 8), (0, 9), (1, 1), (2, 1)]);
    }
}
