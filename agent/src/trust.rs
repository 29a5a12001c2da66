//! Whom the device trusts, and what they have signed for it: as configured, and as heard since.

pub(crate) mod authority;
mod disk;
pub(crate) mod mandates;
#[cfg(test)]
pub(crate) mod publisher;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::api::HeldDocuments;
use packcast_protocol::assignments::Held;
use packcast_protocol::keys::{FollowError, Trusted};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::SignedError;
use packcast_protocol::{
    AgentId, Assignee, GroupName, SignedAssignments, SignedKeyList, VerifiedAssignments,
};

use self::authority::Authority;

/// How many groups a request tells of.
const MAX_HELD_GROUPS: usize = 64;

/// The trusted keys, and of each recipient the latest assignments that one of them signed.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    device: AgentId,
    /// The groups of the device's own configuration.
    groups: BTreeSet<GroupName>,
    server_is_trusted: bool,
    keys: Trusted,
    documents: BTreeMap<Assignee, VerifiedAssignments>,
    /// The same with their signatures, for when other keys are trusted.
    signed: BTreeMap<Assignee, SignedAssignments>,
}

/// What a reply changed, which is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrustChange {
    /// The lists of keys that are followed now.
    Keys(Vec<SignedKeyList>),
    /// The latest assignments of one recipient.
    Assignments(Assignee, SignedAssignments),
}

/// Why something signed in a reply does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a list of trusted keys was refused")]
    Keys(#[source] FollowError),
    #[error("signed assignments were refused")]
    Signed(#[source] SignedError),
    #[error("the assignments to {0} are refused: they are not for this device")]
    NotConcerned(Assignee),
    #[error(
        "the assignments to {recipient} are refused: revision {} (issued {}) is older than revision {} (issued {}), which this device has",
        given.revision, given.issued, held.revision, held.issued
    )]
    Stale {
        recipient: Assignee,
        given: Held,
        held: Held,
    },
}

impl Trust {
    /// Trusts the configured keys, and knows of nothing that they have signed.
    pub(crate) fn configured(
        device: AgentId,
        keys: Vec<PublicKey>,
        groups: BTreeSet<GroupName>,
        server_is_trusted: bool,
    ) -> Self {
        Self {
            device,
            groups,
            server_is_trusted,
            keys: Trusted::configured(keys),
            documents: BTreeMap::new(),
            signed: BTreeMap::new(),
        }
    }

    pub(crate) const fn keys(&self) -> &Trusted {
        &self.keys
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &VerifiedAssignments> {
        self.documents.values()
    }

    pub(crate) const fn authority(&self) -> Authority<'_> {
        Authority {
            device: &self.device,
            configured: &self.groups,
            documents: &self.documents,
            server_is_trusted: self.server_is_trusted,
        }
    }

    /// Tells what need not be sent to this device again.
    pub(crate) fn holds(&self) -> HeldDocuments {
        let held = |recipient| self.documents.get(&recipient).map(|held| held.held());
        let groups = self.authority().concerned().into_iter();
        HeldDocuments {
            keys: self.keys.serial(),
            device: held(Assignee::Device(self.device.clone())),
            groups: groups
                .filter_map(|group| Some((group.clone(), held(Assignee::Group(group))?)))
                .take(MAX_HELD_GROUPS)
                .collect(),
        }
    }

    /// Takes from a reply what is signed, later than what is here, and for this device: lists
    /// of keys first, then the device's own assignments, as they name its groups.
    pub(crate) fn hear(
        &mut self,
        lists: &[SignedKeyList],
        assignments: Vec<SignedAssignments>,
    ) -> (Vec<TrustChange>, Vec<Refusal>) {
        let mut refused = Vec::new();
        let mut changes = Vec::new();
        changes.extend(self.follow(lists, &mut refused));
        let mut verified = Vec::new();
        for signed in assignments {
            match signed.verify(self.keys.keys()) {
                Ok(document) => verified.push((signed, document)),
                Err(error) => refused.push(Refusal::Signed(error)),
            }
        }
        verified.sort_by_key(|(_, document)| matches!(document.recipient(), Assignee::Group(_)));
        for (signed, document) in verified {
            match self.take(document) {
                Ok(Some(recipient)) => {
                    self.signed.insert(recipient.clone(), signed.clone());
                    changes.push(TrustChange::Assignments(recipient, signed));
                }
                Ok(None) => {}
                Err(refusal) => refused.push(refusal),
            }
        }
        (changes, refused)
    }

