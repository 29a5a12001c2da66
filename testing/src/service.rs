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
    /// Finds DynamoDB Local, as [`engine`] does.
    pub fn dynamodb_local() -> Option<Self> {
        let endpoint = engine("PACKCAST_TEST_DYNAMODB_LOCAL")?;
        Some(Self::DynamoDbLocal { endpoint })
    }
}

/// What a variable says of an engine that this machine cannot have.
const UNAVAILABLE: &str = "unavailable";

/// Returns the address in an environment variable; without one, says that the test is skipped.
///
/// # Panics
/// Continuous integration skips no engine but one that the machine cannot have.
pub fn engine(variable: &str) -> Option<String> {
    let endpoint = std::env::var(variable).unwrap_or_default();
    if !endpoint.is_empty() && endpoint != UNAVAILABLE {
        return Some(endpoint);
    }
    let why = format!("{variable} names no engine: './tests/run tests' starts one");
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(endpoint == UNAVAILABLE || !in_ci, "{why}");
    // Standard error may be closed.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
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
