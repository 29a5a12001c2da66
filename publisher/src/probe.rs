//! Whether a location really serves a package, asked through its public name.

use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use packcast_https::{Clients, Route, TlsError};
use packcast_protocol::info::Info;
use packcast_protocol::manifest::MAX_MANIFEST_BYTES;
use packcast_protocol::signature::MAX_SIGNATURE_BYTES;
use packcast_protocol::{Archive, FragmentNumber, Location, Manifest, Sha256Digest, UnixTime};
use packcast_rollout::{LocationRecord, PackageRecord, Published};
use packcast_store::ObjectKey;
use reqwest::header::IF_MODIFIED_SINCE;
use reqwest::{Client, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::publish::info;

/// What is wrong with a location.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("{url} cannot be fetched")]
    Fetch { url: String, source: reqwest::Error },
    #[error("{url} answers {status}, not 200")]
    Status { url: String, status: u16 },
    #[error("{url} serves other bytes than were published")]
    Bytes { url: String },
    #[error("{url} is larger than it can be")]
    TooLarge { url: String },
    #[error("{url} does not say how long it is, which stock agents need")]
    NoLength { url: String },
    #[error("{url} is served with Content-Encoding, which no agent decodes")]
    Encoded { url: String },
    #[error("the manifest does not read as one")]
    Manifest(#[source] serde_json::Error),
    #[error("info cannot be written")]
    Info(#[source] packcast_protocol::info::InfoError),
}

impl ProbeError {
    /// Tells whether the same location may serve the package a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fetch { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

/// Fetches manifest, signature, `info`, first and last fragment, and compares them with what was published.
pub async fn probe(
    client: &Client,
    package: &PackageRecord,
    published: &Published,
    at: &LocationRecord,
) -> Result<(), ProbeError> {
    let url = |key: &ObjectKey| Location::url(&at.location, key.path());
    let manifest_url = url(&ObjectKey::manifest(&package.folder, package.id));
    let manifest = fetch(client, &manifest_url, MAX_MANIFEST_BYTES as u64).await?;
    same(
        &manifest_url,
        Sha256Digest::of(&manifest),
        published.manifest,
    )?;
    let signature_url = url(&ObjectKey::signature(&package.folder, package.id));
    let signature = fetch(client, &signature_url, MAX_SIGNATURE_BYTES as u64).await?;
    same(
        &signature_url,
        Sha256Digest::of(&signature),
        published.signature,
    )?;
    let expected: Info = info::document(package, published, at);
    let expected = expected.to_xml().map_err(ProbeError::Info)?;
    let info_url = url(&ObjectKey::info(&package.folder, at, package.id));
    let info = fetch(client, &info_url, expected.len() as u64).await?;
    same(
        &info_url,
        Sha256Digest::of(&info),
        Sha256Digest::of(expected.as_bytes()),
    )?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(ProbeError::Manifest)?;
    let fragments: Vec<_> = manifest
        .action
        .archive()
        .into_iter()
        .flat_map(Archive::fragments)
        .collect();
    let ends = fragments
        .first()
        .into_iter()
        .chain(fragments.last().filter(|_| fragments.len() > 1));
    for (number, bytes, digest) in ends {
        let url = url(&ObjectKey::fragment(&package.folder, package.id, *number));
        let actual = digest_of(client, &url, *bytes).await?;
        same(&url, actual, *digest)?;
    }
    Ok(())
}

/// Tells whether anybody answers at a location, over TLS that is trusted.
///
/// Any answer will do, as nothing has to be at a location's own address.
pub async fn answers(client: &Client, at: &LocationRecord) -> Result<(), ProbeError> {
    let url = at.location.url("");
    match client.get(&url).send().await {
        Ok(_) => Ok(()),
        Err(source) => Err(ProbeError::Fetch { url, source }),
    }
}

/// Tells whether a location answers 304 to a stock agent that has a part of a fragment.
///
/// The agent takes it for a failure and asks again for ever.
pub async fn answers_not_modified(
    client: &Client,
    package: &PackageRecord,
    published: &Published,
    at: &LocationRecord,
    now: UnixTime,
) -> Result<bool, ProbeError> {
    let key = if published.fragments == 0 {
        ObjectKey::info(&package.folder, at, package.id)
    } else {
        ObjectKey::fragment(&package.folder, package.id, FragmentNumber::from_index(0))
    };
    let url = at.location.url(key.path());
    let asked = client.get(&url).header(IF_MODIFIED_SINCE, http_date(now));
    match asked.send().await {
        Ok(response) => Ok(response.status() == StatusCode::NOT_MODIFIED),
        Err(source) => Err(ProbeError::Fetch { url, source }),
    }
}

/// Writes a time as HTTP headers have it (RFC 9110 §5.6.7).
fn http_date(at: UnixTime) -> String {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .expect("the year is not negative")
}

fn same(url: &str, actual: Sha256Digest, expected: Sha256Digest) -> Result<(), ProbeError> {
    if actual == expected {
        Ok(())
    } else {
        Err(ProbeError::Bytes {
            url: url.to_owned(),
        })
    }
}

/// Asks for an object whose length is announced and at most `limit` bytes.
pub async fn get(client: &Client, url: &str, limit: u64) -> Result<reqwest::Response, ProbeError> {
    let fail = |source| ProbeError::Fetch {
        url: url.to_owned(),
        source,
    };
    let response = client.get(url).send().await.map_err(fail)?;
    if response.status() != StatusCode::OK {
        return Err(ProbeError::Status {
            url: url.to_owned(),
            status: response.status().as_u16(),
        });
    }
    if response
        .headers()
        .contains_key(reqwest::header::CONTENT_ENCODING)
    {
        return Err(ProbeError::Encoded {
            url: url.to_owned(),
        });
    }
    match response.content_length() {
        None => Err(ProbeError::NoLength {
            url: url.to_owned(),
        }),
        Some(bytes) if bytes > limit => Err(ProbeError::TooLarge {
            url: url.to_owned(),
        }),
        Some(_) => Ok(response),
    }
}

/// Fetches a document whose length is announced and at most `limit` bytes.
pub async fn fetch(client: &Client, url: &str, limit: u64) -> Result<Vec<u8>, ProbeError> {
    let response = get(client, url, limit).await?;
    let bytes = response.bytes().await;
    Ok(bytes
        .map_err(|source| ProbeError::Fetch {
            url: url.to_owned(),
            source,
        })?
        .to_vec())
}

/// Returns the next bytes of an object; none at its end.
pub async fn chunk(
    response: &mut reqwest::Response,
    url: &str,
) -> Result<Option<Bytes>, ProbeError> {
    response.chunk().await.map_err(|source| ProbeError::Fetch {
        url: url.to_owned(),
        source,
    })
}

async fn digest_of(client: &Client, url: &str, limit: u64) -> Result<Sha256Digest, ProbeError> {
    let mut response = get(client, url, limit).await?;
    let mut digest = Sha256::new();
    while let Some(chunk) = chunk(&mut response, url).await? {
        digest.update(&chunk);
    }
    Ok(Sha256Digest::from_bytes(digest.finalize().into()))
}

/// Makes the client that locations are probed with.
pub fn client(ca_file: Option<&Path>, route: Route) -> Result<Client, TlsError> {
    let user_agent = concat!("packcast/", env!("CARGO_PKG_VERSION"));
    Ok(Clients::new(ca_file, user_agent, route)?.objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_header() {
        // The example of RFC 9110 §5.6.7.
        assert_eq!(
            http_date(UnixTime(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}
