//! The client of the check-in function: three signed requests.

mod clock_skew;
mod signing_time;

use std::cell::Cell;
use std::time::Duration;

use packcast_protocol::api::{
    Admission, BEGIN_PATH, BeginReply, BeginRequest, CHECK_IN_PATH, CheckInReply, CheckInRequest,
    MAX_REPORTS, Problem, ProblemKind, REPORT_PATH, Report, ReportReply, ReportRequest, Secret,
};
use packcast_protocol::http_signature::DeviceKey;
use packcast_protocol::{AgentId, UnixTime, terminal};
use reqwest::{Client, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::clock_skew::ClockSkew;
use self::signing_time::signing_time;
use crate::config::Server;
use crate::{clock, retry};

/// The size limit of a reply, in bytes.
///
/// It has room for the largest signed state in a reply, of 2 MiB, and for all tasks.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// The usual number of tries of a request.
const TRIES: u32 = 4;

/// The time limit of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Errors from a request to the function.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach server {url}: try again later")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("server {url} is unavailable (status {status}): try again later")]
    Unavailable { url: String, status: u16 },
    #[error("server {url} refused the request (status {status}): {detail}")]
    Refused {
        url: String,
        status: u16,
        kind: ProblemKind,
        detail: String,
    },
    #[error(
        "the clock of server {url} shows {}, this device's clock {}: set the device's clock",
        function.day(), clock.day()
    )]
    Clock {
        url: String,
        function: UnixTime,
        clock: UnixTime,
    },
    #[error(
        "the reply of {url} is not from a check-in function (status {status}): check `server` in the configuration"
    )]
    Reply { url: String, status: u16 },
    #[error("cannot write the request as JSON")]
    Json(#[from] serde_json::Error),
}

impl ClientError {
    /// Returns `true` if the same request may succeed later.
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }

    pub(crate) const fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::Refused { status: 413, .. } | Self::Reply { status: 413, .. }
        )
    }

    /// Returns `true` if the function cannot read the request.
    pub(crate) const fn is_bad_request(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                kind: ProblemKind::BadRequest,
                ..
            }
        )
    }

    /// Returns `true` if an administrator has blocked or removed the device.
    pub(crate) const fn is_excluded(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                kind: ProblemKind::Blocked | ProblemKind::Removed,
                ..
            }
        )
    }

    pub(crate) const fn is_not_enrolled(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                kind: ProblemKind::NotEnrolled,
                ..
            }
        )
    }
}

/// A client that signs its requests with the device's key.
#[derive(Debug)]
pub(crate) struct ApiClient {
    http: Client,
    server: Server,
    key: DeviceKey,
    agent: AgentId,
    /// The number of tries before the function counts as unreachable.
    tries: u32,
    /// The latest answer was that the device is blocked or removed.
    excluded: Cell<bool>,
    /// The clocks, if the function has refused the latest request because of the device's clock.
    skew: Cell<Option<ClockSkew>>,
}

impl ApiClient {
    pub(crate) fn new(http: Client, server: Server, key: DeviceKey) -> Self {
        let agent = key.id();
        Self {
            http,
            server,
            key,
            agent,
            tries: TRIES,
            excluded: Cell::new(false),
            skew: Cell::new(None),
        }
    }

