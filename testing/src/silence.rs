//! A fake service that accepts every request, and never answers.

use std::future;

use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::layer::{Layer, layered};

/// A client of a service that never answers.
#[derive(Clone, Copy, Debug)]
pub struct FakeSilence;

impl FakeSilence {
    /// Returns the client that `RecordsConfig` takes.
    pub fn http_client() -> SharedHttpClient {
        let unused = aws_smithy_http_client::Builder::new().build_http();
        layered(Self, unused)
    }
}

impl Layer for FakeSilence {
    fn answer(
        self,
        _: HttpRequest,
        _: SharedHttpConnector,
    ) -> impl Future<Output = Result<HttpResponse, ConnectorError>> + Send {
        future::pending()
    }
}
