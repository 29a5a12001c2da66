//! Buckets on engines that stand in for S3.

use std::net::SocketAddr;

use packcast_store::key::default_prefix;
use packcast_store::{Objects, S3, S3Config};

use crate::service::engine;

/// Environment variables with the addresses of the engines, which `tests/run` starts.
pub const LOCALSTACK: &str = "PACKCAST_TEST_LOCALSTACK";
pub const MINISTACK: &str = "PACKCAST_TEST_MINISTACK";

/// A bucket that only one test uses.
#[derive(Debug)]
pub struct TestBucket {
    pub name: String,
    pub engine: SocketAddr,
    pub objects: Objects,
}

impl TestBucket {
    /// Creates a bucket. Returns `None` if the engine does not run; the test is then skipped.
    ///
    /// # Panics
    /// As [`engine`] does.
    pub async fn on(variable: &str) -> Option<Self> {
        let endpoint = engine(variable)?;
        let name = format!("test-{:016x}", fastrand::u64(..));
        let s3 = S3::connect(S3Config {
            bucket: name.clone(),
            endpoint: Some(endpoint.clone()),
            ..S3Config::default()
        })
        .await;
        s3.create_bucket()
            .await
            .expect("an engine creates a bucket");
        let engine = endpoint.strip_prefix("http://").unwrap_or(&endpoint);
        Some(Self {
            name,
            engine: engine.parse().expect("an engine has an address"),
            objects: Objects::S3(s3),
        })
    }

    /// Returns the paths of all objects below the default prefix.
    pub async fn paths(&self) -> Vec<String> {
        let listed = self.objects.list(&default_prefix()).await;
        let listed = listed.expect("an engine lists its objects");
        listed.into_keys().collect()
    }
}
