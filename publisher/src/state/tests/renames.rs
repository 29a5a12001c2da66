//! Completing the records of renamed groups, one of which cannot be moved.

use serde_json::{Value, json};

use super::complete::{assign_to, of_device, office};
use super::*;

fn create(group: GroupName) -> StateChange {
    StateChange::CreateGroup { group }
}

fn devices<const N: usize>(numbers: [u32; N]) -> [DeviceId; N] {
    numbers.map(|number| device(number).device)
}

impl TestTarget {
    async fn members(&self, group: &GroupName) -> Vec<DeviceId> {
        self.table.records.members(group).await.unwrap()
    }

    /// Creates groups `lab` and `hall`, and renames `hall` to `office`. The records of the renamed
    /// group cannot be moved, because the record of its new package is unreadable. Returns that
    /// record as it was.
    async fn with_stuck_group(&self, machine: &Machine<'_>) -> Value {
        let package = self.table.package("git", 3).await.id;
        let join_hall = StateChange::Join {
            group: hall(),
            devices: devices([1]).into(),
        };
        machine
            .commit(&[create_lab(), join([0, 2]), create(hall()), join_hall])
            .await;
        self.complete().await;
        let rename = StateChange::RenameGroup {
            group: hall(),
            to: office(),
        };
        machine.commit(&[rename]).await;
        let of_office = EntryOwner::Group(office());
        machine.commit(&[assign_to(of_office, package)]).await;
        let pk = format!("PACKAGE#{package}");
        let kept = self.table.item(&pk, "PACKAGE").await;
        let mut unreadable = kept.clone();
        unreadable["priority"] = json!({ "S": "high" });
        self.table.put(&unreadable).await;
        kept
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_moved_keeps_its_records() {
    let target = TestTarget::with_devices(371, 3).await;
    let machine = target.machine("one");
    let kept = target.with_stuck_group(&machine).await;
    // The group `lab` gets the name that the other group still has on record.
    machine.commit(&[rename_lab()]).await;
    target.try_complete().await.unwrap_err();
    assert_eq!(target.members(&hall()).await, devices([1]));
    assert_eq!(target.members(&lab()).await, devices([0, 2]));
    assert_eq!(target.members(&office()).await, []);

    target.table.put(&kept).await;
    target.complete().await;
    target.check_records().await;
    assert_eq!(target.members(&hall()).await, devices([0, 2]));
    assert_eq!(target.members(&office()).await, devices([1]));
    assert_eq!(target.members(&lab()).await, []);
}

#[tokio::test]
async fn a_group_that_cannot_be_moved_stops_no_other_records() {
    let target = TestTarget::with_devices(372, 5).await;
    let machine = target.machine("one");
    let vlc = target.table.package("vlc", 5).await.id;
    machine.commit(&[assign_to(of_device(3), vlc)]).await;
    let kept = target.with_stuck_group(&machine).await;
    let unassign = StateChange::Unassign {
        from: of_device(3),
        package: vlc,
    };
    let leave = StateChange::Leave {
        group: lab(),
        devices: devices([2]).into(),
    };
    let leave_stuck = StateChange::Leave {
        group: office(),
        devices: devices([1]).into(),
    };
    let join_stuck = StateChange::Join {
        group: office(),
        devices: devices([0]).into(),
    };
    let add = StateChange::AddLocation {
        location: "cdn".parse().unwrap(),
        url: "cdn.example.net".parse().unwrap(),
    };
    machine
        .commit(&[unassign, leave, leave_stuck, join_stuck, join([4]), add])
        .await;
    assert!(target.table.task(&devices([3])[0], vlc).await.is_some());
    let failure = Failure::from(target.try_complete().await.unwrap_err());
    let failure = crate::rendered::failures([failure]);
    assert!(
        failure.contains("group/office: record PACKAGE#"),
        "{failure}"
    );
    assert_eq!(target.table.task(&devices([3])[0], vlc).await, None);
    assert_eq!(target.members(&lab()).await, devices([0, 4]));
    assert_eq!(target.members(&hall()).await, []);
    assert_eq!(target.members(&office()).await, []);
    assert_eq!(target.table.records.locations().await.unwrap().len(), 1);

    target.table.put(&kept).await;
    target.complete().await;
    target.check_records().await;
    assert_eq!(target.members(&office()).await, devices([0]));
}
