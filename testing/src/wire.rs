//! Requests to the records' service and their answers, in the form in which a client sees them.

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use serde_json::Value;

/// Returns the name of the operation in a request, such as `Query`.
pub(crate) fn operation(request: &HttpRequest) -> String {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

/// Parses a body; a body that is not JSON has no members.
pub(crate) fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// Splits an answer into its status and its whole body.
pub(crate) async fn collected(mut answer: HttpResponse) -> Result<(u16, Bytes), ConnectorError> {
    let status = answer.status().as_u16();
    let body = ByteStream::new(answer.take_body())
        .collect()
        .await
        .map_err(|error| ConnectorError::io(error.into()))?;
    Ok((status, body.into_bytes()))
}

pub(crate) fn answer(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    let status = status.try_into().expect("a status that a server has sent");
    HttpResponse::new(status, body.into())
}
