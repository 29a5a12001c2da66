//! The way in and out: the token opens the session, and the end of the session ends the console.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use maud::{Markup, html};
use serde::Deserialize;

use crate::access::{COOKIE_NAME, SIGN_IN};
use crate::answer;
use crate::app::App;
use crate::layout::document;
use crate::page_error::PageError;
use crate::session::{Ended, NewSession, SignIn};
use crate::token::Token;
use crate::visit::Visit;

/// The form with the one-time token.
#[derive(Deserialize)]
pub(crate) struct Entry {
    token: String,
}

/// A form that only changes something with the token of the session.
#[derive(Deserialize)]
pub(crate) struct Protected {
    form: String,
}

impl Protected {
    /// Returns true if the form is from a page of this session.
    pub(crate) fn is_from(&self, visit: &Visit) -> bool {
        visit.form.is(&self.form)
    }
}

/// Shows the form for the token.
pub(crate) async fn page() -> Response {
    answer::page(StatusCode::OK, entrance(None))
}

/// Returns the answer to a request without a session: a page that tells nothing about the target.
pub(crate) fn closed() -> Response {
    answer::page(StatusCode::FORBIDDEN, entrance(None))
}

/// Opens the session with the one-time token.
pub(crate) async fn enter(State(app): State<App>, Form(entry): Form<Entry>) -> Response {
    let (Ok(cookie), Ok(form)) = (Token::random(), Token::random()) else {
        return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let new = NewSession {
        cookie: cookie.clone(),
        form,
    };
    let signed_in = app.door().sign_in(entry.token.trim(), new, app.now());
    match signed_in {
        SignIn::Done => {}
        SignIn::WrongToken => return refused("This is not the token of this console."),
        SignIn::UsedToken => {
            return refused(
                "This token was used before: it opens one session. Start the console again for another.",
            );
        }
    }
    let cookie = format!(
        "{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict",
        cookie.reveal()
    );
    let Ok(cookie) = HeaderValue::from_str(&cookie) else {
        return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = answer::page(StatusCode::OK, welcome());
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// Ends the session, and with it the console.
pub(crate) async fn end(visit: Visit, Form(form): Form<Protected>) -> Response {
    if !form.is_from(&visit) {
        return answer::status(StatusCode::FORBIDDEN);
    }
    let is_running = visit.app.ledger().running().next().is_some();
    visit.app.door().sign_out();
    visit.app.end(Ended::SignedOut);
    let again = visit.app.commands().example("console");
    let page = small_page(
        "The session has ended",
        &html! {
            @if is_running {
                p {
                    "A change is still being made. The console stops after its end; if it fails, the \
                     terminal of the console shows the error."
                }
            }
            p { "This command starts the console again: " (again) }
        },
    );
    answer::page(StatusCode::OK, page)
}

/// Answers requests for addresses without a page.
pub(crate) async fn unknown(visit: Visit) -> Response {
    let text = "the console has no page at this address".to_owned();
    visit.answer(Err(PageError::NotFound(text))).into_response()
}

fn refused(reason: &str) -> Response {
    answer::page(StatusCode::FORBIDDEN, entrance(Some(reason)))
}

/// The request after this page comes from the console itself. After a redirect, the browser would count
/// it as one of the file that has posted the token, and keep the cookie back.
fn welcome() -> Markup {
    small_page(
        "You are signed in",
        &html! {
            p { a.button #continue href="/" autofocus { "Open the console" } }
        },
    )
}

fn entrance(refusal: Option<&str>) -> Markup {
    small_page(
        "Packcast console",
        &html! {
            @if let Some(refusal) = refusal {
                p.notice.bad role="alert" { (refusal) }
            }
            form #sign-in method="post" action=(SIGN_IN) {
                label for="token" { "One-time token" }
                input #token name="token" type="password" required autocomplete="off"
                    spellcheck="false" autofocus;
                button { "Open" }
            }
            p.soft {
                "Open the address that the console has printed, or paste the part of the address after the "
                code { "#" } ". The token works once. A session belongs to one browser."
            }
        },
    )
}

fn small_page(title: &str, content: &Markup) -> Markup {
    let body = html! {
        main.small #main {
            h1 { (title) }
            (content)
        }
    };
    document(title, &body)
}
