//! Replies: key lists first, then a commit, then the parts of its state.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::{HighestCommit, check_later};
use super::survey::Survey;
use super::{HeldCommit, Refusal, VerifiedState};
use crate::digest::Sha256Digest;
use crate::location::LocationName;
use crate::signature::PublicKey;
use crate::state::commit::{CommitId, SignedCommit, VerifiedCommit};
use crate::state::document::DocumentText;
use crate::state::exchange::{MAX_HELD_DOCUMENTS, StateReply, StateText};
use crate::state::key_list::{MAX_LINKS, SignedKeyList};
use crate::state::name::LeafName;
use crate::state::partial::{Lookup, MAX_DEVICE_TREE_BYTES, PartialTree};
use crate::state::trie::NodeHash;

/// Result of accepting a reply.
#[derive(Debug, Default)]
#[must_use = "a change is stored before the device acts on it"]
pub struct Accepted {
    /// Documents to store before the state.
    pub added: Vec<DocumentText>,
    /// Documents to delete after the state was stored.
    pub dropped: Vec<Sha256Digest>,
    /// True if the state has changed, so that the device stores it.
    pub changed: bool,
    /// Parts of the reply that the device did not accept.
    pub refused: Vec<Refusal>,
    /// True if the reply says that further parts or a later commit follow.
    pub more: bool,
}

pub(super) const GROUPS: &str = "groups";
pub(super) const DEVICES: &str = "devices";
const ANCESTORS: &str = "ancestors";

impl VerifiedState {
    /// Accepts the valid parts of a reply: key lists, a commit, parts of its trees, documents.
    ///
    /// A state may arrive in several replies. Documents that no leaf for this device names are
    /// dropped. No clock decides here, so a device with a wrong clock accepts and forgets the same.
    /// `locations` are the locations that the announced packages need.
    pub fn accept(&mut self, text: &StateText, locations: &BTreeSet<LocationName>) -> Accepted {
        let reply = match text.parse() {
            Ok(reply) => reply,
            Err(error) => {
                let refusal = Refusal::from(error);
                self.refused = refusal.state(None);
                return Accepted {
                    refused: vec![refusal],
                    ..Accepted::default()
                };
            }
        };
        let (stored, documents) = (self.stored(), self.documents.clone());
        let mut refused = Vec::new();
        self.follow(&reply.lists, &mut refused);
        let of = reply.of;
        let more = reply.more;
        let parts = self.accept_parts(reply, locations);
        let refusal = parts.iter().find_map(|refusal| refusal.state(of));
        let is_of_held = self.commit().map(VerifiedCommit::id) == of;
        if refusal.is_some() || (of.is_some() && is_of_held) {
            self.refused = refusal;
        }
        refused.extend(parts);
        let new = self.documents.iter();
        let new = new.filter(|(digest, _)| !documents.contains_key(digest));
        let old = documents.keys();
        let old = old.filter(|digest| !self.documents.contains_key(digest));
        Accepted {
            added: new.map(|(_, text)| text.clone()).collect(),
            dropped: old.copied().collect(),
            changed: self.stored() != stored,
            refused,
            more,
        }
    }

    /// Accepts the commit of a reply and its parts. Returns the errors of the refused parts.
    fn accept_parts(
        &mut self,
        reply: StateReply,
        locations: &BTreeSet<LocationName>,
    ) -> Vec<Refusal> {
        if let Some(signed) = &reply.commit
            && let Err(refusal) = self.replace_commit(signed, reply.ancestors.as_ref())
        {
            // The other parts belong to the refused commit.
            return vec![refusal];
        }
        let Some(given) = reply.of else {
            return Vec::new();
        };
        if self.commit().map(VerifiedCommit::id) != Some(given) {
            return vec![Refusal::OtherCommit { given }];
        }
        let mut refused = self.add_trees(&reply);
        let offered = reply.documents.into_iter();
        let offered = offered.map(|text| (text.digest(), text)).collect();
        self.add_documents(offered, locations);
        refused.extend(self.drop_unneeded(locations));
        refused
    }

    /// Follows key lists in the order of the reply.
    pub(super) fn follow(&mut self, lists: &[SignedKeyList], refused: &mut Vec<Refusal>) {
        for signed in lists.iter().take(MAX_LINKS) {
            if let Err(error) = self.chain.follow(signed) {
                refused.push(error.into());
            }
            // After each list, because a later list of the same reply may name the key again.
            refused.extend(self.recheck_commit().err());
        }
    }

