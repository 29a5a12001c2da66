//! Notifications to the service manager, in the form of `sd_notify(3)`.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::platform::{self, NotifySocket};

/// The shortest time between two status lines. Each fragment of a package changes the line.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// The pause before a message that the service manager had no room for is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The number of times that a message is sent again.
const RETRIES: u32 = 20;

/// The service manager that has started the agent, if it asks for notifications.
///
/// Errors are logged only: the agent works without notifications.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<NotifySocket>,
    heartbeat: Option<Duration>,
    status: RefCell<SentStatus>,
}

impl ServiceManager {
    /// Reads the variables `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. On Windows, asks if the
    /// service control manager has started this process.
    pub(crate) fn of_environment() -> Self {
        let socket =
            platform::notify_address().and_then(|address| match NotifySocket::connect(&address) {
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

    pub(crate) async fn ready(&self) {
        self.send("READY=1").await;
    }

    pub(crate) async fn reloading(&self) {
        self.send("RELOADING=1").await;
    }

    pub(crate) async fn stopping(&self) {
        self.send("STOPPING=1").await;
    }

    pub(crate) async fn alive(&self) {
        self.send("WATCHDOG=1").await;
    }

    /// Sends the status line, if it has changed. Returns the time to call this again, if a line has
    /// to be sent later.
    pub(crate) fn status(&self, line: &str, now: Instant) -> Option<Instant> {
        let line = packcast_protocol::terminal::line(line);
        let mut status = self.status.borrow_mut();
        match status.due(&line, now) {
            StatusDue::Never => None,
            StatusDue::At(time) => Some(time),
            StatusDue::Now => {
                let sent = self.try_send(&format!("STATUS={line}"));
                status.tried = Some(now);
                if is_full(&sent) {
                    return Some(now + STATUS_PAUSE);
                }
                status.line = line;
                None
            }
        }
    }

    /// Sends a message that the service manager needs. Tries again while there is no room for it.
    async fn send(&self, message: &str) {
        for _ in 0..RETRIES {
            if !is_full(&self.try_send(message)) {
                return;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn try_send(&self, message: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        socket.send(message.as_bytes()).inspect_err(|error| {
            tracing::debug!(%error, message, "cannot notify the service manager");
        })
    }
}

fn is_full(sent: &io::Result<()>) -> bool {
    matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// The latest status line.
#[derive(Debug, Default)]
struct SentStatus {
    line: String,
    /// The time of the latest attempt to send a line.
    tried: Option<Instant>,
}

/// The time to send a status line.
#[derive(Debug, PartialEq, Eq)]
enum StatusDue {
    Never,
    Now,
    At(Instant),
}

impl SentStatus {
    fn due(&self, line: &str, now: Instant) -> StatusDue {
        if self.line == line {
            return StatusDue::Never;
        }
        match self.tried.map(|tried| tried + STATUS_PAUSE) {
            Some(next) if next > now => StatusDue::At(next),
            _ => StatusDue::Now,
        }
    }
}

/// Returns half of the limit after which the service manager ends a silent agent.
///
/// `process` is the process with this limit. `None` if the limit is for every process.
fn heartbeat(limit_us: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    let limit: u64 = limit_us?.parse().ok()?;
    let is_for_another = process.is_some_and(|process| process.parse() != Ok(own));
    (limit > 1 && !is_for_another).then(|| Duration::from_micros(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_status_is_sent_at_most_once_a_second() {
        let now = Instant::now();
        let mut status = SentStatus::default();
        assert_eq!(status.due("one", now), StatusDue::Now);
        status.line = "one".to_owned();
        status.tried = Some(now);
        let after = |ms| now + Duration::from_millis(ms);
        assert_eq!(status.due("one", after(5_000)), StatusDue::Never);
        assert_eq!(status.due("two", now), StatusDue::At(after(1_000)));
        assert_eq!(status.due("three", after(999)), StatusDue::At(after(1_000)));
        assert_eq!(status.due("three", after(1_000)), StatusDue::Now);
    }

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
