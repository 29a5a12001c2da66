//! Responses, and the mapping of failures to statuses.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use packcast_protocol::api::{Problem, ProblemKind};
use packcast_protocol::{Excerpt, UnixTime, with_causes};
use packcast_store::RecordsError;
use serde::Serialize;

pub(crate) fn not_found() -> Response<Bytes> {
    respond(
        StatusCode::NOT_FOUND,
        "text/plain",
        Bytes::from_static(b"there is nothing here\n"),
    )
}

/// Refuses a request that does not come through the CDN.
pub(crate) fn forbidden() -> Response<Bytes> {
    respond(
        StatusCode::FORBIDDEN,
        "text/plain",
        Bytes::from_static(b"forbidden: only the CDN of this target may call this address\n"),
    )
}

pub(crate) fn json(body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("replies have string keys only");
    respond(StatusCode::OK, "application/json", body.into())
}

/// Answers an OCS agent with exactly 200: Windows agents read no other reply (protocol
/// reference §0 rule 3).
pub(crate) fn compressed(body: Bytes) -> Response<Bytes> {
    respond(StatusCode::OK, "application/x-compressed", body)
}

/// Refuses a request of an OCS agent, whose log shows the status alone.
///
/// The reply has an excerpt of the reason, because errors can quote the request.
pub(crate) fn ocs_failure(status: StatusCode, reason: &str) -> Response<Bytes> {
    let reason = Excerpt::of(reason);
    respond(status, "text/plain", Bytes::from(format!("{reason}\n")))
}

/// Refuses a request of a Packcast agent.
///
/// The reply has an excerpt of the detail, because errors can quote the request.
pub(crate) fn problem(kind: ProblemKind, detail: &str, now: UnixTime) -> Response<Bytes> {
    let status = match kind {
        ProblemKind::BadRequest | ProblemKind::Other => StatusCode::BAD_REQUEST,
        ProblemKind::BadSignature | ProblemKind::ClockSkew => StatusCode::UNAUTHORIZED,
        ProblemKind::NotEnrolled | ProblemKind::Blocked | ProblemKind::Removed => {
            StatusCode::FORBIDDEN
        }
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_vec(&Problem {
        kind,
        detail: Excerpt::of(detail).to_string(),
        now,
    })
    .expect("a problem has string keys only");
    respond(status, "application/problem+json", body.into())
}

/// Answers a Packcast agent while the records are unreachable.
pub(crate) fn unavailable(now: UnixTime) -> Response<Bytes> {
    problem(
        ProblemKind::Unavailable,
        "the records are unreachable: retry later",
        now,
    )
}

/// Answers an OCS agent while the records are unreachable.
pub(crate) fn ocs_unavailable() -> Response<Bytes> {
    ocs_failure(StatusCode::SERVICE_UNAVAILABLE, "retry later")
}

/// Logs that a request reached its time limit.
pub(crate) fn log_timeout(limit: Duration) {
    tracing::error!(
        retryable = true,
        "records failed: no reply within {} s",
        limit.as_secs()
    );
}

/// Logs an error of the records, once. The device only learns that it should retry.
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
