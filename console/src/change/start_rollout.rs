//! The start of a rollout: its groups, its waves, its limits, and the calendar of its plan.

use futures_util::FutureExt as _;
use maud::{Markup, html};
use packcast_protocol::state::{RolloutId, RolloutSeed};
use packcast_protocol::{GroupName, UnixTime};
use packcast_publisher::local_clock::LocalClock;
use packcast_publisher::rollout::{LimitChoices, RolloutDraw, StartRequest, plan_start};
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_publisher::values::duration::{self, DAY_S, DurationError};
use packcast_publisher::values::shares;
use packcast_publisher::{Failure, Target, page};
use packcast_rollout::rollout::{WaveShares, Weekdays, default_limits, default_shares};

use super::address::START_ROLLOUT;
use super::assign::{package, package_field};
use super::controls::Control;
use super::input::Input;
use super::ledger::Outcome;
use super::values::{groups, optional, or_defaults};
use super::{Change, Planned, Signed, assignees, fields};
use crate::calendar::calendar;
use crate::layout::Section;
use crate::visit::Visit;
use crate::words::{count, duration as in_words, package_path, share};

/// The most groups whose sizes the form reads for its defaults.
const GROUPS: usize = 5;

/// Starts a rollout.
pub(super) struct StartRollout {
    request: StartRequest,
    clock: LocalClock,
    /// The options of the command with the same choices.
    options: Vec<String>,
}

/// The labels of the fields.
const PILOTS: &str = "Pilot groups";
const WAVES: &str = "Waves";
const BEGIN: &str = "First wave opens";
const DAYS: &str = "Days";
const WAIT: &str = "From one wave to the next";
const HALT: &str = "Failures that halt the rollout";
const TOLERATE: &str = "Further failures tolerated, in percent of the healthy devices";
const AT_ONCE: &str = "Devices at once";
const SETTLE: &str = "Time to settle";
const DOWNGRADE: &str = "Also on devices that have a later package of the same name";

impl Change for StartRollout {
    const PATH: &'static str = START_ROLLOUT;
    const TITLE: &'static str = "Roll out in waves";
    const SECTION: Section = Section::Rollouts;
    const BUTTON: &'static str = "Start the rollout";
    const ABOUT: &'static str = "The package reaches a few devices first, and more of them as long as it \
        goes well. The times of the waves are signed. The rollout halts by itself after a few failures.";
    const EXAMPLE: &'static str = "rollout start PACKAGE --group GROUP --pilot GROUP";
    const CONTROLS: &'static [Control] = &[("--allow-downgrade", DOWNGRADE)];

    async fn fields(visit: &Visit, input: &Input) -> Result<Markup, Failure> {
        let of_groups = assignees::groups(visit, input).await?;
        let devices = reach(&visit.target, input).await?;
        let input = &or_defaults(input, [("days", "mon-fri".to_owned())]);
        Ok(html! {
            @for (name, value) in drawn(visit)? { input type="hidden" name=(name) value=(value); }
            (package_field(input))
            (fields::one_of(input, "to", "Roll it out to", &[
                ("groups", "Groups, with the devices that join them later"),
                ("all", "All devices, also future ones"),
            ]))
            (of_groups)
            (fields::line(
                input,
                "pilots",
                PILOTS,
                "Names separated by commas, in their order. Their devices come before all others, in a \
                 wave for each group.",
            ))
            (waves(input, devices))
            (limits(input, devices))
            (fields::check(
                input,
                "allow-downgrade",
                DOWNGRADE,
                "",
            ))
        })
    }

    fn read(input: &Input) -> Result<Self, Failure> {
        let clock = LocalClock::of_machine();
        let planned = UnixTime(input.required(PLANNED, "Time of the form")?);
        let begin = optional(input, ("begin", BEGIN), |text| clock.read(text))?;
        let settle = |text: &str| seconds(text, 7 * DAY_S);
        let wait = |text: &str| seconds(text, 30 * DAY_S);
        let request = StartRequest {
            package: package(input)?,
            groups: chosen(input)?,
            pilots: groups(input, ("pilots", PILOTS))?,
            waves: optional(input, ("waves", WAVES), shares::parse)?,
            limits: LimitChoices {
                halt_at: input.optional("halt-at", HALT)?,
                tolerate: input.optional("tolerate", TOLERATE)?,
                at_once: input.optional("at-once", AT_ONCE)?,
                settle_s: optional(input, ("settle", SETTLE), settle)?,
                wait_s: optional(input, ("wait", WAIT), wait)?,
            },
            days: input.optional("days", DAYS)?.unwrap_or_default(),
            by_hand: input.has("manual"),
            from: Some(begin.unwrap_or(planned)),
            draw: Some(RolloutDraw {
                rollout: input.required::<RolloutId>(ROLLOUT, "Rollout")?,
                seed: input.required::<RolloutSeed>(SEED, "Seed")?,
            }),
            offset_s: clock.offset_s(begin.unwrap_or(planned)),
            allow_downgrade: input.has("allow-downgrade"),
            also_accept: AlsoAccept::default(),
        };
        Ok(Self {
            options: options(input, &request),
            request,
            clock,
        })
    }

