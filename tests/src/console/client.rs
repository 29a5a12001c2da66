//! A client that is signed in at a console, without a browser.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::RunningConsole;

/// A client with the session of a console.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    /// The host of the console with its port.
    host: String,
    cookie: String,
}

/// An answer of a console.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub body: String,
}

impl Page {
    /// Returns the read units in the footer.
    pub fn stated_units(&self) -> f64 {
        let footer = self.body.split_once("Read <strong>");
        let units = footer.and_then(|(_, rest)| rest.split('<').next()?.parse().ok());
        units.unwrap_or(f64::NAN)
    }
}

impl Client {
    /// Opens the session of a console.
    pub fn sign_in(console: &RunningConsole) -> Self {
        let link = console.link.strip_prefix("http://");
        let link = link.and_then(|link| link.split_once("/sign-in#"));
        let (host, token) = link.expect("a link with a token");
        let mut client = Self {
            runtime: Runtime::new().expect("a runtime can be created"),
            host: host.to_owned(),
            cookie: String::new(),
        };
        let request = Request::post("/sign-in")
            .header(header::ORIGIN, format!("http://{host}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        let answer = client.send(request.expect("a valid request"));
        let cookie = answer.headers().get(header::SET_COOKIE);
        let cookie = cookie.and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        cookie
            .expect("the token opens the session")
            .clone_into(&mut client.cookie);
        client
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Page {
        let request = Request::get(path)
            .header(header::COOKIE, &self.cookie)
            .body(String::new());
        let answer = self.send(request.expect("a valid request"));
        Page {
            status: answer.status().as_u16(),
            body: answer.into_body(),
        }
    }

    fn send(&self, mut request: Request<String>) -> Response<String> {
        let host = self.host.parse().expect("a host");
        request.headers_mut().insert(header::HOST, host);
        self.runtime.block_on(self.exchange(request))
    }

    async fn exchange(&self, request: Request<String>) -> Response<String> {
        let (_, port) = self.host.rsplit_once(':').expect("a host with a port");
        let port: u16 = port.parse().expect("a port");
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let stream = TokioIo::new(stream.expect("the console listens"));
        let (mut sender, connection) = handshake(stream).await.expect("the console speaks HTTP");
        tokio::spawn(connection);
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let answer = sender.send_request(request).await;
        let (head, body) = answer.expect("the console answers").into_parts();
        let body = body.collect().await.expect("the answer is complete");
        let body = String::from_utf8(body.to_bytes().into()).expect("pages are UTF-8");
        Response::from_parts(head, body)
    }
}
