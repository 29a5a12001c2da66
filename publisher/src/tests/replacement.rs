//! Devices that take the place of others, and commands that stopped in the middle.

use packcast_protocol::state::exchange::MachineFacts;
use packcast_rollout::{DeviceRecord, FinishedTask, MachineRecord};
use packcast_testing::table::result;

use super::*;
use crate::device::replacement::{self, DeviceReplaced};
use crate::rendered::failures;

impl Fixture {
    /// Records the check-in of a machine that was installed again: the device with this number has
    /// the host name of device 0.
    async fn installed_again(
        &self,
        number: u32,
        seen: UnixTime,
        machine: Option<&str>,
    ) -> DeviceId {
        let facts = machine.map(|id| MachineFacts::new("linux-x86_64", Some(id), None, seen));
        let machine = facts.map(|facts| MachineRecord::after_check_in(None, &facts, seen));
        let record = DeviceRecord {
            host_name: "PC0".to_owned(),
            first_seen: seen,
            last_seen: seen,
            machine,
            ..device(number)
        };
        let written = self.target.records.write_check_in(&record, None);
        written.await.unwrap();
        record.device
    }

    async fn replace(&self, old: &DeviceId, new: &DeviceId) -> Result<DeviceReplaced, Failure> {
        let [old, new] = [old, new].map(|id| DeviceName::Id(id.clone()));
        let plan = replacement::plan(&self.target, &old, &new).await?;
        plan.perform(self.signer(), &Progress::none()).await
    }

    /// Records that a device has deployed a package.
    async fn finish(&self, device: &DeviceId, package: &PackageRecord) {
        let task = self.table.task(device, package.id).await.unwrap();
        let finished = FinishedTask {
            finished_at: now(),
            ..result(&task, "SUCCESS")
        };
        let recorded = self.target.records.record_result(device, &task, &finished);
        recorded.await.unwrap();
    }

    /// Returns a target with an old device in a group, with a package that it has finished and one
    /// that it has not, and a new device.
    async fn with_old_and_new(seed: u64) -> (Self, [DeviceId; 2], [PackageRecord; 2]) {
        let fixture = Self::start(seed).await;
        let packages = [
            fixture.package("tool").await,
            fixture.package("extra").await,
        ];
        let old = fixture.devices(1).await.remove(0);
        fixture.create_lab().await.unwrap();
        fixture.add(std::slice::from_ref(&old)).await;
        for package in &packages {
            fixture
                .assign_devices(package, std::slice::from_ref(&old))
                .await;
        }
        fixture.finish(&old, &packages[0]).await;
        let new = fixture.installed_again(1, NOW.plus(1), None).await;
        (fixture, [old, new], packages)
    }
}

#[tokio::test]
async fn a_new_device_gets_the_groups_and_the_unfinished_packages_of_the_old_one() {
    let (fixture, [old, new], [_, extra]) = Fixture::with_old_and_new(427).await;
    let before = fixture.order().await;
    let replaced = fixture.replace(&old, &new).await.unwrap();
    assert_eq!(fixture.order().await, before + 1);
    assert!(replaced.commit.is_some());
    assert_eq!(replaced.result, Removed);
    assert_eq!(replaced.groups, [lab()]);
    let results = replaced.packages.iter();
    let results: Vec<(&str, &str)> = results.map(|it| (&*it.package, it.result)).collect();
    assert_eq!(results, [("extra@1", "assigned"), ("tool@1", "finished")]);
    assert_eq!(fixture.committed(&new).await, [extra.id]);
    assert_eq!(fixture.recorded(&new).await, [extra.id]);
    assert!(fixture.is_member(&new).await);
    assert_eq!(
        fixture.target.records.members(&lab()).await.unwrap(),
        std::slice::from_ref(&new)
    );
    let state = fixture.target.records.device_state(&old).await.unwrap();
    assert_eq!(state.device, None);
    let reason = state.excluded.unwrap().reason.unwrap();
    assert_eq!(reason.to_string(), format!("replaced by {new}"));
    let found = DeviceName::Host("pc0".to_owned())
        .find(&fixture.target)
        .await;
    assert_eq!(found.unwrap(), new);

    // The same command changes nothing.
    let again = fixture.replace(&old, &new).await.unwrap();
    assert_eq!((again.commit, again.result), (None, AlreadyRemoved));
    assert_eq!(fixture.order().await, before + 1);
}

