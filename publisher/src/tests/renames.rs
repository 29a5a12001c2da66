//! Renamed groups, and commands that stopped in the middle.

use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::{RolloutDocument, RolloutId, RolloutSeed, Wave};

use super::*;
use crate::group::GroupRenamed;
use crate::rendered::failures;

fn hall() -> GroupName {
    "hall".parse().unwrap()
}

impl Fixture {
    async fn rename(&self, group: &str, to: &str, force: bool) -> Result<GroupRenamed, Failure> {
        let [group, to] = [group, to].map(|name| name.parse().unwrap());
        let progress = Progress::none();
        let plan = group::plan_rename(&self.target, &group, &to, force).await?;
        group::rename(plan, self.signer(), &progress).await
    }

    async fn members(&self, group: &GroupName) -> BTreeSet<DeviceId> {
        let members = self.target.records.members(group).await.unwrap();
        members.into_iter().collect()
    }
}

#[tokio::test]
async fn a_rename_that_stopped_after_its_commit_is_completed() {
    let fixture = Fixture::start(424).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(2).await;
    fixture.create_lab().await.unwrap();
    fixture.add(&devices).await;
    let groups = AssigneeNames::Groups(vec![lab()]);
    fixture.assign(&package, groups).await.unwrap();
    let before = fixture.target.records.group(&lab()).await.unwrap().unwrap();
    let rename = StateChange::RenameGroup {
        group: lab(),
        to: hall(),
    };
    fixture.commit(&[rename]).await;

    let renamed = fixture.rename("lab", "hall", false).await.unwrap();
    assert_eq!((renamed.devices, renamed.commit), (2, None));
    assert_eq!(
        fixture.members(&hall()).await,
        devices.iter().cloned().collect()
    );
    assert_eq!(fixture.members(&lab()).await, BTreeSet::new());
    let records = &fixture.target.records;
    assert_eq!(records.group(&lab()).await.unwrap(), None);
    let after = records.group(&hall()).await.unwrap().unwrap();
    let assignment = |state: &GroupState| {
        let assignment = &state.assignments[0];
        (state.mandate(assignment), assignment.seq)
    };
    assert_eq!(assignment(&after), assignment(&before));
    assert_eq!(records.groups_with(package.id).await.unwrap(), [hall()]);

    // A device that joins the group afterwards, and a new group under the old name.
    fixture.create_lab().await.unwrap();
    let added = fixture.add(&devices[..1]).await;
    assert_eq!(added.changed, 1);
    assert_eq!(
        fixture.members(&lab()).await,
        BTreeSet::from([devices[0].clone()])
    );
    let refused = [
        fixture.rename("hall", "lab", false).await.unwrap_err(),
        fixture.rename("hall", "all", false).await.unwrap_err(),
        fixture.rename("hall", "hall", false).await.unwrap_err(),
        fixture.rename("all", "office", false).await.unwrap_err(),
        fixture.rename("office", "tills", false).await.unwrap_err(),
    ];
    insta::assert_snapshot!(failures(refused), @"
    Conflict: group lab already exists
    Conflict: group all already exists
    Usage: group hall has this name already
    Usage: cannot change group all: every device is in the group 'all'
    Failed: group office does not exist
    hint: run 'packcast group list' to see the groups
    ");
    let back = fixture.rename("lab", "tills", false).await.unwrap();
    assert_eq!(back.devices, 1);
    let back = fixture.rename("hall", "lab", false).await.unwrap();
    assert_eq!(back.devices, 2);
    assert_eq!(fixture.members(&lab()).await, devices.into_iter().collect());
}

#[tokio::test]
async fn a_package_that_is_only_for_the_group_needs_force() {
    let fixture = Fixture::start(425).await;
    let mut request = Fixture::request("tool");
    request.terms.audience = Audience::Groups([lab()].into());
    let package = fixture.published(request, UnixTime(1_790_000_000)).await;
    let devices = fixture.devices(1).await;
    fixture.create_lab().await.unwrap();
    fixture.add(&devices).await;
    // The package is not assigned.
    fixture.rename("lab", "hall", false).await.unwrap();
    fixture.rename("hall", "lab", false).await.unwrap();
    let groups = || AssigneeNames::Groups(vec![lab()]);
    fixture.assign(&package, groups()).await.unwrap();
    fixture.target.warnings.take();
    let refused = fixture.rename("lab", "hall", false).await.unwrap_err();
    assert!(failures([refused]).contains("allow only devices in group lab: tool@1"));
    assert_eq!(fixture.members(&lab()).await.len(), 1);
    fixture.rename("lab", "hall", true).await.unwrap();
    let warnings = fixture.target.warnings.take();
    assert!(
        warnings
            .iter()
            .any(|it| it.text.contains("is only for devices in group lab"))
    );
}

#[tokio::test]
async fn a_package_that_is_only_for_the_new_name_needs_force() {
    let fixture = Fixture::start(427).await;
    let published = async |name: &str, audience: &[GroupName]| {
        let mut request = Fixture::request(name);
        request.terms.audience = Audience::Groups(audience.iter().cloned().collect());
        fixture.published(request, UnixTime(1_790_000_000)).await
    };
    let package = published("tool", &[hall()]).await;
    let of_both = published("both", &[lab(), hall()]).await;
    let devices = fixture.devices(1).await;
    fixture.create_lab().await.unwrap();
    fixture.add(&devices).await;
    for package in [&package, &of_both] {
        let to = AssigneeNames::Groups(vec![lab()]);
        fixture.assign(package, to).await.unwrap();
    }
    fixture.target.warnings.take();
    let refused = fixture.rename("lab", "hall", false).await.unwrap_err();
    insta::assert_snapshot!(failures([refused]), @"
    Conflict: cannot rename group lab: these packages are assigned for devices in group hall, so devices in the renamed group would begin with them: tool@1
    hint: unassign these packages, or choose another name, or run 'packcast group rename lab hall --force': devices then begin with them
    ");
    assert_eq!(fixture.members(&lab()).await.len(), 1);
    fixture.rename("lab", "hall", true).await.unwrap();
    let warnings = fixture.target.warnings.take();
    let texts: Vec<&str> = warnings.iter().map(|it| &*it.text).collect();
    assert!(
        texts.contains(&"package tool@1 is for devices in group hall: devices that were in group lab may begin with it"),
        "{texts:?}"
    );
    assert!(
        !texts.iter().any(|text| text.contains("both@1")),
        "{texts:?}"
    );
}

#[tokio::test]
async fn a_group_that_a_rollout_names_keeps_its_name() {
    let fixture = Fixture::start(426).await;
    let package = fixture.package("tool").await;
    fixture.create_lab().await.unwrap();
    let (group, to) = (lab(), hall());
    let planned = group::plan_rename(&fixture.target, &group, &to, false);
    let planned = planned.await.unwrap();
    assert_eq!(planned.preview().devices, 0);
    let rollout = RolloutId::from_bytes([1; 16]);
    let wave = Wave {
        devices: WaveDevices::UpTo(10_000),
        from: None,
    };
    let document = RolloutDocument::new(
        package.id,
        package.published().unwrap().manifest,
        RolloutGroups::new([lab()].into()).unwrap(),
        RolloutSeed::from_bytes([7; 16]),
        Waves::new(vec![wave]).unwrap(),
    );
    fixture
        .commit(&[StateChange::SetRollout { rollout, document }])
        .await;

    let refused = fixture.rename("lab", "hall", false).await.unwrap_err();
    insta::assert_snapshot!(failures([refused]), @"Conflict: group lab cannot be renamed to hall: rollout aeaqcaibaeaqcaibaeaqcaibae names group lab; finish or end the rollout first");
    // The rollout has begun after the plan was made.
    let progress = Progress::none();
    let late = group::rename(planned, fixture.signer(), &progress);
    let late = late.await.unwrap_err();
    assert!(failures([late]).contains("rollout aeaqcaibaeaqcaibaeaqcaibae names group lab"));

    fixture.commit(&[StateChange::EndRollout { rollout }]).await;
    let renamed = fixture.rename("lab", "hall", false).await.unwrap();
    assert_eq!(renamed.group, lab());
}
