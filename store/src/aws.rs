//! How AWS, or what stands in for it, is reached: the same for every service.

use std::error::Error;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// Where a service answers.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// By default the one of the environment or profile.
    pub(crate) region: Option<String>,
    /// Another address than the region's own.
    pub(crate) endpoint: Option<&'a str>,
    /// The region of an engine on loopback, where none is named.
    pub(crate) loopback_region: &'static str,
}

/// Begins a configuration; `http_client` takes the place of a client with TLS of its own.
///
/// An endpoint on loopback is an engine of this machine: no credentials are looked for.
pub(crate) fn loader(place: Place<'_>, http_client: Option<SharedHttpClient>) -> ConfigLoader {
    let region = place.region.map(Region::new);
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client.unwrap_or_else(https_client));
    let loader = match place.endpoint {
        Some(address) => loader.endpoint_url(address),
        None => loader,
    };
    if place.endpoint.is_some_and(is_loopback) {
        loader
            .credentials_provider(of_loopback())
            .region(region.unwrap_or_else(|| Region::from_static(place.loopback_region)))
    } else if let Some(region) = region {
        loader.region(region)
    } else {
        loader
    }
}

/// Returns the credentials that Lambda gives a function, and looks for no others.
pub(crate) fn credentials_within_lambda(endpoint: Option<&str>) -> SharedCredentialsProvider {
    if endpoint.is_some_and(is_loopback) {
        SharedCredentialsProvider::new(of_loopback())
    } else {
        SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
    }
}

/// Returns what an engine of this machine is shown, which checks none.
fn of_loopback() -> Credentials {
    Credentials::new("local", "local", None, None, "loopback")
}

/// Returns a client that trusts what the system does.
fn https_client() -> SharedHttpClient {
    client_that_trusts(TrustStore::default())
}

/// Returns a client that trusts Amazon's own authorities only, as all of AWS is certified by
/// them, but for its partition in China.
///
/// To read all that a system trusts takes longer than all else that a function does to start.
pub(crate) fn https_client_within_lambda(region: &str) -> SharedHttpClient {
    let trusted = if region.starts_with("cn-") {
        TrustStore::default()
    } else {
        TrustStore::empty().with_pem_certificate(include_str!("amazon-roots.pem"))
    };
    client_that_trusts(trusted)
}

fn client_that_trusts(trusted: TrustStore) -> SharedHttpClient {
    let context = TlsContext::builder().with_trust_store(trusted).build();
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context.expect("a trust store is all that is set"))
        .build_https()
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest)
        .split('/')
        .next()
        .unwrap_or_default();
    let address: Result<std::net::SocketAddr, _> = host.parse();
    match address {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => host == "localhost" || host.starts_with("localhost:"),
    }
}

/// Tells whether no credentials could be had, which no answer can tell.
pub(crate) fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>() || error.source().is_some_and(lacks_credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_does_without_credentials() {
        for yes in [
            "http://127.0.0.1:8000",
            "http://[::1]:8000/",
            "http://localhost:4566",
        ] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "https://dynamodb.eu-central-1.amazonaws.com",
            "http://127.0.0.1.example.net:80",
            "http://localhost.example.net",
            "http://10.0.0.1:8000",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
