//! The calendar of a rollout before it starts: the time at which each device gets the package, the
//! bounds of both brakes, and the promises.

use maud::{Markup, html};
use packcast_publisher::local_clock::LocalClock;
use packcast_publisher::rollout::{PlannedRollout, WaveBounds, WithoutRollout};
use packcast_rollout::rollout::promises;

use crate::words::{count, duration, group_link, group_links, grouped, share};

/// Writes the calendar of a planned rollout.
pub(crate) fn calendar(planned: &PlannedRollout, clock: &LocalClock) -> Markup {
    html! {
        section aria-labelledby="calendar" {
            h2 #calendar { "Calendar" }
            p {
                (count(planned.devices.into(), "device")) " of " (group_links(&planned.groups)) " in "
                (count(planned.waves.len() as u64, "wave")) "."
            }
            (waves(&planned.waves, clock))
            (slow_waves(&planned.waves))
            (without(&planned.without_rollout))
        }
        section aria-labelledby="promises" {
            h2 #promises { "Promises" }
            ul.lines {
                @for promise in promises(&planned.limits, planned.reaches, duration) {
                    li { (promise) }
                }
            }
        }
    }
}

fn waves(waves: &[WaveBounds], clock: &LocalClock) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Waves of the rollout with their times and bounds" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Wave" }
                    th role="columnheader" scope="col" { "Devices of" }
                    th.number role="columnheader" scope="col" { "Devices" }
                    th role="columnheader" scope="col" { "Opens" }
                    th.number role="columnheader" scope="col" { "Reached" }
                    th.number role="columnheader" scope="col" { "At once" }
                    th.number role="columnheader" scope="col" { "Behind" }
                }
            }
            tbody role="rowgroup" {
                @for wave in waves {
                    tr role="row" {
                        th role="rowheader" scope="row" { "Wave " (wave.wave) }
                        td role="cell" data-label="Devices of" { (members(wave)) }
                        td.number role="cell" data-label="Devices" { (grouped(wave.devices.into())) }
                        td role="cell" data-label="Opens" {
                            @match wave.opens {
                                Some(at) => (clock.text(at)),
                                None => "after a promotion",
                            }
                        }
                        td.number role="cell" data-label="Reached" { (grouped(wave.reached.into())) }
                        td.number role="cell" data-label="At once" { (grouped(wave.at_once.into())) }
                        td.number role="cell" data-label="Behind" {
                            (grouped(wave.left_behind.into()))
                        }
                    }
                }
            }
        }
    }
}

fn members(wave: &WaveBounds) -> Markup {
    match wave.up_to {
        Some(bound) => html! { "the rollout, up to " (share(bound)) },
        None => group_links(&wave.groups),
    }
}

/// Writes the time that each wave takes if all devices have OCS agents.
fn slow_waves(waves: &[WaveBounds]) -> Markup {
    let with_duration = waves
        .iter()
        .filter_map(|wave| Some((wave.wave, wave.ocs_duration_s?)));
    let durations: Vec<String> = with_duration
        .map(|(wave, seconds)| format!("wave {wave} about {}", duration(rounded(seconds))))
        .collect();
    html! {
        @if !durations.is_empty() {
            p {
                "If all devices have OCS agents, a wave takes from its opening: "
                (durations.join(", ")) "."
            }
        }
    }
}

/// Rounds an estimate to hours, or to minutes below two hours.
const fn rounded(seconds: u64) -> u64 {
    let unit_s = if seconds < 7_200 { 60 } else { 3_600 };
    (seconds + unit_s / 2) / unit_s * unit_s
}

/// Writes the assignees that have the package without the rollout.
fn without(without: &WithoutRollout) -> Markup {
    html! {
        @if !without.groups.is_empty() || without.devices > 0 {
            section.notice.warn aria-label="Assigned without the rollout" {
                p {
                    "Without the rollout, the package is assigned to: "
                    @for (place, at) in without.groups.iter().enumerate() {
                        @if place > 0 { ", " }
                        "group " (group_link(&at.group)) " (" (count(at.devices, "device")) ")"
                    }
                    @if without.devices > 0 {
                        @if !without.groups.is_empty() { ", " }
                        (count(without.devices, "device")) " by earlier assignments"
                    }
                    ". The rollout does not count them."
                }
            }
        }
    }
}
