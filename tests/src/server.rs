//! An HTTP server on loopback, whose answers a test defines.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use packcast_local::ServerIdentity;
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Any error. It ends the connection, or is answered with 502.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A port of loopback that is served until it is dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    _runtime: Runtime,
    address: SocketAddr,
}

impl TestServer {
    /// Starts a server that calls `answer` for each request, over TLS if there is an identity.
    pub(crate) fn start<A, F, B>(identity: Option<ServerIdentity>, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
    {
        let runtime = Runtime::new().expect("a runtime can be created");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        runtime.spawn(serve(listener, identity.map(acceptor), answer));
        Self {
            _runtime: runtime,
            address,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn acceptor(identity: ServerIdentity) -> TlsAcceptor {
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(vec![identity.certificate], identity.key)
        })
        .expect("a new certificate can be used");
    TlsAcceptor::from(Arc::new(tls))
}

async fn serve<A, F, B>(listener: TcpListener, tls: Option<TlsAcceptor>, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Failure>,
{
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answer) = (tls.clone(), answer.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, answer).await;
                    }
                }
            }
        });
    }
}

async fn connection<A, F, B>(stream: impl AsyncRead + AsyncWrite + Unpin, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Failure>,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // A client may close its connection at any time.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
