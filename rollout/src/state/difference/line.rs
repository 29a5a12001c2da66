//! Differences as lines of text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use packcast_protocol::state::{RolloutDocument, StateEntry, Wave, WaveNumber};
use packcast_protocol::{DeviceId, PackageId};

use super::StateDifference;
use crate::pacing::{PacingOverride, UpTo};
use crate::state::change::EntryOwner;

/// Names of the packages and devices in a line.
pub trait StateNames {
    /// Returns the name of a package, for example `tool@1`.
    fn package(&self, package: PackageId) -> String;

    /// Returns the name of a device, for example its host name.
    fn device(&self, device: &DeviceId) -> String;
}

/// Number of devices that a line names, before it counts the others.
pub(crate) const NAMED_DEVICES: usize = 5;

impl StateDifference {
    /// Returns the difference as one line.
    pub fn line(&self, names: &impl StateNames) -> String {
        match self {
            Self::LocationSet {
                location,
                url,
                before: None,
            } => format!("location {location}: added, address {url}"),
            Self::LocationSet {
                location,
                url,
                before: Some(before),
            } => format!("location {location}: address changed from {before} to {url}"),
            Self::LocationRemoved { location, url } => {
                format!("location {location}: removed, address {url}")
            }
            Self::RolloutSet {
                rollout,
                document,
                before,
            } => {
                let package = names.package(document.package);
                let change = match before {
                    None => "started for",
                    Some(_) => "new times for",
                };
                let waves = calendar(document);
                format!("rollout {rollout}: {change} {package}, {waves}")
            }
            Self::RolloutRemoved { rollout, document } => {
                let package = names.package(document.package);
                format!("rollout {rollout}: removed, of {package}")
            }
            Self::Assigned { to, entry, .. } if self.finished_rollout().is_some() => {
                let package = names.package(entry.package);
                format!(
                    "{}: {package} assigned without its rollout",
                    owner(to, names)
                )
            }
            Self::Unassigned { from, entry } => {
                let package = names.package(entry.package);
                format!("{}: unassigned {package}", owner(from, names))
            }
            Self::Assigned {
                to,
                entry,
                replaced,
            } => {
                let again = if replaced.is_some() { " again" } else { "" };
                let package = names.package(entry.package);
                let (owner, terms) = (owner(to, names), terms(entry));
                format!("{owner}: assigned {package}{again}{terms}")
            }
            Self::GroupCreated { group, .. } => format!("group {group}: created"),
            Self::GroupDeleted { group } => format!("group {group}: deleted"),
            Self::GroupRenamed { group, to } => format!("group {group}: renamed to {to}"),
            Self::Preferred {
                group,
                location: Some(location),
                ..
            } => format!("group {group}: prefers location {location}"),
            Self::Preferred {
                group,
                location: None,
                ..
            } => format!("group {group}: prefers no location"),
            Self::Paced { group, pacing, .. } => {
                format!(
                    "group {group}: pacing {}",
                    settings(pacing, "of the target")
                )
            }
            Self::Left { group, devices } => {
                format!("group {group}: {} left", listed(devices, names))
            }
            Self::Joined { group, devices } => {
                format!("group {group}: {} joined", listed(devices, names))
            }
        }
    }
}

/// Writes the times of the waves, such as `wave 1 opens 2026-11-18 11:06:40 UTC, wave 2 closed`.
fn calendar(rollout: &RolloutDocument) -> String {
    let wave = |(number, wave): (WaveNumber, &Wave)| match wave.from {
        Some(from) => format!("wave {number} opens {}", from.utc()),
        None => format!("wave {number} closed"),
    };
    let waves: Vec<String> = rollout.waves.numbered().map(wave).collect();
    waves.join(", ")
}

fn owner(owner: &EntryOwner, names: &impl StateNames) -> String {
    match owner {
        EntryOwner::Group(group) => format!("group {group}"),
        EntryOwner::Device(device) => format!("device {}", names.device(device)),
    }
}

fn terms(entry: &StateEntry) -> String {
    let force = entry.force.then(|| "force".to_owned());
    let terms = entry.terms.unknown(&[]).map(ToString::to_string);
    let terms: Vec<String> = force.into_iter().chain(terms).collect();
    if terms.is_empty() {
        String::new()
    } else {
        format!(" ({})", terms.join(", "))
    }
}

fn listed(devices: &BTreeSet<DeviceId>, names: &impl StateNames) -> String {
    let shown = devices.iter().take(NAMED_DEVICES);
    let shown: Vec<String> = shown.map(|device| names.device(device)).collect();
    let mut list = shown.join(", ");
    let others = devices.len() - shown.len();
    if others > 0 {
        let devices = if others == 1 { "device" } else { "devices" };
        let _ = write!(list, " and {others} other {devices}");
    }
    list
}

/// Writes the settings of a pacing, or `otherwise` if there are none.
pub(crate) fn settings(pacing: &PacingOverride, otherwise: &str) -> String {
    let seconds = |name: &str, pause: Option<u16>| pause.map(|s| format!("{name} pause {s} s"));
    let settings = [
        seconds("fragment", pacing.fragment_pause_s.map(UpTo::get)),
        seconds("cycle", pacing.cycle_pause_s.map(UpTo::get)),
        seconds("period", pacing.period_pause_s.map(UpTo::get)),
        pacing
            .contact_every_h
            .map(|hours| format!("check-in every {} h", hours.get())),
        pacing
            .timeout_days
            .map(|days| format!("timeout {} days", days.get())),
        pacing.strict.map(|strict| format!("strict {strict}")),
    ];
    let settings: Vec<String> = settings.into_iter().flatten().collect();
    if settings.is_empty() {
        otherwise.to_owned()
    } else {
        settings.join(", ")
    }
}
