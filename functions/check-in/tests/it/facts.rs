//! Daily facts: properties of a device, as its agent states them.

use packcast_protocol::UnixTime;
use packcast_protocol::api::{
    BoundedText, CHECK_IN_PATH, CheckInReply, CheckInRequest, DailyFacts, FactValues,
    MAX_FACTS_BYTES, ProblemKind,
};
use packcast_protocol::state::document::PlainText;
use packcast_protocol::state::exchange::MachineFacts;
use packcast_rollout::write_budget::WRITES_PER_HOUR;
use packcast_rollout::{DeviceRecord, FactsRecord};
use packcast_testing::table::NOW;
use serde_json::{Value, json};

use crate::agents::{Agent, parsed, refused};
use crate::system::TestSystem;

const DAY_S: u64 = 24 * 3600;

/// Returns the facts of a device with Debian and this much memory.
fn debian(version: &str, memory_mib: u32) -> DailyFacts {
    DailyFacts::fitting(FactValues {
        os_name: Some(PlainText::shortened("Debian GNU/Linux")),
        os_version: Some(PlainText::shortened(version)),
        memory_mib: Some(memory_mib),
        site: Some(PlainText::shortened("Zürich")),
        ..FactValues::default()
    })
}

/// Checks in as `host_name`, and returns the reply.
async fn check_in(
    system: &TestSystem,
    agent: &Agent,
    host_name: &str,
    daily: Option<&DailyFacts>,
    now: UnixTime,
) -> CheckInReply {
    let mut asking = CheckInRequest {
        daily: daily.cloned(),
        ..Agent::asking()
    };
    asking.facts.host_name = BoundedText::tail(host_name);
    asking.machine = MachineFacts::new("linux-x86_64", Some("hardware:1"), None, now);
    let body = serde_json::to_vec(&asking).expect("a check-in is JSON");
    let request = agent.signed(CHECK_IN_PATH, body, now);
    parsed(&system.send(request, now).await)
}

async fn record(system: &TestSystem, agent: &Agent) -> DeviceRecord {
    let device_state = system.table.records.device_state(&agent.device()).await;
    let device = device_state.expect("the table answers").device;
    device.expect("the device is on record")
}

async fn on_record(system: &TestSystem, agent: &Agent) -> Option<FactsRecord> {
    let facts = system.table.records.facts(&agent.device()).await;
    facts.expect("the table answers")
}

#[tokio::test]
async fn facts_are_written_when_they_change_and_at_most_once_a_day() {
    let system = TestSystem::start().await;
    let mut agent = Agent::new(1);
    let first = debian("12 (bookworm)", 8192);
    // The first check-in has the facts already.
    let reply = check_in(&system, &agent, "web01", Some(&first), NOW).await;
    assert!(reply.daily_recorded);
    agent.pass = reply.pass;
    let stated = on_record(&system, &agent).await.unwrap();
    assert_eq!((&stated.facts, stated.at), (&first, NOW));
    let device = record(&system, &agent).await;
    assert_eq!(device.os, "Debian GNU/Linux 12 (bookworm) x86_64");
    assert_eq!(device.facts.unwrap().site.unwrap().as_str(), "Zürich");

    // An agent that has lost the reply sends the same facts again: nothing is written.
    let more = debian("12 (bookworm)", 16_384);
    let newer = debian("13 (trixie)", 16_384);
    let soon = NOW.plus(DAY_S - 1);
    for (host_name, daily, now, recorded, writes) in [
        ("web01", Some(&first), NOW.plus(900), true, false),
        ("web01", None, NOW.plus(900), false, false),
        ("web01", Some(&more), soon, false, false),
        ("web01", Some(&newer), soon, true, true),
        ("web01", Some(&more), soon, true, true),
        ("web02", Some(&first), soon, true, true),
        ("web02", Some(&more), soon, false, false),
    ] {
        system.table.meter.take();
        let reply = check_in(&system, &agent, host_name, daily, now).await;
        let usage = system.table.meter.take();
        assert_eq!(reply.daily_recorded, recorded, "{host_name} {daily:?}");
        assert_eq!(
            usage.write_units > 0.0,
            writes,
            "{host_name} {daily:?}: {usage:?}"
        );
        if !writes {
            // A function whose cache is empty also reads groups and the signed state.
            let reads_items = usage.operations.iter().any(|name| name == "GetItem");
            assert!(!reads_items, "{usage:?}");
        }
        if recorded {
            let stated = on_record(&system, &agent).await.unwrap();
            assert_eq!(Some(&stated.facts), daily);
        }
    }
    let day = soon.plus(DAY_S);
    assert!(
        check_in(&system, &agent, "web02", Some(&more), day)
            .await
            .daily_recorded
    );
    let stated = on_record(&system, &agent).await.unwrap();
    assert_eq!((&stated.facts, stated.at), (&more, day));
}

