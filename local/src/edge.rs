//! The HTTPS edge: published objects and the check-in handler on one loopback port.

mod access_log;
mod answer;
mod objects;
mod response;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use packcast_protocol::ObjectPath;
use rustls::crypto::ring;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use self::access_log::AccessLog;
use self::answer::Answering;
use self::objects::PublishedObjects;
use crate::authority::ServerIdentity;
use crate::check_ins::CheckIns;

/// Number of connections that are served at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
const MAX_STREAMS: u32 = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval at which an HTTP/2 client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Time that a stop waits for answers under way, before it aborts them.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause of accepting after the system had no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A reserved port of 127.0.0.1, on which nothing answers yet.
#[derive(Debug)]
pub struct EdgePort {
    listener: TcpListener,
    address: SocketAddr,
}

/// Objects and files of an edge.
#[derive(Debug)]
pub struct EdgeOptions {
    /// The directory that published objects are written to.
    pub objects: PathBuf,
    /// The prefix of all object paths.
    pub prefix: ObjectPath,
    /// The access log (mode 0600), which gets a JSON line for each request.
    pub log: PathBuf,
}

/// A running edge.
///
/// Dropping the edge stops it as well, but does not wait for answers under way.
#[derive(Debug)]
pub struct Edge {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// Errors from starting an edge.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    #[error("cannot listen on 127.0.0.1:{port}: choose another port, or stop what uses it")]
    Listen { port: u16, source: io::Error },
    #[error("cannot open the access log {}", path.display())]
    Log { path: PathBuf, source: io::Error },
    #[error("cannot use the certificate of the edge")]
    Tls(#[from] rustls::Error),
}

impl EdgePort {
    /// Takes the given port, or a free one if it is 0.
    pub async fn bind(port: u16) -> Result<Self, EdgeError> {
        let listen = |source| EdgeError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Edge {
    /// Serves objects and check-ins over HTTP/1.1 and HTTP/2 until the edge is stopped.
    pub fn start(
        port: EdgePort,
        identity: ServerIdentity,
        options: EdgeOptions,
        check_ins: CheckIns,
    ) -> Result<Self, EdgeError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls_settings(identity)?));
        let log = AccessLog::open(&options.log).map_err(|source| EdgeError::Log {
            path: options.log,
            source,
        })?;
        let answering = Arc::new(Answering {
            objects: PublishedObjects {
                root: options.objects,
                prefix: options.prefix,
            },
            check_ins,
            log,
        });
        let (shutdown, stopped) = oneshot::channel();
        let address = port.address;
        let server = tokio::spawn(serve(port.listener, acceptor, answering, stopped));
        Ok(Self {
            address,
            shutdown,
            server,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting connections, and returns when all answers are sent, after 5 s at most.
    pub async fn stop(self) {
        // Sending fails only if the server has ended by itself.
        let _ = self.shutdown.send(());
        if let Err(error) = self.server.await {
            tracing::error!("the edge failed before it was stopped: {error}");
        }
    }
}

/// Returns the TLS settings of an edge.
pub fn tls_settings(identity: ServerIdentity) -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    answering: Arc<Answering>,
    mut stopped: oneshot::Receiver<()>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // A dropped sender means stop as well.
            _ = &mut stopped => break,
            accepted = accept(&listener, &room) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (stream, permit) = accepted;
        let (acceptor, answering) = (acceptor.clone(), Arc::clone(&answering));
        let watcher = graceful.watcher();
        connections.spawn(async move {
            connection(stream, acceptor, answering, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    // Connections that are still open end when the set is dropped.
    let _ = tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await;
}

/// Waits until there is room for a connection, then for the connection.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // The head of an answer must not wait for the acknowledgement of earlier packets.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("cannot set TCP_NODELAY on a connection: {error}");
                }
                return (stream, permit);
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one client. Errors of a client end its own connection only.
async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    answering: Arc<Answering>,
    watcher: Watcher,
) {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("TLS handshake failed: {error}"),
        Err(_) => return tracing::debug!("TLS handshake timed out"),
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let answering = Arc::clone(&answering);
        let answer: BoxFuture<'static, _> =
            Box::pin(
                async move { Ok::<_, std::convert::Infallible>(answering.answer(request).await) },
            );
        answer
    });
    let server = http_server(http2);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("connection ended early: {error}");
    }
}

/// Returns the server for the HTTP version that the TLS handshake has negotiated.
///
/// The version is set, because a client could stall a server that detects it.
fn http_server(http2: bool) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_message() {
        let errors = [
            EdgeError::Listen {
                port: 8443,
                source: io::ErrorKind::AddrInUse.into(),
            },
            EdgeError::Log {
                path: PathBuf::from("state/edge.log"),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            EdgeError::Tls(rustls::Error::NoCertificatesPresented),
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        cannot listen on 127.0.0.1:8443: choose another port, or stop what uses it
        cannot open the access log state/edge.log
        cannot use the certificate of the edge
        ");
    }
}
