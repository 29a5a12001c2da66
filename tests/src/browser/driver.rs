//! The protocol of `chromedriver` (the W3C's `WebDriver`): JSON over HTTP on loopback.
//!
//! The client is part of the tests. fantoccini would bring a second ICU, and thirtyfour would change
//! the order of JSON maps in the whole workspace, because its features are those of all crates.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::process::{PATIENCE, Process, text};
use crate::world::clean;

/// The last line of the start of chromedriver, before its port.
const STARTED: &str = "was started successfully on port ";

/// A running chromedriver with one session.
#[derive(Debug)]
pub(super) struct Driver {
    runtime: Runtime,
    /// Dropped after the session has ended, so that no browser is left.
    process: Process,
    port: u16,
    session: String,
}

impl Driver {
    /// Starts a browser with a profile in this folder. Its pages run scripts only if `scripts` is true.
    pub(super) fn start(folder: &Path, scripts: bool) -> Self {
        // Chromium unpacks its extensions there.
        let temporary = std::fs::create_dir_all(folder.join("tmp"));
        temporary.expect("the folder is writable");
        let mut command = clean(Path::new("chromedriver"), folder);
        let mut process = Process::start(listening(&mut command));
        let stdout = process.stdout().expect("the output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once(STARTED)?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut driver = Self {
            runtime: Runtime::new().expect("a runtime can be started"),
            process,
            port: port.expect("chromedriver starts"),
            session: String::new(),
        };
        let capabilities = capabilities(&folder.join("profile"), scripts);
        let session = driver.ask(&Method::POST, "/session", Some(&capabilities));
        let session = session.expect("a browser can be started");
        let id = session["sessionId"].as_str().expect("a session has an id");
        driver.session = format!("/session/{id}");
        driver
    }

    /// Sends a command with a body to the session.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let path = format!("{}{path}", self.session);
        self.ask(&Method::POST, &path, Some(body))
    }

    /// Sends a question to the session.
    pub(super) fn get(&self, path: &str) -> Result<Value, String> {
        let path = format!("{}{path}", self.session);
        self.ask(&Method::GET, &path, None)
    }

    /// Sends a command of the protocol of the developer tools.
    pub(super) fn tools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        let answer = self.post("/goog/cdp/execute", &body);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (is_ok, mut answer) = self.runtime.block_on(self.exchange(method, path, body));
        let value = answer["value"].take();
        if is_ok {
            return Ok(value);
        }
        let words = ["error", "message"].map(|key| value[key].as_str().unwrap_or_default());
        Err(words.join(": "))
    }

    async fn exchange(&self, method: &Method, path: &str, body: String) -> (bool, Value) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        let stream = TokioIo::new(stream.expect("chromedriver listens"));
        let (mut sender, connection) = handshake(stream).await.expect("chromedriver speaks HTTP");
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)));
        let answer = sender.send_request(request.expect("a valid request")).await;
        let answer = answer.expect("chromedriver answers");
        let is_ok = answer.status().is_success();
        let body = answer.into_body().collect().await;
        let body = body.expect("the answer is complete").to_bytes();
        (is_ok, serde_json::from_slice(&body).expect("JSON"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.session.is_empty() {
            return;
        }
        // The browser has processes of its own, which chromedriver ends. A test that fails may have
        // lost chromedriver already.
        if self.process.ended().is_none() {
            let ended = TcpStream::connect(("127.0.0.1", self.port));
            if self.runtime.block_on(ended).is_ok() {
                let _ = self.ask(&Method::DELETE, &self.session, None);
            }
        }
    }
}

fn listening(command: &mut Command) -> &mut Command {
    command
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
}

/// Returns the wishes for a session: Chromium without a window, and without a sandbox for root.
fn capabilities(profile: &Path, scripts: bool) -> Value {
    let profile = format!("--user-data-dir={}", text(profile));
    let mut arguments = vec![
        "--headless=new",
        // A small /dev/shm, as in containers, does not hold the memory of pages.
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--lang=en-US",
        &profile,
    ];
    if rustix::process::geteuid().is_root() {
        arguments.push("--no-sandbox");
    }
    let allowed = if scripts { 1 } else { 2 };
    json!({ "capabilities": { "alwaysMatch": {
        // A busy machine needs more than the 30 seconds that scripts have by default.
        "timeouts": { "script": PATIENCE.as_secs() * 1_000 },
        "goog:chromeOptions": {
            "args": arguments,
            "prefs": { "profile.managed_default_content_settings.javascript": allowed },
        },
    } } })
}
