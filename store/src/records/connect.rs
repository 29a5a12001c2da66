//! Connecting to the table.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Region, SharedHttpClient};
use aws_sdk_dynamodb::{Client, Config};

use super::Records;
use crate::aws::{self, Place};

/// Address of a table.
#[derive(Clone, Debug, Default)]
pub struct RecordsConfig {
    pub table: String,
    /// AWS region. `None` means the region of the environment or profile.
    pub region: Option<String>,
    /// Address that replaces the region's own, such as `http://127.0.0.1:8000`.
    ///
    /// An address on loopback is an embedded engine: no credentials are searched for.
    pub endpoint: Option<String>,
    /// Client for all requests. `None` means a client with default TLS settings.
    pub http_client: Option<SharedHttpClient>,
}

impl Records {
    /// Returns the table behind a client that is set up already.
    pub fn new(client: Client, table: &str) -> Self {
        let region = client.config().region().map(Region::as_ref);
        let endpoint = format!("DynamoDB in {}", region.unwrap_or("no region"));
        Self {
            client,
            table: table.into(),
            endpoint: endpoint.into(),
            is_for_display: false,
        }
    }

    /// Sets up a client, without sending a request.
    pub async fn connect(config: RecordsConfig) -> Self {
        let place = Place {
            region: config.region,
            endpoint: config.endpoint.as_deref(),
            loopback_region: "local",
        };
        let loader = aws::loader(place, config.http_client)
            .retry_config(retries(ATTEMPTS))
            .timeout_config(timeouts());
        let records = Self::new(Client::new(&loader.load().await), &config.table);
        records.known_by(config.endpoint.as_deref())
    }

    /// Sets up a client for a function, with region and credentials from Lambda's environment.
    ///
    /// This reads neither profiles nor other sources of credentials nor the certificate
    /// authorities of the system. So a function is smaller, and starts faster, than with
    /// [`connect`](Self::connect).
    pub fn connect_within_lambda(table: &str, region: String, endpoint: Option<&str>) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws::https_client_within_lambda(&region))
            .region(Region::new(region))
            .credentials_provider(aws::credentials_within_lambda(endpoint))
            .retry_config(retries(ATTEMPTS_WITHIN_LAMBDA))
            .timeout_config(timeouts());
        let config = endpoint.into_iter().fold(config, Builder::endpoint_url);
        Self::new(Client::from_conf(config.build()), table).known_by(endpoint)
    }

    pub(super) fn known_by(self, endpoint: Option<&str>) -> Self {
        match endpoint {
            Some(address) => Self {
                endpoint: address.into(),
                ..self
            },
            None => self,
        }
    }
}

/// Maximum number of attempts at a request: a command can wait for some seconds.
pub(super) const ATTEMPTS: u32 = 8;
/// Maximum number of attempts in a function: waiting costs money, and devices check in again
/// anyway.
const ATTEMPTS_WITHIN_LAMBDA: u32 = 5;

fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(attempts)
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
