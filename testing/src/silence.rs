//! A service that takes every request and answers none.

use std::future;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// A client of such a service.
#[derive(Debug)]
pub struct FakeSilence;

impl FakeSilence {
    /// Returns what `RecordsConfig` takes.
    pub fn http_client() -> SharedHttpClient {
        SharedHttpClient::new(Self)
    }
}

impl HttpClient for FakeSilence {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Self)
    }
}

impl HttpConnector for FakeSilence {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(future::pending())
    }
}
