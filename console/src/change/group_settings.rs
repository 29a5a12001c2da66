//! The settings of a group: its preferred location, and the pacing of its OCS agents.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::{GroupName, LocationName};
use packcast_publisher::page::GroupPart;
use packcast_publisher::text::pacing as words_of_pacing;
use packcast_publisher::values::pacing::{days, hours, seconds};
use packcast_publisher::{Failure, Target, group, location, page};
use packcast_rollout::pacing::UpTo;
use packcast_rollout::{PacingChange, PacingOverride};

use super::address::{GROUP_PACING, PREFER_LOCATION};
use super::input::Input;
use super::ledger::Outcome;
use super::values::{optional, or_defaults};
use super::{Change, Planned, Signed, fields};
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{group_path, text};

/// Sets the location that the devices of a group try first.
pub(super) struct Prefer {
    group: GroupName,
    location: Option<LocationName>,
}

/// Sets the pacing of a group.
pub(super) struct Pace {
    group: GroupName,
    pacing: PacingOverride,
}

impl Change for Prefer {
    const PATH: &'static str = PREFER_LOCATION;
    const TITLE: &'static str = "Set the preferred location of a group";
    const SECTION: Section = Section::Groups;
    const BUTTON: &'static str = "Set the preferred location";
    const ABOUT: &'static str = "The devices of the group download from this location first. A package \
        that is not active there comes from its other locations.";
    const EXAMPLE: &'static str = "group prefer GROUP --location NAME";

