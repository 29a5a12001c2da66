//! Notifications to the service manager, in the form of `sd_notify(3)`.

use std::cell::RefCell;
use std::time::Duration;

use crate::platform::NotifySocket;

/// The service manager that has started the agent, if it asks for notifications.
///
/// Errors are logged only: the agent works without notifications.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<NotifySocket>,
    heartbeat: Option<Duration>,
    /// The latest status line.
    status: RefCell<String>,
}

impl ServiceManager {
    /// Reads the variables `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(crate) fn of_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.and_then(|address| match NotifySocket::connect(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(?address, %error, "cannot notify the service manager");
                None
            }
        });
        let read = |name| std::env::var(name).ok();
        let (limit, process) = (read("WATCHDOG_USEC"), read("WATCHDOG_PID"));
        let heartbeat = heartbeat(limit.as_deref(), process.as_deref(), std::process::id());
        Self {
            heartbeat: heartbeat.filter(|_| socket.is_some()),
            socket,
            status: RefCell::default(),
        }
    }

    /// Returns `true` if a service manager waits for notifications.
    pub(crate) const fn is_present(&self) -> bool {
        self.socket.is_some()
    }

    /// Returns the time between two signs of life; `None` if the service manager expects none.
    pub(crate) const fn heartbeat(&self) -> Option<Duration> {
        self.heartbeat
    }

    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    pub(crate) fn reloading(&self) {
        self.send("RELOADING=1");
    }

    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// Sends the status line, if it has changed.
    pub(crate) fn status(&self, line: &str) {
        let line = packcast_protocol::terminal::line(line);
        if *self.status.borrow() != line {
            self.send(&format!("STATUS={line}"));
            self.status.replace(line);
        }
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, message, "cannot notify the service manager");
        }
    }
}

/// Returns half of the limit after which the service manager ends a silent agent.
///
/// `process` is the process that the limit is for, if it is not for each.
fn heartbeat(limit_us: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    let limit: u64 = limit_us?.parse().ok()?;
    let is_for_another = process.is_some_and(|process| process.parse() != Ok(own));
    (limit > 1 && !is_for_another).then(|| Duration::from_micros(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_sent_twice_within_the_limit_of_the_own_process() {
        let check = |limit, process, expected: Option<u64>| {
            let found = heartbeat(limit, process, 7);
            assert_eq!(
                found,
                expected.map(Duration::from_micros),
                "{limit:?} {process:?}"
            );
        };
        check(Some("30000000"), None, Some(15_000_000));
        check(Some("30000000"), Some("7"), Some(15_000_000));
        check(Some("30000000"), Some("8"), None);
        check(Some("30000000"), Some("x"), None);
        check(Some("0"), None, None);
        check(Some("-1"), None, None);
        check(None, Some("7"), None);
    }
}