    /// Returns the client with another number of tries.
    pub(crate) fn with_tries(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    /// Sends the next requests with another client, to another server.
    pub(crate) fn move_to(&mut self, http: Client, server: Server) {
        self.http = http;
        self.server = server;
    }

    pub(crate) const fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Checks in. `known` is a time that has passed, for a device with a wrong clock.
    pub(crate) async fn check_in(
        &self,
        admission: &Admission,
        request: &CheckInRequest,
        known: UnixTime,
    ) -> Result<CheckInReply, ClientError> {
        self.post(CHECK_IN_PATH, admission, request, known).await
    }

    /// Reports at most [`MAX_REPORTS`] results. `known` is a time that has passed, for a device
    /// with a wrong clock.
    pub(crate) async fn report(
        &self,
        pass: Secret,
        results: Vec<Report>,
        known: UnixTime,
    ) -> Result<ReportReply, ClientError> {
        debug_assert!(results.len() <= MAX_REPORTS);
        let admission = Admission::Pass(pass);
        self.post(REPORT_PATH, &admission, &ReportRequest { results }, known)
            .await
    }

    /// Asks if the device may begin with a package. `known` is a time that has passed, for a device
    /// with a wrong clock.
    pub(crate) async fn begin(
        &self,
        pass: Secret,
        request: &BeginRequest,
        known: UnixTime,
    ) -> Result<BeginReply, ClientError> {
        let admission = Admission::Pass(pass);
        self.post(BEGIN_PATH, &admission, request, known).await
    }

    /// Returns `true` if an administrator had blocked or removed the device when the function last
    /// answered.
    pub(crate) fn is_excluded(&self) -> bool {
        self.excluded.get()
    }

    /// Returns the clocks if the function has refused the latest request because of the device's
    /// clock.
    pub(crate) fn clock_skew(&self) -> Option<ClockSkew> {
        self.skew.get()
    }

    async fn post<Reply: DeserializeOwned>(
        &self,
        path: &str,
        admission: &Admission,
        request: &impl Serialize,
        known: UnixTime,
    ) -> Result<Reply, ClientError> {
        let reply = self
            .post_with_retries(path, admission, request, known)
            .await;
        match &reply {
            Ok(_) => self.excluded.set(false),
            Err(error) if error.is_excluded() => self.excluded.set(true),
            Err(_) => {}
        }
        reply
    }

    async fn post_with_retries<Reply: DeserializeOwned>(
        &self,
        path: &str,
        admission: &Admission,
        request: &impl Serialize,
        known: UnixTime,
    ) -> Result<Reply, ClientError> {
        let body = serde_json::to_vec(request)?;
        let mut now = clock::now();
        let mut corrected = false;
        let mut failed = 0;
        loop {
            match self.post_once(path, admission, &body, now).await {
                Err(PostError::Skew { function, .. }) if !corrected => {
                    // The reply shows the function's clock, so the request is signed again with
                    // that time, once.
                    let clock = clock::now();
                    self.skew.set(Some(ClockSkew { function, clock }));
                    now = signing_time(function, clock, known).ok_or_else(|| {
                        let url = self.server.url(path).to_string();
                        ClientError::Clock {
                            url,
                            function,
                            clock,
                        }
                    })?;
                    corrected = true;
                }
                Err(PostError::Skew { error, .. }) => return Err(error),
                Err(PostError::Other(error)) => {
                    if !error.is_temporary() || failed + 1 >= self.tries {
                        return Err(error);
                    }
                    let wait = retry::wait(failed, retry::random());
                    tokio::time::sleep(wait).await;
                    failed += 1;
                    // The next signature needs the time of its own sending.
                    now = now.plus(wait.as_secs());
                }
                Ok(reply) => {
                    if !corrected {
                        self.skew.set(None);
                    }
                    return Ok(reply);
                }
            }
        }
    }

    async fn post_once<Reply: DeserializeOwned>(
        &self,
        path: &str,
        admission: &Admission,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Reply, PostError> {
        let url = self.server.url(path);
        let mut request = self
            .http
            .post(url.clone())
            .timeout(REQUEST_TIMEOUT)
            .header("content-type", "application/json");
        for (name, value) in self.key.sign("POST", path, admission, body, now) {
            request = request.header(name, value);
        }
        let unreachable = |source: reqwest::Error| ClientError::Unreachable {
            url: url.to_string(),
            source: source.without_url(),
        };
        let response = request
            .body(body.to_vec())
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let bytes = read_bounded(response).await.map_err(unreachable)?;
        let no_reply = || ClientError::Reply {
            url: url.to_string(),
            status: status.as_u16(),
        };
        let bytes = bytes.ok_or_else(no_reply)?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes).map_err(|_| no_reply().into());
        }
        Err(refusal(url.to_string(), status, &bytes))
    }
}

enum PostError {
    /// The device's clock differs from the function's clock.
    Skew {
        function: UnixTime,
        error: ClientError,
    },
    Other(ClientError),
}

impl From<ClientError> for PostError {
    fn from(error: ClientError) -> Self {
        Self::Other(error)
    }
}

fn refusal(url: String, status: StatusCode, body: &[u8]) -> PostError {
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return PostError::Other(ClientError::Unavailable {
            url,
            status: status.as_u16(),
        });
    }
    let status = status.as_u16();
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return PostError::Other(ClientError::Reply { url, status });
    };
    let error = ClientError::Refused {
        url,
        status,
        kind: problem.kind,
        // The detail comes from outside and ends up in logs, so its length is bounded.
        detail: terminal::line(&problem.detail.chars().take(500).collect::<String>()),
    };
    if problem.kind == ProblemKind::ClockSkew {
        PostError::Skew {
            function: problem.now,
            error,
        }
    } else {
        PostError::Other(error)
    }
}

/// Reads a body, or returns `None` if it is longer than [`MAX_REPLY_BYTES`].
async fn read_bounded(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_REPLY_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_short_line() {
        let problem = Problem {
            kind: ProblemKind::TooLarge,
            detail: format!("\u{1b}[2J\nerror: {}", "x".repeat(1000)),
            now: UnixTime(1),
        };
        let body = serde_json::to_vec(&problem).unwrap();
        let refusal = refusal(String::new(), StatusCode::PAYLOAD_TOO_LARGE, &body);
        let PostError::Other(ClientError::Refused { detail, .. }) = refusal else {
            panic!("the request is refused");
        };
        assert_eq!(detail, format!("\\u{{1b}}[2J\\nerror: {}", "x".repeat(488)));
    }

    #[test]
    fn messages_name_the_server() {
        let url = || "https://ocs.example/v1/check-in".to_owned();
        let errors = [
            ClientError::Unreachable {
                url: url(),
                source: reqwest::Proxy::all("http://").unwrap_err(),
            },
            ClientError::Unavailable {
                url: url(),
                status: 503,
            },
            ClientError::Refused {
                url: url(),
                status: 403,
                kind: ProblemKind::NotEnrolled,
                detail: "the pass is not valid".to_owned(),
            },
            ClientError::Clock {
                url: url(),
                function: UnixTime(4_000_000_000),
                clock: UnixTime(1_795_000_000),
            },
            ClientError::Reply {
                url: url(),
                status: 200,
            },
            ClientError::Json(serde_json::from_str::<u32>("").unwrap_err()),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot reach server https://ocs.example/v1/check-in: try again later
        server https://ocs.example/v1/check-in is unavailable (status 503): try again later
        server https://ocs.example/v1/check-in refused the request (status 403): the pass is not valid
        the clock of server https://ocs.example/v1/check-in shows 2096-10-02, this device's clock 2026-11-18: set the device's clock
        the reply of https://ocs.example/v1/check-in is not from a check-in function (status 200): check `server` in the configuration
        cannot write the request as JSON
        ");
    }
}
