//! What can go wrong with every question to the table.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::Records;
use crate::aws::{Silence, answer};

type Source = Box<dyn Error + Send + Sync>;

/// Why the records did not answer.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("table {table} at {endpoint} {fault}")]
    Table {
        table: String,
        /// The address, or the service and its region.
        endpoint: String,
        fault: TableFault,
        source: Source,
    },
    #[error("table {table} kept changing under the same records")]
    Conflict { table: String },
    #[error("record {key} does not read as one of ours")]
    Corrupt { key: String, source: Source },
}

/// What is wrong with a table, with the next step where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    #[error("does not exist: deploy the stack, or check the target's table and region")]
    Missing,
    #[error("is in another region: check the target's region and endpoint")]
    OtherRegion,
    #[error("cannot be asked without a region: set the target's region, or AWS_REGION")]
    NoRegion,
    #[error("needs valid AWS credentials: check the profile, or sign in again")]
    Credentials,
    #[error("denies that to these AWS credentials: check the permissions of the profile")]
    Denied,
    #[error("does not take this machine's time: set its clock right")]
    Clock,
    #[error("is asked too much at once")]
    Throttled,
    #[error("is not available for a while")]
    Unavailable,
    #[error("does not answer")]
    Unreachable,
    #[error("answers as no DynamoDB does: check the target's endpoint")]
    NotDynamoDb,
    #[error("refused with {0}")]
    Refused(String),
}

/// What the service said with an error.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct Said {
    code: String,
    message: String,
}

impl RecordsError {
    /// Tells whether the same question may be answered later.
    pub const fn is_retryable(&self) -> bool {
        use TableFault::{Throttled, Unavailable, Unreachable};
        match self {
            Self::Conflict { .. } => true,
            Self::Corrupt { .. } => false,
            Self::Table { fault, .. } => matches!(fault, Throttled | Unavailable | Unreachable),
        }
    }

    /// Tells whether only the questions of others were in the way.
    pub(super) const fn is_contention(&self) -> bool {
        match self {
            Self::Conflict { .. } => true,
            Self::Corrupt { .. } => false,
            Self::Table { fault, .. } => matches!(fault, TableFault::Throttled),
        }
    }
}

impl From<Silence> for TableFault {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NoRegion => Self::NoRegion,
            Silence::NoCredentials => Self::Credentials,
            Silence::Unreachable => Self::Unreachable,
        }
    }
}

impl TableFault {
    /// Reads an answer: its code
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>),
    /// or its status where the code is empty or says nothing of use.
    fn of(status: u16, code: &str, message: &str) -> Self {
        match (code, status) {
            ("ResourceNotFoundException", _) => Self::Missing,
            ("InvalidSignatureException", _) => Self::of_signature(message),
            (
                "ExpiredTokenException"
                | "IncompleteSignatureException"
                | "MissingAuthenticationTokenException"
                | "UnrecognizedClientException",
                _,
            )
            | (_, 401) => Self::Credentials,
            ("AccessDeniedException" | "NotAuthorized", _) | (_, 403) => Self::Denied,
            (
                "ThrottlingException"
                | "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded",
                _,
            )
            | (_, 429) => Self::Throttled,
            (_, 500..) => Self::Unavailable,
            ("", _) => Self::NotDynamoDb,
            _ => Self::Refused(code.to_owned()),
        }
    }

    /// Three faults have one code: only the words tell them apart.
    fn of_signature(message: &str) -> Self {
        if message.contains("scoped to a valid region") {
            Self::OtherRegion
        } else if message.contains("Signature expired")
            || message.contains("Signature not yet current")
        {
            Self::Clock
        } else {
            Self::Credentials
        }
    }
}

/// The answer to a write that met another at the same item.
const CONFLICT: &str = "TransactionConflictException";

impl Records {
    /// Names what the service, or the way to it, said.
    pub(super) fn failed<E>(&self, error: SdkError<E>) -> RecordsError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = match answer(&error, self.client.config().region()) {
            Ok(answer) => answer.status().as_u16(),
            Err(silence) => return self.fault(silence.into(), error),
        };
        let code = error.code().unwrap_or_default().to_owned();
        let message = error.message().unwrap_or_default().to_owned();
        match (TableFault::of(status, &code, &message), &*code) {
            (_, CONFLICT) => self.conflict(),
            (fault, "") => self.fault(fault, error),
            // The SDK says less of an error that it does not know.
            (fault, _) => self.fault(fault, Said { code, message }),
        }
    }

    pub(super) fn fault(&self, fault: TableFault, source: impl Into<Source>) -> RecordsError {
        RecordsError::Table {
            table: self.table.to_string(),
            endpoint: self.endpoint.to_string(),
            fault,
            source: source.into(),
        }
    }

    /// Returns the error of who met the changes of others in each of several tries.
    pub fn conflict(&self) -> RecordsError {
        RecordsError::Conflict {
            table: self.table.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_by_its_code_and_else_by_its_status() {
        use TableFault::{
            Clock, Credentials, Denied, Missing, NotDynamoDb, OtherRegion, Throttled, Unavailable,
        };
        let signature = "InvalidSignatureException";
        for (status, code, message, expected) in [
            (400, "ResourceNotFoundException", "", Missing),
            (400, "UnrecognizedClientException", "", Credentials),
            (400, "ExpiredTokenException", "", Credentials),
            (400, "AccessDeniedException", "", Denied),
            (403, "", "", Denied),
            (400, "ThrottlingException", "", Throttled),
            (400, "ProvisionedThroughputExceededException", "", Throttled),
            (429, "", "", Throttled),
            (500, "InternalServerError", "", Unavailable),
            (503, "ServiceUnavailable", "", Unavailable),
            (503, "", "", Unavailable),
            (
                400,
                signature,
                "Credential should be scoped to a valid region, not 'eu-west-1'. ",
                OtherRegion,
            ),
            (
                400,
                signature,
                "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z",
                Clock,
            ),
            (
                400,
                signature,
                "The request signature we calculated does not match the signature you provided.",
                Credentials,
            ),
            (200, "", "", NotDynamoDb),
            (404, "", "", NotDynamoDb),
            (
                400,
                "ValidationException",
                "",
                TableFault::Refused("ValidationException".to_owned()),
            ),
        ] {
            let fault = TableFault::of(status, code, message);
            assert_eq!(fault, expected, "{status} {code} {message}");
        }
    }
}
