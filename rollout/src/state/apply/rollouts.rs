//! Changes of rollouts: their calendars, and the entries that name them.
//!
//! The document of a rollout exists until the rollout is ended or finished. If all its entries were
//! unassigned, the next rollout of the package replaces it.

use packcast_protocol::UnixTime;
use packcast_protocol::state::{LeafName, RolloutDocument, RolloutId, StateEntry, WaveNumber};

use super::{ChangeOutcome, Made, StateEditor, others};
use crate::state::change::EntryOwner;
use crate::state::error::{MAX_ROLLOUTS, StateChangeError};
use crate::state::part::NotLoaded;

impl StateEditor<'_> {
    pub(super) fn set_rollout(&mut self, rollout: RolloutId, document: &RolloutDocument) -> Made {
        match self.documents.rollout(rollout)? {
            Some(before) if before == document => return Ok(ChangeOutcome::AlreadySo),
            // An id is never used again: devices would take the slots of another rollout.
            Some(before)
                if before.package != document.package
                    || before.manifest != document.manifest
                    || before.groups != document.groups
                    || before.seed != document.seed =>
            {
                return Err(StateChangeError::OtherRollout { rollout });
            }
            Some(_) => {}
            None => self.replace_unnamed(rollout, document)?,
        }
        self.put_rollout(rollout, Some(document.clone()));
        Ok(ChangeOutcome::Changed)
    }

    /// Checks that the package has no other rollout. Removes one that no entry names.
    fn replace_unnamed(
        &mut self,
        rollout: RolloutId,
        document: &RolloutDocument,
    ) -> Result<(), StateChangeError> {
        let name = LeafName::Rollout(rollout);
        let all = self.documents.all_rollouts().ok_or(NotLoaded { name })?;
        let mut count = 0;
        let mut unnamed = Vec::new();
        for (other, existing) in all {
            count += 1;
            if existing.package != document.package {
                continue;
            }
            if self.is_named(other)? {
                return Err(StateChangeError::SecondRollout {
                    package: document.package,
                    rollout: other,
                });
            }
            unnamed.push(other);
        }
        if count - unnamed.len() >= MAX_ROLLOUTS {
            return Err(StateChangeError::TooManyRollouts);
        }
        for other in unnamed {
            self.put_rollout(other, None);
        }
        Ok(())
    }

    pub(super) fn open_wave(
        &mut self,
        rollout: RolloutId,
        wave: WaveNumber,
        from: UnixTime,
    ) -> Made {
        let mut document = self.existing_rollout(rollout)?.clone();
        if document.opens(wave) == Some(from) {
            return Ok(ChangeOutcome::AlreadySo);
        }
        let waves = document.waves.opening(wave, from);
        document.waves = waves.map_err(|source| StateChangeError::Waves { rollout, source })?;
        self.put_rollout(rollout, Some(document));
        Ok(ChangeOutcome::Changed)
    }

    pub(super) fn end_rollout(&mut self, rollout: RolloutId) -> Made {
        self.remove_rollout(rollout, |_| None)
    }

    pub(super) fn finish_rollout(&mut self, rollout: RolloutId) -> Made {
        self.remove_rollout(rollout, |entry| {
            Some(StateEntry {
                terms: entry.terms.without_rollout(),
                ..entry.clone()
            })
        })
    }

    /// Removes the document of a rollout, and replaces or removes the entries that name it.
    fn remove_rollout(
        &mut self,
        rollout: RolloutId,
        replace: impl Fn(&StateEntry) -> Option<StateEntry>,
    ) -> Made {
        let Some(document) = self.documents.rollout(rollout)? else {
            return Ok(ChangeOutcome::AlreadySo);
        };
        let (groups, package) = (document.groups.clone(), document.package);
        for group in groups.as_set() {
            let Some(document) = self.documents.group(group)? else {
                continue;
            };
            let before = &document.packages;
            let entry = before.of(package);
            if let Some(entry) = entry.filter(|it| it.terms.rollout() == Some(rollout)) {
                let mut entries = others(before, package);
                entries.extend(replace(entry));
                self.set_entries(&EntryOwner::Group(group.clone()), entries)?;
            }
        }
        self.put_rollout(rollout, None);
        Ok(ChangeOutcome::Changed)
    }

    /// Checks that the rollout of a new entry is for this entry, and that the entry replaces none of
    /// another rollout.
    pub(super) fn check_rollout(
        &self,
        owner: &EntryOwner,
        entry: &StateEntry,
        replaced: Option<&StateEntry>,
    ) -> Result<(), StateChangeError> {
        let named = entry.terms.rollout();
        let current = replaced.and_then(|replaced| replaced.terms.rollout());
        if let Some(rollout) = current.filter(|current| named != Some(*current)) {
            return Err(StateChangeError::InRollout {
                owner: owner.clone(),
                package: entry.package,
                rollout,
            });
        }
        let Some(rollout) = named else {
            return Ok(());
        };
        let document = self.existing_rollout(rollout)?;
        let is_for_owner = match owner {
            EntryOwner::Group(group) => document.groups.as_set().contains(group),
            EntryOwner::Device(_) => false,
        };
        if is_for_owner && document.package == entry.package && document.manifest == entry.manifest
        {
            return Ok(());
        }
        Err(StateChangeError::NotOfRollout {
            owner: owner.clone(),
            package: entry.package,
            rollout,
        })
    }

    fn is_named(&self, rollout: RolloutId) -> Result<bool, NotLoaded> {
        let Some(document) = self.documents.rollout(rollout)? else {
            return Ok(false);
        };
        for group in document.groups.as_set() {
            let of_group = self.documents.group(group)?;
            let entry = of_group.and_then(|it| it.packages.of(document.package));
            if entry.is_some_and(|entry| entry.terms.rollout() == Some(rollout)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn existing_rollout(&self, rollout: RolloutId) -> Result<&RolloutDocument, StateChangeError> {
        let document = self.documents.rollout(rollout)?;
        document.ok_or(StateChangeError::NoRollout { rollout })
    }

    fn put_rollout(&mut self, rollout: RolloutId, document: Option<RolloutDocument>) {
        self.documents.set_rollout(rollout, document);
        self.touched.insert(LeafName::Rollout(rollout));
    }
}

#[cfg(test)]
mod tests;
