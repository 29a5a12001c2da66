//! The parts of a state that one device lacks.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::exchange::{MAX_HELD_DOCUMENTS, MAX_STATE_BYTES};
use packcast_protocol::state::held::MAX_HELD_ROLLOUTS;
use packcast_protocol::state::{
    CommitId, DeviceDocument, DigestPrefix, DocumentText, GroupDocument, HeldState, LeafName,
    Lookup, PagedTree, PartialTree, SignedKeyList, StateReply,
};
use packcast_protocol::{DeviceId, GroupName, LocationName, Sha256Digest, UnixTime};
use packcast_store::{Records, RecordsError};

use super::StateCache;
use super::cache::{CachedHead, PageAllowance};
use super::sending::Sending;

/// Age of a device's commit, in seconds, up to which it may stay as it is while nothing of the
/// device changes: one day.
///
/// A device with an older commit gets a new one. Otherwise a thief of the table could choose among
/// all the commits of 90 days for the next state of a device.
const MAX_COMMIT_AGE_S: u64 = 86_400;

/// Part of a reply that documents may take, in bytes. The rest is for lists, commit and trees.
const MAX_DOCUMENT_BYTES: usize = MAX_STATE_BYTES * 3 / 4;

/// The documents of a device and its groups, by the records of the device and the groups.
///
/// An idle check-in reads these records anyway, so it needs no page of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateFacts {
    /// Document of the device; `None` if the device has none.
    pub device: Option<Sha256Digest>,
    /// Documents of the device's groups, and of the group `all`; `None` for a group without one.
    pub groups: BTreeMap<GroupName, Option<Sha256Digest>>,
    /// Documents of the rollouts that the groups name.
    pub rollouts: BTreeSet<Sha256Digest>,
}

/// A device that asks for the parts of the state that it lacks.
#[derive(Clone, Copy, Debug)]
pub struct StateQuestion<'a> {
    pub device: &'a DeviceId,
    pub held: &'a HeldState,
    /// `None` if the records do not name the documents. Then only a device that holds the head has
    /// the current state.
    pub facts: Option<&'a StateFacts>,
    /// Locations of the announced packages.
    pub locations: &'a BTreeSet<LocationName>,
    /// True if the reply has a new announcement. It may follow from a commit that is later than the
    /// cached head.
    pub has_new_task: bool,
}

/// Decides whether a device needs a part of the state.
pub fn needs_state(
    held: &HeldState,
    current: CommitId,
    newest_list: Option<Sha256Digest>,
    facts: Option<&StateFacts>,
) -> bool {
    let Some(commit) = held.commit else {
        return true;
    };
    let is_current = match facts {
        Some(facts) => is_recent(commit.number, current.number) && holds_all(held, facts),
        None => commit == current,
    };
    let follows_lists = held.keys.map(|list| list.digest) == newest_list;
    !follows_lists || !held.lacks.is_empty() || !is_current
}

/// Returns true if a device may keep this commit while nothing of the device changes.
pub(super) const fn is_recent(commit: u64, current: u64) -> bool {
    // A higher number than that of the head is the number of a commit that was replaced.
    commit <= current && current - commit <= MAX_COMMIT_AGE_S
}

fn holds_all(held: &HeldState, facts: &StateFacts) -> bool {
    let documents = facts.groups.values().chain([&facts.device]).flatten();
    let mut documents = documents.chain(&facts.rollouts);
    documents.all(|digest| holds(held, digest))
}

fn holds(held: &HeldState, digest: &Sha256Digest) -> bool {
    held.documents.contains(&DigestPrefix::of(digest))
}

impl StateCache {
    /// Returns the parts of the state that a device lacks, or `None` if it lacks nothing.
    ///
    /// All parts are of one commit. If the device lacks parts of its own commit, and this commit is
    /// at most a day old, they are parts of this one: the head may change faster than a device can
    /// receive a state in several replies.
    pub async fn reply(
        &self,
        records: &Records,
        question: StateQuestion<'_>,
        now: UnixTime,
    ) -> Result<Option<StateReply>, RecordsError> {
        let held = question.held;
        let cached = self.current(records, &question, now).await?;
        let Some(current) = cached.head else {
            return Ok(None);
        };
        let newest = cached.lists.last().map(SignedKeyList::digest);
        if !needs_state(held, current.commit.id, newest, question.facts) {
            return Ok(None);
        }
        let latest = current.commit.id;
        let mut sending = match self.own_commit(records, held, latest).await? {
            Some(own) => own,
            None => Sending::new(latest, current.commit.signed.clone())?,
        };
        let reply = self.parts(records, &question, &mut sending).await?;
        Ok(Some(StateReply {
            lists: lists_after(&cached.lists, held).to_vec(),
            // After the parts of its own commit, the device asks for those of the head.
            more: reply.more || sending.id != latest,
            ..reply
        }))
    }

