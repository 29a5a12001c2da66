//! The signed state that the agent follows, in memory and in files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::api::Task;
use packcast_protocol::state::exchange::MAX_LACKING;
use packcast_protocol::state::{
    ActedUnder, HeldState, Refusal, StateText, TargetId, TrustedRoots, VerifiedState,
};
use packcast_protocol::{AgentId, LocationName, UnixTime};

use super::files::{TargetStateError, TargetStateFiles};
use super::permits::{ManifestFacts, Permits};
use crate::clock::BEFORE_BUILD;
use crate::state::damage::DamagedFile;
use crate::state::{StateDir, StateError, checked_file};

/// The state of one target, which is on disk as it is in memory.
#[derive(Debug)]
pub(crate) struct FollowedState {
    files: TargetStateFiles,
    /// The state without parts, for this device and its configuration.
    empty: VerifiedState,
    state: Arc<VerifiedState>,
    /// The locations that the tasks of the last reply name.
    locations: BTreeSet<LocationName>,
}

/// A state that was read at the start of the agent.
#[derive(Debug)]
pub(crate) struct OpenedState {
    pub(crate) followed: FollowedState,
    pub(crate) damaged: Vec<DamagedFile>,
    /// Stored parts that do not verify any more.
    pub(crate) discarded: Vec<Refusal>,
    /// The target that the agent followed before, if it is another one.
    pub(crate) other: Option<OtherTarget>,
}

/// A change of the target that the agent follows. The state of the target before is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherTarget {
    pub(crate) before: TargetId,
    pub(crate) target: TargetId,
    /// The folder with the state of the target before.
    pub(crate) kept: PathBuf,
}

/// The effect of a reply on the state.
#[derive(Debug, Default)]
pub(crate) struct StateProgress {
    /// The serial number of a newly followed key list.
    pub(crate) list: Option<u64>,
    /// The number of a newly held commit.
    pub(crate) commit: Option<u64>,
    pub(crate) refused: Vec<Refusal>,
    /// `true` if the reply says that more documents follow.
    pub(crate) more: bool,
}

impl FollowedState {
    /// Reads the state of a target, without a change on disk.
    pub(crate) fn read(
        dir: &StateDir,
        trust: &TrustedRoots,
        device: AgentId,
        acted: impl IntoIterator<Item = ActedUnder>,
    ) -> Result<VerifiedState, TargetStateError> {
        let files = TargetStateFiles::new(&dir.target_state(trust.target()));
        files.read(Self::empty(trust, device, acted))
    }

    /// Reads the state of a target, and repairs its files. The caller holds the lock of the state
    /// folder.
    ///
    /// Each target has a folder of its own, so the state of another target stays as it is.
    pub(crate) fn open(
        dir: &StateDir,
        trust: &TrustedRoots,
        device: AgentId,
        acted: impl IntoIterator<Item = ActedUnder>,
    ) -> Result<OpenedState, TargetStateError> {
        let target = trust.target();
        let files = TargetStateFiles::new(&dir.target_state(target));
        let empty = Self::empty(trust, device, acted);
        let loaded = files.load(empty.clone())?;
        let of_state = loaded.damaged.map(|kept| DamagedFile {
            path: files.state_path(),
            kept,
            effect: "no package begins before the next check-ins have brought the state again",
        });
        let (other, of_target) = other_target(dir, target).map_err(TargetStateError)?;
        Ok(OpenedState {
            followed: Self {
                files,
                empty,
                state: Arc::new(loaded.state),
                locations: BTreeSet::new(),
            },
            damaged: of_state.into_iter().chain(of_target).collect(),
            discarded: loaded.discarded,
            other,
        })
    }

    fn empty(
        trust: &TrustedRoots,
        device: AgentId,
        acted: impl IntoIterator<Item = ActedUnder>,
    ) -> VerifiedState {
        VerifiedState::new(device, trust.clone(), BEFORE_BUILD, acted)
    }

    /// Stores the target as the one that the agent follows. It is on disk when this returns.
    pub(crate) fn store_target(&self, dir: &StateDir) -> Result<(), StateError> {
        let (path, target) = (dir.target(), self.state.chain().target());
        let stored = checked_file::read::<TargetId>(&path)?;
        if stored.is_some_and(|file| file.value == Some(target)) {
            return Ok(());
        }
        checked_file::replace(&path, &target)
    }

    /// Returns the present time for the state: the clock's, unless the state shows a later one.
    pub(crate) fn time(&self, clock: UnixTime) -> UnixTime {
        self.state.time(clock)
    }

    /// Returns a time that has passed, for a device with a wrong clock.
    pub(crate) fn known_time(&self) -> UnixTime {
        self.time(UnixTime(0))
    }

    /// Returns the summary for a check-in.
    pub(crate) fn summary(&self) -> HeldState {
        self.state.summary(&self.locations)
    }

