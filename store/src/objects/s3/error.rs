//! What can go wrong with every request to a bucket.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::S3;
use crate::aws::{Silence, answer};

type Source = Box<dyn Error + Send + Sync>;

/// Why a bucket did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("bucket {bucket} at {endpoint} {fault}")]
pub struct BucketError {
    pub bucket: String,
    /// The address, or the service and its region.
    pub endpoint: String,
    pub fault: BucketFault,
    source: Source,
}

/// What is wrong, with the next step where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketFault {
    #[error("does not exist: deploy the stack, or check the target's bucket and region")]
    Missing,
    /// The bucket's region is known if S3 told it.
    #[error("is in another region: set the target's region to {}", .0.as_deref().unwrap_or("the bucket's"))]
    OtherRegion(Option<String>),
    #[error("cannot be asked without a region: set the target's region, or AWS_REGION")]
    NoRegion,
    #[error("needs valid AWS credentials: check the profile, or sign in again")]
    Credentials,
    #[error("denies that to these AWS credentials: check the permissions of the profile")]
    Denied,
    #[error("does not take this machine's time: set its clock right")]
    Clock,
    #[error("is not available for a while")]
    Busy,
    #[error("does not answer")]
    Unreachable,
    #[error("refused with {0}")]
    Refused(String),
}

impl BucketError {
    /// Tells whether the same request may be granted later.
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
    /// Reads an answer: its code (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>),
    /// or its status where the code says nothing of use.
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

/// The answer to a conditional write that met another one.
pub(super) const CONDITIONAL_CONFLICT: &str = "ConditionalRequestConflict";

/// The header that tells where a bucket is.
const BUCKET_REGION: &str = "x-amz-bucket-region";

impl S3 {
    /// Names what S3, or the way to it, said.
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

    /// Names a refusal that was told for one key of many.
    pub(super) fn refused(&self, code: &str, message: &str) -> BucketError {
        self.fault(BucketFault::of(200, code, None), message)
    }

    /// Names why an object's bytes stopped coming.
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
