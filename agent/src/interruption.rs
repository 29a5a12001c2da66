//! What went wrong between the agent and a location, as those who look after either tell it
//! apart.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;

use packcast_protocol::with_causes;

/// Why there was no answer, or not the whole of one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Interruption {
    #[error("DNS: its name has no address: {0}")]
    Name(String),
    #[error("connection refused")]
    Refused,
    #[error("no way there: {0}")]
    NoWay(String),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("no answer in time")]
    Timeout,
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("redirect not followed: {0}")]
    Redirect(String),
    #[error("connection broken off: {0}")]
    BrokenOff(String),
    #[error("{0}")]
    Other(String),
}

impl Interruption {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let last = || causes(error).last().unwrap_or(error).to_string();
        if let Some(tls) = causes(error).find_map(<dyn Error>::downcast_ref) {
            return Self::Tls(rustls::Error::clone(tls));
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
            Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => Self::NoWay(last()),
            Some(
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof,
            ) => Self::BrokenOff(last()),
            _ => Self::Other(with_causes(error)),
        }
    }
}

/// Returns an error and what it was caused by.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(
        Some(error as &(dyn Error + 'static)),
        |error: &&(dyn Error + 'static)| {
            let error: &(dyn Error + 'static) = *error;
            // The source of an I/O error is what the error within it was caused by.
            match error.downcast_ref().and_then(io::Error::get_ref) {
                Some(within) => Some(within),
                None => error.source(),
            }
        },
    )
}
