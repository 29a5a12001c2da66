//! One package: its terms, its devices by state, and its versions.

use std::collections::BTreeSet;

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::manifest::Audience;
use packcast_protocol::{Action, DeviceId, PackageId, PackageRef};
use packcast_publisher::package::{self, named as name_of, state as state_of};
use packcast_publisher::page::{self, PackageCounts};
use packcast_publisher::rollout::is_rolled_out;
use packcast_publisher::text::platform;
use packcast_rollout::PackageRecord;
use serde::Deserialize;

use super::devices::table as device_table;
use super::next_step::next_step;
use super::packages::action;
use crate::bar::{STATES, bar, state_of as index_state};
use crate::change::address::{ACTIVATE, ASSIGN, DEACTIVATE, DELETE, START_ROLLOUT, UNASSIGN};
use crate::change::links::{ChangeLink, actions};
use crate::layout::{Section, View, live_numbers};
use crate::page_error::{PageError, field, named};
use crate::visit::Visit;
use crate::words::{
    bytes, count, device_link, encoded, exact, group_link, next_page, package_link, package_path,
    state, text, when,
};

/// The number of devices on a page, and of versions side by side.
const DEVICES: usize = 20;
const VERSIONS: usize = 8;

/// The number of pages and documents that the page reads to find the rollout of a package.
const ROLLOUT_READS: usize = 4;

/// The parts of a package, one page each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Devices,
    Failures,
    Versions,
}

#[derive(Deserialize)]
pub(crate) struct DeviceChoice {
    state: Option<String>,
    from: Option<String>,
}

pub(crate) async fn page(visit: Visit, Path(package): Path<String>) -> Response {
    let view = overview(&visit, &package).await;
    visit.answer(view)
}

pub(crate) async fn devices(
    visit: Visit,
    Path(package): Path<String>,
    Query(choice): Query<DeviceChoice>,
) -> Response {
    let view = device_view(&visit, &package, &choice).await;
    visit.answer(view)
}

pub(crate) async fn versions(visit: Visit, Path(package): Path<String>) -> Response {
    let view = version_view(&visit, &package).await;
    visit.answer(view)
}

pub(super) async fn find(visit: &Visit, package: &str) -> Result<PackageRecord, PageError> {
    let reference: PackageRef = named(package, "package")?;
    Ok(package::show(&visit.target, &reference).await?)
}

async fn overview(visit: &Visit, package: &str) -> Result<View, PageError> {
    let package = find(visit, package).await?;
    let counts = page::counts(&visit.target, package.id).await?;
    // Only groups have rollouts.
    let is_rolled_out = if counts.groups.is_empty() {
        Some(false)
    } else {
        is_rolled_out(&visit.target, package.id, ROLLOUT_READS).await?
    };
    let events = format!("{}/live", package_path(package.id));
    let body = html! {
        (tabs(package.id, Tab::Overview))
        (next_step(&package, &counts, visit))
        (changes(&package, visit))
        section aria-labelledby="progress" {
            h2 #progress { "Progress" }
            (live_numbers(&events, visit.now, &bar(package.id, &counts)))
            (assigned(&counts))
            (rollout(package.id, is_rolled_out))
        }
        (terms(&package, visit))
    };
    let (name, commands) = (name_of(&package), visit.app.commands());
    Ok(View {
        title: name.clone(),
        section: Some(Section::Packages),
        commands: vec![
            commands.line(["show", &name]),
            commands.line(["status", &name]),
            commands.line(["verify", &name]),
        ],
        body,
    })
}

/// Writes links to the changes that the state of a package permits.
fn changes(package: &PackageRecord, visit: &Visit) -> Markup {
    let id = package.id.to_string();
    let link = |path, name| ChangeLink::new(path, name, &[("package", &id)]);
    let activation = if package.active {
        link(DEACTIVATE, "Deactivate")
    } else {
        link(ACTIVATE, "Activate")
    };
    let links = if package.is_deleted() {
        Vec::new()
    } else if package.published().is_none() {
        vec![link(DELETE, "Delete")]
    } else {
        vec![
            activation,
            link(ASSIGN, "Assign"),
            link(START_ROLLOUT, "Roll out in waves"),
            link(UNASSIGN, "Unassign"),
            link(DELETE, "Delete"),
        ]
    };
    actions(visit, &links)
}

