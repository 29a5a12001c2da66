//! What a contact changes in a device's record, and whether an inventory is asked for.

use packcast_protocol::{DeviceId, Sha256Digest, UnixTime};

use crate::record::DeviceRecord;

const DAY_S: u64 = 24 * 3600;
const WEEK_S: u64 = 7 * DAY_S;

/// How much is kept of an operating system's name, in bytes.
///
/// With it, and with id and host name at the longest that their parsers accept, a device in
/// as many groups as it can be is read with one read unit.
pub const MAX_OS_BYTES: usize = 128;

/// What a device says of itself in a check-in; `None` leaves what is known.
#[derive(Clone, Debug, Default)]
pub struct ReportedFacts<'a> {
    pub host_name: Option<&'a str>,
    pub agent: Option<&'a str>,
    pub os: Option<&'a str>,
}

/// What follows from a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The record to write; none if the known one is still right.
    pub write: Option<DeviceRecord>,
    /// Whether to ask a stock agent for its inventory now.
    pub ask_inventory: bool,
}

/// Decides what a check-in of `device` changes.
///
/// An inventory brings the device's HISTORY. It is asked for on first contact, then weekly on
/// a day that follows from the device's id, and not again within a week of an ask that
/// brought nothing. The time of the last contact is written at most daily.
pub fn contact(
    device: &DeviceId,
    known: Option<&DeviceRecord>,
    says: &ReportedFacts<'_>,
    now: UnixTime,
) -> Contact {
    let ask_inventory = matches!(device, DeviceId::Ocs(_)) && asks_inventory(device, known, now);
    let os = says
        .os
        .map(|os| &os[..os.floor_char_boundary(MAX_OS_BYTES)]);
    let mut record = known.cloned().unwrap_or_else(|| first_seen(device, now));
    for (known, said) in [
        (&mut record.host_name, says.host_name),
        (&mut record.agent, says.agent),
        (&mut record.os, os),
    ] {
        if let Some(said) = said.filter(|said| said != known) {
            said.clone_into(known);
        }
    }
    if ask_inventory {
        record.inventory_asked = Some(now);
    }
    let stale = known.is_none_or(|known| now.since(known.last_seen) >= DAY_S);
    let write = stale || known != Some(&record);
    if write {
        record.last_seen = now;
    }
    Contact {
        write: write.then_some(record),
        ask_inventory,
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

/// Counts weeks that begin on a day of the device's own.
fn week_of(device: &DeviceId, at: UnixTime) -> u64 {
    let digest = Sha256Digest::of(device.to_string().as_bytes());
    let offset = u64::from(digest.as_bytes()[0]) % 7 * DAY_S;
    (at.0 + offset) / WEEK_S
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn ocs() -> DeviceId {
        "ocs:web01-2026-03-04-05-06-07".parse().unwrap()
    }

    fn says() -> ReportedFacts<'static> {
        ReportedFacts {
            host_name: Some("web01"),
            agent: Some("OCS-NG_unified_unix_agent_v2.10.0"),
            os: None,
        }
    }

    fn known() -> DeviceRecord {
        let mut record = contact(&ocs(), None, &says(), NOW).write.unwrap();
        record.inventory_received = Some(NOW);
        record
    }

    #[test]
    fn first_contact_is_recorded_and_asks_for_an_inventory() {
        let first = contact(&ocs(), None, &says(), NOW);
        assert!(first.ask_inventory);
        let record = first.write.unwrap();
        assert_eq!(
            (record.first_seen, record.last_seen, record.inventory_asked),
            (NOW, NOW, Some(NOW))
        );
        let ours = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        assert!(!contact(&ours, None, &says(), NOW).ask_inventory);
    }

    #[test]
    fn an_idle_contact_writes_nothing() {
        let contact = contact(&ocs(), Some(&known()), &says(), NOW.plus(DAY_S - 1));
        assert_eq!(contact.write, None);
    }

    #[test]
    fn a_long_name_of_a_system_is_cut_and_is_no_news_then() {
        let long = "\u{e9}".repeat(MAX_OS_BYTES);
        let says = ReportedFacts {
            os: Some(&long),
            ..says()
        };
        let record = contact(&ocs(), Some(&known()), &says, NOW).write.unwrap();
        assert_eq!(record.os.len(), MAX_OS_BYTES);
        assert_eq!(contact(&ocs(), Some(&record), &says, NOW).write, None);
    }

    #[test]
    fn last_contact_is_written_daily_or_with_a_change() {
        let later = NOW.plus(DAY_S);
        assert_eq!(
            contact(&ocs(), Some(&known()), &says(), later)
                .write
                .unwrap()
                .last_seen,
            later
        );
        let soon = NOW.plus(60);
        let renamed = ReportedFacts {
            host_name: Some("web02"),
            ..says()
        };
        let record = contact(&ocs(), Some(&known()), &renamed, soon)
            .write
            .unwrap();
        assert_eq!(
            (record.host_name.as_str(), record.last_seen),
            ("web02", soon)
        );
    }

    #[test]
    fn inventories_are_asked_for_once_a_week() {
        let mut record = known();
        let mut asks = 0;
        for day in 0..70 {
            let now = NOW.plus(day * DAY_S);
            let contact = contact(&ocs(), Some(&record), &says(), now);
            record = contact.write.unwrap_or(record);
            if contact.ask_inventory {
                asks += 1;
                record.inventory_received = Some(now);
            }
        }
        assert_eq!(asks, 10);
    }

    #[test]
    fn an_ask_that_brought_nothing_is_repeated_after_a_week() {
        let mut record = known();
        record.inventory_received = None;
        let asks =
            |after: u64| contact(&ocs(), Some(&record), &says(), NOW.plus(after)).ask_inventory;
        assert!(!asks(WEEK_S - 1));
        assert!(asks(WEEK_S));
    }
}
