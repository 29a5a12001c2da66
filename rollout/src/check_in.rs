//! The effect of a check-in: changes of the device's record, and requests for an inventory.

use packcast_protocol::api::DailyFacts;
use packcast_protocol::enrolment::BatchId;
use packcast_protocol::state::exchange::{MachineFacts, WaitingPackage};
use packcast_protocol::{DeviceId, Sha256Digest, UnixTime};

use crate::daily_facts::{FactsEffect, facts_effect};
use crate::machine::MachineRecord;
use crate::record::DeviceRecord;
use crate::waits::ReportedWaits;
use crate::write_budget::WriteBudget;

const DAY_S: u64 = 24 * 3600;
const WEEK_S: u64 = 7 * DAY_S;

/// Length to which the name of an operating system is cut, in bytes.
///
/// With this length, and with the longest id and host name that their parsers accept, a device
/// in the most groups that it can be in is read with one read unit.
pub const MAX_OS_BYTES: usize = 128;

/// Facts that a device reports about itself in a check-in. `None` keeps the recorded fact.
#[derive(Clone, Debug, Default)]
pub struct ReportedFacts<'a> {
    pub host_name: Option<&'a str>,
    pub agent: Option<&'a str>,
    pub os: Option<&'a str>,
    pub machine: Option<&'a MachineFacts>,
    pub waits: Option<ReportedWaits<'a>>,
    pub daily: Option<&'a DailyFacts>,
    /// Batch of the token with which the device enrols.
    pub batch: Option<&'a BatchId>,
}

/// Effect of a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckInEffect {
    /// The record to write. `None` if the known record is still right, or if the device has spent
    /// its write budget.
    pub write: Option<DeviceRecord>,
    /// The waiting packages to write along with the record. `None` if those on record are still
    /// right.
    pub waits: Option<Vec<WaitingPackage>>,
    /// Effect of the daily facts. Facts are written along with the record.
    pub facts: FactsEffect,
    /// Ask the OCS agent for its inventory now.
    pub ask_inventory: bool,
    /// The write budget of the device after one more write. `None` if it is spent: then no inventory
    /// is recorded.
    pub budget: Option<WriteBudget>,
}

/// Decides the effect of a check-in of `device`.
///
/// A device that has spent its write budget is served with the facts on record.
///
/// An inventory contains the device's package history (HISTORY). The function asks for an
/// inventory at the first check-in, then weekly on a day that follows from the device's id. If
/// no inventory arrives, it waits a week before it asks again. The time of the latest check-in
/// is written at most daily.
pub fn check_in_effect(
    device: &DeviceId,
    known: Option<&DeviceRecord>,
    reported: &ReportedFacts<'_>,
    now: UnixTime,
) -> CheckInEffect {
    let before = known.map_or_else(WriteBudget::default, |known| known.budget);
    let Some(budget) = before.spend(now) else {
        return CheckInEffect {
            write: None,
            waits: None,
            facts: facts_without_budget(known, reported),
            ask_inventory: false,
            budget: None,
        };
    };
    let ask_inventory = matches!(device, DeviceId::Ocs(_)) && asks_inventory(device, known, now);
    let os = reported
        .os
        .map(|os| &os[..os.floor_char_boundary(MAX_OS_BYTES)]);
    let mut record = known.cloned().unwrap_or_else(|| DeviceRecord {
        // A known device that sends a token again has only lost its pass.
        batch: reported.batch.cloned(),
        ..first_seen(device, now)
    });
    for (recorded, reported) in [
        (&mut record.host_name, reported.host_name),
        (&mut record.agent, reported.agent),
        (&mut record.os, os),
    ] {
        if let Some(reported) = reported.filter(|reported| reported != recorded) {
            reported.clone_into(recorded);
        }
    }
    if let Some(machine) = reported.machine {
        let known = record.machine.as_ref();
        record.machine = Some(MachineRecord::after_check_in(known, machine, now));
    }
    let renamed = known.is_some_and(|known| {
        (&known.host_name, &known.agent, &known.os)
            != (&record.host_name, &record.agent, &record.os)
    });
    let facts = facts_effect(record.facts.as_ref(), reported.daily, renamed, now);
    if let FactsEffect::Write(mark) = &facts {
        record.facts = Some(mark.clone());
    }
    if ask_inventory {
        record.inventory_asked = Some(now);
    }
    // The time alone is written at most daily: a write costs more than an idle check-in.
    let stale = known.is_none_or(|known| now.since(known.last_seen) >= DAY_S);
    let waits = reported.waits.and_then(|waits| waits.change());
    let write = stale || waits.is_some() || known != Some(&record);
    if write {
        record.last_seen = now;
        record.budget = budget;
    }
    CheckInEffect {
        write: write.then_some(record),
        waits,
        facts,
        ask_inventory,
        budget: Some(budget),
    }
}

/// Returns true if a device has certainly neither checked in nor reported a result for `days` days.
///
/// The time of the latest check-in is recorded at most daily, so a device that checks in every
/// hour may look like one that was last seen a day ago.
pub fn is_unseen_for(record: &DeviceRecord, days: u16, now: UnixTime) -> bool {
    now.since(record.last_seen) >= (u64::from(days) + 1) * DAY_S
}