    async fn plan<'a>(&'a self, target: &'a Target) -> Result<Planned<'a>, Failure> {
        let plan = plan_start(target, &self.request).await?;
        let (preview, warnings) = (plan.preview().clone(), plan.warnings().to_vec());
        let details = calendar(plan.planned(), &self.clock);
        let signed = Signed::Changes(plan.state_changes());
        let planned = Planned::new(preview, signed, move |signer, progress| {
            async move {
                let started = plan.perform(signer, &progress).await?;
                let package = started.planned.package;
                let opens = started.planned.waves.first().and_then(|wave| wave.opens);
                let body = html! {
                    p {
                        "The rollout of " (started.planned.name) " to "
                        (count(started.planned.devices.into(), "device")) " has started."
                        @if let Some(at) = opens { " Wave 1 opens " (self.clock.text(at)) "." }
                    }
                    @if !started.is_active {
                        p.notice.warn { "The package is not active: devices begin after its activation." }
                    }
                };
                let outcome = Outcome::new(body).link(format!("/rollouts/{package}"), "The rollout");
                Ok(if started.is_active {
                    outcome
                } else {
                    outcome.link(package_path(package), "Activate the package")
                })
            }
            .boxed_local()
        });
        Ok(Planned {
            warnings,
            details,
            ..planned
        })
    }

    fn command(&self) -> Vec<String> {
        let package = self.request.package.to_string();
        let words = ["rollout".to_owned(), "start".to_owned(), package];
        words
            .into_iter()
            .chain(self.options.iter().cloned())
            .collect()
    }
}

/// The hidden fields with the random numbers and the time of the form. With them, the plan that is
/// made is the plan that was shown.
const ROLLOUT: &str = "rollout";
const SEED: &str = "seed";
const PLANNED: &str = "planned";

/// Returns these fields. Each form gets new ones, because no two rollouts share their numbers.
fn drawn(visit: &Visit) -> Result<[(&'static str, String); 3], Failure> {
    let draw = RolloutDraw::random()?;
    Ok([
        (ROLLOUT, draw.rollout.to_string()),
        (SEED, draw.seed.to_string()),
        (PLANNED, visit.now.0.to_string()),
    ])
}

/// Returns the groups of the rollout.
fn chosen(input: &Input) -> Result<Vec<GroupName>, Failure> {
    if input.is("to", "all") {
        return Ok(vec![GroupName::all()]);
    }
    let groups: Vec<GroupName> = input.list("group", "Groups")?;
    if groups.is_empty() {
        return Err(Failure::usage("cannot read the form: it names no group")
            .hint("choose a group, or choose all devices"));
    }
    Ok(groups)
}

/// Returns the number of devices of the chosen groups; `None` if none is chosen, or many are. A device
/// in several groups counts several times.
async fn reach(target: &Target, input: &Input) -> Result<Option<u32>, Failure> {
    let Ok(groups) = chosen(input) else {
        return Ok(None);
    };
    if groups.len() > GROUPS {
        return Ok(None);
    }
    let mut devices = 0;
    for group in &groups {
        devices += page::size(target, group).await?;
    }
    Ok(Some(u32::try_from(devices).unwrap_or(u32::MAX)))
}

fn waves(input: &Input, devices: Option<u32>) -> Markup {
    let default = match devices.map(default_shares) {
        None => "a few waves for the number of devices".to_owned(),
        Some(WaveShares::OneThenAll) => "one device, then all others".to_owned(),
        Some(WaveShares::UpTo(bounds)) => {
            let shares: Vec<String> = bounds.into_iter().map(share).collect();
            shares.join(", ")
        }
    };
    html! {
        fieldset {
            legend { "Waves and times" }
            (fields::line(
                input,
                "waves",
                WAVES,
                &format!(
                    "Percentages of the devices that have the package after each wave, such as \
                     1,10,50,100. Empty: {default}."
                ),
            ))
            (begin(input))
            (fields::line(input, "wait", WAIT, "Such as 24h or 2d. Empty: 24h."))
            (fields::line(input, "days", DAYS, "The days on which waves open, such as mon-fri or tue,thu."))
            (fields::check(
                input,
                "manual",
                "Only the first wave opens by itself",
                "Each other wave waits until somebody opens it.",
            ))
        }
    }
}

fn begin(input: &Input) -> Markup {
    let refused = input.is_refused("begin", BEGIN);
    html! {
        div.field {
            label for="begin" { (BEGIN) }
            input #begin name="begin" type="datetime-local" value=(input.text("begin"))
                aria-invalid=[fields::invalid(refused)] autofocus[refused]
                aria-describedby=[fields::described(refused, "begin", "hint")];
            p.soft #begin-hint {
                "In the time zone of this machine, such as 2026-12-01 22:00. Empty: now. The other waves \
                 open at the same hour."
            }
        }
    }
}