    /// Discards numbers and the held commit if the newest key list does not name their keys, and
    /// the commit if the list does not accept its number.
    ///
    /// Without a list nothing is discarded.
    pub(super) fn recheck_commit(&mut self) -> Result<(), Refusal> {
        let Some(newest) = self.chain.newest() else {
            return Ok(());
        };
        let (list, from) = (newest.serial(), newest.from());
        let named = self.chain.named();
        self.numbers.retain(&named);
        let Some(commit) = self.commit.take() else {
            return Ok(());
        };
        let held = commit.commit.id();
        if !named.contains(commit.commit.signer()) {
            return Err(Refusal::KeyRemoved { held, list });
        }
        if held.number < from {
            return Err(Refusal::Discarded { held, list, from });
        }
        // An older state file may have been restored. The history shows that it was replaced.
        check_later(held, self.highest())?;
        self.commit = Some(commit);
        Ok(())
    }

    /// Verifies a commit by some keys.
    pub(super) fn verify(
        &self,
        signed: &SignedCommit,
        keys: &[PublicKey],
    ) -> Result<VerifiedCommit, Refusal> {
        let verified = signed.verify(self.chain.target(), keys);
        verified.map_err(|source| Refusal::Commit {
            given: signed.digest(),
            source,
        })
    }

    /// Replaces the held commit by a later commit. The same commit again changes nothing.
    ///
    /// A refused commit leaves no trace, so that a commit which the device cannot accept does not
    /// keep out others.
    fn replace_commit(
        &mut self,
        signed: &SignedCommit,
        ancestors: Option<&PartialTree>,
    ) -> Result<(), Refusal> {
        let is_held = |held: &VerifiedCommit| held.digest() == signed.digest();
        if self.commit().is_some_and(is_held) {
            return Ok(());
        }
        let commit = self.verify(signed, &self.chain.signing())?;
        let given = commit.id();
        self.check_lists(&commit)?;
        let highest = self.highest();
        check_later(given, highest)?;
        // Only signed times are compared. A device with a slow clock would otherwise believe that
        // its old commit has not expired, and a publisher lists ancestors for 91 days only.
        if let Some(highest) = highest
            && highest.commit != given
            && commit.issued < highest.until
        {
            check_contains(&commit, highest.commit, ancestors)?;
        }
        let highest = HighestCommit::accepted(&commit, highest);
        let groups = self.known_part(commit.groups, |held| &held.groups);
        let devices = self.known_part(commit.devices, |held| &held.devices);
        let held = HeldCommit {
            signed: signed.clone(),
            commit,
            groups,
            devices,
            highest: highest.clone(),
        };
        self.numbers.raise(highest);
        self.commit = Some(held);
        Ok(())
    }

