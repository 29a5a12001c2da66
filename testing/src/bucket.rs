//! Buckets on engines that stand in for S3.

use std::net::SocketAddr;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpClient};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use packcast_store::key::default_prefix;
use packcast_store::{Objects, S3, S3Config};

use crate::policy::Policy;
use crate::service::engine;

/// Environment variables with the addresses of the engines, which `tests/run` starts.
pub const LOCALSTACK: &str = "PACKCAST_TEST_LOCALSTACK";
pub const MINISTACK: &str = "PACKCAST_TEST_MINISTACK";

/// A bucket that only one test uses.
#[derive(Debug)]
pub struct TestBucket {
    pub name: String,
    pub engine: SocketAddr,
    /// The bucket as a publisher may use it: requests that the template forbids are refused.
    pub objects: Objects,
    /// The bucket without a policy.
    pub owner: S3,
}

impl TestBucket {
    /// Creates a bucket. Returns `None` if the engine does not run; the test is then skipped.
    ///
    /// # Panics
    /// As [`engine`] does.
    pub async fn on(variable: &str) -> Option<Self> {
        let endpoint = engine(variable)?;
        let name = format!("test-{:016x}", fastrand::u64(..));
        let connect = async |http_client: Option<SharedHttpClient>| {
            S3::connect(S3Config {
                bucket: name.clone(),
                endpoint: Some(endpoint.clone()),
                http_client,
                ..S3Config::default()
            })
            .await
        };
        let plain = aws_smithy_http_client::Builder::new().build_http();
        let publisher = connect(Some(Policy::of_publisher().before(plain))).await;
        let owner = connect(None).await;
        owner
            .create_bucket()
            .await
            .expect("an engine creates a bucket");
        let engine = endpoint.strip_prefix("http://").unwrap_or(&endpoint);
        Some(Self {
            engine: engine.parse().expect("an engine has an address"),
            objects: Objects::S3(publisher),
            owner,
            name,
        })
    }

    /// Returns the paths of all objects below the default prefix.
    pub async fn paths(&self) -> Vec<String> {
        let listed = self.objects.list(&default_prefix()).await;
        let listed = listed.expect("an engine lists its objects");
        listed.into_keys().collect()
    }

    /// Replaces an object without any condition, as the owner of the bucket can after removing the
    /// policy of the bucket.
    pub async fn replace(&self, path: &str, bytes: Bytes) {
        let mut request = HttpRequest::new(SdkBody::from(bytes));
        request.set_method("PUT").expect("a method");
        let uri = format!("http://{}/{}/{path}", self.engine, self.name);
        request.set_uri(uri).expect("an engine's address");
        let answer = Connector::builder().build_http().call(request).await;
        let status = answer.expect("the engine runs").status();
        assert!(status.is_success(), "{status:?}");
    }
}
