//! The pages of the steps.

mod command;
mod file;
mod options;
pub(crate) mod start;
mod summary;
mod task;

use std::sync::Arc;

use maud::{Markup, html};
use packcast_publisher::Failure;

use super::command_line::lines;
use super::step::{START, Step, steps};
use super::wizard::{Checked, Wizard};
use super::wizards::WizardId;
use crate::layout::{Section, View, failure_notice};
use crate::token::Token;
use crate::visit::Visit;

/// The pass that a page shows.
pub(crate) struct Context<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) id: WizardId,
    pub(crate) wizard: &'a Wizard,
    /// `None` if the task has no files, or if the page does not need them.
    pub(crate) checked: Option<&'a Arc<Checked>>,
}

/// Writes a step. A failure comes first.
pub(crate) fn view(context: &Context<'_>, step: Step, failure: Option<&Failure>) -> View {
    let body = match step {
        Step::System => start::system(context),
        Step::Task => task::content(context),
        Step::File => file::content(context),
        Step::Command => command::content(context),
        Step::Options => options::content(context),
        Step::Summary => summary::content(context),
    };
    let commands = context.visit.app.commands();
    View {
        title: format!("Publish a package: {}", step.name(context.wizard.task)),
        section: Some(Section::Packages),
        commands: lines(context.wizard, commands),
        body: html! {
            (navigation(context, step))
            @if let Some(failure) = failure { (notice(failure, context.visit)) }
            (body)
            (discard(context))
        },
    }
}

/// Writes a failure.
fn notice(failure: &Failure, visit: &Visit) -> Markup {
    failure_notice(
        "bad",
        &failure.message(),
        &failure.causes(),
        failure.hints(),
        visit.app.commands(),
    )
}

fn navigation(context: &Context<'_>, present: Step) -> Markup {
    let task = context.wizard.task;
    html! {
        nav.tabs aria-label="Steps" {
            ol {
                @for (place, step) in steps(task).into_iter().enumerate() {
                    li {
                        a href=(step.path(context.id))
                            aria-current=[(step == present).then_some("step")] {
                            (place + 1) ". " (step.name(task))
                        }
                    }
                }
            }
        }
    }
}

fn discard(context: &Context<'_>) -> Markup {
    html! {
        form.pages method="post" action={ (START) "/" (context.id) "/discard" } {
            (token(&context.visit.form))
            button.quiet { "Discard this package" }
        }
    }
}

/// Writes the field with the token of the session.
fn token(form: &Token) -> Markup {
    html! { input type="hidden" name="form" value=(form.reveal()); }
}

/// Writes a choice between values, each with its explanation.
fn radio(name: &str, value: &str, label: &str, about: &str, is_chosen: bool) -> Markup {
    let id = format!("{name}-{value}");
    html! {
        p.choice {
            input type="radio" name=(name) value=(value) id=(id) checked[is_chosen] required;
            label for=(id) { (label) }
            @if !about.is_empty() { span.soft { (about) } }
        }
    }
}

/// Writes a field with its label and a hint.
fn field(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    let about = format!("{name}-hint");
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) autocomplete="off" spellcheck="false"
                aria-describedby=[(!hint.is_empty()).then_some(&about)];
            @if !hint.is_empty() { p.soft id=(about) { (hint) } }
        }
    }
}

/// Writes a box to check.
fn checkbox(name: &str, label: &str, is_checked: bool) -> Markup {
    html! {
        p.choice {
            input type="checkbox" name=(name) id=(name) checked[is_checked];
            label for=(name) { (label) }
        }
    }
}
