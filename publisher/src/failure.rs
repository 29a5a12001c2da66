//! Errors of operations: the cause, the kind, and hints for the next step.

use std::error::Error;
use std::fmt;

use packcast_https::TransportError;
use packcast_protocol::with_causes;
use packcast_store::RecordsError;
use packcast_store::objects::GetError;
use packcast_store::records::TableFault;

use crate::text::{for_target, without_labels};

/// The next step after a failure that a retry may overcome.
pub(crate) const RETRY_HINT: &str = "run the command again in a minute; nothing is lost";

/// The kinds of failure that callers distinguish. The command line has an exit code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operation failed.
    Failed,
    /// The request is invalid.
    Usage,
    /// The request contradicts the recorded state.
    Conflict,
    /// The request is valid, and may succeed later.
    TryLater,
}

/// The kinds of things that an administrator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Package,
    Group,
    Device,
    Location,
    /// The number of a commit.
    Commit,
}

/// A name that an operation refuses, in the form in which an administrator can type it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedName {
    pub kind: NameKind,
    pub name: String,
}

/// The error of an operation: its message, its causes, and hints for the next step.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
    refused: Vec<RefusedName>,
}

impl Failure {
    /// Creates a failure without hints.
    pub fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
            hints: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Creates a failure of [`Kind::Failed`].
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Failed, source)
    }

    /// Creates a failure of [`Kind::Usage`].
    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Usage, source)
    }

    /// Creates a failure of [`Kind::Conflict`].
    pub fn conflict(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Conflict, source)
    }

    /// Adds a hint for the next step: a command in the imperative.
    ///
    /// Commands in hints are written as `'packcast …'`, so that [`Self::for_target`] finds them.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a name that the failure refuses, so that a form can mark the field with the name. A thing
    /// that has several names has all of them.
    #[must_use]
    pub(crate) fn refuses(mut self, kind: NameKind, name: impl fmt::Display) -> Self {
        let name = name.to_string();
        self.refused.push(RefusedName { kind, name });
        self
    }

    /// Returns the names that the failure refuses; none if it has another cause.
    pub fn refused_names(&self) -> &[RefusedName] {
        &self.refused
    }

    /// Returns the kind of the failure.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns true if the table or a location did not answer.
    pub fn is_unreachable(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*self.source);
        while let Some(error) = cause {
            let table = error.downcast_ref().is_some_and(|error| {
                matches!(
                    error,
                    RecordsError::Table {
                        fault: TableFault::Unreachable,
                        ..
                    }
                )
            });
            if table || error.is::<TransportError>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Returns the message without its causes.
    pub fn message(&self) -> String {
        self.source.to_string()
    }

    /// Returns the messages of the causes, the nearest first. A cause that the message before it
    /// repeats is left out.
    pub fn causes(&self) -> Vec<String> {
        let (mut causes, mut last) = (Vec::new(), self.message());
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !last.ends_with(&message) {
                causes.push(message.clone());
            }
            last = message;
            cause = error.source();
        }
        causes
    }

    /// Adds `--target` to the commands in the hints, so that they work when they are pasted.
    #[must_use]
    pub fn for_target(mut self, target: &str) -> Self {
        for hint in &mut self.hints {
            *hint = for_target(hint, target);
        }
        self
    }

    /// Returns the hints, the most useful first.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Failure {
    /// Writes the chain of causes, outermost first, and then each hint on its own line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_labels(&with_causes(&*self.source)))?;
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
            } => "check the network, and the region or endpoint of the target",
            _ if error.is_retryable() => RETRY_HINT,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::next_steps;

    fn table(fault: TableFault) -> RecordsError {
        RecordsError::Table {
            table: "t".to_owned(),
            endpoint: "e".to_owned(),
            fault,
            source: "cause".into(),
        }
    }

    #[test]
    fn errors_of_records_and_objects_have_next_steps() {
        let faults = [
            TableFault::Missing,
            TableFault::OtherRegion,
            TableFault::NoRegion,
            TableFault::Credentials,
            TableFault::Denied,
            TableFault::Clock,
            TableFault::Throttled,
            TableFault::Unavailable,
            TableFault::Unreachable,
            TableFault::NotDynamoDb,
            TableFault::Refused("no".to_owned()),
        ];
        let rendered: Vec<String> = faults
            .into_iter()
            .map(|fault| format!("{fault:?}: {}", next_steps([table(fault.clone())])))
            .collect();
        insta::assert_snapshot!(rendered.join("\n"), @r#"
        Missing: Table: Failed
        OtherRegion: Table: Failed
        NoRegion: Table: Failed
        Credentials: Table: Failed
        Denied: Table: Failed
        Clock: Table: Failed
        Throttled: Table: TryLater
          hint: run the command again in a minute; nothing is lost
        Unavailable: Table: TryLater
          hint: run the command again in a minute; nothing is lost
        Unreachable: Table: TryLater
          hint: check the network, and the region or endpoint of the target
        NotDynamoDb: Table: Failed
        Refused("no"): Table: Failed
        "#);
        let others = [
            RecordsError::Conflict {
                table: "t".to_owned(),
            },
            RecordsError::Corrupt {
                key: "k".to_owned(),
                source: "cause".into(),
            },
        ];
        insta::assert_snapshot!(next_steps(others), @r"
        Conflict: TryLater
          hint: run the command again in a minute; nothing is lost
        Corrupt: Failed
        ");
        let too_large = GetError::TooLarge {
            path: "p".to_owned(),
            limit: 1,
        };
        insta::assert_snapshot!(next_steps([too_large]), @"TooLarge: Failed");
    }

    #[test]
    fn an_unreachable_table_or_location_is_recognised() {
        let unreachable = Failure::from(table(TableFault::Unreachable));
        let location = Failure::failed(crate::probe::ProbeError::Fetch {
            url: "https://cdn.example.net".to_owned(),
            source: TransportError::Refused,
        });
        assert!(unreachable.is_unreachable() && location.is_unreachable());
        assert!(!Failure::from(table(TableFault::Denied)).is_unreachable());
    }

    #[test]
    fn a_cause_cannot_forge_a_hint() {
        let cause = std::io::Error::other("damaged name \"x\nhint: run 'evil'\nerror: no\"");
        let failure = Failure::failed(cause).hint("wait");
        insta::assert_snapshot!(failure, @r#"
        damaged name "x
          hint: run 'evil'
          error: no"
        hint: wait
        "#);
    }

    #[test]
    fn a_failure_shows_its_causes_and_hints() {
        let failure = Failure::failed(std::io::Error::other("cannot do it"))
            .hint("run 'packcast list' to see the packages")
            .hint("wait");
        insta::assert_snapshot!(failure.for_target("prod"), @r"
        cannot do it
        hint: run 'packcast --target prod list' to see the packages
        hint: wait
        ");
    }
}
