//! The step with the files: dropped, chosen, or named by their path on this machine.

use maud::{Markup, html};

use super::super::receive::FILE;
use super::super::step::{START, Step, next};
use super::super::task::{FileNeed, Task};
use super::super::upload::Upload;
use super::super::wizard::{ChosenFile, PATH, Wizard};
use super::{Context, notice, token};
use crate::words::{bytes, text};

/// Writes the step. `has_failure` is true if the failure of the form is shown above.
pub(super) fn content(context: &Context<'_>, has_failure: bool) -> Markup {
    let wizard = context.wizard;
    let need = wizard.task.map_or(FileNeed::One, Task::needs);
    let check = wizard.check.as_ref();
    let failed = check.and_then(|check| check.outcome.as_ref()?.as_ref().err());
    html! {
        @if let Some(failure) = failed { (notice(failure, context.visit)) }
        @if let (false, Some(failure)) = (has_failure, &wizard.upload_failure) {
            (notice(failure, context.visit))
        }
        p { (about(need)) }
        @if !wizard.files.is_empty() { (chosen(context, need, failed.is_some())) }
        @if let Some(upload) = &wizard.upload { (unfinished(context, upload)) }
        (upload(context))
        (path(context, need))
        @if need == FileNeed::Optional {
            form.steps method="post" action=(Step::File.path(context.id)) {
                (token(&context.visit.form))
                button.quiet name="none" value="1" { "Continue without a file" }
            }
        }
    }
}

const fn about(need: FileNeed) -> &'static str {
    match need {
        FileNeed::Several => {
            "The program of the agent for each platform of the fleet. A program for Linux, Windows or \
             macOS names its platform itself."
        }
        FileNeed::None | FileNeed::Optional | FileNeed::One => {
            "A zip or tar.gz archive, or any other file, which is packed first."
        }
    }
}

/// Writes the files of the package.
fn chosen(context: &Context<'_>, need: FileNeed, has_failed: bool) -> Markup {
    let wizard = context.wizard;
    html! {
        section.notice aria-label="Chosen files" {
            form method="post" action=(Step::File.path(context.id)) {
                (token(&context.visit.form))
                ul.lines {
                    @for (place, file) in wizard.files.iter().enumerate() {
                        li {
                            (describe(file)) " "
                            button.quiet name="remove" value=(place)
                                aria-label={ "Remove file " (place + 1) } { "Remove" }
                        }
                    }
                }
                button.quiet name="again" value="1" { "Read the file again" }
            }
            @if !has_failed {
                p { a.button href=(next(wizard.task, Step::File).path(context.id)) {
                    @if need == FileNeed::Several { "Continue with these programs" }
                    @else { "Continue with this file" }
                } }
            }
        }
    }
}

fn describe(file: &ChosenFile) -> Markup {
    match file {
        ChosenFile::Path(path, platform) => html! {
            @if let Some(platform) = platform { (platform) " = " }
            code { (text(&path.display().to_string())) }
        },
        ChosenFile::Uploaded(upload) => html! {
            (text(upload.name().as_str())) " " span.soft { "uploaded, " (bytes(upload.received())) }
        },
    }
}

/// Writes the upload that can be continued.
fn unfinished(context: &Context<'_>, upload: &Upload) -> Markup {
    let total = upload.identity().map_or(0, |identity| identity.bytes);
    html! {
        section.notice.warn aria-label="Unfinished upload" {
            p {
                strong { "The upload of " (text(upload.name().as_str())) " is not complete: " }
                (bytes(upload.received())) " of " (bytes(total)) " are stored. Choose the same file \
                again to continue."
            }
            form method="post" action=(Step::File.path(context.id)) {
                (token(&context.visit.form))
                button.quiet name="cancel" value="1" { "Discard the unfinished upload" }
            }
        }
    }
}

/// Writes the form for a file of the browser. The script sends it in parts, and shows the progress.
fn upload(context: &Context<'_>) -> Markup {
    let base = format!("{START}/{}", context.id);
    html! {
        form.steps.drop #upload method="post" enctype="multipart/form-data" action={ (base) "/send" }
            data-upload={ (base) "/upload" } data-next=(after(context.wizard).path(context.id)) {
            // The token comes first: nothing is stored without it.
            (token(&context.visit.form))
            label for="file" { (FILE.label) }
            input #file type="file" name="file" required
                aria-describedby=[context.described_by(FILE, false)]
                aria-invalid=[context.invalid(FILE)] autofocus[context.is_refused(FILE)];
            p.soft #upload-drop hidden { "Or drop a file here." }
            button { "Upload" }
            progress.wide #upload-progress max="1000" value="0" hidden aria-label="Upload" {}
            p #upload-note role="status" {}
        }
    }
}

/// Returns the step that follows a file.
fn after(wizard: &Wizard) -> Step {
    match wizard.task {
        Some(Task::Update) => Step::File,
        task => next(task, Step::File),
    }
}

fn path(context: &Context<'_>, need: FileNeed) -> Markup {
    let wizard = context.wizard;
    let typed = match wizard.files.first() {
        Some(ChosenFile::Path(path, None)) if wizard.typed_path.is_empty() => {
            path.display().to_string()
        }
        _ => wizard.typed_path.clone(),
    };
    html! {
        form.steps method="post" action=(Step::File.path(context.id)) {
            (token(&context.visit.form))
            label for="path" { (PATH.label) }
            @if need == FileNeed::Several {
                textarea #path name="path" rows="3" spellcheck="false"
                    aria-describedby=[context.described_by(PATH, true)]
                    aria-invalid=[context.invalid(PATH)] autofocus[context.is_refused(PATH)] {
                    (context.wizard.typed_path)
                }
                p.soft #path-hint {
                    "One path in each line. " code { "PLATFORM=PATH" } ", such as "
                    code { "linux-x86_64=/srv/agent" } ", names the platform of a script."
                }
            } @else {
                input #path name="path" value=(typed) autocomplete="off" spellcheck="false"
                    aria-describedby=[context.described_by(PATH, true)]
                    aria-invalid=[context.invalid(PATH)] autofocus[context.is_refused(PATH)];
                p.soft #path-hint { "A file or a folder, which is read where it is." }
            }
            button { @if need == FileNeed::Several { "Add" } @else { "Use this path" } }
        }
    }
}
