//! What this device has done: one line for each finished attempt.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use packcast_protocol::{Outcome, PackageId, PackageName};

use crate::journal::Finished;
use crate::state::StateError;

/// The finished attempts whose reports were accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(BTreeMap<(PackageId, u32), Finished>);

impl History {
    pub(crate) fn load(path: &Path) -> Result<Self, StateError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StateError::at(path)(error)),
        }
    }

    /// Reads lines; those that do not read, such as a torn last one, are left out.
    fn parse(bytes: &[u8]) -> Self {
        let mut history = Self::default();
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice::<Finished>(line) {
                Ok(finished) => history.insert(finished),
                Err(error) => tracing::warn!(%error, "a line of the history does not read"),
            }
        }
        history
    }

    pub(crate) fn insert(&mut self, finished: Finished) {
        let key = (finished.report.id, finished.report.attempt);
        self.0.insert(key, finished);
    }

    pub(crate) fn attempt(&self, id: PackageId, attempt: u32) -> Option<&Finished> {
        self.0.get(&(id, attempt))
    }

    pub(crate) fn succeeded(&self, id: PackageId) -> bool {
        self.0
            .range((id, 0)..=(id, u32::MAX))
            .any(|(_, finished)| finished.outcome == Outcome::Succeeded)
    }

    /// Returns the package with the highest id of those of a name that succeeded.
    pub(crate) fn newest(&self, name: &PackageName) -> Option<PackageId> {
        let named = |finished: &&Finished| {
            finished.outcome == Outcome::Succeeded
                && finished.package.as_ref().is_some_and(|p| p.name == *name)
        };
        let newest = self.iter().rfind(named);
        newest.map(|finished| finished.report.id)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Finished> {
        self.0.values()
    }
}

/// Adds a line; it is on disk when this returns. The program's output is not kept.
pub(crate) fn append(path: &Path, finished: &Finished) -> Result<(), StateError> {
    let mut kept = finished.clone();
    kept.report.output_tail = None;
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        let mut line = Vec::new();
        if is_torn(&mut file)? {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, &kept)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()
    };
    write().map_err(StateError::at(path))
}

/// Whether the last line has no end.
fn is_torn(file: &mut std::fs::File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::Report;
    use packcast_protocol::{ResultCode, UnixTime};

    use super::*;

    fn finished(id: u32, attempt: u32, outcome: Outcome) -> Finished {
        Finished {
            report: Report {
                id: PackageId::try_from(id).unwrap(),
                attempt,
                code: ResultCode::Exited(0),
                detail: None,
                output_tail: None,
                finished: UnixTime(1),
            },
            outcome,
            package: None,
        }
    }

    #[test]
    fn a_torn_last_line_loses_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        append(&path, &finished(1_795_000_000, 1, Outcome::Failed)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"report\":{\"id\":\"17");
        std::fs::write(&path, bytes).unwrap();
        append(&path, &finished(1_795_000_001, 1, Outcome::Succeeded)).unwrap();
        let history = History::load(&path).unwrap();
        assert_eq!(history.iter().count(), 2);
        assert!(!history.succeeded(PackageId::try_from(1_795_000_000).unwrap()));
        assert!(history.succeeded(PackageId::try_from(1_795_000_001).unwrap()));
    }

    #[test]
    fn an_attempt_is_kept_once() {
        let mut history = History::default();
        for _ in 0..2 {
            history.insert(finished(1_795_000_000, 1, Outcome::Failed));
        }
        assert_eq!(history.iter().count(), 1);
    }
}
