//! Memory of a publisher's machine: the commits of a target that it has signed and seen.
//!
//! A signature does not show that a later commit exists. An attacker who controls the table can
//! put an earlier head back, and a publisher who changes that head would sign withdrawn
//! assignments again. So a machine remembers commits, and compares each head with them before it
//! signs.
//!
//! A machine writes down a commit before it signs it. If the machine stops before the commit is
//! the head, the next command finds the commit unfinished: see [`Finding`].

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{CommitId, KeyListId, SignedKeyList};
use packcast_protocol::{PackageId, UnixTime};
use serde::{Deserialize, Serialize};

/// Age up to which an unfinished commit is completed, in seconds: one hour.
///
/// After that time nobody expects the change any more: a scheduled command must not make it.
pub const MAX_UNFINISHED_S: u64 = 3_600;

/// Age of a commit from which its descendants no longer name it, in seconds: 91 days.
pub const MAX_ANCESTOR_AGE_S: u64 = 91 * 86_400;

/// One line of the memory. A later line of the same commit replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLine {
    pub commit: CommitId,
    /// Time of the line by the clock of the machine.
    pub at: UnixTime,
    /// Key that has signed, or is about to sign, the commit.
    pub key: PublicKey,
    #[serde(flatten)]
    pub event: MemoryEvent,
}

/// The latest that a machine knows of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum MemoryEvent {
    /// The machine is about to sign the commit.
    Signing {
        /// The text of the commit, which the machine can sign again.
        text: String,
        /// The head that the commit replaces. `None` for the first commit.
        replaced: Option<CommitId>,
        /// Packages that the commit assigns. None of them may be deleted when it becomes the head.
        packages: Vec<PackageId>,
        /// The key list that becomes public with the commit. `None` if the newest list stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        list: Option<SignedList>,
    },
    /// The machine has signed the commit, and the commit was the head.
    Stored,
    /// The machine has signed the commit, and the commit was never the head. A device may have it
    /// even so: the commit was in a request to the table.
    Lost { text: String },
    /// The commit was the head, as another machine has signed it.
    Seen,
}

/// A key list that a machine has signed and not yet stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedList {
    pub id: KeyListId,
    #[serde(flatten)]
    pub signed: SignedKeyList,
}

/// Commits and key lists that a machine remembers, of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    commits: BTreeMap<CommitId, MemoryLine>,
    lists: BTreeMap<KeyListId, SignedKeyList>,
}

/// A verified head, and the facts about it that a machine compares with its memory.
#[derive(Clone, Copy, Debug)]
pub struct HeadFacts<'a> {
    pub id: CommitId,
    pub issued: UnixTime,
    /// Those of the remembered commits that the head contains: the head itself, and commits among
    /// its ancestors, with the whole digest.
    pub contains: &'a BTreeSet<CommitId>,
    /// Publisher keys that the newest key list names. Commits of other keys count nowhere.
    pub keys: &'a [PublicKey],
}

/// Result of comparing a head with the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The head follows all that the machine remembers.
    Follows,
    /// The machine remembers nothing of this target: a person has to confirm the head.
    Unknown,
    /// The commit that the machine was about to store can still be stored, and must be stored
    /// before any other change.
    Unfinished(CommitId),
    /// The head leaves out a commit that was the head before: the table was restored, or somebody
    /// put an earlier head back.
    LeavesOut(CommitId),
}

impl Memory {
    /// Returns the memory of these lines, the oldest first.
    pub fn of_lines(lines: impl IntoIterator<Item = MemoryLine>) -> Self {
        let mut memory = Self::default();
        for line in lines {
            memory.remember(line);
        }
        memory
    }

    /// Adds a line.
    ///
    /// Once a commit was the head, no later line changes that: two commands may write their lines
    /// in any order.
    pub fn remember(&mut self, line: MemoryLine) {
        let known = self.line(&line.commit);
        if !known.is_some_and(|known| known.event.was_head()) || line.event.was_head() {
            self.commits.insert(line.commit, line);
        }
    }

