//! Receives files: in parts from the script of the page, or whole from a form without the script.
//!
//! The token of the form comes before the file, so that a request without it sends nothing.

use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;

use axum::Form;
use axum::body::Body;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use multer::{Constraints, Multipart, SizeLimit, parse_boundary};
use packcast_publisher::Failure;
use serde::Deserialize;

use super::fields::{self, Field, Fields};
use super::found::{found, redirect};
use super::step::{Step, next};
use super::steps::show;
use super::task::Task;
use super::upload::{Identity, Start, Upload};
use super::upload_error::UploadError;
use super::wizard::{ChosenFile, Wizard};
use crate::answer;
use crate::app::App;
use crate::page_error::status_of;
use crate::visit::Visit;

/// The header with the token of the form.
const FORM: &str = "x-packcast-form";

/// The header with the number of bytes that are stored.
const RECEIVED: HeaderName = HeaderName::from_static("x-packcast-received");

/// The maximum length of the token in a form with a file.
const MAX_TOKEN: u64 = 128;

/// The field with the file.
pub(crate) const FILE: Field = Field {
    name: "file",
    label: "File of your browser",
};

/// The place of a part in its file.
#[derive(Deserialize)]
pub(crate) struct Place {
    offset: u64,
}

/// Begins an upload, continues the unfinished one of the same file, or completes it. Answers with the
/// number of bytes that are stored.
///
/// The script sends the start of its file with that length, and its digest. If the console has as many
/// bytes, they are compared. The script goes on only then, so two files with the same name, length and
/// time are never mixed.
pub(crate) async fn begin(
    visit: Visit,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    if !fields.is_from(&visit.form) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    let id = match found(&visit, &id) {
        Ok((id, _)) => id,
        Err(error) => return visit.answer(Err(error)),
    };
    let (identity, start) = match identity(&fields) {
        Ok(identity) => identity,
        Err(failure) => return refusal(status_of(&failure), &failure),
    };
    let app = &visit.app;
    let begun = app
        .wizards()
        .update(id, |it| begun(app, it, identity, start));
    match begun.unwrap_or(Err(UploadError::None)) {
        Ok(received) => received_text(received),
        Err(error) => refused(error),
    }
}

fn identity(fields: &Fields) -> Result<(Identity, Start), Failure> {
    fn read<T: FromStr<Err: Error>>(fields: &Fields, name: &'static str) -> Result<T, Failure> {
        let read = fields::read(Field { name, label: name }, fields.get(name));
        Ok(read?)
    }
    let name = fields.get("name").parse();
    let identity = Identity {
        name: name.map_err(|error| Failure::from(UploadError::Name(error)))?,
        bytes: read(fields, "size")?,
        modified_ms: read(fields, "modified")?,
    };
    let start = Start {
        bytes: read(fields, "start")?,
        digest: read(fields, "digest")?,
    };
    Ok((identity, start))
}

/// Returns the number of bytes of a file that are stored.
fn begun(
    app: &App,
    wizard: &mut Wizard,
    identity: Identity,
    start: Start,
) -> Result<u64, UploadError> {
    let is_it = |upload: &Upload| upload.identity() == Some(&identity);
    let other = |upload: &Upload| UploadError::OtherFile {
        name: upload.name().clone(),
    };
    match &wizard.upload {
        Some(upload) if is_it(upload) => {
            let is_start = upload.is_start(start);
            if is_start == Some(false) {
                return Err(other(upload));
            }
            let received = upload.received();
            if is_start == Some(true) && start.bytes == identity.bytes {
                let upload = Arc::clone(upload);
                wizard.add_file(ChosenFile::Uploaded(upload))?;
                wizard.upload = None;
                wizard.upload_failure = None;
            }
            return Ok(received);
        }
        Some(upload) if upload.received() > 0 => return Err(other(upload)),
        _ => {}
    }
    let mut complete = wizard.files.iter().filter_map(|file| match file {
        ChosenFile::Uploaded(upload) => Some(upload),
        ChosenFile::Path(..) => None,
    });
    // Another file with the same identity begins an upload of its own.
    if complete.any(|upload| is_it(upload) && upload.is_start(start) != Some(false)) {
        return Ok(identity.bytes);
    }
    wizard.check_room()?;
    let upload = Upload::begin(identity, app.wizards().folder())?;
    wizard.upload = Some(Arc::new(upload));
    Ok(0)
}

