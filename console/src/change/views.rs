//! The pages of a change: its form, its effect, and its result.

use maud::{Markup, html};
use packcast_publisher::Failure;

use super::Change;
use super::address::{LOCK, result_path};
use super::controls::{Control, failure_in_form};
use super::effect::{Effect, warnings};
use super::fields::{REFUSAL, hidden};
use super::input::Input;
use super::ledger::{BegunChange, ChangeEnd, FailedChange, Outcome};
use super::running::running;
use crate::command::Commands;
use crate::layout::{Section, View, failure_notice, units};
use crate::page_error::PageError;
use crate::terminal_options::command_lines;
use crate::token::Token;
use crate::visit::Visit;
use crate::words::{grouped, state, text, when};

/// A note above an effect that is shown again.
pub(super) enum Note {
    None,
    /// The effect is another one than before.
    Changed,
    /// The ticket of the effect is unknown.
    TooOld,
    /// Too many changes are running.
    Busy,
    /// The console is ending.
    Ending,
    /// The key is locked, and no passphrase was typed.
    NoPassphrase,
    /// The key could not be unlocked.
    Refused(Failure),
}

/// The signing key, as far as a change needs it.
pub(super) enum KeyNeed {
    /// Nobody has to type a passphrase.
    None,
    /// The key must be unlocked.
    Passphrase,
    /// The key cannot be read.
    Unreadable(Failure),
}

/// Returns the form of a change, with the error of the last attempt.
pub(super) async fn form<C: Change>(
    visit: &Visit,
    input: &Input,
    error: Option<&PageError>,
) -> View {
    let commands = visit.app.commands();
    let failure = error.and_then(PageError::failure);
    let refused = failure.map(|failure| input.refused(failure));
    let input = refused.as_ref().unwrap_or(input);
    let fields = C::fields(visit, input).await;
    let (fields, failure) = match fields {
        Ok(fields) => (Some(fields), None),
        Err(failure) => (None, Some(PageError::from(failure))),
    };
    let body = html! {
        p { (C::ABOUT) }
        @if let Some(error) = error.or(failure.as_ref()) { (notice_of(error, C::CONTROLS, commands)) }
        form.change method="post" action=(C::PATH) {
            (session(visit))
            @match &fields {
                Some(fields) => {
                    (fields)
                    p.buttons { button name="step" value="plan" { "Show the effect" } }
                },
                // The fields cannot be shown, but they are kept.
                None => {
                    (hidden(input))
                    p { "The form keeps what you have typed." }
                    p.buttons { button name="step" value="edit" { "Try again" } }
                },
            }
        }
        p.soft {
            "Nothing is changed before you confirm the effect. On the command line: "
            (commands.example(C::EXAMPLE))
        }
    };
    let title = match error.or(failure.as_ref()) {
        Some(_) => format!("Error: {}", C::TITLE),
        None => C::TITLE.to_owned(),
    };
    View {
        title,
        section: Some(C::SECTION),
        commands: Vec::new(),
        body,
    }
}

/// Returns the page with the effect of a change, and the form that makes the change.
pub(super) fn effect<C: Change>(
    visit: &Visit,
    effect: &Effect,
    (key, note): (&KeyNeed, &Note),
    ticket: &Token,
) -> View {
    let commands = visit.app.commands();
    let body = html! {
        (note_of(note, commands))
        (effect.shown)
        (effect.details)
        form.change method="post" action=(C::PATH) {
            (session(visit))
            input type="hidden" name="ticket" value=(ticket.reveal());
            (hidden(&effect.request.input))
            @match key {
                KeyNeed::None => {},
                KeyNeed::Passphrase => (passphrase(visit)),
                KeyNeed::Unreadable(failure) => (key_failure(failure, commands)),
            }
            p.buttons {
                @if let KeyNeed::Unreadable(_) = key {
                    button name="step" value="plan" { "Try again" }
                } @else {
                    button name="step" value="perform" { (C::BUTTON) }
                }
                button.quiet name="step" value="edit" formnovalidate { "Change the input" }
            }
        }
    };
    let mut lines = vec![effect.request.command.clone()];
    let failures = [unreadable(key), refusing(note)].into_iter().flatten();
    for failure in failures.take(1) {
        lines.extend(command_lines(failure.hints(), &effect.request.command));
    }
    View {
        title: format!("{}: effect", C::TITLE),
        section: Some(C::SECTION),
        commands: lines,
        body,
    }
}

const fn unreadable(key: &KeyNeed) -> Option<&Failure> {
    match key {
        KeyNeed::Unreadable(failure) => Some(failure),
        KeyNeed::None | KeyNeed::Passphrase => None,
    }
}

const fn refusing(note: &Note) -> Option<&Failure> {
    match note {
        Note::Refused(failure) => Some(failure),
        _ => None,
    }
}

/// Writes the reason for which the signing key cannot be used.
fn key_failure(failure: &Failure, commands: &Commands) -> Markup {
    let (message, causes) = (failure.message(), failure.causes());
    failure_in_form("bad", (&message, &causes, failure.hints()), &[], commands)
}

/// Writes the field for the passphrase of the signing key.
pub(crate) fn passphrase(visit: &Visit) -> Markup {
    html! {
        div.field {
            label for="passphrase" { "Passphrase of the signing key" }
            input #passphrase name="passphrase" type="password" required autocomplete="off"
                aria-describedby="passphrase-hint";
            p.soft #passphrase-hint {
                "Key: " code { (text(&visit.target.key_file.display().to_string())) }
                ". The console keeps the unlocked key in memory, and forgets it after 10 minutes \
                 without use."
            }
        }
    }
}

