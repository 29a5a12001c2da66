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
use super::fields::Field;
use super::step::{START, Step, steps};
use super::wizard::{Checked, Wizard};
use super::wizards::WizardId;
use crate::layout::{Section, View, failure_notice};
use crate::terminal_options::{command_lines, for_page};
use crate::token::Token;
use crate::visit::Visit;

/// The pass that a page shows.
pub(crate) struct Context<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) id: WizardId,
    pub(crate) wizard: &'a Wizard,
    /// `None` if the task has no files, or if the page does not need them.
    pub(crate) checked: Option<&'a Arc<Checked>>,
    /// The field that was refused.
    pub(crate) refused: Option<Field>,
}

impl Context<'_> {
    fn is_refused(&self, field: Field) -> bool {
        self.refused == Some(field)
    }

    /// Returns the value of `aria-invalid` for a field.
    fn invalid(&self, field: Field) -> Option<&'static str> {
        self.is_refused(field).then_some("true")
    }

    /// Returns the value of `aria-describedby`: the refusal, and the hint.
    fn described_by(&self, field: Field, has_hint: bool) -> Option<String> {
        let refusal = self.is_refused(field).then(|| REFUSAL.to_owned());
        let hint = has_hint.then(|| hint_of(field));
        let ids: Vec<String> = refusal.into_iter().chain(hint).collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }
}

/// The id of the notice with the failure of a form.
const REFUSAL: &str = "refusal";

/// Returns the id of the hint of a field.
fn hint_of(field: Field) -> String {
    format!("{}-hint", field.name)
}

/// Writes a step. A failure comes first.
pub(crate) fn view(context: &Context<'_>, step: Step, failure: Option<&Failure>) -> View {
    let body = match step {
        Step::System => start::system(context),
        Step::Task => task::content(context),
        Step::File => file::content(context, failure.is_some()),
        Step::Command => command::content(context),
        Step::Options => options::content(context),
        Step::Summary => summary::content(context),
    };
    let mut commands = lines(context.wizard, context.visit.app.commands());
    if let (Some(failure), [command]) = (failure, &commands[..]) {
        let further = command_lines(failure.hints(), command);
        commands.extend(further);
    }
    View {
        title: format!("Publish a package: {}", step.name(context.wizard.task)),
        section: Some(Section::Packages),
        commands,
        body: html! {
            (navigation(context, step))
            @if let Some(failure) = failure {
                div id=(REFUSAL) { (notice(failure, context.visit)) }
            }
            (body)
            (discard(context))
        },
    }
}

/// Writes a failure.
fn notice(failure: &Failure, visit: &Visit) -> Markup {
    let causes: Vec<String> = failure.causes().iter().map(|it| of_page(it)).collect();
    let hints: Vec<String> = failure.hints().iter().map(|it| of_page(it)).collect();
    let commands = visit.app.commands();
    failure_notice(
        "bad",
        &of_page(&failure.message()),
        &causes,
        &hints,
        commands,
    )
}

/// Words of the publisher for the command line, and those for the controls of the wizard.
const CONTROLS: [(&str, &str); 7] = [
    (
        "run the same command again to continue",
        "choose 'Sign and publish' again to continue",
    ),
    ("run the command again in a minute", "try again in a minute"),
    (
        "choose another --version",
        "choose another version in the options",
    ),
    (
        "choose another --name, or use 'packcast publish-agent'",
        "choose another name in the options, or the action that updates the agent",
    ),
    (
        "the package needs another --name",
        "the package needs another name",
    ),
    ("or choose another --platform", "or choose another system"),
    ("--name-encoding is only", "the encoding of names is only"),
];

/// Returns a text of the publisher with the controls of the wizard in place of options.
fn of_page(text: &str) -> String {
    CONTROLS
        .iter()
        .fold(for_page(text), |text, (option, control)| {
            text.replace(option, control)
        })
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
fn field(context: &Context<'_>, field: Field, value: &str, hint: &str) -> Markup {
    let Field { name, label } = field;
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) autocomplete="off" spellcheck="false"
                aria-describedby=[context.described_by(field, !hint.is_empty())]
                aria-invalid=[context.invalid(field)] autofocus[context.is_refused(field)];
            @if !hint.is_empty() { p.soft id=(hint_of(field)) { (hint) } }
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

#[cfg(test)]
mod tests {
    use super::of_page;

    #[test]
    fn texts_name_the_controls_of_the_page() {
        let texts = [
            "run the same command again to continue: complete objects are kept",
            "run the command again in a minute; nothing is lost",
            "choose another --version for other content: a published version never changes",
            "choose another --name, or use 'packcast publish-agent'",
            "rename the entry, or choose another --platform",
            "cannot publish /x: --name-encoding is only for zip archives",
        ];
        let texts = texts.map(of_page);
        assert!(texts.iter().all(|text| !text.contains("--")), "{texts:#?}");
        insta::assert_snapshot!(texts.join("\n"), @"
        choose 'Sign and publish' again to continue: complete objects are kept
        try again in a minute; nothing is lost
        choose another version in the options for other content: a published version never changes
        choose another name in the options, or the action that updates the agent
        rename the entry, or choose another system
        cannot publish /x: the encoding of names is only for zip archives
        ");
    }
}