    /// Returns the head with its key lists, from the cache unless it is probably too old.
    async fn current(
        &self,
        records: &Records,
        question: &StateQuestion<'_>,
        now: UnixTime,
    ) -> Result<CachedHead, RecordsError> {
        if question.has_new_task {
            return self.head_within(records, 0, now).await;
        }
        let cached = self.head(records, now).await?;
        let number = cached.number();
        let is_ahead = question.held.commit.is_some_and(|own| own.number > number);
        if is_ahead {
            // Another instance of the function has read the later head. At most one read a second,
            // because the device may name any number.
            return self.head_within(records, 1, now).await;
        }
        Ok(cached)
    }

    /// Returns the commit that the device holds, if parts of this commit are sent.
    async fn own_commit(
        &self,
        records: &Records,
        held: &HeldState,
        current: CommitId,
    ) -> Result<Option<Sending>, RecordsError> {
        let lacks_leaf = held.lacks.iter().any(|name| !is_commit(name));
        let Some(own) = held.commit.filter(|own| lacks_leaf && *own != current) else {
            return Ok(None);
        };
        if own.number > current.number || current.number - own.number > MAX_COMMIT_AGE_S {
            return Ok(None);
        }
        let stored = records.commit_named(&own.name()).await?;
        let stored = stored.filter(|stored| stored.commit.id == own);
        stored
            .map(|stored| Sending::new(own, stored.commit.signed))
            .transpose()
    }

    async fn parts(
        &self,
        records: &Records,
        question: &StateQuestion<'_>,
        sending: &mut Sending,
    ) -> Result<StateReply, RecordsError> {
        let held = question.held;
        let mut allowance = PageAllowance::whole();
        let own = [LeafName::Device(question.device.clone())];
        let devices = &mut sending.devices;
        let own_path = self.load(records, devices, &own, &mut allowance).await?;
        let mut digests = present(devices, &own);

        // Before the groups: a device refuses a commit without the path to its own commit.
        let is_own = held.commit == Some(sending.id);
        let commits = commits_to_show(held, is_own);
        let ancestors = &mut sending.ancestors;
        let commit_paths = self
            .load(records, ancestors, &commits, &mut allowance)
            .await?;

        let has_own = !held.lacks.contains(&own[0]) && digests.iter().all(|it| holds(held, it));
        let has_groups = held.groups == Some(DigestPrefix::of_root(&sending.commit.groups));
        let mut names = lacking(held);
        names.extend(question.locations.iter().cloned().map(LeafName::Location));
        // With the same document and the same tree, the device itself names all that it lacks.
        if !has_own || !has_groups {
            names.push(LeafName::Group(GroupName::all()));
            names.extend(self.joined(records, &digests).await?);
        }
        let groups = &mut sending.groups;
        self.load(records, groups, &names, &mut allowance).await?;
        let of_groups = present(groups, &names);
        names.extend(self.named_by_groups(records, &of_groups).await?);
        let group_paths = self.load(records, groups, &names, &mut allowance).await?;
        // The document of the device stays the first: a device keeps no document of a group before
        // it knows its groups.
        digests.extend(present(groups, &names));

        digests.retain(|digest| !holds(held, digest));
        let (documents, are_left) = self
            .documents(records, &digests, MAX_DOCUMENT_BYTES)
            .await?;
        let (documents, are_too_many) = that_fit(documents);
        let has_all_paths = own_path.len() == own.len()
            && commit_paths.len() == commits.len()
            && group_paths.len() == names.len();
        let has_devices = held.devices == Some(DigestPrefix::of_root(&sending.commit.devices));
        let lacks_own = held.lacks.contains(&own[0]);
        Ok(StateReply {
            lists: Vec::new(),
            of: Some(sending.id),
            commit: (!is_own).then(|| sending.signed.clone()),
            groups: (!names.is_empty()).then(|| proof(&sending.groups, &group_paths)),
            devices: (lacks_own || !has_devices).then(|| proof(&sending.devices, &own_path)),
            ancestors: (!commits.is_empty()).then(|| proof(&sending.ancestors, &commit_paths)),
            documents,
            more: are_left || are_too_many || !has_all_paths,
        })
    }

