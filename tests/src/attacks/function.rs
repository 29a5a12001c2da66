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
use packcast_protocol::api::CHECK_IN_PATH;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::{Failure, Server};
use crate::world::World;

type Answer = Box<dyn FnMut(&Asked) -> Option<Response<Bytes>> + Send>;
type Edit = Box<dyn FnMut(&mut Value) + Send>;

/// A server with a certificate of the world's authority. It forwards requests to the world's edge
/// unless the attacker answers them.
#[derive(Debug)]
pub struct OwnedFunction {
    server: Server,
    mind: Arc<Mutex<Mind>>,
}

/// A request to the function, as the attacker sees it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

struct Mind {
    answer: Answer,
    edit: Edit,
    heard: Vec<Asked>,
}

impl fmt::Debug for Mind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.heard).finish()
    }
}

/// The genuine edge, and a TLS connector that trusts it.
#[derive(Clone)]
struct Behind {
    edge: SocketAddr,
    tls: TlsConnector,
}

impl OwnedFunction {
    /// Listens in front of a world's edge; changes nothing yet.
    pub fn before(world: &World) -> Self {
        let mind = Arc::new(Mutex::new(Mind {
            answer: Box::new(|_| None),
            edit: Box::new(|_| {}),
            heard: Vec::new(),
        }));
        let behind = Behind {
            edge: world.state().edge,
            tls: connector(&world.state().ca_file),
        };
        let shared = Arc::clone(&mind);
        let answer = move |request| {
            let (behind, mind) = (behind.clone(), Arc::clone(&shared));
            async move {
                let answered = answer(request, &behind, &mind).await;
                let response = answered.unwrap_or_else(|_| said(502, ""));
                response.map(Full::<Bytes>::from)
            }
        };
        let server = Server::start(Some(world.server_identity()), answer);
        Self { server, mind }
    }

    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Edits each reply to a check-in from now on, before the device receives it.
    pub fn edit(&self, edit: impl FnMut(&mut Value) + Send + 'static) {
        lock(&self.mind).edit = Box::new(edit);
    }

    /// Answers requests from now on; a request that `answer` returns `None` for is forwarded.
    pub fn answer(&self, answer: impl FnMut(&Asked) -> Option<Response<Bytes>> + Send + 'static) {
        lock(&self.mind).answer = Box::new(answer);
    }

    /// Returns all requests so far.
    pub fn heard(&self) -> Vec<Asked> {
        lock(&self.mind).heard.clone()
    }
}

/// Returns a response.
pub fn said(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status.try_into().expect("a status of HTTP");
    response
}

/// Returns a redirect that keeps the method.
pub fn redirect(to: &str) -> Response<Bytes> {
    let mut response = said(307, "");
    let to = to.parse().expect("an address is a header value");
    response.headers_mut().insert("location", to);
    response
}

fn lock(mind: &Mutex<Mind>) -> MutexGuard<'_, Mind> {
    mind.lock().unwrap_or_else(PoisonError::into_inner)
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
    behind: &Behind,
    mind: &Mutex<Mind>,
) -> Result<Response<Bytes>, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = Asked {
        path: parts.uri.to_string(),
        headers: parts.headers.clone(),
        body: body.clone(),
    };
    let own = {
        let mut mind = lock(mind);
        mind.heard.push(asked.clone());
        (mind.answer)(&asked)
    };
    if let Some(own) = own {
        return Ok(own);
    }
    let honest = pass(Request::from_parts(parts, Full::from(body)), behind).await?;
    if asked.path == CHECK_IN_PATH && honest.status() == 200 {
        let mut reply = serde_json::from_slice(honest.body())?;
        (lock(mind).edit)(&mut reply);
        return Ok(said(200, reply.to_string()));
    }
    Ok(honest)
}

async fn pass(request: Request<Full<Bytes>>, behind: &Behind) -> Result<Response<Bytes>, Failure> {
    let stream = TcpStream::connect(behind.edge).await?;
    let name = ServerName::from(behind.edge.ip());
    let stream = behind.tls.connect(name, stream).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
