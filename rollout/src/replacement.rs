//! Conditions under which one device may take the place of another: both are records of one machine,
//! which was installed again.

use packcast_protocol::DeviceId;

use crate::machine::MachineRecord;
use crate::record::DeviceRecord;

/// Facts which show that two records are of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameMachine {
    /// The host name and the id of the machine are the same.
    HostNameAndId,
    /// The host name is the same. The ids of the machine show nothing: OCS agents report none, and a
    /// new installation changes the id of the system.
    HostName,
}

/// Reasons why a device must not take the place of another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReplacement {
    #[error("a device cannot take its own place")]
    SameDevice,
    #[error("the devices have different host names: {old:?} and {new:?}")]
    HostName { old: String, new: String },
    #[error("the devices are different machines: the ids of their hardware differ")]
    OtherMachine,
    #[error("two machines use the identity of device {old}")]
    SharedIdentity { old: DeviceId },
    #[error("device {old} has checked in after device {new} was new, so both are in use")]
    BothInUse { old: DeviceId, new: DeviceId },
}

/// Checks that a device may take the place of another one.
///
/// The old device must not have checked in since the first check-in of the new one.
pub fn check_replacement(
    old: &DeviceRecord,
    new: &DeviceRecord,
) -> Result<SameMachine, NoReplacement> {
    if old.device == new.device {
        return Err(NoReplacement::SameDevice);
    }
    let [old_name, new_name] = [old, new].map(|record| record.host_name.to_lowercase());
    if old_name != new_name || old_name.is_empty() {
        return Err(NoReplacement::HostName {
            old: old.host_name.clone(),
            new: new.host_name.clone(),
        });
    }
    let machines = old.machine.as_ref().zip(new.machine.as_ref());
    let same = match machines.and_then(|(old, new)| old.is_same_machine(new)) {
        Some(true) => SameMachine::HostNameAndId,
        Some(false) => return Err(NoReplacement::OtherMachine),
        None => SameMachine::HostName,
    };
    if old.machine.as_ref().is_some_and(has_other) {
        return Err(NoReplacement::SharedIdentity {
            old: old.device.clone(),
        });
    }
    if old.last_seen >= new.first_seen {
        return Err(NoReplacement::BothInUse {
            old: old.device.clone(),
            new: new.device.clone(),
        });
    }
    Ok(same)
}

/// Finds a device that may take the place of another one, among devices with one host name: both
/// have the same machine id. Returns the old device and the newest.
pub fn find_replacement(records: &[DeviceRecord]) -> Option<(&DeviceId, &DeviceId)> {
    let newest = records
        .iter()
        .max_by_key(|record| (record.first_seen, record.last_seen))?;
    let same =
        |old: &&DeviceRecord| check_replacement(old, newest) == Ok(SameMachine::HostNameAndId);
    let old = records.iter().filter(same);
    let old = old.max_by_key(|record| record.last_seen)?;
    Some((&old.device, &newest.device))
}

const fn has_other(machine: &MachineRecord) -> bool {
    machine.other.is_some()
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_protocol::state::exchange::MachineFacts;

    use super::*;
    use crate::write_budget::WriteBudget;

    const DESK: &str = "hardware:4c4c4544-0042-3510-8051-b4c04f4b3732";
    const COPY: &str = "hardware:11111111-0042-3510-8051-b4c04f4b3732";
    const SYSTEM: &str = "system:bc541fda11cb41ee9dfa15bc7fee0e2c";

    const OTHER_SYSTEM: &str = "system:0a0b1fda11cb41ee9dfa15bc7fee0e2c";

    fn after(known: Option<&MachineRecord>, id: &str) -> MachineRecord {
        let facts = MachineFacts::new("linux-x86_64", Some(id), None, UnixTime(1));
        MachineRecord::after_check_in(known, &facts, UnixTime(1))
    }

    /// Returns a device that was new on one day, and was last seen on another.
    fn record(number: u8, ids: &[&str], [first_seen, last_seen]: [u64; 2]) -> DeviceRecord {
        let machine = ids
            .iter()
            .fold(None, |known, id| Some(after(known.as_ref(), id)));
        DeviceRecord {
            device: format!("ocs:pc-2026-03-{number:02}-05-06-07")
                .parse()
                .unwrap(),
            host_name: "pc".to_owned(),
            agent: String::new(),
            os: String::new(),
            first_seen: UnixTime(first_seen),
            last_seen: UnixTime(last_seen),
            inventory_asked: None,
            inventory_received: None,
            machine,
            facts: None,
            batch: None,
            budget: WriteBudget::default(),
        }
    }

    #[test]
    fn records_of_one_machine_have_one_host_name_and_one_id() {
        let old = record(1, &[SYSTEM, DESK], [1, 5]);
        let (both, name) = (SameMachine::HostNameAndId, SameMachine::HostName);
        for (ids, expected) in [
            (&[DESK][..], Ok(both)),
            (&[SYSTEM], Ok(both)),
            (&[SYSTEM, DESK], Ok(both)),
            (&["later:1"], Ok(name)),
            (&[OTHER_SYSTEM], Ok(name)),
            (&[OTHER_SYSTEM, DESK], Ok(both)),
            (&[], Ok(name)),
            (&[COPY], Err(NoReplacement::OtherMachine)),
            (&[SYSTEM, COPY], Err(NoReplacement::OtherMachine)),
            (&[COPY, SYSTEM], Err(NoReplacement::OtherMachine)),
        ] {
            let mut new = record(2, ids, [6, 9]);
            new.host_name = "PC".to_owned();
            assert_eq!(check_replacement(&old, &new), expected, "{ids:?}");
        }
    }

    #[test]
    fn the_newest_device_takes_the_place_of_the_one_before() {
        let records = [
            record(1, &[DESK], [1, 4]),
            record(2, &[DESK], [4, 6]),
            record(3, &[DESK], [7, 9]),
            record(4, &[COPY], [2, 6]),
            record(5, &[], [3, 6]),
        ];
        let (old, new) = find_replacement(&records).unwrap();
        assert_eq!([old, new], [&records[1].device, &records[2].device]);
        assert_eq!(find_replacement(&records[2..]), None);
        assert_eq!(find_replacement(&[]), None);
    }

    #[test]
    fn error_messages() {
        let old = record(1, &[DESK], [1, 5]);
        let new = record(2, &[DESK], [5, 9]);
        let named = |name: &str| DeviceRecord {
            host_name: name.to_owned(),
            ..new.clone()
        };
        let mut shared = old.clone();
        shared.machine = Some(after(old.machine.as_ref(), COPY));
        let mut nameless = old.clone();
        nameless.host_name.clear();
        let refused = [
            check_replacement(&old, &old),
            check_replacement(&old, &named("web01")),
            check_replacement(&nameless, &named("")),
            check_replacement(&old, &record(2, &[COPY], [5, 9])),
            check_replacement(&shared, &new),
            check_replacement(&new, &old),
        ];
        let refused = refused.map(|refused| refused.unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @r#"
        a device cannot take its own place
        the devices have different host names: "pc" and "web01"
        the devices have different host names: "" and ""
        the devices are different machines: the ids of their hardware differ
        two machines use the identity of device ocs:pc-2026-03-01-05-06-07
        device ocs:pc-2026-03-02-05-06-07 has checked in after device ocs:pc-2026-03-01-05-06-07 was new, so both are in use
        "#);
    }
}
