//! Errors from every kind of object store.

use std::io;

use super::s3::BucketError;

/// Errors from putting an object. Nothing of the object is visible.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("cannot write object {path}: it exists with other content, and objects never change")]
    Conflict { path: String },
    #[error("cannot write object {path}: expected {expected} bytes, found {given}")]
    Length {
        path: String,
        expected: u64,
        given: u64,
    },
    #[error("cannot write object {path}: its content has another digest than expected")]
    Digest { path: String },
    #[error("cannot write object {path}: no space is left in {place}")]
    NoSpace {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot write object {path}: check the permissions of {place}")]
    Denied {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot write object {path} in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot store object {path}")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

/// Errors from reading objects.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    #[error("cannot read object {path}: it is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("cannot read {path} in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot read {path}")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

/// Errors from removing the objects of a folder.
///
/// Some objects may be removed already. Another try can remove the others.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error("cannot remove {path} in {place}")]
    Io {
        path: String,
        place: String,
        source: io::Error,
    },
    #[error("cannot remove {path}")]
    Bucket {
        path: String,
        source: Box<BucketError>,
    },
}

impl PutError {
    /// Returns true if the operation may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

impl GetError {
    /// Returns true if the operation may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

impl DeleteError {
    /// Returns true if the operation may succeed later without any change.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Bucket { source, .. } if source.is_retryable())
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::objects::s3::BucketFault;
    use crate::objects::s3::error::tests::bucket_error;

    fn lines<E: ToString>(errors: impl IntoIterator<Item = E>) -> String {
        let lines: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
        lines.join("\n")
    }

    fn io() -> io::Error {
        io::ErrorKind::Other.into()
    }

    #[test]
    fn put_error_messages() {
        let (path, place) = (
            || "d/x/manifest.json".to_owned(),
            || "/published".to_owned(),
        );
        let errors = [
            PutError::Conflict { path: path() },
            PutError::Length {
                path: path(),
                expected: 12,
                given: 11,
            },
            PutError::Digest { path: path() },
            PutError::NoSpace {
                path: path(),
                place: place(),
                source: io(),
            },
            PutError::Denied {
                path: path(),
                place: place(),
                source: io(),
            },
            PutError::Io {
                path: path(),
                place: place(),
                source: io(),
            },
            PutError::Bucket {
                path: path(),
                source: bucket_error(BucketFault::Unreachable).into(),
            },
        ];
        assert_snapshot!(lines(errors), @r"
        cannot write object d/x/manifest.json: it exists with other content, and objects never change
        cannot write object d/x/manifest.json: expected 12 bytes, found 11
        cannot write object d/x/manifest.json: its content has another digest than expected
        cannot write object d/x/manifest.json: no space is left in /published
        cannot write object d/x/manifest.json: check the permissions of /published
        cannot write object d/x/manifest.json in /published
        cannot store object d/x/manifest.json
        ");
    }

    #[test]
    fn get_error_messages() {
        let path = || "d/x/manifest.json".to_owned();
        let errors = [
            GetError::TooLarge {
                path: path(),
                limit: 1024,
            },
            GetError::Io {
                path: path(),
                place: "/published".to_owned(),
                source: io(),
            },
            GetError::Bucket {
                path: path(),
                source: bucket_error(BucketFault::Unreachable).into(),
            },
        ];
        assert_snapshot!(lines(errors), @r"
        cannot read object d/x/manifest.json: it is larger than 1024 bytes
        cannot read d/x/manifest.json in /published
        cannot read d/x/manifest.json
        ");
    }

    #[test]
    fn delete_error_messages() {
        let errors = [
            DeleteError::Io {
                path: "d/x".to_owned(),
                place: "/published".to_owned(),
                source: io(),
            },
            DeleteError::Bucket {
                path: "d/x".to_owned(),
                source: bucket_error(BucketFault::Unreachable).into(),
            },
        ];
        assert_snapshot!(lines(errors), @r"
        cannot remove d/x in /published
        cannot remove d/x
        ");
    }
}