/// Stores the next part of the unfinished upload.
pub(crate) async fn part(
    visit: Visit,
    Path(id): Path<String>,
    Query(place): Query<Place>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let token = headers.get(FORM).and_then(|it| it.to_str().ok());
    if !token.is_some_and(|token| visit.form.is(token)) {
        return answer::last(answer::status(StatusCode::FORBIDDEN));
    }
    let wizard = match found(&visit, &id) {
        Ok((_, wizard)) => wizard,
        Err(error) => return visit.answer(Err(error)),
    };
    let Some(upload) = wizard.upload else {
        return refused(UploadError::None);
    };
    // If the browser goes away, its bytes until then are stored.
    let stored = tokio::spawn(async move {
        let body = body.into_data_stream();
        let stored = upload.continue_at(place.offset, body).await;
        (stored, upload.received())
    });
    match stored.await {
        Ok((Ok(()), received)) => received_text(received),
        // The script goes on at the place in the answer.
        Ok((Err(error), received)) => with_received(refused(error), received),
        Err(_) => answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Receives a whole file from a form.
pub(crate) async fn whole(
    visit: Visit,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (id, wizard) = match found(&visit, &id) {
        Ok(found) => found,
        Err(error) => return visit.answer(Err(error)),
    };
    let Some(mut form) = form_of(&headers, body) else {
        return answer::last(answer::status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    };
    let (app, token) = (visit.app.clone(), visit.form.clone());
    let received = tokio::spawn(async move {
        let is_own = match form.next_field().await {
            Ok(Some(field)) if field.name() == Some("form") => {
                field.text().await.is_ok_and(|text| token.is(&text))
            }
            _ => false,
        };
        if !is_own {
            return None;
        }
        let received = file(&app, form).await;
        let added = match received {
            Ok(upload) => app.wizards().update(id, |wizard| {
                wizard.upload_failure = None;
                wizard.add_file(ChosenFile::Uploaded(Arc::new(upload)))
            }),
            Err(error) => {
                let failure = Arc::new(Failure::from(error));
                app.wizards().update(id, |wizard| {
                    wizard.upload_failure = Some(Arc::clone(&failure));
                });
                return Some(Err(failure));
            }
        };
        let added = added.unwrap_or(Ok(()));
        Some(added.map_err(|error| Arc::new(error.into())))
    });
    let after = match wizard.task {
        Some(Task::Update) => Step::File,
        task => next(task, Step::File),
    };
    match received.await {
        Ok(Some(Ok(()))) => redirect(&after.path(id)),
        Ok(Some(Err(failure))) => show(visit, id, Step::File, Some((&failure, Some(FILE)))),
        Ok(None) => answer::last(answer::status(StatusCode::FORBIDDEN)),
        Err(_) => answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Reads the form with a file; `None` if the body is another one.
fn form_of(headers: &HeaderMap, body: Body) -> Option<Multipart<'static>> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let boundary = parse_boundary(kind).ok()?;
    let limits = SizeLimit::new().for_field("form", MAX_TOKEN);
    let constraints = Constraints::new().size_limit(limits);
    let body = body.into_data_stream();
    Some(Multipart::with_constraints(body, boundary, constraints))
}

/// Stores the file of a form.
async fn file(app: &App, mut form: Multipart<'static>) -> Result<Upload, UploadError> {
    while let Some(field) = form.next_field().await.map_err(|_| UploadError::Form)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().unwrap_or_default().parse()?;
        let upload = Upload::begin_plain(name, app.wizards().folder())?;
        upload.receive(field).await?;
        return Ok(upload);
    }
    Err(UploadError::Form)
}

fn received_text(received: u64) -> Response {
    with_received(received.to_string().into_response(), received)
}

fn with_received(mut response: Response, received: u64) -> Response {
    let value = HeaderValue::from(received);
    response.headers_mut().insert(RECEIVED, value);
    response
}

fn refused(error: UploadError) -> Response {
    let status = error.status();
    refusal(status, &error.into())
}

/// Returns a failure as text, which the script shows.
fn refusal(status: StatusCode, failure: &Failure) -> Response {
    let mut text = failure.message();
    for cause in failure.causes() {
        text = format!("{text}: {cause}");
    }
    for hint in failure.hints() {
        text = format!("{text}. Next step: {hint}");
    }
    (status, format!("{text}.\n")).into_response()
}
