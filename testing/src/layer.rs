//! Layers between the store and its service; a layer sees each request and its answer.

use std::fmt;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// A layer, which decides how each request is answered.
pub(crate) trait Layer: Clone + fmt::Debug + Send + Sync + 'static {
    /// Answers a request, with or without a call of `inner`.
    fn answer(
        self,
        request: HttpRequest,
        inner: SharedHttpConnector,
    ) -> impl Future<Output = Result<HttpResponse, ConnectorError>> + Send;
}

/// Puts a layer before a client.
pub(crate) fn layered(layer: impl Layer, client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Layered {
        layer,
        inner: client,
    })
}

/// A client or one of its connectors, with a layer before it.
#[derive(Debug)]
struct Layered<L, I> {
    layer: L,
    inner: I,
}

impl<L: Layer> HttpClient for Layered<L, SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Layered {
            layer: self.layer.clone(),
            inner: self.inner.http_connector(settings, components),
        })
    }
}

impl<L: Layer> HttpConnector for Layered<L, SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.layer.clone().answer(request, self.inner.clone());
        HttpConnectorFuture::new(answer)
    }
}
