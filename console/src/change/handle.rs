//! Requests for changes: forms, effects, and the changes themselves.

use axum::Form;
use axum::extract::Query;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use packcast_publisher::Failure;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Change;
use super::address::result_path;
use super::answers::{in_time, show_effect, show_form, wait_for};
use super::effect::Effect;
use super::input::{Input, Received, Step};
use super::perform::{Decided, make};
use super::views::Note;
use crate::answer;
use crate::app::App;
use crate::visit::{Visit, on_one_thread};

/// Shows the form of a change.
pub(super) async fn form<C: Change>(
    visit: Visit,
    Query(fields): Query<Vec<(String, String)>>,
) -> Response {
    let input = Input::of_query(fields);
    on_one_thread(|| async move { show_form::<C>(visit, &input, None).await }).await
}

/// Goes one step towards a change.
pub(super) async fn submit<C: Change>(
    visit: Visit,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let fields = match form {
        Ok(Form(fields)) => fields,
        Err(rejection) => return unreadable(visit, &rejection),
    };
    let received = Received::of(fields);
    if !visit.form.is(&received.form) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    match received.step {
        Step::Edit => {
            let input = received.input;
            on_one_thread(|| async move { show_form::<C>(visit, &input, None).await }).await
        }
        Step::Plan => {
            let input = received.input;
            on_one_thread(|| async move { plan::<C>(visit, &input).await }).await
        }
        Step::Perform => perform::<C>(visit, received).await,
    }
}

/// Answers a form that was too large, or no form.
pub(super) fn unreadable(visit: Visit, rejection: &FormRejection) -> Response {
    let failure = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::usage("cannot read the form: it is larger than 4 MiB")
                .hint("go back in the browser, and name fewer devices, or a group")
        }
        _ => Failure::usage("cannot read the form: it is no form of the console"),
    };
    visit.answer(Err(failure.into()))
}

/// Makes a change. The change goes on if the browser closes the connection.
async fn perform<C: Change>(visit: Visit, received: Received) -> Response {
    let app = visit.app.clone();
    // The form was sent twice.
    let before = app.ledger().begun_by(&received.ticket);
    if let Some(number) = before {
        return result(&app, number).await;
    }
    let (decided, decision) = oneshot::channel();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(make::<C>(visit, received, decided)));
    match decision.await {
        Ok(Decided::Begun(number)) => result(&app, number).await,
        Ok(Decided::Refused(response)) => response,
        Err(_) => answer::status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Waits for the end of a change, and sends the browser to its result.
async fn result(app: &App, number: u64) -> Response {
    wait_for(app, number).await;
    Redirect::to(&result_path(number)).into_response()
}

async fn plan<C: Change>(visit: Visit, input: &Input) -> Response {
    let target = visit.target_for_change();
    let commands = visit.app.commands().clone();
    let deciding = async {
        let change = C::read(input)?;
        let mut planned = change.plan(&target).await?;
        Effect::of(&target, &commands, (&change, input), &mut planned).await
    };
    match in_time(deciding).await {
        Ok(effect) => show_effect::<C>(visit, &target, &effect, &Note::None),
        Err(error) => show_form::<C>(visit, input, Some(&error)).await,
    }
}
