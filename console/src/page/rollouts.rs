//! The live rollouts, and their status in words.

use axum::response::Response;
use maud::{Markup, html};
use packcast_publisher::rollout::{self, RolloutSummary};

use super::rollout_step::{sentence, step};
use crate::change::address::START_ROLLOUT;
use crate::change::links::{ChangeLink, action, actions};
use crate::layout::{Section, View};
use crate::page_error::PageError;
use crate::visit::Visit;
use crate::words::{group_link, grouped, state, text};

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
        } @else { (table(&rollouts, visit)) }
    };
    Ok(View {
        title: "Rollouts".to_owned(),
        section: Some(Section::Rollouts),
        commands: vec![visit.app.commands().line(["rollout", "list"])],
        body,
    })
}

fn table(rollouts: &[RolloutSummary], visit: &Visit) -> Markup {
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
                            p.soft { (text(&sentence(rollout, &visit.app))) }
                            (next(rollout, visit))
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

/// Writes the link to the change that continues a rollout.
pub(super) fn next(rollout: &RolloutSummary, visit: &Visit) -> Markup {
    let id = rollout.package.to_string();
    let link = step(rollout).map(|step| step.link(&id));
    html! {
        @if let Some(link) = &link {
            p { (action(visit, link, &format!("{}: rollout of {}", link.name, rollout.name))) }
        }
    }
}
