//! Device assignments: the signed document with a device's own packages and its groups.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::assignments::{
    AssignedPackage, Assignee, Assignments, AssignmentsError, Held,
};
use packcast_protocol::{AgentId, GroupName, PackageId, Sha256Digest, UnixTime};

use crate::membership::Memberships;
use crate::record::{OpenTask, TaskState};
use crate::validity::{Validity, next_revision};

/// Packages whose signed manifests a publisher has verified, with the digest of each manifest.
///
/// The records of a package prove nothing: anyone who can write to the table may have written
/// them.
pub type VerifiedPackages = BTreeMap<PackageId, Sha256Digest>;

/// A change of device assignments.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    Assign {
        package: PackageId,
        /// Digest of the package's manifest.
        manifest: Sha256Digest,
        force: bool,
        /// All open tasks of the device. A package without an open task is finished, and is
        /// removed from the assignments.
        tasks: &'a [OpenTask],
    },
    Unassign {
        package: PackageId,
    },
    Join(&'a GroupName),
    Leave(&'a GroupName),
}

/// Returns the next assignments of a device, or `None` if nothing changes.
///
/// They follow only from the previous assignments, which the publisher has signed, and from the
/// change. The recorded tasks and groups do not count, because anyone who can write to the table
/// could have added to them.
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
            // Removing finished packages here keeps the document short without a separate change.
            packages.retain(|before| before.package != package && is_open(before.package));
            packages.push(AssignedPackage {
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
    let validity = Validity::following(latest.map(|latest| latest.issued), now);
    state(device, revision, groups, packages, validity).map(Some)
}

/// Returns the same assignments with a new validity.
///
/// `known` is the latest state in the publisher's memory. It may be later than `before` if the
/// table was restored.
pub fn with_new_validity(
    before: &Assignments,
    known: Option<Held>,
    now: UnixTime,
) -> Result<Assignments, AssignmentsError> {
    let Held { issued, revision } = before.held();
    let known = known.map_or(issued, |known| known.issued);
    let validity = Validity::signing_again(issued.max(known), now);
    let issued = validity.issued;
    Assignments::new(
        before.recipient().clone(),
        Held { issued, revision },
        before.groups().clone(),
        before.packages().to_vec(),
        validity.expires,
    )
}

/// Returns a device's assignments as they are on record, for a publisher who has checked the
/// records.
///
/// `latest` is the latest state that the device may hold according to the records, and `known`
/// the latest according to the publisher's memory. Packages that are not in `verified` are left
/// out.
pub fn as_recorded(
    device: &AgentId,
    latest: Option<Held>,
    known: Option<Held>,
    memberships: &Memberships,
    tasks: &[OpenTask],
    verified: &VerifiedPackages,
    now: UnixTime,
) -> Result<Assignments, AssignmentsError> {
    let revision = next_revision(latest.map_or(0, |latest| latest.revision), now);
    let packages = direct_tasks(tasks).filter_map(|task| {
        Some(AssignedPackage {
            package: task.package,
            manifest: *verified.get(&task.package)?,
            seq: revision,
            force: task.force,
        })
    });
    let groups = memberships.joined().cloned().collect();
    let issued = |held: Option<Held>| held.map(|held| held.issued);
    let validity = Validity::following_unsigned(issued(latest), issued(known), now);
    state(device, revision, groups, packages.collect(), validity)
}

/// Returns the tasks that are assigned to the device itself and are not withdrawn.
pub fn direct_tasks(tasks: &[OpenTask]) -> impl Iterator<Item = &OpenTask> {
    tasks
        .iter()
        .filter(|task| task.direct && !matches!(task.state, TaskState::Withdrawn { .. }))
}

fn state(
    device: &AgentId,
    revision: u64,
    groups: BTreeSet<GroupName>,
    packages: Vec<AssignedPackage>,
    validity: Validity,
) -> Result<Assignments, AssignmentsError> {
    let Validity { issued, expires } = validity;
    let recipient = Assignee::Device(device.clone());
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
    use crate::group::GroupState;
    use crate::group::tests::group;
    use crate::record::tests::{id, package, task};
    use crate::validity::VALIDITY_S;

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

    fn changed(before: Option<&Assignments>, next: Change<'_>) -> Option<Assignments> {
        change(&device(), before, next, NOW).unwrap()
    }

    fn seqs(assignments: &Assignments) -> Vec<(PackageId, u64)> {
        let packages = assignments.packages().iter();
        packages.map(|one| (one.package, one.seq - NOW.0)).collect()
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
    fn changes_after_a_restore_supersede_lost_ones() {
        let kept = changed(None, assign(1, &[])).unwrap();
        let lost = changed(Some(&kept), assign(2, &[])).unwrap();
        let restored = NOW.plus(60);
        let site = group("site");
        let after = change(&device(), Some(&kept), Change::Join(&site), restored);
        assert!(after.unwrap().unwrap().held() > lost.held());
        assert!(with_new_validity(&kept, None, restored).unwrap().held() > lost.held());

        let kept = GroupState::new(site, 0, NOW);
        let lost = kept.assign(&package(1), false, NOW).unwrap();
        let after = kept.assign(&package(1), false, restored).unwrap();
        assert!(after.assignments[0].seq > lost.assignments[0].seq);
        assert!(after.revision > lost.revision);
    }

    #[test]
    fn a_slow_clock_does_not_issue_assignments_before_the_previous_ones() {
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
            &VerifiedPackages::new(),
            slow,
        );
        assert!(again.unwrap().held() > one.held());
    }

    #[test]
    fn finished_packages_are_removed_and_added_records_are_ignored() {
        let one = changed(None, assign(1, &[])).unwrap();
        let two = changed(Some(&one), assign(2, &[task(1, 5)])).unwrap();
        assert_eq!(seqs(&two), [(id(1), 0), (id(2), 1)]);
        let three = changed(Some(&two), assign(3, &[task(2, 5), task(9, 5)])).unwrap();
        assert_eq!(seqs(&three), [(id(2), 1), (id(3), 2)]);
    }

    #[test]
    fn signing_again_changes_only_the_validity_and_is_later() {
        let one = changed(None, assign(1, &[])).unwrap();
        for now in [UnixTime(0), NOW, NOW.plus(1000)] {
            let again = with_new_validity(&one, None, now).unwrap();
            assert!(again.held() > one.held());
            assert_eq!(again.held().revision, one.held().revision);
            assert_eq!(again.packages(), one.packages());
            assert_eq!(again.expires(), now.plus(VALIDITY_S));
        }
    }

    #[test]
    fn recorded_assignments_are_the_direct_tasks_and_the_groups() {
        let mut of_a_group = task(2, 5);
        of_a_group.direct = false;
        let mut withdrawn = task(3, 5);
        withdrawn.state = TaskState::Withdrawn { announced_at: NOW };
        let tasks = [task(1, 5), of_a_group, withdrawn, task(4, 5)];
        let memberships = Memberships::from_iter([(group("lab"), 3), (GroupName::all(), 9)]);
        let latest = Held {
            revision: NOW.0 + 4,
            issued: NOW,
        };
        let digest = Sha256Digest::of(b"");
        let verified = [1, 2, 3].map(|n| (id(n), digest)).into();
        let recorded = as_recorded(
            &device(),
            Some(latest),
            None,
            &memberships,
            &tasks,
            &verified,
            NOW,
        )
        .unwrap();
        assert_eq!(seqs(&recorded), [(id(1), 5)]);
        assert_eq!(recorded.packages()[0].manifest, digest);
        assert_eq!(recorded.groups(), &BTreeSet::from([group("lab")]));
    }
}
