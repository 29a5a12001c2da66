//! Signals that ask the agent to exit.

use tokio_util::sync::CancellationToken;

/// Returns a token that Ctrl-C cancels and, on Unix, SIGTERM and SIGHUP.
///
/// SIGHUP comes when the terminal or the session of the agent ends. Without a handler it would kill
/// the agent while a program runs.
pub(crate) fn token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        stop_signal().await;
        tracing::info!("stopping after the package under way");
        cancelled.cancel();
    });
    token
}

#[cfg(unix)]
async fn stop_signal() {
    use std::pin::pin;

    use futures_util::future::select;
    use tokio::signal::unix::{SignalKind, signal};

    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut term), Ok(mut hangup)) = signals else {
        return std::future::pending().await;
    };
    let (term, hangup) = (pin!(term.recv()), pin!(hangup.recv()));
    let interrupt = pin!(tokio::signal::ctrl_c());
    select(select(term, hangup), interrupt).await;
}

#[cfg(not(unix))]
async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
