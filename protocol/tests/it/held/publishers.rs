//! Honest publishers and a thief, and the record of everything that they have signed.

use std::collections::BTreeSet;

use packcast_protocol::UnixTime;
use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::number::MAX_NUMBER_AHEAD_S;
use packcast_protocol::state::{CommitId, SignedKeyList};

use super::changes::{AGENTS, Back, Change, GROUPS, LAST_PACKAGE, Meant, mandates, withdraw};
use super::world::{Content, DAY, Draft, ListDraft, NOW, TestCommit, device, entry};

/// A signed commit, and its place in the history that the publishers mean.
pub(crate) struct Record {
    pub(crate) commit: TestCommit,
    /// The commits from which the content was derived: parents, and commits that an administrator
    /// has adopted after a look at their difference.
    pub(crate) lineage: BTreeSet<usize>,
    /// For each device, the mandates that this commit or its lineage has withdrawn.
    pub(crate) withdrawn: Vec<BTreeSet<Meant>>,
    /// True if a thief has signed the commit, or a commit of its lineage.
    pub(crate) tainted: bool,
}

/// A key list, and its content.
pub(crate) struct ListRecord {
    pub(crate) signed: SignedKeyList,
    pub(crate) serial: u64,
    pub(crate) from: u64,
    /// Keys that may sign new commits.
    pub(crate) publishers: BTreeSet<usize>,
    /// Keys that sign no further commits.
    retired: BTreeSet<usize>,
    pub(crate) expires: UnixTime,
}

impl ListRecord {
    /// Returns the keys whose commits still count.
    pub(crate) fn named(&self) -> BTreeSet<usize> {
        &self.publishers | &self.retired
    }
}

/// The machine of an administrator.
#[derive(Clone)]
struct Machine {
    key: usize,
    /// Index of the memory, which machines can share.
    memory: usize,
    /// Index of the newest key list that the machine has seen.
    list: usize,
}

/// A line of a memory.
#[derive(Clone, Copy)]
struct Remembered {
    commit: usize,
    /// True if this memory's machine has signed the commit, and the table then refused it.
    own_lost: bool,
}

/// A forged commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forgery {
    /// Commit whose content the thief takes.
    pub(crate) content: Back,
    pub(crate) base: Back,
    pub(crate) change: Change,
    /// Seconds from now to the time of signing.
    pub(crate) issued: u32,
    /// Seconds from the time of signing to the number.
    pub(crate) ahead: u32,
    pub(crate) days: u8,
    pub(crate) contains_all: bool,
}

pub(crate) struct Publishers {
    pub(crate) now: UnixTime,
    pub(crate) lists: Vec<ListRecord>,
    pub(crate) commits: Vec<Record>,
    /// The commit that an honest table would show.
    head: usize,
    machines: Vec<Machine>,
    memories: Vec<Vec<Remembered>>,
    pub(crate) leaked: BTreeSet<usize>,
    next_key: usize,
}

/// Numbers of the keys that a target can use one after the other; key 0 is the root key.
pub(crate) const KEYS: usize = 11;

impl Publishers {
    /// Starts with two machines, one key list and one commit.
    pub(crate) fn new(same_key: bool, shared_memory: bool) -> Self {
        let keys = if same_key { [1, 1] } else { [1, 2] };
        let machine = |number: usize| Machine {
            key: keys[number],
            memory: if shared_memory { 0 } else { number },
            list: 0,
        };
        let mut publishers = Self {
            now: NOW,
            lists: Vec::new(),
            commits: Vec::new(),
            head: 0,
            machines: vec![machine(0), machine(1)],
            memories: vec![Vec::new(), Vec::new()],
            leaked: BTreeSet::new(),
            next_key: 3,
        };
        publishers.sign_list(keys.into(), BTreeSet::new(), 0);
        let mut content = Content::default();
        for name in GROUPS.iter().chain(&["far", "near"]) {
            content = content.with_group(name, &[]);
        }
        for number in 100..104 {
            content.devices.entry(device(number)).or_default();
        }
        let first = Draft::first(content).sign();
        publishers.commits.push(Record {
            commit: first,
            lineage: BTreeSet::new(),
            withdrawn: vec![BTreeSet::new(); AGENTS],
            tainted: false,
        });
        publishers.remember(0, 0, false);
        publishers
    }

    fn remember(&mut self, machine: usize, commit: usize, own_lost: bool) {
        let memory = self.machines[machine].memory;
        self.memories[memory].push(Remembered { commit, own_lost });
    }

