//! One group: its packages, its settings and its devices.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_publisher::group::GroupPackage;
use packcast_publisher::page;
use packcast_publisher::text::pacing;
use packcast_rollout::PacingOverride;
use serde::Deserialize;

use super::devices::table as device_table;
use crate::change::address::{
    ADD_DEVICES, ASSIGN, DELETE_GROUP, GROUP_PACING, PREFER_LOCATION, REMOVE_DEVICES, RENAME_GROUP,
};
use crate::change::links::{ChangeLink, actions};
use crate::layout::{Section, View};
use crate::page_error::{PageError, field, named};
use crate::visit::Visit;
use crate::words::{count, encoded, exact, group_path, next_page, package_link, state, text, when};

/// The number of packages and of devices on a page.
const PACKAGES: usize = 20;
const DEVICES: usize = 25;

#[derive(Deserialize)]
pub(crate) struct Choice {
    from: Option<String>,
}

pub(crate) async fn page(
    visit: Visit,
    Path(group): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    let view = view(&visit, &group, &choice).await;
    visit.answer(view)
}

pub(crate) async fn devices(
    visit: Visit,
    Path(group): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    let view = device_view(&visit, &group, &choice).await;
    visit.answer(view)
}

async fn view(visit: &Visit, group: &str, choice: &Choice) -> Result<View, PageError> {
    let group: GroupName = named(group, "group")?;
    let from: Option<PackageId> = field(choice.from.as_deref(), "from")?;
    let part = page::group(&visit.target, &group, from, PACKAGES).await?;
    let path = group_path(&group);
    let next = part.packages.next.map(|id| format!("{path}?from={id}"));
    let settings = pacing_words(&part.pacing);
    let body = html! {
        (tabs(&group, true))
        (changes(&group, visit))
        dl {
            dt { "Devices" }
            dd { a href={ (path) "/devices" } { (count(part.size, "device")) } }
            dt { "Preferred location" }
            dd {
                @match &part.preferred {
                    Some(location) => (text(&location.to_string())),
                    None => "none",
                }
            }
            dt { "Pacing of OCS agents" } dd { (settings) }
            @if !group.is_all() {
                dt { "Created" } dd { (exact(part.created_at, visit.now)) }
            }
        }
        h2 { "Packages" }
        @if part.packages.items.is_empty() {
            p.empty {
                @if from.is_some() { "There are no further packages." } @else { "The group has no packages." }
            }
        } @else {
            (packages(&part.packages.items, visit))
            @if part.all_packages > part.packages.items.len() {
                p.soft { (count(part.all_packages as u64, "package")) " in all." }
            }
        }
        (next_page(next))
    };
    Ok(View {
        title: format!("Group {group}"),
        section: Some(Section::Groups),
        commands: vec![visit.app.commands().line(["group", "show", group.as_str()])],
        body,
    })
}

/// Writes links to the changes of a group. Nobody changes the members of the group `all`, its name, and
/// its existence.
fn changes(group: &GroupName, visit: &Visit) -> Markup {
    let name = group.as_str();
    let link = |path, words| ChangeLink::new(path, words, &[("group", name)]);
    let to = if group.is_all() { "all" } else { "groups" };
    let assign = ChangeLink::new(ASSIGN, "Assign a package", &[("to", to), ("group", name)]);
    let settings = [
        link(PREFER_LOCATION, "Preferred location"),
        link(GROUP_PACING, "Pacing"),
    ];
    let mut links = vec![assign];
    if !group.is_all() {
        links.push(link(ADD_DEVICES, "Add devices"));
        links.push(link(REMOVE_DEVICES, "Remove devices"));
    }
    links.extend(settings);
    if !group.is_all() {
        links.push(link(RENAME_GROUP, "Rename"));
        links.push(link(DELETE_GROUP, "Delete"));
    }
    actions(visit, &links)
}

/// Writes links to the changes of the members.
fn members(group: &GroupName, visit: &Visit) -> Markup {
    let name = group.as_str();
    let link = |path, words| ChangeLink::new(path, words, &[("group", name)]);
    if group.is_all() {
        return Markup::default();
    }
    let links = [
        link(ADD_DEVICES, "Add devices"),
        link(REMOVE_DEVICES, "Remove devices"),
    ];
    actions(visit, &links)
}

fn tabs(group: &GroupName, is_overview: bool) -> Markup {
    let path = group_path(group);
    html! {
        nav.tabs aria-label="Parts of the group" {
            ul {
                li { a href=(path) aria-current=[is_overview.then_some("page")] { "Overview" } }
                li {
                    a href={ (path) "/devices" } aria-current=[(!is_overview).then_some("page")] {
                        "Devices"
                    }
                }
            }
        }
    }
}

fn pacing_words(settings: &PacingOverride) -> String {
    let words = pacing(settings);
    if words.is_empty() {
        "that of the target".to_owned()
    } else {
        words
    }
}

fn packages(packages: &[GroupPackage], visit: &Visit) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Packages of the group, the newest first" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Package" }
                    th role="columnheader" scope="col" { "State" }
                    th role="columnheader" scope="col" { "Assigned" }
                }
            }
            tbody role="rowgroup" {
                @for package in packages {
                    tr role="row" {
                        th role="rowheader" scope="row" {
                            (package_link(package.assignment.package, &package.name))
                        }
                        td role="cell" data-label="State" { (state(package.state)) }
                        td role="cell" data-label="Assigned" {
                            (when(package.assignment.assigned_at, visit.now))
                        }
                    }
                }
            }
        }
    }
}

async fn device_view(visit: &Visit, group: &str, choice: &Choice) -> Result<View, PageError> {
    let group: GroupName = named(group, "group")?;
    let from: Option<DeviceId> = field(choice.from.as_deref(), "from")?;
    let page = page::devices(&visit.target, &group, from.as_ref(), DEVICES).await?;
    let path = group_path(&group);
    let is_part = from.is_some() || page.next.is_some();
    let next = page
        .next
        .map(|device| format!("{path}/devices?from={}", encoded(&device.to_string())));
    let body = html! {
        (tabs(&group, false))
        (members(&group, visit))
        @if page.items.is_empty() {
            p.empty {
                @if is_part {
                    "No device of this page has a record."
                } @else {
                    "The group has no devices with a record, or does not exist."
                }
            }
        } @else { (device_table(&page.items, visit.now, None)) }
        (next_page(next))
    };
    let line = ["group", "show", group.as_str(), "--devices"];
    Ok(View {
        title: format!("Devices of group {group}"),
        section: Some(Section::Groups),
        commands: vec![visit.app.commands().line(line)],
        body,
    })
}
