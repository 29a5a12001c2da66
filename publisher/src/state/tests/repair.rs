//! Completing records after a thief's commit, and after changes of the table by hand.

use packcast_rollout::LocationRecord;
use packcast_store::records::DeviceProjected;
use serde_json::{Value, json};

use super::complete::{assign_to, delete_lab, leave_lab, of_device, office};
use super::*;
use crate::state::{Completing, record_differences};

const RECORDED: (&str, &str) = ("HEAD", "RECORDED");

fn cdn(address: &str) -> LocationRecord {
    LocationRecord {
        name: "cdn".parse().unwrap(),
        location: address.parse().unwrap(),
    }
}

fn add_location(at: &LocationRecord) -> StateChange {
    StateChange::AddLocation {
        location: at.name.clone(),
        url: at.location.clone(),
    }
}

fn remove_location(at: &LocationRecord) -> StateChange {
    StateChange::RemoveLocation {
        location: at.name.clone(),
    }
}

fn own(number: u32) -> String {
    format!("DEVICE#{}", device(number).device)
}

impl TestTarget {
    /// Changes an item as somebody can who has write access to the table.
    async fn forge(&self, pk: &str, sk: &str, change: impl FnOnce(&mut Value)) {
        let mut item = self.table.item(pk, sk).await;
        change(&mut item);
        self.table.put(&item).await;
    }

    async fn locations(&self) -> Vec<LocationRecord> {
        self.table.records.locations().await.unwrap()
    }
}

/// A thief changes all kinds of records, and its commit is replaced. `damage` makes a part of the
/// thief's commit unreadable.
async fn complete_after_a_thief(seed: u64, damage: impl AsyncFnOnce(&TestTarget, TargetState)) {
    let target = TestTarget::with_devices(seed, 6).await;
    let machine = target.machine("one");
    let wipe = target.table.package("wipe", 5).await.id;
    let own = cdn("cdn.example.net");
    machine
        .commit(&[create_lab(), join(0..3), add_location(&own)])
        .await;
    target.complete().await;
    let recorded = target.table.item(RECORDED.0, RECORDED.1).await;
    machine
        .commit(&[
            assign(wipe, true),
            assign_to(of_device(1), wipe),
            leave_lab([2]),
            join([4]),
            StateChange::CreateGroup { group: office() },
            add_location(&cdn("thief.example.net")),
        ])
        .await;
    // The thief stops before the last write.
    target.complete().await;
    target.table.put(&recorded).await;
    let stolen = target.state().await;
    let unassign_device = StateChange::Unassign {
        from: of_device(1),
        package: wipe,
    };
    machine
        .commit(&[
            unassign(wipe),
            unassign_device,
            leave_lab([4]),
            join([2]),
            StateChange::DeleteGroup { group: office() },
            add_location(&own),
        ])
        .await;
    damage(&target, stolen).await;
    let completed = target.complete().await;
    target.check_records().await;
    assert_eq!(target.size(&lab()).await, 3);
    assert_eq!(target.locations().await, [own]);
    let task = target.table.task(&device(1).device, wipe).await;
    assert!(task.is_none());
    assert_eq!(completed.order, 3);
    // Later commits are completed by their differences again.
    machine.commit(&[join([5])]).await;
    assert_eq!(target.complete().await.devices.len(), 1);
    target.check_records().await;
}

