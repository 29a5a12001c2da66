//! The options for the download directory of an OCS server.

use std::path::{Path, PathBuf};

use packcast_publisher::Failure;
use packcast_publisher::import_ocs::downloads::{
    DownloadAddress, DownloadServer, DownloadServerError, DownloadTls, Downloads,
};

use super::missing;

#[derive(Debug, clap::Args)]
pub(super) struct DownloadsArgs {
    /// Download directory of the server, a copy of it, or the address that serves it
    ///
    /// An address begins with https://, such as `https://ocs.example.net/download`.
    #[arg(long, value_name = "DIR|URL", required_unless_present = "agent_script")]
    downloads: Option<PathBuf>,
    /// Verify the address in --downloads with the certificate authorities in this file
    #[arg(long, value_name = "FILE")]
    downloads_ca: Option<PathBuf>,
    /// Accept an address in --downloads that begins with http://
    ///
    /// Others on the network can replace packages on their way, and the import signs them.
    #[arg(long)]
    plain_http: bool,
}

impl DownloadsArgs {
    /// Opens the download directory. A server has to answer.
    pub(super) async fn open(&self) -> Result<Downloads, Failure> {
        let Some(place) = &self.downloads else {
            return Err(missing("downloads"));
        };
        let address = place.to_str().filter(|text| {
            let begins = |scheme: &str| {
                let begin = text.get(..scheme.len());
                begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
            };
            begins("https://") || begins("http://")
        });
        let Some(address) = address else {
            return folder(place);
        };
        let address: DownloadAddress = address.parse().map_err(Failure::usage)?;
        let tls = DownloadTls {
            ca_file: self.downloads_ca.clone(),
            accepts_plain_http: self.plain_http,
        };
        let server = DownloadServer::connect(address, &tls).await;
        Ok(Downloads::on(server.map_err(failed)?))
    }
}

/// Opens a download directory on this machine.
fn folder(path: &Path) -> Result<Downloads, Failure> {
    // Otherwise each package would be left out for the same reason.
    match std::fs::read_dir(path) {
        Ok(_) => Ok(Downloads::new(path.to_owned())),
        Err(error) => Err(Failure::usage(format!(
            "cannot read download directory {}: {error}",
            path.display()
        ))
        .hint("pass the directory or its https:// address with --downloads")),
    }
}

fn failed(error: DownloadServerError) -> Failure {
    match error {
        DownloadServerError::Address { .. } | DownloadServerError::PlainHttp { .. } => {
            Failure::usage(error)
        }
        DownloadServerError::Unreachable(_) => Failure::failed(error)
            .hint("a private certificate authority needs --downloads-ca; a copy of the directory needs no server"),
        error => Failure::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_ends_the_command() {
        let place = tempfile::tempdir().unwrap();
        assert!(folder(place.path()).is_ok());
        let failure = folder(&place.path().join("missing")).unwrap_err();
        let text = failure.to_string();
        let text = text.replace(&place.path().display().to_string(), "PLACE");
        assert_snapshot!(text, @"
        cannot read download directory PLACE/missing: No such file or directory (os error 2)
        hint: pass the directory or its https:// address with --downloads
        ");
    }
}
