//! The memory of imports, and corrections of results.

use packcast_protocol::Outcome;
use packcast_protocol::state::GroupOrigin;
use packcast_rollout::FinishedTask;
use packcast_store::records::{ImportedGroup, ImportedRows, Recorded, Tally};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{Table, result};

fn rows(numbers: std::ops::Range<u64>, content: u32) -> ImportedRows {
    // The digests of rows are spread evenly.
    let spread = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    numbers.map(|number| (spread(number), content)).collect()
}

async fn rows_are_remembered_with_their_last_content(service: Service) {
    let table = Table::start_on(service, 130).await;
    let records = &table.records;
    assert_eq!(records.imported_rows().await.unwrap(), ImportedRows::new());
    // Two administrators at once.
    let (one, other) = (rows(0..3_000, 1), rows(2_000..5_000, 1));
    let (first, second) = futures_util::future::join(
        records.remember_imported_rows(&one),
        records.remember_imported_rows(&other),
    )
    .await;
    first.unwrap();
    second.unwrap();
    assert_eq!(records.imported_rows().await.unwrap(), rows(0..5_000, 1));

    records
        .remember_imported_rows(&rows(0..10, 2))
        .await
        .unwrap();
    let mut expected = rows(0..5_000, 1);
    expected.extend(rows(0..10, 2));
    assert_eq!(records.imported_rows().await.unwrap(), expected);
    table.meter.take();
    records.remember_imported_rows(&expected).await.unwrap();
    let usage = table.meter.take();
    assert!(usage.write_units.abs() < f64::EPSILON, "{usage:?}");
}

/// An item has room for 32,000 rows.
async fn no_row_of_a_full_item_is_lost(service: Service) {
    let table = Table::start_on(service, 133).await;
    let records = &table.records;
    // All these rows belong to the same shard.
    let rows = |numbers: std::ops::Range<u64>, content| -> ImportedRows {
        numbers.map(|number| (number * 64 + 5, content)).collect()
    };
    let both = async |one: ImportedRows, other: ImportedRows| {
        let (one, other) = futures_util::future::join(
            records.remember_imported_rows(&one),
            records.remember_imported_rows(&other),
        )
        .await;
        one.unwrap();
        other.unwrap();
    };
    let all = rows(0..32_100, 1);
    records.remember_imported_rows(&all).await.unwrap();
    assert!(records.imported_rows().await.unwrap() == all);
    // Two administrators at once, with rows of both items and new rows.
    both(rows(31_900..32_300, 2), rows(32_200..32_400, 2)).await;
    let mut expected = rows(0..31_900, 1);
    expected.extend(rows(31_900..32_400, 2));
    assert!(records.imported_rows().await.unwrap() == expected);
    table.meter.take();
    records.remember_imported_rows(&expected).await.unwrap();
    let usage = table.meter.take();
    assert!(usage.write_units.abs() < f64::EPSILON, "{usage:?}");
}

async fn an_imported_group_is_found_by_its_origin(service: Service) {
    let table = Table::start_on(service, 131).await;
    let records = &table.records;
    let group = |created| ImportedGroup {
        origin: GroupOrigin {
            name: "lab".parse().unwrap(),
            created,
        },
        ocs_id: 17,
        ocs_name: "Lab PCs".to_owned(),
        query: Some("SELECT 1".to_owned()),
        ocs_created: Some("2024-03-31 02:30:00".to_owned()),
    };
    let (first, second) = (group(7), group(9));
    for group in [&first, &second, &first] {
        records.remember_imported_group(group).await.unwrap();
    }
    assert_eq!(
        records.imported_groups().await.unwrap(),
        [first.clone(), second]
    );
    let found = records.imported_group(&first.origin).await.unwrap();
    assert_eq!(found, Some(first));
    assert_eq!(
        records.imported_group(&group(8).origin).await.unwrap(),
        None
    );
}

/// The tally of one device with this outcome.
fn tally(outcome: Outcome) -> Tally {
    Tally {
        assigned: 1,
        succeeded: u64::from(outcome == Outcome::Succeeded),
        failed: u64::from(outcome == Outcome::Failed),
        ..Tally::default()
    }
}

async fn a_corrected_result_is_counted_once(service: Service) {
    let table = Table::start_on(service, 132).await;
    let package = table.package("vlc", 5).await;
    let device = table.device(1).await;
    let (records, priority) = (&table.records, package.priority);
    records
        .assign(&device, &package, false, signing())
        .await
        .unwrap();
    let task = table.task(&device, package.id).await.unwrap();
    let finished = |code: &str| result(&task, code);
    let imported = finished("ERR_EXECUTE");
    let correct = |before: FinishedTask, after: FinishedTask| {
        let device = device.clone();
        async move {
            let corrected = records.correct_result(&device, priority, &before, &after);
            corrected.await.unwrap()
        }
    };
    // The device has the open task.
    let written = correct(imported.clone(), finished("SUCCESS")).await;
    assert_eq!(written, Recorded::Superseded);
    let recorded = records.record_result(&device, &task, &imported).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    assert_eq!(
        records.tally(package.id).await.unwrap(),
        tally(Outcome::Failed)
    );
    // Another result than the one on record.
    let written = correct(finished("ERR_BUILD"), finished("SUCCESS")).await;
    assert_eq!(written, Recorded::Superseded);
    let written = correct(imported, finished("SUCCESS")).await;
    assert_eq!(written, Recorded::Written);
    let found = records.finished(&device, package.id).await.unwrap();
    assert_eq!(found, Some(finished("SUCCESS")));
    assert_eq!(
        records.tally(package.id).await.unwrap(),
        tally(Outcome::Succeeded)
    );
}

packcast_testing::on_each_service! {
    rows_are_remembered_with_their_last_content
    no_row_of_a_full_item_is_lost
    an_imported_group_is_found_by_its_origin
    a_corrected_result_is_counted_once
}
