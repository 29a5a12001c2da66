//! The smallest function on the same runtime, for comparison.

use lambda_http::{Error, Request, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(async |_: Request| {
        Ok::<_, Error>("hello".to_owned())
    }))
    .await
}
