//! The first step: the system of the devices, and the packages in preparation.

use maud::{Markup, html};
use packcast_protocol::manifest::Platform;
use packcast_protocol::terminal;
use packcast_publisher::Failure;

use super::super::progress;
use super::super::step::{START, Step, missing_before};
use super::super::task::{SYSTEMS, system_value};
use super::super::wizard::{Job, Wizard};
use super::super::wizards::WizardId;
use super::{Context, notice, radio, token};
use crate::layout::{Section, View};
use crate::token::Token;
use crate::visit::Visit;
use crate::words::text;

/// Writes the page without a pass.
pub(crate) fn view(visit: &Visit, failure: Option<&Failure>) -> View {
    let open = visit.app.wizards().open();
    View {
        title: "Publish a package: System".to_owned(),
        section: Some(Section::Packages),
        commands: vec![visit.app.commands().line(["publish"])],
        body: html! {
            @if let Some(failure) = failure { (notice(failure, visit)) }
            @if !open.is_empty() {
                section aria-labelledby="open" {
                    h2 #open { "In preparation" }
                    ul.lines.prepared {
                        @for (id, wizard) in &open {
                            li { (link(*id, wizard)) (discard(*id, wizard, &visit.form)) }
                        }
                    }
                }
            }
            (form(START, Platform::Any, &visit.form))
        },
    }
}

/// Writes the button that makes room for another package.
fn discard(id: WizardId, wizard: &Wizard, form: &Token) -> Markup {
    html! {
        @if !matches!(wizard.job, Job::Running(_)) {
            form method="post" action={ (START) "/" (id) "/discard" } {
                (token(form))
                button.quiet aria-label={ "Discard " (terminal::line(&name(wizard))) } { "Discard" }
            }
        }
    }
}

/// Writes the step of a pass.
pub(super) fn system(context: &Context<'_>) -> Markup {
    let path = Step::System.path(context.id);
    form(&path, context.wizard.system, &context.visit.form)
}

fn form(action: &str, chosen: Platform, form: &Token) -> Markup {
    html! {
        form.steps method="post" action=(action) {
            (token(form))
            fieldset {
                legend { "Operating system of the devices" }
                @for (platform, value, label) in SYSTEMS {
                    (radio("system", value, label, about(platform), platform == chosen))
                }
            }
            button { "Next" }
        }
    }
}

const fn about(platform: Platform) -> &'static str {
    match platform {
        Platform::Windows => "Files are packed as zip, which OCS Windows agents need.",
        Platform::Linux | Platform::Macos => "Files are packed as tar.gz.",
        Platform::Any => "Files are packed as tar.gz, which OCS Windows agents cannot read.",
    }
}

fn name(wizard: &Wizard) -> String {
    let options = &wizard.options;
    match (options.name.is_empty(), wizard.task) {
        (false, _) => format!("{}@{}", options.name, options.version),
        (true, Some(task)) => task.label().to_owned(),
        (true, None) => format!("for {}", system_value(wizard.system)),
    }
}

/// Writes a link to a package in preparation, at the step where it stands.
fn link(id: WizardId, wizard: &Wizard) -> Markup {
    let path = match wizard.job {
        Job::Running(_) => progress::path(id),
        _ => missing_before(wizard, Step::Summary)
            .unwrap_or(Step::Summary)
            .path(id),
    };
    let uploaded = wizard.upload.as_ref().map(|upload| upload.name());
    html! {
        a href=(path) { (text(&name(wizard))) }
        @if let Some(file) = uploaded {
            " " span.soft { "with the unfinished upload of " (text(file.as_str())) }
        }
        @if let Job::Failed(_) = wizard.job { " " span.state.bad { "failed" } }
        @if let Job::Running(_) = wizard.job { " " span.state.good { "being published" } }
    }
}
