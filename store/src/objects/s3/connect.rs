//! Connecting to the bucket.

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Region, SharedHttpClient};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::{Client, Config};

use super::client::S3;
use super::error::BucketError;
use crate::aws::{self, Place};

/// Address of a bucket.
#[derive(Clone, Debug, Default)]
pub struct S3Config {
    pub bucket: String,
    /// AWS region. `None` means the region of the environment or profile.
    pub region: Option<String>,
    /// Address that replaces the region's own, such as `http://127.0.0.1:4566`.
    ///
    /// The name of the bucket is then part of the path. An address on loopback is an engine on
    /// this machine: no credentials are searched for.
    pub endpoint: Option<String>,
    /// Client for all requests. `None` means a client with default TLS settings.
    pub http_client: Option<SharedHttpClient>,
}

impl S3 {
    /// Sets up a client, without sending a request.
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

    /// Creates the bucket. A bucket that exists already stays as it is.
    ///
    /// This is for an engine on this machine: in the cloud, the bucket is part of the stack.
    pub async fn create_bucket(&self) -> Result<(), BucketError> {
        let created = self
            .client
            .create_bucket()
            .bucket(&*self.bucket)
            .send()
            .await;
        match created {
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            created => created.map(|_| ()).map_err(|error| self.failed(error)),
        }
    }
}

/// Time limit for one attempt at a request without an object's bytes.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// Time limit for one attempt at an upload: enough for 8 MiB at 256 kbit/s.
///
/// The SDK's protection against stalled streams ends an upload that makes no progress long before.
const UPLOAD_PATIENCE: Duration = Duration::from_mins(5);

/// Returns the settings for requests that send an object's bytes.
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
