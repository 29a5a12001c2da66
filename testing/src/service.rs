//! The engines that the records are tested on.

use crate::skip::{Missing, skip};

/// An engine that keeps the tables of a test.
#[derive(Clone, Debug)]
pub enum Service {
    /// The engine of `packcast local`; each table has an engine of its own.
    Embedded,
    /// AWS's DynamoDB Local at this address, which `tests/dynamodb-local` starts.
    DynamoDbLocal { endpoint: String },
}

impl Service {
    /// Finds DynamoDB Local, as [`engine`] does.
    pub fn dynamodb_local() -> Option<Self> {
        let endpoint = engine("PACKCAST_TEST_DYNAMODB_LOCAL")?;
        Some(Self::DynamoDbLocal { endpoint })
    }
}

/// The value of a variable if this machine cannot run the engine.
const UNAVAILABLE: &str = "unavailable";

/// Returns the address in an environment variable, or skips the test if it is empty.
///
/// # Panics
/// If `CI` is set, unless the variable says that the machine cannot run the engine.
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
