//! The failures of a package by their causes.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::terminal;
use packcast_publisher::package::named as name_of;
use packcast_publisher::status::{self, FailureCause, FailureCauses, MOST_READ};
use serde::Deserialize;

use super::package::{Tab, find, tabs};
use crate::layout::{Section, View};
use crate::page_error::PageError;
use crate::visit::Visit;
use crate::words::{count, device_link, grouped, package_path, text};

/// The number of failures in a sample.
const SAMPLE: usize = 12;

#[derive(Deserialize)]
pub(crate) struct Choice {
    all: Option<String>,
}

pub(crate) async fn page(
    visit: Visit,
    Path(package): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    let view = view(&visit, &package, choice.all.is_some()).await;
    visit.answer(view)
}

async fn view(visit: &Visit, package: &str, all: bool) -> Result<View, PageError> {
    let package = find(visit, package).await?;
    let found = if all {
        status::causes(&visit.target, package.id).await?
    } else {
        status::sampled_causes(&visit.target, package.id, SAMPLE).await?
    };
    let path = package_path(package.id);
    let body = html! {
        (tabs(package.id, Tab::Failures))
        @if found.by_cause.is_empty() {
            p.empty { "No device has failed with this package." }
        } @else {
            (causes(&found))
            @if all {
                p.soft { "At most " (grouped(MOST_READ as u64)) " failures are read." }
            } @else if found.read >= SAMPLE as u64 {
                p {
                    "This is a sample of " (SAMPLE) " failures. "
                    a href={ (path) "/failures?all=1" } {
                        "Group up to " (grouped(MOST_READ as u64)) " failures"
                    }
                    span.soft { " (up to about " (grouped(MOST_READ as u64 / 2 + 40)) " read units)" }
                }
            }
            p { a href={ (path) "/devices?state=failed" } { "List the failed devices" } }
        }
    };
    let (name, commands) = (name_of(&package), visit.app.commands());
    Ok(View {
        title: format!("Failures of {name}"),
        section: Some(Section::Packages),
        commands: vec![
            commands.line(["status", &name]),
            commands.line(["status", &name, "--devices", "--state", "failed"]),
        ],
        body,
    })
}

/// Writes failures by their causes.
pub(crate) fn causes(found: &FailureCauses) -> Markup {
    html! {
        ul.causes {
            @for cause in &found.by_cause {
                li {
                    p {
                        strong { (count(cause.devices, "device")) } " of " (grouped(found.read))
                        " read: " code { (text(&cause.code.to_string())) }
                        @if let Some(meaning) = cause.code.meaning() { " (" (meaning) ")" }
                    }
                    @if let Some(line) = &cause.line { pre { (text(line)) } }
                    p.soft {
                        "Such as "
                        @for (place, example) in cause.examples.iter().enumerate() {
                            @if place > 0 { ", " }
                            (device_link(&example.device, &example.host_name))
                        }
                    }
                    (end_of_output(cause))
                }
            }
        }
    }
}

/// Writes the end of the output of the first example, if it is longer than the line of the cause.
fn end_of_output(cause: &FailureCause) -> Markup {
    let tail = cause.output_tail.as_deref().map(str::trim_end);
    let tail = tail.filter(|tail| tail.trim_start().contains('\n'));
    html! {
        @if let (Some(tail), Some(example)) = (tail, cause.examples.first()) {
            details {
                summary { "End of the output of " (text(&example.host_name)) }
                pre tabindex="0" { (terminal::lines(tail)) }
            }
        }
    }
}
