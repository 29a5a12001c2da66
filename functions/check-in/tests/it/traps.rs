//! Every trap of OCS agents has a guard, and every guard a test: here, or where its subject
//! is. The traps are those of the protocol reference (§0: what a server must do, §8: quirks).
//!
//! A table names the tests of each module that guard against a trap, so that the compiler
//! notices when one is renamed or deleted. Further tables stand beside the tests in:
//!
//! - `local/tests/it/edge.rs`
//! - `protocol/src/ocs/envelope.rs`
//! - `protocol/src/ocs/request.rs`
//! - `protocol/src/package.rs`
//! - `protocol/src/windows.rs`
//! - `protocol/tests/it/info.rs`
//! - `protocol/tests/it/replies.rs`
//! - `publisher/src/publish/ocs_limits.rs`
//! - `rollout/src/pace/tests.rs`
//! - `store/tests/it/directory.rs`
//! - `tests/it/commands.rs`

use packcast_rollout::assign::Assigned;
use packcast_testing::signing::signing;
use packcast_testing::table::NOW;

use crate::world::{World, announced, download, inventory, prolog, zlib};

/// Traps and the tests that guard against them.
const _: &[(&str, fn())] = &[
    (
        "§0.2: Android agents read what they are coded in themselves",
        crate::transcripts::an_android_agent_is_served,
    ),
    (
        "§0.3: Windows agents take no status but 200",
        crate::transcripts::a_windows_agent_is_served,
    ),
    (
        "§0.5: a report is repeated until it is answered with 200, also of what is unknown",
        crate::download::reports_on_what_is_unknown_are_acknowledged_and_write_nothing,
    ),
    (
        "§0.6, §8.19, §8.20: what CONF leaves out is zero, and without the OPTION nothing runs",
        crate::prolog::every_conf_value_is_sent_with_and_without_packages,
    ),
    (
        "§0.7: an empty reply to INVENTORY ends a Unix agent",
        crate::inventory::an_inventory_is_answered_and_described_by_its_words,
    ),
    (
        "§0.8: Windows agents ask the person for a TAG if they find a label",
        crate::access::only_posts_are_answered_and_the_label_does_not_exist,
    ),
    (
        "§0.13, §8.4: a package in the history ends the process that has a new one to fetch",
        crate::inventory::an_announced_task_whose_package_is_in_the_history_ends,
    ),
    (
        "§0.16: without pauses a failing agent asks hundreds of times a second",
        crate::prolog::every_conf_value_is_sent_with_and_without_packages,
    ),
    (
        "§8.3: what is no longer announced is still fetched",
        crate::prolog::what_was_announced_stays_listed_until_its_report,
    ),
    (
        "§8.3: a stuck fragment holds up everything",
        crate::orders::a_stopped_agent_sends_an_inventory_for_nothing_and_works_at_its_next_contact,
    ),
    (
        "§8.8: Unix agents call a program that failed a success",
        crate::download::exit_code_3_is_a_failure_unless_the_package_says_otherwise,
    ),
    (
        "§8.8: and have it in their history, where it keeps the next attempt from running",
        crate::inventory::a_next_attempt_is_told_whatever_the_history_says,
    ),
    (
        "§8.22: the repeat of a success has lost its exit code",
        crate::download::a_repeated_report_changes_nothing,
    ),
    (
        "§8.24: newer agents than the server are agents",
        crate::hostile::a_user_agent_of_any_kind_is_taken_and_bounded,
    ),
];

/// §0.13. The report came, and the package is in the agent's history.
#[tokio::test]
async fn a_finished_package_is_never_listed_beside_a_new_one() {
    let world = World::start().await;
    let device = world.settled_device(1).await;
    for (name, code) in [("a", "SUCCESS"), ("b", "SUCCESS_3"), ("c", "ERR_UNZIP")] {
        let package = world.table.package(name, 5).await;
        world.assign(&device, &package, false).await;
        assert_eq!(announced(&world.ocs(&prolog(1)).await), [package.id]);
        world.ocs(&download(1, package.id, code)).await;
    }
    let new = world.table.package("new", 5).await;
    world.assign(&device, &new, false).await;
    assert_eq!(announced(&world.ocs(&prolog(1)).await), [new.id]);
}

/// §0.13. The package was installed before it was ever assigned here.
#[tokio::test]
async fn what_the_history_has_is_not_listed_when_it_is_assigned_later() {
    let world = World::start().await;
    let device = world.settled_device(1).await;
    let had = world.table.package("had", 5).await;
    world.ocs(&inventory(1, &[had.id])).await;
    let records = &world.table.records;
    let assigned = records
        .assign(&device, &had, false, signing())
        .await
        .unwrap();
    assert_eq!(assigned, Assigned::InHistory);
    let all = packcast_protocol::GroupName::all();
    records
        .assign_group(&all, &had, false, signing())
        .await
        .expect("all can be given a package");
    let new = world.table.package("new", 5).await;
    world.assign(&device, &new, false).await;
    assert_eq!(announced(&world.ocs(&prolog(1)).await), [new.id]);
}

/// §8.22. Agents repeat a report whose answer was lost, some of them in every turn.
#[tokio::test]
async fn a_final_report_that_comes_again_is_answered_without_a_write() {
    let world = World::start().await;
    let device = world.settled_device(1).await;
    let package = world.table.package("vlc", 5).await;
    world.assign(&device, &package, false).await;
    world.ocs(&prolog(1)).await;
    world.ocs(&download(1, package.id, "SUCCESS_0")).await;
    world.operations();
    for repeat in ["SUCCESS_0", "SUCCESS_", "SUCCESS_0"] {
        let reply = world.post(zlib(&download(1, package.id, repeat))).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
        assert_eq!(world.operations(), ["Query", "GetItem"], "{repeat}");
    }
}

/// §1.6. Windows agents take the number after the last `HTTP/` in a head for the status, and
/// none there for success.
#[tokio::test]
async fn no_head_speaks_of_http() {
    let world = World::start().await;
    for body in [zlib(&prolog(1)), b"garbage".to_vec()] {
        let request = crate::world::stock_request(crate::world::PATH_TOKEN)
            .body(body.into())
            .unwrap();
        let response = world.function.handle(request, NOW).await;
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            assert!(!value.contains("HTTP/"), "{name}: {value}");
        }
    }
}