/// Returns the effect of daily facts that cannot be written now.
fn facts_without_budget(known: Option<&DeviceRecord>, reported: &ReportedFacts<'_>) -> FactsEffect {
    match (known.and_then(|known| known.facts.as_ref()), reported.daily) {
        (_, None) => FactsEffect::NotStated,
        (Some(known), Some(daily)) if known.digest == daily.digest() => FactsEffect::OnRecord,
        (_, Some(_)) => FactsEffect::Later,
    }
}

fn first_seen(device: &DeviceId, now: UnixTime) -> DeviceRecord {
    DeviceRecord {
        device: device.clone(),
        host_name: String::new(),
        agent: String::new(),
        os: String::new(),
        first_seen: now,
        last_seen: now,
        inventory_asked: None,
        inventory_received: None,
        machine: None,
        facts: None,
        batch: None,
        budget: WriteBudget::default(),
    }
}

fn asks_inventory(device: &DeviceId, known: Option<&DeviceRecord>, now: UnixTime) -> bool {
    let Some(asked) = known.and_then(|known| known.inventory_asked) else {
        return true;
    };
    let received = known.and_then(|known| known.inventory_received);
    match received.filter(|received| *received >= asked) {
        None => now.since(asked) >= WEEK_S,
        Some(received) => week_of(device, now) > week_of(device, received),
    }
}

/// Returns the number of the week, where weeks begin on a day that follows from the device's id.
fn week_of(device: &DeviceId, at: UnixTime) -> u64 {
    let digest = Sha256Digest::of(device.to_string().as_bytes());
    // The first byte of a digest is as good as random, so requests spread evenly over the week.
    let offset = u64::from(digest.as_bytes()[0]) % 7 * DAY_S;
    (at.0 + offset) / WEEK_S
}

#[cfg(test)]
mod tests {
    use std::slice;

    use packcast_protocol::state::exchange::WaitWord;

    use super::*;
    use crate::record::tests::task;
    use crate::record::{OpenTask, TaskState};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn ocs() -> DeviceId {
        "ocs:web01-2026-03-04-05-06-07".parse().unwrap()
    }

