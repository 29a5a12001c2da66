//! What a publisher signs: the packages of a group, and the packages and groups of a device.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::assignments::{
    Assigned, Assignments, AssignmentsError, Held, Recipient, SignedAssignments,
};
use packcast_protocol::manifest::DEFAULT_VALIDITY_S;
use packcast_protocol::signed::{Document as _, Signed};
use packcast_protocol::{AgentId, GroupName, PackageId, Sha256Digest, UnixTime};
use serde::{Deserialize, Serialize};

use crate::group::{GroupAssignment, GroupState, Memberships};
use crate::record::{OpenTask, TaskState};

const DAY_S: u64 = 24 * 3600;

/// How long assignments are good for, in seconds: as long as manifests.
pub const VALIDITY_S: u64 = DEFAULT_VALIDITY_S;

/// Assignments that are good for less than this are signed again, in seconds: so a monthly
/// round leaves none that end within 60 days.
pub const RENEWED_BEFORE_S: u64 = 90 * DAY_S;

/// Assignments that are good for less than this are warned of, in seconds.
pub const WARNED_BEFORE_S: u64 = 30 * DAY_S;

/// Tells whether assignments are to be signed again.
pub fn is_due(expires: UnixTime, now: UnixTime) -> bool {
    expires.since(now) < RENEWED_BEFORE_S
}

/// Returns the revision that a change leads to, after `before` (0 if there was none).
///
/// It is at least the time in seconds: when a table is restored to an earlier day, what changes
/// then is later than all that devices have heard of the days that are lost.
pub fn next_revision(before: u64, now: UnixTime) -> u64 {
    before.saturating_add(1).max(now.0)
}

/// The packages whose signed manifests a publisher has seen, with the digest of each: what the
/// records say of a package may have been put there by whoever owns them.
pub type Vouched = BTreeMap<PackageId, Sha256Digest>;

/// From when and until when assignments are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub issued: UnixTime,
    pub expires: UnixTime,
}

impl Term {
    /// Returns the term of what is signed now.
    pub fn from(now: UnixTime) -> Self {
        Self {
            issued: now,
            expires: now.plus(VALIDITY_S),
        }
    }

    /// Returns the term of a change: whatever the clock says, it is not issued before what it
    /// changes.
    pub fn following(issued: Option<UnixTime>, now: UnixTime) -> Self {
        Self {
            issued: issued.map_or(now, |issued| now.max(issued)),
            ..Self::from(now)
        }
    }

    /// Returns the term of what follows a state that the publisher has not signed, given what he
    /// knows to be signed: it is later than both.
    ///
    /// A time on record that lies more than a day ahead may have been put there, so that nothing
    /// would ever be later.
    pub fn following_unsigned(
        recorded: Option<UnixTime>,
        known: Option<UnixTime>,
        now: UnixTime,
    ) -> Self {
        let recorded = recorded.filter(|issued| *issued <= now.plus(DAY_S));
        let latest = recorded.max(known);
        latest.map_or_else(|| Self::from(now), |issued| Self::renewing(issued, now))
    }

    /// Returns the term of a renewal: whatever the clock says, it is issued later than before.
    pub fn renewing(issued: UnixTime, now: UnixTime) -> Self {
        Self {
            issued: now.max(issued.plus(1)),
            ..Self::from(now)
        }
    }
}

/// A signature over a group's state, with what the signed document says beside the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub issued: UnixTime,
    pub expires: UnixTime,
    /// In minisign format.
    pub signature: String,
}

impl GroupState {
    /// Returns the document that is signed for this state.
    pub fn document(&self, term: Term) -> Result<Assignments, AssignmentsError> {
        let state = Held {
            revision: self.revision,
            issued: term.issued,
        };
        let packages = self.assignments.iter().map(assigned).collect();
        let recipient = Recipient::Group(self.group.clone());
        Assignments::new(recipient, state, BTreeSet::new(), packages, term.expires)
    }

    /// Returns the state with a signature over its document of that term.
    #[must_use]
    pub fn sealed(self, term: Term, signature: String) -> Self {
        let Term { issued, expires } = term;
        Self {
            seal: Some(Seal {
                issued,
                expires,
                signature,
            }),
            ..self
        }
    }

