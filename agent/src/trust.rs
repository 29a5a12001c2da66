//! The trusted keys, and the assignments that they have signed for this device.
//!
//! Both come from the configuration and from check-ins.

pub(crate) mod device_documents;
pub(crate) mod mandates;
#[cfg(test)]
pub(crate) mod publisher;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::api::HeldDocuments;
use packcast_protocol::assignments::Held;
use packcast_protocol::keys::{FollowError, Trusted};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::SignedError;
use packcast_protocol::{
    AgentId, Assignee, GroupName, SignedAssignments, SignedKeyList, UnixTime, VerifiedAssignments,
};

use self::device_documents::DeviceDocuments;
use crate::clock::BEFORE_BUILD;

/// The limit of groups whose documents a request names as held.
const MAX_HELD_GROUPS: usize = 64;

/// The trusted keys, and the latest assignments of each assignee that one of them signed.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    device: AgentId,
    /// The groups in the device's configuration.
    groups: BTreeSet<GroupName>,
    server_is_trusted: bool,
    keys: Trusted,
    documents: BTreeMap<Assignee, VerifiedAssignments>,
    /// The same documents with their signatures, which are verified again when the keys change.
    signed: BTreeMap<Assignee, SignedAssignments>,
}

/// A change of the trusted documents, to be stored on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrustChange {
    /// The key lists that the device follows now.
    Keys(Vec<SignedKeyList>),
    /// The latest assignments of one assignee.
    Assignments(Assignee, SignedAssignments),
}

/// The reason why a signed document of a reply was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("refused a key list")]
    Keys(#[source] FollowError),
    #[error("refused signed assignments")]
    Signed(#[source] SignedError),
    #[error("refused the assignments to {0}: they are for other devices")]
    NotConcerned(Assignee),
    #[error(
        "refused the assignments to {recipient}: revision {} (issued {}) is older than revision {} (issued {}) on this device",
        given.revision, given.issued, held.revision, held.issued
    )]
    Stale {
        recipient: Assignee,
        given: Held,
        held: Held,
    },
}

impl Trust {
    /// Trusts the configured keys, without any signed documents.
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

    /// Returns a time that has passed: the latest issue of a document, or a time before the agent
    /// was built.
    pub(crate) fn known_time(&self) -> UnixTime {
        let issued = self.documents().map(|document| document.held().issued);
        issued.fold(BEFORE_BUILD, UnixTime::max)
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &VerifiedAssignments> {
        self.documents.values()
    }

    pub(crate) const fn device_documents(&self) -> DeviceDocuments<'_> {
        DeviceDocuments {
            device: &self.device,
            configured: &self.groups,
            documents: &self.documents,
            server_is_trusted: self.server_is_trusted,
        }
    }

    /// Returns the documents that the function need not send again.
    pub(crate) fn held_documents(&self) -> HeldDocuments {
        let held = |recipient| self.documents.get(&recipient).map(|held| held.held());
        let groups = self.device_documents().relevant_groups().into_iter();
        HeldDocuments {
            keys: self.keys.serial(),
            device: held(Assignee::Device(self.device.clone())),
            groups: groups
                .filter_map(|group| Some((group.clone(), held(Assignee::Group(group))?)))
                .take(MAX_HELD_GROUPS)
                .collect(),
        }
    }

