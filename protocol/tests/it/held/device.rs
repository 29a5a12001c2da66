//! A device of the model, and the promise that is checked on it.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{ActedUnder, Begin, Mandate, StateReply, VerifiedState};
use packcast_protocol::{AgentId, PackageId, UnixTime};

use super::changes::{Back, Meant, PACKAGES, agent};
use super::publishers::{KEYS, Publishers};
use super::world::{BUILD, DAY, accept, begin_after, loaded, new_device, package};

/// The clock of a device, which somebody else can set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    Right,
    Epoch,
    Behind { days: u8 },
    Ahead { days: u8 },
}

/// The parts of a reply, as the owner of the table chooses them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// Key lists up to this one, none, or in the wrong order.
    pub(crate) lists: Option<Back>,
    pub(crate) lists_reversed: bool,
    pub(crate) commit: Option<Back>,
    /// Commits from which the trees come, if not from the same one.
    pub(crate) groups: Option<Back>,
    pub(crate) devices: Option<Back>,
    pub(crate) ancestors: Option<Back>,
    /// Number of a document that is left out.
    pub(crate) without: Option<u8>,
}

impl Reply {
    /// Returns the newest lists and the newest commit, whole.
    pub(crate) const fn newest() -> Self {
        Self {
            lists: Some(Back(0)),
            lists_reversed: false,
            commit: Some(Back(0)),
            groups: None,
            devices: None,
            ancestors: None,
            without: None,
        }
    }
}

/// A withdrawal that the device has seen.
#[derive(Clone, Copy)]
struct Seen {
    /// The accepted commit that shows the withdrawal, its signer and its expiry.
    accepted: usize,
    signer: usize,
    expires: UnixTime,
    /// Lowest number that is accepted under the list that removed the signer.
    removed: Option<u64>,
}

pub(crate) struct ModelDevice {
    number: usize,
    agent: AgentId,
    pub(crate) state: VerifiedState,
    clock: Clock,
    used: BTreeMap<PackageId, BTreeSet<Mandate>>,
    history: Vec<ActedUnder>,
    seen: BTreeMap<Meant, Vec<Seen>>,
}

impl ModelDevice {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            agent: agent(number),
            state: new_device(&agent(number), []),
            clock: Clock::Right,
            used: BTreeMap::new(),
            history: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    pub(crate) fn clock(&self, now: UnixTime) -> UnixTime {
        match self.clock {
            Clock::Right => now,
            Clock::Epoch => UnixTime(0),
            Clock::Behind { days } => UnixTime(now.0.saturating_sub(u64::from(days) * DAY)),
            Clock::Ahead { days } => now.plus(u64::from(days) * DAY),
        }
    }

    /// Loses the state. The history stays, with the highest commit of each key.
    pub(crate) fn lose_state(&mut self, publishers: &Publishers) {
        self.state = new_device(&self.agent, self.history.clone());
        let mut highest: BTreeMap<usize, usize> = BTreeMap::new();
        for acted in &self.history {
            let acted = acted.highest.commit;
            let commit = publishers.find(acted).expect("the commit is known");
            let known = highest.entry(publishers.signer(commit)).or_insert(commit);
            if publishers.commits[*known].commit.id.number < acted.number {
                *known = commit;
            }
        }
        for seen in self.seen.values_mut() {
            seen.retain(|seen| highest.get(&seen.signer) == Some(&seen.accepted));
        }
    }

    /// Starts the agent again: the stored state is the same state.
    pub(crate) fn restart(&mut self) {
        let new = new_device(&self.agent, self.history.clone());
        let (loaded, discarded) = loaded(&self.state, new);
        assert!(discarded.is_empty(), "{discarded:?}");
        assert_eq!(loaded.stored(), self.state.stored());
        assert!(loaded.documents().eq(self.state.documents()));
        self.state = loaded;
    }

    /// Receives a reply, and checks the promise.
    pub(crate) fn receive(&mut self, publishers: &Publishers, reply: Reply) {
        let reply = self.compose(publishers, reply);
        self.accept(publishers, &reply);
        for number in 0..u32::from(PACKAGES) {
            self.check_begin(publishers, number);
        }
    }

    fn compose(&self, publishers: &Publishers, reply: Reply) -> StateReply {
        let mut composed = StateReply::default();
        if let Some(last) = reply.lists {
            let last = last.of(publishers.lists.len());
            let lists = publishers.lists[..=last].iter();
            composed.lists = lists.map(|list| list.signed.clone()).collect();
            if reply.lists_reversed {
                composed.lists.reverse();
            }
        }
        let Some(commit) = reply.commit else {
            return composed;
        };
        let index = |back: Back| back.of(publishers.commits.len());
        let find = |other: Option<Back>| &publishers.commits[index(other.unwrap_or(commit))].commit;
        let lists = std::mem::take(&mut composed.lists);
        let mut composed = find(None).reply_to(&self.state, &self.agent);
        composed.lists = lists;
        composed.groups = Some(find(reply.groups).group_part(&self.agent));
        composed.devices = Some(find(reply.devices).device_part(&self.agent));
        if reply.ancestors.is_some() {
            composed.ancestors = find(reply.ancestors)
                .reply_to(&self.state, &self.agent)
                .ancestors;
        }
        for other in [reply.groups, reply.devices] {
            composed
                .documents
                .extend(find(other).documents.values().cloned());
        }
        if let Some(without) = reply.without {
            let without = usize::from(without) % composed.documents.len();
            let digest = composed.documents[without].digest();
            composed.documents.retain(|text| text.digest() != digest);
        }
        composed
    }

