//! What stands between an engine of objects and those who ask it, and sees every request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use packcast_local::ServerIdentity;
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

type Body = http_body_util::Either<Incoming, Full<Bytes>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A port of loopback that passes requests on to an engine, until it is dropped.
#[derive(Debug)]
pub struct Front {
    _runtime: Runtime,
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// A request, and how it was answered: `None` as long as it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub method: String,
    /// With the query, if there is one.
    pub path: String,
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Passed>,
    to_refuse: usize,
    refusal: Refusal,
}

/// What a request is answered instead of being passed on.
#[derive(Clone, Debug)]
struct Refusal {
    status: u16,
    body: Bytes,
}

impl Default for Refusal {
    /// What S3 says that is asked too much.
    fn default() -> Self {
        let slow_down = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        Self {
            status: 503,
            body: Bytes::from_static(slow_down.as_bytes()),
        }
    }
}

impl Front {
    /// Listens without TLS. `engine` is an address such as `127.0.0.1:4566`.
    pub fn http(engine: SocketAddr) -> Self {
        Self::start(engine, None)
    }

    /// Listens with TLS, as a location does.
    pub fn https(engine: SocketAddr, identity: ServerIdentity) -> Self {
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(vec![identity.certificate], identity.key)
            })
            .expect("a new certificate can be used");
        Self::start(engine, Some(TlsAcceptor::from(Arc::new(tls))))
    }

    fn start(engine: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let runtime = Runtime::new().expect("a runtime can be made");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        runtime.spawn(serve(listener, tls, engine, Arc::clone(&seen)));
        Self {
            _runtime: runtime,
            address,
            seen,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Passed> {
        lock(&self.seen).requests.clone()
    }

    /// Answers the next requests with 503, as S3 does that is asked too much.
    pub fn refuse(&self, requests: usize) {
        lock(&self.seen).to_refuse = requests;
    }

    /// Answers the next requests with this.
    pub fn refuse_with(&self, requests: usize, status: u16, body: impl Into<Bytes>) {
        let body = body.into();
        let mut seen = lock(&self.seen);
        seen.refusal = Refusal { status, body };
        seen.to_refuse = requests;
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    engine: SocketAddr,
    seen: Arc<Mutex<Seen>>,
) {
    // Whatever goes wrong with a connection ends that connection.
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match tls {
                None => connection(stream, engine, seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, engine, seen).await;
                    }
                }
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    engine: SocketAddr,
    seen: Arc<Mutex<Seen>>,
) {
    let service = service_fn(move |request| {
        let answer = answer(request, engine, Arc::clone(&seen));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let _ = server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    engine: SocketAddr,
    seen: Arc<Mutex<Seen>>,
) -> Response<Body> {
    let (number, refusal) = note(&request, &seen);
    // A task of its own, which ends and is noted even if nobody waits for the answer any more.
    let answering = tokio::spawn(async move {
        let answered = match refusal {
            Some(refusal) => refuse(request, refusal).await,
            None => pass(request, engine).await,
        };
        let response = answered.unwrap_or_else(|_| said(502, ""));
        lock(&seen).requests[number].status = Some(response.status().as_u16());
        response
    });
    answering.await.unwrap_or_else(|_| said(502, ""))
}

/// Writes a request down; returns its number, and the answer to one that is refused.
fn note(request: &Request<Incoming>, seen: &Mutex<Seen>) -> (usize, Option<Refusal>) {
    let mut seen = lock(seen);
    seen.requests.push(Passed {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        status: None,
    });
    let refusal = (seen.to_refuse > 0).then(|| seen.refusal.clone());
    seen.to_refuse = seen.to_refuse.saturating_sub(1);
    (seen.requests.len() - 1, refusal)
}

async fn pass(request: Request<Incoming>, engine: SocketAddr) -> Result<Response<Body>, Failure> {
    let stream = TcpStream::connect(engine).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.map(Body::Left))
}

async fn refuse(request: Request<Incoming>, refusal: Refusal) -> Result<Response<Body>, Failure> {
    request.into_body().collect().await?;
    Ok(said(refusal.status, refusal.body))
}

fn said(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Right(Full::from(body.into())));
    *response.status_mut() = status.try_into().expect("a status of HTTP");
    response
}
