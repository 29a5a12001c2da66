//! Texts about the machine of a device.

use packcast_protocol::api::BoundedText;
use packcast_rollout::{ClockError, MachineRecord};

use crate::output;

pub(super) fn platform(machine: Option<&MachineRecord>) -> String {
    machine.map_or_else(String::new, |machine| machine.platform.to_string())
}

pub(super) fn ids(machine: Option<&MachineRecord>) -> String {
    let ids = machine.map_or(&[][..], |machine| &machine.ids);
    let ids: Vec<&str> = ids.iter().map(BoundedText::as_str).collect();
    ids.join(", ")
}

/// Writes the other machine that uses the identity of the device; nothing if there is none.
pub(super) fn conflict(machine: Option<&MachineRecord>) -> String {
    let other = machine.and_then(|machine| machine.other.as_ref());
    other.map_or_else(String::new, |other| {
        format!(
            "two machines use this identity; the other is {}, last seen {}",
            other.id,
            output::time(other.last_seen)
        )
    })
}

/// Writes the error of the machine's clock; nothing if the clock is right.
pub(super) fn clock(machine: Option<&MachineRecord>) -> &'static str {
    match machine.and_then(|machine| machine.clock) {
        None => "",
        Some(ClockError::Ahead) => "more than 5 minutes ahead of the function's clock",
        Some(ClockError::Behind) => "more than 5 minutes behind the function's clock",
    }
}
