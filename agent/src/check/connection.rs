//! The way to the server: proxy, name resolution, TCP, TLS, and the clock.

use std::time::Duration;

use packcast_https::{Route, TransportError, proxy_for};
use packcast_protocol::api::{CHECK_IN_PATH, Problem};
use packcast_protocol::http_signature::MAX_SKEW_S;
use packcast_protocol::{UnixTime, with_causes};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use crate::client::ClockSkew;
use crate::config::Config;
use crate::run::Connections;

/// The time limit of each check.
const PATIENCE: Duration = Duration::from_secs(30);

/// The size limit of the answer, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 16;

/// A server that has answered.
#[derive(Debug)]
pub(super) struct Reached {
    /// The result of the check that the server is a check-in function.
    pub(super) server: Result<String, String>,
    /// The time of the function's clock, if a function has answered.
    pub(super) time: Option<UnixTime>,
}

/// Returns the proxy of requests to the server.
pub(super) fn proxy(config: &Config) -> Option<String> {
    match config.server.route() {
        Route::Loopback => None,
        Route::Proxies => proxy_for(config.server.url(CHECK_IN_PATH).as_str()),
    }
}

/// Resolves the name of the server.
pub(super) async fn resolve(config: &Config) -> Result<String, String> {
    let url = config.server.url(CHECK_IN_PATH);
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let remedy = "correct `server` in the configuration, or the DNS servers of this machine";
    let bare = host.trim_matches(['[', ']']);
    let found = match timeout(PATIENCE, tokio::net::lookup_host((bare, port))).await {
        Ok(Ok(found)) => found.count(),
        Ok(Err(error)) => return Err(format!("cannot resolve {host}: {error}: {remedy}")),
        Err(_) => return Err(format!("cannot resolve {host} in time: {remedy}")),
    };
    match found {
        0 => Err(format!("{host} has no address: {remedy}")),
        count => Ok(format!("addresses of {host}: {count}")),
    }
}

/// Sends a request without a signature, to which a check-in function answers with a problem.
pub(super) async fn reach(config: &Config) -> Result<Reached, String> {
    let connections = Connections::new(config).map_err(|error| with_causes(&error))?;
    let url = config.server.url(CHECK_IN_PATH);
    let request = connections
        .api()
        .post(url.clone())
        .timeout(PATIENCE)
        .header("content-type", "application/json")
        .body("{}");
    let response = request.send().await.map_err(|error| {
        let cause = TransportError::of(&error);
        format!(
            "{cause}{}",
            remedy(&cause, url.host_str().unwrap_or_default())
        )
    })?;
    let status = response.status();
    let problem = problem(response).await;
    Ok(Reached {
        server: judge(status, problem.is_some()),
        time: problem.map(|problem| problem.now),
    })
}

async fn problem(mut response: Response) -> Option<Problem> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

/// Judges the answer to a request without a signature.
fn judge(status: StatusCode, is_problem: bool) -> Result<String, String> {
    if is_problem && status.is_client_error() {
        Ok("a check-in function answers".to_owned())
    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(format!(
            "the server is unavailable (status {}): try again later",
            status.as_u16()
        ))
    } else {
        Err(format!(
            "the answer is not from a check-in function (status {}): check `server` in the configuration",
            status.as_u16()
        ))
    }
}

/// Compares the device's clock with the server's.
pub(super) fn compare_clocks(function: UnixTime, clock: UnixTime) -> Result<String, String> {
    let skew = ClockSkew { function, clock };
    if function.0.abs_diff(clock.0) > MAX_SKEW_S {
        return Err(format!("{skew}: set the device's clock"));
    }
    Ok(skew.to_string())
}

/// Returns the next step after an error of the connection, after a colon.
fn remedy(cause: &TransportError, host: &str) -> String {
    match cause {
        TransportError::Name(_) => {
            ": correct `server` in the configuration, or the DNS servers of this machine".to_owned()
        }
        TransportError::Refused
        | TransportError::Unreachable(_)
        | TransportError::ConnectTimeout
        | TransportError::Timeout
        | TransportError::Lost(_) => format!(
            ": let this machine reach {host} by HTTPS, or set HTTPS_PROXY in the environment of the agent"
        ),
        // The messages of TLS contain the remedy.
        TransportError::Tls(_) | TransportError::Redirect(_) | TransportError::Other(_) => {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_as_much_as_a_signature() {
        let server = UnixTime(1_795_000_000);
        let results =
            [0, 300, 301, 200_000].map(|ahead| compare_clocks(server, server.plus(ahead)));
        assert_eq!(
            results.each_ref().map(Result::is_ok),
            [true, true, false, false]
        );
        let lines = results.map(|result| result.unwrap_or_else(|problem| problem));
        insta::assert_snapshot!(lines.join("\n"), @"
        this device's clock differs by 0 s from the server's
        this device's clock differs by 300 s from the server's
        this device's clock differs by 301 s from the server's: set the device's clock
        this device's clock shows 2026-11-20, the server's 2026-11-18: set the device's clock
        ");
    }

    #[test]
    fn only_a_check_in_function_passes() {
        let answers = [
            (400, true),
            (401, true),
            (404, false),
            (200, true),
            (503, true),
            (429, true),
        ];
        let results = answers.map(|(status, is_problem)| {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(status, is_problem);
            format!("{status}: {judged:?}")
        });
        insta::assert_snapshot!(results.join("\n"), @r#"
        400 Bad Request: Ok("a check-in function answers")
        401 Unauthorized: Ok("a check-in function answers")
        404 Not Found: Err("the answer is not from a check-in function (status 404): check `server` in the configuration")
        200 OK: Err("the answer is not from a check-in function (status 200): check `server` in the configuration")
        503 Service Unavailable: Err("the server is unavailable (status 503): try again later")
        429 Too Many Requests: Ok("a check-in function answers")
        "#);
    }

    #[test]
    fn errors_of_the_connection_name_the_next_step() {
        let detail = || "detail".to_owned();
        let causes = [
            TransportError::Name(detail()),
            TransportError::Refused,
            TransportError::Unreachable(detail()),
            TransportError::ConnectTimeout,
            TransportError::Timeout,
            TransportError::Lost(detail()),
            TransportError::Other(detail()),
        ];
        let lines = causes.map(|cause| format!("{cause}{}", remedy(&cause, "ocs.example")));
        insta::assert_snapshot!(lines.join("\n"), @"
        DNS: cannot resolve the name: detail: correct `server` in the configuration, or the DNS servers of this machine
        connection refused: let this machine reach ocs.example by HTTPS, or set HTTPS_PROXY in the environment of the agent
        unreachable: detail: let this machine reach ocs.example by HTTPS, or set HTTPS_PROXY in the environment of the agent
        timed out while connecting: let this machine reach ocs.example by HTTPS, or set HTTPS_PROXY in the environment of the agent
        timed out while waiting for data: let this machine reach ocs.example by HTTPS, or set HTTPS_PROXY in the environment of the agent
        connection lost: detail: let this machine reach ocs.example by HTTPS, or set HTTPS_PROXY in the environment of the agent
        detail
        ");
    }
}
