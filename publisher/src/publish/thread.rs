//! Errors of the threads that read, pack and publish an archive.

use std::io;

/// Errors of a thread.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    #[error("cannot start a thread: end other programs, or raise the limit of processes")]
    Start(#[source] io::Error),
    #[error("cannot read the archive: a thread of the publisher panicked")]
    Panicked,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    #[test]
    fn messages_of_thread_errors() {
        let start = ThreadError::Start(io::Error::other("cause"));
        insta::assert_snapshot!(messages([start, ThreadError::Panicked]), @"
        cannot start a thread: end other programs, or raise the limit of processes
        cannot read the archive: a thread of the publisher panicked
        ");
    }
}
