//! The services that records are tested on.

use std::io::Write as _;

/// What keeps the tables of a test.
#[derive(Clone, Debug)]
pub enum Service {
    /// The engine of `packcast local`: each table has one of its own.
    Embedded,
    /// AWS's DynamoDB Local at this address, which `tests/dynamodb-local` starts.
    DynamoDbLocal { endpoint: String },
}

impl Service {
    /// The environment variable with the address of DynamoDB Local.
    const ENDPOINT: &str = "PACKCAST_TEST_DYNAMODB_LOCAL";

    /// Finds DynamoDB Local; where none runs, says that the test is skipped.
    pub fn dynamodb_local() -> Option<Self> {
        let found = std::env::var(Self::ENDPOINT).ok();
        if found.is_none() {
            let name = Self::ENDPOINT;
            // Standard error may be closed.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: {name} is not set, as `tests/dynamodb-local COMMAND…` does"
            );
        }
        found.map(|endpoint| Self::DynamoDbLocal { endpoint })
    }
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