pub(super) fn tabs(package: PackageId, present: Tab) -> Markup {
    let path = package_path(package);
    html! {
        nav.tabs aria-label="Parts of the package" {
            ul {
                @for (tab, name, rest) in [
                    (Tab::Overview, "Overview", ""),
                    (Tab::Devices, "Devices", "/devices"),
                    (Tab::Failures, "Failures", "/failures"),
                    (Tab::Versions, "Versions", "/versions"),
                ] {
                    li {
                        a href={ (path) (rest) } aria-current=[(tab == present).then_some("page")] {
                            (name)
                        }
                    }
                }
            }
        }
    }
}

fn assigned(counts: &PackageCounts) -> Markup {
    html! {
        @if counts.groups.is_empty() {
            p.soft { "The package is assigned to no group." }
        } @else {
            p {
                "Assigned to "
                @for (place, group) in counts.groups.iter().enumerate() {
                    @if place > 0 { ", " }
                    (group_link(group))
                }
                "."
            }
            p.soft {
                "A device of a group is counted from its first check-in after the assignment."
                @if counts.to_come.is_none() {
                    " The devices to come are not counted here, because several groups have the \
                     package. The command of the status, below, counts them."
                }
            }
        }
    }
}

/// Writes a link to the live rollout of a package, or to all rollouts if it is not known.
fn rollout(package: PackageId, is_rolled_out: Option<bool>) -> Markup {
    html! {
        @match is_rolled_out {
            Some(true) => p { a href={ "/rollouts/" (package) } { "Show its live rollout" } },
            Some(false) => {},
            None => p { a href="/rollouts" { "Show the live rollouts" } },
        }
    }
}

fn terms(package: &PackageRecord, visit: &Visit) -> Markup {
    let published = package.published();
    html! {
        section aria-labelledby="terms" {
            h2 #terms { "Terms" }
            dl {
                dt { "State" } dd { (state(state_of(package, visit.now))) }
                dt { "Package id" } dd { (package.id) }
                dt { "Action" } dd { (action(&package.action)) }
                dt { "System" } dd { (platform(package.platform)) }
                dt { "Audience" } dd { (audience(&package.audience)) }
                dt { "Priority" } dd { (package.priority) }
                dt { "Archive" }
                dd { (archive(package)) }
                @if let Some(archive) = package.action.archive() {
                    dt { "SHA-256 of the archive" } dd { code.digest { (archive.sha256) } }
                }
                @if let Some(published) = published {
                    dt { "Fragments" } dd { (published.fragments) }
                }
                @if !matches!(package.action, Action::Store { .. }) {
                    dt { "Success codes" } dd { (codes(&package.success_codes)) }
                    @if !package.reboot_codes.is_empty() {
                        dt { "Restart codes" } dd { (codes(&package.reboot_codes)) }
                    }
                    dt { "Time limit" }
                    dd {
                        (count(u64::from(package.timeout_s), "second"))
                        @if package.rerun_after_interruption {
                            ", runs again after an interruption"
                        }
                    }
                }
                @if let Some(published) = published {
                    dt { "Expires" }
                    dd {
                        @match published.expires {
                            Some(at) => (exact(at, visit.now)),
                            None => "never",
                        }
                    }
                }
                dt { "Created" } dd { (exact(package.created_at, visit.now)) }
            }
        }
        section aria-labelledby="trust" {
            h2 #trust { "Signature and locations" }
            @match published {
                None => p { "The package is not published completely, so it has no signature yet." },
                Some(published) => dl {
                    dt { "Signed by" } dd { code.digest { (published.signer) } }
                    dt { "SHA-256 of the manifest" } dd { code.digest { (published.manifest) } }
                },
            }
            p.soft {
                "The record says this. The command of the verification, below, fetches the package \
                 from its locations, and verifies the signature and every byte."
            }
            @if package.locations.is_empty() {
                p { "The package is active at no location." }
            } @else {
                ul.lines {
                    @for at in &package.locations {
                        li { (text(&at.name.to_string())) " " code { (text(&at.location.to_string())) } }
                    }
                }
            }
        }
    }
}

fn archive(package: &PackageRecord) -> Markup {
    html! {
        @match package.action.archive() {
            Some(archive) => { (archive.format) ", " (bytes(archive.bytes)) },
            None => "none",
        }
    }
}

fn codes(codes: &BTreeSet<i32>) -> String {
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    codes.join(", ")
}