fn limits(input: &Input, devices: Option<u32>) -> Markup {
    let defaults = devices.map(default_limits);
    let empty = |value: Option<String>| {
        let value = value.unwrap_or_else(|| "by the number of devices".to_owned());
        format!("Empty: {value}.")
    };
    let halt_at = empty(defaults.map(|it| it.halt_at.to_string()));
    let at_once = empty(defaults.map(|it| it.at_once.to_string()));
    let settle = default_limits(0);
    let settle = format!(
        "The time from a success until a device that checks in counts as healthy. Empty: {}, and {} in \
         the first wave.",
        in_words(settle.settle_s.into()),
        in_words(settle.first_settle_s.into())
    );
    html! {
        fieldset {
            legend { "Limits" }
            (fields::line(input, "halt-at", HALT, &halt_at))
            (fields::line(input, "tolerate", TOLERATE, "Empty: 5."))
            (fields::line(
                input,
                "at-once",
                AT_ONCE,
                &format!("The most devices that have begun and are not healthy. {at_once}"),
            ))
            (fields::line(input, "settle", SETTLE, &settle))
        }
    }
}

/// Reads a duration of at most so many seconds.
fn seconds(text: &str, most_s: u64) -> Result<u32, DurationError> {
    let seconds = duration::seconds(0, most_s)(text)?;
    u32::try_from(seconds).map_err(|_| DurationError::Form)
}

/// Returns the options of the command with the same choices.
fn options(input: &Input, request: &StartRequest) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    if request.groups.iter().any(GroupName::is_all) {
        options.push("--all".to_owned());
    } else {
        options.extend(
            request
                .groups
                .iter()
                .map(|group| format!("--group={group}")),
        );
    }
    options.extend(
        request
            .pilots
            .iter()
            .map(|group| format!("--pilot={group}")),
    );
    for name in ["waves", "wait", "halt-at", "tolerate", "at-once", "settle"] {
        if input.has(name) {
            options.push(format!("--{name}={}", input.text(name)));
        }
    }
    if request.days != Weekdays::default() {
        options.push(format!("--days={}", request.days));
    }
    if input.has("begin") {
        options.push(format!("--begin={}", input.text("begin")));
    }
    for name in ["manual", "allow-downgrade"] {
        if input.has(name) {
            options.push(format!("--{name}"));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(fields: &[(&str, &str)]) -> Input {
        let rollout = RolloutId::from_bytes([7; 16]).to_string();
        let always = [
            ("package", "vlc@3.0.21"),
            (ROLLOUT, &*rollout),
            (SEED, "00112233445566778899aabbccddeeff"),
            (PLANNED, "1795000000"),
        ];
        let all = always.iter().chain(fields);
        let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Input::of_query(all.collect())
    }

    #[test]
    fn the_command_has_the_choices_of_the_form() {
        let command = |fields: &[(&str, &str)]| {
            let start = StartRollout::read(&input(fields)).unwrap();
            start.command().join(" ")
        };
        let few = command(&[("group", "lab"), ("days", "mon-fri"), ("wait", "")]);
        insta::assert_snapshot!(few, @"rollout start vlc@3.0.21 --group=lab");
        let all = command(&[
            ("to", "all"),
            ("group", "lab"),
            ("pilots", "it, desk"),
            ("waves", "1, 10"),
            ("wait", "2d"),
            ("days", "tue"),
            ("begin", "2026-12-01T22:00"),
            ("manual", "on"),
            ("halt-at", "2"),
        ]);
        insta::assert_snapshot!(all, @"rollout start vlc@3.0.21 --all --pilot=it --pilot=desk --waves=1, 10 --wait=2d --halt-at=2 --days=tue --begin=2026-12-01T22:00 --manual");
    }

    #[test]
    fn a_form_with_a_bad_field_names_the_field() {
        let error = |fields: &[(&str, &str)]| {
            let read = StartRollout::read(&input(fields));
            read.err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        let errors = [
            error(&[]),
            error(&[("group", "lab"), ("waves", "10,5")]),
            error(&[("group", "lab"), ("wait", "31d")]),
            error(&[("group", "lab"), ("halt-at", "many")]),
            error(&[("group", "lab"), ("begin", "soon")]),
            error(&[("group", "lab"), ("days", "monday")]),
            error(&[("group", "Lab!")]),
        ];
        insta::assert_snapshot!(errors.join("\n"), @r#"
        cannot read the form: it names no group
        hint: choose a group, or choose all devices
        cannot read the field Waves: "10,5": expected increasing percentages above 0, of which the last is at most 100
        cannot read the field From one wave to the next: "31d": expected a time from 0s to 30d, in whole seconds
        cannot read the field Failures that halt the rollout: "many": invalid digit found in string
        cannot read the field First wave opens: "soon": expected a date and time of this machine's time zone, such as 2026-12-01 22:00
        cannot read the field Days: "monday": "monday" names no days: write days such as mon-fri or tue,thu
        cannot read the field Groups: "Lab!": "Lab!" is not a group's name: 1 to 48 lower-case letters, digits or any of . _ -, the first a letter or digit
        "#);
    }
}
