//! One device: its facts, its groups, its open packages and its results; and the reason for the state
//! of one package.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::api::FactValues;
use packcast_protocol::{DeviceId, Outcome, PackageId, PackageRef, terminal};
use packcast_publisher::device::{self, DeviceDetails, exclusion, waits};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::explain::{Explained, explain};
use packcast_publisher::pause;
use packcast_publisher::text::{outcome, pacing};
use packcast_rollout::{ClockError, FactsRecord, FinishedTask, OpenTask, TaskState, wait_of};
use serde::Deserialize;

use crate::change::address::{ASSIGN, BLOCK, REMOVE, UNASSIGN, UNBLOCK};
use crate::change::links::{ChangeLink, action, actions};
use crate::layout::{Section, View};
use crate::page_error::{PageError, field, named};
use crate::visit::Visit;
use crate::words::{
    bytes, device_link, device_path, exact, group_link, next_page, package_link, state, text, when,
};

/// The number of results on a page.
const RESULTS: usize = 12;

#[derive(Deserialize)]
pub(crate) struct Choice {
    from: Option<String>,
}

pub(crate) async fn page(
    visit: Visit,
    Path(device): Path<String>,
    Query(choice): Query<Choice>,
) -> Response {
    let view = view(&visit, &device, &choice).await;
    visit.answer(view)
}

/// Explains the state of a package on a device.
pub(crate) async fn why(visit: Visit, Path((device, package)): Path<(String, String)>) -> Response {
    let view = why_view(&visit, &device, &package).await;
    visit.answer(view)
}

async fn view(visit: &Visit, device: &str, choice: &Choice) -> Result<View, PageError> {
    let name: DeviceName = named(device, "device")?;
    let from: Option<PackageId> = field(choice.from.as_deref(), "from")?;
    let (details, next) = device::show_part(&visit.target, &name, from, RESULTS).await?;
    let record = &details.device;
    let id = record.device.to_string();
    let title = if record.host_name.is_empty() {
        id.clone()
    } else {
        record.host_name.clone()
    };
    let next = next.map(|package| format!("{}?from={package}", device_path(&record.device)));
    let body = html! {
        (changes(&details, &id, visit))
        (facts_of_record(&details, visit))
        (open(&details, visit))
        (finished(&details, from.is_some(), visit))
        (next_page(next))
        @if let Some(facts) = &details.facts { (daily_facts(facts, visit)) }
    };
    Ok(View {
        title,
        section: Some(Section::Devices),
        commands: vec![visit.app.commands().line(["device", "show", &id])],
        body,
    })
}

/// Writes links to the changes that the state of a device permits.
fn changes(details: &DeviceDetails, id: &str, visit: &Visit) -> Markup {
    let device = [("device", id)];
    let exclusion = if details.excluded.is_some() {
        ChangeLink::new(UNBLOCK, "Unblock", &device)
    } else {
        ChangeLink::new(BLOCK, "Block", &device)
    };
    let assign = [("to", "devices"), ("device", id)];
    let links = [
        ChangeLink::new(ASSIGN, "Assign a package", &assign),
        exclusion,
        ChangeLink::new(REMOVE, "Remove", &device),
    ];
    actions(visit, &links)
}

/// Writes a link to the form that changes the assignment of one package to a device.
fn change_of(
    (path, name): (&str, &str),
    device: &DeviceId,
    package: PackageId,
    visit: &Visit,
) -> Markup {
    let (device, package) = (device.to_string(), package.to_string());
    let fields = [
        ("package", &*package),
        ("to", "devices"),
        ("device", &*device),
    ];
    let link = ChangeLink::new(path, name, &fields);
    action(visit, &link, &format!("{name} package {package}"))
}

fn facts_of_record(details: &DeviceDetails, visit: &Visit) -> Markup {
    let record = &details.device;
    let machine = record.machine.as_ref();
    html! {
        @if let Some(excluded) = &details.excluded {
            p.notice.bad { "The device is " (text(&exclusion::words(excluded))) }
        }
        @if let Some(other) = machine.and_then(|machine| machine.other.as_ref()) {
            p.notice.warn {
                "Two machines use this identity. The other is " (text(other.id.as_str()))
                ", last seen " (when(other.last_seen, visit.now)) "."
            }
        }
        @match machine.and_then(|machine| machine.clock) {
            Some(ClockError::Ahead) => p.notice.warn {
                "The clock of the device is more than 5 minutes ahead."
            },
            Some(ClockError::Behind) => p.notice.warn {
                "The clock of the device is more than 5 minutes behind."
            },
            None => {},
        }
        dl {
            dt { "Device id" } dd { code { (text(&record.device.to_string())) } }
            dt { "System" } dd { (text(&record.os)) }
            dt { "Agent" } dd { (text(&record.agent)) }
            @if let Some(machine) = machine {
                dt { "Platform" } dd { (text(machine.platform.as_str())) }
            }
            dt { "Groups" }
            dd {
                @if details.groups.is_empty() { "none" }
                @for (place, group) in details.groups.iter().enumerate() {
                    @if place > 0 { ", " }
                    (group_link(group))
                }
            }
            dt { "Last seen" }
            dd {
                (exact(record.last_seen, visit.now))
                span.soft { "; a check-in is recorded at most once a day" }
            }
            dt { "First seen" } dd { (exact(record.first_seen, visit.now)) }
            @for (name, settings) in [
                ("Pacing", &details.pacing),
                ("Pacing of its groups", &details.pacing_of_groups),
            ] {
                @if !settings.is_empty() { dt { (name) } dd { (pacing(settings)) } }
            }
        }
    }
}

