//! Errors of the connection to a location, in words for an administrator.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;

use packcast_protocol::with_causes;

use crate::tls_failure::TlsFailure;

/// The reason why a location sent no answer, or only a part of it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransportError {
    #[error("DNS: cannot resolve the name: {0}")]
    Name(String),
    #[error("connection refused")]
    Refused,
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("timed out while connecting")]
    ConnectTimeout,
    #[error("timed out while waiting for data")]
    Timeout,
    #[error("TLS: {0}")]
    Tls(TlsFailure),
    #[error("redirect not followed: {0}")]
    Redirect(String),
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("{0}")]
    Other(String),
}

impl TransportError {
    /// Returns the reason for the error of a request.
    pub fn of(error: &reqwest::Error) -> Self {
        let last = || causes(error).last().unwrap_or(error).to_string();
        if let Some(tls) = causes(error).find_map(<dyn Error>::downcast_ref) {
            return Self::Tls(TlsFailure::of(tls));
        }
        if error.is_dns() {
            return Self::Name(last());
        }
        if error.is_timeout() {
            return if error.is_connect() {
                Self::ConnectTimeout
            } else {
                Self::Timeout
            };
        }
        if error.is_redirect() {
            return Self::Redirect(last());
        }
        let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
        match io.map(io::Error::kind) {
            Some(ErrorKind::ConnectionRefused) => Self::Refused,
            Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                Self::Unreachable(last())
            }
            Some(
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof,
            ) => Self::Lost(last()),
            _ => Self::Other(with_causes(error)),
        }
    }
}

/// Returns an error, followed by its causes.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(
        Some(error as &(dyn Error + 'static)),
        |error: &&(dyn Error + 'static)| {
            let error: &(dyn Error + 'static) = *error;
            // `io::Error::source` skips the wrapped error itself, which may be the error that the
            // caller looks for.
            match error.downcast_ref().and_then(io::Error::get_ref) {
                Some(within) => Some(within),
                None => error.source(),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_part_that_failed() {
        let detail = || "detail".to_owned();
        let errors = [
            TransportError::Name(detail()),
            TransportError::Refused,
            TransportError::Unreachable(detail()),
            TransportError::ConnectTimeout,
            TransportError::Timeout,
            TransportError::Tls(TlsFailure::Expired),
            TransportError::Redirect(detail()),
            TransportError::Lost(detail()),
            TransportError::Other(detail()),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        DNS: cannot resolve the name: detail
        connection refused
        unreachable: detail
        timed out while connecting
        timed out while waiting for data
        TLS: the server's certificate has expired: renew it, or correct the clock of this machine
        redirect not followed: detail
        connection lost: detail
        detail
        ");
    }
}
