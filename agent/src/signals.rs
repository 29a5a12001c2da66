//! Signals that ask the agent to exit, or to read its configuration again.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The effect of SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// The agent stops, because its terminal or session has ended.
    ///
    /// Without a handler the signal would kill the agent while a program runs.
    Stops,
    /// The agent reads its configuration again.
    Reloads,
}

/// The requests to a running agent, whoever sends them: signals, a service manager, or the starter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controls {
    /// Cancelled when the agent has to stop.
    pub(crate) stop: CancellationToken,
    /// Notified when the agent has to read its configuration again.
    pub(crate) reload: Arc<Notify>,
}

impl Controls {
    /// Listens for Ctrl-C; on Unix also for SIGTERM and SIGHUP, and on Windows for the service control
    /// manager.
    pub(crate) fn of_signals(hangup: Hangup) -> Self {
        let controls = Self::default();
        let stop = controls.stop.clone();
        tokio::spawn(async move {
            stop_signal(hangup).await;
            tracing::info!("stopping after the package under way");
            stop.cancel();
        });
        if hangup == Hangup::Reloads {
            let reload = Arc::clone(&controls.reload);
            tokio::spawn(async move {
                let mut hangups = Hangups::listen();
                loop {
                    hangups.next().await;
                    reload.notify_one();
                }
            });
        }
        controls
    }
}

#[cfg(unix)]
async fn stop_signal(hangup: Hangup) {
    use std::pin::pin;

    use futures_util::future::select;
    use tokio::signal::unix::{SignalKind, signal};

    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut term), Ok(mut closed)) = signals else {
        return std::future::pending().await;
    };
    let closed = async {
        match hangup {
            Hangup::Stops => closed.recv().await,
            Hangup::Reloads => std::future::pending().await,
        }
    };
    let (term, closed) = (pin!(term.recv()), pin!(closed));
    let interrupt = pin!(tokio::signal::ctrl_c());
    select(select(term, closed), interrupt).await;
}

#[cfg(windows)]
async fn stop_signal(_hangup: Hangup) {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = crate::platform::stop_requested() => {}
    }
}

/// The requests for another look at the configuration: SIGHUP, and on Windows those of the service
/// control manager.
#[derive(Debug)]
struct Hangups(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangups {
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self(signal(SignalKind::hangup()).ok())
    }

    /// Waits for the next signal.
    async fn next(&mut self) {
        let received = match &mut self.0 {
            Some(signals) => signals.recv().await,
            None => None,
        };
        if received.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(windows)]
impl Hangups {
    const fn listen() -> Self {
        Self()
    }

    /// Waits for the next request.
    async fn next(&mut self) {
        crate::platform::reload_requested().await;
    }
}