fn open(details: &DeviceDetails, visit: &Visit) -> Markup {
    let name = |id: &PackageId| details.names.get(id).cloned().unwrap_or_default();
    html! {
        section aria-labelledby="open" {
            h2 #open { "Wanted, not finished" }
            @if details.open.is_empty() {
                p.empty { "No package is open on this device." }
            } @else {
                table role="table" {
                    caption.hidden { "Open packages, the highest priority first" }
                    thead role="rowgroup" {
                        tr role="row" {
                            th role="columnheader" scope="col" { "Package" }
                            th.number role="columnheader" scope="col" { "Priority" }
                            th.number role="columnheader" scope="col" { "Attempt" }
                            th role="columnheader" scope="col" { "State" }
                            th role="columnheader" scope="col" { "Reason" }
                        }
                    }
                    tbody role="rowgroup" {
                        @for task in &details.open {
                            tr role="row" {
                                th role="rowheader" scope="row" { (package_link(task.package, &name(&task.package))) }
                                td.number role="cell" data-label="Priority" { (task.priority) }
                                td.number role="cell" data-label="Attempt" { (task.attempt) }
                                td role="cell" data-label="State" { (open_state(task, details, visit)) }
                                td role="cell" data-label="Reason" {
                                    (why_link(&details.device.device, task.package)) " "
                                    (change_of((UNASSIGN, "Cancel"), &details.device.device, task.package, visit))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn open_state(task: &OpenTask, details: &DeviceDetails, visit: &Visit) -> Markup {
    html! {
        @match task.state {
            TaskState::Pending => {
                (state("waiting")) " since " (when(task.assigned_at, visit.now))
            },
            TaskState::Announced { announced_at } => {
                (state("announced")) " " (when(announced_at, visit.now))
            },
            TaskState::Withdrawn { announced_at } => {
                (state("withdrawn")) ", announced " (when(announced_at, visit.now))
            },
        }
        @if let Some(waiting) = wait_of(&details.waits, task) {
            "; waits: " (text(&visit.app.commands().in_text(&waits::words(&waiting))))
        }
    }
}

fn why_link(device: &DeviceId, package: PackageId) -> Markup {
    html! {
        a href={ (device_path(device)) "/why/" (package) } aria-label={ "Why? Package " (package) } {
            "Why?"
        }
    }
}

fn finished(details: &DeviceDetails, is_part: bool, visit: &Visit) -> Markup {
    html! {
        section aria-labelledby="finished" {
            h2 #finished { "Results" }
            @if details.finished.is_empty() {
                p.empty {
                    @if is_part { "There are no further results." }
                    @else { "The device has reported no result." }
                }
            }
            @for task in &details.finished {
                (result(task, details, visit))
            }
        }
    }
}

fn result(task: &FinishedTask, details: &DeviceDetails, visit: &Visit) -> Markup {
    let name = details.names.get(&task.package).cloned();
    let tail = task.output_tail.as_deref().map(str::trim_end);
    let tail = tail.filter(|tail| !tail.trim().is_empty());
    let word = match task.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::NotApplicable => "not applicable",
    };
    let rest = outcome(task);
    let rest = rest.split_once(": ").map(|(_, rest)| rest.to_owned());
    html! {
        article.result {
            p {
                (package_link(task.package, &name.unwrap_or_default())) " " (state(word)) " "
                @if let Some(rest) = rest { (text(&rest)) " " }
                span.soft {
                    (when(task.finished_at, visit.now)) ", attempt " (task.attempt) " "
                }
                (why_link(&details.device.device, task.package))
                @if task.outcome != Outcome::Succeeded {
                    " " (change_of((ASSIGN, "Retry"), &details.device.device, task.package, visit))
                }
            }
            @if let Some(tail) = tail {
                details open[task.outcome == Outcome::Failed] {
                    summary { "End of the output" }
                    pre tabindex="0" { (terminal::lines(tail)) }
                }
            }
        }
    }
}

fn daily_facts(facts: &FactsRecord, visit: &Visit) -> Markup {
    let values: &FactValues = facts.facts.values();
    let optional = |name: &str, value: Option<String>| {
        html! { @if let Some(value) = value { dt { (name) } dd { (text(&value)) } } }
    };
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "Facts" }
            p.soft { "Stated by the device " (when(facts.at, visit.now)) "." }
            dl {
                (optional("Operating system", values.os_name.as_ref().map(ToString::to_string)))
                (optional("Version", values.os_version.as_ref().map(ToString::to_string)))
                (optional("Domain", values.domain.as_ref().map(ToString::to_string)))
                (optional("Address", values.address.as_ref().map(ToString::to_string)))
                (optional("Site", values.site.as_ref().map(ToString::to_string)))
                (optional("Time zone", values.time_zone.as_ref().map(ToString::to_string)))
                (optional("Model", values.model.as_ref().map(ToString::to_string)))
                (optional("Memory", values.memory_mib.map(|mib| bytes(u64::from(mib) << 20))))
                @for volume in values.volumes.as_slice() {
                    dt { "Volume " (text(&volume.path.to_string())) }
                    dd {
                        (volume.size_gib) " GiB, "
                        @match volume.free_percent.get() {
                            0 => "less than 10 %",
                            percent => { (percent) " %" },
                        }
                        " free"
                    }
                }
            }
        }
    }
}

async fn why_view(visit: &Visit, device: &str, package: &str) -> Result<View, PageError> {
    let name: DeviceName = named(device, "device")?;
    let reference: PackageRef = named(package, "package")?;
    let explained = explain(&visit.target, &name, &reference).await?;
    let commands = visit.app.commands();
    let (id, host) = (
        explained.device.to_string(),
        explained.host_name.clone().unwrap_or_default(),
    );
    let body = html! {
        p {
            "Device " (device_link(&explained.device, &host)) ", package "
            (package_link(explained.package, &explained.name)) " "
            @if !explained.state.is_empty() { "(" (explained.state) ")" }
        }
        section.notice aria-labelledby="reason" {
            h2 #reason { "Reason" }
            p { (text(&commands.in_text(&explained.says))) }
            @if !explained.next.is_empty() {
                p { strong { "Next step: " } (text(&commands.in_text(&explained.next))) }
            }
        }
        (next_changes(&id, explained.package, visit))
        @if let Some(paused) = &explained.pause {
            p.notice.bad { "The target is paused " (text(&pause::words(paused))) "." }
        }
        (particulars(&explained, visit))
    };
    let shown = if host.is_empty() { id.clone() } else { host };
    let package = explained.package.to_string();
    Ok(View {
        title: format!("Why? {} on {shown}", explained.name),
        section: Some(Section::Devices),
        commands: vec![visit.app.commands().line(["explain", &id, &package])],
        body,
    })
}

/// Writes links to the forms for the commands that a next step may name.
fn next_changes(device: &str, package: PackageId, visit: &Visit) -> Markup {
    let package = package.to_string();
    let fields = [
        ("package", &*package),
        ("to", "devices"),
        ("device", device),
    ];
    let links = [
        (ASSIGN, "Assign the package"),
        (UNASSIGN, "Unassign the package"),
    ];
    actions(
        visit,
        &links.map(|(path, name)| ChangeLink::new(path, name, &fields)),
    )
}

fn particulars(explained: &Explained, visit: &Visit) -> Markup {
    html! {
        dl {
            @if !explained.explanation.groups.is_empty() {
                dt { "Assigned by groups" }
                dd {
                    @for (place, group) in explained.explanation.groups.iter().enumerate() {
                        @if place > 0 { ", " }
                        (group_link(group))
                    }
                }
            }
            @if let Some(attempt) = explained.explanation.attempt {
                dt { "Attempt" } dd { (attempt) }
            }
            @if let Some(result) = &explained.result {
                dt { "Latest result" }
                dd { (text(&outcome(result))) ", " (when(result.finished_at, visit.now)) }
            }
            @for ahead in &explained.ahead {
                dt { "Before it" } dd { (text(&ahead.name)) ", priority " (ahead.priority) }
            }
            @if let Some(seen) = explained.last_seen {
                dt { "Last seen" } dd { (exact(seen, visit.now)) }
            }
        }
        @if let Some(tail) = explained.result.as_ref().and_then(|it| it.output_tail.as_deref()) {
            h2 { "End of the output" }
            pre tabindex="0" { (terminal::lines(tail.trim_end())) }
        }
    }
}