    /// Signs a key list with the next serial number, by the root key.
    ///
    /// A list that removes a key accepts commits from the next number on.
    fn sign_list(&mut self, publishers: BTreeSet<usize>, retired: BTreeSet<usize>, next: u64) {
        let keys: Vec<usize> = publishers.iter().copied().collect();
        let old: Vec<usize> = retired.iter().copied().collect();
        let from = match self.lists.last() {
            Some(last) if last.named().is_subset(&(&publishers | &retired)) => last.from,
            Some(_) => next,
            None => 0,
        };
        let draft = ListDraft {
            serial: self.lists.len() as u64 + 1,
            from,
            publishers: &keys,
            retired: &old,
            issued: self.now,
            ..ListDraft::default()
        };
        self.lists.push(ListRecord {
            signed: draft.sign(),
            serial: draft.serial,
            from,
            expires: draft.expires(),
            publishers,
            retired,
        });
    }

    /// Returns whether a commit contains another one, or is the same.
    fn contains(&self, commit: usize, other: usize) -> bool {
        let id = self.commits[other].commit.id;
        let commit = &self.commits[commit].commit;
        commit.id == id || commit.draft.ancestors.contains(&id)
    }

    fn is_old(&self, id: CommitId) -> bool {
        id.number < self.now.0.saturating_sub(91 * DAY)
    }

    /// Decides if a machine continues a head that the table shows to it, with key list `list`.
    fn continues(&self, machine: usize, head: usize, list: usize) -> bool {
        let draft = &self.commits[head].commit.draft;
        let list = &self.lists[list];
        list.publishers.contains(&draft.signer)
            && draft.number >= list.from
            && draft.number <= self.now.0 + MAX_NUMBER_AHEAD_S
            && draft.issued.0 <= self.now.0 + 300
            && self.descends(machine, head)
    }

    /// Returns the newest list.
    fn newest(&self) -> &ListRecord {
        &self.lists[self.lists.len() - 1]
    }

    /// Returns the publisher keys of the newest list, retired ones included.
    fn named(&self) -> BTreeSet<usize> {
        self.newest().named()
    }

    /// Returns the commits that a machine remembers, without those of a leaked key that is not
    /// named any more.
    fn remembered(
        &self,
        machine: usize,
        named: &BTreeSet<usize>,
    ) -> impl Iterator<Item = Remembered> {
        let memory = self.memories[self.machines[machine].memory].iter().copied();
        memory.filter(|known| {
            let signer = self.signer(known.commit);
            named.contains(&signer) || !self.leaked.contains(&signer)
        })
    }

    /// Decides if a commit contains the highest commit that a machine remembers as made.
    fn descends(&self, machine: usize, head: usize) -> bool {
        let named = self.named();
        let remembered = self.remembered(machine, &named);
        let made = remembered.filter(|known| !known.own_lost);
        let highest = made
            .map(|known| known.commit)
            .max_by_key(|known| self.commits[*known].commit.id.number);
        highest.is_none_or(|known| {
            self.is_old(self.commits[known].commit.id) || self.contains(head, known)
        })
    }

    pub(crate) fn signer(&self, commit: usize) -> usize {
        self.commits[commit].commit.draft.signer
    }

    /// Shows a machine a head and a key list. Returns the head, if the machine continues it.
    fn shown(&mut self, machine: usize, head: Option<Back>) -> Option<usize> {
        let newest = self.lists.len() - 1;
        let head = head.map_or(self.head, |head| head.of(self.commits.len()));
        let known = self.machines[machine].list;
        // The table owner shows the key list that suits the head, but no older one.
        let list = (known..=newest)
            .find(|list| self.continues(machine, head, *list))
            .filter(|list| {
                self.lists[*list]
                    .publishers
                    .contains(&self.machines[machine].key)
            })?;
        self.machines[machine].list = list;
        Some(head)
    }

    /// Returns the number of a machine's next commit, unless it would be too far ahead.
    fn next_number(&self, machine: usize, base: usize, named: &BTreeSet<usize>) -> Option<u64> {
        let remembered = self.remembered(machine, named);
        let numbers = remembered.map(|known| self.commits[known.commit].commit.id.number);
        let parent = self.commits[base].commit.id;
        let number = next_number(Some(parent), numbers.max().unwrap_or(0), self.now);
        (number <= self.now.0 + MAX_NUMBER_AHEAD_S).then_some(number)
    }

