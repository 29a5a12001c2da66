//! One rollout: its waves as columns, its failures against the limit, and the reason of a wait.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::{PackageRef, UnixTime, terminal};
use packcast_publisher::rollout::{
    Awaited, RolloutDetails, RolloutReader, RolloutRound, RolloutWave, WaveStates,
};
use packcast_rollout::rollout::GateStatus;
use serde::Deserialize;

use super::rollout_step::{command, sentence};
use crate::app::App;
use crate::change::address::{
    END_ROLLOUT, FINISH_ROLLOUT, PAUSE_ROLLOUT, PROMOTE_ROLLOUT, RESUME_ROLLOUT,
};
use crate::change::links::{ChangeLink, actions};
use crate::layout::{Section, View, live_numbers};
use crate::page_error::{PageError, named};
use crate::visit::Visit;
use crate::words::{
    count, device_link, exact, group_links, grouped, package_link, share, state, text, when,
};

#[derive(Deserialize)]
pub(crate) struct Choice {
    devices: Option<String>,
}

impl Choice {
    /// Returns true if the devices of each wave are counted, and silent ones named.
    pub(crate) const fn with_devices(&self) -> bool {
        self.devices.is_some()
    }
}

pub(crate) async fn page(
    visit: Visit,
    Path(package): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    let view = view(&visit, &package, choice.with_devices()).await;
    visit.answer(view)
}

async fn view(visit: &Visit, package: &str, with_devices: bool) -> Result<View, PageError> {
    let reference: PackageRef = named(package, "package")?;
    let mut reader = if with_devices {
        RolloutReader::open_with_states(&visit.target, &reference).await?
    } else {
        RolloutReader::open_brief(&visit.target, &reference).await?
    };
    let details = reader.read().await?;
    let (summary, commands) = (&details.summary, visit.app.commands());
    let path = format!("/rollouts/{}", summary.package);
    let mode = if with_devices { "?devices=1" } else { "" };
    let events = format!("{path}/live{mode}");
    let body = html! {
        p {
            "Package " (package_link(summary.package, &summary.name)) " to "
            (group_links(&summary.groups))
        }
        (changes(&details, visit))
        (live_numbers(&events, visit.now, &numbers(&details, with_devices, &visit.app, visit.now)))
        @if !with_devices {
            p {
                a href={ (path) "?devices=1" } { "Count the devices of each wave" }
                span.soft {
                    " by their states, and name silent ones (reads all members of the groups: a read \
                     unit for about 30 of them; and their states every 30 seconds: a read unit for \
                     about 60 of them)"
                }
            }
        }
    };
    let name = &summary.name;
    let mut lines = vec![
        commands.line(["rollout", "show", name]),
        commands.line(["rollout", "watch", name]),
    ];
    lines.extend(command(summary, &visit.app));
    Ok(View {
        title: format!("Rollout of {name}"),
        section: Some(Section::Rollouts),
        commands: lines,
        body,
    })
}

/// Writes links to the changes of a rollout. The status may change while the page is open, so the page
/// has all of them.
fn changes(details: &RolloutDetails, visit: &Visit) -> Markup {
    let id = details.summary.package.to_string();
    let link = |path, name| ChangeLink::new(path, name, &[("package", &id)]);
    let mut resume = link(RESUME_ROLLOUT, "Resume");
    if matches!(details.summary.gate_status, Some(GateStatus::Halted { .. })) {
        resume.fields.push(("after-halt", "on"));
    }
    let links = [
        link(PAUSE_ROLLOUT, "Pause"),
        resume,
        link(PROMOTE_ROLLOUT, "Open the next wave"),
        link(FINISH_ROLLOUT, "Finish"),
        link(END_ROLLOUT, "End"),
    ];
    actions(visit, &links)
}

/// Writes the status of a rollout as a text.
pub(crate) fn summary(details: &RolloutDetails, app: &App) -> String {
    let summary = &details.summary;
    format!("{}: {}", summary.status, sentence(summary, app))
}

/// Writes everything that changes while a rollout runs.
pub(crate) fn numbers(
    details: &RolloutDetails,
    with_devices: bool,
    app: &App,
    now: UnixTime,
) -> Markup {
    let summary = &details.summary;
    let healthy_and_failed = summary.healthy.saturating_add(summary.failed);
    html! {
        p.status { (state(summary.status)) " " (text(&sentence(summary, app))) }
        @if !details.silent.is_empty() {
            p {
                "It waits for "
                @for (place, silent) in details.silent.iter().enumerate() {
                    @if place > 0 { ", " }
                    (device_link(&silent.device.device, &silent.device.host_name))
                    " (" (awaited(silent.waits_for)) ")"
                }
            }
        }
        dl.figures {
            div { dt { "Begun" } dd { (grouped(summary.begun.into())) } }
            div { dt { "Healthy" } dd { (grouped(summary.healthy.into())) } }
            div { dt { "Failed" } dd { (grouped(summary.failed.into())) } }
            div {
                dt { "Not settled" }
                dd { (grouped(summary.begun.saturating_sub(healthy_and_failed).into())) }
            }
            @if let Some(round) = &details.round {
                div { dt { "Free places" } dd { (grouped(round.free.into())) } }
            }
        }
        (waves(details, with_devices, now))
        (failures(details))
        (limits(details, now))
    }
}

