//! The effect of a change, as a page shows it before the change is made.

use std::collections::BTreeSet;

use maud::{Markup, html};
use packcast_protocol::state::CommitId;
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_publisher::diff::{self, LinesWithIds};
use packcast_publisher::{Failure, Preview, Target, Warning};
use packcast_rollout::state::{EntryOwner, StateChange};

use super::controls::{Control, failure_in_form, warning_in_form};
use super::decision::Decision;
use super::input::Input;
use super::ledger::ChangeRequest;
use super::{Change, Planned, Signed};
use crate::command::Commands;
use crate::layout::notice;
use crate::words::{count, device_with_id, group_link, grouped, lines, text};

/// The number of ids that a page lists, and up to which the list is open.
const MOST_FACTS: usize = 10_000;
const OPEN_FACTS: usize = 10;

/// The head on which a change is signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShownHead {
    /// The change itself compares the head.
    ByChange,
    /// The head whose difference was shown; `None` before the first commit.
    Is(Option<CommitId>),
}

/// The effect of a change.
pub(super) struct Effect {
    /// The effect as it is shown.
    pub(super) shown: Markup,
    pub(super) details: Markup,
    pub(super) decision: Decision,
    pub(super) needs_key: bool,
    pub(super) head: ShownHead,
    pub(super) request: ChangeRequest,
}

/// The part of an effect that is signed.
enum SignedEffect {
    Unsigned,
    Nothing,
    Lines(Vec<String>),
}

impl Effect {
    /// Returns the effect of a change that was decided.
    pub(super) async fn of<C: Change>(
        target: &Target,
        commands: &Commands,
        (change, input): (&C, &Input),
        planned: &mut Planned<'_>,
    ) -> Result<Self, Failure> {
        let mut head = ShownHead::ByChange;
        let mut named = NamedFacts::default();
        let (needs_key, signed) = match &planned.signed {
            Signed::No => (false, SignedEffect::Unsigned),
            Signed::Changes(changes) if changes.is_empty() => (false, SignedEffect::Nothing),
            Signed::Changes(changes) => {
                let difference = diff::planned(target, changes).await?;
                head = ShownHead::Is(difference.head);
                let lines = named.take(difference.lines_with_ids());
                (true, SignedEffect::of(lines, difference.key_list))
            }
            Signed::Lines(all) if all.lines.is_empty() => (false, SignedEffect::Nothing),
            Signed::Lines(all) => {
                let key_list = diff::planned_key_list(target).await?;
                (true, SignedEffect::of(named.take(all.clone()), key_list))
            }
        };
        planned.warnings.extend(target.warnings.take());
        let mut facts = std::mem::take(&mut planned.facts);
        facts.extend(facts_of(&planned.signed));
        let others = facts.iter().filter(|it| !named.0.contains(*it));
        let others: Vec<&String> = others.collect();
        let shown = html! {
            (reach(&planned.preview))
            @for warning in &planned.warnings { (warning_in_form(warning, C::CONTROLS, commands)) }
            @if let Some(failure) = &planned.partly { (partly(failure, C::CONTROLS, commands)) }
            (difference(&signed, needs_key))
            (exactly(&others, &named))
        };
        let words = change.command();
        let request = ChangeRequest {
            title: C::TITLE,
            effect: planned.preview.effect.clone(),
            section: C::SECTION,
            path: C::PATH,
            controls: C::CONTROLS,
            input: input.clone(),
            command: commands.line(words.iter().map(String::as_str)),
        };
        Ok(Self {
            decision: decision::<C>(input, planned, &signed, &facts),
            details: std::mem::take(&mut planned.details),
            shown,
            needs_key,
            head,
            request,
        })
    }
}

/// The facts whose ids are in the lines of a difference.
#[derive(Default)]
struct NamedFacts(BTreeSet<String>);

impl NamedFacts {
    /// Notes the ids in lines, and returns the lines.
    fn take(&mut self, all: LinesWithIds) -> Vec<String> {
        self.0.extend(all.packages.into_iter().map(package_fact));
        self.0.extend(all.devices.iter().map(device_fact));
        all.lines
    }
}

impl SignedEffect {
    fn of(mut lines: Vec<String>, key_list: Option<String>) -> Self {
        if lines.is_empty() {
            return Self::Nothing;
        }
        lines.extend(key_list);
        Self::Lines(lines)
    }
}

/// Returns the decision on a change, to compare it with the one that was shown.
fn decision<C: Change>(
    input: &Input,
    planned: &Planned<'_>,
    signed: &SignedEffect,
    facts: &[String],
) -> Decision {
    let (preview, fields) = (&planned.preview, input.fields().collect::<Vec<_>>());
    let groups: Vec<&GroupName> = preview.groups.iter().map(|it| &it.group).collect();
    // The debug output separates and escapes the texts.
    let always = format!("{:?}", (C::PATH, fields, &preview.effect, groups));
    let mut parts = facts.to_vec();
    if let Signed::Changes(changes) = &planned.signed {
        parts.extend(changes.iter().map(|change| format!("{change:?}")));
    }
    if C::STOPS {
        return Decision::stopping(&always, &parts);
    }
    let lines = match signed {
        SignedEffect::Lines(lines) => &lines[..],
        SignedEffect::Unsigned | SignedEffect::Nothing => &[],
    };
    let partly = planned.partly.as_ref().map(Failure::message);
    let all = format!("{:?}", (always, parts, lines, &planned.warnings, partly));
    Decision::starting(&all, preview.devices)
}

