//! The live rollouts, and their status in words.

use axum::response::Response;
use maud::{Markup, html};
use packcast_publisher::rollout::{self, RolloutSummary};
use packcast_publisher::text::time;
use packcast_rollout::rollout::GateStatus;

use crate::change::address::START_ROLLOUT;
use crate::change::links::{ChangeLink, actions};
use crate::command::Commands;
use crate::layout::{Section, View};
use crate::page_error::PageError;
use crate::visit::Visit;
use crate::words::{count, group_link, grouped, state, text};

pub(crate) async fn page(visit: Visit) -> Response {
    let view = view(&visit).await;
    visit.answer(view)
}

async fn view(visit: &Visit) -> Result<View, PageError> {
    let mut rollouts = rollout::list_without_sizes(&visit.target).await?;
    rollouts.reverse();
    let body = html! {
        (actions(visit, &[ChangeLink::new(START_ROLLOUT, "Roll out a package", &[])]))
        @if rollouts.is_empty() {
            p.empty {
                "No rollout is live. A rollout brings a package to its groups in waves: "
                (visit.app.commands().example("rollout start PACKAGE --group GROUP"))
            }
        } @else { (table(&rollouts, visit.app.commands())) }
    };
    Ok(View {
        title: "Rollouts".to_owned(),
        section: Some(Section::Rollouts),
        commands: vec![visit.app.commands().line(["rollout", "list"])],
        body,
    })
}