    /// Takes what this device has kept, if a trusted key has signed it.
    fn recall(&mut self, signed: SignedAssignments) -> Result<(), Refusal> {
        let document = signed.verify(self.keys.keys()).map_err(Refusal::Signed)?;
        let recipient = document.recipient().clone();
        self.documents.insert(recipient.clone(), document);
        self.signed.insert(recipient, signed);
        Ok(())
    }

    fn follow(&mut self, lists: &[SignedKeyList], refused: &mut Vec<Refusal>) -> Option<TrustChange> {
        let before = self.keys.serial();
        let mut left = Vec::new();
        for list in lists {
            match self.keys.follow(list) {
                // Each list is complete: those before it, which a key may have signed that this
                // device never knew, are not missed.
                Ok(()) => left.clear(),
                Err(error) => left.push(Refusal::Keys(error)),
            }
        }
        refused.append(&mut left);
        if self.keys.serial() == before {
            return None;
        }
        self.forget_revoked();
        Some(TrustChange::Keys(self.keys.followed().to_vec()))
    }

    /// Drops what only a revoked key has signed. It does not even say which revision is too
    /// old: who has stolen the key could have signed the highest.
    fn forget_revoked(&mut self) {
        let keys = self.keys.keys();
        self.signed.retain(|_, signed| signed.verify(keys).is_ok());
        self.documents
            .retain(|recipient, _| self.signed.contains_key(recipient));
    }

    /// Takes assignments; returns for whom they are, or none if they are here already.
    fn take(&mut self, document: VerifiedAssignments) -> Result<Option<Assignee>, Refusal> {
        let recipient = document.recipient().clone();
        // Of a group that the device has left the latest is kept: it may come back to it.
        if !self.concerns(&recipient) && !self.documents.contains_key(&recipient) {
            return Err(Refusal::NotConcerned(recipient));
        }
        let given = document.held();
        match self.documents.get(&recipient).map(|held| held.held()) {
            Some(held) if given < held => Err(Refusal::Stale {
                recipient,
                given,
                held,
            }),
            Some(held) if given == held => Ok(None),
            _ => {
                self.documents.insert(recipient.clone(), document);
                Ok(Some(recipient))
            }
        }
    }

