//! The Lambda program: environment, clock, and the types of the runtime.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use lambda_http::{Body, Error, Response, run, service_fn};
use packcast_check_in::{CheckInFunction, FunctionSettings, TableSettings};
use packcast_store::Records;

// Lambda sends one request at a time, so more threads would only cost start-up time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
    let variable = |name: &str| std::env::var(name).ok();
    let settings = FunctionSettings::from_environment(variable)?;
    let TableSettings {
        table,
        region,
        endpoint,
    } = TableSettings::from_environment(variable)?;
    let records = Records::connect_within_lambda(&table, region, endpoint.as_deref());
    let function = Arc::new(CheckInFunction::new(records, settings));
    run(service_fn(move |request| {
        answer(Arc::clone(&function), request)
    }))
    .await
}

async fn answer(
    function: Arc<CheckInFunction>,
    request: lambda_http::Request,
) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let body: Bytes = body.collect().await?.to_bytes();
    let now = SystemTime::now().into();
    let response = function.handle(Request::from_parts(parts, body), now).await;
    // Lambda sets the variable.
    let name = || std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let refusals = function.take_refusals(now);
    let state = function.take_state_counts(now);
    let rollouts = function.take_rollout_counts(now);
    let lines = [
        refusals.map(|counts| counts.to_metric(&name())),
        state.map(|counts| counts.to_metric(&name())),
        rollouts.map(|counts| counts.to_metric(&name())),
    ];
    for line in lines.into_iter().flatten() {
        // A write that fails must not fail the request.
        let _ = writeln!(io::stdout(), "{line}");
    }
    Ok(response.map(|body| Body::Binary(body.to_vec())))
}
