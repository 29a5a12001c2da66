//! Answers without a page, and the headers of all answers.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use maud::{Markup, PreEscaped};

use crate::access::Refusal;

/// Pages load only the style sheet and the script of the console, and post only to it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds the headers that protect an answer in the browser.
pub(crate) fn hardened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer`, browsers would send forms without their origin.
        (REFERRER_POLICY, "same-origin"),
        (OPENER, "same-origin"),
        (RESOURCE, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages are about a moment, and nothing of a session stays in the cache of the browser.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Protects an answer to somebody without a session, and closes the connection after it.
pub(crate) fn last(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    hardened(response)
}

/// Returns a page as an answer.
pub(crate) fn page(status: StatusCode, page: Markup) -> Response {
    let PreEscaped(text) = page;
    (status, axum::response::Html(text)).into_response()
}

/// Returns an answer that has a status only.
pub(crate) fn status(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    (status, format!("{} {reason}\n", status.as_u16())).into_response()
}

/// Returns the answer to a request that is refused because of its source. It tells nothing about the
/// console.
pub(crate) fn refusal(refusal: Refusal) -> Response {
    let (status, text) = match refusal {
        Refusal::Host => (
            StatusCode::MISDIRECTED_REQUEST,
            "cannot answer: the address is not that of the console\n",
        ),
        Refusal::Origin => (
            StatusCode::FORBIDDEN,
            "cannot answer: another page has sent the request\n",
        ),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