    /// Returns the names of the groups in the document of the device.
    async fn joined(
        &self,
        records: &Records,
        own: &[Sha256Digest],
    ) -> Result<Vec<LeafName>, RecordsError> {
        let documents: Vec<DeviceDocument> = self.read(records, own).await?;
        let groups = documents.iter().flat_map(|it| it.groups.as_map().keys());
        Ok(groups.cloned().map(LeafName::Group).collect())
    }

    /// Returns the names of the locations that groups prefer, and of the rollouts that their entries
    /// name.
    async fn named_by_groups(
        &self,
        records: &Records,
        groups: &[Sha256Digest],
    ) -> Result<Vec<LeafName>, RecordsError> {
        let groups: Vec<GroupDocument> = self.read(records, groups).await?;
        let entries = groups.iter().flat_map(|group| group.packages.as_slice());
        let rollouts: BTreeSet<_> = entries.filter_map(|entry| entry.terms.rollout()).collect();
        let rollouts = rollouts.into_iter().take(MAX_HELD_ROLLOUTS);
        let preferred = groups.iter().filter_map(|group| group.prefer.clone());
        let locations = preferred.map(LeafName::Location);
        Ok(locations.chain(rollouts.map(LeafName::Rollout)).collect())
    }

    /// Reads documents, without those that this version cannot read, and without those beyond the
    /// size of a reply. A device judges them itself.
    pub(super) async fn read<T: serde::de::DeserializeOwned>(
        &self,
        records: &Records,
        digests: &[Sha256Digest],
    ) -> Result<Vec<T>, RecordsError> {
        let (texts, _) = self.documents(records, digests, MAX_DOCUMENT_BYTES).await?;
        let read = texts
            .iter()
            .filter_map(|text| serde_json::from_str(text.as_str()).ok());
        Ok(read.collect())
    }
}

const fn is_commit(name: &LeafName) -> bool {
    matches!(name, LeafName::Commit(_))
}

/// Returns the commits to which the device needs a path: its own commit first, unless this commit is
/// sent, then those that the device lacks.
fn commits_to_show(held: &HeldState, is_own: bool) -> Vec<LeafName> {
    let earlier = held.commit.filter(|_| !is_own);
    let earlier = earlier.map(|id| LeafName::Commit(id.name()));
    let lacking = held.lacks.iter().filter(|name| is_commit(name));
    earlier.into_iter().chain(lacking.cloned()).collect()
}

/// Returns the names in the tree of groups that the device lacks.
fn lacking(held: &HeldState) -> Vec<LeafName> {
    let is_of_groups = |name: &&LeafName| !is_commit(name) && !matches!(name, LeafName::Device(_));
    held.lacks.iter().filter(is_of_groups).cloned().collect()
}

/// Returns the digests of those names whose loaded paths lead to a leaf.
fn present(tree: &PagedTree, names: &[LeafName]) -> Vec<Sha256Digest> {
    let lookups = names.iter().map(|name| tree.tree().lookup(name));
    lookups
        .filter_map(|lookup| match lookup {
            Lookup::Present(digest) => Some(digest),
            Lookup::Absent | Lookup::Hidden(_) => None,
        })
        .collect()
}

/// Returns the paths to loaded names.
fn proof(tree: &PagedTree, names: &[&LeafName]) -> PartialTree {
    let proof = tree.tree().prove(names.iter().copied());
    proof.expect("the paths to the names are loaded")
}

/// Returns the lists after the newest list of a device, or all lists if the device follows another
/// one.
fn lists_after<'a>(lists: &'a [SignedKeyList], held: &HeldState) -> &'a [SignedKeyList] {
    let newest = held.keys.map(|list| list.digest);
    let known = lists.iter().position(|list| Some(list.digest()) == newest);
    &lists[known.map_or(0, |index| index + 1)..]
}

/// Returns the documents that fit into one reply, and true if others are left. The first document
/// always fits.
fn that_fit(documents: Vec<DocumentText>) -> (Vec<DocumentText>, bool) {
    let count = documents.len();
    let (mut fitting, mut bytes) = (Vec::new(), 0);
    for text in documents.into_iter().take(MAX_HELD_DOCUMENTS) {
        bytes += escaped_bytes(text.as_str());
        if bytes > MAX_DOCUMENT_BYTES && !fitting.is_empty() {
            break;
        }
        fitting.push(text);
    }
    let more = fitting.len() < count;
    (fitting, more)
}

