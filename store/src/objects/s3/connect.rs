//! How the bucket is reached.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Region, SharedHttpClient};
use aws_sdk_s3::{Client, Config};

use super::S3;
use crate::aws::{self, Place};

/// Where the bucket is.
#[derive(Clone, Debug, Default)]
pub struct S3Config {
    pub bucket: String,
    /// The AWS region; by default the one of the environment or profile.
    pub region: Option<String>,
    /// Another address than the region's own, such as `http://127.0.0.1:4566`.
    ///
    /// The bucket is then part of the path. One on loopback is an engine of this machine: no
    /// credentials are looked for.
    pub endpoint: Option<String>,
    /// What requests go through instead of a client with TLS of its own.
    pub http_client: Option<SharedHttpClient>,
}

impl S3 {
    /// Sets up a client; nothing is asked of the bucket yet.
    pub async fn connect(config: S3Config) -> Self {
        let place = Place {
            region: config.region,
            endpoint: config.endpoint.as_deref(),
            loopback_region: "us-east-1",
        };
        let loaded = aws::loader(place, config.http_client)
            .retry_config(retries())
            .timeout_config(timeouts(ANSWER_PATIENCE))
            .load()
            .await;
        // A custom endpoint has no DNS name for each bucket.
        let path_style = loaded.endpoint_url().is_some();
        let settings = Builder::from(&loaded).force_path_style(path_style).build();
        let region = settings.region().map_or("no region", Region::as_ref);
        let endpoint = loaded
            .endpoint_url()
            .map_or_else(|| format!("S3 in {region}"), str::to_owned);
        Self {
            client: Client::from_conf(settings),
            bucket: config.bucket.into(),
            endpoint: endpoint.into(),
        }
    }
}

/// How long one try of a question may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// How long one try of an upload may take: 8 MiB through 256 kbit/s. One that stands still is
/// given up long before, by the SDK's protection against stalled streams.
const UPLOAD_PATIENCE: Duration = Duration::from_mins(5);

/// Returns what an operation that sends an object's bytes does differently.
pub(super) fn upload_settings() -> Builder {
    Config::builder().timeout_config(timeouts(UPLOAD_PATIENCE))
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(8)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(5))
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_attempt_timeout(attempt)
        .build()
}