    /// Compares a commit with the key lists that the device follows and has followed.
    fn check_lists(&self, commit: &VerifiedCommit) -> Result<(), Refusal> {
        let given = commit.id();
        let list = self.chain.serial();
        if commit.keys.serial > list {
            return Err(Refusal::ListNotHeld {
                given,
                keys: commit.keys.serial,
                held: list,
            });
        }
        if let Some(acted) = self.missing_list() {
            let held = list;
            return Err(Refusal::OldKeyList { given, held, acted });
        }
        match self.chain.newest() {
            Some(newest) if !newest.accepts_number(given.number) => Err(Refusal::BeforeList {
                given,
                list,
                from: newest.from(),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the known part of a tree with this root.
    pub(super) fn known_part(
        &self,
        root: NodeHash,
        tree: impl Fn(&HeldCommit) -> &PartialTree,
    ) -> PartialTree {
        let known = self.commit.as_ref().map(tree);
        match known.filter(|known| known.root() == root) {
            Some(known) => known.clone(),
            None if root == NodeHash::EMPTY => PartialTree::from_leaves([]),
            None => PartialTree::hidden(root),
        }
    }

    /// Adds the parts of trees that belong to the held commit.
    fn add_trees(&mut self, reply: &StateReply) -> Vec<Refusal> {
        let Some(held) = &mut self.commit else {
            return Vec::new();
        };
        let parts = [
            (GROUPS, &mut held.groups, &reply.groups),
            (DEVICES, &mut held.devices, &reply.devices),
        ];
        let added = parts.into_iter().map(|(kind, known, part)| {
            let part = part.as_ref();
            part.map_or(Ok(()), |part| add_part(kind, known, part))
        });
        added.filter_map(Result::err).collect()
    }

    /// Keeps the offered documents that leaves for this device name.
    ///
    /// A document can name groups, and so further documents. Three rounds are enough: device,
    /// groups, then locations and rollouts.
    fn add_documents(
        &mut self,
        mut offered: BTreeMap<Sha256Digest, DocumentText>,
        locations: &BTreeSet<LocationName>,
    ) {
        while let Some(held) = &self.commit {
            let needed = Survey::of(&self.device, held, &self.documents, locations).documents;
            let added: BTreeMap<Sha256Digest, DocumentText> = needed
                .iter()
                .filter(|digest| !self.documents.contains_key(digest))
                .filter_map(|digest| offered.remove_entry(digest))
                .collect();
            if added.is_empty() {
                return;
            }
            self.documents.extend(added);
        }
    }

    /// Drops parts of trees and documents that do not concern the device.
    ///
    /// While the state is incomplete, the documents of the commit before are kept: the next reply
    /// need not repeat them. Their number is limited, because the function can begin many states
    /// and complete none.
    pub(super) fn drop_unneeded(&mut self, locations: &BTreeSet<LocationName>) -> Vec<Refusal> {
        let Some(held) = &mut self.commit else {
            return Vec::new();
        };
        let survey = Survey::of(&self.device, held, &self.documents, locations);
        let parts = [(GROUPS, &mut held.groups), (DEVICES, &mut held.devices)];
        let pruned = parts.map(|(kind, tree)| prune(kind, tree, &survey.names));
        if survey.lacks.is_empty() || self.documents.len() > MAX_HELD_DOCUMENTS {
            let is_needed = |digest: &Sha256Digest| survey.documents.contains(digest);
            self.documents.retain(|digest, _| is_needed(digest));
        }
        pruned.into_iter().filter_map(Result::err).collect()
    }
}

/// Checks that a commit contains the commit that the device has accepted.
fn check_contains(
    new: &VerifiedCommit,
    held: CommitId,
    ancestors: Option<&PartialTree>,
) -> Result<(), Refusal> {
    let given = new.id();
    let ancestors = ancestors.ok_or(Refusal::NotShown { given, held })?;
    check_root(ANCESTORS, new.ancestors, ancestors)?;
    match ancestors.lookup(&LeafName::Commit(held.name())) {
        Lookup::Present(digest) if digest == held.digest => Ok(()),
        Lookup::Present(_) | Lookup::Absent => Err(Refusal::LeavesOut { given, held }),
        Lookup::Hidden(_) => Err(Refusal::NotShown { given, held }),
    }
}

fn check_root(kind: &'static str, expected: NodeHash, tree: &PartialTree) -> Result<(), Refusal> {
    let found = tree.root();
    if found == expected {
        return Ok(());
    }
    Err(Refusal::OtherState {
        kind,
        expected,
        found,
    })
}

/// Adds a part to the known part of a tree.
pub(super) fn add_part(
    kind: &'static str,
    known: &mut PartialTree,
    part: &PartialTree,
) -> Result<(), Refusal> {
    check_root(kind, known.root(), part)?;
    let merged = known.merge(part);
    *known = merged.map_err(|source| Refusal::Tree { kind, source })?;
    Ok(())
}

/// Keeps only the paths to these names, as far as the tree shows them.
///
/// A part above the size limit of a device is forgotten, and asked for again.
fn prune(
    kind: &'static str,
    tree: &mut PartialTree,
    names: &BTreeSet<LeafName>,
) -> Result<(), Refusal> {
    let is_shown = |name: &&LeafName| !matches!(tree.lookup(name), Lookup::Hidden(_));
    let shown: Vec<&LeafName> = names.iter().filter(is_shown).collect();
    if let Ok(proof) = tree.prove(shown) {
        *tree = proof;
    }
    let bytes = tree.to_bytes().len();
    if bytes <= MAX_DEVICE_TREE_BYTES {
        return Ok(());
    }
    *tree = PartialTree::hidden(tree.root());
    Err(Refusal::TreeTooLarge { kind, bytes })
}
