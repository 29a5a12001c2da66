//! Reverts of a target on an embedded engine.

use packcast_rollout::state::StateChange;
use packcast_testing::table::{device, mia};

use super::*;
use crate::audit::audit;
use crate::diff::diff;
use crate::rendered::failures;
use crate::test_target::{
    TestTarget, assign, assign_published, create_lab, devices, join, lab, unassign_lab,
};

const MEMBERS: RevertOptions = RevertOptions {
    force: false,
    members: true,
};

fn in_lab() -> EntryOwner {
    EntryOwner::Group(lab())
}

async fn planned(target: &TestTarget, to: CommitId, options: RevertOptions) -> RevertPlan {
    plan(&target.target, to.number, options).await.unwrap()
}

async fn reverted(target: &TestTarget, plan: RevertPlan) -> RevertedTo {
    let mut signer = Signer::new(&target.target, None);
    let accept = AlsoAccept::default();
    plan.verify(&target.target, &accept, &mut signer)
        .await
        .unwrap();
    let progress = Progress::none();
    let reverted = revert(&target.target, plan, &mut signer, &progress).await;
    reverted.unwrap()
}

async fn start(seed: u64) -> (TestTarget, PackageRecord) {
    let target = TestTarget::start(seed).await;
    for number in 0..3 {
        target.table.device(number).await;
    }
    let tool = target.publish("tool").await;
    (target, tool)
}

#[tokio::test]
async fn one_commit_restores_the_state_and_its_records() {
    let (target, tool) = start(360).await;
    let own = target.publish("own").await;
    let of_device = EntryOwner::Device(device(0).device);
    let location = |url: &str| StateChange::AddLocation {
        location: "cdn".parse().unwrap(),
        url: url.parse().unwrap(),
    };
    let setup = [
        location("a.example.net"),
        create_lab(),
        join(devices(2)),
        assign_published(in_lab(), &tool),
    ];
    let earlier = target.change_all(&setup).await;
    let leave = StateChange::Leave {
        group: lab(),
        devices: [device(1).device].into(),
    };
    let changes = [
        location("b.example.net"),
        leave,
        join([device(2).device]),
        unassign_lab(tool.id),
        assign_published(of_device, &own),
        StateChange::CreateGroup {
            group: "office".parse().unwrap(),
        },
    ];
    target.change_all(&changes).await;
    let plan = planned(&target, earlier, RevertOptions::default()).await;
    insta::assert_snapshot!(plan.lines.join("\n"), @"
    location cdn: address changed from b.example.net to a.example.net
    group office: deleted
    group lab: assigned tool@1
    group lab: pc2 left
    group lab: pc1 joined
    device pc0: unassigned own@1
    ");
    assert_eq!((plan.commits(), &plan.warnings[..]), (1, &[][..]));
    let reverted = reverted(&target, plan).await;
    assert_eq!(reverted.commits.len(), 1);
    let rest = diff(
        &target.target,
        CommitRef::Number(earlier.number),
        CommitRef::Head,
    );
    // The assignment is a new one; everything else is as before.
    assert_eq!(
        rest.await.unwrap().lines,
        ["group lab: assigned tool@1 again"]
    );
    let report = audit(&target.target, &[], &Progress::none()).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.unwritten.is_empty(), "{:?}", report.unwritten);

    let again = planned(&target, earlier, RevertOptions::default()).await;
    assert!(again.is_empty(), "{:?}", again.lines);
}

