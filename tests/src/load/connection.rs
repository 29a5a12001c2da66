//! A connection to the edge that stays open.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An open connection to the edge.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) async fn open(tls: &Arc<ClientConfig>, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the edge runs");
        stream.set_nodelay(true).expect("a socket of loopback");
        let name = "localhost".try_into().expect("a host name");
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
        let stream = TokioIo::new(stream.await.expect("the edge has a trusted certificate"));
        let (sender, driver) = handshake(stream).await.expect("the edge speaks HTTP");
        tokio::spawn(driver);
        Self { sender }
    }

    /// Sends a request; returns `None` if the connection has ended.
    pub(super) async fn send(&mut self, request: Request<Bytes>) -> Option<(StatusCode, Bytes)> {
        let mut request = request.map(Full::new);
        let host = HeaderValue::from_static("localhost");
        request.headers_mut().insert(HOST, host);
        self.sender.ready().await.ok()?;
        let response = self.sender.send_request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        Some((parts.status, body.collect().await.ok()?.to_bytes()))
    }
}
