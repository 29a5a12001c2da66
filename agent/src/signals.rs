//! Signals that ask the agent to end.

use tokio_util::sync::CancellationToken;

/// Returns a token that is cancelled by Ctrl-C and, on Unix, by SIGTERM.
pub(crate) fn token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        asked_to_end().await;
        tracing::info!("asked to end: finishing what is being acted on");
        cancelled.cancel();
    });
    token
}

#[cfg(unix)]
async fn asked_to_end() {
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
async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
