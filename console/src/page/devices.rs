//! The list of devices, with filters and a search by part of a name.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use packcast_protocol::manifest::Platform;
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef, UnixTime, terminal};
use packcast_publisher::Failure;
use packcast_publisher::device::list::{DeviceFilter, ListedDevice, RecordFilter};
use packcast_publisher::fleet_check::units_of_devices;
use packcast_publisher::page;
use packcast_rollout::pacing::TimeoutDays;
use serde::Deserialize;

use crate::bar::{STATES, state_of};
use crate::command::CommandLine;
use crate::fleet::DeviceRecords;
use crate::layout::{Section, View};
use crate::page_error::{PageError, field};
use crate::visit::{Visit, on_one_thread};
use crate::words::{
    count, device_link, device_path, encoded, grouped, next_page, state, text, when,
};

/// The number of devices on a page.
const MOST: usize = 25;

/// The fields of the form. Empty fields count as absent.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Choice {
    /// A part of the host name or of the id.
    name: Option<String>,
    platform: Option<String>,
    os: Option<String>,
    agent: Option<String>,
    site: Option<String>,
    not_seen: Option<String>,
    group: Option<String>,
    package: Option<String>,
    state: Option<String>,
    has: Option<String>,
    lacks: Option<String>,
    /// The first device of a list without filters.
    from: Option<String>,
    /// The number of devices before the page in a list with filters.
    after: Option<String>,
}

/// The devices that meet the filters of a form.
struct FoundDevices {
    rows: Vec<ListedDevice>,
    all: usize,
    /// The time at which the records were read.
    read: UnixTime,
}

pub(crate) async fn page(visit: Visit, Query(choice): Query<Choice>) -> Response {
    on_one_thread(|| async move {
        let view = view(&visit, &choice).await;
        visit.answer(view)
    })
    .await
}

async fn view(visit: &Visit, choice: &Choice) -> Result<View, PageError> {
    let every = GroupName::all();
    let all = page::size(&visit.target, &every).await?;
    let (filter, name) = (choice.filter()?, given(choice.name.as_deref()));
    let content = if filter == DeviceFilter::default() && name.is_none() {
        let from: Option<DeviceId> = field(choice.from.as_deref(), "from")?;
        let page = page::devices(&visit.target, &every, from.as_ref(), MOST).await?;
        let next = page
            .next
            .map(|device| format!("/devices?from={}", encoded(&device.to_string())));
        html! {
            @if page.items.is_empty() {
                p.empty {
                    "There are no devices yet: a device is known after its first check-in. "
                    (visit.app.commands().example("agent-config")) " writes the configuration of an agent."
                }
            } @else {
                p { (count(all, "device")) " in the order of their ids." }
                (table(&page.items, visit.now, None))
            }
            (next_page(next))
        }
    } else {
        let after: usize = field(choice.after.as_deref(), "after")?.unwrap_or(0);
        let found = found(visit, &filter, name, after).await?;
        results(visit, choice, &found, after)
    };
    let body = html! {
        (form(choice, all))
        (content)
    };
    Ok(View {
        title: "Devices".to_owned(),
        section: Some(Section::Devices),
        commands: vec![line(visit, choice)],
        body,
    })
}

/// Finds devices by filters. Filters that need only the records of devices use those that the process
/// keeps.
async fn found(
    visit: &Visit,
    filter: &DeviceFilter,
    name: Option<&str>,
    after: usize,
) -> Result<FoundDevices, PageError> {
    let needs_records_only = *filter
        == DeviceFilter {
            record: filter.record.clone(),
            ..DeviceFilter::default()
        };
    let part = name.map(str::to_lowercase);
    let is_named = |device: &ListedDevice| {
        let record = &device.record;
        part.as_ref().is_none_or(|part| {
            record.host_name.to_lowercase().contains(part)
                || record.device.to_string().to_lowercase().contains(part)
        })
    };
    let (devices, read): (Vec<ListedDevice>, _) = if needs_records_only {
        let kept = visit.app.fleet().devices(&visit.target, visit.now).await?;
        let DeviceRecords { at, devices } = &*kept;
        let included = devices
            .iter()
            .filter(|it| filter.record.includes(&it.record, visit.now) && is_named(it));
        (included.cloned().collect(), *at)
    } else {
        let fleet = visit.app.fleet();
        let kept = fleet.filtered(&visit.target, filter, after == 0, visit.now);
        let kept = kept.await?;
        let named = kept.devices.iter().filter(|it| is_named(it));
        (named.cloned().collect(), kept.at)
    };
    Ok(FoundDevices {
        all: devices.len(),
        rows: devices.into_iter().skip(after).take(MOST).collect(),
        read,
    })
}

