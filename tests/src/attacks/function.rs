//! The function under an attacker's control: it answers instead of the genuine function.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, client};
use hyper_util::rt::TokioIo;
use packcast_protocol::api::{BEGIN_PATH, BeginReply, CHECK_IN_PATH};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::{Failure, TestServer};
use crate::world::World;

type Answer = Box<dyn FnMut(&SeenRequest) -> Option<Response<Bytes>> + Send>;
type Edit = Box<dyn FnMut(&mut Value) + Send>;

/// A server with a certificate of the world's authority. It forwards requests to the world's edge
/// unless the attacker answers them, and lets a device begin with every package.
#[derive(Debug)]
pub struct OwnedFunction {
    server: TestServer,
    control: Arc<Mutex<Control>>,
}

/// A request to the function, as the attacker sees it.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

struct Control {
    answer: Answer,
    edit: Edit,
    requests: Vec<SeenRequest>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.requests).finish()
    }
}

/// The genuine edge, and a TLS connector that trusts it.
#[derive(Clone)]
struct GenuineEdge {
    edge: SocketAddr,
    tls: TlsConnector,
}

impl OwnedFunction {
    /// Listens in front of a world's edge; changes nothing yet.
    pub fn before(world: &World) -> Self {
        let control = Arc::new(Mutex::new(Control {
            answer: Box::new(|_| None),
            edit: Box::new(|_| {}),
            requests: Vec::new(),
        }));
        let genuine = GenuineEdge {
            edge: world.state().edge,
            tls: connector(&world.state().ca_file),
        };
        let shared = Arc::clone(&control);
        let answer = move |request| {
            let (genuine, control) = (genuine.clone(), Arc::clone(&shared));
            async move {
                let answered = answer(request, &genuine, &control).await;
                let response = answered.unwrap_or_else(|_| response(502, ""));
                response.map(Full::<Bytes>::from)
            }
        };
        let server = TestServer::start(Some(world.server_identity()), answer);
        Self { server, control }
    }

    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Edits each reply to a check-in from now on, before the device receives it.
    pub fn edit(&self, edit: impl FnMut(&mut Value) + Send + 'static) {
        lock(&self.control).edit = Box::new(edit);
    }

    /// Answers requests from now on; a request that `answer` returns `None` for is forwarded.
    pub fn answer(
        &self,
        answer: impl FnMut(&SeenRequest) -> Option<Response<Bytes>> + Send + 'static,
    ) {
        lock(&self.control).answer = Box::new(answer);
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.control).requests.clone()
    }
}

/// Returns a response.
pub fn response(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status.try_into().expect("a status of HTTP");
    response
}

/// Returns a redirect that keeps the method.
pub fn redirect(to: &str) -> Response<Bytes> {
    let mut response = response(307, "");
    let to = to.parse().expect("an address is a header value");
    response.headers_mut().insert("location", to);
    response
}

fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connector(ca_file: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).expect("the world has an authority") {
        let certificate = certificate.expect("the authority's file is complete");
        roots.add(certificate).expect("the authority is usable");
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(tls))
}

async fn answer(
    request: Request<Incoming>,
    genuine: &GenuineEdge,
    control: &Mutex<Control>,
) -> Result<Response<Bytes>, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = SeenRequest {
        path: parts.uri.to_string(),
        headers: parts.headers.clone(),
        body: body.clone(),
    };
    let own = {
        let mut control = lock(control);
        control.requests.push(asked.clone());
        (control.answer)(&asked)
    };
    if let Some(own) = own {
        return Ok(own);
    }
    // The genuine function would stop some attacks that a device has to stop by itself.
    if asked.path == BEGIN_PATH {
        return Ok(response(200, serde_json::to_vec(&BeginReply::Go)?));
    }
    let honest = pass(Request::from_parts(parts, Full::from(body)), genuine).await?;
    if asked.path == CHECK_IN_PATH && honest.status() == 200 {
        let mut reply = serde_json::from_slice(honest.body())?;
        (lock(control).edit)(&mut reply);
        return Ok(response(200, reply.to_string()));
    }
    Ok(honest)
}

async fn pass(
    request: Request<Full<Bytes>>,
    genuine: &GenuineEdge,
) -> Result<Response<Bytes>, Failure> {
    let stream = TcpStream::connect(genuine.edge).await?;
    let name = ServerName::from(genuine.edge.ip());
    let stream = genuine.tls.connect(name, stream).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