    /// Accepts the signed documents of a reply that are verified, newer and for this device.
    ///
    /// Key lists come first, then the device assignments, which name the device's groups.
    pub(crate) fn accept(
        &mut self,
        lists: &[SignedKeyList],
        assignments: Vec<SignedAssignments>,
    ) -> (Vec<TrustChange>, Vec<Refusal>) {
        let mut refused = Vec::new();
        let mut changes = Vec::new();
        changes.extend(self.follow_key_lists(lists, &mut refused));
        let mut verified = Vec::new();
        for signed in assignments {
            match signed.verify(self.keys.keys()) {
                Ok(document) => verified.push((signed, document)),
                Err(error) => refused.push(Refusal::Signed(error)),
            }
        }
        // The device's document first, because it decides which groups concern the device.
        verified.sort_by_key(|(_, document)| matches!(document.recipient(), Assignee::Group(_)));
        for (signed, document) in verified {
            match self.insert_newer(document) {
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

    /// Restores a document from disk, if a trusted key has signed it.
    fn restore(&mut self, signed: SignedAssignments) -> Result<(), Refusal> {
        let document = signed.verify(self.keys.keys()).map_err(Refusal::Signed)?;
        let recipient = document.recipient().clone();
        self.documents.insert(recipient.clone(), document);
        self.signed.insert(recipient, signed);
        Ok(())
    }

    fn follow_key_lists(
        &mut self,
        lists: &[SignedKeyList],
        refused: &mut Vec<Refusal>,
    ) -> Option<TrustChange> {
        let before = self.keys.serial();
        let mut left = Vec::new();
        for list in lists {
            match self.keys.follow(list) {
                // Each list is complete, so errors in earlier lists do not matter. These may be
                // signed by keys that this device never trusted.
                Ok(()) => left.clear(),
                Err(error) => left.push(Refusal::Keys(error)),
            }
        }
        refused.append(&mut left);
        if self.keys.serial() == before {
            return None;
        }
        self.drop_revoked();
        Some(TrustChange::Keys(self.keys.followed().to_vec()))
    }

    /// Drops documents that only revoked keys have signed.
    ///
    /// Their revisions do not even mark others as old, because the thief of a key could have signed
    /// the highest revision.
    fn drop_revoked(&mut self) {
        let keys = self.keys.keys();
        self.signed.retain(|_, signed| signed.verify(keys).is_ok());
        self.documents
            .retain(|recipient, _| self.signed.contains_key(recipient));
    }

    /// Inserts assignments if they are newer, and returns their assignee.
    ///
    /// Returns `None` if the device already has them.
    fn insert_newer(&mut self, document: VerifiedAssignments) -> Result<Option<Assignee>, Refusal> {
        let recipient = document.recipient().clone();
        // The latest document stays after the device has left the group: if the device returns, it
        // must not accept an older document.
        if !self.concerns_device(&recipient) && !self.documents.contains_key(&recipient) {
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

    fn concerns_device(&self, recipient: &Assignee) -> bool {
        match recipient {
            Assignee::Device(device) => *device == self.device,
            Assignee::Group(group) => self.device_documents().relevant_groups().contains(group),
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

    /// Accepts assignments, and returns the assignees of the accepted ones and the kinds of
    /// refusals.
    fn accepted(
        trust: &mut Trust,
        assignments: Vec<SignedAssignments>,
    ) -> (Vec<String>, Vec<String>) {
        let (changes, refused) = trust.accept(&[], assignments);
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
        let (was_taken, was_refused) = accepted(trust, assignments);
        assert_eq!(was_taken, taken);
        assert_eq!(was_refused, refused);
    }

    fn revision(revision: u64, said: TestDocument<'_>) -> SignedAssignments {
        TestDocument { revision, ..said }.signed(0)
    }

    #[test]
    fn documents_for_others_or_by_others_are_refused() {
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
    fn device_assignments_name_the_groups_at_any_place_in_a_reply() {
        let mut trust = trust();
        let groups = &["lab"];
        let own = TestDocument {
            groups,
            ..to_device(1)
        };
        let reply = vec![to_group("lab").signed(0), own.signed(0)];
        check(&mut trust, reply, &["device", "lab"], &[]);
        assert_eq!(trust.held_documents().groups.len(), 1);
    }

    #[test]
    fn an_older_document_is_refused_and_the_newer_stays() {
        let mut trust = trust();
        let all = |n| vec![revision(n, to_group("all"))];
        check(&mut trust, all(5), &["all"], &[]);
        check(&mut trust, all(4), &[], &["stale"]);
        check(&mut trust, all(5), &[], &[]);
        assert_eq!(trust.held_documents().groups[&group("all")].revision, 5);
        check(&mut trust, all(6), &["all"], &[]);
    }

    #[test]
    fn the_revision_of_a_left_group_does_not_decrease() {
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
        assert!(trust.held_documents().groups.is_empty());
        check(
            &mut trust,
            vec![own(3, &["lab"]), lab(4)],
            &["device"],
            &["stale"],
        );
        assert_eq!(trust.held_documents().groups[&group("lab")].revision, 5);
    }

    #[test]
    fn documents_of_a_revoked_key_are_dropped() {
        let mut trust = trust();
        let all = |signer| vec![to_group("all").signed(signer)];
        check(&mut trust, all(0), &["all"], &[]);
        let (changes, refused) = trust.accept(&[list(0, 1, &[1, 0])], Vec::new());
        assert!(matches!(changes[..], [TrustChange::Keys(_)]) && refused.is_empty());
        assert_eq!(trust.documents().count(), 1);
        let (changes, _) = trust.accept(&[list(1, 2, &[1])], Vec::new());
        assert!(matches!(&changes[..], [TrustChange::Keys(lists)] if lists.len() == 2));
        assert_eq!(trust.documents().count(), 0);
        check(&mut trust, all(0), &[], &["signature"]);
        check(&mut trust, all(1), &["all"], &[]);
        assert_eq!(trust.held_documents().keys, 2);
    }

    #[test]
    fn errors_in_key_lists_before_a_followed_one_are_ignored() {
        let mut trust = trust();
        let [old, own, last] = [list(1, 1, &[1, 0]), list(0, 2, &[0]), list(1, 3, &[1])];
        let (changes, refused) = trust.accept(&[old.clone(), own.clone()], Vec::new());
        assert!(matches!(changes[..], [TrustChange::Keys(_)]) && refused.is_empty());
        let (changes, refused) = trust.accept(&[last], Vec::new());
        assert!(changes.is_empty() && refused.len() == 1);
    }

    #[test]
    fn a_key_list_by_an_unknown_key_changes_nothing() {
        let mut trust = trust();
        let (changes, refused) = trust.accept(&[list(1, 1, &[1])], Vec::new());
        assert!(changes.is_empty());
        assert!(matches!(
            refused[..],
            [Refusal::Keys(FollowError::Refused(_))]
        ));
        assert_eq!(trust.held_documents(), HeldDocuments::default());
    }

    #[test]
    fn messages_name_the_document() {
        let assignee = || Assignee::Group(group("lab"));
        let held = |revision| Held {
            revision,
            issued: packcast_protocol::UnixTime(revision),
        };
        let untrusted = || SignedError::Signature {
            name: "key list",
            source: packcast_protocol::signature::SignatureError::UntrustedKey,
        };
        let errors = [
            Refusal::Keys(FollowError::Refused(untrusted())),
            Refusal::Signed(untrusted()),
            Refusal::NotConcerned(assignee()),
            Refusal::Stale {
                recipient: assignee(),
                given: held(4),
                held: held(5),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        refused a key list
        refused signed assignments
        refused the assignments to group lab: they are for other devices
        refused the assignments to group lab: revision 4 (issued 4) is older than revision 5 (issued 5) on this device
        ");
    }
}
