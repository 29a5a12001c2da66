//! Signals that ask the agent to exit, or to read its configuration again.

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

/// Returns a token that Ctrl-C cancels; on Unix also SIGTERM and the SIGHUP of a closed terminal, and
/// on Windows the service control manager.
pub(crate) fn token(hangup: Hangup) -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        stop_signal(hangup).await;
        tracing::info!("stopping after the package under way");
        cancelled.cancel();
    });
    token
}

/// Returns the requests for another look at the configuration.
pub(crate) fn hangups(hangup: Hangup) -> Hangups {
    Hangups::listen(hangup)
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

/// The requests for another look at the configuration: SIGHUP unless it stops the agent, and on
/// Windows those of the service control manager.
#[derive(Debug)]
pub(crate) struct Hangups(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangups {
    fn listen(hangup: Hangup) -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        Self(match hangup {
            Hangup::Stops => None,
            Hangup::Reloads => signal(SignalKind::hangup()).ok(),
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
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
    const fn listen(_hangup: Hangup) -> Self {
        Self()
    }

    /// Waits for the next request.
    pub(crate) async fn next(&mut self) {
        crate::platform::reload_requested().await;
    }
}
