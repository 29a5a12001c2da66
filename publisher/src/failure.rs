//! The error that an operation ends with: its cause, its kind, and the next step.

use std::error::Error;
use std::fmt;

use packcast_protocol::with_causes;
use packcast_store::RecordsError;
use packcast_store::objects::GetError;
use packcast_store::records::TableFault;

/// The kinds of failure that callers tell apart; the command line has an exit code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operation cannot be done.
    Failed,
    /// The request makes no sense.
    Usage,
    /// The request contradicts the recorded state.
    Conflict,
    /// The request is right; it may succeed later.
    TryLater,
}

/// The error of an operation: its message, its causes, and hints for the next step.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl Failure {
    pub fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Failed, source)
    }

    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, source)
    }

    pub fn conflict(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Conflict, source)
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the kind of the failure.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the next steps, the most useful first.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Failure {
    /// Writes the chain of causes once, outermost first, then the hints, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_causes(&*self.source))?;
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl From<RecordsError> for Failure {
    fn from(error: RecordsError) -> Self {
        let kind = kind(error.is_retryable());
        let hint = match &error {
            RecordsError::Table {
                fault: TableFault::Unreachable,
                ..
            } => "check the network, and the target's region or endpoint",
            _ if error.is_retryable() => "nothing is lost; run the command again in a minute",
            _ => return Self::new(kind, error),
        };
        Self::new(kind, error).hint(hint)
    }
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Self {
        Self::new(kind(error.is_retryable()), error)
    }
}

/// Maps a retryable error to [`Kind::TryLater`], any other to [`Kind::Failed`].
pub const fn kind(is_retryable: bool) -> Kind {
    if is_retryable {
        Kind::TryLater
    } else {
        Kind::Failed
    }
}