    /// Returns the signed document; none if the state is not signed. Whether the signature
    /// holds is not looked at.
    pub fn signed(&self) -> Option<SignedAssignments> {
        let Seal {
            issued,
            expires,
            signature,
        } = self.seal.as_ref()?;
        let (issued, expires) = (*issued, *expires);
        let document = self.document(Term { issued, expires }).ok()?;
        Signed::new(document.to_document(), signature.clone()).ok()
    }

    /// Returns which state of the group's assignments is signed; none if this one is not.
    pub fn held(&self) -> Option<Held> {
        self.seal.as_ref().map(|seal| Held {
            revision: self.revision,
            issued: seal.issued,
        })
    }
}

fn assigned(assignment: &GroupAssignment) -> Assigned {
    Assigned {
        package: assignment.package,
        manifest: assignment.manifest,
        seq: assignment.seq,
        force: assignment.force,
    }
}

/// What changes of a device's own assignments.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    Assign {
        package: PackageId,
        /// The digest of its manifest.
        manifest: Sha256Digest,
        force: bool,
        /// The device's tasks: a package that has none any more is done with, and is not
        /// named any longer.
        tasks: &'a [OpenTask],
    },
    Unassign {
        package: PackageId,
    },
    Join(&'a GroupName),
    Leave(&'a GroupName),
}

/// Returns a device's next assignments; none if nothing changes.
///
/// They follow from those before, which the publisher has signed, and from the change alone:
/// who owns the records could have added to the device's tasks and groups.
pub fn change(
    device: &AgentId,
    before: Option<&Assignments>,
    change: Change<'_>,
    now: UnixTime,
) -> Result<Option<Assignments>, AssignmentsError> {
    let mut groups = before.map_or_else(BTreeSet::new, |before| before.groups().clone());
    let mut packages = before.map_or_else(Vec::new, |before| before.packages().to_vec());
    let latest = before.map(Assignments::held);
    let revision = next_revision(latest.map_or(0, |latest| latest.revision), now);
    let is_changed = match change {
        Change::Assign {
            package,
            manifest,
            force,
            tasks,
        } => {
            let is_open = |package| tasks.iter().any(|task| task.package == package);
            packages.retain(|before| before.package != package && is_open(before.package));
            packages.push(Assigned {
                package,
                manifest,
                seq: revision,
                force,
            });
            true
        }
        Change::Unassign { package } => {
            let count = packages.len();
            packages.retain(|before| before.package != package);
            packages.len() < count
        }
        Change::Join(group) => groups.insert(group.clone()),
        Change::Leave(group) => groups.remove(group),
    };
    if !is_changed {
        return Ok(None);
    }
    let term = Term::following(latest.map(|latest| latest.issued), now);
    state(device, revision, groups, packages, term).map(Some)
}

/// Returns assignments as they are, of another term. `known` is what the publisher knows to be
/// signed, which may be later in a table that was restored.
pub fn renewed(
    before: &Assignments,
    known: Option<Held>,
    now: UnixTime,
) -> Result<Assignments, AssignmentsError> {
    let Held { issued, revision } = before.held();
    let known = known.map_or(issued, |known| known.issued);
    let term = Term::renewing(issued.max(known), now);
    let issued = term.issued;
    Assignments::new(
        before.recipient().clone(),
        Held { issued, revision },
        before.groups().clone(),
        before.packages().to_vec(),
        term.expires,
    )
}

/// Returns a device's assignments as the records have them, for a publisher who has looked at
/// them. `latest` is the state that the device may hold by the records, and `known` by what the
/// publisher knows; packages that nobody vouches for are left out.
pub fn as_recorded(
    device: &AgentId,
    latest: Option<Held>,
    known: Option<Held>,
    memberships: &Memberships,
    tasks: &[OpenTask],
    vouched: &Vouched,
    now: UnixTime,
) -> Result<Assignments, AssignmentsError> {
    let revision = next_revision(latest.map_or(0, |latest| latest.revision), now);
    let packages = own(tasks).filter_map(|task| {
        Some(Assigned {
            package: task.package,
            manifest: *vouched.get(&task.package)?,
            seq: revision,
            force: task.force,
        })
    });
    let groups = memberships.joined().cloned().collect();
    let issued = |held: Option<Held>| held.map(|held| held.issued);
    let term = Term::following_unsigned(issued(latest), issued(known), now);
    state(device, revision, groups, packages.collect(), term)
}

/// Returns the tasks that a device has of its own and that were not taken back.
pub fn own(tasks: &[OpenTask]) -> impl Iterator<Item = &OpenTask> {
    tasks
        .iter()
        .filter(|task| task.direct && !matches!(task.state, TaskState::Withdrawn { .. }))
}

fn state(
    device: &AgentId,
    revision: u64,
    groups: BTreeSet<GroupName>,
    packages: Vec<Assigned>,
    term: Term,
) -> Result<Assignments, AssignmentsError> {
    let Term { issued, expires } = term;
    let recipient = Recipient::Device(device.clone());
    Assignments::new(
        recipient,
        Held { issued, revision },
        groups,
        packages,
        expires,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::group;
    use crate::record::tests::{id, package, task};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn device() -> AgentId {
        AgentId::of_public_key(&[1; 32])
    }

    fn assign(n: u32, tasks: &[OpenTask]) -> Change<'_> {
        Change::Assign {
            package: id(n),
            manifest: Sha256Digest::of(&n.to_be_bytes()),
            force: false,
            tasks,
        }
    }

    fn changed(before: Option<&Assignments>, what: Change<'_>) -> Option<Assignments> {
        change(&device(), before, what, NOW).unwrap()
    }

    fn seqs(assignments: &Assignments) -> Vec<(PackageId, u64)> {
        let packages = assignments.packages().iter();
        packages.map(|one| (one.package, one.seq - NOW.0)).collect()
    }

    #[test]
    fn a_group_document_says_what_the_state_has() {
        let state = GroupState::new(group("lab"), NOW.0, NOW);
        let state = state.assign(&package(2), true, NOW).unwrap();
        assert_eq!((state.signed(), state.held()), (None, None));
        let term = Term::from(NOW);
        let document = state.document(term).unwrap();
        let expected = Assigned {
            package: id(2),
            manifest: Sha256Digest::of(&2_u32.to_be_bytes()),
            seq: NOW.0 + 1,
            force: true,
        };
        assert_eq!(document.packages(), [expected]);
        let sealed = state.sealed(term, "signature".to_owned());
        let signed = sealed.signed().unwrap();
        assert_eq!(signed.document(), document.to_document());
        assert_eq!(sealed.held(), Some(document.held()));
        assert_eq!(sealed.unassign(id(2), NOW).unwrap().seal, None);
    }

    #[test]
    fn each_change_of_a_device_is_a_revision() {
        let lab = group("lab");
        let one = changed(None, Change::Join(&lab)).unwrap();
        assert_eq!((one.held().revision, one.groups().len()), (NOW.0, 1));
        assert_eq!(changed(Some(&one), Change::Join(&lab)), None);
        let two = changed(Some(&one), assign(7, &[])).unwrap();
        assert_eq!(seqs(&two), [(id(7), 1)]);
        assert!(two.groups().contains(&lab));
        let three = changed(Some(&two), assign(7, &[task(7, 5)])).unwrap();
        assert_eq!(seqs(&three), [(id(7), 2)]);
        let four = changed(Some(&three), Change::Leave(&lab)).unwrap();
        assert!(four.groups().is_empty());
        let five = changed(Some(&four), Change::Unassign { package: id(7) }).unwrap();
        assert_eq!((five.held().revision, seqs(&five)), (NOW.0 + 4, vec![]));
        let again = Change::Unassign { package: id(7) };
        assert_eq!(changed(Some(&five), again), None);
    }

    #[test]
    fn what_changes_in_a_restored_table_is_later_than_what_was_lost_with_it() {
        let kept = changed(None, assign(1, &[])).unwrap();
        let lost = changed(Some(&kept), assign(2, &[])).unwrap();
        let restored = NOW.plus(60);
        let site = group("site");
        let after = change(&device(), Some(&kept), Change::Join(&site), restored);
        assert!(after.unwrap().unwrap().held() > lost.held());
        assert!(renewed(&kept, None, restored).unwrap().held() > lost.held());

        let kept = GroupState::new(site, 0, NOW);
        let lost = kept.assign(&package(1), false, NOW).unwrap();
        let after = kept.assign(&package(1), false, restored).unwrap();
        assert!(after.assignments[0].seq > lost.assignments[0].seq);
        assert!(after.revision > lost.revision);
    }

    #[test]
    fn what_follows_is_later_also_by_a_clock_that_is_slow() {
        let one = changed(None, assign(1, &[])).unwrap();
        let slow = UnixTime(NOW.0 - 3600);
        let site = group("site");
        let two = change(&device(), Some(&one), Change::Join(&site), slow);
        assert!(two.unwrap().unwrap().held() > one.held());
        let again = as_recorded(
            &device(),
            Some(one.held()),
            None,
            &Memberships::default(),
            &[],
            &Vouched::new(),
            slow,
        );
        assert!(again.unwrap().held() > one.held());
    }

    #[test]
    fn a_time_far_ahead_that_nobody_has_signed_is_not_followed() {
        let check = |recorded: u64, known: Option<u64>, issued: u64| {
            let known = known.map(UnixTime);
            let term = Term::following_unsigned(Some(UnixTime(recorded)), known, NOW);
            let expected = (UnixTime(issued), NOW.plus(VALIDITY_S));
            assert_eq!((term.issued, term.expires), expected);
        };
        check(NOW.0 - 9, None, NOW.0);
        check(NOW.0 + 3600, None, NOW.0 + 3601);
        check(NOW.0 + DAY_S + 1, None, NOW.0);
        check(u64::MAX, None, NOW.0);
        // What the publisher knows counts, wherever its clock was.
        check(0, Some(NOW.0 + 2 * DAY_S), NOW.0 + 2 * DAY_S + 1);
    }

    #[test]
    fn what_is_done_with_is_left_out_and_what_the_records_add_is_not_taken_over() {
        let one = changed(None, assign(1, &[])).unwrap();
        let two = changed(Some(&one), assign(2, &[task(1, 5)])).unwrap();
        assert_eq!(seqs(&two), [(id(1), 0), (id(2), 1)]);
        let three = changed(Some(&two), assign(3, &[task(2, 5), task(9, 5)])).unwrap();
        assert_eq!(seqs(&three), [(id(2), 1), (id(3), 2)]);
    }

    #[test]
    fn a_renewal_keeps_all_but_its_term_and_is_later() {
        let one = changed(None, assign(1, &[])).unwrap();
        for now in [UnixTime(0), NOW, NOW.plus(1000)] {
            let renewed = renewed(&one, None, now).unwrap();
            assert!(renewed.held() > one.held());
            assert_eq!(renewed.held().revision, one.held().revision);
            assert_eq!(renewed.packages(), one.packages());
            assert_eq!(renewed.expires(), now.plus(VALIDITY_S));
        }
    }

    #[test]
    fn the_records_of_a_device_are_its_own_tasks_and_its_groups() {
        let mut of_a_group = task(2, 5);
        of_a_group.direct = false;
        let mut taken_back = task(3, 5);
        taken_back.state = TaskState::Withdrawn { announced_at: NOW };
        let tasks = [task(1, 5), of_a_group, taken_back, task(4, 5)];
        let memberships = Memberships::from_iter([(group("lab"), 3), (GroupName::all(), 9)]);
        let latest = Held {
            revision: NOW.0 + 4,
            issued: NOW,
        };
        let digest = Sha256Digest::of(b"");
        let vouched = [1, 2, 3].map(|n| (id(n), digest)).into();
        let made = as_recorded(
            &device(),
            Some(latest),
            None,
            &memberships,
            &tasks,
            &vouched,
            NOW,
        )
        .unwrap();
        assert_eq!(seqs(&made), [(id(1), 5)]);
        assert_eq!(made.packages()[0].manifest, digest);
        assert_eq!(made.groups(), &BTreeSet::from([group("lab")]));
    }
}