    /// Adds a key list that was public.
    pub fn remember_list(&mut self, list: SignedList) {
        self.lists.insert(list.id, list.signed);
    }

    /// Returns the key lists that were public, in the order of their serial numbers.
    pub fn lists(&self) -> impl Iterator<Item = (KeyListId, &SignedKeyList)> {
        self.lists.iter().map(|(id, signed)| (*id, signed))
    }

    /// Returns the line of a commit. `None` if the machine does not know the commit.
    pub fn line(&self, commit: &CommitId) -> Option<&MemoryLine> {
        self.commits.get(commit)
    }

    /// Returns the remembered lines in the order of their commits.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &MemoryLine> {
        self.commits.values()
    }

    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Returns true if this commit was the head, as the machine remembers.
    pub fn was_head(&self, commit: &CommitId) -> bool {
        self.line(commit).is_some_and(|line| line.event.was_head())
    }

    /// Returns true if one of the remembered commits was the head.
    pub fn knows_a_head(&self) -> bool {
        self.lines().any(|line| line.event.was_head())
    }

    /// Returns the highest number of a remembered commit of these keys, 0 without one.
    ///
    /// The numbers of other keys do not count: the thief of a key can have signed any number.
    pub fn highest_number(&self, keys: &[PublicKey]) -> u64 {
        let of_keys = self.lines().filter(|line| keys.contains(&line.key));
        let numbers = of_keys.map(|line| line.commit.number);
        numbers.max().unwrap_or_default()
    }

    /// Compares a head with the memory. `None` is a target without a head.
    pub fn compare(&self, head: Option<&HeadFacts<'_>>, now: UnixTime) -> Finding {
        let Some(head) = head else {
            return self.compare_without_head(now);
        };
        let mut left_out = self.left_out(head);
        if let Some(line) = left_out.rfind(|line| line.event.was_head()) {
            return Finding::LeavesOut(line.commit);
        }
        let unfinished = self.lines().rfind(|line| {
            line.replaces(Some(head.id)) && line.is_young(now) && head.keys.contains(&line.key)
        });
        match unfinished {
            Some(line) => Finding::Unfinished(line.commit),
            None if self.knows(head) => Finding::Follows,
            None => Finding::Unknown,
        }
    }

    /// Returns the commits that a head should contain and leaves out.
    ///
    /// The commits may have been the head, or not. A head need not contain commits that were too old
    /// for its ancestors, or whose key the newest key list does not name.
    pub fn left_out<'a>(
        &'a self,
        head: &'a HeadFacts<'_>,
    ) -> impl DoubleEndedIterator<Item = &'a MemoryLine> {
        self.lines().filter(|line| {
            let is_recent = head.issued.since(line.at) < MAX_ANCESTOR_AGE_S;
            head.keys.contains(&line.key)
                && !head.contains.contains(&line.commit)
                && (is_recent || line.commit.number > head.id.number)
        })
    }

    /// Returns the lines to add after a command has compared this head with the memory: the
    /// outcomes of the commits that the machine was about to store.
    ///
    /// A commit that counts as lost is the head if two requests have stored it, and the answer to
    /// the second one was read.
    pub fn settled(&self, head: &HeadFacts<'_>, now: UnixTime) -> Vec<MemoryLine> {
        let settle = |line: &MemoryLine| {
            let event = match &line.event {
                MemoryEvent::Lost { .. } if line.commit == head.id => MemoryEvent::Stored,
                MemoryEvent::Signing { .. } if head.contains.contains(&line.commit) => {
                    MemoryEvent::Stored
                }
                MemoryEvent::Signing { .. }
                    if line.replaces(Some(head.id)) && line.is_young(now) =>
                {
                    return None;
                }
                MemoryEvent::Signing { text, .. } => MemoryEvent::Lost { text: text.clone() },
                _ => return None,
            };
            Some(MemoryLine {
                at: now,
                event,
                ..line.clone()
            })
        };
        self.lines().filter_map(settle).collect()
    }

    /// Returns the lost commits of these keys that a head does not contain, the newest last.
    ///
    /// The next commit adopts them: it names them among its ancestors, so that a device that holds
    /// one of them accepts the next commit.
    pub fn to_adopt<'a>(
        &'a self,
        head: &'a HeadFacts<'_>,
        now: UnixTime,
    ) -> impl Iterator<Item = &'a MemoryLine> {
        self.lines().filter(move |line| {
            matches!(line.event, MemoryEvent::Lost { .. })
                && head.keys.contains(&line.key)
                && now.since(line.at) < MAX_ANCESTOR_AGE_S
                && !head.contains.contains(&line.commit)
        })
    }

    fn compare_without_head(&self, now: UnixTime) -> Finding {
        if let Some(line) = self.lines().rfind(|line| line.event.was_head()) {
            return Finding::LeavesOut(line.commit);
        }
        let unfinished = self
            .lines()
            .rfind(|line| line.replaces(None) && line.is_young(now));
        unfinished.map_or(Finding::Follows, |line| Finding::Unfinished(line.commit))
    }

    /// Returns true if the memory has a commit that the head contains.
    fn knows(&self, head: &HeadFacts<'_>) -> bool {
        self.lines()
            .any(|line| line.event.was_head() && head.contains.contains(&line.commit))
    }
}