    /// Makes a commit, unless its number would be too far ahead.
    ///
    /// `other` is a commit of another machine that the administrator adopts. Lost commits of this
    /// memory are adopted always. The withdrawals of an adopted commit stay.
    fn commit(
        &mut self,
        machine: usize,
        base: usize,
        other: Option<usize>,
        change: impl FnOnce(&mut Content, u64),
        days: u8,
        is_lost: bool,
    ) -> Option<usize> {
        let parent = self.commits[base].commit.clone();
        let number = self.next_number(machine, base, &self.named())?;
        let mut ancestors = parent.draft.ancestors.clone();
        ancestors.insert(parent.id);
        let named = self.named();
        let lost = self.remembered(machine, &named);
        let lost = lost
            .filter(|known| known.own_lost)
            .map(|known| known.commit);
        // The content of a thief is in none of them.
        let adopted: BTreeSet<usize> = lost
            .chain(other)
            .filter(|commit| !self.commits[*commit].tainted)
            .collect();
        let mut lineage = self.commits[base].lineage.clone();
        lineage.insert(base);
        for other in &adopted {
            let Record { commit, .. } = &self.commits[*other];
            ancestors.extend(&commit.draft.ancestors);
            ancestors.insert(commit.id);
            lineage.extend(&self.commits[*other].lineage);
            lineage.insert(*other);
        }
        ancestors.retain(|id| !self.is_old(*id) && id.number < number);
        let mut content = parent.draft.content.clone();
        for other in &adopted {
            for device in 0..AGENTS {
                withdraw(
                    &mut content,
                    device,
                    &self.commits[*other].withdrawn[device],
                );
            }
        }
        change(&mut content, number);
        let withdrawn = (0..AGENTS).map(|device| {
            let now = mandates(&content, device);
            let before = mandates(&parent.draft.content, device);
            let mut withdrawn = self.commits[base].withdrawn[device].clone();
            withdrawn.extend(before);
            for other in &adopted {
                withdrawn.extend(self.commits[*other].withdrawn[device].iter().cloned());
            }
            &withdrawn - &now
        });
        let withdrawn = withdrawn.collect();
        let Machine { key, list, .. } = self.machines[machine];
        let tainted = lineage.iter().any(|known| self.commits[*known].tainted);
        let draft = Draft {
            signer: key,
            keys: self.lists[list].serial,
            number,
            parent: Some(parent.id),
            ancestors,
            issued: self.now,
            days: u64::from(days % 90) + 1,
            content,
        };
        let index = self.commits.len();
        self.commits.push(Record {
            commit: draft.sign(),
            lineage,
            withdrawn,
            tainted,
        });
        self.remember(machine, base, false);
        self.remember(machine, index, is_lost);
        if !is_lost {
            self.head = index;
        }
        Some(index)
    }

    /// Lets a machine change the content, under a head that the table owner chooses.
    pub(crate) fn change(
        &mut self,
        machine: usize,
        head: Option<Back>,
        change: Change,
        days: u8,
        is_lost: bool,
    ) {
        if let Some(base) = self.shown(machine, head) {
            let change = |content: &mut Content, number| change.apply(content, number);
            self.commit(machine, base, None, change, days, is_lost);
        }
    }

    /// Lets a machine adopt a commit of another machine, after a look at the difference.
    pub(crate) fn adopt(&mut self, machine: usize, head: Option<Back>, other: Back) {
        let other = other.of(self.commits.len());
        if self.commits[other].tainted {
            return;
        }
        if let Some(base) = self.shown(machine, head) {
            self.commit(machine, base, Some(other), |_, _| (), 89, false);
        }
    }

    /// Renews the key list and the head.
    pub(crate) fn renew(&mut self, machine: usize) {
        if let Some(base) = self.shown(machine, None) {
            let ListRecord {
                publishers,
                retired,
                ..
            } = self.newest();
            let (publishers, retired) = (publishers.clone(), retired.clone());
            self.with_list(machine, base, publishers, retired);
        }
    }

    /// Replaces the key of a machine for its age: a list with both keys and a commit, a list with
    /// the old key as a retired one and a commit.
    pub(crate) fn rotate(&mut self, machine: usize, head: Option<Back>) {
        let Some(base) = self.shown(machine, head) else {
            return;
        };
        let Some(new) = self.new_key() else { return };
        let old = self.machines[machine].key;
        let ListRecord {
            publishers,
            retired,
            ..
        } = self.newest();
        let (mut keys, mut retired) = (publishers.clone(), retired.clone());
        keys.insert(new);
        for each in &mut self.machines {
            if each.key == old {
                each.key = new;
            }
        }
        if let Some(base) = self.with_list(machine, base, keys.clone(), retired.clone()) {
            keys.remove(&old);
            retired.insert(old);
            self.with_list(machine, base, keys, retired);
        }
    }

    /// Removes leaked keys, and goes back to the last commit without a trace of a thief.
    pub(crate) fn replace_leaked(&mut self, machine: usize, head: Option<Back>) {
        let head = head.map_or(self.head, |head| head.of(self.commits.len()));
        let ListRecord {
            publishers,
            retired,
            ..
        } = self.newest();
        let mut keys = publishers - &self.leaked;
        let retired = retired - &self.leaked;
        for number in 0..self.machines.len() {
            if self.leaked.contains(&self.machines[number].key) {
                let Some(new) = self.new_key() else { return };
                self.machines[number].key = new;
            }
            keys.insert(self.machines[number].key);
        }
        let lineage = self.commits[head].lineage.iter().copied().chain([head]);
        let clean = lineage
            .filter(|commit| !self.commits[*commit].tainted)
            .max();
        if let Some(base) = clean {
            self.with_list(machine, base, keys, retired);
        }
    }

