//! A server on loopback with prepared answers, written as the services document them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A server that answers each request with the next answer; the last answer is repeated.
pub(crate) struct Answers {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

/// An answer: status, headers (complete lines) and body.
#[derive(Clone)]
pub(crate) struct Answer(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

impl Answers {
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&requests);
        // The thread ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                answer(&stream.unwrap(), &answers[number.min(answers.len() - 1)]);
            }
        });
        Self { address, requests }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads a whole request, answers it and closes the connection.
fn answer(mut stream: &TcpStream, Answer(status, headers, body): &Answer) {
    let mut request = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        request.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut sent = Vec::new();
    request.take(length).read_to_end(&mut sent).unwrap();
    let bytes = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Said\r\n{headers}Content-Length: {bytes}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).unwrap();
}