    /// Accepts the state of a reply, and stores it.
    ///
    /// # Errors
    /// The state cannot be stored. The agent then follows the state that is on disk, and nothing
    /// begins if that is unreadable, too.
    pub(crate) fn accept(
        &mut self,
        text: Option<&StateText>,
        tasks: &[Task],
    ) -> Result<StateProgress, TargetStateError> {
        let names = tasks.iter().flat_map(|task| &task.locations);
        self.locations = names.take(MAX_LACKING).cloned().collect();
        let Some(text) = text else {
            return Ok(StateProgress::default());
        };
        let (list, commit) = (self.state.chain().serial(), self.number());
        let accepted = Arc::make_mut(&mut self.state).accept(text, &self.locations);
        let changes = TargetStateFiles::changes(&self.state, &accepted);
        let stored = changes
            .iter()
            .try_for_each(|change| self.files.perform(change));
        if let Err(error) = stored {
            // The agent must not act on a state that it would not have after a restart.
            self.state = Arc::new(self.empty.clone());
            self.state = Arc::new(self.files.load(self.empty.clone())?.state);
            return Err(error);
        }
        let new_list = self.state.chain().serial();
        Ok(StateProgress {
            list: (new_list != list).then_some(new_list),
            commit: self.number().filter(|_| self.number() != commit),
            refused: accepted.refused,
            more: accepted.more,
        })
    }

    fn number(&self) -> Option<u64> {
        self.state.commit().map(|commit| commit.id().number)
    }

    /// Returns `true` if the device asks again at once for the rest of the state.
    ///
    /// `before` is the summary in the last request, and `asked` the number of successive check-ins.
    pub(crate) fn asks_again(&self, before: &HeldState, asked: u32, more: bool) -> bool {
        // The same question would get the same answer.
        let is_other = self.summary() != *before;
        is_other
            && self
                .state
                .completeness(&self.locations)
                .asks_again(asked, more)
    }

    /// Returns the permits for a package. The mandates in them are those of the present state.
    ///
    /// `locations` are the named locations of its task; none if nothing is left to fetch. `manifest`
    /// is `None` while the manifest is not verified yet.
    pub(crate) fn permits(
        &self,
        locations: &[LocationName],
        manifest: Option<ManifestFacts>,
        clock: UnixTime,
    ) -> Permits {
        Permits {
            state: Arc::clone(&self.state),
            locations: locations.iter().cloned().collect(),
            manifest,
            clock,
        }
    }
}

/// Returns the target that the agent followed before, if it is another one, and a damaged file.
///
/// A damaged file only loses this report: the states of all targets are in their own folders.
fn other_target(
    dir: &StateDir,
    target: TargetId,
) -> Result<(Option<OtherTarget>, Option<DamagedFile>), StateError> {
    let path = dir.target();
    let Some(file) = checked_file::read::<TargetId>(&path)? else {
        return Ok((None, None));
    };
    let Some(before) = file.value else {
        let effect = "a change of the target since the last start is not reported";
        return Ok((None, Some(file.move_aside(&path, effect)?)));
    };
    let other = (before != target).then(|| OtherTarget {
        before,
        target,
        kept: dir.target_state(before),
    });
    Ok((other, None))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::target_state::test_state::{device, trust, whole_state};

    fn open(dir: &StateDir) -> FollowedState {
        FollowedState::open(dir, &trust(), device(), [])
            .unwrap()
            .followed
    }

    /// A state that cannot be stored is not followed, and the next reply brings it again.
    #[test]
    fn a_state_that_is_not_on_disk_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("state")).unwrap();
        let files = dir.target_state(trust().target());
        let text = whole_state(None);
        let document = text.parse().unwrap().documents[0].digest();
        // A folder in the place of a file.
        for name in [format!("document-{document}"), "state".to_owned()] {
            let mut followed = open(&dir);
            let none = followed.summary();
            fs::create_dir_all(files.join(&name)).unwrap();
            assert!(followed.accept(Some(&text), &[]).is_err(), "{name}");
            assert_eq!(followed.summary(), none, "{name}");
            fs::remove_dir(files.join(&name)).unwrap();
            assert_eq!(open(&dir).summary(), none, "{name}");
        }
        let mut followed = open(&dir);
        let before = followed.summary();
        let progress = followed.accept(Some(&text), &[]).unwrap();
        assert_eq!(progress.list, Some(1));
        assert!(progress.commit.is_some() && progress.refused.is_empty());
        assert_eq!(open(&dir).state, followed.state);
        assert!(
            !followed.asks_again(&before, 1, false),
            "nothing is lacking"
        );
        assert!(followed.asks_again(&before, 1, true));
        assert!(!followed.asks_again(&followed.summary(), 1, true));
        assert!(!followed.asks_again(&before, 20, true));
    }
}