fn results(visit: &Visit, choice: &Choice, found: &FoundDevices, after: usize) -> Markup {
    let after = after.min(found.all);
    let end = after + found.rows.len();
    let next = (end < found.all).then(|| choice.address(end));
    html! {
        p role="status" {
            (count(found.all as u64, "device")) " found"
            @if !found.rows.is_empty() && found.all > found.rows.len() {
                ", of which this page shows " (grouped(after as u64 + 1)) " to " (grouped(end as u64))
            }
            "."
            span.soft { " The records were read " (when(found.read, visit.now)) "." }
        }
        @if !found.rows.is_empty() { (table(&found.rows, visit.now, None)) }
        (next_page(next))
        @if given(choice.name.as_deref()).is_some() {
            p.soft {
                "The command line has no search by part of a name: the command below lists the \
                 devices that meet the other filters."
            }
        }
    }
}

impl Choice {
    fn filter(&self) -> Result<DeviceFilter, PageError> {
        let state =
            match given(self.state.as_deref()) {
                None => None,
                Some(word) => Some(state_of(word).ok_or_else(|| {
                    PageError::NotFound(format!("{word:?} is no state of a device"))
                })?),
            };
        let owned = |text: &Option<String>| given(text.as_deref()).map(ToOwned::to_owned);
        let package: Option<PackageRef> = field(self.package.as_deref(), "Package")?;
        Ok(DeviceFilter {
            has: field(self.has.as_deref(), "Succeeded with")?,
            lacks: field(self.lacks.as_deref(), "Without success of")?,
            // The state is one of the package.
            state: state.filter(|_| package.is_some()),
            package,
            group: field(self.group.as_deref(), "Group")?,
            record: RecordFilter {
                not_seen: days(self.not_seen.as_deref())?,
                platform: platform(self.platform.as_deref())?,
                agent: owned(&self.agent),
                os: owned(&self.os),
                site: owned(&self.site),
            },
        })
    }

    /// Returns the fields of the form with their values.
    fn fields(&self) -> [(&'static str, Option<&str>); 11] {
        [
            ("name", &self.name),
            ("platform", &self.platform),
            ("os", &self.os),
            ("agent", &self.agent),
            ("site", &self.site),
            ("not_seen", &self.not_seen),
            ("group", &self.group),
            ("package", &self.package),
            ("state", &self.state),
            ("has", &self.has),
            ("lacks", &self.lacks),
        ]
        .map(|(name, value)| (name, given(value.as_deref())))
    }

    /// Returns the address of the page after this number of devices.
    fn address(&self, after: usize) -> String {
        let fields = self.fields().into_iter();
        let fields: String = fields
            .filter_map(|(name, value)| Some(format!("{name}={}&", encoded(value?))))
            .collect();
        format!("/devices?{fields}after={after}")
    }
}

/// Returns a value without the blanks around it; `None` if nothing is left.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn days(text: Option<&str>) -> Result<Option<TimeoutDays>, PageError> {
    let days = field::<u16>(text, "Not seen for")?;
    let limited = |days| {
        let most = TimeoutDays::MOST;
        TimeoutDays::new(days).ok_or_else(|| {
            let refusal = format!("cannot filter by {days} days: expected 1 to {most}");
            Failure::usage(refusal).into()
        })
    };
    days.map(limited).transpose()
}

fn platform(text: Option<&str>) -> Result<Option<Platform>, PageError> {
    Ok(match given(text) {
        None => None,
        Some("linux") => Some(Platform::Linux),
        Some("windows") => Some(Platform::Windows),
        Some("macos") => Some(Platform::Macos),
        Some(other) => return Err(PageError::NotFound(format!("{other:?} is no system"))),
    })
}

