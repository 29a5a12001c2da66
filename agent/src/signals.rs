//! Signals that ask the agent to exit.

use tokio_util::sync::CancellationToken;

/// Returns a token that Ctrl-C cancels and, on Unix, SIGTERM.
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

    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    let interrupt = tokio::signal::ctrl_c();
    select(pin!(term.recv()), pin!(interrupt)).await;
}

#[cfg(not(unix))]
async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
