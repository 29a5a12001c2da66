//! The step with the options.

use maud::{Markup, html};

use super::super::options::{Options, field as of};
use super::super::plan::has_windows;
use super::super::step::Step;
use super::super::task::Task;
use super::{Context, checkbox, field, token};

pub(super) fn content(context: &Context<'_>) -> Markup {
    let options = &context.wizard.options;
    let is_update = context.wizard.task == Some(Task::Update);
    html! {
        form.steps method="post" action=(Step::Options.path(context.id)) {
            (token(&context.visit.form))
            @if is_update { (update(context, options)) } @else {
                (package(context, options))
                (terms(context, options))
                @if has_windows(context.wizard.system) { (windows(context, options)) }
            }
            button { "Next" }
        }
    }
}

fn update(context: &Context<'_>, options: &Options) -> Markup {
    html! {
        div.fields {
            (field(context, of::VERSION, &options.version,
                "As 'packcast-agent --version' prints it, such as 1.4.2."))
            (priority(context, options))
        }
    }
}

fn package(context: &Context<'_>, options: &Options) -> Markup {
    html! {
        div.fields {
            (field(context, of::NAME, &options.name, "Letters, digits, '.', '_', '+' and '-'."))
            (field(context, of::VERSION, &options.version,
                "A published version never changes."))
            (priority(context, options))
            (field(context, of::FRAGMENT_SIZE, &options.fragment_size,
                "Such as 1MiB. Empty for the automatic size. An interrupted download loses at most \
                 one fragment."))
        }
    }
}

/// Writes the eleven levels of OCS Inventory.
fn priority(context: &Context<'_>, options: &Options) -> Markup {
    html! {
        div {
            label for="priority" { (of::PRIORITY.label) }
            select #priority name="priority"
                aria-describedby=[context.described_by(of::PRIORITY, true)]
                aria-invalid=[context.invalid(of::PRIORITY)] {
                @for level in 0..=10 {
                    @let level = level.to_string();
                    option value=(level) selected[level == options.priority] { (level) }
                }
            }
            p.soft #priority-hint { "From 0, which is deployed first, to 10." }
        }
    }
}

fn terms(context: &Context<'_>, options: &Options) -> Markup {
    let usual = Options::default();
    let is_usual = options.timeout == usual.timeout
        && options.success_codes == usual.success_codes
        && options.reboot_codes == usual.reboot_codes
        && options.expires_in == usual.expires_in
        && options.encoding == usual.encoding
        && !options.rerun;
    html! {
        // A field with an error must not be hidden.
        details open[!is_usual] {
            summary { "Time limit, exit codes and expiry" }
            div.fields {
                (field(context, of::TIMEOUT, &options.timeout,
                    "The program is stopped after this time, such as 30min or 4h."))
                (field(context, of::SUCCESS, &options.success_codes, "Such as 0, 2."))
                (field(context, of::REBOOT, &options.reboot_codes, "Such as 1641, 3010."))
                (field(context, of::EXPIRES, &options.expires_in,
                    "Such as 90d. Empty: never. An expiry cannot be changed later."))
                (field(context, of::ENCODING, &options.encoding,
                    "Such as shift_jis, for a zip archive that does not name it."))
            }
            (checkbox("rerun", "Run the program again if the agent was stopped while it ran",
                options.rerun))
        }
    }
}

/// Writes the options that only OCS Windows agents heed.
fn windows(context: &Context<'_>, options: &Options) -> Markup {
    let has_texts = !options.notify.is_empty()
        || !options.notify_done.is_empty()
        || !options.not_before.is_empty()
        || !options.afterwards.is_empty();
    html! {
        details open[has_texts] {
            summary { "Texts and restart, for OCS Windows agents (other agents ignore them)" }
            div.fields {
                (field(context, of::NOTIFY, &options.notify,
                    "Warn the user with this text, which may be HTML."))
                (field(context, of::COUNTDOWN, &options.countdown,
                    "Continue without the user after this time, such as 30s; 0 waits forever."))
                (field(context, of::DONE, &options.notify_done,
                    "Shown until the user closes it."))
                (field(context, of::NOT_BEFORE, &options.not_before,
                    "By the clock of the device, such as 2026-12-01 22:00."))
                div {
                    label for="afterwards" { (of::AFTERWARDS.label) }
                    select #afterwards name="afterwards"
                        aria-describedby=[context.described_by(of::AFTERWARDS, false)]
                        aria-invalid=[context.invalid(of::AFTERWARDS)] {
                        @for (value, label) in [
                            ("", "Nothing"),
                            ("reboot", "Restart the computer"),
                            ("shutdown", "Shut down the computer"),
                        ] {
                            option value=(value) selected[value == options.afterwards] { (label) }
                        }
                    }
                }
            }
            (checkbox("may_abort", "The user may refuse the package", options.may_abort))
            (checkbox("may_delay", "The user may postpone the package", options.may_delay))
        }
    }
}