/// Writes the waves as columns, with the counters of the round in the latest open wave.
fn waves(details: &RolloutDetails, with_devices: bool, now: UnixTime) -> Markup {
    let latest = details.summary.wave;
    html! {
        h2 { "Waves" }
        ol.waves {
            @for wave in &details.calendar {
                @let is_latest = latest == Some(wave.wave);
                @let round = details.round.as_ref().filter(|_| is_latest);
                li.wave aria-current=[is_latest.then_some("step")] {
                    h3 { "Wave " (wave.wave) }
                    p { (wave_state(wave, is_latest)) }
                    p { (members(wave)) }
                    @if with_devices { p { (count(wave.devices.into(), "device")) } }
                    p.soft {
                        @match wave.opens {
                            Some(at) if wave.is_open => { "opened " (when(at, now)) },
                            Some(at) => { "opens " (when(at, now)) },
                            None => "opens after a promotion",
                        }
                    }
                    @if let Some(states) = &wave.states { (states_of(states)) }
                    @if let Some(round) = round { (places(round)) }
                }
            }
        }
    }
}

/// Writes the devices of a wave by their states.
fn states_of(states: &WaveStates) -> Markup {
    let rows = [
        ("Announced", states.announced),
        ("Succeeded", states.succeeded),
        ("Failed", states.failed),
        ("Waiting", states.waiting),
    ];
    html! {
        dl {
            @for (name, devices) in rows { dt { (name) } dd { (grouped(devices.into())) } }
        }
    }
}

/// Writes the places of a round.
fn places(round: &RolloutRound) -> Markup {
    html! {
        p.soft { "Round " (round.round) ":" }
        dl {
            dt { "Begun" } dd { (grouped(round.begun.into())) }
            dt { "Healthy" } dd { (grouped(round.healthy.into())) }
            dt { "Failed" } dd { (grouped(round.failed.into())) }
        }
    }
}

fn wave_state(wave: &RolloutWave, is_latest: bool) -> Markup {
    match (wave.is_open, is_latest) {
        (true, true) => state("open"),
        (true, false) => state("done"),
        (false, _) => state("closed"),
    }
}

fn members(wave: &RolloutWave) -> Markup {
    html! {
        @match wave.up_to {
            Some(bound) => {
                "devices up to " (share(bound)) " of the groups"
            },
            None => (group_links(&wave.groups)),
        }
    }
}

fn failures(details: &RolloutDetails) -> Markup {
    html! {
        @if !details.first_failures.is_empty() {
            h2 { "First failures of the round" }
            @for failure in &details.first_failures {
                article.result {
                    p {
                        (device_link(&failure.device, &failure.host_name)) " " (state("failed")) " "
                        code { (text(&failure.code.to_string())) }
                        @if let Some(meaning) = failure.code.meaning() { " (" (meaning) ")" }
                    }
                    @if let Some(tail) = &failure.output_tail {
                        pre tabindex="0" { (terminal::lines(tail.trim_end())) }
                    } @else if let Some(line) = &failure.line {
                        pre { (text(line)) }
                    }
                }
            }
        }
    }
}

fn limits(details: &RolloutDetails, now: UnixTime) -> Markup {
    html! {
        @if let Some(round) = &details.round {
            h2 { "Limits" }
            dl {
                dt { "Halts at" }
                dd {
                    (count(round.limits.halt_at.into(), "failure"))
                    @if round.limits.tolerate > 0 {
                        ", and tolerates failures of " (round.limits.tolerate)
                        " % of the healthy devices"
                    }
                    "; this round has " (round.failed)
                }
                dt { "At once" } dd { "at most " (count(round.limits.at_once.into(), "device")) }
                dt { "Round" } dd { (round.round) ", since " (exact(round.opened, now)) }
            }
        }
    }
}

/// Writes the news that a rollout needs of a device.
const fn awaited(awaited: Awaited) -> &'static str {
    match awaited {
        Awaited::Report => "has not reported",
        Awaited::CheckIn => "settles",
        Awaited::Restart => "to be restarted",
    }
}