#[tokio::test]
async fn a_replacement_that_stopped_after_its_commit_is_completed() {
    let (fixture, [old, new], [_, extra]) = Fixture::with_old_and_new(428).await;
    let replace = StateChange::ReplaceDevice {
        old: old.clone(),
        new: new.clone(),
        packages: [extra.id].into(),
    };
    fixture.commit(&[replace]).await;
    assert!(!fixture.is_member(&new).await);
    let replaced = fixture.replace(&old, &new).await.unwrap();
    assert_eq!((replaced.commit, replaced.result), (None, Removed));
    assert_eq!(fixture.recorded(&new).await, [extra.id]);
    assert!(fixture.is_member(&new).await);
    assert!(!fixture.is_member(&old).await);
}

#[tokio::test]
async fn only_a_later_device_of_the_same_host_takes_the_place_of_another_one() {
    let fixture = Fixture::start(429).await;
    let devices = fixture.devices(3).await;
    let new = fixture.installed_again(9, NOW.plus(1), None).await;
    let unknown = device(77).device;
    let refused = [
        fixture.replace(&devices[0], &devices[1]).await,
        fixture.replace(&new, &devices[0]).await,
        fixture.replace(&new, &new).await,
        fixture.replace(&devices[0], &unknown).await,
        fixture.replace(&unknown, &new).await,
    ];
    let refused = refused.map(Result::unwrap_err);
    insta::assert_snapshot!(failures(refused), @r#"
    Conflict: the devices have different host names: "pc0" and "pc1"
    hint: run 'packcast device list' to see the devices
    Conflict: device ocs:pc9-2026-03-04-05-06-07 has checked in after device ocs:pc0-2026-03-04-05-06-07 was new, so both are in use
    hint: name the old device first, and then the new one
    Conflict: a device cannot take its own place
    hint: run 'packcast device list' to see the devices
    Failed: cannot find device ocs:pc77-2026-03-04-05-06-07: the device has never checked in
    hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
    Failed: cannot find device ocs:pc77-2026-03-04-05-06-07: the device has never checked in
    hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
    "#);
    // The old device checks in after the plan was made.
    let names = [&devices[0], &new].map(|id| DeviceName::Id(id.clone()));
    let plan = replacement::plan(&fixture.target, &names[0], &names[1])
        .await
        .unwrap();
    assert!(
        plan.warnings()[0]
            .text
            .starts_with("only the host name shows")
    );
    assert_eq!(plan.preview().devices, 2);
    let known = device(0);
    let later = DeviceRecord {
        last_seen: NOW.plus(9 * 24 * 3600),
        ..known.clone()
    };
    let written = fixture.target.records.write_check_in(&later, Some(&known));
    written.await.unwrap();
    let refused = plan.perform(fixture.signer(), &Progress::none()).await;
    assert!(failures([refused.unwrap_err()]).contains("so both are in use"));
    let state = fixture
        .target
        .records
        .device_state(&devices[0])
        .await
        .unwrap();
    assert_eq!(state.excluded, None);
}

#[tokio::test]
async fn the_error_of_a_host_name_names_the_replacement() {
    let fixture = Fixture::start(430).await;
    let desk = Some("hardware:4c4c4544-0042-3510-8051-b4c04f4b3732");
    let old = fixture.installed_again(1, NOW, desk).await;
    let new = fixture.installed_again(2, NOW.plus(1), desk).await;
    let find = async || {
        DeviceName::Host("pc0".to_owned())
            .find(&fixture.target)
            .await
    };
    let ambiguous = failures([find().await.unwrap_err()]);
    assert!(
        ambiguous.contains(&format!("device replace {old} {new}")),
        "{ambiguous}"
    );
    let copy = Some("hardware:11111111-0042-3510-8051-b4c04f4b3732");
    fixture.installed_again(3, NOW.plus(2), copy).await;
    let ambiguous = failures([find().await.unwrap_err()]);
    assert!(!ambiguous.contains("device replace"), "{ambiguous}");
}
