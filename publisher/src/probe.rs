//! Probes that a location serves a package, through the public name of the location.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use packcast_https::{Clients, Route, TlsError, TransportError};
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

/// Problems of a location.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("cannot fetch {url}")]
    Fetch { url: String, source: TransportError },
    #[error("cannot fetch {url}: expected status 200, found {status}")]
    Status { url: String, status: u16 },
    #[error("the content of {url} differs from the published object")]
    Bytes { url: String },
    #[error("cannot fetch {url}: the object is larger than expected")]
    TooLarge { url: String },
    #[error("cannot fetch {url}: the answer has no Content-Length, which OCS agents need")]
    NoLength { url: String },
    #[error("cannot fetch {url}: the answer has a Content-Encoding, which no agent decodes")]
    Encoded { url: String },
    #[error("cannot probe {location}: it has not sent the objects within {seconds} seconds")]
    TooSlow { location: Location, seconds: u64 },
    #[error("cannot parse the manifest")]
    Manifest(#[source] serde_json::Error),
    #[error("cannot write info")]
    Info(#[source] packcast_protocol::info::InfoError),
}

impl ProbeError {
    /// Returns true if the location may serve the package later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Fetch { .. } | Self::TooSlow { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

/// Fetches manifest, signature, `info`, first and last fragment of a package from a location, and
/// compares them with the publication.
///
/// The probe as a whole has a time limit, because a location that sends a little now and then meets
/// the limits of each request.
pub async fn probe(
    client: &Client,
    package: &PackageRecord,
    published: &Published,
    at: &LocationRecord,
) -> Result<(), ProbeError> {
    let archive = package.action.archive().map_or(0, |archive| archive.bytes);
    let limit = time_limit(archive, published.fragments.into());
    let probing = compare(client, package, published, at);
    within(limit, &at.location, probing).await
}

/// Returns the time limit of a probe: a minute, and a second for each 64 KiB of the first and the last
/// fragment.
fn time_limit(archive: u64, fragments: u64) -> Duration {
    let ends = archive.checked_div(fragments).unwrap_or(0) * fragments.min(2);
    Duration::from_secs(60 + (ends >> 16))
}

async fn within<T>(
    limit: Duration,
    location: &Location,
    probing: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    let probed = tokio::time::timeout(limit, probing).await;
    probed.unwrap_or_else(|_| {
        Err(ProbeError::TooSlow {
            location: location.clone(),
            seconds: limit.as_secs(),
        })
    })
}

async fn compare(
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

/// Checks that a server with a trusted certificate answers at a location.
///
/// Any status is accepted, because a location need not serve an object at its own address.
pub async fn answers(client: &Client, at: &LocationRecord) -> Result<(), ProbeError> {
    answers_at(client, at.location.url("")).await
}

/// Checks that a server with a trusted certificate answers at an address.
pub async fn answers_at(client: &Client, url: String) -> Result<(), ProbeError> {
    match client.get(&url).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(fetch_error(url, &error)),
    }
}

/// Returns true if a location answers 304 to an OCS agent that has a part of a fragment.
///
/// The agent takes 304 for a failure, and repeats the request forever.
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
        Err(error) => Err(fetch_error(url, &error)),
    }
}

/// Writes a time in the format of HTTP headers (RFC 9110 §5.6.7).
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

fn fetch_error(url: String, error: &reqwest::Error) -> ProbeError {
    ProbeError::Fetch {
        url,
        source: TransportError::of(error),
    }
}

/// Requests an object. The answer must have a `Content-Length` of at most `limit` bytes.
pub async fn get(client: &Client, url: &str, limit: u64) -> Result<reqwest::Response, ProbeError> {
    let response = client.get(url).send().await;
    let response = response.map_err(|error| fetch_error(url.to_owned(), &error))?;
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

/// Fetches a document. The answer must have a `Content-Length` of at most `limit` bytes.
pub async fn fetch(client: &Client, url: &str, limit: u64) -> Result<Vec<u8>, ProbeError> {
    let response = get(client, url, limit).await?;
    let bytes = response.bytes().await;
    let bytes = bytes.map_err(|error| fetch_error(url.to_owned(), &error))?;
    Ok(bytes.to_vec())
}

/// Returns the next bytes of an object; `None` at its end.
pub async fn chunk(
    response: &mut reqwest::Response,
    url: &str,
) -> Result<Option<Bytes>, ProbeError> {
    let chunk = response.chunk().await;
    chunk.map_err(|error| fetch_error(url.to_owned(), &error))
}

async fn digest_of(client: &Client, url: &str, limit: u64) -> Result<Sha256Digest, ProbeError> {
    let mut response = get(client, url, limit).await?;
    let mut digest = Sha256::new();
    while let Some(chunk) = chunk(&mut response, url).await? {
        digest.update(&chunk);
    }
    Ok(Sha256Digest::from_bytes(digest.finalize().into()))
}

/// Creates the HTTP client for probes of locations.
pub fn client(ca_file: Option<&Path>, route: Route) -> Result<Client, TlsError> {
    let user_agent = concat!("packcast/", env!("CARGO_PKG_VERSION"));
    Ok(Clients::new(ca_file, user_agent, route)?.objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    #[test]
    fn a_time_is_written_as_in_the_example_of_the_rfc() {
        // The example of RFC 9110 §5.6.7.
        assert_eq!(
            http_date(UnixTime(784_111_777)),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }

    fn location() -> Location {
        "cdn.example.net/d".parse().unwrap()
    }

    #[tokio::test]
    async fn a_probe_of_a_silent_location_ends() {
        let silent = std::future::pending::<Result<(), ProbeError>>();
        let ended = within(Duration::from_millis(1), &location(), silent).await;
        let error = ended.unwrap_err();
        assert!(matches!(error, ProbeError::TooSlow { .. }) && error.is_retryable());
    }

    #[test]
    fn the_time_limit_of_a_probe_grows_with_the_fragments() {
        let limit = |archive, fragments| time_limit(archive, fragments).as_secs();
        assert_eq!(limit(0, 0), 60);
        assert_eq!(limit(1 << 20, 1), 76);
        assert_eq!(limit(1 << 30, 1_024), 92);
    }

    #[test]
    fn messages_of_probe_errors() {
        let url = || "https://cdn.example.net/d/x".to_owned();
        let errors = [
            ProbeError::Fetch {
                url: url(),
                source: TransportError::Refused,
            },
            ProbeError::Status {
                url: url(),
                status: 404,
            },
            ProbeError::Bytes { url: url() },
            ProbeError::TooLarge { url: url() },
            ProbeError::NoLength { url: url() },
            ProbeError::Encoded { url: url() },
            ProbeError::TooSlow {
                location: location(),
                seconds: 92,
            },
            ProbeError::Manifest(serde_json::from_str::<()>("").unwrap_err()),
            ProbeError::Info(packcast_protocol::info::InfoError::TooLarge { bytes: 1 }),
        ];
        insta::assert_snapshot!(messages(errors), @"
        cannot fetch https://cdn.example.net/d/x
        cannot fetch https://cdn.example.net/d/x: expected status 200, found 404
        the content of https://cdn.example.net/d/x differs from the published object
        cannot fetch https://cdn.example.net/d/x: the object is larger than expected
        cannot fetch https://cdn.example.net/d/x: the answer has no Content-Length, which OCS agents need
        cannot fetch https://cdn.example.net/d/x: the answer has a Content-Encoding, which no agent decodes
        cannot probe cdn.example.net/d: it has not sent the objects within 92 seconds
        cannot parse the manifest
        cannot write info
        ");
    }
}