/// Returns the ids of the packages and devices in signed changes.
fn facts_of(signed: &Signed) -> Vec<String> {
    let Signed::Changes(changes) = signed else {
        return Vec::new();
    };
    let (mut packages, mut devices) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        match change {
            StateChange::Assign { to: owner, .. } | StateChange::Unassign { from: owner, .. } => {
                if let EntryOwner::Device(device) = owner {
                    devices.insert(device);
                }
            }
            StateChange::Join { devices: some, .. }
            | StateChange::Leave { devices: some, .. }
            | StateChange::RemoveDevices { devices: some } => devices.extend(some),
            _ => {}
        }
        match change {
            StateChange::Assign { assignment, .. } => packages.insert(assignment.package),
            StateChange::Unassign { package, .. } => packages.insert(*package),
            _ => false,
        };
    }
    let packages = packages.into_iter().map(package_fact);
    packages
        .chain(devices.into_iter().map(device_fact))
        .collect()
}

/// Names a package by its id, because nobody signs the name on record.
pub(super) fn package_fact(package: PackageId) -> String {
    format!("package {package}")
}

/// Names a device by its id, because each device chooses its host name.
pub(super) fn device_fact(device: &DeviceId) -> String {
    format!("device {device}")
}

/// Lists by their ids the things that a change concerns, and that the difference does not name.
fn exactly(facts: &[&String], named: &NamedFacts) -> Markup {
    let is_all = named.0.is_empty();
    html! {
        @if !facts.is_empty() {
            details open[facts.len() <= OPEN_FACTS] {
                summary { @if is_all { "Exactly, by their ids" } @else { "Others, by their ids" } }
                ul.lines {
                    @for fact in facts.iter().take(MOST_FACTS) { li { (text(fact)) } }
                    @if facts.len() > MOST_FACTS {
                        li.soft { "and " (grouped((facts.len() - MOST_FACTS) as u64)) " more" }
                    }
                }
            }
        }
    }
}

fn reach(preview: &Preview) -> Markup {
    let at_most = if preview.at_most { "at most " } else { "" };
    html! {
        section.notice aria-labelledby="effect" {
            h2 #effect { "Effect" }
            p { strong { (text(&preview.effect)) } ": " (at_most) (count(preview.devices, "device")) "." }
            @if !preview.groups.is_empty() {
                ul.lines {
                    @for group in &preview.groups {
                        li { "Group " (group_link(&group.group)) ": " (count(group.devices, "device")) }
                    }
                }
            }
            @if !preview.examples.is_empty() {
                ul.lines {
                    @for device in &preview.examples {
                        li { (device_with_id(&device.device, &device.host_name)) }
                    }
                    @let rest = preview.devices.saturating_sub(preview.examples.len() as u64);
                    @if rest > 0 { li.soft { "and " (count(rest, "further device")) } }
                }
            }
        }
    }
}

fn partly(failure: &Failure, controls: &[Control], commands: &Commands) -> Markup {
    let (message, causes) = (failure.message(), failure.causes());
    failure_in_form(
        "warn",
        (&message, &causes, failure.hints()),
        controls,
        commands,
    )
}

fn difference(signed: &SignedEffect, needs_key: bool) -> Markup {
    html! {
        section aria-labelledby="difference" {
            h2 #difference { "Difference of the signed state" }
            @match signed {
                SignedEffect::Unsigned => p {
                    "Nobody signs this change. The history shows it as unsigned."
                },
                SignedEffect::Nothing => p {
                    "Nothing changes in the signed state: it is so already, and nothing is signed. The \
                     records are completed."
                    @if needs_key { " This needs the unlocked key." }
                },
                SignedEffect::Lines(all) => {
                    p { "Your key signs these differences:" }
                    (lines(all))
                },
            }
        }
    }
}

/// Writes warnings of a result.
pub(super) fn warnings(warnings: &[Warning], commands: &Commands) -> Markup {
    html! { @for warning in warnings { (notice(warning, commands)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_signed_without_a_difference_also_if_the_key_is_needed() {
        let shown = |needs_key| difference(&SignedEffect::Nothing, needs_key).into_string();
        for page in [shown(false), shown(true)] {
            assert!(
                page.contains("it is so already, and nothing is signed"),
                "{page}"
            );
        }
        assert!(shown(true).contains("This needs the unlocked key"));
        assert!(!shown(false).contains("key"));
    }

    #[test]
    fn a_due_key_list_is_a_line_of_the_difference_only_if_a_commit_is_made() {
        let list = || Some("key list 3: expires soon".to_owned());
        let lines = |lines: &[&str]| {
            let lines = lines.iter().map(|&line| line.to_owned()).collect();
            difference(&SignedEffect::of(lines, list()), true).into_string()
        };
        assert!(lines(&["group lab: created"]).contains("key list 3"));
        assert!(!lines(&[]).contains("key list 3"));
    }
}
