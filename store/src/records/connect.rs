//! How the table is reached.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, SharedHttpClient};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::Records;

/// Where the table is.
#[derive(Clone, Debug, Default)]
pub struct RecordsConfig {
    pub table: String,
    /// The AWS region; by default the one of the environment or profile.
    pub region: Option<String>,
    /// Another address than the region's own, such as `http://127.0.0.1:8000`.
    ///
    /// One on loopback is an embedded engine: no credentials are looked for.
    pub endpoint: Option<String>,
    /// What requests go through instead of a client with TLS of its own.
    pub http_client: Option<SharedHttpClient>,
}

impl Records {
    /// Returns the table as reached by a client that is set up already.
    pub fn new(client: Client, table: &str) -> Self {
        let region = client.config().region().map(Region::as_ref);
        let endpoint = format!("DynamoDB in {}", region.unwrap_or("no region"));
        Self {
            client,
            table: table.into(),
            endpoint: endpoint.into(),
        }
    }

    /// Sets up a client; nothing is asked of the table yet.
    pub async fn connect(config: RecordsConfig) -> Self {
        let http_client = config.http_client.unwrap_or_else(https_client);
        let region = config.region.map(Region::new);
        let endpoint = config.endpoint.as_deref();
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client)
            .retry_config(retries())
            .timeout_config(timeouts());
        let loader = match endpoint {
            Some(address) => loader.endpoint_url(address),
            None => loader,
        };
        let loader = if endpoint.is_some_and(is_loopback) {
            loader
                .credentials_provider(Credentials::new("local", "local", None, None, "loopback"))
                .region(region.unwrap_or_else(|| Region::from_static("local")))
        } else if let Some(region) = region {
            loader.region(region)
        } else {
            loader
        };
        let records = Self::new(Client::new(&loader.load().await), &config.table);
        match config.endpoint {
            Some(address) => Self {
                endpoint: address.into(),
                ..records
            },
            None => records,
        }
    }
}

fn https_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(5)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(2))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(30))
        .build()
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
