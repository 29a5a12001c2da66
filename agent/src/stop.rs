//! The wish to end the agent, or one deployment: heard between steps, and while it waits or
//! downloads.

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::sync::watch;

/// Whether something was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

/// Asks for the end.
#[derive(Debug)]
pub(crate) struct Ask(watch::Sender<bool>);

impl Ask {
    pub(crate) fn to_end(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Makes one that is asked for by whoever holds the other half.
    pub(crate) fn new() -> (Ask, Self) {
        let (sender, receiver) = watch::channel(false);
        (Ask(sender), Self(receiver))
    }

    /// Follows Ctrl-C and, on Unix, SIGTERM.
    pub(crate) fn on_signals() -> Self {
        let (ask, stop) = Self::new();
        tokio::spawn(async move {
            asked_to_end().await;
            tracing::info!("asked to end: finishing what is being acted on");
            ask.to_end();
        });
        stop
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for `work`, which is dropped unfinished, with no result, if the end is asked for.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut receiver = self.0.clone();
        let asked = async move {
            if receiver.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        match select(pin!(asked), pin!(work)).await {
            Either::Left(_) => None,
            Either::Right((value, _)) => Some(value),
        }
    }
}

#[cfg(unix)]
async fn asked_to_end() {
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
