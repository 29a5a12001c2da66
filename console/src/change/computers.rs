//! The computers that get a package: devices, groups or all, with how many and which; then all at
//! once, or in waves. Nothing is changed here: both ways lead to the effect of a change.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use packcast_protocol::{GroupName, PackageId, PackageRef};
use packcast_publisher::assignees::{AssigneeNames, Assignees};
use packcast_publisher::device::list::ListedDevice;
use packcast_publisher::device_list::{self, NamedDevices};
use packcast_publisher::package::{self, named as name_of};
use packcast_publisher::status::GroupSize;
use packcast_publisher::{Failure, Target, page};
use packcast_rollout::PackageRecord;

use super::address::{ACTIVATE, ADD_DEVICES, ASSIGN, CREATE_GROUP, START_ROLLOUT};
use super::answers::in_time;
use super::assignees;
use super::handle::unreadable;
use super::input::{Input, Received};
use super::links::{ChangeLink, actions};
use super::members::refusals;
use super::views::{notice_of, session};
use crate::answer;
use crate::layout::{Section, View};
use crate::page_error::{PageError, named};
use crate::visit::{Visit, on_one_thread};
use crate::words::{count, device_with_id, encoded, group_link};

/// The path of the page, with the place of the package.
pub(super) const PATH: &str = "/packages/{package}/computers";

/// The number of devices that the page names for each group, or of a list.
const NAMED: usize = 10;

/// The computers that were chosen.
enum Computers {
    Devices(NamedDevices, Vec<ListedDevice>),
    Groups(Vec<ChosenGroup>),
}

/// A group with some of its devices.
struct ChosenGroup {
    size: GroupSize,
    some: Vec<ListedDevice>,
}

/// Returns the address of the page of a package.
pub(crate) fn path(package: PackageId) -> String {
    format!("/packages/{package}/computers")
}

/// Returns the address of the page of a package, by its id or its name.
pub(super) fn path_of(package: &PackageRef) -> String {
    format!("/packages/{}/computers", encoded(&package.to_string()))
}

/// Shows the form.
pub(super) async fn form(
    visit: Visit,
    Path(package): Path<String>,
    Query(fields): Query<Vec<(String, String)>>,
) -> Response {
    let input = Input::of_query(fields);
    on_one_thread(|| async move { answer_with(visit, &package, &input).await }).await
}

/// Shows the form with the computers that it chooses. A list may be too long for an address.
pub(super) async fn submit(
    visit: Visit,
    Path(package): Path<String>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let fields = match form {
        Ok(Form(fields)) => fields,
        Err(rejection) => return unreadable(visit, &rejection),
    };
    let received = Received::of(fields);
    if !visit.form.is(&received.form) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    let input = received.input;
    on_one_thread(|| async move { answer_with(visit, &package, &input).await }).await
}

async fn answer_with(visit: Visit, package: &str, input: &Input) -> Response {
    let view = view(&visit, package, input).await;
    visit.answer(view)
}

async fn view(visit: &Visit, package: &str, input: &Input) -> Result<View, PageError> {
    let reference: PackageRef = named(package, "package")?;
    let package = package::show(&visit.target, &reference).await?;
    let (name, commands) = (name_of(&package), visit.app.commands());
    let chosen = if input.has("to") {
        Some(in_time(chosen(&visit.target, input)).await)
    } else {
        None
    };
    let error = chosen.as_ref().and_then(|chosen| chosen.as_ref().err());
    let failure = error.and_then(PageError::failure);
    let refused = failure.map(|failure| input.refused(failure));
    let input = refused.as_ref().unwrap_or(input);
    let fields = assignees::fields(visit, input, "Which computers get the package?").await?;
    let body = html! {
        (not_active(&package, visit))
        @if let Some(error) = error { (notice_of(error, &[], commands)) }
        form.change method="post" action=(path(package.id)) {
            (session(visit))
            (fields)
            p.buttons { button { "Show how many and which" } }
        }
        @if let Some(Ok(computers)) = &chosen {
            (shown(computers))
            (ways(&package, computers, visit))
        }
    };
    Ok(View {
        title: format!("Computers for {name}"),
        section: Some(Section::Packages),
        commands: vec![
            commands.line(["assign", &name, "--all", "--dry-run"]),
            commands.line(["rollout", "start", &name, "--all", "--dry-run"]),
        ],
        body,
    })
}

fn not_active(package: &PackageRecord, visit: &Visit) -> Markup {
    let id = package.id.to_string();
    let activate = ChangeLink::new(ACTIVATE, "Activate the package", &[("package", &id)]);
    html! {
        @if !package.active {
            section.notice.warn aria-label="Not active" {
                p { "The package is not active: devices get it after its activation." }
                (actions(visit, &[activate]))
            }
        }
    }
}

