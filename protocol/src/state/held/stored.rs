//! The stored form of a verified state: one file, which is verified again when it is read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::accept::{DEVICES, GROUPS, add_part};
use super::numbers::{HighestCommit, HighestCommits};
use super::{HeldCommit, Refusal, VerifiedState};
use crate::location::LocationName;
use crate::state::commit::SignedCommit;
use crate::state::document::DocumentText;
use crate::state::key_list::SignedKeyList;
use crate::state::name::LeafName;
use crate::state::partial::PartialTree;
use crate::state::target::TargetId;

/// The stored form of a [`VerifiedState`], without its documents.
///
/// All parts are in one file, because they belong together: numbers without their commit, or a
/// commit without the list that removed a key, would be an older state. So the device replaces the
/// file as a whole, and a kill leaves the state before or the state after. Documents are files of
/// their own, named by their digests and written before: a document without the state has
/// no effect, and a state without a document is incomplete.
///
/// A file with unknown fields is not read, because an older agent must not lose a rule of a newer
/// agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredState {
    target: TargetId,
    /// In the order of the chain, which decides between lists.
    lists: Vec<SignedKeyList>,
    numbers: Vec<HighestCommit>,
    commit: Option<StoredCommit>,
}

/// A commit with the known parts of its trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCommit {
    signed: SignedCommit,
    groups: PartialTree,
    devices: PartialTree,
}

impl VerifiedState {
    /// Returns the form to store. Documents are stored before it.
    pub fn stored(&self) -> StoredState {
        let commit = self.commit.as_ref().map(|held| StoredCommit {
            signed: held.signed.clone(),
            groups: held.groups.clone(),
            devices: held.devices.clone(),
        });
        StoredState {
            target: self.chain.target(),
            lists: self.chain.lists().cloned().collect(),
            numbers: self.numbers.as_slice().to_vec(),
            commit,
        }
    }

    /// Returns the documents to store.
    pub fn documents(&self) -> impl Iterator<Item = &DocumentText> {
        self.documents.values()
    }

    /// Adds the stored parts that verify to a new state, and returns the errors of the others.
    ///
    /// A state of another target is not added: set its file aside. Rules on the order of commits do
    /// not apply, because the device has checked them before it stored the commit. The history
    /// still counts, in case an older file was restored. Documents that the state does not need are
    /// dropped: delete their files.
    pub fn load(
        &mut self,
        stored: StoredState,
        documents: impl IntoIterator<Item = DocumentText>,
    ) -> Vec<Refusal> {
        let (expected, found) = (self.chain.target(), stored.target);
        if expected != found {
            return vec![Refusal::OtherTarget { expected, found }];
        }
        let mut discarded = Vec::new();
        // Numbers stay without a list that names their keys: only a list discards them.
        self.numbers = stored.numbers.into_iter().collect::<HighestCommits>();
        self.follow(&stored.lists, &mut discarded);
        if let Some(commit) = stored.commit {
            discarded.extend(self.load_commit(commit).err());
        }
        discarded.extend(self.recheck_commit().err());
        let documents = documents.into_iter();
        self.documents = documents.map(|text| (text.digest(), text)).collect();
        // The tasks that need these locations are not known yet.
        let locations = self.shown_locations();
        discarded.extend(self.drop_unneeded(&locations));
        discarded
    }

    fn shown_locations(&self) -> BTreeSet<LocationName> {
        let leaves = self.commit.iter().flat_map(|held| held.groups.leaves());
        let locations = leaves.filter_map(|(name, _)| match name {
            LeafName::Location(location) => Some(location.clone()),
            _ => None,
        });
        locations.collect()
    }

    fn load_commit(&mut self, stored: StoredCommit) -> Result<(), Refusal> {
        let StoredCommit {
            signed,
            groups,
            devices,
        } = stored;
        // The commit may be older than the retirement of its key.
        let commit = self.verify(&signed, &self.chain.named())?;
        let mut known_groups = self.known_part(commit.groups, |held| &held.groups);
        let mut known_devices = self.known_part(commit.devices, |held| &held.devices);
        let trees = add_part(GROUPS, &mut known_groups, &groups).and(add_part(
            DEVICES,
            &mut known_devices,
            &devices,
        ));
        let stored = self.numbers.get(commit.signer());
        let stored = stored.filter(|stored| stored.commit == commit.id());
        let highest = HighestCommit::accepted(&commit, stored);
        self.numbers.raise(highest.clone());
        self.commit = Some(HeldCommit {
            signed,
            commit,
            groups: known_groups,
            devices: known_devices,
            highest,
        });
        trees
    }
}
