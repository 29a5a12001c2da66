//! The engines that the records are tested on.

use crate::skip::{Missing, skip};

/// An engine that stores the tables of a test.
#[derive(Clone, Debug)]
pub enum Service {
    /// The engine of `packcast local`; each table has an engine of its own.
    Embedded,
    /// AWS's DynamoDB Local at this address, which `tests/dynamodb-local` starts.
    DynamoDbLocal { endpoint: String },
}

impl Service {
    /// Returns DynamoDB Local if it runs. Otherwise skips the test, as [`engine`] does.
    pub fn dynamodb_local() -> Option<Self> {
        let endpoint = engine("PACKCAST_TEST_DYNAMODB_LOCAL")?;
        Some(Self::DynamoDbLocal { endpoint })
    }
}

/// The value of the variable if this machine cannot run the engine.
const UNAVAILABLE: &str = "unavailable";

/// Returns the address in an environment variable. Skips the test if there is no address.
///
/// # Panics
/// If the variable is empty although `CI` is set: in CI, `tests/run` starts every engine that the
/// machine can run.
pub fn engine(variable: &str) -> Option<String> {
    let endpoint = std::env::var(variable).unwrap_or_default();
    match endpoint.as_str() {
        "" => skip(Missing::Provided(variable)),
        UNAVAILABLE => skip(Missing::Optional(variable)),
        _ => return Some(endpoint),
    }
    None
}

/// Turns each rule, an async function of a [`Service`], into one test for each service.
#[macro_export]
macro_rules! on_each_service {
    ($($rule:ident)+) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $rule() {
                    super::$rule($crate::service::Service::Embedded).await;
                }
            )+
        }

        mod dynamodb_local {
            $(
                #[tokio::test]
                async fn $rule() {
                    if let Some(service) = $crate::service::Service::dynamodb_local() {
                        super::$rule(service).await;
                    }
                }
            )+
        }
    };
}