    fn reported() -> ReportedFacts<'static> {
        ReportedFacts {
            host_name: Some("web01"),
            agent: Some("OCS-NG_unified_unix_agent_v2.10.0"),
            os: None,
            ..ReportedFacts::default()
        }
    }

    fn known() -> DeviceRecord {
        let mut record = check_in_effect(&ocs(), None, &reported(), NOW)
            .write
            .unwrap();
        record.inventory_received = Some(NOW);
        record
    }

    #[test]
    fn first_check_in_is_recorded_and_asks_for_an_inventory() {
        let first = check_in_effect(&ocs(), None, &reported(), NOW);
        assert!(first.ask_inventory);
        let record = first.write.unwrap();
        assert_eq!(
            (record.first_seen, record.last_seen, record.inventory_asked),
            (NOW, NOW, Some(NOW))
        );
        let packcast = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        assert!(!check_in_effect(&packcast, None, &reported(), NOW).ask_inventory);
    }

    #[test]
    fn the_batch_of_the_first_check_in_stays_on_record() {
        let ids = [7, 8].map(|n| BatchId::new(None, [n; 16]));
        let reported = |batch| ReportedFacts {
            batch,
            ..reported()
        };
        let first = check_in_effect(&ocs(), None, &reported(Some(&ids[0])), NOW);
        let known = first.write.unwrap();
        assert_eq!(known.batch.as_ref(), Some(&ids[0]));
        let later = NOW.plus(WEEK_S);
        for batch in [None, Some(&ids[1])] {
            let again = check_in_effect(&ocs(), Some(&known), &reported(batch), later);
            assert_eq!(again.write.unwrap().batch, known.batch);
        }
    }

    #[test]
    fn an_idle_check_in_writes_nothing() {
        let effect = check_in_effect(&ocs(), Some(&known()), &reported(), NOW.plus(DAY_S - 1));
        assert_eq!(effect.write, None);
    }

    #[test]
    fn a_long_name_of_a_system_is_cut_and_the_cut_name_is_no_change() {
        let long = "\u{e9}".repeat(MAX_OS_BYTES);
        let reported = ReportedFacts {
            os: Some(&long),
            ..reported()
        };
        let record = check_in_effect(&ocs(), Some(&known()), &reported, NOW)
            .write
            .unwrap();
        assert_eq!(record.os.len(), MAX_OS_BYTES);
        assert_eq!(
            check_in_effect(&ocs(), Some(&record), &reported, NOW).write,
            None
        );
    }

    #[test]
    fn the_last_check_in_is_written_daily_or_with_a_change() {
        let later = NOW.plus(DAY_S);
        assert_eq!(
            check_in_effect(&ocs(), Some(&known()), &reported(), later)
                .write
                .unwrap()
                .last_seen,
            later
        );
        let soon = NOW.plus(60);
        let renamed = ReportedFacts {
            host_name: Some("web02"),
            ..reported()
        };
        let record = check_in_effect(&ocs(), Some(&known()), &renamed, soon)
            .write
            .unwrap();
        assert_eq!(
            (record.host_name.as_str(), record.last_seen),
            ("web02", soon)
        );
    }

    #[test]
    fn the_machine_is_written_with_a_change() {
        let device = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let effect = |known: Option<&DeviceRecord>, machine: &str, clock: UnixTime| {
            let id = format!("hardware:{machine}");
            let machine = MachineFacts::new("linux-x86_64", Some(&id), Some(machine), clock);
            let reported = ReportedFacts {
                machine: Some(&machine),
                ..reported()
            };
            check_in_effect(&device, known, &reported, NOW).write
        };
        let record = effect(None, "1", NOW).unwrap();
        assert_eq!(effect(Some(&record), "1", NOW), None);
        let wrong = effect(Some(&record), "1", NOW.plus(3_600)).unwrap();
        assert_eq!(effect(Some(&wrong), "1", NOW.plus(7_200)), None);
        let copy = effect(Some(&record), "2", NOW).unwrap();
        let other = copy.machine.as_ref().unwrap().other.as_ref().unwrap();
        assert_eq!(other.id.as_str(), "hardware:2");
        assert_eq!(effect(Some(&copy), "1", NOW), None);
        // An agent that reports no machine keeps the machine on record.
        let facts = check_in_effect(&device, Some(&copy), &reported(), NOW);
        assert_eq!(facts.write, None);
    }

    #[test]
    fn changed_waits_spend_the_write_budget() {
        let device = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let task = OpenTask {
            state: TaskState::Announced { announced_at: NOW },
            ..task(1, 5)
        };
        let waiting = [WaitingPackage {
            package: task.package,
            attempt: task.attempt,
            reason: WaitWord::CommitExpired,
            until: None,
        }];
        let mut record = check_in_effect(&device, None, &reported(), NOW)
            .write
            .unwrap();
        let mut on_record: Vec<WaitingPackage> = Vec::new();
        let mut writes = 0;
        for n in 0..100 {
            let reported = ReportedFacts {
                waits: Some(ReportedWaits {
                    known: &on_record,
                    reported: if n % 2 == 0 { &waiting } else { &[] },
                    tasks: slice::from_ref(&task),
                }),
                ..reported()
            };
            let effect = check_in_effect(&device, Some(&record), &reported, NOW);
            assert_eq!(effect.waits.is_some(), effect.write.is_some());
            writes += u16::from(effect.write.is_some());
            record = effect.write.unwrap_or(record);
            on_record = effect.waits.unwrap_or(on_record);
        }
        assert_eq!(writes + 1, crate::write_budget::WRITES_PER_HOUR);
    }

    #[test]
    fn a_device_is_unseen_only_if_no_check_in_is_possible() {
        let mut record = known();
        record.last_seen = NOW;
        // The device may have checked in a moment before the end of the day, without a write.
        assert!(!is_unseen_for(&record, 90, NOW.plus(91 * DAY_S - 1)));
        assert!(is_unseen_for(&record, 90, NOW.plus(91 * DAY_S)));
        assert!(!is_unseen_for(&record, 0, NOW));
    }

    #[test]
    fn a_device_that_always_reports_other_facts_spends_its_budget() {
        let mut record = known();
        let mut writes = 0;
        for n in 0..100 {
            let name = format!("web{n}");
            let reported = ReportedFacts {
                host_name: Some(&name),
                ..reported()
            };
            let effect = check_in_effect(&ocs(), Some(&record), &reported, NOW);
            assert_eq!(effect.write.is_some(), effect.budget.is_some());
            writes += u16::from(effect.write.is_some());
            record = effect.write.unwrap_or(record);
        }
        // The first check-in has spent one write.
        assert_eq!(writes + 1, crate::write_budget::WRITES_PER_HOUR);
        let effect = check_in_effect(&ocs(), Some(&record), &reported(), NOW.plus(3_600));
        assert_eq!(effect.write.unwrap().host_name, "web01");
    }

    #[test]
    fn inventories_are_asked_for_once_a_week() {
        let mut record = known();
        let mut asks = 0;
        for day in 0..70 {
            let now = NOW.plus(day * DAY_S);
            let effect = check_in_effect(&ocs(), Some(&record), &reported(), now);
            record = effect.write.unwrap_or(record);
            if effect.ask_inventory {
                asks += 1;
                record.inventory_received = Some(now);
            }
        }
        assert_eq!(asks, 10);
    }

    #[test]
    fn a_request_without_an_answer_is_repeated_after_a_week() {
        let mut record = known();
        record.inventory_received = None;
        let asks = |after: u64| {
            check_in_effect(&ocs(), Some(&record), &reported(), NOW.plus(after)).ask_inventory
        };
        assert!(!asks(WEEK_S - 1));
        assert!(asks(WEEK_S));
    }
}
