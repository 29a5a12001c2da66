//! The form with the filters of the list of devices.

use maud::{Markup, html};
use packcast_protocol::PackageRef;
use packcast_protocol::manifest::Platform;
use packcast_publisher::device::list::{DeviceFilter, RecordFilter};
use packcast_publisher::fleet_check::units_of_devices;
use packcast_rollout::pacing::TimeoutDays;
use serde::Deserialize;

use crate::bar::{STATES, state_of};
use crate::change::fields::{REFUSAL, described, invalid};
use crate::change::input::{Input, refused};
use crate::command::Commands;
use crate::layout::failure_notice;
use crate::page_error::{PageError, field};
use crate::words::{encoded, grouped};

/// The labels of the fields that can be refused.
const NOT_SEEN: &str = "Not seen for";
const GROUP: &str = "Group";
const HAS: &str = "Succeeded with package";
const LACKS: &str = "Without success of package";
const PACKAGE: &str = "Has been assigned package";

/// The fields of the form. Empty fields count as absent.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Choice {
    /// A part of the host name or of the id.
    pub(super) name: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) os: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) site: Option<String>,
    pub(super) not_seen: Option<String>,
    pub(super) group: Option<String>,
    pub(super) package: Option<String>,
    pub(super) state: Option<String>,
    pub(super) has: Option<String>,
    pub(super) lacks: Option<String>,
    /// The first device of a list without filters.
    pub(super) from: Option<String>,
    /// The number of devices before the page in a list with filters.
    pub(super) after: Option<String>,
}

impl Choice {
    /// Reads the filters.
    pub(super) fn filter(&self) -> Result<DeviceFilter, PageError> {
        let state =
            match given(self.state.as_deref()) {
                None => None,
                Some(word) => Some(state_of(word).ok_or_else(|| {
                    PageError::NotFound(format!("{word:?} is no state of a device"))
                })?),
            };
        let owned = |text: &Option<String>| given(text.as_deref()).map(ToOwned::to_owned);
        let package: Option<PackageRef> = field(self.package.as_deref(), PACKAGE)?;
        Ok(DeviceFilter {
            has: field(self.has.as_deref(), HAS)?,
            lacks: field(self.lacks.as_deref(), LACKS)?,
            // The state is one of the package.
            state: state.filter(|_| package.is_some()),
            package,
            group: field(self.group.as_deref(), GROUP)?,
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
    pub(super) fn fields(&self) -> [(&'static str, Option<&str>); 11] {
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
    pub(super) fn address(&self, after: usize) -> String {
        let fields = self.fields().into_iter();
        let fields: String = fields
            .filter_map(|(name, value)| Some(format!("{name}={}&", encoded(value?))))
            .collect();
        format!("/devices?{fields}after={after}")
    }

    /// Returns the fields that have a value, as a person has typed them.
    fn input(&self) -> Input {
        let fields = self.fields().into_iter();
        let typed = fields.filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Input::of_query(typed.collect())
    }
}

/// Returns a value without the blanks around it; `None` if nothing is left.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn days(text: Option<&str>) -> Result<Option<TimeoutDays>, PageError> {
    let days = field::<u16>(text, NOT_SEEN)?;
    let limited = |days| {
        let most = TimeoutDays::MOST;
        let reason = || format!("expected 1 to {most} days, found {days}");
        TimeoutDays::new(days).ok_or_else(|| refused(NOT_SEEN, reason()).into())
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

/// Writes the form, with the error of its filters above it.
pub(super) fn form(
    choice: &Choice,
    error: Option<&PageError>,
    all: u64,
    commands: &Commands,
) -> Markup {
    let failure = error.and_then(PageError::failure);
    let typed = choice.input();
    let input = &failure.map_or_else(|| typed.clone(), |failure| typed.refused(failure));
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields = choice.fields();
    let more = fields.iter().skip(1).any(|(_, value)| value.is_some());
    let option = |chosen: &Option<String>, value: &str, name: &str| {
        let is_chosen = chosen.as_deref() == Some(value);
        html! { option value=(value) selected[is_chosen] { (name) } }
    };
    html! {
        @if let Some(error) = error {
            @let (message, causes, hints) = error.texts();
            div id=(REFUSAL) { (failure_notice("bad", &message, &causes, &hints, commands)) }
        }
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
                        @let refused = input.is_refused("not_seen", NOT_SEEN);
                        label for="not_seen" { (NOT_SEEN) " (days)" }
                        input #not_seen name="not_seen" type="number" min="1" max="3650"
                            value=(value(&choice.not_seen)) aria-invalid=[invalid(refused)]
                            autofocus[refused] aria-describedby=[described(refused, "", "")];
                    }
                    @for (name, label, content) in [
                        ("os", "Part of the system", &choice.os),
                        ("agent", "Part of the agent", &choice.agent),
                        ("site", "Site", &choice.site),
                        ("group", GROUP, &choice.group),
                        ("has", HAS, &choice.has),
                        ("lacks", LACKS, &choice.lacks),
                        ("package", PACKAGE, &choice.package),
                    ] {
                        p {
                            @let refused = input.is_refused(name, label);
                            label for=(name) { (label) }
                            input id=(name) name=(name) value=(value(content)) spellcheck="false"
                                aria-invalid=[invalid(refused)] autofocus[refused]
                                aria-describedby=[described(refused, name, "")];
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
