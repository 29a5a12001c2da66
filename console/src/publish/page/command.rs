//! The step with the program, the command or the folder.

use maud::{Markup, html};
use packcast_protocol::manifest::Platform;
use packcast_publisher::text::platform;

use super::super::fields::Field;
use super::super::guess;
use super::super::programs::programs;
use super::super::save::{COMMAND, FOLDER, PROGRAM, TO_UNINSTALL};
use super::super::step::Step;
use super::super::task::Task;
use super::super::uninstall::Installed;
use super::super::wizard::ChosenFile;
use super::{Context, field, radio, token};
use crate::words::text;

const ARGUMENTS: Field = Field {
    name: "arguments",
    label: "Arguments",
};

pub(super) fn content(context: &Context<'_>) -> Markup {
    let path = Step::Command.path(context.id);
    html! {
        (other_system(context))
        (form(context, &path))
    }
}

/// Warns of a file that devices of the chosen system cannot install.
fn other_system(context: &Context<'_>) -> Markup {
    let chosen = context.wizard.system;
    let file = context.wizard.used_files().first().map(ChosenFile::name);
    let of_file = file.as_deref().and_then(guess::system);
    let is_other = |system: Platform| chosen != Platform::Any && system != chosen;
    html! {
        @if let (Some(file), Some(system)) = (&file, of_file.filter(|it| is_other(*it))) {
            div.notice.warn {
                p {
                    strong { "Warning: " } (text(file)) " is usually a file for " (platform(system))
                    ", but the package is for " (platform(chosen)) "."
                }
            }
        }
    }
}

fn form(context: &Context<'_>, path: &str) -> Markup {
    let command = &context.wizard.command;
    match context.wizard.task {
        Some(Task::Launch) => launch(context, path),
        Some(Task::Store) => html! {
            form.steps method="post" action=(path) {
                (token(&context.visit.form))
                (field(context, FOLDER, &command.folder,
                    r"An absolute path, such as C:\Tools or /opt/tools."))
                button { "Next" }
            }
        },
        Some(Task::Uninstall) => html! {
            (template(context, path))
            (line(context, path))
        },
        _ => line(context, path),
    }
}

/// Writes the programs of the archive, the best guess first.
fn launch(context: &Context<'_>, path: &str) -> Markup {
    let command = &context.wizard.command;
    let found = context
        .checked
        .map(|checked| programs(&checked.inspection.contents, context.wizard.system));
    let found = found.unwrap_or_default();
    html! {
        @if found.is_empty() { (no_program(context)) }
        form.steps method="post" action=(path) {
            (token(&context.visit.form))
            div {
                label for="program" { "Program at the top of the archive" }
                input #program name="program" value=(command.program) list="programs"
                    autocomplete="off" spellcheck="false"
                    aria-describedby=[context.described_by(PROGRAM, true)]
                    aria-invalid=[context.invalid(PROGRAM)] autofocus[context.is_refused(PROGRAM)];
                p.soft #program-hint {
                    @if found.is_empty() { "The name of a file without its folder." }
                    @else {
                        "Programs of this archive, the best guess first: "
                        @for (place, program) in found.iter().enumerate() {
                            @if place > 0 { ", " }
                            code { (text(program)) }
                        }
                    }
                }
                datalist #programs {
                    @for program in &found { option value=(program) {} }
                }
            }
            (field(context, ARGUMENTS, &command.arguments,
                "The silent switch of an installer is a guess: check the documents of the program."))
            button { "Next" }
        }
    }
}

/// Offers a command in place of a program.
fn no_program(context: &Context<'_>) -> Markup {
    let guess = context.checked.and_then(|checked| checked.command_guess());
    html! {
        div.notice.warn {
            p {
                "The archive has no program at its top that launch could start on this system."
                @if let Some(guess) = &guess {
                    " A command can install it, such as " code { (text(&guess.command)) } "."
                }
            }
            form method="post" action=(Step::Task.path(context.id)) {
                (token(&context.visit.form))
                button.quiet name="task" value=(Task::Execute.value()) { "Run a command instead" }
            }
        }
    }
}

fn line(context: &Context<'_>, path: &str) -> Markup {
    let command = &context.wizard.command;
    html! {
        form.steps method="post" action=(path) {
            (token(&context.visit.form))
            div {
                label for="command" { "Command for the shell of the device" }
                textarea #command name="command" rows="3" spellcheck="false"
                    aria-describedby=[context.described_by(COMMAND, true)]
                    aria-invalid=[context.invalid(COMMAND)] autofocus[context.is_refused(COMMAND)] {
                    (command.line)
                }
                p.soft #command-hint {
                    @if let Some(about) = command.guess {
                        strong { "A guess: " } (about) ". Check the command before you continue. "
                    }
                    "The command runs in the folder of the archive, if there is one. No user answers \
                     its questions."
                }
            }
            button { "Next" }
        }
    }
}

/// Writes the templates of commands that uninstall a program of the system.
fn template(context: &Context<'_>, path: &str) -> Markup {
    let command = &context.wizard.command;
    let system = context.wizard.system;
    let mut templates = Installed::ALL.into_iter().filter(|it| it.fits(system));
    let first = templates.clone().next();
    let chosen = templates.find(|it| *it == command.installed).or(first);
    html! {
        @if let Some(chosen) = chosen {
            form.steps method="post" action=(path) {
                (token(&context.visit.form))
                fieldset {
                    legend { "Program to uninstall" }
                    @for installed in Installed::ALL.into_iter().filter(|it| it.fits(system)) {
                        (radio("installed", installed.value(), installed.label(), "",
                            installed == chosen))
                    }
                }
                (field(context, TO_UNINSTALL, &command.to_uninstall,
                    r"Such as vlc, {23170F69-40C1-2702-2408-000001000000} or C:\Program Files\VideoLAN\VLC\uninstall.exe."))
                button name="template" value="1" { "Fill in the command" }
            }
        }
    }
}
