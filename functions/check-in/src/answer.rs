//! Responses, and the one table from failures to statuses.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use packcast_protocol::api::{Problem, ProblemKind};
use packcast_protocol::{UnixTime, with_causes};
use packcast_store::RecordsError;
use serde::Serialize;

pub(crate) fn not_found() -> Response<Bytes> {
    respond(
        StatusCode::NOT_FOUND,
        "text/plain",
        Bytes::from_static(b"there is nothing here\n"),
    )
}

/// Answers who knows the function's own address and not the CDN's secret.
pub(crate) fn forbidden() -> Response<Bytes> {
    respond(
        StatusCode::FORBIDDEN,
        "text/plain",
        Bytes::from_static(b"this address answers to its CDN only\n"),
    )
}

pub(crate) fn json(body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("replies have string keys only");
    respond(StatusCode::OK, "application/json", body.into())
}

/// Answers a stock agent. Exactly 200, or Windows agents do not read it (protocol reference §0 rule 3).
pub(crate) fn compressed(body: Vec<u8>) -> Response<Bytes> {
    respond(StatusCode::OK, "application/x-compressed", body.into())
}

/// Answers a stock agent that did not get what it asked for; its log shows the status only.
pub(crate) fn stock_failure(status: StatusCode, why: &str) -> Response<Bytes> {
    respond(status, "text/plain", Bytes::from(format!("{why}\n")))
}

pub(crate) fn problem(
    kind: ProblemKind,
    detail: &dyn fmt::Display,
    now: UnixTime,
) -> Response<Bytes> {
    let status = match kind {
        ProblemKind::BadRequest | ProblemKind::Other => StatusCode::BAD_REQUEST,
        ProblemKind::BadSignature | ProblemKind::ClockSkew => StatusCode::UNAUTHORIZED,
        ProblemKind::NotEnrolled => StatusCode::FORBIDDEN,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_vec(&Problem {
        kind,
        detail: detail.to_string(),
        now,
    })
    .expect("a problem has string keys only");
    respond(status, "application/problem+json", body.into())
}

/// Answers an agent of ours that the records did not answer.
pub(crate) fn unavailable(now: UnixTime) -> Response<Bytes> {
    problem(
        ProblemKind::Unavailable,
        &"the records cannot be reached now: try again later",
        now,
    )
}

/// Answers a stock agent that the records did not answer.
pub(crate) fn stock_unavailable() -> Response<Bytes> {
    stock_failure(StatusCode::SERVICE_UNAVAILABLE, "try again later")
}

/// Logs that the records took longer than a request may.
pub(crate) fn log_lateness(limit: Duration) {
    tracing::error!(
        retryable = true,
        "records failed: a request was not answered within {} s",
        limit.as_secs()
    );
}

/// Logs what went wrong with the records, once; the device only learns that it should come again.
pub(crate) fn log_records_error(error: &RecordsError) {
    tracing::error!(
        retryable = error.is_retryable(),
        "records failed: {}",
        with_causes(error)
    );
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