fn table(rollouts: &[RolloutSummary], commands: &Commands) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Live rollouts, the newest package first" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Package" }
                    th role="columnheader" scope="col" { "Status" }
                    th.number role="columnheader" scope="col" { "Wave" }
                    th.number role="columnheader" scope="col" { "Begun" }
                    th.number role="columnheader" scope="col" { "Healthy" }
                    th.number role="columnheader" scope="col" { "Failed" }
                    th role="columnheader" scope="col" { "Groups" }
                }
            }
            tbody role="rowgroup" {
                @for rollout in rollouts {
                    tr role="row" {
                        th role="rowheader" scope="row" {
                            a href={ "/rollouts/" (rollout.package) } { (text(&rollout.name)) }
                        }
                        td role="cell" data-label="Status" {
                            (state(rollout.status))
                            p.soft { (text(&sentence(rollout, commands))) }
                        }
                        td.number role="cell" data-label="Wave" {
                            @match rollout.wave {
                                Some(wave) => { (wave) " of " (rollout.waves) },
                                None => { "of " (rollout.waves) },
                            }
                        }
                        td.number role="cell" data-label="Begun" { (grouped(rollout.begun.into())) }
                        td.number role="cell" data-label="Healthy" { (grouped(rollout.healthy.into())) }
                        td.number role="cell" data-label="Failed" { (grouped(rollout.failed.into())) }
                        td role="cell" data-label="Groups" {
                            @for (place, group) in rollout.groups.iter().enumerate() {
                                @if place > 0 { ", " }
                                (group_link(group))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Writes the status of a rollout as a sentence: the reason for which it waits, and the command that
/// continues it.
pub(crate) fn sentence(rollout: &RolloutSummary, commands: &Commands) -> String {
    let mut sentence = status_sentence(rollout);
    if rollout.may_be_complete {
        sentence.push_str(
            " The sizes of its groups are not read here: if every device is healthy, it is complete.",
        );
    }
    commands.in_text(&sentence)
}

fn status_sentence(rollout: &RolloutSummary) -> String {
    let name = &rollout.name;
    let Some(status) = &rollout.gate_status else {
        return format!(
            "No device begins: the table has lost the gate. 'packcast rollout end {name}' ends the rollout."
        );
    };
    match status {
        GateStatus::Running => format!(
            "{} of {} that have begun are healthy.",
            grouped(rollout.healthy.into()),
            count(rollout.begun.into(), "device")
        ),
        GateStatus::Working { unhealthy } => format!(
            "{} of {} are healthy, and {} not settled yet.",
            grouped(rollout.healthy.into()),
            count(rollout.begun.into(), "device"),
            grouped((*unhealthy).into())
        ),
        GateStatus::Opens { wave, at } => format!("Wave {wave} opens {}.", time(*at)),
        GateStatus::NoTime { wave } => {
            format!("Wave {wave} is closed. 'packcast rollout promote {name}' opens it.")
        }
        GateStatus::NothingBegun { wave } => {
            format!("No device of wave {wave} has begun. {}", next_step(rollout))
        }
        GateStatus::NotBegun { devices } => format!(
            "The last wave has gone well. Devices that have not begun: {}. {}",
            grouped((*devices).into()),
            next_step(rollout)
        ),
        GateStatus::Unhealthy { failed, silent } => format!(
            "The next wave waits: {}. {}",
            unhealthy(*failed, *silent),
            next_step(rollout)
        ),
        GateStatus::Full { failed, silent } => format!(
            "Each place is taken: {}. 'packcast rollout resume {name}' frees the places.",
            unhealthy(*failed, *silent)
        ),
        GateStatus::Halted { failed } => format!(
            "{} failed, so no further device begins. 'packcast rollout resume {name} --after-halt' continues.",
            count((*failed).into(), "device")
        ),
        GateStatus::Paused => {
            format!("A person has paused it. 'packcast rollout resume {name}' continues.")
        }
        GateStatus::Restored => format!(
            "The table was restored from a back-up. 'packcast rollout resume {name}' continues."
        ),
        GateStatus::Ended => format!(
            "A person has ended it. If the package is still assigned, 'packcast rollout end {name}' withdraws it."
        ),
        GateStatus::Complete => format!(
            "The last wave has gone well. 'packcast rollout finish {name}' makes it a plain assignment."
        ),
    }
}

/// Returns the command that goes on although devices are missing.
fn next_step(rollout: &RolloutSummary) -> String {
    let RolloutSummary {
        name, wave, waves, ..
    } = rollout;
    if wave.is_some_and(|wave| usize::from(wave.get()) >= *waves) {
        return format!(
            "'packcast rollout finish {name}' gives the package to all other devices without the gate."
        );
    }
    format!("'packcast rollout promote {name}' opens the next wave now.")
}

fn unhealthy(failed: u32, silent: u32) -> String {
    let parts = [
        (failed > 0).then(|| format!("{} failed", count(failed.into(), "device"))),
        (silent > 0).then(|| format!("{} not heard from", count(silent.into(), "device"))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_protocol::state::RolloutId;

    use super::*;

    #[test]
    fn each_status_is_a_sentence() {
        let wave = 2.try_into().unwrap();
        let at = UnixTime(1_795_000_000);
        let statuses = [
            Some(GateStatus::Running),
            Some(GateStatus::Working { unhealthy: 3 }),
            Some(GateStatus::NotBegun { devices: 12 }),
            Some(GateStatus::Opens { wave, at }),
            Some(GateStatus::NoTime { wave }),
            Some(GateStatus::NothingBegun { wave }),
            Some(GateStatus::Unhealthy {
                failed: 0,
                silent: 3,
            }),
            Some(GateStatus::Full {
                failed: 1,
                silent: 2,
            }),
            Some(GateStatus::Halted { failed: 3 }),
            Some(GateStatus::Paused),
            Some(GateStatus::Restored),
            Some(GateStatus::Ended),
            Some(GateStatus::Complete),
            None,
        ];
        let sentences = statuses.map(|gate_status| {
            status_sentence(&RolloutSummary {
                rollout: RolloutId::from_bytes([1; 16]),
                package: 1_795_000_000.try_into().unwrap(),
                name: "vlc@3".to_owned(),
                groups: Vec::new(),
                devices: 0,
                status: "",
                wave: None,
                waves: 3,
                begun: 20,
                healthy: 14,
                failed: 3,
                gate_status,
                may_be_complete: false,
            })
        });
        insta::assert_snapshot!(sentences.join("\n"), @r"
        14 of 20 devices that have begun are healthy.
        14 of 20 devices are healthy, and 3 not settled yet.
        The last wave has gone well. Devices that have not begun: 12. 'packcast rollout promote vlc@3' opens the next wave now.
        Wave 2 opens 2026-11-18 11:06:40 UTC.
        Wave 2 is closed. 'packcast rollout promote vlc@3' opens it.
        No device of wave 2 has begun. 'packcast rollout promote vlc@3' opens the next wave now.
        The next wave waits: 3 devices not heard from. 'packcast rollout promote vlc@3' opens the next wave now.
        Each place is taken: 1 device failed, 2 devices not heard from. 'packcast rollout resume vlc@3' frees the places.
        3 devices failed, so no further device begins. 'packcast rollout resume vlc@3 --after-halt' continues.
        A person has paused it. 'packcast rollout resume vlc@3' continues.
        The table was restored from a back-up. 'packcast rollout resume vlc@3' continues.
        A person has ended it. If the package is still assigned, 'packcast rollout end vlc@3' withdraws it.
        The last wave has gone well. 'packcast rollout finish vlc@3' makes it a plain assignment.
        No device begins: the table has lost the gate. 'packcast rollout end vlc@3' ends the rollout.
        ");
    }
}