fn note_of(note: &Note, commands: &Commands) -> Markup {
    html! {
        @match note {
            Note::None => {},
            Note::Changed => p.notice.warn role="alert" {
                "The effect has changed since it was shown. Nothing was changed. Look at the effect \
                 again."
            },
            Note::TooOld => p.notice.warn role="alert" {
                "The page was too old. Nothing was changed now. Look at the changes of this session, and \
                 confirm again."
            },
            Note::Busy => p.notice.warn role="alert" {
                "Too many changes are being made. Nothing was changed now. Wait for the end of one, and \
                 confirm again."
            },
            Note::Ending => p.notice.warn role="alert" {
                "The console is ending. Nothing was changed."
            },
            Note::NoPassphrase => p.notice.warn role="alert" {
                "The signing key is locked. Nothing was changed. Type the passphrase."
            },
            Note::Refused(failure) => {
                (key_failure(failure, commands))
                p { "Nothing was changed." }
            },
        }
    }
}

/// Returns the page with the result of a change.
pub(super) fn result(visit: &Visit, change: &BegunChange) -> View {
    let commands = visit.app.commands();
    let body = html! {
        p.soft { "Begun " (when(change.at, visit.now)) "." }
        p { (text(&change.request.effect)) "." }
        @match &*change.end {
            ChangeEnd::Running => (running(change)),
            ChangeEnd::Done(outcome) => (done(outcome, commands)),
            ChangeEnd::Failed(failed) => (failed_form(visit, change, failed)),
        }
        (reads(change))
    };
    let mut lines = vec![change.request.command.clone()];
    if let ChangeEnd::Failed(failed) = &*change.end {
        lines.extend(command_lines(&failed.hints, &change.request.command));
    }
    View {
        title: format!("{}: {}", change.request.title, word(&change.end)),
        section: Some(change.request.section),
        commands: lines,
        body,
    }
}

/// Writes the reads of a change. The footer counts those of the page.
fn reads(change: &BegunChange) -> Markup {
    let usage = change.work.meter.usage();
    html! {
        @if usage.requests > 0 {
            p.soft {
                "The change has read " (units(usage.units)) " read units in "
                (grouped(usage.requests)) " requests. Its writes are not counted."
            }
        }
    }
}

fn done(outcome: &Outcome, commands: &Commands) -> Markup {
    html! {
        @match &outcome.partly {
            None => p.notice.good role="status" { "The change is made." },
            Some(failed) => {
                (failure_notice("warn", &failed.message, &failed.causes, &failed.hints, commands))
                p { "The rest of the change is made." }
            },
        }
        (warnings(&outcome.warnings, commands))
        (outcome.body)
        @if !outcome.links.is_empty() {
            nav.actions aria-label="Next" {
                ul {
                    @for (path, name) in &outcome.links {
                        li { a.button.quiet href=(path) { (text(name)) } }
                    }
                }
            }
        }
    }
}

fn failed_form(visit: &Visit, change: &BegunChange, failed: &FailedChange) -> Markup {
    let commands = visit.app.commands();
    let texts = (&*failed.message, &*failed.causes, &*failed.hints);
    html! {
        (failure_in_form("bad", texts, change.request.controls, commands))
        form.change method="post" action=(change.request.path) {
            (session(visit))
            (hidden(&change.request.input))
            p {
                "A part of the change may be made: look at the history. The form keeps what you have \
                 typed."
            }
            p.buttons {
                button name="step" value="plan" { "Show the effect again" }
                button.quiet name="step" value="edit" { "Change the input" }
            }
        }
    }
}

/// Returns the list of the changes of the session.
pub(super) fn list(visit: &Visit, changes: &[BegunChange]) -> View {
    let body = html! {
        @if changes.is_empty() {
            p.empty { "You have made no changes since the console was started." }
        } @else {
            ul.lines {
                @for change in changes {
                    li {
                        a href=(result_path(change.number)) { (text(&change.request.effect)) } " "
                        (state(word(&change.end))) " " (when(change.at, visit.now))
                    }
                }
            }
        }
        p.soft { "The history has the changes of all administrators." }
        (lock(visit))
    };
    View {
        title: "Changes of this session".to_owned(),
        section: Some(Section::History),
        commands: vec![visit.app.commands().line(["log"])],
        body,
    }
}

fn lock(visit: &Visit) -> Markup {
    html! {
        @if visit.app.key().is_unlocked(visit.now) {
            form method="post" action=(LOCK) {
                (session(visit))
                p {
                    "The signing key is unlocked. "
                    button.quiet { "Lock the key" }
                }
            }
        }
    }
}

const fn word(end: &ChangeEnd) -> &'static str {
    match end {
        ChangeEnd::Running => "running",
        ChangeEnd::Done(Outcome { partly: None, .. }) => "succeeded",
        ChangeEnd::Done(_) => "partly made",
        ChangeEnd::Failed(_) => "failed",
    }
}

/// Writes the token that protects a form.
pub(super) fn session(visit: &Visit) -> Markup {
    html! { input type="hidden" name="form" value=(visit.form.reveal()); }
}

pub(super) fn notice_of(error: &PageError, controls: &[Control], commands: &Commands) -> Markup {
    let (message, causes, hints) = error.texts();
    html! {
        div id=(REFUSAL) {
            (failure_in_form("bad", (&message, &causes, &hints), controls, commands))
        }
        p { "Nothing was changed. The form keeps what you have typed." }
    }
}
