//! Saves the fields of each step. What was typed stays, also if it cannot be used.

use std::sync::Arc;

use packcast_protocol::agent_build::AgentVersion;
use packcast_protocol::manifest::Platform;
use packcast_protocol::{Folder, with_causes};
use packcast_publisher::Failure;
use packcast_publisher::publish::plan::launch_command;
use packcast_publisher::signing::SigningKey;

use super::check::{self, Files};
use super::fields::{Field, Fields, Refusal, read, refused};
use super::job::{self, Ready};
use super::options::{Options, field};
use super::progress;
use super::step::{Step, next};
use super::task::{Task, system_of};
use super::uninstall::Installed;
use super::wizard::{Checked, ChosenFile, Job, PATH, Wizard};
use super::wizards::WizardId;
use crate::change::input::Passphrase;
use crate::key::SessionKey;
use crate::visit::Visit;

const SYSTEM: Field = Field {
    name: "system",
    label: "System",
};
const ACTION: Field = Field {
    name: "task",
    label: "Action",
};
pub(crate) const PROGRAM: Field = Field {
    name: "program",
    label: "Program",
};
pub(crate) const FOLDER: Field = Field {
    name: "folder",
    label: "Folder on the device",
};
pub(crate) const COMMAND: Field = Field {
    name: "command",
    label: "Command",
};
pub(crate) const TO_UNINSTALL: Field = Field {
    name: "to_uninstall",
    label: "Name, product code or path",
};

/// Saves a step, and returns the address that follows.
pub(crate) fn step(
    visit: &Visit,
    id: WizardId,
    step: Step,
    fields: &Fields,
) -> Result<String, Refusal> {
    if step == Step::Summary {
        return publish(visit, id, fields);
    }
    let wizards = visit.app.wizards();
    if step == Step::File && fields.is_set("again") {
        check::again(&visit.app, id);
    }
    let saved = wizards.update(id, |wizard| {
        // A changed package is another publication.
        wizard.job = Job::None;
        wizard.upload_failure = None;
        match step {
            Step::System => system(fields).map(|system| wizard.system = system)?,
            Step::Task => task(wizard, fields)?,
            Step::File => return file(wizard, fields).map(|next| next.path(id)),
            Step::Command => return command(wizard, fields).map(|next| next.path(id)),
            Step::Options => options(wizard, fields)?,
            Step::Summary => {}
        }
        Ok(next(wizard.task, step).path(id))
    });
    saved.unwrap_or_else(|| Err(gone().into()))
}

fn gone() -> Failure {
    Failure::failed("cannot save the step: the package in preparation was discarded")
}

/// Reads the system of the first step.
pub(crate) fn system(fields: &Fields) -> Result<Platform, Refusal> {
    system_of(fields.get("system")).ok_or_else(|| refused(SYSTEM, "choose one of the systems"))
}

fn task(wizard: &mut Wizard, fields: &Fields) -> Result<(), Refusal> {
    let task = Task::of_value(fields.get("task"));
    let task = task.ok_or_else(|| refused(ACTION, "choose one of the actions"))?;
    if wizard.task.is_some_and(|before| before != task) {
        wizard.command.forget_line();
    }
    wizard.task = Some(task);
    wizard.guess();
    Ok(())
}

/// Saves the step with the files: a path, or a button beside a file.
fn file(wizard: &mut Wizard, fields: &Fields) -> Result<Step, Refusal> {
    let next = next(wizard.task, Step::File);
    if fields.is_set("again") {
        return Ok(next);
    }
    if fields.is_set("cancel") {
        wizard.upload = None;
        return Ok(Step::File);
    }
    if fields.is_set("none") {
        wizard.files.clear();
        return Ok(next);
    }
    if let Ok(place) = fields.get("remove").parse::<usize>() {
        if place < wizard.files.len() {
            wizard.files.remove(place);
        }
        return Ok(Step::File);
    }
    let is_update = wizard.task == Some(Task::Update);
    let text = fields.lines("path");
    wizard.typed_path.clone_from(&text);
    if text.is_empty() {
        return Err(refused(PATH, "enter a path, or choose a file to upload"));
    }
    if !is_update {
        wizard.add_file(ChosenFile::of_text(&text, false)?)?;
        wizard.typed_path.clear();
        return Ok(next);
    }
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
    let files: Result<Vec<_>, _> = lines.map(|line| ChosenFile::of_text(line, true)).collect();
    for file in files? {
        wizard.add_file(file)?;
    }
    wizard.typed_path.clear();
    Ok(Step::File)
}

