//! The services that records are tested on.

use crate::skip::{Missing, skip};

/// What keeps the tables of a test.
#[derive(Clone, Debug)]
pub enum Service {
    /// The engine of `packcast local`: each table has one of its own.
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

/// What a variable says of an engine that this machine cannot have.
const UNAVAILABLE: &str = "unavailable";

/// Returns the address in an environment variable. Without one, the test is skipped.
///
/// # Panics
/// If `CI` is set, unless the variable says that the machine cannot have the engine.
pub fn engine(variable: &str) -> Option<String> {
    let endpoint = std::env::var(variable).unwrap_or_default();
    match endpoint.as_str() {
        "" => skip(Missing::Provided(variable)),
        UNAVAILABLE => skip(Missing::Optional(variable)),
        _ => return Some(endpoint),
    }
    None
}

/// Makes each rule, an async function of a [`Service`], a test on every one of them.
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
