//! Records of assignments and announcements.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use packcast_protocol::UnixTime;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::{OpenTask, PackageRecord, TaskState};
use packcast_store::records::{Announced, Announcing, DeploymentState, Recorded, Tally};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::{signing, signing_at};
use packcast_testing::table::{NOW, Table, announce, device, mia, result};

const LATER: UnixTime = UnixTime(NOW.0 + 100);

async fn an_assignment_creates_one_held_task(service: Service) {
    let table = Table::start_on(service, 20).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let assign = || table.records.assign(&device, &package, false, signing());
    assert_eq!(assign().await.unwrap(), AssignOutcome::New { attempt: 1 });
    let open = AssignOutcome::AlreadyOpen { attempt: 1 };
    assert_eq!(assign().await.unwrap(), open);
    // The second commit assigns the package again.
    let head = table.records.head().await.unwrap().unwrap();
    let expected = OpenTask {
        package: package.id,
        priority: package.priority,
        attempt: 1,
        state: TaskState::Pending,
        force: false,
        direct: true,
        mandate: Some(head.commit.id.number),
        group_mandate: None,
        used: BTreeSet::new(),
        place: None,
        assigned_at: NOW,
    };
    assert_eq!(table.task(&device, package.id).await, Some(expected));
    let tally = table.records.tally(package.id).await.unwrap();
    assert_eq!((tally.assigned, tally.waiting()), (1, 1));
}

async fn of_many_concurrent_assignments_exactly_one_is_new(service: Service) {
    let table = Table::start_on(service, 21).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let assigned =
        join_all((0..8).map(|_| table.records.assign(&device, &package, false, signing()))).await;
    let new =
        |one: &&Result<AssignOutcome, _>| matches!(one, Ok(AssignOutcome::New { attempt: 1 }));
    assert_eq!(assigned.iter().filter(new).count(), 1, "{assigned:?}");
    assert_eq!(table.records.tally(package.id).await.unwrap().assigned, 1);
}

async fn an_unknown_device_gets_no_task(service: Service) {
    let table = Table::start_on(service, 22).await;
    let package = table.package("vlc", 5).await;
    let unknown = device(9).device;
    let assigned = table
        .records
        .assign(&unknown, &package, true, signing())
        .await;
    assert_eq!(assigned.unwrap(), AssignOutcome::UnknownDevice);
    assert_eq!(table.task(&unknown, package.id).await, None);
    assert_eq!(table.records.tally(package.id).await.unwrap().assigned, 0);
}

async fn a_package_in_the_history_is_assigned_only_with_force(service: Service) {
    let table = Table::start_on(service, 23).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let history = table
        .records
        .write_history(&device, &[package.id], NOW)
        .await;
    assert!(history.unwrap());
    let assign = |force| table.records.assign(&device, &package, force, signing());
    assert_eq!(assign(false).await.unwrap(), AssignOutcome::InHistory);
    assert_eq!(
        assign(true).await.unwrap(),
        AssignOutcome::New { attempt: 1 }
    );
    assert!(table.task(&device, package.id).await.unwrap().force);
}

/// Assigns, announces and reports one result; the device then has the state of that result.
async fn finish(table: &Table, number: u32, code: &str) -> PackageRecord {
    let (device, package) = (table.device(number).await, table.package("vlc", 5).await);
    let assigned = table
        .records
        .assign(&device, &package, false, signing())
        .await;
    assert_eq!(assigned.unwrap(), AssignOutcome::New { attempt: 1 });
    let task = table.task(&device, package.id).await.unwrap();
    announce(&table.records, &device, &[Announcing::direct(&task)], NOW)
        .await
        .unwrap();
    let task = table.task(&device, package.id).await.unwrap();
    let finished = result(&task, code);
    let recorded = table.records.record_result(&device, &task, &finished).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    package
}

async fn a_failed_package_is_assigned_again_as_the_next_attempt(service: Service) {
    let table = Table::start_on(service, 24).await;
    let package = finish(&table, 1, "ERR_EXECUTE").await;
    let device = device(1).device;
    let distribution = |assigned, announced, succeeded, failed| Tally {
        assigned,
        announced,
        succeeded,
        failed,
        cancelled: 0,
        not_applicable: 0,
        withdrawn: 0,
    };
    let tally = || table.records.tally(package.id);
    let states = || table.records.devices_of(package.id);
    assert_eq!(tally().await.unwrap(), distribution(1, 0, 0, 1));
    assert_eq!(states().await.unwrap()[&device], DeploymentState::Failed);

    let assigned = table
        .records
        .assign(&device, &package, false, signing_at(LATER))
        .await;
    assert_eq!(assigned.unwrap(), AssignOutcome::New { attempt: 2 });
    assert_eq!(tally().await.unwrap(), distribution(1, 0, 0, 0));
    assert_eq!(states().await.unwrap()[&device], DeploymentState::Pending);

    let task = table.task(&device, package.id).await.unwrap();
    announce(&table.records, &device, &[Announcing::direct(&task)], LATER)
        .await
        .unwrap();
    assert_eq!(tally().await.unwrap(), distribution(1, 1, 0, 0));
    assert_eq!(states().await.unwrap()[&device], DeploymentState::Announced);

    let task = table.task(&device, package.id).await.unwrap();
    let finished = result(&task, "SUCCESS_0");
    table
        .records
        .record_result(&device, &task, &finished)
        .await
        .unwrap();
    assert_eq!(tally().await.unwrap(), distribution(1, 0, 1, 0));
    assert_eq!(states().await.unwrap()[&device], DeploymentState::Succeeded);
    let all = table.records.finished_tasks(&device).await.unwrap();
    assert_eq!(all, [finished]);
}