/// Finds the computers that the form chooses.
async fn chosen(target: &Target, input: &Input) -> Result<Computers, Failure> {
    let names = assignees::read(input)?;
    if let AssigneeNames::Devices(names) = &names {
        let found = device_list::look_up(target, names).await?;
        let first = &found.devices[..found.devices.len().min(NAMED)];
        let some = page::recorded_devices(target, first).await?;
        return Ok(Computers::Devices(found, some));
    }
    let groups = match names.find(target).await? {
        Assignees::Groups(groups) => groups,
        Assignees::Devices(_) => Vec::new(),
    };
    let mut chosen = Vec::with_capacity(groups.len());
    for group in groups {
        let devices = page::size(target, &group).await?;
        let some = page::devices(target, &group, None, NAMED).await?.items;
        let size = GroupSize { group, devices };
        chosen.push(ChosenGroup { size, some });
    }
    Ok(Computers::Groups(chosen))
}

impl Computers {
    fn number(&self) -> u64 {
        match self {
            Self::Devices(found, _) => found.devices.len() as u64,
            Self::Groups(groups) => groups.iter().map(|it| it.size.devices).sum(),
        }
    }
}

/// Writes how many computers were chosen, and which.
fn shown(computers: &Computers) -> Markup {
    let number = count(computers.number(), "computer");
    html! {
        section aria-labelledby="computers" {
            h2 #computers { "How many and which" }
            @match computers {
                Computers::Devices(found, some) => {
                    p { strong { (number) } "." }
                    (examples(some, found.devices.len() as u64))
                    (refusals("the device has never checked in, or was removed", &found.unknown))
                    (refusals("several devices have this host name", &found.ambiguous))
                },
                Computers::Groups(groups) => {
                    p {
                        @if groups.len() > 1 { "At most " }
                        strong { (number) } " now, and each device that joins later."
                    }
                    @for group in groups {
                        h3 { "Group " (group_link(&group.size.group)) ": " (count(group.size.devices, "device")) }
                        (examples(&group.some, group.size.devices))
                    }
                },
            }
        }
    }
}

/// Names some of the devices.
fn examples(some: &[ListedDevice], all: u64) -> Markup {
    let rest = all.saturating_sub(some.len() as u64);
    html! {
        ul.lines {
            @for device in some {
                li { (device_with_id(&device.record.device, &device.record.host_name)) }
            }
            @if rest > 0 { li.soft { "and " (count(rest, "further device")) } }
        }
    }
}

/// Writes the ways in which the computers can get the package.
fn ways(package: &PackageRecord, computers: &Computers, visit: &Visit) -> Markup {
    let fields = computers.fields();
    let id = package.id.to_string();
    let way = |path: &str, step: &str, button: &str, about: &str| {
        html! {
            form.way method="post" action=(path) {
                (session(visit))
                input type="hidden" name="package" value=(id);
                @for (name, value) in &fields { input type="hidden" name=(name) value=(value); }
                p { (about) }
                p.buttons { button name="step" value=(step) { (button) } }
            }
        }
    };
    html! {
        @if computers.number() > 0 || matches!(computers, Computers::Groups(_)) {
            section aria-labelledby="ways" {
                h2 #ways { "At once or in waves" }
                div.ways {
                    (way(
                        ASSIGN,
                        "plan",
                        "All at once",
                        "Each device gets the package at its next check-in.",
                    ))
                    @match computers {
                        Computers::Groups(_) => (way(
                            START_ROLLOUT,
                            "edit",
                            "In waves",
                            "A few devices get the package first, and more as long as it goes well.",
                        )),
                        Computers::Devices(found, _) => (as_group(found, visit)),
                    }
                }
            }
        }
    }
}

/// Writes the way to a group of the devices, because waves consist of groups.
fn as_group(found: &NamedDevices, visit: &Visit) -> Markup {
    let names: Vec<String> = found.devices.iter().map(ToString::to_string).collect();
    html! {
        form.way method="post" action=(ADD_DEVICES) {
            (session(visit))
            input type="hidden" name="names" value=(names.join("\n"));
            p {
                "Waves are for groups. " a href=(CREATE_GROUP) { "Create a group" }
                ", add these devices to it, and choose the group here."
            }
            p.buttons {
                button.quiet name="step" value="edit" { "Add the devices to a group" }
            }
        }
    }
}

impl Computers {
    /// Returns the fields of the forms of changes for the same computers.
    fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Devices(found, _) => {
                let devices: Vec<String> = found.devices.iter().map(ToString::to_string).collect();
                vec![("to", "devices".to_owned()), ("device", devices.join("\n"))]
            }
            Self::Groups(groups) => {
                let names: Vec<&GroupName> = groups.iter().map(|it| &it.size.group).collect();
                if names.iter().any(|group| group.is_all()) {
                    return vec![("to", "all".to_owned())];
                }
                let mut fields = vec![("to", "groups".to_owned())];
                fields.extend(names.iter().map(|group| ("group", group.to_string())));
                fields
            }
        }
    }
}