/// Returns the command that lists the same devices.
fn line(visit: &Visit, choice: &Choice) -> CommandLine {
    let mut words = vec!["device".to_owned(), "list".to_owned()];
    for (name, value) in choice.fields() {
        let Some(value) = value else { continue };
        match name {
            // The command line has no search by part of a name.
            "name" => {}
            // Without a package, the form ignores the state.
            "state" if given(choice.package.as_deref()).is_none() => {}
            "not_seen" => words.push(format!("--not-seen={value}d")),
            // In one word, so that no value is read as an option.
            _ => words.push(format!("--{name}={value}")),
        }
    }
    visit.app.commands().line(words.iter().map(String::as_str))
}

fn form(choice: &Choice, all: u64) -> Markup {
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields = choice.fields();
    let more = fields.iter().skip(1).any(|(_, value)| value.is_some());
    let option = |chosen: &Option<String>, value: &str, name: &str| {
        let is_chosen = chosen.as_deref() == Some(value);
        html! { option value=(value) selected[is_chosen] { (name) } }
    };
    html! {
        form.filters method="get" action="/devices" role="search" {
            div.inline {
                label for="name" { "Part of a name" }
                input #name name="name" value=(value(&choice.name)) spellcheck="false";
                button { "Search" }
                @if more || choice.name.is_some() { a href="/devices" { "Clear" } }
            }
            details open[more] {
                summary { "Filters" }
                div.fields {
                    p {
                        label for="platform" { "System" }
                        select #platform name="platform" {
                            (option(&choice.platform, "", "any"))
                            (option(&choice.platform, "linux", "Linux"))
                            (option(&choice.platform, "windows", "Windows"))
                            (option(&choice.platform, "macos", "macOS"))
                        }
                    }
                    p {
                        label for="not_seen" { "Not seen for (days)" }
                        input #not_seen name="not_seen" type="number" min="1" max="3650"
                            value=(value(&choice.not_seen));
                    }
                    @for (name, label, content) in [
                        ("os", "Part of the system", &choice.os),
                        ("agent", "Part of the agent", &choice.agent),
                        ("site", "Site", &choice.site),
                        ("group", "Group", &choice.group),
                        ("has", "Succeeded with package", &choice.has),
                        ("lacks", "Without success of package", &choice.lacks),
                        ("package", "Has been assigned package", &choice.package),
                    ] {
                        p {
                            label for=(name) { (label) }
                            input id=(name) name=(name) value=(value(content)) spellcheck="false";
                        }
                    }
                    p {
                        label for="state" { "in the state" }
                        select #state name="state" {
                            (option(&choice.state, "", "any"))
                            @for word in STATES {
                                (option(&choice.state, word, &word.replace('-', " ")))
                            }
                        }
                    }
                }
                button { "Apply" }
            }
            p.soft {
                "The first search reads the records of all devices, once: about "
                (grouped(units_of_devices(all))) " read units. Filters by group and package read \
                 their devices each time."
            }
        }
    }
}

/// Writes devices as a table. With a package, each line has a link to its explanation.
pub(crate) fn table(devices: &[ListedDevice], now: UnixTime, package: Option<PackageId>) -> Markup {
    html! {
        table role="table" {
            caption.hidden { "Devices" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Host" }
                    th role="columnheader" scope="col" { "System" }
                    th role="columnheader" scope="col" { "Agent" }
                    th role="columnheader" scope="col" { "Last seen" }
                    @if package.is_some() { th role="columnheader" scope="col" { "Reason" } }
                }
            }
            tbody role="rowgroup" {
                @for ListedDevice { record, excluded } in devices {
                    tr role="row" {
                        th role="rowheader" scope="row" {
                            (device_link(&record.device, &record.host_name))
                            @if excluded.is_some() { " " (state("blocked")) }
                            span.id { (text(&record.device.to_string())) }
                        }
                        td role="cell" data-label="System" { (text(&record.os)) }
                        td role="cell" data-label="Agent" { (text(&record.agent)) }
                        td role="cell" data-label="Last seen" { (when(record.last_seen, now)) }
                        @if let Some(package) = package {
                            td role="cell" data-label="Reason" {
                                a href={ (device_path(&record.device)) "/why/" (package) }
                                    aria-label={ "Why? " (terminal::line(&record.host_name)) } { "Why?" }
                            }
                        }
                    }
                }
            }
        }
    }
}
