//! A proxy in front of an engine of objects, which records every request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, client};
use hyper_util::rt::TokioIo;
use packcast_local::ServerIdentity;
use packcast_testing::meter::Usage;
use packcast_testing::policy::{Policy, PolicyRequest};
use tokio::net::TcpStream;

use crate::server::{Failure, TestServer};

type Body = http_body_util::Either<Incoming, Full<Bytes>>;

/// A port of loopback that forwards requests to an engine, until it is dropped.
///
/// The engine is that of the objects or, with [`Front::under`] and [`Front::metered`], that of the
/// records.
#[derive(Debug)]
pub struct Front {
    server: TestServer,
    seen: Arc<Mutex<FrontLog>>,
}

/// A request and the status of its answer; `None` until it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub method: String,
    /// The path, with the query if there is one.
    pub path: String,
    pub status: Option<u16>,
}

/// The write at which a front begins to hold all requests, so that a test can kill their process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub write: HeldWrite,
    /// True if the engine still performs this write. The client gets no answer in any case.
    pub is_performed: bool,
}

/// One of the writes to a table from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldWrite {
    /// The number of the write, counted from 1.
    Number(usize),
    FirstTransaction,
}

/// The requests that a front holds.
#[derive(Clone, Copy, Debug, Default)]
enum Holding {
    #[default]
    Nothing,
    From(Hold),
    /// The engine performs the last write.
    AfterLastWrite,
    Everything,
}

#[derive(Debug, Default)]
struct FrontLog {
    requests: Vec<Passed>,
    to_refuse: usize,
    refusal: FrontRefusal,
    holding: Holding,
    usage: Usage,
}

/// The way of a front to its engine.
#[derive(Clone, Debug)]
struct Way {
    engine: SocketAddr,
    policy: Option<Policy>,
    /// Note the capacity that each answer names.
    is_metered: bool,
}

impl Way {
    const fn to(engine: SocketAddr) -> Self {
        Self {
            engine,
            policy: None,
            is_metered: false,
        }
    }
}

/// The treatment of one request.
#[derive(Clone, Debug)]
enum Treatment {
    Forward,
    ForwardWithoutAnswer,
    Hold,
    Refuse(FrontRefusal),
}

/// The answer to a request that is not forwarded.
#[derive(Clone, Debug)]
struct FrontRefusal {
    status: u16,
    body: Bytes,
}

impl Default for FrontRefusal {
    /// Returns the answer of S3 to too many requests.
    fn default() -> Self {
        let slow_down = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        Self {
            status: 503,
            body: Bytes::from_static(slow_down.as_bytes()),
        }
    }
}

impl Front {
    /// Starts a proxy without TLS. `engine` is an address such as `127.0.0.1:4566`.
    pub fn http(engine: SocketAddr) -> Self {
        Self::start(Way::to(engine), None)
    }

    /// Starts a proxy without TLS that refuses the requests that a policy forbids, as AWS does.
    pub fn under(policy: Policy, engine: SocketAddr) -> Self {
        let policy = Some(policy);
        Self::start(
            Way {
                policy,
                ..Way::to(engine)
            },
            None,
        )
    }

    /// Starts a proxy without TLS that notes the capacity which each request consumes.
    pub fn metered(engine: SocketAddr) -> Self {
        let is_metered = true;
        Self::start(
            Way {
                is_metered,
                ..Way::to(engine)
            },
            None,
        )
    }

    /// Starts a proxy with TLS, as a location has.
    pub fn https(engine: SocketAddr, identity: ServerIdentity) -> Self {
        Self::start(Way::to(engine), Some(identity))
    }

    fn start(way: Way, identity: Option<ServerIdentity>) -> Self {
        let seen = Arc::new(Mutex::new(FrontLog::default()));
        let noted = Arc::clone(&seen);
        let answer = move |request| answer(request, way.clone(), Arc::clone(&noted));
        let server = TestServer::start(identity, answer);
        Self { server, seen }
    }

    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns all requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Passed> {
        lock(&self.seen).requests.clone()
    }

    /// Returns the usage since the last call. Only a metered front notes it.
    pub fn take_usage(&self) -> Usage {
        std::mem::take(&mut lock(&self.seen).usage)
    }

    /// Answers the next requests with 503, as S3 does after too many requests.
    pub fn refuse(&self, requests: usize) {
        lock(&self.seen).to_refuse = requests;
    }

    /// Answers the next requests with this status and body.
    pub fn refuse_with(&self, requests: usize, status: u16, body: impl Into<Bytes>) {
        let body = body.into();
        let mut seen = lock(&self.seen);
        seen.refusal = FrontRefusal { status, body };
        seen.to_refuse = requests;
    }

    /// Holds all requests from this write to the table on.
    pub fn hold(&self, from: Hold) {
        lock(&self.seen).holding = Holding::From(from);
    }

