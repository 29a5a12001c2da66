//! HTTPS clients with one TLS stack: certificate authorities, proxies and redirects.

mod named_certificate;
mod tls_failure;
mod transport_error;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use self::named_certificate::NamedCertificates;
pub use self::tls_failure::TlsFailure;
pub use self::transport_error::TransportError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time without arriving data.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

const MAX_REDIRECTS: usize = 3;

/// The limit of a frame of HTTP/2 that a server may send, in bytes.
///
/// With the default of 16 KiB, downloads over loopback were 2 to 8 % slower.
const MAX_FRAME_BYTES: u32 = 256 << 10;

/// The size of the unread part of a file on its way, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// The window of a connection, with room for as many files as the agent fetches in parallel.
///
/// So no file waits because of the window of another.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// Errors from creating the HTTPS clients.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read certificate authorities {}: correct ca_file in the configuration", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("no usable certificate in {}: set ca_file in the configuration to a PEM file of certificate authorities", path.display())]
    Empty { path: PathBuf },
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("cannot set up the HTTPS client")]
    Client(#[from] reqwest::Error),
}

/// The clients for the two kinds of requests.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Posts to the check-in function. It follows no redirects, because a signature is for one
    /// address.
    pub api: Client,
    /// Fetches published objects. It follows a few redirects over HTTPS to the same host: the
    /// publisher has signed the address, and nobody else may choose the host that is asked.
    pub objects: Client,
}

/// The settings of clients, from which clients without open connections are created.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    tls: ClientConfig,
    user_agent: String,
    route: Route,
}

/// The route of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through the proxies in the environment (`HTTPS_PROXY`, `NO_PROXY`).
    Proxies,
    /// Direct, because no proxy can reach this machine's loopback.
    Loopback,
}

impl Clients {
    /// Creates the clients of [`ClientSettings::new`].
    pub fn new(ca_file: Option<&Path>, user_agent: &str, route: Route) -> Result<Self, TlsError> {
        ClientSettings::new(ca_file, user_agent, route)?.clients()
    }
}

impl ClientSettings {
    /// Creates the settings of clients that send `user_agent`.
    ///
    /// The certificate authorities in `ca_file`, if it is given, are trusted instead of the
    /// system's. A certificate of an authority in this file is also trusted as the certificate of a
    /// server, for its own names.
    pub fn new(ca_file: Option<&Path>, user_agent: &str, route: Route) -> Result<Self, TlsError> {
        Ok(Self {
            tls: config(ca_file)?,
            user_agent: user_agent.to_owned(),
            route,
        })
    }

    /// Creates a client that fetches over plain HTTP, too. It follows no redirects.
    ///
    /// Anybody on the network can change its answers, so a person has to choose it.
    pub fn plain_client(&self) -> Result<Client, TlsError> {
        let builder = self.builder().https_only(false);
        Ok(builder.redirect(Policy::none()).build()?)
    }

    fn builder(&self) -> ClientBuilder {
        let builder = builder(self.tls.clone(), &self.user_agent);
        match self.route {
            Route::Proxies => builder,
            Route::Loopback => builder.no_proxy(),
        }
    }

    /// Creates clients without open connections.
    pub fn clients(&self) -> Result<Clients, TlsError> {
        let builder = || self.builder();
        let https_only = Policy::custom(|attempt| {
            if attempt.url().scheme() != "https" {
                attempt.error("a redirect leaves HTTPS")
            } else if !stays_on_host(&attempt) {
                attempt.error("a redirect leaves the host of the location")
            } else if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("too many redirects")
            } else {
                attempt.follow()
            }
        });
        Ok(Clients {
            api: builder().redirect(Policy::none()).build()?,
            objects: builder()
                .redirect(https_only)
                // The stream window bounds the memory of each file. The connection window lets all
                // files of a package arrive at the same time.
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_max_frame_size(MAX_FRAME_BYTES)
                .build()?,
        })
    }
}

/// Returns the proxy that requests to a URL go through, without its password; `None` if requests go
/// directly. The proxies are those of the environment, or of the system's settings.
pub fn proxy_for(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let proxy = Matcher::from_system().intercept(&url)?;
    let address = proxy.uri().authority()?;
    let host = address.as_str().rsplit('@').next()?;
    Some(host.to_owned())
}

/// Returns true if a redirect leads to the host of the first request. The port may differ.
fn stays_on_host(attempt: &Attempt<'_>) -> bool {
    let first = attempt.previous().first();
    first.is_some_and(|first| first.host_str() == attempt.url().host_str())
}

fn builder(config: ClientConfig, user_agent: &str) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(config)
        .https_only(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(user_agent)
        // The path of an object is as secret as a password, so no other host may see it.
        .referer(false)
}

fn config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match ca_file {
        Some(path) => {
            let verifier = named_certificates(path, provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        None => builder.with_platform_verifier()?,
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn named_certificates(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<NamedCertificates, TlsError> {
    let read_error = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let empty = || TlsError::Empty {
        path: path.to_owned(),
    };
    let text = std::fs::read(path).map_err(|error| read_error(pem::Error::Io(error)))?;
    // A mark would hide the first certificate.
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
    let (mut roots, mut named) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(read_error)?;
        // Other certificates of the file may be usable.
        match roots.add(certificate.clone()) {
            Ok(()) => named.push(certificate),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "skipped an unusable certificate");
            }
        }
    }
    if roots.is_empty() {
        return Err(empty());
    }
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let usual = usual.build().map_err(|_| empty())?;
    Ok(NamedCertificates { usual, named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_file_and_the_remedy() {
        let path = || PathBuf::from("/etc/packcast/ca.pem");
        let errors = [
            TlsError::Read {
                path: path(),
                source: pem::Error::NoItemsFound,
            },
            TlsError::Empty { path: path() },
            TlsError::Tls(rustls::Error::General("detail".to_owned())),
            TlsError::Client(reqwest::Proxy::all("http://").unwrap_err()),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot read certificate authorities /etc/packcast/ca.pem: correct ca_file in the configuration
        no usable certificate in /etc/packcast/ca.pem: set ca_file in the configuration to a PEM file of certificate authorities
        cannot set up TLS
        cannot set up the HTTPS client
        ");
    }
}
