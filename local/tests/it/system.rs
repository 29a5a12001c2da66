//! A running system in a temporary directory, and a client that trusts it.

use std::fs;
use std::path::{Path, PathBuf};

use packcast_local::{Local, LocalOptions, LocalState};
use reqwest::{Certificate, Client};
use rustls::crypto::ring;
use tempfile::TempDir;

/// The trust line of a target whose key nobody has.
const TRUST: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaa:RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Returns the default options for a state directory.
pub(crate) fn options(state_dir: &Path) -> LocalOptions {
    LocalOptions::new(state_dir, TRUST.parse().unwrap())
}

pub(crate) struct RunningSystem {
    pub(crate) local: Local,
    pub(crate) client: Client,
    directory: TempDir,
}

impl RunningSystem {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::start(options(&directory.path().join("state")))
            .await
            .unwrap();
        let client = client(&local.state().ca_file);
        Self {
            local,
            client,
            directory,
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        url(self.local.state(), path)
    }

    pub(crate) fn into_parts(self) -> (Local, TempDir) {
        (self.local, self.directory)
    }

    /// Writes an object below the prefix, and returns its path.
    pub(crate) fn object(&self, path: &str, content: &[u8]) -> PathBuf {
        let state = self.local.state();
        let folder = state.objects_dir.join(state.prefix.to_string());
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        file
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.local.state().edge_log).unwrap()
    }
}

pub(crate) fn url(state: &LocalState, path: &str) -> String {
    format!("https://{}{path}", state.edge)
}

/// Returns a client that trusts this authority only.
pub(crate) fn client(ca_file: &Path) -> Client {
    builder(ca_file).build().unwrap()
}

pub(crate) fn builder(ca_file: &Path) -> reqwest::ClientBuilder {
    // Fails if another test of this process has installed it already.
    let _ = ring::default_provider().install_default();
    let authority = Certificate::from_pem(&fs::read(ca_file).unwrap()).unwrap();
    Client::builder().no_proxy().tls_certs_only([authority])
}
