//! Every trap of stock agents has a guard, and every guard a test: here, or where its subject
//! is. The traps are those of the protocol reference (§0: what a server must do, §8: quirks).

use std::fs;
use std::path::Path;

use packcast_rollout::assign::Assigned;
use packcast_testing::signing::signing;
use packcast_testing::table::NOW;

use crate::world::{World, announced, download, inventory, prolog, zlib};

/// The traps whose guards are tested elsewhere: what agents do, and the test that it harms
/// nobody.
const GUARDS: &[(&str, &str, &str)] = &[
    (
        "§0.1: Windows agents never end their streams",
        "protocol/src/ocs/envelope.rs",
        "streams_that_windows_agents_never_finish_are_read_whole",
    ),
    (
        "§0.2: Unix agents read nothing but whole zlib streams",
        "protocol/tests/it/replies.rs",
        "recorded_replies_are_complete_zlib_streams_as_ours_are",
    ),
    (
        "§0.2: Android agents read what they are coded in themselves",
        "functions/check-in/tests/it/transcripts.rs",
        "an_android_agent_is_served",
    ),
    (
        "§0.3: Windows agents take no status but 200",
        "functions/check-in/tests/it/transcripts.rs",
        "a_windows_agent_is_served",
    ),
    (
        "§0.4: fields are attributes or elements, in any order",
        "protocol/src/ocs/request.rs",
        "attributes_and_elements_are_the_same_thing",
    ),
    (
        "§0.5: a report is repeated until it is answered with 200, also of what is unknown",
        "functions/check-in/tests/it/download.rs",
        "reports_on_what_is_unknown_are_acknowledged_and_write_nothing",
    ),
    (
        "§0.6: Windows agents crash without RESPONSE and NAME",
        "protocol/tests/it/replies.rs",
        "a_reply_has_what_windows_agents_crash_without",
    ),
    (
        "§0.6, §8.19, §8.20: what CONF leaves out is zero, and without the OPTION nothing runs",
        "functions/check-in/tests/it/prolog.rs",
        "every_conf_value_is_sent_with_and_without_packages",
    ),
    (
        "§0.7: an empty reply to INVENTORY ends a Unix agent",
        "functions/check-in/tests/it/inventory.rs",
        "an_inventory_is_answered_and_described_by_its_words",
    ),
    (
        "§0.8: Windows agents ask the person for a TAG if they find a label",
        "functions/check-in/tests/it/access.rs",
        "only_posts_are_answered_and_the_label_does_not_exist",
    ),
    (
        "§0.9, §8.13: Unix agents know digits only, Windows agents look for parts of ids",
        "protocol/src/package.rs",
        "ids_are_ten_digits_within_31_bits",
    ),
    (
        "§0.10, §8.1: a malformed info ends Unix agents for good",
        "protocol/tests/it/info.rs",
        "what_is_written_is_read_back",
    ),
    (
        "§0.11: agents agree on MD5 in lower-case hexadecimal only",
        "protocol/tests/it/info.rs",
        "documents_are_written_and_read_as_the_golden_ones",
    ),
    (
        "§0.12, §8.2: Unix agents lose a location that is not in info",
        "protocol/tests/it/info.rs",
        "ours_is_read_only_as_it_would_be_written",
    ),
    (
        "§0.13, §8.4: a package in the history ends the process that has a new one to fetch",
        "functions/check-in/tests/it/inventory.rs",
        "an_announced_task_whose_package_is_in_the_history_ends",
    ),
    (
        "§0.14, §8.5: what is urgent and does not fit into a period starves all else",
        "rollout/src/pace/tests.rs",
        "a_period_has_room_for_all_that_is_urgent_twice",
    ),
    (
        "§2.5: a priority beyond the period is never served",
        "rollout/src/pace/tests.rs",
        "nothing_starves_and_all_is_deployed_in_time",
    ),
    (
        "§0.15, §8.11: each system has its own archives",
        "publisher/src/publish/stock.rs",
        "each_limit_is_found",
    ),
    (
        "§0.16: without pauses a failing agent asks hundreds of times a second",
        "functions/check-in/tests/it/prolog.rs",
        "every_conf_value_is_sent_with_and_without_packages",
    ),
    (
        "§8.3: what is no longer announced is still fetched",
        "functions/check-in/tests/it/prolog.rs",
        "what_was_announced_stays_listed_until_its_report",
    ),
    (
        "§8.3: a stuck fragment holds up everything",
        "functions/check-in/tests/it/orders.rs",
        "a_stopped_agent_sends_an_inventory_for_nothing_and_works_at_its_next_contact",
    ),
    (
        "§8.6: a 304 to a fragment is a failure for ever",
        "local/tests/it/edge.rs",
        "a_conditional_request_is_answered_whole",
    ),
    (
        "§8.6: and so it is at a location of one's own",
        "tests/it/commands.rs",
        "a_location_that_answers_304_is_warned_of",
    ),
    (
        "§8.7: an object that ends early must be seen to",
        "local/tests/it/edge.rs",
        "exact_bytes_with_the_headers_of_their_key",
    ),
    (
        "§8.8: Unix agents call a program that failed a success",
        "functions/check-in/tests/it/download.rs",
        "exit_code_3_is_a_failure_unless_the_package_says_otherwise",
    ),
    (
        "§8.8: and have it in their history, where it keeps the next attempt from running",
        "functions/check-in/tests/it/inventory.rs",
        "a_next_attempt_is_told_whatever_the_history_says",
    ),
    (
        "§8.15: Windows agents have room for short commands only",
        "publisher/src/publish/stock.rs",
        "a_command_is_one_short_line_on_windows",
    ),
    (
        "§8.21: info is fetched once, so nothing that was published may change",
        "store/tests/it/conformance.rs",
        "other_bytes_are_refused",
    ),
    (
        "§8.22: the repeat of a success has lost its exit code",
        "functions/check-in/tests/it/download.rs",
        "a_repeated_report_changes_nothing",
    ),
    (
        "§8.24: newer agents than the server are agents",
        "functions/check-in/tests/it/hostile.rs",
        "a_user_agent_of_any_kind_is_taken_and_bounded",
    ),
    (
        "§4.1: what Windows agents show is put on a command line unescaped",
        "protocol/src/windows.rs",
        "a_message_cannot_leave_its_quotes",
    ),
    (
        "§2.4: Windows agents drop what waits beyond their TIMEOUT",
        "publisher/src/publish/stock.rs",
        "a_schedule_is_neither_past_nor_beyond_the_timeout",
    ),
];

#[test]
fn every_guard_is_tested_where_the_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (trap, file, test) in GUARDS {
        let source = fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{trap}: {file}: {error}"));
        assert!(
            source.contains(&format!("fn {test}(")),
            "{trap}: {file} has no {test}"
        );
    }
}

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
