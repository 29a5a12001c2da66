//! Answers to requests, from the objects or the check-in handler, with a line in the access log.

use std::time::Duration;

use http::header::USER_AGENT;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use packcast_check_in::StateCounts;

use super::access_log::{AccessLog, LogLine};
use super::objects::PublishedObjects;
use super::response::{Body, full, plain};
use crate::check_ins::CheckIns;
use crate::clock;

/// The limit of Lambda, which the edge applies as well.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;
/// Time in which a client has to send its whole body.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// The parts of the edge that answer a request.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) objects: PublishedObjects,
    pub(super) check_ins: CheckIns,
    pub(super) log: AccessLog,
}

impl Answering {
    /// Answers a request, which is logged before the first byte of the answer is sent.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (at_ms, method) = (clock::now_ms(), request.method().clone());
        let path = request.uri().path().to_owned();
        let agent = request.headers().get(USER_AGENT).cloned();
        let response = self.route(request, &path).await;
        self.log.write(&LogLine::new(
            at_ms,
            &method,
            &self.shown(&method, &path),
            response.status(),
            response
                .body()
                .size_hint()
                .exact()
                .or_else(|| length(&response))
                .unwrap_or(0),
            agent.as_ref(),
        ));
        response
    }

    async fn route(&self, request: Request<Incoming>, path: &str) -> Response<Body> {
        if is_read(request.method()) && self.objects.owns(path) {
            return self.objects.answer(request.method(), path).await;
        }
        let (parts, body) = request.into_parts();
        match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await
        {
            Ok(Ok(body)) => {
                let request = Request::from_parts(parts, body.to_bytes());
                let now = clock::now();
                let check_in = self.check_ins.function();
                let response = check_in.handle(request, now).await;
                if let Some(refused) = check_in.take_refusals(now) {
                    tracing::info!("{refused}");
                }
                let counts = check_in.take_state_counts(now);
                if let Some(counts) = counts.filter(StateCounts::is_problem) {
                    tracing::warn!("{counts}");
                }
                if let Some(counts) = check_in.take_rollout_counts(now) {
                    tracing::warn!("{counts}");
                }
                response.map(full)
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request's body is larger than 6 MiB",
            ),
            Ok(Err(_)) => plain(StatusCode::BAD_REQUEST, "the request's body ended early"),
            Err(_) => plain(
                StatusCode::REQUEST_TIMEOUT,
                "the request's body took too long",
            ),
        }
    }

    /// Returns the path for the log, without the parts that may contain a token.
    fn shown<'a>(&self, method: &Method, path: &'a str) -> std::borrow::Cow<'a, str> {
        use packcast_protocol::api::{BEGIN_PATH, CHECK_IN_PATH, REPORT_PATH};
        let object = is_read(method) && self.objects.owns(path);
        if object || [CHECK_IN_PATH, REPORT_PATH, BEGIN_PATH].contains(&path) {
            return path.into();
        }
        if path.starts_with("/ocsinventory/") {
            "/ocsinventory/…".into()
        } else {
            "/…".into()
        }
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn length(response: &Response<Body>) -> Option<u64> {
    let length = response.headers().get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