async fn a_successful_package_is_assigned_again_only_with_force(service: Service) {
    let table = Table::start_on(service, 25).await;
    let package = finish(&table, 1, "SUCCESS").await;
    let device = device(1).device;
    let assign = |force| {
        table
            .records
            .assign(&device, &package, force, signing_at(LATER))
    };
    let done = table.records.finished(&device, package.id).await.unwrap();
    assert_eq!(
        assign(false).await.unwrap(),
        AssignOutcome::AlreadyDone(Box::new(done.unwrap()))
    );
    assert_eq!(
        assign(true).await.unwrap(),
        AssignOutcome::New { attempt: 2 }
    );
    let tally = table.records.tally(package.id).await.unwrap();
    assert_eq!(
        (tally.assigned, tally.succeeded, tally.waiting()),
        (1, 0, 1)
    );
}

async fn tasks_are_read_in_the_order_of_their_priority(service: Service) {
    let table = Table::start_on(service, 26).await;
    let device = table.device(1).await;
    for (name, priority) in [("low", 10), ("high", 0), ("middle", 5)] {
        let package = table.package(name, priority).await;
        let assigned = table
            .records
            .assign(&device, &package, false, signing())
            .await;
        assert_eq!(assigned.unwrap(), AssignOutcome::New { attempt: 1 });
    }
    let tasks = table.records.device_state(&device).await.unwrap().tasks;
    let priorities: Vec<u8> = tasks.iter().map(|task| task.priority.get()).collect();
    assert_eq!(priorities, [0, 5, 10]);
}

async fn a_deactivated_package_is_not_announced(service: Service) {
    let table = Table::start_on(service, 27).await;
    let device = table.device(1).await;
    let mut tasks = Vec::new();
    for name in ["kept", "halted"] {
        let package = table.package(name, 5).await;
        tasks.push(table.assigned(&device, &package).await);
    }
    let (kept, halted) = (tasks[0].package, tasks[1].package);
    table.records.deactivate(halted, &mia()).await.unwrap();
    let asked: Vec<Announcing<'_>> = tasks.iter().map(Announcing::direct).collect();
    let announced = announce(&table.records, &device, &asked, LATER).await;
    let expected = Announced {
        on_record: vec![kept],
        refused: vec![halted],
    };
    assert_eq!(announced.unwrap(), expected);
    let state = async |id| table.task(&device, id).await.unwrap().state;
    let announced = TaskState::Announced {
        announced_at: LATER,
    };
    assert_eq!(state(kept).await, announced);
    assert_eq!(state(halted).await, TaskState::Pending);
}

async fn an_announced_task_stays_announced_after_deactivation(service: Service) {
    let table = Table::start_on(service, 28).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let held = table.assigned(&device, &package).await;
    let tasks = [Announcing::direct(&held)];
    let announce = || announce(&table.records, &device, &tasks, LATER);
    announce().await.unwrap();
    table.records.deactivate(package.id, &mia()).await.unwrap();
    assert_eq!(announce().await.unwrap().on_record, [package.id]);
}

async fn concurrent_announcements_are_all_sent_and_counted_once(service: Service) {
    let table = Table::start_on(service, 29).await;
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let task = table.assigned(&device, &package).await;
    let tasks = [Announcing::direct(&task)];
    let announced =
        join_all((0..6).map(|_| announce(&table.records, &device, &tasks, LATER))).await;
    for one in announced {
        assert_eq!(one.unwrap().on_record, [package.id]);
    }
    let tally = table.records.tally(package.id).await.unwrap();
    assert_eq!((tally.assigned, tally.announced), (1, 1));
}

async fn more_tasks_than_a_transaction_holds_are_all_announced(service: Service) {
    let table = Table::start_on(service, 30).await;
    let device = table.device(1).await;
    for number in 0..40 {
        let at = NOW.plus(number);
        let package = table.package_at(&format!("p{number}"), 5, at).await;
        table
            .records
            .assign(&device, &package, false, signing())
            .await
            .unwrap();
    }
    let tasks = table.records.device_state(&device).await.unwrap().tasks;
    let asked: Vec<Announcing<'_>> = tasks.iter().map(Announcing::direct).collect();
    let announced = announce(&table.records, &device, &asked, LATER)
        .await
        .unwrap();
    assert_eq!(
        (announced.on_record.len(), announced.refused.len()),
        (40, 0)
    );
}

packcast_testing::on_each_service! {
    an_assignment_creates_one_held_task
    of_many_concurrent_assignments_exactly_one_is_new
    an_unknown_device_gets_no_task
    a_package_in_the_history_is_assigned_only_with_force
    a_failed_package_is_assigned_again_as_the_next_attempt
    a_successful_package_is_assigned_again_only_with_force
    tasks_are_read_in_the_order_of_their_priority
    a_deactivated_package_is_not_announced
    an_announced_task_stays_announced_after_deactivation
    concurrent_announcements_are_all_sent_and_counted_once
    more_tasks_than_a_transaction_holds_are_all_announced
}
