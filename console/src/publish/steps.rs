//! The pages of the wizard, and the answers to their forms.

use axum::Form;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use packcast_publisher::Failure;

use super::check::{self, Files};
use super::fields::{Field, Fields, Refusal};
use super::found::{found, redirect};
use super::page::{self, Context};
use super::progress;
use super::save;
use super::step::{START, Step, missing_before};
use super::wizard::{Job, Wizard};
use super::wizards::WizardId;
use crate::answer;
use crate::page_error::{PageError, status_of};
use crate::visit::Visit;

/// Shows the first step, with the passes that are not complete.
pub(crate) async fn start(visit: Visit) -> Response {
    let view = page::start::view(&visit, None);
    visit.answer(Ok(view))
}

/// Begins a pass with its first step.
pub(crate) async fn create(visit: Visit, Form(fields): Form<Fields>) -> Response {
    if !fields.is_from(&visit.form) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    let created = save::system(&fields).map_err(Failure::from);
    let created = created.and_then(|it| visit.app.wizards().add(Wizard::new(it)));
    match created {
        Ok(id) => redirect(&Step::Task.path(id)),
        Err(failure) => {
            let view = page::start::view(&visit, Some(&failure));
            visit.answer_with(status_of(&failure), &view)
        }
    }
}

/// Removes a pass with its uploads.
pub(crate) async fn discard(
    visit: Visit,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    if !fields.is_from(&visit.form) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    match found(&visit, &id) {
        Ok((id, wizard)) if matches!(wizard.job, Job::Running(_)) => redirect(&progress::path(id)),
        Ok((id, _)) => {
            visit.app.wizards().remove(id);
            redirect(START)
        }
        Err(error) => visit.answer(Err(error)),
    }
}

/// Shows a step.
pub(crate) async fn page(visit: Visit, Path((id, step)): Path<(String, String)>) -> Response {
    match located(&visit, &id, &step) {
        Ok((id, _, step)) => show(visit, id, step, None),
        Err(error) => visit.answer(Err(error)),
    }
}

/// Saves the fields of a step, and goes on to the next.
pub(crate) async fn save(
    visit: Visit,
    Path((id, step)): Path<(String, String)>,
    Form(fields): Form<Fields>,
) -> Response {
    if !fields.is_from(&visit.form) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    let (id, wizard, step) = match located(&visit, &id, &step) {
        Ok(located) => located,
        Err(error) => return visit.answer(Err(error)),
    };
    if let Job::Running(_) = wizard.job {
        return redirect(&progress::path(id));
    }
    // A passphrase takes seconds of computing.
    let saved = tokio::task::spawn_blocking(move || {
        let saved = save::step(&visit, id, step, &fields);
        (visit, saved)
    });
    match saved.await {
        Ok((_, Ok(next))) => redirect(&next),
        Ok((visit, Err(Refusal { failure, field }))) => {
            show(visit, id, step, Some((&failure, field)))
        }
        Err(_) => answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn located(visit: &Visit, id: &str, step: &str) -> Result<(WizardId, Wizard, Step), PageError> {
    let (id, wizard) = found(visit, id)?;
    match Step::of_value(step) {
        Some(step) => Ok((id, wizard, step)),
        None => Err(PageError::NotFound(format!(
            "cannot find this step: {step:?} is no step of a publication"
        ))),
    }
}

/// Shows a step with the failure of its form, or goes to the step that comes first.
pub(crate) fn show(
    visit: Visit,
    id: WizardId,
    step: Step,
    refused: Option<(&Failure, Option<Field>)>,
) -> Response {
    let app = visit.app.clone();
    let Some(wizard) = app.wizards().get(id) else {
        return redirect(START);
    };
    if let Job::Running(_) = wizard.job {
        return redirect(&progress::path(id));
    }
    if let Some(missing) = missing_before(&wizard, step) {
        return redirect(&missing.path(id));
    }
    let files = match step {
        Step::System | Step::Task | Step::File => Ok(Files::None),
        Step::Command | Step::Options | Step::Summary => check::files(&app, id, &wizard),
    };
    let checked = match (step, &files) {
        (_, Ok(Files::Reading)) => return redirect(&progress::reading_path(id, step)),
        (_, Ok(Files::Read(checked))) => Some(checked),
        (_, Ok(Files::None)) | (Step::Options, _) => None,
        (_, Ok(Files::Failed(_))) => return redirect(&Step::File.path(id)),
        (_, Err(_)) => return redirect(&Step::Options.path(id)),
    };
    // The files have filled empty fields.
    let wizard = app.wizards().get(id).unwrap_or(wizard);
    let of_files = match &files {
        Ok(Files::Failed(failure)) => Some((failure.as_ref(), None)),
        Err(Refusal { failure, field }) => Some((failure, *field)),
        Ok(_) => None,
    };
    let refused = refused.or(of_files);
    let failure = refused.map(|(failure, _)| failure);
    let context = Context {
        visit: &visit,
        id,
        wizard: &wizard,
        checked,
        refused: refused.and_then(|(_, field)| field),
    };
    let view = page::view(&context, step, failure);
    let status = failure.map_or(StatusCode::OK, status_of);
    visit.answer_with(status, &view)
}