#[tokio::test]
async fn a_site_that_is_not_configured_any_more_is_not_on_record() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    check_in(&system, &agent, "web01", Some(&debian("12", 1)), NOW).await;
    let values = FactValues {
        site: None,
        ..debian("12", 1).values().clone()
    };
    let without = DailyFacts::fitting(values);
    let day = NOW.plus(DAY_S);
    assert!(
        check_in(&system, &agent, "web01", Some(&without), day)
            .await
            .daily_recorded
    );
    assert_eq!(record(&system, &agent).await.facts.unwrap().site, None);
    assert_eq!(on_record(&system, &agent).await.unwrap().facts, without);
}

#[tokio::test]
async fn changing_facts_stay_within_the_write_budget_under_one_name_or_many() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let mut recorded = 0;
    for number in 0..50 {
        let daily = debian("12", number);
        let reply = check_in(&system, &agent, "web01", Some(&daily), NOW).await;
        recorded += u16::from(reply.daily_recorded);
    }
    assert_eq!(recorded, 1);
    for number in 0..50 {
        let name = format!("web{number}");
        let daily = debian("12", number);
        let reply = check_in(&system, &agent, &name, Some(&daily), NOW).await;
        recorded += u16::from(reply.daily_recorded);
    }
    // Enrolment has spent one write. Facts equal to those of the last write are not a change.
    assert!(recorded < WRITES_PER_HOUR, "{recorded}");
    let operations = system.operations();
    let is_read = |name: &&String| ["Query", "GetItem", "BatchGetItem"].contains(&name.as_str());
    let writes = operations.iter().filter(|name| !is_read(name)).count();
    assert!(writes <= usize::from(WRITES_PER_HOUR), "{writes}");
}

/// Returns the JSON of a check-in with any value as daily facts.
fn with_daily(daily: &Value) -> Value {
    let mut asking = serde_json::to_value(Agent::asking()).expect("a check-in is JSON");
    asking["daily"] = daily.clone();
    asking
}

#[tokio::test]
async fn hostile_facts_are_refused_before_a_read() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let volumes = vec![json!({ "path": "v".repeat(64), "size_gib": 1, "free_percent": 0 }); 8];
    let terms: Vec<String> = (0..16).map(|n| format!("term-{n:027}")).collect();
    let domain = "d".repeat(253);
    let large = json!({
        "volumes": volumes, "terms": terms, "domain": domain, "os_name": "n".repeat(64),
        "os_version": "v".repeat(64), "time_zone": "z".repeat(64), "site": "s".repeat(48),
    });
    let bytes = large.to_string().len();
    // The model takes the rest.
    let model = "m".repeat(MAX_FACTS_BYTES - bytes - r#","model":"""#.len());
    let mut full = large;
    full["model"] = json!(model);
    assert_eq!(full.to_string().len(), MAX_FACTS_BYTES);
    let mut larger = full.clone();
    larger["model"] = json!(format!("{model}m"));
    system.operations();
    for daily in [
        larger,
        json!({ "site": "\u{1b}[2J" }),
        json!({ "site": "s".repeat(49) }),
        json!({ "os_name": ["Debian"] }),
        json!({ "memory_mib": 4_294_967_296_u64 }),
        json!({ "address": "192.0.2.7; rm" }),
        json!("facts"),
    ] {
        let reply = agent
            .post(&system, CHECK_IN_PATH, &with_daily(&daily))
            .await;
        let problem = refused(&system, &reply, 400);
        assert_eq!(problem.kind, ProblemKind::BadRequest, "{daily}");
    }
    let reply = agent.post(&system, CHECK_IN_PATH, &with_daily(&full)).await;
    assert!(parsed(&reply).daily_recorded);
}