impl MemoryLine {
    /// Returns true if the machine was about to store the commit in place of this head.
    fn replaces(&self, head: Option<CommitId>) -> bool {
        matches!(&self.event, MemoryEvent::Signing { replaced, .. } if *replaced == head)
    }

    fn is_young(&self, now: UnixTime) -> bool {
        now.since(self.at) < MAX_UNFINISHED_S
    }
}

impl MemoryEvent {
    const fn was_head(&self) -> bool {
        matches!(self, Self::Stored | Self::Seen)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::Sha256Digest;
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn key(n: u8) -> PublicKey {
        let bytes = [&b"Ed"[..], &[n; 40]].concat();
        data_encoding::BASE64.encode(&bytes).parse().unwrap()
    }

    fn commit(number: u64) -> CommitId {
        CommitId {
            number,
            digest: Sha256Digest::of(&number.to_be_bytes()),
        }
    }

    fn line(number: u64, event: MemoryEvent) -> MemoryLine {
        MemoryLine {
            commit: commit(number),
            at: NOW,
            key: key(1),
            event,
        }
    }

    fn signing(replaced: Option<u64>) -> MemoryEvent {
        MemoryEvent::Signing {
            text: "{}".to_owned(),
            replaced: replaced.map(commit),
            packages: Vec::new(),
            list: None,
        }
    }

    fn list() -> SignedList {
        let text = "{}".to_owned();
        SignedList {
            id: KeyListId {
                serial: 1,
                digest: Sha256Digest::of(text.as_bytes()),
            },
            signed: SignedKeyList::new(text, "signature".to_owned()).unwrap(),
        }
    }

    fn lost() -> MemoryEvent {
        MemoryEvent::Lost {
            text: "{}".to_owned(),
        }
    }

    /// Compares the head with the first of these numbers, which contains all of them.
    fn compare(memory: &Memory, head: &[u64], now: UnixTime) -> Finding {
        let contains = head.iter().copied().map(commit).collect();
        let keys = [key(1)];
        let facts = head.first().map(|number| HeadFacts {
            id: commit(*number),
            issued: NOW,
            contains: &contains,
            keys: &keys,
        });
        memory.compare(facts.as_ref(), now)
    }

    #[test]
    fn a_head_that_leaves_out_an_earlier_head_is_refused() {
        for event in [MemoryEvent::Stored, MemoryEvent::Seen] {
            let memory = Memory::of_lines([line(5, event)]);
            assert_eq!(compare(&memory, &[5, 4], NOW), Finding::Follows);
            assert_eq!(compare(&memory, &[7, 6, 5], NOW), Finding::Follows);
            let left_out = Finding::LeavesOut(commit(5));
            assert_eq!(compare(&memory, &[4], NOW), left_out);
            assert_eq!(compare(&memory, &[7, 6, 4], NOW), left_out);
            assert_eq!(compare(&memory, &[], NOW), left_out);
        }
    }

    #[test]
    fn without_a_memory_a_person_confirms_the_head() {
        assert_eq!(compare(&Memory::default(), &[5], NOW), Finding::Unknown);
        assert_eq!(compare(&Memory::default(), &[], NOW), Finding::Follows);
        let memory = Memory::of_lines([line(5, lost())]);
        assert_eq!(compare(&memory, &[7], NOW), Finding::Unknown);
    }

    #[test]
    fn an_unfinished_commit_is_stored_first_if_it_is_young() {
        let lines = [line(5, MemoryEvent::Stored), line(6, signing(Some(5)))];
        let memory = Memory::of_lines(lines);
        let young = NOW.plus(MAX_UNFINISHED_S - 1);
        assert_eq!(
            compare(&memory, &[5], young),
            Finding::Unfinished(commit(6))
        );
        assert_eq!(compare(&memory, &[5], young.plus(1)), Finding::Follows);
        assert_eq!(compare(&memory, &[6, 5], young), Finding::Follows);
        assert_eq!(compare(&memory, &[7, 5], young), Finding::Follows);
        let first = Memory::of_lines([line(1, signing(None))]);
        assert_eq!(compare(&first, &[], NOW), Finding::Unfinished(commit(1)));
    }

    #[test]
    fn unfinished_commits_are_settled_by_the_head() {
        let memory = Memory::of_lines([line(6, signing(Some(5)))]);
        let settled = |head: &[u64], now| -> Vec<MemoryEvent> {
            let contains = head.iter().copied().map(commit).collect();
            let facts = HeadFacts {
                id: commit(head[0]),
                issued: NOW,
                contains: &contains,
                keys: &[key(1)],
            };
            let lines = memory.settled(&facts, now);
            lines.into_iter().map(|line| line.event).collect()
        };
        assert_eq!(settled(&[6, 5], NOW), [MemoryEvent::Stored]);
        assert_eq!(settled(&[7, 6], NOW), [MemoryEvent::Stored]);
        assert_eq!(settled(&[7, 5], NOW), [lost()]);
        assert_eq!(settled(&[5], NOW), []);
        assert_eq!(settled(&[5], NOW.plus(MAX_UNFINISHED_S)), [lost()]);
    }

    #[test]
    fn a_lost_commit_that_is_the_head_was_stored() {
        let memory = Memory::of_lines([line(6, lost())]);
        let settled = |head: &[u64]| -> Vec<MemoryEvent> {
            let contains = head.iter().copied().map(commit).collect();
            let facts = HeadFacts {
                id: commit(head[0]),
                issued: NOW,
                contains: &contains,
                keys: &[key(1)],
            };
            let lines = memory.settled(&facts, NOW);
            lines.into_iter().map(|line| line.event).collect()
        };
        assert_eq!(settled(&[6, 5]), [MemoryEvent::Stored]);
        // A commit that adopts the lost one contains it, too.
        assert_eq!(settled(&[7, 6, 5]), []);
        assert_eq!(settled(&[7, 5]), []);
    }

    #[test]
    fn commits_that_a_restored_head_leaves_out_are_found() {
        let thief = MemoryLine {
            key: key(2),
            ..line(9, MemoryEvent::Seen)
        };
        let old = MemoryLine {
            at: UnixTime(NOW.0 - MAX_ANCESTOR_AGE_S),
            ..line(3, MemoryEvent::Stored)
        };
        let others = [
            line(5, MemoryEvent::Stored),
            line(6, MemoryEvent::Seen),
            line(7, lost()),
            line(8, signing(Some(6))),
        ];
        let memory = Memory::of_lines(others.into_iter().chain([thief, old]));
        let contains = BTreeSet::from([commit(5)]);
        let facts = HeadFacts {
            id: commit(5),
            issued: NOW,
            contains: &contains,
            keys: &[key(1)],
        };
        let numbers: Vec<u64> = memory
            .left_out(&facts)
            .map(|line| line.commit.number)
            .collect();
        assert_eq!(numbers, [6, 7, 8]);
    }

    #[test]
    fn a_lost_commit_is_adopted_until_it_is_contained_or_too_old() {
        let memory = Memory::of_lines([line(6, lost())]);
        let adopted = |head: &[u64], now| {
            let contains = head.iter().copied().map(commit).collect();
            let facts = HeadFacts {
                id: commit(head[0]),
                issued: NOW,
                contains: &contains,
                keys: &[key(1)],
            };
            memory.to_adopt(&facts, now).count()
        };
        assert_eq!(adopted(&[7, 5], NOW), 1);
        assert_eq!(adopted(&[8, 7, 6], NOW), 0);
        assert_eq!(adopted(&[7, 5], NOW.plus(MAX_ANCESTOR_AGE_S)), 0);
    }

    #[test]
    fn commits_of_a_key_that_is_not_named_count_nowhere() {
        let thief = MemoryLine {
            key: key(2),
            ..line(4_000_000_000, MemoryEvent::Seen)
        };
        let memory = Memory::of_lines([line(5, MemoryEvent::Stored), thief]);
        assert!(memory.was_head(&commit(5)) && !memory.was_head(&commit(6)));
        assert_eq!(compare(&memory, &[5], NOW), Finding::Follows);
        assert_eq!(memory.highest_number(&[key(1)]), 5);
        assert_eq!(memory.highest_number(&[key(1), key(2)]), 4_000_000_000);
    }

    #[test]
    fn a_head_may_leave_out_commits_that_are_older_than_its_ancestors() {
        let memory = Memory::of_lines([line(5, MemoryEvent::Seen)]);
        let only_seven = BTreeSet::from([commit(7)]);
        let head = |number, issued| HeadFacts {
            id: commit(number),
            issued,
            contains: &only_seven,
            keys: &[],
        };
        let keys = [key(1)];
        let late = NOW.plus(MAX_ANCESTOR_AGE_S);
        let facts = HeadFacts {
            keys: &keys,
            ..head(7, late)
        };
        // Nothing in the head shows that it follows, so a person confirms it.
        assert_eq!(memory.compare(Some(&facts), late), Finding::Unknown);
        let facts = HeadFacts {
            keys: &keys,
            ..head(7, NOW)
        };
        assert_eq!(
            memory.compare(Some(&facts), late),
            Finding::LeavesOut(commit(5))
        );
        let facts = HeadFacts {
            keys: &keys,
            ..head(4, late)
        };
        assert_eq!(
            memory.compare(Some(&facts), late),
            Finding::LeavesOut(commit(5))
        );
    }

    fn event() -> impl Strategy<Value = MemoryEvent> {
        prop_oneof![
            Just(MemoryEvent::Stored),
            Just(MemoryEvent::Seen),
            Just(lost()),
            (0..6_u64).prop_map(|replaced| signing(Some(replaced))),
        ]
    }

    proptest! {
        /// Two machines that share a file write their lines in any order.
        #[test]
        fn a_commit_that_was_the_head_is_never_forgotten(
            lines in proptest::collection::vec((1..6_u64, event()), 0..12),
            head in proptest::collection::btree_set(1..6_u64, 1..5),
        ) {
            let memory = Memory::of_lines(lines.iter().map(|(number, event)| line(*number, event.clone())));
            let head: Vec<u64> = head.into_iter().rev().collect();
            let left_out = lines.iter().any(|(number, event)| {
                event.was_head() && !head.contains(number)
            });
            let found = compare(&memory, &head, NOW);
            prop_assert_eq!(matches!(found, Finding::LeavesOut(_)), left_out);
        }

        #[test]
        fn lines_read_back(number in 1..9_u64, mut event in event(), has_list: bool) {
            if let MemoryEvent::Signing { list: stored, .. } = &mut event {
                *stored = has_list.then(list);
            }
            let line = line(number, event);
            let text = serde_json::to_string(&line).unwrap();
            prop_assert_eq!(serde_json::from_str::<MemoryLine>(&text).unwrap(), line);
        }
    }
}