    fn concerns(&self, recipient: &Assignee) -> bool {
        match recipient {
            Assignee::Device(device) => *device == self.device,
            Assignee::Group(group) => self.authority().concerned().contains(group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::publisher::{TestDocument, device, group, key, list, to_device, to_group};
    use super::*;

    fn trust() -> Trust {
        Trust::configured(device(1), vec![key(0)], [group("own")].into(), false)
    }

    /// Hears assignments; returns to whom those are that were taken, and why others were not.
    fn heard(trust: &mut Trust, assignments: Vec<SignedAssignments>) -> (Vec<String>, Vec<String>) {
        let (changes, refused) = trust.hear(&[], assignments);
        let taken = changes.into_iter().map(|change| match change {
            TrustChange::Assignments(Assignee::Device(_), _) => "device".to_owned(),
            TrustChange::Assignments(Assignee::Group(group), _) => group.to_string(),
            TrustChange::Keys(_) => panic!("no keys were sent"),
        });
        let refused = refused.into_iter().map(|refusal| {
            let kind = match refusal {
                Refusal::Keys(_) => "keys",
                Refusal::Signed(_) => "signature",
                Refusal::NotConcerned(_) => "not concerned",
                Refusal::Stale { .. } => "stale",
            };
            kind.to_owned()
        });
        (taken.collect(), refused.collect())
    }

    fn check(
        trust: &mut Trust,
        assignments: Vec<SignedAssignments>,
        taken: &[&str],
        refused: &[&str],
    ) {
        let (was_taken, was_refused) = heard(trust, assignments);
        assert_eq!(was_taken, taken);
        assert_eq!(was_refused, refused);
    }

    fn revision(revision: u64, said: TestDocument<'_>) -> SignedAssignments {
        TestDocument { revision, ..said }.signed(0)
    }

    #[test]
    fn what_is_for_others_or_by_others_is_refused() {
        let mut trust = trust();
        check(
            &mut trust,
            vec![to_device(2).signed(0)],
            &[],
            &["not concerned"],
        );
        check(
            &mut trust,
            vec![to_group("lab").signed(0)],
            &[],
            &["not concerned"],
        );
        check(
            &mut trust,
            vec![to_group("all").signed(1)],
            &[],
            &["signature"],
        );
        let all = vec![to_group("all").signed(0), to_group("own").signed(0)];
        check(&mut trust, all, &["all", "own"], &[]);
    }

    #[test]
    fn the_devices_own_document_names_its_groups_wherever_it_stands() {
        let mut trust = trust();
        let groups = &["lab"];
        let own = TestDocument {
            groups,
            ..to_device(1)
        };
        let reply = vec![to_group("lab").signed(0), own.signed(0)];
        check(&mut trust, reply, &["device", "lab"], &[]);
        assert_eq!(trust.holds().groups.len(), 1);
    }

    #[test]
    fn an_older_document_is_refused_and_the_newer_stays() {
        let mut trust = trust();
        let all = |n| vec![revision(n, to_group("all"))];
        check(&mut trust, all(5), &["all"], &[]);
        check(&mut trust, all(4), &[], &["stale"]);
        check(&mut trust, all(5), &[], &[]);
        assert_eq!(trust.holds().groups[&group("all")].revision, 5);
        check(&mut trust, all(6), &["all"], &[]);
    }

    #[test]
    fn a_group_that_the_device_left_does_not_go_back_either() {
        let mut trust = trust();
        let own = |n, groups| {
            let said = TestDocument {
                groups,
                ..to_device(1)
            };
            revision(n, said)
        };
        let lab = |n| revision(n, to_group("lab"));
        check(
            &mut trust,
            vec![own(1, &["lab"]), lab(5)],
            &["device", "lab"],
            &[],
        );
        check(&mut trust, vec![own(2, &[])], &["device"], &[]);
        assert!(trust.holds().groups.is_empty());
        check(
            &mut trust,
            vec![own(3, &["lab"]), lab(4)],
            &["device"],
            &["stale"],
        );
        assert_eq!(trust.holds().groups[&group("lab")].revision, 5);
    }

    #[test]
    fn what_only_a_revoked_key_has_signed_counts_no_more() {
        let mut trust = trust();
        let all = |signer| vec![to_group("all").signed(signer)];
        check(&mut trust, all(0), &["all"], &[]);
        let (changes, refused) = trust.hear(&[list(0, 1, &[1, 0])], Vec::new());
        assert!(matches!(changes[..], [TrustChange::Keys(_)]) && refused.is_empty());
        assert_eq!(trust.documents().count(), 1);
        let (changes, _) = trust.hear(&[list(1, 2, &[1])], Vec::new());
        assert!(matches!(&changes[..], [TrustChange::Keys(lists)] if lists.len() == 2));
        assert_eq!(trust.documents().count(), 0);
        check(&mut trust, all(0), &[], &["signature"]);
        check(&mut trust, all(1), &["all"], &[]);
        assert_eq!(trust.holds().keys, 2);
    }

    #[test]
    fn lists_before_one_that_is_followed_are_not_missed() {
        let mut trust = trust();
        let [old, own, last] = [list(1, 1, &[1, 0]), list(0, 2, &[0]), list(1, 3, &[1])];
        let (changes, refused) = trust.hear(&[old.clone(), own.clone()], Vec::new());
        assert!(matches!(changes[..], [TrustChange::Keys(_)]) && refused.is_empty());
        let (changes, refused) = trust.hear(&[last], Vec::new());
        assert!(changes.is_empty() && refused.len() == 1);
    }

    #[test]
    fn a_list_of_keys_by_somebody_else_changes_nothing() {
        let mut trust = trust();
        let (changes, refused) = trust.hear(&[list(1, 1, &[1])], Vec::new());
        assert!(changes.is_empty());
        assert!(matches!(
            refused[..],
            [Refusal::Keys(FollowError::Refused(_))]
        ));
        assert_eq!(trust.holds(), HeldDocuments::default());
    }
}
