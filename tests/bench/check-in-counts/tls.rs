//! TLS alone: a server with the settings of the edge, and a client, without a socket.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use packcast_local::LocalAuthority;
use packcast_local::edge::tls_settings;
use packcast_protocol::UnixTime;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::callgrind::{CallgrindCounts, Valgrind, counted_work};

/// Number of counted connections or requests, whose mean is printed.
const REPEATS: usize = 20;

/// Sizes of a request and its reply, with their headers: a PROLOG, and ten packages.
const REQUEST_BYTES: usize = 500;
const REPLY_BYTES: usize = 800;

/// Work of the server for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPart {
    /// A new connection of an unknown client.
    Handshake,
    /// A new connection of a client with a ticket.
    Resumption,
    /// A request and its reply over an open connection.
    Request,
}

impl TlsPart {
    pub(crate) const ALL: [Self; 3] = [Self::Handshake, Self::Resumption, Self::Request];

    const fn word(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Resumption => "resumption",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for TlsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "new connection",
            Self::Resumption => "new connection with a ticket",
            Self::Request => "request and reply",
        })
    }
}

/// Counts the parts.
pub(crate) fn count(valgrind: &Valgrind<'_>, parts: &[TlsPart]) -> Vec<(TlsPart, CallgrindCounts)> {
    let count = |part: &TlsPart| {
        let word = part.word();
        let words: [OsString; 2] = ["--measure".into(), word.into()];
        let (counts, _) = valgrind.count(&format!("tls-{word}"), &words);
        (*part, counts.of_each(REPEATS))
    };
    parts.iter().map(count).collect()
}

/// The work of the process that valgrind runs.
pub(crate) fn measure(word: &str) -> io::Result<()> {
    let part = TlsPart::ALL.into_iter().find(|part| part.word() == word);
    let part = part.ok_or_else(|| io::Error::other(format!("no part of TLS: {word}")))?;
    let parties = Parties::new(part)?;
    match part {
        TlsPart::Handshake => {
            for _ in 0..REPEATS {
                parties.connect(true)?;
            }
        }
        TlsPart::Resumption => {
            parties.connect(false)?;
            for _ in 0..REPEATS {
                let connection = parties.connect(true)?;
                let kind = connection.server.handshake_kind();
                assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
            }
        }
        TlsPart::Request => {
            let mut connection = parties.connect(false)?;
            for number in 0..2 * REPEATS {
                // The first half is not counted.
                connection.request(number >= REPEATS)?;
            }
        }
    }
    Ok(())
}

/// The settings of both sides.
struct Parties {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Parties {
    fn new(part: TlsPart) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        // The client checks the certificate at the present time.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = UnixTime(now.map_err(io::Error::other)?.as_secs());
        let authority = LocalAuthority::load_or_create(folder.path(), now);
        let authority = authority.map_err(io::Error::other)?;
        let identity = authority.issue_server_identity(now);
        let server = tls_settings(identity.map_err(io::Error::other)?);
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(authority.ca_pem_path());
        let added = roots.add(certificate.map_err(io::Error::other)?);
        added.map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        if part != TlsPart::Resumption {
            client.resumption = Resumption::disabled();
        }
        Ok(Self {
            server: Arc::new(server.map_err(io::Error::other)?),
            client: Arc::new(client),
        })
    }

    /// Opens a connection, and counts the work of its server.
    fn connect(&self, is_counted: bool) -> io::Result<Connection> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(&self.client), name);
        let mut server = None;
        counted_if(is_counted, &mut || {
            server = Some(ServerConnection::new(Arc::clone(&self.server)));
        });
        let server = server.expect("the server was created above");
        let mut connection = Connection {
            client: client.map_err(io::Error::other)?,
            server: server.map_err(io::Error::other)?,
        };
        connection.exchange(is_counted, b"")?;
        assert!(!connection.server.is_handshaking());
        Ok(connection)
    }
}

/// Both ends of a connection.
struct Connection {
    client: ClientConnection,
    server: ServerConnection,
}

impl Connection {
    fn request(&mut self, is_counted: bool) -> io::Result<()> {
        self.client.writer().write_all(&[b'q'; REQUEST_BYTES])?;
        self.exchange(is_counted, &[b'r'; REPLY_BYTES])?;
        let mut reply = [0; REPLY_BYTES];
        self.client.reader().read_exact(&mut reply)
    }

    /// Passes bytes between both ends until neither has more. The server answers a request with the
    /// reply.
    fn exchange(&mut self, is_counted: bool, reply: &[u8]) -> io::Result<()> {
        while self.client.wants_write() {
            let (mut sent, mut answer) = (Vec::new(), Vec::new());
            while self.client.wants_write() {
                self.client.write_tls(&mut sent)?;
            }
            let server = &mut self.server;
            let mut result = Ok(());
            counted_if(is_counted, &mut || {
                result = serve(server, &sent, reply, &mut answer);
            });
            result?;
            let mut answer = &answer[..];
            while !answer.is_empty() {
                self.client.read_tls(&mut answer)?;
                let processed = self.client.process_new_packets();
                processed.map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

/// The work of the server: it reads bytes, and answers a request.
fn serve(
    server: &mut ServerConnection,
    mut sent: &[u8],
    reply: &[u8],
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    while !sent.is_empty() {
        server.read_tls(&mut sent)?;
        server.process_new_packets().map_err(io::Error::other)?;
    }
    let mut request = [0; REQUEST_BYTES];
    match server.reader().read(&mut request) {
        Ok(0) => {}
        Ok(_) => server.writer().write_all(reply)?,
        // No request has come yet.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    while server.wants_write() {
        server.write_tls(answer)?;
    }
    Ok(())
}

fn counted_if(is_counted: bool, work: &mut dyn FnMut()) {
    if is_counted {
        counted_work(work);
    } else {
        work();
    }
}
