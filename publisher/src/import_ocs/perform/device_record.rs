//! The record of a device of an OCS server.

use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::check_in::MAX_OS_BYTES;
use packcast_rollout::{DeviceRecord, WriteBudget};

use super::super::plan::DeviceImport;

/// The length of the longest name of an agent on record, in bytes.
const MAX_AGENT_BYTES: usize = 64;
/// The length of the longest host name on record, in bytes.
const MAX_HOST_BYTES: usize = 255;

/// Returns the record of a device that has not checked in here.
pub(super) fn record_of(device: &DeviceImport, now: UnixTime) -> DeviceRecord {
    let seen = device.last_seen.filter(|seen| *seen <= now).unwrap_or(now);
    let is_name = |name: &&str| !name.is_empty() && !name.chars().any(char::is_control);
    let host_name = Some(device.host_name.as_str()).filter(is_name);
    let host_name = host_name.unwrap_or_else(|| match &device.device {
        DeviceId::Ocs(id) => id.host_name(),
        DeviceId::Agent(_) => "",
    });
    DeviceRecord {
        device: device.device.clone(),
        host_name: cut(host_name, MAX_HOST_BYTES),
        agent: cut(&device.agent, MAX_AGENT_BYTES),
        os: cut(&device.os, MAX_OS_BYTES),
        first_seen: seen,
        last_seen: seen,
        inventory_asked: None,
        inventory_received: None,
        machine: None,
        facts: None,
        batch: None,
        budget: WriteBudget::default(),
    }
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
