//! A client that sends requests as a browser does, or as no browser would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A client of one console.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    /// The host of the console with its port.
    pub(crate) host: String,
    /// The value of the cookie, if the client has one.
    pub(crate) cookie: Option<String>,
}

impl Browser {
    /// Creates a client of a console with this address.
    pub(crate) fn of(origin: &str) -> Self {
        let host = origin.strip_prefix("http://").expect("consoles speak HTTP");
        let (_, port) = host.split_once(':').expect("the address has a port");
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port"))),
            host: host.to_owned(),
            cookie: None,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    /// Sends bytes, and returns the answer until the end of the connection.
    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the console listens");
        // A server that refuses a request early may close its end before it has read all of it.
        let _ = stream.write_all(request).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Answer::of(&bytes)
    }

    /// Sends a request with these headers besides the host and the cookie.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut lines = vec![
            format!("{method} {path} HTTP/1.1"),
            format!("host: {}", self.host),
        ];
        if let Some(cookie) = &self.cookie {
            lines.push(format!("cookie: packcast-console={cookie}"));
        }
        lines.extend(
            headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        if !body.is_empty() {
            lines.push("content-type: application/x-www-form-urlencoded".to_owned());
            lines.push(format!("content-length: {}", body.len()));
        }
        lines.push("connection: close".to_owned());
        let request = format!("{}\r\n\r\n{body}", lines.join("\r\n"));
        self.send(request.as_bytes()).await
    }

    /// Sends a body of any kind. `length` is the length in the head, which may be wrong.
    pub(crate) async fn ask_with_body(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        length: usize,
    ) -> Answer {
        let mut lines = vec![
            format!("{method} {path} HTTP/1.1"),
            format!("host: {}", self.host),
        ];
        let cookie = self.cookie.iter();
        lines.extend(cookie.map(|it| format!("cookie: packcast-console={it}")));
        let headers = headers.iter();
        lines.extend(headers.map(|(name, value)| format!("{name}: {value}")));
        lines.push(format!(
            "content-length: {length}\r\nconnection: close\r\n\r\n"
        ));
        let head = lines.join("\r\n");
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the console listens");
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        if !body.is_empty() && body.len() < length {
            // The client goes away in the middle of its body.
            let _ = stream.shutdown().await;
        }
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Answer::of(&bytes)
    }

    /// Reads the events of a live page until a text comes, or until their end.
    pub(crate) async fn read_until(&self, path: &str, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the console listens");
        let cookie = self.cookie.as_deref().unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: packcast-console={cookie}\r\n\r\n",
            self.host
        );
        let sent = stream.write_all(request.as_bytes()).await;
        sent.expect("the console reads requests");
        let (mut bytes, mut part) = (Vec::new(), [0; 4_096]);
        loop {
            let length = stream.read(&mut part).await.unwrap_or(0);
            bytes.extend_from_slice(&part[..length]);
            let read = String::from_utf8_lossy(&bytes).into_owned();
            if length == 0 || read.contains(text) {
                return read;
            }
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Sends a form from a page of the console.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        let origin = self.origin();
        self.ask("POST", path, &[("origin", &origin)], form).await
    }

    /// Goes from the form of a change to its effect.
    pub(crate) async fn plan(&self, change: &str, fields: &str) -> Answer {
        let token = self.get("/changes").await.form_token();
        let form = format!("form={token}&step=plan&{fields}");
        self.post(&format!("/change/{change}"), &form).await
    }

    /// Sends the form of an effect, with the fields that it had, and returns the answer.
    pub(crate) async fn confirm(&self, change: &str, fields: &str, effect: &Answer) -> Answer {
        let form = effect.confirmation(fields);
        self.post(&format!("/change/{change}"), &form).await
    }

    /// Makes a change from its form to its result.
    pub(crate) async fn make(&self, change: &str, fields: &str) -> (Answer, Answer) {
        let effect = self.plan(change, fields).await;
        assert_eq!(effect.status, 200, "{change} {fields}: {effect:?}");
        let made = self.confirm(change, fields, &effect).await;
        assert_eq!(made.status, 303, "{change} {fields}: {made:?}");
        let place = made.header("location").expect("a result");
        (effect, self.result(place).await)
    }

    /// Returns the page of a change after its end.
    pub(crate) async fn result(&self, path: &str) -> Answer {
        let page = self.get(path).await;
        if !page.body.contains("The change is being made") {
            return page;
        }
        let events = format!("{path}/live");
        self.read_until(&events, "event: reload").await;
        self.get(path).await
    }

    /// Opens the session with a token.
    pub(crate) async fn sign_in(&mut self, token: &str) -> Answer {
        let answer = self.post("/sign-in", &format!("token={token}")).await;
        self.cookie = answer.cookie().or(self.cookie.take());
        answer
    }
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(header, _)| header.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }

    /// Returns the value of the cookie that the answer sets.
    pub(crate) fn cookie(&self) -> Option<String> {
        let (name, value) = self.header("set-cookie")?.split_once('=')?;
        assert_eq!(name, "packcast-console");
        value.split(';').next().map(ToOwned::to_owned)
    }

    /// Returns the token in the forms of the page.
    pub(crate) fn form_token(&self) -> String {
        let (_, rest) = self
            .body
            .split_once("name=\"form\" value=\"")
            .expect("the page has a form");
        rest.split('"').next().expect("a value ends").to_owned()
    }

    /// Returns the form that confirms the effect on this page, with the fields of the change.
    pub(crate) fn confirmation(&self, fields: &str) -> String {
        let (_, rest) = self
            .body
            .split_once("name=\"ticket\" value=\"")
            .expect("the page has a ticket");
        let ticket = rest.split('"').next().expect("a value ends");
        let form = self.form_token();
        format!("form={form}&step=perform&ticket={ticket}&{fields}")
    }

    /// Returns the read units in the footer.
    pub(crate) fn units(&self) -> f64 {
        let (_, rest) = self
            .body
            .split_once("Read <strong>")
            .expect("the page has a footer");
        rest.split('<')
            .next()
            .expect("a number ends")
            .parse()
            .expect("a number")
    }
}
