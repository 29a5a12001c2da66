//! The Lambda binary: environment, clock, and the runtime's own types.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use lambda_http::{Body, Error, Response, run, service_fn};
use packcast_check_in::{CheckIn, Settings};
use packcast_protocol::UnixTime;
use packcast_store::{Records, RecordsConfig};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
    let settings = Settings::from_environment(|name| std::env::var(name).ok())?;
    let records = Records::connect(RecordsConfig {
        table: std::env::var("PACKCAST_TABLE")
            .map_err(|_| "the environment variable PACKCAST_TABLE is not set")?,
        region: None,
        endpoint: std::env::var("PACKCAST_TABLE_ENDPOINT").ok(),
        http_client: None,
    })
    .await;
    let function = Arc::new(CheckIn::new(records, settings));
    run(service_fn(move |request| {
        answer(Arc::clone(&function), request)
    }))
    .await
}

async fn answer(
    function: Arc<CheckIn>,
    request: lambda_http::Request,
) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let body: Bytes = body.collect().await?.to_bytes();
    let response = function
        .handle(Request::from_parts(parts, body), now())
        .await;
    Ok(response.map(|body| Body::Binary(body.to_vec())))
}

fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(since.as_secs())
}
