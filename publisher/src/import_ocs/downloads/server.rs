//! The download directory of an OCS server, through the web server that serves it.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use packcast_https::{ClientSettings, Route, TlsError};
use reqwest::{Client, Response, Url};
use tokio::runtime::Runtime;

use crate::probe::{self, ProbeError};

/// The address from which the agents of an OCS server fetch packages, such as
/// `https://ocs.example.net/download`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadAddress(Url);

/// The protection of the connection to a download directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadTls {
    /// The certificate authorities that are trusted instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Somebody has decided to fetch packages of other machines over plain HTTP.
    pub accepts_plain_http: bool,
}

/// Errors from the address of a download directory.
#[derive(Debug, thiserror::Error)]
pub enum DownloadServerError {
    #[error(
        "cannot use {given:?} as the address of the download directory: expected https://HOST/PATH, such as https://ocs.example.net/download"
    )]
    Address { given: String },
    #[error(
        "cannot fetch packages from {address}: others on the network can replace packages on their way by plain HTTP, and you would sign them; use https://, pass a copy of the directory, or accept the risk with --plain-http"
    )]
    PlainHttp { address: DownloadAddress },
    #[error("cannot use {} as certificate authorities: expected a PEM file with certificates", path.display())]
    Authorities { path: PathBuf },
    #[error(transparent)]
    Client(#[from] TlsError),
    #[error("cannot begin to fetch packages: end other programs, or raise the limit of threads")]
    Runtime(#[source] io::Error),
    #[error("cannot reach the download directory: check the address in --downloads")]
    Unreachable(#[source] ProbeError),
}

/// A download directory that a web server serves.
#[derive(Clone, Debug)]
pub struct DownloadServer {
    client: Client,
    address: DownloadAddress,
    fetcher: Arc<Fetcher>,
}

/// Fetches files for threads that wait for them.
///
/// A thread can wait when the program ends, for example after Ctrl-C. In the runtime of the program,
/// which ends first, the wait would panic.
#[derive(Debug)]
struct Fetcher(Option<Runtime>);

impl FromStr for DownloadAddress {
    type Err = DownloadServerError;

    fn from_str(text: &str) -> Result<Self, DownloadServerError> {
        let url = text.parse().ok().filter(|url: &Url| {
            matches!(url.scheme(), "https" | "http")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        url.map(Self).ok_or_else(|| DownloadServerError::Address {
            // A password in the address is not repeated.
            given: text
                .rsplit('@')
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
        })
    }
}

impl fmt::Display for DownloadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl DownloadAddress {
    fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl DownloadServer {
    /// Connects to the server of a download directory.
    pub async fn connect(
        address: DownloadAddress,
        tls: &DownloadTls,
    ) -> Result<Self, DownloadServerError> {
        let is_plain = address.0.scheme() == "http";
        if is_plain && !tls.accepts_plain_http && !address.is_loopback() {
            return Err(DownloadServerError::PlainHttp { address });
        }
        let server = Self {
            client: client(&address, tls.ca_file.as_deref(), is_plain)?,
            address,
            fetcher: Arc::new(Fetcher::new().map_err(DownloadServerError::Runtime)?),
        };
        // Otherwise each package would be left out for the same reason.
        let (client, url) = (server.client.clone(), server.url(""));
        let answers = async move { probe::answers_at(&client, url).await };
        let answered = server.fetcher.runtime().spawn(answers).await;
        let answered = answered.map_err(io::Error::other);
        answered
            .map_err(DownloadServerError::Runtime)?
            .map_err(DownloadServerError::Unreachable)?;
        Ok(server)
    }

    /// Returns the address of a file in the directory.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// Begins to fetch a file of at most `limit` bytes. The caller must not be in a runtime.
    pub(super) fn open(&self, path: &str, limit: u64) -> io::Result<ServedFile> {
        let url = self.url(path);
        let get = probe::get(&self.client, &url, limit);
        let response = self.fetcher.runtime().block_on(get).map_err(io_error)?;
        Ok(ServedFile {
            response,
            url,
            part: Bytes::new(),
            fetcher: Arc::clone(&self.fetcher),
        })
    }
}

impl Fetcher {
    fn new() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(builder.worker_threads(1).enable_all().build()?)))
    }

    const fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("only drop takes it")
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // The usual end of a runtime waits, which another runtime does not allow.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn client(
    address: &DownloadAddress,
    ca_file: Option<&Path>,
    is_plain: bool,
) -> Result<Client, DownloadServerError> {
    let user_agent = concat!("packcast/", env!("CARGO_PKG_VERSION"));
    let route = if address.is_loopback() {
        Route::Loopback
    } else {
        Route::Proxies
    };
    let settings =
        ClientSettings::new(ca_file, user_agent, route).map_err(|error| match error {
            TlsError::Read { path, .. } | TlsError::Empty { path } => {
                DownloadServerError::Authorities { path }
            }
            error => error.into(),
        })?;
    Ok(if is_plain {
        settings.plain_client()?
    } else {
        settings.clients()?.objects
    })
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct ServedFile {
    response: Response,
    url: String,
    part: Bytes,
    fetcher: Arc<Fetcher>,
}

impl Read for ServedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            let next = probe::chunk(&mut self.response, &self.url);
            match self.fetcher.runtime().block_on(next).map_err(io_error)? {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
        let length = self.part.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.part.split_to(length));
        Ok(length)
    }
}

fn io_error(error: ProbeError) -> io::Error {
    let kind = match error {
        ProbeError::Status { status: 404, .. } => io::ErrorKind::NotFound,
        ProbeError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use packcast_protocol::with_causes;

    use super::super::super::samples::{id, write_launch};
    use super::super::{DownloadError, Downloads};
    use super::*;

    fn address(text: &str) -> DownloadAddress {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn plain_http_to_another_machine_has_to_be_accepted() {
        let at = address("http://ocs.example.net/download/");
        let refused = DownloadServer::connect(at, &DownloadTls::default()).await;
        let refused = refused.unwrap_err();
        let other = "ftp://ocs.example.net"
            .parse::<DownloadAddress>()
            .unwrap_err();
        let none = DownloadTls {
            ca_file: Some("/none/ca.pem".into()),
            ..DownloadTls::default()
        };
        let authorities =
            DownloadServer::connect(address("https://ocs.example.net/download"), &none).await;
        let authorities = authorities.unwrap_err();
        // Nothing listens on port 1.
        let unreachable = address("http://127.0.0.1:1/download");
        let unreachable = DownloadServer::connect(unreachable, &DownloadTls::default()).await;
        let unreachable = unreachable.unwrap_err();
        let runtime = DownloadServerError::Runtime(io::Error::other("cause"));
        let lines = format!("{refused}\n{other}\n{authorities}\n{unreachable}\n{runtime}");
        insta::assert_snapshot!(lines, @r#"
        cannot fetch packages from http://ocs.example.net/download: others on the network can replace packages on their way by plain HTTP, and you would sign them; use https://, pass a copy of the directory, or accept the risk with --plain-http
        cannot use "ftp://ocs.example.net" as the address of the download directory: expected https://HOST/PATH, such as https://ocs.example.net/download
        cannot use /none/ca.pem as certificate authorities: expected a PEM file with certificates
        cannot reach the download directory: check the address in --downloads
        cannot begin to fetch packages: end other programs, or raise the limit of threads
        "#);
    }

    /// Serves a folder over plain HTTP on loopback. A file whose name ends with `-broken` beside a file
    /// makes its answers end early.
    fn serve(folder: &Path) -> DownloadAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = folder.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let mut request = BufReader::new(stream.try_clone().unwrap());
                request.read_line(&mut line).unwrap();
                let mut header = String::new();
                while request.read_line(&mut header).unwrap() > 2 {
                    header.clear();
                }
                let path = line.split(' ').nth(1).unwrap().trim_start_matches('/');
                let path = path.strip_prefix("download/").unwrap_or("none");
                let (status, mut body) = match std::fs::read(folder.join(path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let length = body.len();
                if folder.join(format!("{path}-broken")).exists() {
                    body.truncate(length / 2);
                }
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        address(&format!("http://127.0.0.1:{port}/download/"))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_package_is_assembled_from_the_fragments_on_a_server() {
        let folder = tempfile::tempdir().unwrap();
        for number in 1..=3 {
            write_launch(folder.path(), id(number));
        }
        let fragment = |number| folder.path().join(format!("{0}/{0}-2", id(number)));
        let broken = format!("{}-broken", fragment(2).display());
        std::fs::write(broken, "").unwrap();
        std::fs::remove_file(fragment(3)).unwrap();
        let server = DownloadServer::connect(serve(folder.path()), &DownloadTls::default()).await;
        let downloads = Downloads::on(server.unwrap());
        let assembled = tokio::task::spawn_blocking(move || {
            let assemble = |number| downloads.archive(&downloads.info(id(number))?);
            let first = assemble(1).unwrap().unwrap();
            let broken = assemble(2).unwrap_err();
            let missing = assemble(3).unwrap_err();
            let none = downloads.info(id(4)).unwrap_err();
            (
                first.bytes(),
                with_causes(&broken),
                missing,
                with_causes(&none),
            )
        });
        let (bytes, broken, missing, none) = assembled.await.unwrap();
        assert!(bytes > 50);
        assert!(
            broken.starts_with("cannot read http://127.0.0.1:"),
            "{broken}"
        );
        assert!(matches!(
            missing,
            DownloadError::MissingFragment { number: 2, .. }
        ));
        assert!(none.ends_with("expected status 200, found 404"), "{none}");
    }

    /// Sends an answer to the next request on a listener, after `wait`.
    fn answer(listener: &TcpListener, status: &str, bytes: u64, body: &str, wait: impl FnOnce()) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while request.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        wait();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n");
        stream.write_all((head + body).as_bytes()).unwrap();
    }

    #[test]
    fn a_file_on_its_way_arrives_after_the_end_of_the_callers_runtime() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}/download", listener.local_addr().unwrap());
        let (asked, is_asked) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let serving = std::thread::spawn(move || {
            answer(&listener, "404 Not Found", 0, "", || ());
            answer(&listener, "200 OK", 4, "info", || {
                asked.send(()).unwrap();
                has_ended.recv().unwrap();
            });
        });
        let caller = Runtime::new().unwrap();
        let tls = DownloadTls::default();
        let server = caller.block_on(DownloadServer::connect(address(&at), &tls));
        let server = server.unwrap();
        let reading = std::thread::spawn(move || io::read_to_string(server.open("x/info", 4)?));
        is_asked.recv().unwrap();
        drop(caller);
        ended.send(()).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), "info");
        serving.join().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fragment_that_is_announced_as_too_large_is_not_fetched() {
        let folder = tempfile::tempdir().unwrap();
        write_launch(folder.path(), id(1));
        let info = Downloads::new(folder.path().to_owned()).info(id(1));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}/download", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            answer(&listener, "404 Not Found", 0, "", || ());
            answer(&listener, "200 OK", 1 << 40, "", || ());
        });
        let server = DownloadServer::connect(address(&at), &DownloadTls::default()).await;
        let downloads = Downloads::on(server.unwrap());
        let archive = tokio::task::spawn_blocking(move || downloads.archive(&info.unwrap()));
        let error = archive.await.unwrap().unwrap_err();
        assert!(
            matches!(error, DownloadError::LargeArchive { .. }),
            "{error}"
        );
        serving.join().unwrap();
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        let refused = "https://ocs:secret@ocs.example.net/download".parse::<DownloadAddress>();
        let text = refused.unwrap_err().to_string();
        assert!(!text.contains("secret"), "{text}");
    }
}