    /// Puts a key list, and a commit that names it.
    fn with_list(
        &mut self,
        machine: usize,
        base: usize,
        keys: BTreeSet<usize>,
        retired: BTreeSet<usize>,
    ) -> Option<usize> {
        let next = self.next_number(machine, base, &(&keys | &retired))?;
        self.sign_list(keys, retired, next);
        self.machines[machine].list = self.lists.len() - 1;
        if !self.descends(machine, base) {
            return None;
        }
        self.commit(machine, base, None, |_, _| (), 89, false)
    }

    fn new_key(&mut self) -> Option<usize> {
        let key = self.next_key;
        self.next_key += 1;
        (key <= KEYS).then_some(key)
    }

    /// Copies the key of a machine to a thief.
    pub(crate) fn leak(&mut self, machine: usize) {
        self.leaked.insert(self.machines[machine].key);
    }

    /// Lets a thief sign a commit, if a key has leaked.
    pub(crate) fn forge(&mut self, forgery: Forgery) {
        let Some(signer) = self.leaked.last().copied() else {
            return;
        };
        let list = self.lists.iter().rev();
        let Some(list) = list
            .into_iter()
            .find(|list| list.publishers.contains(&signer))
        else {
            return;
        };
        let base = forgery.base.of(self.commits.len());
        let content = forgery.content.of(self.commits.len());
        let mut content = self.commits[content].commit.draft.content.clone();
        let issued = self.now.plus(forgery.issued.into());
        let number = issued.0 + u64::from(forgery.ahead) % MAX_NUMBER_AHEAD_S;
        forgery.change.apply(&mut content, number);
        let parent = self.commits[base].commit.id;
        let mut ancestors = self.commits[base].commit.draft.ancestors.clone();
        ancestors.insert(parent);
        if forgery.contains_all {
            ancestors.extend(self.commits.iter().map(|record| record.commit.id));
        }
        let draft = Draft {
            signer,
            keys: list.serial,
            number,
            parent: (parent.number < number).then_some(parent),
            ancestors,
            issued,
            days: u64::from(forgery.days % 90) + 1,
            content,
        };
        self.commits.push(Record {
            commit: draft.sign(),
            lineage: self.commits[base].lineage.clone(),
            withdrawn: self.commits[base].withdrawn.clone(),
            tainted: true,
        });
    }

    /// Restores an old copy of a memory, or none.
    pub(crate) fn forget(&mut self, machine: usize, kept: u8) {
        let memory = self.machines[machine].memory;
        let lines = self.memories[memory].len();
        self.memories[memory].truncate(usize::from(kept) % (lines + 1));
        self.machines[machine].list = 0;
    }

    pub(crate) fn find(&self, id: CommitId) -> Option<usize> {
        self.commits
            .iter()
            .position(|record| record.commit.id == id)
    }

    /// Ends the history: an honest publisher removes the leaked keys, and assigns one package to
    /// every device.
    ///
    /// The commit adopts every commit of the remaining keys, or comes so late that all others have
    /// expired. In this case the key list is a month older than the expiry of the last commit, so
    /// only the new commit shows that time to a device with a slow clock.
    pub(crate) fn recover(&mut self, adopts: bool) -> usize {
        let (days_before, days_after) = if adopts { (2, 0) } else { (31, 62) };
        self.now = self.now.plus(days_before * DAY);
        let mut keys = &self.newest().publishers - &self.leaked;
        let retired = &self.newest().retired - &self.leaked;
        let signer = KEYS;
        keys.insert(signer);
        let mut ancestors = BTreeSet::new();
        let mut highest = 0;
        for record in &self.commits {
            let signer = record.commit.draft.signer;
            if keys.contains(&signer) || retired.contains(&signer) {
                highest = highest.max(record.commit.id.number);
                if adopts {
                    ancestors.insert(record.commit.id);
                }
            }
        }
        self.sign_list(keys, retired, next_number(None, highest, self.now));
        self.now = self.now.plus(days_after * DAY);
        let number = next_number(None, highest, self.now);
        let packages = [entry(LAST_PACKAGE, number)];
        let draft = Draft {
            signer,
            keys: self.lists.len() as u64,
            number,
            parent: None,
            ancestors,
            issued: self.now,
            days: 90,
            content: Content::default().with_group("all", &packages),
        };
        self.commits.push(Record {
            commit: draft.sign(),
            lineage: (0..self.commits.len()).collect(),
            withdrawn: vec![BTreeSet::new(); AGENTS],
            tainted: false,
        });
        self.commits.len() - 1
    }
}
