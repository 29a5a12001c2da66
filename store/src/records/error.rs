//! What can go wrong with every question to the table.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::Records;

type Source = Box<dyn Error + Send + Sync>;

/// Why the records did not answer.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error(
        "table {table} does not exist: deploy the stack, or check the target's table and region"
    )]
    TableMissing { table: String, source: Source },
    #[error(
        "table {table} may not be used with these AWS credentials: check the profile and its permissions, or sign in again"
    )]
    Credentials { table: String, source: Source },
    #[error("table {table} is asked too much at once")]
    Throttled { table: String, source: Source },
    #[error("records at {endpoint} do not answer")]
    Unreachable { endpoint: String, source: Source },
    #[error("table {table} kept changing under the same records")]
    Conflict { table: String },
    #[error("record {key} does not read as one of ours")]
    Corrupt { key: String, source: Source },
    #[error("table {table} refused with {code}")]
    Service {
        table: String,
        code: String,
        source: Source,
    },
}

impl RecordsError {
    /// Tells whether the same question may be answered later.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. } | Self::Unreachable { .. } | Self::Conflict { .. }
        )
    }
}

const THROTTLED: [&str; 4] = [
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "InternalServerError",
];

const CREDENTIALS: [&str; 7] = [
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "UnrecognizedClientException",
];

/// The answer to a write that met another at the same item.
pub(super) const CONFLICT: &str = "TransactionConflictException";

impl Records {
    /// Names what the service, or the way to it, said.
    pub(super) fn failed<E>(&self, error: SdkError<E>) -> RecordsError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let table = self.table.to_string();
        let code = error.code().map(str::to_owned);
        let source: Source = Box::new(error);
        match code {
            Some(code) if code == "ResourceNotFoundException" => {
                RecordsError::TableMissing { table, source }
            }
            Some(code) if code == CONFLICT => RecordsError::Conflict { table },
            Some(code) if THROTTLED.contains(&code.as_str()) => {
                RecordsError::Throttled { table, source }
            }
            Some(code) if CREDENTIALS.contains(&code.as_str()) => {
                RecordsError::Credentials { table, source }
            }
            Some(code) => RecordsError::Service {
                table,
                code,
                source,
            },
            None if lacks_credentials(&*source) => RecordsError::Credentials { table, source },
            None => RecordsError::Unreachable {
                endpoint: self.endpoint.to_string(),
                source,
            },
        }
    }
}

/// Tells whether no credentials could be had, which no request can tell.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    error.is::<CredentialsError>() || error.source().is_some_and(lacks_credentials)
}