    fn held(&self, publishers: &Publishers) -> Option<usize> {
        let held = self.state.commit()?;
        Some(
            publishers
                .find(held.id())
                .expect("a publisher or a thief has signed the commit"),
        )
    }

    fn accept(&mut self, publishers: &Publishers, reply: &StateReply) {
        let before = self.held(publishers);
        let serial = self.state.chain().serial();
        // Most replies of a hostile function have refused parts.
        let _ = accept(&mut self.state, reply);
        let removed = self.follow_lists(publishers, serial);
        let held = self.held(publishers);
        if let (Some(before), Some(held)) = (before, held)
            && before != held
            && !removed.contains(&publishers.signer(before))
        {
            let number = |commit: usize| publishers.commits[commit].commit.id.number;
            assert!(number(before) < number(held), "the device went back");
        }
        if let Some(held) = held.filter(|held| before != Some(*held)) {
            self.note_withdrawals(publishers, held);
        }
    }

    /// Notes the keys that new lists have removed, and returns them.
    fn follow_lists(&mut self, publishers: &Publishers, before: u64) -> BTreeSet<usize> {
        let newest = self.state.chain().serial();
        let lists = publishers.lists.iter();
        let new = lists.filter(|list| list.serial > before && list.serial <= newest);
        let mut removed = BTreeSet::new();
        for list in new {
            let named = list.named();
            let lacks = |signer: usize| !named.contains(&signer);
            removed.extend((0..=KEYS).filter(|signer| lacks(*signer)));
            for seen in self.seen.values_mut().flatten() {
                if seen.removed.is_none() && lacks(seen.signer) {
                    seen.removed = Some(list.from);
                }
            }
        }
        removed
    }

    /// Notes the withdrawals that an accepted commit shows.
    fn note_withdrawals(&mut self, publishers: &Publishers, accepted: usize) {
        let record = &publishers.commits[accepted];
        if record.tainted {
            return;
        }
        for meant in &record.withdrawn[self.number] {
            self.seen.entry(meant.clone()).or_default().push(Seen {
                accepted,
                signer: record.commit.draft.signer,
                expires: record.commit.draft.expires(),
                removed: None,
            });
        }
    }

    /// Decides on a package, and checks the promise.
    fn check_begin(&self, publishers: &Publishers, number: u32) -> Option<Begin> {
        let none = BTreeSet::new();
        let used = self.used.get(&package(number)).unwrap_or(&none);
        let clock = self.clock(publishers.now);
        let begin = begin_after(&self.state, number, used, clock).ok()?;
        // One commit, which a key has signed that the device trusts now.
        let index = publishers
            .find(begin.under.highest.commit)
            .expect("the commit is known");
        assert_eq!(Some(index), self.held(publishers));
        let record = &publishers.commits[index];
        let serial = usize::try_from(self.state.chain().serial()).expect("there are few lists");
        let list = &publishers.lists[serial - 1];
        assert!(list.named().contains(&publishers.signer(index)));
        assert!(clock.max(BUILD) < list.expires);
        assert!(clock.max(BUILD) < record.commit.draft.expires());
        // The entries of this commit, and no other.
        let content = &record.commit.draft.content;
        let meant: BTreeSet<Mandate> = content
            .mandates(&self.agent)
            .into_keys()
            .filter(|(id, _)| *id == package(number))
            .map(|(_, mandate)| mandate)
            .collect();
        assert_eq!(begin.mandates, meant);
        let unused: Vec<&Mandate> = begin.mandates.difference(used).collect();
        assert!(!unused.is_empty());
        for mandate in unused {
            let meant = (package(number), mandate.clone());
            for seen in self.seen.get(&meant).into_iter().flatten() {
                // A publisher that commits after the removal of a key decides for itself.
                let is_later = |from| record.commit.id.number >= from;
                let is_protected = !seen.removed.is_some_and(is_later);
                let counts = record.commit.draft.issued < seen.expires && is_protected;
                let continues = index == seen.accepted || record.lineage.contains(&seen.accepted);
                assert!(
                    !counts || record.tainted || continues,
                    "{meant:?} was withdrawn by commit {}, and came back with commit {index}",
                    seen.accepted
                );
            }
        }
        Some(begin)
    }

    /// Acts on a package, if the device may.
    pub(crate) fn act(&mut self, publishers: &Publishers, number: u32) {
        if let Some(begin) = self.check_begin(publishers, number) {
            self.used
                .entry(package(number))
                .or_default()
                .extend(begin.mandates);
            self.history.push(begin.under);
            let clock = self.clock(publishers.now);
            let used = &self.used[&package(number)];
            assert!(begin_after(&self.state, number, used, clock).is_err());
        }
    }

    /// Receives the last, honest state, and must be able to act on it.
    pub(crate) fn recover(&mut self, publishers: &Publishers, last: usize, package: u32) {
        let commit = &publishers.commits[last].commit;
        let lists = publishers.lists.iter();
        let lists = StateReply {
            lists: lists.map(|list| list.signed.clone()).collect(),
            ..StateReply::default()
        };
        // Older lists of the target are refused.
        let _ = accept(&mut self.state, &lists);
        let reply = commit.reply_to(&self.state, &self.agent);
        let refused = accept(&mut self.state, &reply);
        assert!(refused.is_empty(), "{refused:?}");
        // A fast clock only makes the device wait, until somebody corrects the clock.
        let clock = self.clock(publishers.now).min(publishers.now);
        let begin = begin_after(&self.state, package, &BTreeSet::new(), clock);
        let begin = begin.unwrap_or_else(|waiting| panic!("the device is lost: {waiting}"));
        assert_eq!(begin.under.highest.commit, commit.id);
    }
}
