//! Connecting to AWS, or to an engine that stands in for it; shared by all services.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::Uri;

/// Address of a service.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// AWS region. `None` means the region of the environment or profile.
    pub(crate) region: Option<String>,
    /// Address that replaces the region's own.
    pub(crate) endpoint: Option<&'a str>,
    /// Region of an engine on loopback, if `region` is `None`.
    pub(crate) loopback_region: &'static str,
}

/// Returns a loader for the configuration of a service.
///
/// `http_client` is used instead of a client with default TLS settings. An endpoint on loopback is an
/// engine on this machine: no credentials are searched for, and no proxy is asked.
pub(crate) fn loader(place: Place<'_>, http_client: Option<SharedHttpClient>) -> ConfigLoader {
    let region = place.region.map(Region::new);
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client.unwrap_or_else(|| https_client(place.endpoint)));
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

/// Returns the credentials in Lambda's environment, or those of an engine on loopback, without
/// searching for others.
pub(crate) fn credentials_within_lambda(endpoint: Option<&str>) -> SharedCredentialsProvider {
    if endpoint.is_some_and(is_loopback) {
        SharedCredentialsProvider::new(of_loopback())
    } else {
        SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())
    }
}

/// Returns credentials for an engine on this machine, which does not check them.
fn of_loopback() -> Credentials {
    Credentials::new("local", "local", None, None, "loopback")
}

/// Returns a client that trusts the certificate authorities of the system, and sends requests through
/// the proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`), as agents do.
fn https_client(endpoint: Option<&str>) -> SharedHttpClient {
    let proxies = if endpoint.is_some_and(is_loopback) {
        ProxyConfig::disabled()
    } else {
        ProxyConfig::from_env()
    };
    client_that_trusts(TrustStore::default(), proxies)
}

/// Returns a client that trusts only Amazon's certificate authorities.
///
/// They certify all of AWS except its partition in China, for which the client trusts the
/// authorities of the system. Reading these takes longer than the rest of a function's start. Lambda
/// has no proxies.
pub(crate) fn https_client_within_lambda(region: &str) -> SharedHttpClient {
    let trusted = if region.starts_with("cn-") {
        TrustStore::default()
    } else {
        TrustStore::empty().with_pem_certificate(include_str!("amazon-roots.pem"))
    };
    client_that_trusts(trusted, ProxyConfig::disabled())
}

fn client_that_trusts(trusted: TrustStore, proxies: ProxyConfig) -> SharedHttpClient {
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.expect("the trust store is the only setting");
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector
            .proxy_config(proxies.clone())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context.clone())
            .build()
    })
}

pub(crate) fn is_loopback(endpoint: &str) -> bool {
    let address: Option<Uri> = endpoint.parse().ok();
    let host = address.as_ref().and_then(Uri::host).unwrap_or_default();
    let number: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    number.map_or(host == "localhost", |number| number.is_loopback())
}

/// Reason for the lack of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    NoRegion,
    NoCredentials,
    /// The service was not reached, or its answer was incomplete.
    Unreachable,
}

/// Returns the answer that contained an error, or the reason for the lack of an answer.
///
/// An incomplete answer counts as no answer, although it has a status. A missing region comes
/// before missing credentials, because no request is possible without a region.
pub(crate) fn answer<'a, E, R>(
    error: &'a SdkError<E, R>,
    region: Option<&Region>,
) -> Result<&'a R, Silence>
where
    E: Error + 'static,
    R: fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(refusal) => Ok(refusal.raw()),
        _ if region.is_none() => Err(Silence::NoRegion),
        _ if lacks_credentials(error) => Err(Silence::NoCredentials),
        _ => Err(Silence::Unreachable),
    }
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>() || error.source().is_some_and(lacks_credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_needs_no_credentials() {
        for yes in [
            "http://127.0.0.1:8000",
            "http://127.0.0.1",
            "http://127.8.9.10/path",
            "http://[::1]:8000/",
            "http://localhost:4566",
            "http://localhost",
        ] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "https://dynamodb.eu-central-1.amazonaws.com",
            "http://127.0.0.1.example.net:80",
            "http://localhost.example.net",
            "http://10.0.0.1:8000",
            "http://[2001:db8::1]:8000",
            "no address",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn a_missing_region_is_reported_before_missing_credentials() {
        type Failure = SdkError<CredentialsError, u16>;
        let region = Region::from_static("eu-west-1");
        let here = Some(&region);
        let nobody = || CredentialsError::not_loaded("nobody is signed in");
        let unsigned = Failure::construction_failure(nobody());
        assert_eq!(answer(&unsigned, None), Err(Silence::NoRegion));
        assert_eq!(answer(&unsigned, here), Err(Silence::NoCredentials));
        let slow = Failure::timeout_error("no answer in 30 s");
        assert_eq!(answer(&slow, here), Err(Silence::Unreachable));
        let broken_off = Failure::response_error("the body ended early", 200);
        assert_eq!(answer(&broken_off, here), Err(Silence::Unreachable));
        let refused = Failure::service_error(nobody(), 403);
        assert_eq!(answer(&refused, here), Ok(&403));
    }
}
