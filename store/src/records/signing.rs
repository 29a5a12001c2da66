//! Signing on behalf of a publisher. The publisher passes a closure, so this crate never sees a
//! secret key.

use std::error::Error;

/// A closure that signs a document and returns the signature in minisign format.
pub type Sign = dyn Fn(&str) -> Result<String, SignError> + Send + Sync;

/// Error from the publisher's closure that signs.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the state")]
pub struct SignError(#[source] Box<dyn Error + Send + Sync>);

impl SignError {
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::with_causes;

    use super::*;

    #[test]
    fn messages() {
        let error = SignError::new("the key is locked");
        assert_snapshot!(with_causes(&error), @"cannot sign the state: the key is locked");
    }
}
