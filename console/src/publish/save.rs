//! Saves the fields of each step. What was typed stays, also if it cannot be used.

use std::sync::Arc;

use packcast_protocol::agent_build::AgentVersion;
use packcast_protocol::manifest::Platform;
use packcast_protocol::{Folder, with_causes};
use packcast_publisher::Failure;
use packcast_publisher::publish::plan::launch_command;
use packcast_publisher::signing::SigningKey;

use super::check::{self, Files};
use super::fields::{Fields, read, refused};
use super::job::{self, Ready};
use super::options::{Options, label};
use super::progress;
use super::step::{Step, next};
use super::task::{Task, system_of};
use super::uninstall::Installed;
use super::wizard::{Checked, ChosenFile, Job, Wizard};
use super::wizards::WizardId;
use crate::change::input::Passphrase;
use crate::key::SessionKey;
use crate::visit::Visit;

/// Saves a step, and returns the address that follows.
pub(crate) fn step(
    visit: &Visit,
    id: WizardId,
    step: Step,
    fields: &Fields,
) -> Result<String, Failure> {
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
    saved.unwrap_or_else(|| Err(gone()))
}

fn gone() -> Failure {
    Failure::failed("cannot save the step: the package in preparation was discarded")
}

/// Reads the system of the first step.
pub(crate) fn system(fields: &Fields) -> Result<Platform, Failure> {
    system_of(fields.get("system")).ok_or_else(|| refused("System", "choose one of the systems"))
}

fn task(wizard: &mut Wizard, fields: &Fields) -> Result<(), Failure> {
    let task = Task::of_value(fields.get("task"));
    let task = task.ok_or_else(|| refused("Action", "choose one of the actions"))?;
    if wizard.task.is_some_and(|before| before != task) {
        wizard.command.forget_line();
    }
    wizard.task = Some(task);
    wizard.guess();
    Ok(())
}

/// Saves the step with the files: a path, or a button beside a file.
fn file(wizard: &mut Wizard, fields: &Fields) -> Result<Step, Failure> {
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
    if text.is_empty() {
        return Err(refused(
            "Path on this machine",
            "enter a path, or choose a file to upload",
        ));
    }
    if !is_update {
        wizard.add_file(ChosenFile::of_text(&text, false)?)?;
        return Ok(next);
    }
    for line in text.lines().map(str::trim).filter(|it| !it.is_empty()) {
        wizard.add_file(ChosenFile::of_text(line, true)?)?;
    }
    Ok(Step::File)
}

/// Saves the step with the command, the program or the folder.
fn command(wizard: &mut Wizard, fields: &Fields) -> Result<Step, Failure> {
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
            read::<Folder>("Folder on the device", &texts.folder)?;
        }
        Some(Task::Uninstall) if fields.is_set("template") => {
            texts.to_uninstall = fields.text("to_uninstall");
            let installed = Installed::of_value(fields.get("installed"));
            texts.installed = installed.unwrap_or_default();
            let command = texts.installed.command(&texts.to_uninstall);
            texts.line = command.map_err(Failure::usage)?;
            return Ok(Step::Command);
        }
        _ => {
            texts.line = fields.lines("command");
            texts.guess = None;
            if texts.line.is_empty() {
                return Err(refused(
                    "Command",
                    "enter a command for the shell of the device",
                ));
            }
        }
    }
    Ok(next(wizard.task, Step::Command))
}

fn launch(line: &str, system: Platform, checked: Option<&Arc<Checked>>) -> Result<(), Failure> {
    let label = "Program";
    if line.is_empty() {
        return Err(refused(label, "choose a program of the archive"));
    }
    if let Some(checked) = checked {
        let contents = &checked.inspection.contents;
        launch_command(line, system, contents)
            .map_err(|error| refused(label, with_causes(&error)))?;
    }
    Ok(())
}

fn options(wizard: &mut Wizard, fields: &Fields) -> Result<(), Failure> {
    wizard.options = Options::of_form(fields);
    let options = &wizard.options;
    options.priority()?;
    if wizard.task == Some(Task::Update) {
        return read::<AgentVersion>(label::VERSION, &options.version).map(drop);
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
fn publish(visit: &Visit, id: WizardId, fields: &Fields) -> Result<String, Failure> {
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
        return Err(Failure::conflict(text).hint("read the summary again, and confirm it"));
    }
    let target = app.target().for_change();
    if let Some(passphrase) = Passphrase::typed(fields.get("passphrase")) {
        app.key().unlock(&target, &passphrase, app.now())?;
    }
    if SessionKey::is_locked(&target)? {
        let failure = Failure::usage("cannot sign the package: the signing key is locked");
        return Err(failure.hint("enter the passphrase of the signing key"));
    }
    let key = SigningKey::load(None, &target.key_file, &*target.secrets)?;
    let ready = Ready {
        target,
        plan,
        checked,
        key,
    };
    job::start(app, id, ready);
    Ok(progress::path(id))
}
