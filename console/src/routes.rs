//! The routes of a console, and the gate before all of them.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Method, StatusCode};

use crate::access::{SIGN_IN, Source, cookie};
use crate::answer;
use crate::app::App;
use crate::assets;
use crate::change;
use crate::connections::OpenConnection;
use crate::layout::{self, Frame};
use crate::live;
use crate::page::now::CHECK;
use crate::page::{
    device, devices, failures, group, groups, history, now, package, packages, rollout, rollouts,
    sign_in,
};
use crate::page_error::PageError;
use crate::publish;
use crate::token::Token;
use crate::visit::SignedIn;

/// The maximum length of a body in bytes. Forms are short.
const MAX_BODY: usize = 16 << 10;

/// The time for the head of an answer. A check of the whole fleet and changes take longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const POST_TIMEOUT: Duration = Duration::from_mins(10);
/// The time for an upload. An upload that stands still ends much earlier.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(12);

/// Returns the routes behind their gate.
pub(crate) fn router(app: App) -> Router {
    let changes = if app.is_read_only() {
        Router::new()
    } else {
        change::router().merge(publish::router())
    };
    Router::new()
        .route("/", get(now::page))
        .route(CHECK, post(now::check))
        .route("/packages", get(packages::page))
        .route("/packages/{package}", get(package::page))
        .route("/packages/{package}/devices", get(package::devices))
        .route("/packages/{package}/failures", get(failures::page))
        .route("/packages/{package}/versions", get(package::versions))
        .route("/packages/{package}/live", get(live::package))
        .route("/groups", get(groups::page))
        .route("/groups/{group}", get(group::page))
        .route("/groups/{group}/devices", get(group::devices))
        .route("/devices", get(devices::page))
        .route("/devices/{device}", get(device::page))
        .route("/devices/{device}/why/{package}", get(device::why))
        .route("/rollouts", get(rollouts::page))
        .route("/rollouts/{package}", get(rollout::page))
        .route("/rollouts/{package}/live", get(live::rollout))
        .route("/history", get(history::page))
        .route("/history/{commit}", get(history::commit))
        .route("/end", post(sign_in::end))
        .route(SIGN_IN, get(sign_in::page).post(sign_in::enter))
        .route(assets::STYLE, get(assets::style))
        .route(assets::SCRIPT, get(assets::script))
        .fallback(sign_in::unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .merge(changes)
        .layer(middleware::from_fn_with_state(app.clone(), gate))
        .with_state(app)
}

/// Admits a request to its route, or answers it here. Every route is behind this gate.
async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let source = match app.address().admit(&head) {
        Ok(source) => source,
        Err(refusal) => return answer::last(answer::refusal(refusal)),
    };
    let is_public = head.uri.path() == SIGN_IN || assets::is_asset(head.uri.path());
    // Other pages may link to the console, but their links do not carry the session.
    let session = match source {
        Source::Own => cookie(&head.headers),
        Source::Link => None,
    };
    let now = app.now();
    let form = session.and_then(|cookie| app.door().enter(cookie, now));
    app.end_if_idle();
    match form {
        Some(form) => {
            if let Some(open) = head.extensions.get::<OpenConnection>() {
                open.belongs_to_session();
            }
            head.extensions.insert(SignedIn { form });
        }
        None if is_public => {}
        None if head.method == Method::GET => return answer::last(sign_in::closed()),
        None => return answer::last(answer::status(StatusCode::FORBIDDEN)),
    }
    let signed_in = head.extensions.get::<SignedIn>().cloned();
    let limit = if publish::is_upload(&head) {
        UPLOAD_TIMEOUT
    } else if head.method == Method::POST {
        POST_TIMEOUT
    } else {
        ANSWER_TIMEOUT
    };
    let answered = next.run(Request::from_parts(head, body));
    let answered = tokio::time::timeout(limit, answered).await;
    let answered = answered.unwrap_or_else(|_| match signed_in {
        Some(SignedIn { form }) => too_slow(&app, &form, limit),
        None => answer::status(StatusCode::GATEWAY_TIMEOUT),
    });
    answer::hardened(answered)
}

/// Returns the page for a person whose page took too long.
fn too_slow(app: &App, form: &Token, limit: Duration) -> Response {
    let error = PageError::TooSlow(limit);
    let frame = Frame {
        target: &app.target().name,
        form,
        commands: app.commands(),
        key: app.key_state(),
    };
    let view = layout::error(&error, app.commands());
    answer::page(error.status(), layout::page(&frame, &view, &[], None))
}