#[tokio::test]
async fn devices_of_a_deleted_group_return_only_with_the_option() {
    let (target, tool) = start(361).await;
    let setup = [
        create_lab(),
        join(devices(2)),
        assign_published(in_lab(), &tool),
    ];
    let earlier = target.change_all(&setup).await;
    let delete = StateChange::DeleteGroup { group: lab() };
    target.change_all(&[delete]).await;
    let without = planned(&target, earlier, RevertOptions::default()).await;
    insta::assert_snapshot!(without.lines.join("\n"), @"
    group lab: created
    group lab: assigned tool@1
    ");
    insta::assert_snapshot!(without.warnings[0], @"
    warning: group lab was deleted since: the revert does not add its earlier devices
    hint: pass --members to add the earlier devices again
    ");
    let with = planned(&target, earlier, MEMBERS).await;
    insta::assert_snapshot!(with.lines.join("\n"), @"
    group lab: created
    group lab: assigned tool@1
    group lab: pc0, pc1 joined
    ");
    assert_eq!(with.warnings, []);
    reverted(&target, with).await;
    let report = audit(&target.target, &[], &Progress::none()).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.unwritten.is_empty(), "{:?}", report.unwritten);
}

#[tokio::test]
async fn deleted_packages_and_devices_without_a_record_are_left_out() {
    let (target, tool) = start(362).await;
    let unknown = device(77).device;
    let setup = [
        create_lab(),
        join([device(0).device, unknown.clone()]),
        assign_published(in_lab(), &tool),
        assign_published(EntryOwner::Device(unknown), &tool),
    ];
    let earlier = target.change(&setup, "packcast").await;
    let remove = StateChange::Leave {
        group: lab(),
        devices: [device(0).device, device(77).device].into(),
    };
    let unassign = StateChange::Unassign {
        from: EntryOwner::Device(device(77).device),
        package: tool.id,
    };
    target
        .change(&[remove, unassign, unassign_lab(tool.id)], "packcast")
        .await;
    let records = &target.table.records;
    records.delete(tool.id, &mia()).await.unwrap();
    let plan = planned(&target, earlier, RevertOptions::default()).await;
    insta::assert_snapshot!(plan.lines.join("\n"), @"group lab: pc0 joined");
    let warnings: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
    let warnings = warnings.join("\n").replace(&tool.id.to_string(), "TOOL");
    insta::assert_snapshot!(warnings, @"
    warning: package TOOL tool@1 was deleted: the revert does not assign it again
    warning: the revert leaves out 1 device without a record, for example because somebody removed them
    ");
}

#[tokio::test]
async fn nothing_is_reverted_after_another_change_or_with_another_manifest() {
    let (target, tool) = start(363).await;
    let setup = [create_lab(), assign_published(in_lab(), &tool)];
    let earlier = target.change_all(&setup).await;
    target.change_all(&[unassign_lab(tool.id)]).await;
    let plan = planned(&target, earlier, RevertOptions::default()).await;
    target.change_all(&[join(devices(1))]).await;
    let mut signer = Signer::new(&target.target, None);
    let progress = Progress::none();
    let refused = revert(&target.target, plan, &mut signer, &progress).await;
    let refused = refused.unwrap_err().to_string();
    let refused = refused.replace(&earlier.number.to_string(), "NUMBER");
    insta::assert_snapshot!(refused, @"
    somebody has changed the target since the difference was computed
    hint: run 'packcast revert NUMBER' again to see the present difference
    ");

    let other = assign(in_lab(), tool.id);
    let forged = target.change(&[other], "packcast").await;
    target.change(&[unassign_lab(tool.id)], "packcast").await;
    let plan = planned(&target, forged, RevertOptions::default()).await;
    let accept = AlsoAccept::default();
    let refused = plan.verify(&target.target, &accept, &mut signer).await;
    let refused = failures([refused.unwrap_err()]).replace(&tool.id.to_string(), "TOOL");
    insta::assert_snapshot!(refused, @"
    Conflict: package TOOL tool@1 has another manifest than in the earlier state
    hint: run 'packcast verify TOOL' to see all problems
    ");
}

#[test]
fn many_assignments_are_several_commits_and_withdrawals_come_first() {
    let package = |number: u32| PackageId::try_from(1_795_000_000 + number).unwrap();
    let assigns = (0..91).map(|number| assign(in_lab(), package(number)));
    let same = assign(EntryOwner::Group("office".parse().unwrap()), package(90));
    let withdrawal = unassign_lab(package(200));
    let changes: Vec<StateChange> = assigns.chain([same, withdrawal.clone()]).collect();
    let steps = steps(withdrawals_first(changes), 90);
    let sizes: Vec<usize> = steps.iter().map(Vec::len).collect();
    assert_eq!(sizes, [91, 2]);
    assert_eq!(steps[0][0], withdrawal);
}

#[test]
fn commands_name_the_options_and_the_step() {
    let id = CommitId {
        number: 7,
        digest: packcast_protocol::Sha256Digest::of(b"commit"),
    };
    let plan = |steps: usize, options| RevertPlan {
        to: id,
        head: id,
        changes: Vec::new(),
        lines: Vec::new(),
        warnings: Vec::new(),
        steps: vec![Vec::new(); steps],
        options,
        names: RecordedNames::default(),
    };
    assert_eq!(plan(1, MEMBERS).command(0), "packcast revert 7 --members");
    let force = RevertOptions {
        force: true,
        members: false,
    };
    assert_eq!(
        plan(3, force).command(1),
        "packcast revert 7 --force (2 of 3)"
    );
}

#[test]
fn a_warning_of_a_rollout_that_does_not_begin_again() {
    let rollout = RolloutId::from_bytes([7; 16]);
    insta::assert_snapshot!(ended_since(rollout), @"
    warning: rollout a4dqobyha4dqobyha4dqobyha4 was ended or finished since: the revert does not begin it again, and leaves its package as it is
    hint: to deploy the package in waves, start a new rollout
    ");
}