/// Returns the size of a document in a reply, where it is text within text.
fn escaped_bytes(text: &str) -> usize {
    let escapes = |text: &str| serde_json::to_string(text).unwrap_or_default();
    escapes(&escapes(text)).len()
}

#[cfg(test)]
mod tests {
    use packcast_protocol::state::KeyListId;

    use super::*;

    fn digest(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    fn commit(number: u64) -> CommitId {
        CommitId {
            number,
            digest: digest(&number.to_string()),
        }
    }

    /// Returns the summary of a device that holds all of these facts, with this commit.
    fn held(number: u64) -> HeldState {
        HeldState {
            keys: Some(KeyListId {
                serial: 1,
                digest: digest("list"),
            }),
            commit: Some(commit(number)),
            documents: ["own", "all"]
                .map(|name| DigestPrefix::of(&digest(name)))
                .into(),
            ..HeldState::default()
        }
    }

    fn facts() -> StateFacts {
        StateFacts {
            device: Some(digest("own")),
            groups: [(GroupName::all(), Some(digest("all")))].into(),
            rollouts: BTreeSet::new(),
        }
    }

    fn needs(held: &HeldState, facts: &StateFacts) -> bool {
        needs_state(held, commit(1_000_000), Some(digest("list")), Some(facts))
    }

    #[test]
    fn without_facts_only_a_device_that_holds_the_head_needs_nothing() {
        let needs = |held: &HeldState| {
            let list = Some(digest("list"));
            needs_state(held, commit(1_000_000), list, None)
        };
        assert!(!needs(&held(1_000_000)));
        for number in [999_999, 1_000_001] {
            assert!(needs(&held(number)), "{number}");
        }
        let other = HeldState {
            commit: Some(CommitId {
                digest: digest("other"),
                ..commit(1_000_000)
            }),
            ..held(1_000_000)
        };
        assert!(needs(&other), "another commit with the same number");
        let lacking = HeldState {
            lacks: ["group/lab".parse().unwrap()].into(),
            ..held(1_000_000)
        };
        assert!(needs(&lacking));
    }

    #[test]
    fn the_path_to_the_own_commit_comes_before_the_lacking_ones() {
        let lost: LeafName = LeafName::Commit(commit(7).name());
        let own = LeafName::Commit(commit(1_000_000).name());
        let held = HeldState {
            lacks: [lost.clone(), "group/lab".parse().unwrap()].into(),
            ..held(1_000_000)
        };
        assert_eq!(commits_to_show(&held, false), [own, lost.clone()]);
        assert_eq!(commits_to_show(&held, true), [lost]);
        assert_eq!(lacking(&held), ["group/lab".parse().unwrap()]);
    }

    #[test]
    fn a_device_needs_a_state_only_if_it_lacks_something_or_its_commit_is_old() {
        assert!(!needs(&held(1_000_000), &facts()));
        assert!(!needs(&held(1_000_000 - MAX_COMMIT_AGE_S), &facts()));
        assert!(needs(&held(1_000_000 - MAX_COMMIT_AGE_S - 1), &facts()));
        assert!(
            needs(&held(1_000_001), &facts()),
            "a commit that was replaced"
        );
        assert!(needs(&HeldState::default(), &StateFacts::default()));
        let lab = "lab".parse().unwrap();
        let joined = StateFacts {
            groups: [(lab, Some(digest("lab")))].into(),
            ..facts()
        };
        assert!(needs(&held(1_000_000), &joined));
        let in_rollout = StateFacts {
            rollouts: [digest("calendar")].into(),
            ..facts()
        };
        assert!(needs(&held(1_000_000), &in_rollout), "another calendar");
        let lacking = HeldState {
            lacks: ["group/lab".parse().unwrap()].into(),
            ..held(1_000_000)
        };
        assert!(needs(&lacking, &facts()));
        let keys = None;
        assert!(needs(
            &HeldState {
                keys,
                ..held(1_000_000)
            },
            &facts()
        ));
    }

    #[test]
    fn documents_beyond_the_size_of_a_reply_wait_for_the_next_one() {
        let large = |n: u32| DocumentText::new(format!("\"{n}{}\"", "x".repeat(200_000))).unwrap();
        let (fitting, more) = that_fit((0..20).map(large).collect());
        assert_eq!((fitting.len(), more), (7, true));
        let (fitting, more) = that_fit(vec![large(0)]);
        assert_eq!((fitting.len(), more), (1, false));
        let quotes = DocumentText::new("\"".repeat(250_000)).unwrap();
        assert_eq!(escaped_bytes(quotes.as_str()), 1_000_006);
    }
}