fn audience(audience: &Audience) -> Markup {
    match audience {
        Audience::Any => html! { "any device" },
        Audience::Devices(devices) => html! {
            @for (place, agent) in devices.iter().enumerate() {
                @if place > 0 { ", " }
                (device_link(&DeviceId::Agent(agent.clone()), ""))
            }
        },
        Audience::Groups(groups) => html! {
            "devices in "
            @for (place, group) in groups.iter().enumerate() {
                @if place > 0 { ", " }
                (group_link(group))
            }
        },
    }
}

async fn device_view(
    visit: &Visit,
    package: &str,
    choice: &DeviceChoice,
) -> Result<View, PageError> {
    let package = find(visit, package).await?;
    let word = choice.state.as_deref().unwrap_or(STATES[0]);
    let Some(chosen) = index_state(word) else {
        return Err(PageError::NotFound(format!(
            "{word:?} is no state of a device"
        )));
    };
    let from: Option<DeviceId> = field(choice.from.as_deref(), "from")?;
    let page = page::package_devices(&visit.target, package.id, chosen, from.as_ref(), DEVICES);
    let page = page.await?;
    let path = package_path(package.id);
    let is_part = from.is_some() || page.next.is_some();
    let next = page.next.map(|device| {
        let from = encoded(&device.to_string());
        format!("{path}/devices?state={word}&from={from}")
    });
    let body = html! {
        (tabs(package.id, Tab::Devices))
        nav.chips aria-label="State of the devices" {
            ul {
                @for state in STATES {
                    li {
                        a href={ (path) "/devices?state=" (state) }
                            aria-current=[(state == word).then_some("true")] {
                            (state.replace('-', " "))
                        }
                    }
                }
            }
        }
        @if page.items.is_empty() {
            p.empty {
                @if is_part {
                    "No device of this page has a record."
                } @else {
                    "No device is in the state “" (word.replace('-', " ")) "”."
                }
            }
        } @else {
            (device_table(&page.items, visit.now, Some(package.id)))
        }
        (next_page(next))
        p.soft {
            "Changes of the last seconds may be missing. Devices that have not checked in since the \
             assignment of a group are not listed."
        }
    };
    let (name, commands) = (name_of(&package), visit.app.commands());
    let line = commands.line(["status", &name, "--devices", "--state", word]);
    Ok(View {
        title: format!("Devices of {name}"),
        section: Some(Section::Packages),
        commands: vec![line],
        body,
    })
}

async fn version_view(visit: &Visit, package: &str) -> Result<View, PageError> {
    let package = find(visit, package).await?;
    let (versions, all) = page::versions(&visit.target, &package.name, VERSIONS).await?;
    let row = |name: &str, cell: &dyn Fn(&PackageRecord) -> Markup| {
        html! {
            tr role="row" {
                th role="rowheader" scope="row" { (name) }
                @for version in &versions { td role="cell" { (cell(version)) } }
            }
        }
    };
    let body = html! {
        (tabs(package.id, Tab::Versions))
        div.scroll role="region" aria-label="Versions side by side" tabindex="0" {
            table.beside role="table" {
                thead role="rowgroup" {
                    tr role="row" {
                        th role="columnheader" scope="col" { "Version" }
                        @for version in &versions {
                            th role="columnheader" scope="col" {
                                (package_link(version.id, &version.version.to_string()))
                                @if version.id == package.id { span.soft { " (this one)" } }
                            }
                        }
                    }
                }
                tbody role="rowgroup" {
                    (row("State", &|it| state(state_of(it, visit.now))))
                    (row("Action", &|it| action(&it.action)))
                    (row("System", &|it| html! { (platform(it.platform)) }))
                    (row("Priority", &|it| html! { (it.priority) }))
                    (row("Archive", &|it| archive(it)))
                    (row("Success codes", &|it| html! { (codes(&it.success_codes)) }))
                    (row("Locations", &|it| html! { (it.locations.len()) }))
                    (row("Created", &|it| when(it.created_at, visit.now)))
                }
            }
        }
        @if all > versions.len() {
            p.soft { "The newest " (versions.len()) " of " (all) " versions." }
        }
    };
    let name = package.name.to_string();
    Ok(View {
        title: format!("Versions of {name}"),
        section: Some(Section::Packages),
        commands: versions
            .iter()
            .map(|it| visit.app.commands().line(["show", &name_of(it)]))
            .collect(),
        body,
    })
}
