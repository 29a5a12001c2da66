//! Errors from every request to a bucket.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::client::S3;
use crate::aws::{Silence, answer};

type Source = Box<dyn Error + Send + Sync>;

/// Errors from a request to a bucket.
#[derive(Debug, thiserror::Error)]
#[error("bucket {bucket} at {endpoint} {fault}")]
pub struct BucketError {
    pub bucket: String,
    /// Address, or service and region.
    pub endpoint: String,
    pub fault: BucketFault,
    source: Source,
}

/// Cause of a failed request, with the next step if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketFault {
    #[error("does not exist: deploy the stack, or check the target's bucket and region")]
    Missing,
    /// The region is known if the answer of S3 names it.
    #[error("is in another region: set the target's region to {}", .0.as_deref().unwrap_or("the bucket's"))]
    OtherRegion(Option<String>),
    #[error("cannot be reached without a region: set the target's region, or AWS_REGION")]
    NoRegion,
    #[error("needs valid AWS credentials: check the profile, or sign in again")]
    Credentials,
    #[error("denies access to these AWS credentials: check the permissions of the profile")]
    Denied,
    #[error("rejects the time of this machine: correct its clock")]
    Clock,
    #[error("is not available now")]
    Busy,
    #[error("does not answer")]
    Unreachable,
    #[error("refuses the request: {0}")]
    Refused(String),
}

impl BucketError {
    /// Returns true if the request may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.fault, BucketFault::Busy | BucketFault::Unreachable)
    }
}

impl From<Silence> for BucketFault {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::NoRegion => Self::NoRegion,
            Silence::NoCredentials => Self::Credentials,
            Silence::Unreachable => Self::Unreachable,
        }
    }
}

impl BucketFault {
    /// Returns the fault for an error code
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>), or for the status
    /// if the code is unknown.
    fn of(status: u16, code: &str, region: Option<String>) -> Self {
        match (code, status) {
            ("NoSuchBucket", _) => Self::Missing,
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
                _,
            )
            | (_, 301 | 307) => Self::OtherRegion(region),
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired",
                _,
            )
            | (_, 401) => Self::Credentials,
            ("RequestTimeTooSkewed", _) => Self::Clock,
            (
                "SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout"
                | "OperationAborted" | CONDITIONAL_CONFLICT,
                _,
            )
            | (_, 429 | 500..) => Self::Busy,
            ("AccessDenied" | "AllAccessDisabled", _) | (_, 403) => Self::Denied,
            _ => Self::Refused(code.to_owned()),
        }
    }
}

/// Error code of a conditional write that met another write.
pub(super) const CONDITIONAL_CONFLICT: &str = "ConditionalRequestConflict";

/// Header with the region of a bucket.
const BUCKET_REGION: &str = "x-amz-bucket-region";

impl S3 {
    /// Returns the error for an answer of S3, or for a failed connection.
    pub(super) fn failed<E>(&self, error: SdkError<E>) -> BucketError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let fault = match answer(&error, self.client.config().region()) {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let region = answer.headers().get(BUCKET_REGION).map(str::to_owned);
                let code = error.code().map(str::to_owned);
                let code = code.unwrap_or_else(|| format!("status {status}"));
                BucketFault::of(status, &code, region)
            }
            Err(silence) => silence.into(),
        };
        self.fault(fault, error)
    }

    /// Returns the error for one key of a request with many keys.
    pub(super) fn refused(&self, code: &str, message: &str) -> BucketError {
        self.fault(BucketFault::of(200, code, None), message)
    }

    /// Returns the error for an object whose bytes stopped arriving.
    pub(super) fn broke_off(&self, error: impl Into<Source>) -> BucketError {
        self.fault(BucketFault::Unreachable, error)
    }

    pub(super) fn fault(&self, fault: BucketFault, source: impl Into<Source>) -> BucketError {
        BucketError {
            bucket: self.bucket.to_string(),
            endpoint: self.endpoint.to_string(),
            fault,
            source: source.into(),
        }
    }
}

#[cfg(test)]
pub(in crate::objects) mod tests {
    use insta::assert_snapshot;

    use super::*;

    pub(in crate::objects) fn bucket_error(fault: BucketFault) -> BucketError {
        BucketError {
            bucket: "packages".to_owned(),
            endpoint: "S3 in eu-west-1".to_owned(),
            fault,
            source: "no answer".into(),
        }
    }

    #[test]
    fn bucket_error_messages() {
        let faults = [
            BucketFault::Missing,
            BucketFault::OtherRegion(Some("us-west-2".to_owned())),
            BucketFault::OtherRegion(None),
            BucketFault::NoRegion,
            BucketFault::Credentials,
            BucketFault::Denied,
            BucketFault::Clock,
            BucketFault::Busy,
            BucketFault::Unreachable,
            BucketFault::Refused("InvalidBucketName".to_owned()),
        ];
        let lines = faults.map(|fault| bucket_error(fault).to_string());
        assert_snapshot!(lines.join("\n"), @r"
        bucket packages at S3 in eu-west-1 does not exist: deploy the stack, or check the target's bucket and region
        bucket packages at S3 in eu-west-1 is in another region: set the target's region to us-west-2
        bucket packages at S3 in eu-west-1 is in another region: set the target's region to the bucket's
        bucket packages at S3 in eu-west-1 cannot be reached without a region: set the target's region, or AWS_REGION
        bucket packages at S3 in eu-west-1 needs valid AWS credentials: check the profile, or sign in again
        bucket packages at S3 in eu-west-1 denies access to these AWS credentials: check the permissions of the profile
        bucket packages at S3 in eu-west-1 rejects the time of this machine: correct its clock
        bucket packages at S3 in eu-west-1 is not available now
        bucket packages at S3 in eu-west-1 does not answer
        bucket packages at S3 in eu-west-1 refuses the request: InvalidBucketName
        ");
    }
}
