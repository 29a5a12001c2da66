//! Errors from every request to the table.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::Records;
use crate::aws::{Silence, answer};

type Source = Box<dyn Error + Send + Sync>;

/// Errors from reading or writing records.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("table {table} at {endpoint} {fault}")]
    Table {
        table: String,
        /// Address, or service and region.
        endpoint: String,
        fault: TableFault,
        source: Source,
    },
    #[error("cannot change the records in table {table}: other changes kept interfering")]
    Conflict { table: String },
    #[error("record {key} is invalid")]
    Corrupt { key: String, source: Source },
}

/// Cause of a failed request to a table, with the next step if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    #[error("does not exist: deploy the stack, or check the target's table and region")]
    Missing,
    #[error("is in another region: check the target's region and endpoint")]
    OtherRegion,
    #[error("cannot be reached without a region: set the target's region, or AWS_REGION")]
    NoRegion,
    #[error("needs valid AWS credentials: check the profile, or sign in again")]
    Credentials,
    #[error("denies access to these AWS credentials: check the permissions of the profile")]
    Denied,
    #[error("rejects the time of this machine: correct its clock")]
    Clock,
    #[error("gets too many requests at once")]
    Throttled,
    #[error("is not available now")]
    Unavailable,
    #[error("does not answer")]
    Unreachable,
    #[error("does not answer like DynamoDB: check the target's endpoint")]
    NotDynamoDb,
    #[error("refuses the request: {0}")]
    Refused(String),
}

/// Code and message of an error, as the service sent them.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct ServiceError {
    code: String,
    message: String,
}

impl RecordsError {
    /// Returns true if the request may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        use TableFault::{Throttled, Unavailable, Unreachable};
        match self {
            Self::Conflict { .. } => true,
            Self::Corrupt { .. } => false,
            Self::Table { fault, .. } => matches!(fault, Throttled | Unavailable | Unreachable),
        }
    }

    /// Returns true if the cause lies in single records, so that requests for others may succeed.
    pub const fn is_of_single_records(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Corrupt { .. } => true,
            Self::Table { .. } => false,
        }
    }

    /// Returns true if other requests were the only cause.
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
    /// Returns the fault for an error code
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>),
    /// or for the status if the code is empty or unknown.
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

    /// Returns the fault for a signature that was refused.
    ///
    /// Three faults share one code, so the message is the only difference.
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

/// Error code of a write that met another write of the same item.
const CONFLICT: &str = "TransactionConflictException";

impl Records {
    /// Returns the error for an answer of the service, or for a failed connection.
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
            // For an error that the SDK does not know, it keeps neither code nor message.
            (fault, _) => self.fault(fault, ServiceError { code, message }),
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

    /// Returns the error for a change that met other changes in each of its attempts.
    pub(crate) fn conflict(&self) -> RecordsError {
        RecordsError::Conflict {
            table: self.table.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn messages() {
        use TableFault::{
            Clock, Credentials, Denied, Missing, NoRegion, NotDynamoDb, OtherRegion, Throttled,
            Unavailable, Unreachable,
        };
        let faults = [
            Missing,
            OtherRegion,
            NoRegion,
            Credentials,
            Denied,
            Clock,
            Throttled,
            Unavailable,
            Unreachable,
            NotDynamoDb,
            TableFault::Refused("ValidationException".to_owned()),
        ];
        let service_error = ServiceError {
            code: "ValidationException".to_owned(),
            message: "One or more parameter values were invalid".to_owned(),
        };
        let faults = faults.map(|fault| RecordsError::Table {
            table: "packages".to_owned(),
            endpoint: "DynamoDB in eu-west-1".to_owned(),
            fault,
            source: "no answer".into(),
        });
        let others = [
            RecordsError::Conflict {
                table: "packages".to_owned(),
            },
            RecordsError::Corrupt {
                key: "KEYS KEYS".to_owned(),
                source: "missing field".into(),
            },
        ];
        let mut lines: Vec<String> = faults
            .iter()
            .chain(&others)
            .map(ToString::to_string)
            .collect();
        lines.push(service_error.to_string());
        assert_snapshot!(lines.join("\n"), @r"
        table packages at DynamoDB in eu-west-1 does not exist: deploy the stack, or check the target's table and region
        table packages at DynamoDB in eu-west-1 is in another region: check the target's region and endpoint
        table packages at DynamoDB in eu-west-1 cannot be reached without a region: set the target's region, or AWS_REGION
        table packages at DynamoDB in eu-west-1 needs valid AWS credentials: check the profile, or sign in again
        table packages at DynamoDB in eu-west-1 denies access to these AWS credentials: check the permissions of the profile
        table packages at DynamoDB in eu-west-1 rejects the time of this machine: correct its clock
        table packages at DynamoDB in eu-west-1 gets too many requests at once
        table packages at DynamoDB in eu-west-1 is not available now
        table packages at DynamoDB in eu-west-1 does not answer
        table packages at DynamoDB in eu-west-1 does not answer like DynamoDB: check the target's endpoint
        table packages at DynamoDB in eu-west-1 refuses the request: ValidationException
        cannot change the records in table packages: other changes kept interfering
        record KEYS KEYS is invalid
        ValidationException: One or more parameter values were invalid
        ");
    }

    #[test]
    fn the_code_of_an_answer_counts_and_otherwise_its_status() {
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
