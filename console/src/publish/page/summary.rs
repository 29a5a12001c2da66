//! The last step: the package as it will be published, with warnings and the time for OCS agents.

use std::collections::BTreeSet;

use maud::{Markup, html};
use packcast_protocol::Action;
use packcast_publisher::publish::plan::Plan;
use packcast_publisher::text::platform;

use super::super::plan::warnings;
use super::super::step::Step;
use super::super::wizard::Job;
use super::{Context, notice, token};
use crate::change::views::passphrase;
use crate::key::SessionKey;
use crate::layout;
use crate::page::packages::action;
use crate::words::{bytes, count, text};

pub(super) fn content(context: &Context<'_>) -> Markup {
    match context.wizard.plan(context.checked) {
        Ok(plan) => planned(context, &plan),
        Err(failure) => html! {
            (notice(&failure, context.visit))
            p { "Nothing was published. Correct the step that the message names." }
        },
    }
}

fn planned(context: &Context<'_>, plan: &Plan) -> Markup {
    let visit = context.visit;
    let commands = visit.app.commands();
    let key = SessionKey::is_locked(&visit.target);
    html! {
        @if let Job::Failed(failure) = &context.wizard.job {
            (notice(failure, visit))
            p { "Everything that you have typed is still here." }
        }
        @for warning in warnings(plan, context.checked, visit.now) {
            (layout::notice(&warning, commands))
        }
        dl {
            dt { "Package" } dd { (text(&format!("{}@{}", plan.name, plan.version))) }
            dt { "System" } dd { (platform(plan.terms.platform)) }
            dt { "Action" } dd { (action(&plan.action)) }
            dt { "Priority" } dd { (plan.priority) }
            (archive(context, plan))
            (terms(plan))
        }
        form.steps method="post" action=(Step::Summary.path(context.id)) {
            (token(&visit.form))
            input type="hidden" name="content" value=(plan.content);
            p.soft {
                "No device sees the package before somebody activates and assigns it."
            }
            @match &key {
                Ok(true) => (passphrase(visit)),
                Ok(false) => {},
                Err(failure) => (notice(failure, visit)),
            }
            button { "Sign and publish" }
        }
    }
}

/// Writes the archive with its fragments, and the time that they take OCS agents.
fn archive(context: &Context<'_>, plan: &Plan) -> Markup {
    let archive = plan.action.archive().map(|planned| &planned.archive);
    let fragments = archive.map_or(0, |archive| archive.fragment_count().get());
    let seconds = context.visit.target.pace.alone_s(plan.priority, fragments);
    html! {
        dt { "Archive" }
        @match archive {
            Some(archive) => {
                dd { (archive.format()) ", " (bytes(archive.bytes())) }
                dt { "Fragments" }
                dd {
                    (count(fragments.into(), "fragment")) " of at most "
                    (bytes(archive.fragment_size().get()))
                }
            },
            None => dd { "none" },
        }
        @if !matches!(plan.action, Action::Update { .. }) {
            dt { "Time for OCS agents" }
            dd {
                "The pauses of an OCS agent that has only this package add about "
                (time_of(seconds)) " to the download."
            }
        }
    }
}

fn terms(plan: &Plan) -> Markup {
    let terms = &plan.terms;
    let codes = |codes: &BTreeSet<i32>| {
        let codes = codes.iter().map(ToString::to_string);
        codes.collect::<Vec<_>>().join(", ")
    };
    let dialogue = &terms.windows.dialogue;
    html! {
        @if !matches!(plan.action, Action::Update { .. } | Action::Store { .. }) {
            dt { "Time limit" } dd { (time_of(terms.timeout_s.into())) }
            dt { "Success" } dd { "exit code " (codes(&terms.success_codes)) }
            @if !terms.reboot_codes.is_empty() {
                dt { "Success after a restart" } dd { "exit code " (codes(&terms.reboot_codes)) }
            }
        }
        dt { "Expiry" }
        dd {
            @match terms.validity_s {
                Some(seconds) => { (time_of(seconds)) " after the publication" },
                None => "never",
            }
        }
        @if let Some(notice) = &dialogue.notice {
            dt { "Text before the action" } dd { (text(notice.message.as_str())) }
        }
        @if let Some(closing) = &dialogue.closing {
            dt { "Text after the action" } dd { (text(closing.as_str())) }
        }
        @if let Some(schedule) = &terms.windows.schedule {
            dt { "Not before" } dd { (schedule) " by the clock of the device" }
        }
        @if let Some(afterwards) = terms.windows.afterwards {
            dt { "Afterwards" } dd { (afterwards.as_str().to_ascii_lowercase()) }
        }
    }
}

/// Writes a length of time in the largest unit that fits, such as `6 minutes`.
fn time_of(seconds: u64) -> String {
    for (unit_s, noun) in [(86_400, "day"), (3_600, "hour"), (60, "minute")] {
        // Two units at least, or a whole number of units.
        if seconds >= 2 * unit_s || (seconds >= unit_s && seconds.is_multiple_of(unit_s)) {
            return count((seconds + unit_s / 2) / unit_s, noun);
        }
    }
    count(seconds, "second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_largest_unit_that_fits() {
        let times = [0, 1, 90, 120, 3_600, 7_200, 9_000, 86_400, 200_000].map(time_of);
        assert_eq!(
            times.join(", "),
            "0 seconds, 1 second, 90 seconds, 2 minutes, 1 hour, 2 hours, 3 hours, 1 day, 2 days"
        );
    }
}