    /// Returns true if the front holds all requests, and the engine has performed the last write.
    pub fn is_holding(&self) -> bool {
        matches!(lock(&self.seen).holding, Holding::Everything)
    }

    /// Forwards requests again. Held requests stay without an answer.
    pub fn release(&self) {
        lock(&self.seen).holding = Holding::Nothing;
    }
}

impl Holding {
    /// Decides on the next request.
    fn next(&mut self, request: &Request<Incoming>) -> Treatment {
        let Self::From(hold) = self else {
            return match self {
                Self::Nothing => Treatment::Forward,
                _ => Treatment::Hold,
            };
        };
        let operation = operation(request);
        let is_held = match &mut hold.write {
            HeldWrite::FirstTransaction => operation == "TransactWriteItems",
            HeldWrite::Number(left) => {
                *left -= usize::from(is_write(operation));
                *left == 0
            }
        };
        if !is_held {
            Treatment::Forward
        } else if hold.is_performed {
            *self = Self::AfterLastWrite;
            Treatment::ForwardWithoutAnswer
        } else {
            *self = Self::Everything;
            Treatment::Hold
        }
    }
}

/// Returns the operation on a table that a request performs; empty for other requests.
fn operation(request: &Request<Incoming>) -> &str {
    let target = request.headers().get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next());
    operation.unwrap_or_default()
}

/// Returns true if an operation writes to a table.
fn is_write(operation: &str) -> bool {
    operation.contains("Write") || ["PutItem", "UpdateItem", "DeleteItem"].contains(&operation)
}

fn lock(seen: &Mutex<FrontLog>) -> MutexGuard<'_, FrontLog> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: Request<Incoming>,
    way: Way,
    seen: Arc<Mutex<FrontLog>>,
) -> Response<Body> {
    let (number, treatment) = note(&request, &seen);
    let has_answer = !matches!(treatment, Treatment::ForwardWithoutAnswer);
    let noted = Arc::clone(&seen);
    // A task of its own records the answer even if the client disconnects.
    let answering = tokio::spawn(async move {
        let answered = match treatment {
            Treatment::Hold => std::future::pending().await,
            Treatment::Refuse(refusal) => refuse(request, refusal).await,
            Treatment::Forward | Treatment::ForwardWithoutAnswer if way.is_metered => {
                pass_metered(request, way, &noted).await
            }
            Treatment::Forward | Treatment::ForwardWithoutAnswer => pass(request, way).await,
        };
        let response = answered.unwrap_or_else(|_| response(502, ""));
        lock(&noted).requests[number].status = Some(response.status().as_u16());
        response
    });
    let response = answering.await;
    if has_answer {
        return response.unwrap_or_else(|_| self::response(502, ""));
    }
    lock(&seen).holding = Holding::Everything;
    std::future::pending().await
}

/// Records a request; returns its number and its treatment.
fn note(request: &Request<Incoming>, seen: &Mutex<FrontLog>) -> (usize, Treatment) {
    let mut seen = lock(seen);
    seen.requests.push(Passed {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        status: None,
    });
    let treatment = if seen.to_refuse > 0 {
        seen.to_refuse -= 1;
        Treatment::Refuse(seen.refusal.clone())
    } else {
        seen.holding.next(request)
    };
    (seen.requests.len() - 1, treatment)
}

async fn pass_metered(
    request: Request<Incoming>,
    way: Way,
    seen: &Mutex<FrontLog>,
) -> Result<Response<Body>, Failure> {
    let operation = operation(&request).to_owned();
    let (head, body) = pass(request, way).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    lock(seen).usage.note(operation, &body);
    Ok(Response::from_parts(head, Body::Right(Full::from(body))))
}

async fn pass(request: Request<Incoming>, way: Way) -> Result<Response<Body>, Failure> {
    let request = match way.policy {
        None => request.map(Body::Left),
        Some(policy) => {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            if let Some((status, refusal)) = policy.refusal(&policy_request(&head, &body)) {
                return Ok(response(status, refusal));
            }
            Request::from_parts(head, Body::Right(Full::from(body)))
        }
    };
    let stream = TcpStream::connect(way.engine).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.map(Body::Left))
}

fn policy_request<'a>(head: &'a Parts, body: &'a [u8]) -> PolicyRequest<'a> {
    let header = |name| head.headers.get(name)?.to_str().ok();
    PolicyRequest {
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("", PathAndQuery::as_str),
        target: header("x-amz-target"),
        if_none_match: header("if-none-match"),
        body,
    }
}

async fn refuse(
    request: Request<Incoming>,
    refusal: FrontRefusal,
) -> Result<Response<Body>, Failure> {
    request.into_body().collect().await?;
    Ok(response(refusal.status, refusal.body))
}

fn response(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Right(Full::from(body.into())));
    *response.status_mut() = status.try_into().expect("a status of HTTP");
    response
}
