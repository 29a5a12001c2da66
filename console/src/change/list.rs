//! The changes of a session and their results, and the lock of the key.

use axum::Form;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::address::CHANGES;
use super::answers::wait_for;
use super::ledger::BegunChange;
use super::views;
use crate::answer;
use crate::page::sign_in::Protected;
use crate::page_error::{PageError, named};
use crate::visit::Visit;

/// Shows the changes of the session.
pub(super) async fn page(visit: Visit) -> Response {
    let changes: Vec<BegunChange> = visit.app.ledger().changes().cloned().collect();
    let view = views::list(&visit, &changes);
    visit.answer(Ok(view))
}

/// Shows the result of a change.
pub(super) async fn result(visit: Visit, Path(number): Path<String>) -> Response {
    let number = match named(&number, "change") {
        Ok(number) => number,
        Err(error) => return visit.answer(Err(error)),
    };
    wait_for(&visit.app, number).await;
    let change = visit.app.ledger().change(number).cloned();
    let Some(change) = change else {
        let text = "cannot find this change: the console has none with this number".to_owned();
        return visit.answer(Err(PageError::NotFound(text)));
    };
    let view = views::result(&visit, &change);
    visit.answer(Ok(view))
}

/// Locks the signing key.
pub(super) async fn lock(visit: Visit, Form(form): Form<Protected>) -> Response {
    if !form.is_from(&visit) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    visit.app.key().lock();
    Redirect::to(CHANGES).into_response()
}
