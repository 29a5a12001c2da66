//! The check-in function as the agent sees it: two signed requests.

use std::time::Duration;

use packcast_protocol::api::{
    CHECK_IN_PATH, CheckInReply, CheckInRequest, MAX_REPORTS, Problem, ProblemKind, REPORT_PATH,
    ReportReply, ReportRequest, Secret,
};
use packcast_protocol::http_signature::DeviceKey;
use packcast_protocol::{AgentId, UnixTime};
use reqwest::{Client, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Server;
use crate::{clock, retry};

/// The largest reply that is read, in bytes: the assignments of more groups than a function
/// can send at once.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// How often a request is sent before the function counts as unreachable.
const TRIES: u32 = 4;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Why the function did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("server {url} cannot be reached, try again later")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("server {url} cannot answer now (status {status}), try again later")]
    Unavailable { url: String, status: u16 },
    #[error("server {url} refused the request (status {status}): {detail}")]
    Refused {
        url: String,
        status: u16,
        kind: ProblemKind,
        detail: String,
    },
    #[error(
        "server {url} gave a reply that is no reply of the check-in function (status {status}): check the server in the configuration"
    )]
    Reply { url: String, status: u16 },
    #[error("the request cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }

    pub(crate) const fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::Refused { status: 413, .. } | Self::Reply { status: 413, .. }
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

/// A signed way to the function.
#[derive(Debug)]
pub(crate) struct ApiClient {
    http: Client,
    server: Server,
    key: DeviceKey,
    agent: AgentId,
}

impl ApiClient {
    pub(crate) fn new(http: Client, server: Server, key: DeviceKey) -> Self {
        let agent = key.id();
        Self {
            http,
            server,
            key,
            agent,
        }
    }

    pub(crate) const fn agent(&self) -> &AgentId {
        &self.agent
    }

    pub(crate) async fn check_in(
        &self,
        request: &CheckInRequest,
    ) -> Result<CheckInReply, ClientError> {
        self.post(CHECK_IN_PATH, request).await
    }

    /// Reports results, at most [`MAX_REPORTS`].
    pub(crate) async fn report(
        &self,
        pass: Secret,
        results: Vec<packcast_protocol::api::Report>,
    ) -> Result<ReportReply, ClientError> {
        debug_assert!(results.len() <= MAX_REPORTS);
        self.post(REPORT_PATH, &ReportRequest { pass, results })
            .await
    }

    async fn post<Reply: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<Reply, ClientError> {
        let body = serde_json::to_vec(request)?;
        let mut now = clock::now();
        let mut corrected = false;
        let mut failed = 0;
        loop {
            match self.post_once(path, &body, now).await {
                Err(PostError::Skew { now: theirs, .. }) if !corrected => {
                    now = theirs;
                    corrected = true;
                }
                Err(PostError::Skew { error, .. }) => return Err(error),
                Err(PostError::Other(error)) => {
                    if !error.is_temporary() || failed + 1 == TRIES {
                        return Err(error);
                    }
                    let wait = retry::wait(failed, retry::random());
                    tokio::time::sleep(wait).await;
                    failed += 1;
                    now = now.plus(wait.as_secs());
                }
                Ok(reply) => return Ok(reply),
            }
        }
    }

    async fn post_once<Reply: DeserializeOwned>(
        &self,
        path: &str,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Reply, PostError> {
        let url = self.server.url(path);
        let mut request = self
            .http
            .post(url.clone())
            .timeout(REQUEST_TIMEOUT)
            .header("content-type", "application/json");
        for (name, value) in self.key.sign("POST", path, body, now) {
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
    /// The device's clock is wrong; the function's is `now`.
    Skew {
        now: UnixTime,
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
        detail: problem.detail.chars().take(500).collect(),
    };
    if problem.kind == ProblemKind::ClockSkew {
        PostError::Skew {
            now: problem.now,
            error,
        }
    } else {
        PostError::Other(error)
    }
}

/// Reads a body; none if it is too long.
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
