//! HTTPS clients: one TLS stack, and whom it trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nothing may arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

const MAX_REDIRECTS: usize = 3;

/// How much of a file may be on its way before it is read, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// Room for as many files as can be fetched at a time: none waits because of another's window.
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;

/// Why no HTTPS client can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("authorities {} cannot be read: correct ca_file in the configuration", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("authorities {} hold no usable certificate: name a PEM file of certificates as ca_file in the configuration", path.display())]
    Empty { path: PathBuf },
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the HTTPS client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// The clients for the two kinds of requests.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Posts to the check-in function; follows no redirect, as the signature is for one
    /// address.
    pub api: Client,
    /// Gets published objects; follows a few redirects to HTTPS.
    pub objects: Client,
}

/// Which way requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through the proxies that the environment names (`HTTPS_PROXY`, `NO_PROXY`).
    Proxies,
    /// Straight, as no proxy leads back to this machine.
    Loopback,
}

impl Clients {
    /// Makes the clients, which call themselves `user_agent`. Those in `ca_file`, if there is
    /// one, are trusted instead of the system's authorities.
    pub fn new(ca_file: Option<&Path>, user_agent: &str, route: Route) -> Result<Self, TlsError> {
        let config = config(ca_file)?;
        let builder = |config| match route {
            Route::Proxies => builder(config, user_agent),
            Route::Loopback => builder(config, user_agent).no_proxy(),
        };
        let https_only = Policy::custom(|attempt| {
            if attempt.url().scheme() != "https" {
                attempt.error("a redirect leaves HTTPS")
            } else if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("too many redirects")
            } else {
                attempt.follow()
            }
        });
        Ok(Self {
            api: builder(config.clone()).redirect(Policy::none()).build()?,
            objects: builder(config)
                .redirect(https_only)
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .build()?,
        })
    }
}

fn builder(config: ClientConfig, user_agent: &str) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(config)
        .https_only(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(user_agent)
        // An object's path is as good as a password: no other host is told of it.
        .referer(false)
}

fn config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = match ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_platform_verifier()?,
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let unread = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
        // Others of the file may be usable.
        if let Err(error) = roots.add(certificate.map_err(unread)?) {
            tracing::warn!(path = %path.display(), %error, "a certificate is left out");
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}