/// Saves the step with the command, the program or the folder.
fn command(wizard: &mut Wizard, fields: &Fields) -> Result<Step, Refusal> {
    let checked = wizard.checked().map(Arc::clone);
    let system = wizard.system;
    let texts = &mut wizard.command;
    match wizard.task {
        Some(Task::Launch) => {
            texts.program = fields.text("program");
            texts.arguments = fields.text("arguments");
            launch(&texts.launch(), system, checked.as_ref())?;
        }
        Some(Task::Store) => {
            texts.folder = fields.text("folder");
            read::<Folder>(FOLDER, &texts.folder)?;
        }
        Some(Task::Uninstall) if fields.is_set("template") => {
            texts.to_uninstall = fields.text("to_uninstall");
            let installed = Installed::of_value(fields.get("installed"));
            texts.installed = installed.unwrap_or_default();
            let command = texts.installed.command(&texts.to_uninstall);
            texts.line = command.map_err(|error| Refusal {
                failure: Failure::usage(error),
                field: Some(TO_UNINSTALL),
            })?;
            return Ok(Step::Command);
        }
        _ => {
            texts.line = fields.lines("command");
            texts.guess = None;
            if texts.line.is_empty() {
                let reason = "enter a command for the shell of the device";
                return Err(refused(COMMAND, reason));
            }
        }
    }
    Ok(next(wizard.task, Step::Command))
}

fn launch(line: &str, system: Platform, checked: Option<&Arc<Checked>>) -> Result<(), Refusal> {
    if line.is_empty() {
        return Err(refused(PROGRAM, "choose a program of the archive"));
    }
    if let Some(checked) = checked {
        let contents = &checked.inspection.contents;
        launch_command(line, system, contents)
            .map_err(|error| refused(PROGRAM, with_causes(&error)))?;
    }
    Ok(())
}

fn options(wizard: &mut Wizard, fields: &Fields) -> Result<(), Refusal> {
    wizard.options = Options::of_form(fields);
    let options = &wizard.options;
    options.priority()?;
    if wizard.task == Some(Task::Update) {
        return read::<AgentVersion>(field::VERSION, &options.version).map(drop);
    }
    options.name()?;
    options.version()?;
    options.fragment_size()?;
    options.encoding()?;
    options
        .for_system(wizard.system)
        .terms(wizard.system)
        .map(drop)
}

/// Unlocks the key of the target if it is locked, and starts the publication.
fn publish(visit: &Visit, id: WizardId, fields: &Fields) -> Result<String, Refusal> {
    let app = &visit.app;
    let wizard = app.wizards().get(id).ok_or_else(gone)?;
    if let Job::Done(_) | Job::Running(_) = wizard.job {
        return Ok(progress::path(id));
    }
    let checked = match check::files(app, id, &wizard)? {
        Files::None => None,
        Files::Read(checked) => Some(checked),
        Files::Reading => return Ok(progress::reading_path(id, Step::Summary)),
        Files::Failed(_) => return Ok(Step::File.path(id)),
    };
    let plan = wizard.plan(checked.as_ref())?;
    // Another tab may have changed the package.
    if fields.get("content") != plan.content.to_string() {
        let text = "cannot publish the package: it has changed since its summary was shown";
        let failure = Failure::conflict(text).hint("read the summary again, and confirm it");
        return Err(failure.into());
    }
    let target = app.target().for_change();
    if let Some(passphrase) = Passphrase::typed(fields.get("passphrase")) {
        app.key().unlock(&target, &passphrase, app.now())?;
    }
    if SessionKey::is_locked(&target)? {
        let failure = Failure::usage("cannot sign the package: the signing key is locked");
        let failure = failure.hint("enter the passphrase of the signing key");
        return Err(failure.into());
    }
    let key = SigningKey::load(None, &target.key_file, &*target.secrets).map_err(Failure::from)?;
    let ready = Ready {
        target,
        plan,
        checked,
        key,
    };
    job::start(app, id, ready);
    Ok(progress::path(id))
}
