//! The calendars of a device: the rollouts that its entries name.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::super::survey::Survey;
use super::Waiting;
use crate::causes::with_causes;
use crate::device::{AgentId, DeviceId};
use crate::group::GroupName;
use crate::state::document::{RolloutDocument, StateEntry};
use crate::state::name::{LeafName, RolloutId};
use crate::time::UnixTime;

/// The rollouts of a whole state at one time.
///
/// A rollout only restricts its own entries, so a lacking or unreadable document makes only these
/// entries wait.
#[derive(Debug)]
pub(super) struct HeldRollouts {
    documents: BTreeMap<RolloutId, RolloutDocument>,
    /// Rollouts that the state does not have.
    absent: BTreeSet<RolloutId>,
    /// Rollouts with an unreadable document, each with the error.
    unreadable: BTreeMap<RolloutId, String>,
    /// Number of the commit.
    number: u64,
    now: UnixTime,
}

impl HeldRollouts {
    /// Takes the rollouts from a survey. `now` is the time by the rules of a state.
    pub(super) fn of(survey: &mut Survey, number: u64, now: UnixTime) -> Self {
        let unreadable = mem::take(&mut survey.unreadable_rollouts).into_iter();
        Self {
            documents: mem::take(&mut survey.rollouts),
            absent: mem::take(&mut survey.absent_rollouts),
            unreadable: unreadable
                .map(|(rollout, error)| (rollout, with_causes(&error)))
                .collect(),
            number,
            now,
        }
    }

    /// Checks that an entry which names a rollout lets the device begin. `owners` are the groups whose
    /// document has the entry, and `groups` all groups of the device.
    ///
    /// The document must be for this entry: otherwise the owner of the records could choose among the
    /// calendars of several rollouts.
    ///
    /// # Errors
    /// The error is the reason to wait.
    pub(super) fn check<'a>(
        &self,
        rollout: RolloutId,
        entry: &StateEntry,
        mut owners: impl Iterator<Item = &'a GroupName>,
        device: &AgentId,
        groups: &BTreeSet<GroupName>,
    ) -> Result<(), Waiting> {
        let document = self.document(rollout)?;
        let is_for_entry = document.package == entry.package
            && document.manifest == entry.manifest
            && owners.any(|group| document.groups.as_set().contains(group));
        let wave = document.wave_of(&DeviceId::Agent(device.clone()), groups);
        let Some(wave) = wave.filter(|_| is_for_entry) else {
            let number = self.number;
            return Err(Waiting::OtherRollout { number, rollout });
        };
        match document.opens(wave) {
            Some(opens) if opens <= self.now => Ok(()),
            Some(opens) => Err(Waiting::WaveNotOpen {
                rollout,
                wave,
                opens,
                now: self.now,
            }),
            None => Err(Waiting::WaveClosed { rollout, wave }),
        }
    }

    fn document(&self, rollout: RolloutId) -> Result<&RolloutDocument, Waiting> {
        if let Some(document) = self.documents.get(&rollout) {
            return Ok(document);
        }
        let number = self.number;
        Err(if let Some(detail) = self.unreadable.get(&rollout) {
            let detail = detail.clone();
            Waiting::UnreadableRollout {
                number,
                rollout,
                detail,
            }
        } else if self.absent.contains(&rollout) {
            Waiting::NoRollout { number, rollout }
        } else {
            let names = [LeafName::Rollout(rollout)].into();
            Waiting::Lacks { number, names }
        })
    }
}
