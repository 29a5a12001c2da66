//! What a command ends with when it does not end well.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use packcast_protocol::with_causes;
use packcast_store::RecordsError;
use packcast_store::objects::GetError;
use packcast_store::records::TableFault;

/// How a failed command leaves, as documented in `packcast --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 1: it could not be done.
    Failed,
    /// 2: what was asked for does not make sense.
    Usage,
    /// 3: what was asked for contradicts what is there.
    Conflict,
    /// 75: nothing is wrong with what was asked for; try again later.
    TryLater,
}

/// An error at the boundary: its message, what caused it, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Failed, source)
    }

    pub(crate) fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, source)
    }

    pub(crate) fn conflict(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Conflict, source)
    }

    /// Adds a next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Conflict => 3,
            Kind::TryLater => 75,
        })
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

/// Returns how a command leaves whose cause may be gone later, or not.
pub(crate) const fn kind(is_retryable: bool) -> Kind {
    if is_retryable {
        Kind::TryLater
    } else {
        Kind::Failed
    }
}
