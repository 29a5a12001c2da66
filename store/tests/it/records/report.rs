//! Reports in each state of a task, checked in the table.

use packcast_protocol::DeviceId;
use packcast_rollout::{
    Ignored, OpenTask, PackageRecord, ReportDecision, ReportedBy, TaskState, apply_report,
};
use packcast_store::records::{Announcing, Recorded, Tally};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, announce, result};

/// The state of a package on a device before the report.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Held,
    Announced,
    Finished,
    HeldAgain,
    AnnouncedAgain,
}

/// Creates a device in this state; its latest attempt is 2 if the name ends with `Again`, else 1.
async fn bring(table: &Table, number: u32, package: &PackageRecord, before: Before) -> DeviceId {
    let device = table.device(number).await;
    let steps: &[&str] = match before {
        Before::Nothing => &[],
        Before::Held => &["assign"],
        Before::Announced => &["assign", "announce"],
        Before::Finished => &["assign", "announce", "fail"],
        Before::HeldAgain => &["assign", "announce", "fail", "assign"],
        Before::AnnouncedAgain => &["assign", "announce", "fail", "assign", "announce"],
    };
    for step in steps {
        perform(table, &device, package, step).await;
    }
    device
}

async fn perform(table: &Table, device: &DeviceId, package: &PackageRecord, step: &str) {
    let records = &table.records;
    if step == "assign" {
        records
            .assign(device, package, false, signing())
            .await
            .unwrap();
        return;
    }
    let task = table.task(device, package.id).await.unwrap();
    if step == "announce" {
        announce(records, device, &[Announcing::direct(&task)], NOW)
            .await
            .unwrap();
    } else {
        let failed = result(&task, "SUCCESS_3");
        let recorded = records.record_result(device, &task, &failed).await;
        assert_eq!(recorded.unwrap(), Recorded::Written);
    }
}

/// Applies a report of success as the check-in function does; returns `None` if it is recorded.
async fn report(
    table: &Table,
    device: &DeviceId,
    package: &PackageRecord,
    by: ReportedBy,
) -> Option<Ignored> {
    let open = table.task(device, package.id).await;
    let finished = table.records.finished(device, package.id).await.unwrap();
    match apply_report(open.as_ref(), finished.as_ref(), by) {
        ReportDecision::Ignore(why) => Some(why),
        ReportDecision::Record(task) => {
            let success = result(task, "SUCCESS_0");
            let recorded = table.records.record_result(device, task, &success).await;
            assert_eq!(recorded.unwrap(), Recorded::Written);
            None
        }
    }
}

async fn each_report_is_recorded_or_ignored_as_tabulated(service: Service) {
    use Ignored::{AlreadyFinished, NotAnnounced, NotAssigned, OtherAttempt};
    let table = Table::start_on(service, 40).await;
    let package = table.package("vlc", 5).await;
    // Columns: an OCS agent; attempts 1 and 2 of a Packcast agent.
    let rows = [
        (Before::Nothing, [Some(NotAssigned); 3]),
        (
            Before::Held,
            [Some(NotAnnounced), Some(NotAnnounced), Some(OtherAttempt)],
        ),
        (Before::Announced, [None, None, Some(OtherAttempt)]),
        (
            Before::Finished,
            [
                Some(AlreadyFinished),
                Some(AlreadyFinished),
                Some(OtherAttempt),
            ],
        ),
        (
            Before::HeldAgain,
            [Some(NotAnnounced), Some(OtherAttempt), Some(NotAnnounced)],
        ),
        (Before::AnnouncedAgain, [None, Some(OtherAttempt), None]),
    ];
    let columns = [
        ReportedBy::Ocs,
        ReportedBy::Agent { attempt: 1 },
        ReportedBy::Agent { attempt: 2 },
    ];
    let mut number = 0;
    for (before, expected) in rows {
        for (by, expected) in columns.into_iter().zip(expected) {
            number += 1;
            let device = bring(&table, number, &package, before).await;
            let task = table.task(&device, package.id).await;
            let finished = table.records.finished(&device, package.id).await.unwrap();
            let tally = table.records.tally(package.id).await.unwrap();

            let ignored = report(&table, &device, &package, by).await;
            assert_eq!(ignored, expected, "{before:?} {by:?}");

            let now_finished = table.records.finished(&device, package.id).await.unwrap();
            let now_tally = table.records.tally(package.id).await.unwrap();
            if let Some(task) = task.clone().filter(|_| expected.is_none()) {
                assert_eq!(table.task(&device, package.id).await, None);
                assert_eq!(now_finished, Some(result(&task, "SUCCESS_0")));
                let counted = Tally {
                    announced: tally.announced - 1,
                    succeeded: tally.succeeded + 1,
                    ..tally
                };
                assert_eq!(now_tally, counted, "{before:?} {by:?}");
            } else {
                assert_eq!(table.task(&device, package.id).await, task);
                assert_eq!((now_finished, now_tally), (finished, tally));
            }
        }
    }
}

