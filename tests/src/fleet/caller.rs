//! A connection to the edge.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Number of attempts of a request that is answered with 503; real devices never give up.
const TRIES: u32 = 1_000;

#[derive(Debug)]
pub(super) struct Caller {
    connection: SendRequest<Full<Bytes>>,
    pub(super) requests: u64,
    /// Number of requests that were answered with 503.
    pub(super) refused: u64,
}

impl Caller {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the edge runs");
        stream.set_nodelay(true).expect("a socket of loopback");
        let (connection, driver) = handshake(TokioIo::new(stream))
            .await
            .expect("the edge speaks HTTP");
        tokio::spawn(driver);
        Self {
            connection,
            requests: 0,
            refused: 0,
        }
    }

    /// Sends a request until it is answered with 200, and returns the body of the answer.
    pub(super) async fn ask(&mut self, request: &Request<Bytes>) -> Bytes {
        for _ in 0..TRIES {
            self.requests += 1;
            self.connection.ready().await.expect("the edge runs");
            let response = self
                .connection
                .send_request(request.clone().map(Full::new))
                .await
                .expect("the edge answers");
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .expect("the answer is complete")
                .to_bytes();
            match parts.status {
                StatusCode::OK => return body,
                StatusCode::SERVICE_UNAVAILABLE => self.refused += 1,
                status => panic!("{status}: {}", String::from_utf8_lossy(&body)),
            }
        }
        panic!("{} was refused {TRIES} times", request.uri())
    }
}
