//! Connections of a console: their number, times and sizes are limited.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::listen::Listeners;
use crate::routes::router;
use crate::session::Ended;

/// The number of connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// The maximum length of the head of a request in bytes, and the number of its headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// The time in which the head of a request must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that the end waits for answers under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval at which the console looks if it is still in use.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);
/// The pause of accepting after the system had no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until the session ends, or until `stop` completes.
pub(crate) async fn serve(
    listeners: Listeners,
    app: App,
    stop: impl Future<Output = ()>,
) -> Ended {
    let connections = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept = async {
        loop {
            let permit = Arc::clone(&free).acquire_owned().await;
            match listeners.accept().await {
                Ok(stream) => {
                    let connection = connections.watch(connection(stream, app.clone()));
                    tokio::spawn(async move {
                        // A connection that breaks concerns only its client.
                        let _ = connection.await;
                        drop(permit);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    let idle = async {
        loop {
            tokio::time::sleep(IDLE_INTERVAL).await;
            app.end_if_idle();
        }
    };
    let mut ended = app.ended();
    let ended = tokio::select! {
        ended = ended.wait_for(Option::is_some) => {
            ended.map_or(Ended::Stopped, |ended| ended.unwrap_or(Ended::Stopped))
        }
        () = stop => Ended::Stopped,
        () = accept => Ended::Stopped,
        () = idle => Ended::Stopped,
    };
    // Live pages end, too.
    app.end(ended);
    let _ = tokio::time::timeout(STOP_TIMEOUT, connections.shutdown()).await;
    ended
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>>;

fn connection(stream: TcpStream, app: App) -> Connection {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router(app)))
}
