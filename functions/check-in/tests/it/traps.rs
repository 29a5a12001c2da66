//! Every trap of OCS agents has a guard, and every guard has a test, here or next to the guarded
//! code. The traps are those of the protocol reference (§0: rules for servers, §8: quirks).
//!
//! A table names the tests of each module that guard against a trap, so that the compiler
//! notices if a test is renamed or deleted. Further tables are beside the tests in:
//!
//! - `local/tests/it/edge.rs`
//! - `protocol/src/ocs/envelope.rs`
//! - `protocol/src/ocs/request.rs`
//! - `protocol/src/package.rs`
//! - `protocol/src/windows.rs`
//! - `protocol/tests/it/info.rs`
//! - `protocol/tests/it/replies.rs`
//! - `publisher/src/publish/ocs_limits.rs`
//! - `rollout/src/pacing/tests.rs`
//! - `store/tests/it/directory.rs`
//! - `tests/it/commands.rs`

use packcast_rollout::assign::AssignOutcome;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::NOW;

use crate::system::{TestSystem, announced, download, inventory, prolog, zlib};

/// Traps and the tests that guard against them.
const _: &[(&str, fn())] = &[
    (
        "§0.2: Android agents read replies in the coding of their requests only",
        crate::transcripts::an_android_agent_is_served,
    ),
    (
        "§0.3: Windows agents accept no status but 200",
        crate::transcripts::a_windows_agent_is_served,
    ),
    (
        "§0.5: any report is repeated until it is answered with 200",
        crate::download::reports_on_unknown_packages_or_devices_write_nothing,
    ),
    (
        "§0.6, §8.19, §8.20: a value that CONF lacks is zero, and without the OPTION nothing runs",
        crate::prolog::every_conf_value_is_sent_with_and_without_packages,
    ),
    (
        "§0.7: an empty reply to INVENTORY ends a Unix agent",
        crate::inventory::an_inventory_sets_host_name_and_system,
    ),
    (
        "§0.8: Windows agents ask the person for a TAG if they find a label",
        crate::access::only_posts_are_answered_and_the_label_does_not_exist,
    ),
    (
        "§0.13, §8.4: a package in the history ends the process that has a new one to fetch",
        crate::inventory::an_announced_task_ends_if_its_package_is_in_the_history,
    ),
    (
        "§0.16: without pauses a failing agent asks hundreds of times a second",
        crate::prolog::every_conf_value_is_sent_with_and_without_packages,
    ),
    (
        "§8.3: agents still fetch a package that is no longer announced",
        crate::prolog::an_announced_package_stays_listed_until_its_report,
    ),
    (
        "§8.3: a stuck fragment holds up everything",
        crate::commands::a_stopped_agent_resumes_at_its_next_check_in,
    ),
    (
        "§8.8: Unix agents report a failed program as a success",
        crate::download::exit_code_3_fails_unless_it_is_a_success_code,
    ),
    (
        "§8.8: a failed program in the history of a Unix agent prevents the next attempt",
        crate::inventory::a_next_attempt_is_announced_with_any_history,
    ),
    (
        "§8.22: a repeated success has lost its exit code",
        crate::download::a_repeated_report_changes_nothing,
    ),
    (
        "§8.24: newer agents than the server are agents",
        crate::hostile::any_user_agent_is_accepted_and_bounded,
    ),
];

/// §0.13. The report came, and the package is in the agent's history.
#[tokio::test]
async fn a_finished_package_is_never_listed_beside_a_new_one() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    for (name, code) in [("a", "SUCCESS"), ("b", "SUCCESS_3"), ("c", "ERR_UNZIP")] {
        let package = system.table.package(name, 5).await;
        system.assign(&device, &package, false).await;
        assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
        system.ocs(&download(1, package.id, code)).await;
    }
    let new = system.table.package("new", 5).await;
    system.assign(&device, &new, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [new.id]);
}

/// §0.13. The package was installed before it was assigned.
#[tokio::test]
async fn a_package_in_the_history_is_not_listed_when_it_is_assigned() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let had = system.table.package("had", 5).await;
    system.ocs(&inventory(1, &[had.id])).await;
    let records = &system.table.records;
    let assigned = records
        .assign(&device, &had, false, signing())
        .await
        .unwrap();
    assert_eq!(assigned, AssignOutcome::InHistory);
    let all = packcast_protocol::GroupName::all();
    records
        .assign_group(&all, &had, false, signing())
        .await
        .expect("all can be given a package");
    let new = system.table.package("new", 5).await;
    system.assign(&device, &new, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [new.id]);
}

/// §8.22. Agents repeat a report whose reply was lost, some of them in every cycle.
#[tokio::test]
async fn a_repeated_final_report_costs_no_write() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    system.ocs(&prolog(1)).await;
    system.ocs(&download(1, package.id, "SUCCESS_0")).await;
    system.operations();
    for repeat in ["SUCCESS_0", "SUCCESS_", "SUCCESS_0"] {
        let reply = system.post(zlib(&download(1, package.id, repeat))).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
        assert_eq!(system.operations(), ["Query", "GetItem"], "{repeat}");
    }
}

/// §1.6. Windows agents take the number after the last `HTTP/` in a head for the status.
/// Without such a number, they assume success.
#[tokio::test]
async fn no_header_contains_http() {
    let system = TestSystem::start().await;
    for body in [zlib(&prolog(1)), b"garbage".to_vec()] {
        let request = crate::system::ocs_request(crate::system::PATH_TOKEN)
            .body(body.into())
            .unwrap();
        let response = system.function.handle(request, NOW).await;
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            assert!(!value.contains("HTTP/"), "{name}: {value}");
        }
    }
}
