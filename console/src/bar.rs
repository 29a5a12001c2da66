//! The devices of a package as a bar with its legend.

use maud::{Markup, html};
use packcast_protocol::PackageId;
use packcast_publisher::page::{DeploymentState, PackageCounts};

use crate::words::grouped;

/// The width of the bar in its own units.
const WIDTH: u64 = 10_000;

/// A part of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    name: &'static str,
    /// The state in the address of the list of devices; `None` if the index has no such list.
    state: Option<&'static str>,
    devices: u64,
}

/// Reads a state from an address.
pub(crate) fn state_of(text: &str) -> Option<DeploymentState> {
    Some(match text {
        "waiting" => DeploymentState::Pending,
        "announced" => DeploymentState::Announced,
        "withdrawn" => DeploymentState::Withdrawn,
        "succeeded" => DeploymentState::Succeeded,
        "failed" => DeploymentState::Failed,
        "cancelled" => DeploymentState::Cancelled,
        "not-applicable" => DeploymentState::NotApplicable,
        _ => return None,
    })
}

/// The states of the lists of devices, as addresses name them.
pub(crate) const STATES: [&str; 7] = [
    "failed",
    "succeeded",
    "announced",
    "waiting",
    "withdrawn",
    "cancelled",
    "not-applicable",
];

fn parts(counts: &PackageCounts) -> [Part; 8] {
    let tally = &counts.tally;
    let part = |name, devices| Part {
        name,
        state: Some(name),
        devices,
    };
    [
        part("succeeded", tally.succeeded),
        part("failed", tally.failed),
        part("cancelled", tally.cancelled),
        Part {
            name: "not applicable",
            ..part("not-applicable", tally.not_applicable)
        },
        part("announced", tally.announced),
        part("withdrawn", tally.withdrawn),
        part("waiting", tally.waiting()),
        Part {
            name: "to come",
            state: None,
            devices: counts.to_come.unwrap_or(0),
        },
    ]
}

/// Returns the begin and the width of each part. A part that is not empty is at least visible.
fn places(devices: &[u64]) -> Vec<(u64, u64)> {
    const LEAST: u64 = 60;
    let all: u64 = devices.iter().sum();
    let wide = |devices: u64| devices.saturating_mul(WIDTH) / all.max(1);
    let widths: Vec<u64> = devices
        .iter()
        .map(|devices| match devices {
            0 => 0,
            _ => wide(*devices).max(LEAST),
        })
        .collect();
    let sum: u64 = widths.iter().sum();
    let mut begin = 0;
    widths
        .into_iter()
        .map(|width| {
            let width = width * WIDTH / sum.max(1);
            let place = (begin, width);
            begin += width;
            place
        })
        .collect()
}

/// Writes the devices of a package in each state as a text.
pub(crate) fn label(counts: &PackageCounts) -> String {
    let parts = parts(counts);
    let shown = parts.iter().filter(|part| part.devices > 0);
    let shown: Vec<String> = shown
        .map(|part| format!("{} {}", part.devices, part.name))
        .collect();
    if shown.is_empty() {
        "no devices".to_owned()
    } else {
        shown.join(", ")
    }
}

/// Writes the bar of a package.
pub(crate) fn bar(package: PackageId, counts: &PackageCounts) -> Markup {
    let parts = parts(counts);
    let devices: Vec<u64> = parts.iter().map(|part| part.devices).collect();
    let all: u64 = devices.iter().sum();
    html! {
        svg.bar role="img" viewBox={ "0 0 " (WIDTH) " 300" } preserveAspectRatio="none"
            aria-label=(label(counts)) {
            rect.none width=(WIDTH) height="300" {}
            @for (part, (begin, width)) in parts.iter().zip(places(&devices)) {
                @if width > 0 {
                    rect class={ "of-" (class(part.name)) } x=(begin) width=(width) height="300" {}
                }
            }
        }
        ul.legend {
            @for part in parts.iter().filter(|part| part.devices > 0) {
                li {
                    span class={ "key of-" (class(part.name)) } {}
                    strong { (grouped(part.devices)) } " "
                    @match part.state {
                        Some(state) => {
                            a href={ "/packages/" (package) "/devices?state=" (state) } {
                                (part.name)
                            }
                        }
                        None => span title="An estimate from the size of the group" { (part.name) },
                    }
                    span.soft { " " (percent(part.devices, all)) }
                }
            }
            @if all == 0 { li.soft { "No device has the package yet." } }
        }
    }
}

fn class(name: &str) -> String {
    name.replace(' ', "-")
}

/// Writes a share. `100 %` stands for all, and no part is `0 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match part.saturating_mul(100) / whole.max(1) {
        0 if part > 0 => "<1 %".to_owned(),
        share => format!("{share} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_visible_and_the_bar_is_full() {
        let places = places(&[99_999, 1, 0]);
        assert_eq!(places[0].0, 0);
        assert!(places[1].1 >= 50, "{places:?}");
        assert_eq!(places[2].1, 0);
        let (begin, width) = places[1];
        assert!((WIDTH - 2..=WIDTH).contains(&(begin + width)));
        assert_eq!(super::places(&[0, 0]), [(0, 0), (0, 0)]);
    }

    #[test]
    fn each_state_of_a_list_is_known() {
        assert!(STATES.iter().all(|state| state_of(state).is_some()));
        assert_eq!(state_of("to-come"), None);
        assert_eq!([percent(1, 1_000), percent(5, 5)], ["<1 %", "100 %"]);
    }
}
