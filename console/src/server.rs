//! Connections of a console: their number, times and sizes are limited.

use std::pin::Pin;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

use crate::app::App;
use crate::connections::{Connections, OpenConnection};
use crate::listen::Listeners;
use crate::routes::router;
use crate::session::Ended;

/// The maximum length of the head of a request in bytes, and the number of its headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// The time in which the head of a request must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that a client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that the end waits for answers under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The time that the end waits for changes under way.
const CHANGES_TIMEOUT: Duration = Duration::from_mins(10);
/// The interval at which the console looks if it is still in use.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);
/// The pause of accepting after the system had no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until the session ends, or until `stop` completes.
pub(crate) async fn serve(listeners: Listeners, app: App, stop: impl Future<Output = ()>) -> Ended {
    let connections = GracefulShutdown::new();
    let places = Connections::default();
    let accept = async {
        loop {
            match listeners.accept().await {
                Ok(stream) => {
                    let (open, closed) = places.open();
                    let connection = connection(stream, app.clone(), open.clone());
                    let connection = connections.watch(connection);
                    tokio::spawn(async move {
                        tokio::select! {
                            // A connection that breaks concerns only its client.
                            _ = connection => {}
                            _ = closed => {}
                        }
                        drop(open);
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
    let _ = tokio::time::timeout(CHANGES_TIMEOUT, app.complete_changes()).await;
    for warning in app.ledger().late_warnings() {
        app.target().warnings.push(warning);
    }
    app.key().lock();
    let _ = tokio::time::timeout(STOP_TIMEOUT, connections.shutdown()).await;
    app.wizards().clear();
    ended
}

type Stream = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;
type Connection = http1::Connection<Stream, TowerToHyperService<axum::Router>>;

fn connection(stream: TcpStream, app: App, open: OpenConnection) -> Connection {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let router = router(app).layer(Extension(open));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(
            TokioIo::new(Box::pin(stream)),
            TowerToHyperService::new(router),
        )
}