async fn announced(table: &Table) -> (DeviceId, PackageRecord, OpenTask) {
    let package = table.package("vlc", 5).await;
    let device = bring(table, 1, &package, Before::Announced).await;
    let task = table.task(&device, package.id).await.unwrap();
    (device, package, task)
}

async fn only_the_first_result_of_an_attempt_is_recorded(service: Service) {
    let table = Table::start_on(service, 41).await;
    let (device, package, task) = announced(&table).await;
    let records = &table.records;
    let first = result(&task, "SUCCESS_3");
    let repeat = result(&task, "SUCCESS_");
    let recorded = records.record_result(&device, &task, &first).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    let recorded = records.record_result(&device, &task, &repeat).await;
    assert_eq!(recorded.unwrap(), Recorded::Superseded);
    let recorded = records.finished(&device, package.id).await.unwrap();
    assert_eq!(recorded, Some(first));
    let tally = records.tally(package.id).await.unwrap();
    assert_eq!((tally.failed, tally.succeeded), (1, 0));
}

async fn a_held_task_does_not_end_as_an_announced_one(service: Service) {
    let table = Table::start_on(service, 42).await;
    let package = table.package("vlc", 5).await;
    let device = bring(&table, 1, &package, Before::Held).await;
    let held = table.task(&device, package.id).await.unwrap();
    let announced = OpenTask {
        state: TaskState::Announced { announced_at: NOW },
        ..held.clone()
    };
    let records = &table.records;
    let success = result(&held, "SUCCESS_ALREADY_IN_HISTORY");
    let recorded = records.record_result(&device, &announced, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Superseded);
    assert_eq!(table.task(&device, package.id).await.as_ref(), Some(&held));

    let recorded = records.record_result(&device, &held, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    let expected = Tally {
        assigned: 1,
        announced: 0,
        succeeded: 1,
        failed: 0,
        cancelled: 0,
        not_applicable: 0,
        withdrawn: 0,
    };
    assert_eq!(records.tally(package.id).await.unwrap(), expected);
}

async fn a_task_that_was_just_announced_does_not_end_as_a_held_one(service: Service) {
    let table = Table::start_on(service, 44).await;
    let package = table.package("vlc", 5).await;
    let device = bring(&table, 1, &package, Before::Held).await;
    let held = table.task(&device, package.id).await.unwrap();
    perform(&table, &device, &package, "announce").await;
    let success = result(&held, "SUCCESS_ALREADY_IN_HISTORY");
    let recorded = table.records.record_result(&device, &held, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Superseded);
    let tally = table.records.tally(package.id).await.unwrap();
    assert_eq!((tally.announced, tally.succeeded), (1, 0));
}

async fn a_late_result_of_an_earlier_attempt_changes_nothing(service: Service) {
    let table = Table::start_on(service, 43).await;
    let (device, package, first) = announced(&table).await;
    for step in ["fail", "assign", "announce"] {
        perform(&table, &device, &package, step).await;
    }
    let second = table.task(&device, package.id).await.unwrap();
    let late = result(&first, "SUCCESS");
    let recorded = table.records.record_result(&device, &first, &late).await;
    assert_eq!(recorded.unwrap(), Recorded::Superseded);
    assert_eq!(table.task(&device, package.id).await, Some(second));
}

packcast_testing::on_each_service! {
    each_report_is_recorded_or_ignored_as_tabulated
    only_the_first_result_of_an_attempt_is_recorded
    a_held_task_does_not_end_as_an_announced_one
    a_task_that_was_just_announced_does_not_end_as_a_held_one
    a_late_result_of_an_earlier_attempt_changes_nothing
}
