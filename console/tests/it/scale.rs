//! The cost of pages: the first page of everything reads little, however large the target is.
//!
//! The devices are a few hundred, but the table has an item in each shard, as a large target has. More
//! devices would only make the pages of the queries full.

use std::collections::BTreeSet;

use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::reconcile::{ObservedRevision, Step};
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_rollout::{
    FinishedTask, OpenTask, PackageRecord, ReconcileCount, TaskChange, TaskState,
};
use packcast_testing::table::{NOW, device, result};

use crate::system::System;

const DEVICES: u32 = 600;
const PACKAGES: u32 = 30;
const GROUPS: u32 = 8;

/// The most read units of a page.
const MOST: f64 = 50.0;

#[tokio::test]
async fn the_first_page_of_everything_reads_at_most_50_units() {
    let system = System::start(931).await;
    let tool = fill(&system).await;
    let served = system.signed_in().await;
    let (id, first) = (tool.id, device(1).device.to_string());
    let mut costs = Vec::new();
    for path in [
        "/".to_owned(),
        "/packages".to_owned(),
        format!("/packages/{id}"),
        format!("/packages/{id}/devices?state=succeeded"),
        format!("/packages/{id}/devices?state=failed"),
        format!("/packages/{id}/devices?state=withdrawn"),
        format!("/packages/{id}/failures"),
        format!("/packages/{id}/versions"),
        "/groups".to_owned(),
        "/groups/all".to_owned(),
        "/groups/all/devices".to_owned(),
        "/groups/group1".to_owned(),
        "/groups/group1/devices".to_owned(),
        "/devices".to_owned(),
        format!("/devices/{first}"),
        format!("/devices/{first}/why/{id}"),
        "/rollouts".to_owned(),
        "/history".to_owned(),
    ] {
        system.table.meter.take();
        let page = served.browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let usage = system.table.meter.take();
        // The footer tells what the service has counted.
        assert!(
            (page.units() - usage.read_units).abs() < 0.06,
            "{path}: {usage:?}"
        );
        assert!(usage.write_units == 0.0 && usage.count("Scan") == 0);
        costs.push((path, usage.read_units));
    }
    let dear: Vec<_> = costs.iter().filter(|(_, units)| *units > MOST).collect();
    assert!(dear.is_empty(), "{dear:?} of {costs:?}");
}

#[tokio::test]
async fn a_commit_of_many_devices_has_its_difference_on_a_page_of_its_own() {
    let system = System::start(933).await;
    let lab = System::group("lab");
    let create = StateChange::CreateGroup { group: lab.clone() };
    system.change(&[create]).await;
    let devices = (0..1_200).map(|number| device(number).device).collect();
    let join = StateChange::Join {
        group: lab.clone(),
        devices,
    };
    system.change(&[join]).await;
    let package = system.table.package("tool", 5).await;
    system.assign(EntryOwner::Group(lab), &package).await;
    let served = system.signed_in().await;
    let history = served.browser.get("/history").await;
    assert!(history.units() <= MOST, "{}", history.units());
    // The small differences beside the large one are there.
    for text in ["lab: assigned tool@1.0", "lab: created"] {
        assert!(history.body.contains(text), "{text}: {}", history.body);
    }
    assert!(!history.body.contains("joined"), "{}", history.body);
    let (link, _) = history.body.split_once("\">Show the difference").unwrap();
    let (_, path) = link.rsplit_once("href=\"").unwrap();
    let page = served.browser.get(path).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.body.contains("and 1195 other devices joined"),
        "{}",
        page.body
    );
    assert!(page.units() > 2.0 * MOST, "{}", page.units());
    let number = path.rsplit_once('-').unwrap().0;
    let other = format!("{number}-{}", "f".repeat(64));
    assert_eq!(served.browser.get(&other).await.status, 404);
}

#[tokio::test]
async fn the_records_of_all_devices_are_read_once_in_a_process() {
    let system = System::start(932).await;
    for number in 0..40 {
        system.table.device(number).await;
    }
    let served = system.signed_in().await;
    let first = served.browser.get("/devices?name=pc3").await;
    assert!(first.body.contains("11 devices found"), "{}", first.body);
    let again = served.browser.get("/devices?name=pc2&not_seen=3").await;
    assert!(again.body.contains("11 devices found"), "{}", again.body);
    assert!(first.units() > 30.0, "{}", first.units());
    assert!(again.units() < 10.0, "{}", again.units());
    // A filter that reads the devices of a group reads them for all of its pages.
    let first = served.browser.get("/devices?group=all").await;
    assert!(first.body.contains("40 devices found"), "{}", first.body);
    let second = served.browser.get("/devices?group=all&after=25").await;
    assert!(second.body.contains("26 to 40"), "{}", second.body);
    assert!(second.units() < first.units() / 2.0, "{}", second.units());
}

/// Fills a target: each device has a result of the returned package, or waits for it.
async fn fill(system: &System) -> PackageRecord {
    let mut packages = Vec::new();
    for number in 0..PACKAGES {
        let at = UnixTime(NOW.0 + u64::from(number));
        packages.push(
            system
                .table
                .package_at(&format!("tool{number}"), 5, at)
                .await,
        );
    }
    let tool = packages[0].clone();
    let create = |number: u32| StateChange::CreateGroup {
        group: System::group(&format!("group{number}")),
    };
    let groups: Vec<StateChange> = (0..GROUPS).map(create).collect();
    system.change(&groups).await;
    let all: packcast_protocol::GroupName = packcast_protocol::GroupName::all();
    system.assign(EntryOwner::Group(all.clone()), &tool).await;
    let revision = system
        .table
        .records
        .group(&all)
        .await
        .expect("a group can be read");
    let revision = revision.expect("the group has a package").revision;
    system
        .table
        .load(async |records| {
            for number in 0..DEVICES {
                let record = device(number);
                records
                    .write_check_in(&record, None)
                    .await
                    .expect("a device can check in");
                let task = task(&tool);
                let step = Step {
                    changes: vec![TaskChange::Open {
                        task: task.clone(),
                        before: None,
                    }],
                    observed: vec![ObservedRevision {
                        group: all.clone(),
                        from: 0,
                        to: revision,
                    }],
                };
                let written = records.write_step(&record.device, ReconcileCount::FIRST, &step);
                assert!(written.await.expect("a task can be opened"));
                let code = match number % 10 {
                    0 => "ERR_EXIT_CODE_3",
                    1 => continue,
                    _ => "SUCCESS_0",
                };
                let finished = FinishedTask {
                    output_tail: Some(format!("E: disk full on /dev/sd{number}\n")),
                    ..result(&task, code)
                };
                let recorded = records.record_result(&record.device, &task, &finished);
                recorded.await.expect("a result can be recorded");
            }
        })
        .await;
    let members: BTreeSet<DeviceId> = (0..200).map(|number| device(number).device).collect();
    let join = StateChange::Join {
        group: System::group("group1"),
        devices: members,
    };
    system.change(&[join]).await;
    let to = || EntryOwner::Group(System::group("group1"));
    let assigned = packages[1..13].iter().map(|it| System::assigning(to(), it));
    system.change(&assigned.collect::<Vec<_>>()).await;
    tool
}

fn task(package: &PackageRecord) -> OpenTask {
    OpenTask {
        package: package.id,
        priority: package.priority,
        attempt: 1,
        state: TaskState::Pending,
        force: false,
        direct: false,
        mandate: None,
        group_mandate: None,
        used: BTreeSet::new(),
        place: None,
        assigned_at: NOW,
    }
}
