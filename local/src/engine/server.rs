//! The engine on a port of loopback, for the commands of administrators.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use packcast_store::records::TableService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The limit of DynamoDB.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Pause of accepting after the system had no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves requests until `stopped`; then returns when those under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    service: Arc<dyn TableService>,
    mut stopped: oneshot::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // A dropped sender means stop as well.
            _ = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&service), graceful.watcher()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection to the records: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Serves one client. Errors of a client end its own connection only.
async fn connection(stream: TcpStream, service: Arc<dyn TableService>, watcher: Watcher) {
    // The head of an answer must not wait for the acknowledgement of earlier packets.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot set TCP_NODELAY on a connection: {error}");
    }
    let service = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(answer(request, &*service).await) }
    });
    // No time limit: the pooled connections of commands stay open while they are idle.
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("connection to the records ended early: {error}");
    }
}

async fn answer(request: Request<Incoming>, service: &dyn TableService) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return respond(StatusCode::NOT_FOUND, String::new());
    }
    let target = request.headers().get("x-amz-target").cloned();
    let target = target.as_ref().and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix("DynamoDB_20120810."));
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let Ok(body) = body.await else {
        return respond(StatusCode::PAYLOAD_TOO_LARGE, String::new());
    };
    // The engine answers an unknown operation with an error.
    let answer = service.perform(operation.unwrap_or_default(), &body.to_bytes());
    let status = StatusCode::from_u16(answer.status);
    respond(
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        answer.body,
    )
}

fn respond(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
