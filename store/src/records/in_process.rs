//! A table in this process: each request is a call, without a connection.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use super::Records;
use super::connect::ATTEMPTS;

/// A service of tables that runs in this process.
pub trait TableService: fmt::Debug + Send + Sync + 'static {
    /// Performs an operation, such as `Query`. The body of the request is JSON, as that of the
    /// answer.
    ///
    /// The call blocks until the operation is done.
    fn perform(&self, operation: &str, body: &[u8]) -> ServiceAnswer;
}

/// The answer of a [`TableService`], in the form of DynamoDB's HTTP interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAnswer {
    pub status: u16,
    /// The result of the operation, or the error, in JSON.
    pub body: String,
}

impl Records {
    /// Returns a table of a service in this process. Errors name it by the address `endpoint`, where
    /// other processes reach it.
    pub fn in_process(service: Arc<dyn TableService>, table: &str, endpoint: &str) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(InProcess(service))
            .endpoint_url(endpoint)
            .region(Region::from_static("local"))
            // A signature proves nothing to a function in the same process.
            .allow_no_auth()
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            // A call ends before a timer could be asked.
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Self::new(Client::from_conf(config.build()), table).known_by(Some(endpoint))
    }
}

/// The client of a service in this process, and its only connector.
#[derive(Clone, Debug)]
struct InProcess(Arc<dyn TableService>);

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(self.answer(&request))
    }
}

impl InProcess {
    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let answer = self.0.perform(operation, body);
        let status = answer.status.try_into();
        let status = status.map_err(|error| ConnectorError::other(Box::new(error), None))?;
        Ok(HttpResponse::new(status, answer.body.into()))
    }
}
