//! The check-in function behind an HTTP edge, with a clock that the test sets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use packcast_check_in::{CheckInFunction, FunctionSettings};
use packcast_protocol::UnixTime;
use packcast_store::Records;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Number of functions, each with a cache of its own.
const FUNCTIONS: usize = 2;

/// A port of loopback; its connections are served by the functions in turn.
#[derive(Debug)]
pub(super) struct FleetEdge {
    pub(super) address: SocketAddr,
    pub(super) clock: Arc<Clock>,
    /// The server's tasks, which end with the edge.
    _connections: JoinSet<()>,
}

/// The clock of the functions and of all devices.
#[derive(Debug)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl FleetEdge {
    pub(super) async fn start(
        records: &Records,
        settings: &FunctionSettings,
        now: UnixTime,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let clock = Arc::new(Clock(AtomicU64::new(now.0)));
        let function = |_| Arc::new(CheckInFunction::new(records.clone(), settings.clone()));
        let functions: Vec<Arc<CheckInFunction>> = (0..FUNCTIONS).map(function).collect();
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, functions, Arc::clone(&clock)));
        Self {
            address,
            clock,
            _connections: connections,
        }
    }
}

async fn accept(listener: TcpListener, functions: Vec<Arc<CheckInFunction>>, clock: Arc<Clock>) {
    let mut connections = JoinSet::new();
    for function in functions.iter().cycle() {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        connections.spawn(connection(stream, Arc::clone(function), Arc::clone(&clock)));
    }
}

async fn connection(stream: TcpStream, function: Arc<CheckInFunction>, clock: Arc<Clock>) {
    let service = service_fn(move |request| {
        let (function, clock) = (Arc::clone(&function), Arc::clone(&clock));
        async move { Ok::<_, Infallible>(answer(request, &function, &clock).await) }
    });
    // Errors of a client that disconnects do not matter.
    let _ = stream.set_nodelay(true);
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    function: &CheckInFunction,
    clock: &Clock,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let request = Request::from_parts(parts, body.to_bytes());
    function.handle(request, clock.now()).await.map(Full::new)
}
