//! Systems other than Linux, which have no keyring of the kernel.

/// The error of each operation.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("only Linux has a keyring of the kernel")]
pub(crate) struct SystemError;

pub(super) fn store(_name: &str, _secret: &[u8], _for_s: u64) -> Result<(), SystemError> {
    Err(SystemError)
}

pub(super) fn find(_name: &str) -> Result<Option<Vec<u8>>, SystemError> {
    Err(SystemError)
}

pub(super) fn remove(_name: &str) -> Result<bool, SystemError> {
    Err(SystemError)
}

#[cfg(test)]
mod tests {
    #[test]
    fn error_messages() {
        insta::assert_snapshot!(super::SystemError, @"only Linux has a keyring of the kernel");
    }
}