    async fn fields(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        let locations = location::list(&visit.target).await?;
        let names: Vec<String> = locations.iter().map(|it| it.name.to_string()).collect();
        let mut values = vec![("", "None")];
        values.extend(names.iter().map(|name| (name.as_str(), name.as_str())));
        let present = present(visit, input).await?.and_then(|it| it.preferred);
        let present = present.map(|name| ("location", name.to_string()));
        let input = &or_defaults(input, present);
        Ok(html! {
            (fields::line(input, "group", "Group", ""))
            (fields::one_of(input, "location", "Location", &values))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        Ok(Self {
            group: input.required("group", "Group")?,
            location: input.optional("location", "Location")?,
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = group::plan_preference(target, &self.group, self.location.as_ref()).await?;
        let signed = Signed::Changes(plan.state_changes());
        Ok(Planned::new(
            plan.preview().clone(),
            signed,
            move |signer, progress| {
                async move {
                    group::prefer(plan, signer, &progress).await?;
                    let done = html! {
                        @if let Some(name) = &self.location {
                            p { "Devices of the group download from " (name) " first." }
                        } @else {
                            p { "Devices of the group prefer no location." }
                        }
                    };
                    Ok(shown(done, &self.group))
                }
                .boxed_local()
            },
        ))
    }

    fn command(&self) -> Vec<String> {
        let mut words = vec!["group".into(), "prefer".into(), self.group.to_string()];
        match &self.location {
            Some(name) => words.push(format!("--location={name}")),
            None => words.push("--none".to_owned()),
        }
        words
    }
}

impl Change for Pace {
    const PATH: &'static str = GROUP_PACING;
    const TITLE: &'static str = "Set the pacing of a group";
    const SECTION: Section = Section::Groups;
    const BUTTON: &'static str = "Set the pacing";
    const ABOUT: &'static str = "Pacing is for OCS agents. If a device is in several groups, the slowest \
        value of each setting applies. It takes effect at the next check-in of each device.";
    const EXAMPLE: &'static str = "group pacing GROUP --reset --fragment-pause DURATION";

    async fn fields(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        let present = if input.has(TYPED) {
            None
        } else {
            present(visit, input).await?
        };
        let present = present.map(|it| it.pacing).unwrap_or_default();
        let input = &or_defaults(input, settings(&present));
        Ok(html! {
            input type="hidden" name=(TYPED) value="yes";
            (fields::line(input, "group", "Group", ""))
            p { "An empty field leaves the setting to the target." }
            (fields::line(input, "fragment-pause", FRAGMENT, "Such as 2s."))
            (fields::line(
                input,
                "cycle-pause",
                CYCLE,
                "Such as 5s. A package of priority 5 has its turn in every fifth cycle.",
            ))
            (fields::line(
                input,
                "period-pause",
                PERIOD,
                "Such as 1m. A period has ten or more cycles.",
            ))
            (fields::line(
                input,
                "check-in-every",
                CHECK_IN,
                "Such as 4h.",
            ))
            (fields::line(
                input,
                "drop-after",
                DROP,
                "Such as 30d.",
            ))
            (fields::one_of(
                input,
                "order",
                "Order of announcements",
                &[
                    ("", "That of the target"),
                    ("strict", "The packages of one priority at a time"),
                    ("no-strict", "The packages of all priorities together"),
                ],
            ))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        let pacing = PacingOverride {
            fragment_pause_s: optional(input, ("fragment-pause", FRAGMENT), seconds)?,
            cycle_pause_s: optional(input, ("cycle-pause", CYCLE), seconds)?,
            period_pause_s: optional(input, ("period-pause", PERIOD), seconds)?,
            contact_every_h: optional(input, ("check-in-every", CHECK_IN), hours)?,
            timeout_days: optional(input, ("drop-after", DROP), days)?,
            strict: match input.text("order") {
                "strict" => Some(true),
                "no-strict" => Some(false),
                _ => None,
            },
        };
        let group = input.required("group", "Group")?;
        Ok(Self { group, pacing })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let change = PacingChange::Replace(self.pacing);
        let plan = group::plan_pacing(target, &self.group, &change).await?;
        let signed = Signed::Changes(plan.state_changes());
        Ok(Planned::new(
            plan.preview().clone(),
            signed,
            move |signer, progress| {
                async move {
                    let changed = group::pace(plan, signer, &progress).await?;
                    let done = match words_of_pacing(&changed.pacing).as_str() {
                        "" => html! { p { "The group uses the pacing of the target." } },
                        words => html! { p { "The pacing of the group is: " (text(words)) "." } },
                    };
                    Ok(shown(done, &self.group))
                }
                .boxed_local()
            },
        ))
    }

    fn command(&self) -> Vec<String> {
        let mut words: Vec<String> = ["group", "pacing", self.group.as_str(), "--reset"]
            .map(str::to_owned)
            .into();
        let set = settings(&self.pacing).into_iter();
        words.extend(set.map(|(name, value)| match name {
            "order" => format!("--{value}"),
            name => format!("--{name}={value}"),
        }));
        words
    }
}

/// Returns the group of a form with its present settings; `None` if the form names no group that exists.
async fn present(visit: &Visit, input: &Input) -> Result<Option<GroupPart>, Failure> {
    let Ok(Some(group)) = input.optional::<GroupName>("group", "Group") else {
        return Ok(None);
    };
    match page::group(&visit.target, &group, None, 1).await {
        Ok(present) => Ok(Some(present)),
        // The form shows the field with the name, so that a person can correct it.
        Err(failure) if !failure.refused_names().is_empty() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The labels of the settings.
const FRAGMENT: &str = "Pause after each fragment";
const CYCLE: &str = "Pause after each cycle of downloads";
const PERIOD: &str = "Pause after each period";
const CHECK_IN: &str = "Time between check-ins of a service";
const DROP: &str = "Time after which the agent drops a package that it could not deploy";

/// The field that tells a form that was sent from an empty one.
const TYPED: &str = "typed";

/// Returns the settings that are set, as the fields of the form and the options of the command.
fn settings(pacing: &PacingOverride) -> Vec<(&'static str, String)> {
    fn set<const MOST: u16>(
        name: &'static str,
        value: Option<UpTo<MOST>>,
        unit: &str,
    ) -> Option<(&'static str, String)> {
        value.map(|value| (name, format!("{}{unit}", value.get())))
    }
    let order = |strict| if strict { "strict" } else { "no-strict" };
    let all = [
        set("fragment-pause", pacing.fragment_pause_s, "s"),
        set("cycle-pause", pacing.cycle_pause_s, "s"),
        set("period-pause", pacing.period_pause_s, "s"),
        set("check-in-every", pacing.contact_every_h, "h"),
        set("drop-after", pacing.timeout_days, "d"),
        pacing
            .strict
            .map(|strict| ("order", order(strict).to_owned())),
    ];
    all.into_iter().flatten().collect()
}

fn shown(done: Markup, group: &GroupName) -> Outcome {
    Outcome::new(done).link(group_path(group), format!("Group {group}"))
}
