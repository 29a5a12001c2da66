//! Buckets on engines that stand in for S3.

use std::net::SocketAddr;

use packcast_store::key::default_prefix;
use packcast_store::objects::BucketError;
use packcast_store::{Objects, S3, S3Config};
use tokio::runtime::Runtime;

use crate::service::engine;

/// The environment variables with the addresses of the engines, which `tests/run` starts.
pub const LOCALSTACK: &str = "PACKCAST_TEST_LOCALSTACK";
pub const MINISTACK: &str = "PACKCAST_TEST_MINISTACK";

/// A bucket of a test's own.
#[derive(Debug)]
pub struct Bucket {
    pub name: String,
    pub engine: SocketAddr,
    pub objects: Objects,
    runtime: Runtime,
}

impl Bucket {
    /// Makes one; where the engine does not run there is none, and the reason is printed.
    ///
    /// # Panics
    /// Continuous integration skips no engine but one that the machine cannot have.
    pub fn on(variable: &str) -> Option<Self> {
        let endpoint = engine(variable)?;
        Some(Self::at(&endpoint).expect("an engine makes a bucket"))
    }

    fn at(endpoint: &str) -> Result<Self, BucketError> {
        let runtime = Runtime::new().expect("a runtime can be made");
        let name = format!("story-{:016x}", fastrand::u64(..));
        let s3 = runtime.block_on(async {
            let s3 = S3::connect(S3Config {
                bucket: name.clone(),
                endpoint: Some(endpoint.to_owned()),
                ..S3Config::default()
            })
            .await;
            s3.create_bucket().await.map(|()| s3)
        })?;
        let engine = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        Ok(Self {
            name,
            engine: engine.parse().expect("an engine has an address"),
            objects: Objects::S3(s3),
            runtime,
        })
    }

    /// Returns the paths of all objects below the prefix of the stories.
    pub fn paths(&self) -> Vec<String> {
        let listed = self.runtime.block_on(self.objects.list(&default_prefix()));
        listed
            .expect("an engine lists its objects")
            .into_keys()
            .collect()
    }
}
