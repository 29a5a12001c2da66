//! The list of devices, with filters and a search by part of a name.

use axum::extract::Query;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime, terminal};
use packcast_publisher::device::list::{DeviceFilter, ListedDevice};
use packcast_publisher::page;

use super::device_filters::{Choice, form, given};
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

/// The devices that meet the filters of a form.
struct FoundDevices {
    rows: Vec<ListedDevice>,
    all: usize,
    /// The time at which the records were read.
    read: UnixTime,
}

pub(crate) async fn page(visit: Visit, Query(choice): Query<Choice>) -> Response {
    on_one_thread(|| async move {
        match view(&visit, &choice).await {
            Ok((status, view)) => visit.answer_with(status, &view),
            Err(error) => visit.answer(Err(error)),
        }
    })
    .await
}

/// Returns the page. An error comes above the form, which keeps the filters.
async fn view(visit: &Visit, choice: &Choice) -> Result<(StatusCode, View), PageError> {
    let all = page::size(&visit.target, &GroupName::all()).await?;
    let (content, error) = match content(visit, choice, all).await {
        Ok(content) => (content, None),
        Err(error) => (Markup::default(), Some(error)),
    };
    let title = if error.is_some() {
        "Error: Devices"
    } else {
        "Devices"
    };
    let view = View {
        title: title.to_owned(),
        section: Some(Section::Devices),
        commands: vec![line(visit, choice)],
        body: html! {
            (form(choice, error.as_ref(), all, visit.app.commands()))
            (content)
        },
    };
    let status = error.map_or(StatusCode::OK, |error| error.status());
    Ok((status, view))
}

/// Lists the devices that the filters choose.
async fn content(visit: &Visit, choice: &Choice, all: u64) -> Result<Markup, PageError> {
    let (filter, name) = (choice.filter()?, given(choice.name.as_deref()));
    if filter != DeviceFilter::default() || name.is_some() {
        let after: usize = field(choice.after.as_deref(), "after")?.unwrap_or(0);
        let found = found(visit, &filter, name, after).await?;
        return Ok(results(visit, choice, &found, after));
    }
    let from: Option<DeviceId> = field(choice.from.as_deref(), "from")?;
    let page = page::devices(&visit.target, &GroupName::all(), from.as_ref(), MOST).await?;
    let next = page
        .next
        .map(|device| format!("/devices?from={}", encoded(&device.to_string())));
    Ok(html! {
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
