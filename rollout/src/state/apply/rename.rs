//! Renaming a group.

use std::collections::BTreeSet;

use packcast_protocol::state::{GroupDocument, LeafName};
use packcast_protocol::{DeviceId, GroupName};

use super::{ChangeOutcome, StateEditor};
use crate::state::change::EntryOwner;
use crate::state::error::StateChangeError;
use crate::state::part::{NotLoaded, StatePart};

impl StateEditor<'_> {
    /// Moves the document of a group to another name, and changes the name in the documents of its
    /// devices.
    pub(super) fn rename_group(
        &mut self,
        group: &GroupName,
        to: &GroupName,
    ) -> Result<ChangeOutcome, Vec<StateChangeError>> {
        let one = |error: StateChangeError| vec![error];
        let Some((document, renamed)) = self.renamed(group, to).map_err(one)? else {
            return Ok(ChangeOutcome::AlreadySo);
        };
        let is_member = |(_, groups): &(&DeviceId, Option<u64>)| *groups == Some(document.created);
        let named = self.documents.devices().map(|(device, own)| {
            let created = own.and_then(|own| own.groups.as_map().get(group).copied());
            (device, created)
        });
        let members: BTreeSet<DeviceId> = named
            .filter(is_member)
            .map(|(device, _)| device.clone())
            .collect();
        self.documents.set_group(group.clone(), None);
        self.touched.insert(LeafName::Group(group.clone()));
        self.set_group(to, renamed);
        // Its members are those of the group, all of which are loaded.
        self.documents.set_whole(to.clone());
        let number = self.number;
        self.edit_devices(&members, |_, groups| {
            let mut groups = groups.clone();
            groups.remove(group);
            groups.insert(to.clone(), number);
            Ok(Some(groups))
        })
    }

    /// Returns the document of a group and its document under another name; `None` if the group has
    /// this name already.
    fn renamed(
        &self,
        group: &GroupName,
        to: &GroupName,
    ) -> Result<Option<(GroupDocument, GroupDocument)>, StateChangeError> {
        if group.is_all() {
            return Err(StateChangeError::RenameAll);
        }
        let present = self.documents.group(to)?;
        let Some(document) = self.documents.group(group)? else {
            // The same command was interrupted after its commit.
            let is_renamed = present.is_some_and(|it| it.origin(to).name == *group);
            return if is_renamed {
                Ok(None)
            } else {
                let group = group.clone();
                Err(StateChangeError::NoGroup { group })
            };
        };
        if group == to {
            return Ok(None);
        }
        if to.is_all() || present.is_some() {
            return Err(StateChangeError::Exists { group: to.clone() });
        }
        if !self.documents.has_members_of(group) {
            let name = LeafName::Group(group.clone());
            return Err(NotLoaded { name }.into());
        }
        check_rename(&self.documents, group, to)?;
        let renamed = document.renamed(group, to, self.number);
        let renamed = renamed.map_err(|_| StateChangeError::TooManyPackages {
            owner: EntryOwner::Group(group.clone()),
        })?;
        Ok(Some((document.clone(), renamed)))
    }
}

/// Checks that no rollout names the group, or its new name: the devices of the group would come into
/// other waves.
///
/// # Errors
/// [`StateChangeError::NamedByRollout`], or the part does not have all rollouts.
pub fn check_rename(
    state: &StatePart,
    group: &GroupName,
    to: &GroupName,
) -> Result<(), StateChangeError> {
    for named in [group, to] {
        let name = LeafName::Group(group.clone());
        let mut rollouts = state.all_rollouts().ok_or(NotLoaded { name })?;
        let naming = rollouts.find(|(_, document)| document.names(named));
        if let Some((rollout, _)) = naming {
            return Err(StateChangeError::NamedByRollout {
                group: group.clone(),
                to: to.clone(),
                named: named.clone(),
                rollout,
            });
        }
    }
    Ok(())
}