#[tokio::test]
async fn a_commit_with_lost_pages_does_not_stop_the_records() {
    complete_after_a_thief(360, async |target, stolen| {
        let page = format!("PAGE#{}", stolen.trees.devices.root());
        target
            .forge(&page, "PAGE", |item| item["bytes"]["B"] = "AA==".into())
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_commit_with_unreadable_documents_does_not_stop_the_records() {
    complete_after_a_thief(361, async |target, mut stolen| {
        let names = BTreeSet::from([LeafName::Group(lab())]);
        let digests = stolen.trees.digests(&target.table.records, names).await;
        let digest = digests.unwrap().into_values().next().flatten().unwrap();
        target
            .forge(&format!("DOC#{digest}"), "DOC", |item| {
                item["text"]["S"] = "{}".into();
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_commit_does_not_stop_the_records() {
    complete_after_a_thief(362, async |target, stolen| {
        let id = stolen.head.unwrap().commit.id();
        let key = crate::test_target::commit_key(id);
        target.table.delete("COMMIT", &key).await;
    })
    .await;
}

#[tokio::test]
async fn a_number_of_complete_changes_above_the_head_is_not_believed() {
    let target = TestTarget::with_devices(363, 4).await;
    let machine = target.machine("one");
    machine.commit(&[create_lab(), join([0])]).await;
    target.complete().await;
    for (joining, forged) in [(1, "99"), (2, "3"), (3, "4")] {
        // The last number is that of the commit itself.
        target
            .forge(RECORDED.0, RECORDED.1, |item| {
                item["order"]["N"] = forged.into();
            })
            .await;
        machine.commit(&[join([joining])]).await;
        let completed = target.complete().await;
        assert!(completed.devices.contains_key(&device(joining).device));
        target.check_records().await;
    }
}

#[tokio::test]
async fn an_order_of_a_device_above_the_head_is_not_believed() {
    let target = TestTarget::with_devices(364, 4).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    machine.commit(&[create_lab(), join(0..4)]).await;
    target.complete().await;
    for (number, order) in [(0, "99"), (1, "2"), (2, "99")] {
        target
            .forge(&own(number), "0#DEVICE", |item| {
                item["leaf"]["M"]["order"]["N"] = order.into();
            })
            .await;
    }
    machine
        .commit(&[leave_lab(0..2), assign_to(of_device(2), package)])
        .await;
    let completed = target.complete().await;
    for number in 0..3 {
        let projected = &completed.devices[&device(number).device];
        assert!(matches!(projected, DeviceProjected::Written(_)));
    }
    target.check_records().await;
    assert_eq!(target.size(&lab()).await, 2);
}

#[tokio::test]
async fn an_order_of_a_group_above_the_head_is_not_believed() {
    let target = TestTarget::with_devices(365, 4).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    machine.commit(&[create_lab(), join(0..2)]).await;
    target.complete().await;
    let items = [&["STATE", "REVISION"][..], &["STATE"], &["REVISION"]];
    let mut forged = items.into_iter();
    for change in [assign(package, false), unassign(package), delete_lab()] {
        for sk in forged.next().unwrap() {
            target
                .forge("GROUP#lab", sk, |item| {
                    item["revision"]["N"] = "99".into();
                })
                .await;
        }
        machine.commit(&[change]).await;
        target.complete().await;
        target.check_records().await;
    }
    assert_eq!(target.table.records.group(&lab()).await.unwrap(), None);
}

#[tokio::test]
async fn an_unreadable_group_is_written_again() {
    let target = TestTarget::with_devices(358, 4).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    let items = [&["STATE"][..], &["REVISION"], &["STATE", "REVISION"]];
    for damaged in items {
        machine.commit(&[create_lab(), join(0..2)]).await;
        target.complete().await;
        let changes = [assign(package, false), unassign(package), delete_lab()];
        for change in changes {
            for sk in damaged {
                target
                    .forge("GROUP#lab", sk, |item| {
                        item["created"] = json!({ "S": "yesterday" });
                    })
                    .await;
            }
            machine.commit(&[change]).await;
            target.complete().await;
            target.check_records().await;
        }
        assert_eq!(target.table.records.group(&lab()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_unreadable_device_does_not_stop_the_others() {
    let target = TestTarget::with_devices(366, 5).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    let direct = assign_to(of_device(3), package);
    machine.commit(&[create_lab(), join(0..3), direct]).await;
    target.complete().await;
    let unreadable = [0, 3];
    let mut kept = Vec::new();
    for number in unreadable {
        kept.push(target.table.item(&own(number), "0#DEVICE").await);
        target
            .forge(&own(number), "0#DEVICE", |item| {
                item["groups"] = json!({ "S": "lab" });
            })
            .await;
    }
    let unassign = StateChange::Unassign {
        from: of_device(3),
        package,
    };
    machine
        .commit(&[leave_lab(0..2), unassign, join([4])])
        .await;
    let failure = Failure::from(target.try_complete().await.unwrap_err());
    assert_eq!(target.size(&lab()).await, 3);
    let members = target.table.records.members(&lab()).await.unwrap();
    let expected = [0, 2, 4].map(|number| device(number).device);
    assert_eq!(BTreeSet::from_iter(members), BTreeSet::from(expected));
    insta::assert_snapshot!(crate::rendered::failures([failure]), @"
    Failed: cannot complete the records of device/ocs:pc0-2026-03-04-05-06-07, device/ocs:pc3-2026-03-04-05-06-07: record DEVICE#ocs:pc0-2026-03-04-05-06-07 0#DEVICE is invalid: Expected map
    hint: find out who can write to the table; restore these records from a back-up, then run any command that changes the target
    ");
    for item in kept {
        target.table.put(&item).await;
    }
    target.complete().await;
    target.check_records().await;
}

#[tokio::test]
async fn lost_and_forged_memberships_are_corrected() {
    let target = TestTarget::with_devices(367, 6).await;
    let machine = target.machine("one");
    machine.commit(&[create_lab(), join(0..4)]).await;
    target.complete().await;
    let remove = async |number: u32| {
        let shard = complete::shard_of(&target.table, &device(number).device).await;
        let pk = format!("GROUP#lab#{shard}");
        let item = target.table.item(&pk, &own(number)).await;
        target.table.delete(&pk, &own(number)).await;
        item
    };
    // The list of the group has lost a member that leaves, and has one that joins.
    remove(0).await;
    let left = remove(1).await;
    machine.commit(&[leave_lab([0, 1])]).await;
    target.complete().await;
    assert_eq!(target.size(&lab()).await, 2);
    target.check_records().await;
    target.table.put(&left).await;
    machine.commit(&[join([1])]).await;
    target.complete().await;
    target.check_records().await;
    // A deleted group has such members, too.
    remove(2).await;
    target
        .forge(&own(1), "0#DEVICE", |item| item["groups"]["M"] = json!({}))
        .await;
    machine.commit(&[delete_lab(), create_lab()]).await;
    target.complete().await;
    assert_eq!(target.size(&lab()).await, 0);
    assert_eq!(target.table.records.members(&lab()).await.unwrap(), []);
}

#[tokio::test]
async fn locations_follow_the_head() {
    let target = TestTarget::with_devices(368, 1).await;
    let machine = target.machine("one");
    let (first, second) = (cdn("a.example.net"), cdn("b.example.net"));
    machine.commit(&[add_location(&first)]).await;
    target.complete().await;
    assert_eq!(target.locations().await, std::slice::from_ref(&first));
    // A slow publisher writes no location of an earlier head.
    machine.commit(&[add_location(&second)]).await;
    let slow = target.urgent().await;
    machine.commit(&[remove_location(&second)]).await;
    target.complete().await;
    slow.rest(&Progress::none()).await.unwrap();
    assert_eq!(target.locations().await, []);
    target.check_records().await;
    machine.commit(&[add_location(&first)]).await;
    machine.commit(&[add_location(&second)]).await;
    target.complete().await;
    assert_eq!(target.locations().await, [second]);
    target.check_records().await;
}

#[tokio::test]
async fn lost_packages_come_first_when_all_records_are_written() {
    let target = TestTarget::with_devices(359, 4).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    machine
        .commit(&[create_lab(), join([2]), assign_to(of_device(1), package)])
        .await;
    target.complete().await;
    // A command that withdraws the package and a membership is killed.
    let unassign = StateChange::Unassign {
        from: of_device(1),
        package,
    };
    machine.commit(&[unassign, leave_lab([2])]).await;
    machine.commit(&[StateChange::Renew]).await;
    let records = &target.table.records;
    let urgent = Completing::urgent(records, &target.trust, NOW, Scope::All).await;
    let urgent = urgent.unwrap();
    let written: Vec<DeviceId> = urgent.completed().devices.keys().cloned().collect();
    assert_eq!(written, [1, 2].map(|number| device(number).device));
    let task = target.table.task(&device(1).device, package).await;
    assert!(task.is_none());
    assert_eq!(target.size(&lab()).await, 0);
    let completed = urgent.rest(&Progress::none()).await.unwrap();
    assert_eq!(completed.devices.len(), 4);
    target.check_records().await;
}

/// Everything that a record takes from the next commit is known before: its number of changes, and
/// the documents that it does not change.
#[tokio::test]
async fn records_that_were_forged_for_the_next_commit_are_written_again() {
    let table = Table::without_target(357).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    table.device(1).await;
    let [vlc, wipe] = ["vlc", "wipe"].map(|name| table.package(name, 5));
    let (vlc, wipe) = (vlc.await.id, wipe.await.id);
    change(&target, &[create_lab(), join([1]), assign(vlc, false)])
        .await
        .unwrap();
    let mut signer = Signer::new(&target, None);
    let progress = Progress::none();
    let mut sign = async |scope| {
        let renewed = renew(&target, &mut signer, 3_600, scope, &progress);
        renewed.await.unwrap();
    };
    sign(Scope::Changed).await;
    let next = table.records.head().await.unwrap().unwrap().order + 1;
    for sk in ["STATE", "REVISION"] {
        let mut item = table.item("GROUP#lab", sk).await;
        item["revision"]["N"] = next.to_string().into();
        if sk == "STATE" {
            item["assignments"]["L"][0]["M"]["package"]["S"] = wipe.to_string().into();
        }
        table.put(&item).await;
    }
    let mut item = table.item(&own(1), "0#DEVICE").await;
    item["leaf"]["M"]["order"]["N"] = next.to_string().into();
    item["groups"]["M"] = json!({});
    table.put(&item).await;
    let forged = table.records.group(&lab()).await.unwrap().unwrap();
    assert!(forged.assignment(wipe).is_some());

    sign(Scope::All).await;
    let state = table.records.group(&lab()).await.unwrap().unwrap();
    let packages: Vec<_> = state.assignments.iter().map(|it| it.package).collect();
    assert_eq!(packages, [vlc]);
    assert!(state.revision > next);
    let item = table.item(&own(1), "0#DEVICE").await;
    assert_eq!(item["groups"]["M"], json!({ "lab": { "N": "0" } }));
    let trust = target.trust().unwrap();
    let mut state = TargetState::read(&table.records, &trust).await.unwrap();
    let differences = record_differences(&table.records, &mut state, NOW, &progress).await;
    assert_eq!(differences.unwrap(), []);
}

/// The copies of one package are forged, and those of another one are missing.
#[tokio::test]
async fn the_copies_of_activations_are_written_again_with_all_records() {
    let table = Table::without_target(370).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let [vlc, git] = ["vlc", "git"].map(|name| table.package(name, 5));
    let packages = [vlc.await.id, git.await.id];
    change(&target, &[create_lab()]).await.unwrap();
    let shards = packages.map(|id| (0..64).map(move |shard| format!("TALLY#{id}#{shard:02}")));
    let [forged, missing] = shards.map(Vec::from_iter);
    for shard in &forged {
        let mut item = table.item(shard, "TALLY").await;
        item["active"]["BOOL"] = false.into();
        table.put(&item).await;
    }
    for shard in &missing {
        table.delete(shard, "TALLY").await;
    }
    let mut signer = Signer::new(&target, None);
    let progress = Progress::none();
    let mut active_after = async |scope| {
        let renewed = renew(&target, &mut signer, 3_600, scope, &progress);
        renewed.await.unwrap();
        let mut active = 0;
        for shard in forged.iter().chain(&missing) {
            let item = table.item(shard, "TALLY").await;
            active += u32::from(item["active"]["BOOL"] == json!(true));
        }
        active
    };
    assert_eq!(active_after(Scope::Changed).await, 0);
    assert_eq!(active_after(Scope::All).await, 128);
}

#[tokio::test]
async fn an_interruption_does_not_hide_an_urgent_record_that_failed() {
    let table = Table::without_target(371).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    table.device(1).await;
    change(&target, &[create_lab(), join([1])]).await.unwrap();
    let mut signer = Signer::new(&target, None);
    let mut changer = signer.changer(&target).await.unwrap();
    let leave = [leave_lab([1])];
    let left = changer.change(&leave, "packcast group remove");
    let left = left.await.unwrap();
    let mut unreadable = table.item(&own(1), "0#DEVICE").await;
    unreadable["groups"] = json!({ "S": "lab" });
    table.put(&unreadable).await;
    let progress = Progress::none();
    progress.stop();
    let failure = left.complete(&progress).await.unwrap_err();
    insta::assert_snapshot!(crate::rendered::failures([failure]), @"
    Failed: cannot complete the records of device/ocs:pc1-2026-03-04-05-06-07: record DEVICE#ocs:pc1-2026-03-04-05-06-07 0#DEVICE is invalid: Expected map
    hint: find out who can write to the table; restore these records from a back-up, then run any command that changes the target
    ");
}

#[tokio::test]
async fn all_records_can_be_written_again() {
    let target = TestTarget::with_devices(369, 6).await;
    let machine = target.machine("one");
    let [vlc, wipe] = ["vlc", "wipe"].map(|name| target.table.package(name, 5));
    let (vlc, wipe) = (vlc.await.id, wipe.await.id);
    machine
        .commit(&[
            create_lab(),
            join(0..4),
            assign(vlc, false),
            assign_to(of_device(5), vlc),
            add_location(&cdn("cdn.example.net")),
        ])
        .await;
    target.complete().await;
    let table = &target.table;
    let shard = async |number: u32| {
        let shard = complete::shard_of(table, &device(number).device).await;
        format!("GROUP#lab#{shard}")
    };
    // The lists and the number of members.
    let (first, second) = (shard(0).await, shard(1).await);
    let mut member = table.item(&first, &own(0)).await;
    table.delete(&first, &own(0)).await;
    member["pk"]["S"] = second.clone().into();
    member["sk"]["S"] = own(9).into();
    member["device"]["S"] = device(9).device.to_string().into();
    table.put(&member).await;
    target
        .forge(&second, "COUNT", |item| item["members"]["N"] = "70".into())
        .await;
    // Groups and revisions of devices.
    for number in [2, 4] {
        target
            .forge(&own(number), "0#DEVICE", |item| {
                let groups = if number == 4 { "lab" } else { "office" };
                item["groups"]["M"] = json!({ groups: { "N": "0" } });
            })
            .await;
    }
    target
        .forge(&own(3), "0#DEVICE", |item| {
            item["groups"]["M"] = json!({ "lab": { "N": "99" }, "all": { "N": "99" } });
        })
        .await;
    // A group that does not exist, packages of groups, an address.
    let mut revision = table.item("GROUP#lab", "REVISION").await;
    let mut state = table.item("GROUP#lab", "STATE").await;
    let mut entry = table.item("CATALOG", "GROUP#lab").await;
    for (item, key) in [
        (&mut revision, "pk"),
        (&mut state, "pk"),
        (&mut entry, "sk"),
    ] {
        item[key]["S"] = "GROUP#office".into();
        item["group"]["S"] = "office".into();
        table.put(item).await;
    }
    target
        .forge("GROUP#lab", "STATE", |item| {
            item["assignments"]["L"] = json!([]);
        })
        .await;
    let mut entry = table.item(&format!("PACKAGE#{vlc}"), "GROUP#lab").await;
    table.delete(&format!("PACKAGE#{vlc}"), "GROUP#lab").await;
    entry["pk"]["S"] = format!("PACKAGE#{wipe}").into();
    table.put(&entry).await;
    target
        .forge("CATALOG", "LOCATION#cdn", |item| {
            item["location"]["S"] = "thief.example.net".into();
        })
        .await;
    let mut unreadable = table.item("CATALOG", "LOCATION#cdn").await;
    unreadable["sk"]["S"] = "LOCATION#mirror".into();
    unreadable["location"] = json!({ "N": "1" });
    table.put(&unreadable).await;

    machine.commit(&[StateChange::Renew]).await;
    let records = &table.records;
    let urgent = Completing::urgent(records, &target.trust, NOW, Scope::All).await;
    urgent.unwrap().rest(&Progress::none()).await.unwrap();
    target.check_records().await;
    let item = table.item(&own(3), "0#DEVICE").await;
    assert_eq!(item["groups"]["M"], json!({ "lab": { "N": "0" } }));
}
