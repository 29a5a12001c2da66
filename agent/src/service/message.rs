//! Messages on the socket of the service: one JSON object per line.
//!
//! The client sends one request. The service sends replies, the last of which ends the exchange.
//! Client and service may be of different versions, so unknown fields are ignored.

use serde::{Deserialize, Serialize};

use super::activity::Activity;
use crate::event::Event;

/// The size limit of a request, in bytes, with its line end.
pub(crate) const MAX_REQUEST_BYTES: u64 = 1024;

/// The size limit of a reply, in bytes, with its line end.
///
/// The longest reply is the event of a result, with the end of a program's output.
pub(crate) const MAX_REPLY_BYTES: u64 = 1 << 18;

/// The longest time between two replies, in seconds.
pub(crate) const SIGN_OF_LIFE_S: u64 = 20;

/// A request of a person at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Replies with [`Reply::Activity`].
    Status,
    /// Begins a round at once, or after the round under way. Replies with the events until the
    /// end of the round.
    CheckIn,
    /// Reads the configuration again.
    Reload,
}

/// A reply of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub(crate) enum Reply {
    Activity {
        activity: Activity,
    },
    /// A package is under way, so the check-in begins after its round.
    Waiting {
        activity: Activity,
    },
    Event {
        event: Event,
    },
    /// The service still works on the request.
    Alive,
    /// Last reply: the request is carried out.
    Done,
    /// Last reply: the round failed, or the service refuses the request.
    Failed {
        detail: String,
        exit_code: u8,
    },
}
