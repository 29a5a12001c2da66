//! Pages that cannot be shown, with the cause and the next step.

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use packcast_publisher::{Failure, Kind};

/// A page that cannot be shown.
#[derive(Debug)]
pub(crate) enum PageError {
    /// The address names nothing.
    NotFound(String),
    Failed(Failure),
    /// The page was not complete after this time.
    TooSlow(Duration),
    /// The decision on a change was not complete after this time.
    Undecided(Duration),
}

impl From<Failure> for PageError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl PageError {
    /// Returns the status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::TooSlow(_) | Self::Undecided(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed(failure) => status_of(failure),
        }
    }

    /// Returns the failure of an operation; `None` if there was none.
    pub(crate) const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::NotFound(_) | Self::TooSlow(_) | Self::Undecided(_) => None,
        }
    }

    /// Returns the message, its causes, and the next steps.
    pub(crate) fn texts(&self) -> (String, Vec<String>, Vec<String>) {
        match self {
            Self::NotFound(text) => (text.clone(), Vec::new(), Vec::new()),
            Self::Failed(failure) => {
                let hints = failure.hints().to_vec();
                (failure.message(), failure.causes(), hints)
            }
            Self::TooSlow(limit) => {
                let seconds = limit.as_secs();
                let text = format!("cannot show this page: it was not complete after {seconds} s");
                let cause = "the cloud answers slowly, or not at all".to_owned();
                let hints = [
                    "check the network of this machine, and the state of the cloud service",
                    "run 'packcast status' to see the answer of the cloud",
                ];
                (text, vec![cause], hints.map(str::to_owned).into())
            }
            Self::Undecided(limit) => {
                let seconds = limit.as_secs();
                let text = format!("cannot show the effect: it was not known after {seconds} s");
                let cause = "the effect depends on the records of many devices or packages, or the \
                             cloud answers slowly";
                let hints = [
                    "name fewer devices or groups, and make the change in several parts",
                    "make the change on the command line, which waits without a limit",
                ];
                (
                    text,
                    vec![cause.to_owned()],
                    hints.map(str::to_owned).into(),
                )
            }
        }
    }
}

/// Returns the status of an answer with a failure.
pub(crate) fn status_of(failure: &Failure) -> StatusCode {
    match failure.kind() {
        _ if failure.is_unreachable() => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Usage => StatusCode::BAD_REQUEST,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TryLater => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Reads a part of an address. An invalid one names nothing.
pub(crate) fn named<T: FromStr>(text: &str, kind: &str) -> Result<T, PageError> {
    text.parse()
        .map_err(|_| PageError::NotFound(format!("cannot find this {kind}: {text:?} is no {kind}")))
}

/// Reads an optional field of a form. An empty field counts as absent.
pub(crate) fn field<T: FromStr>(text: Option<&str>, name: &str) -> Result<Option<T>, PageError> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let read = |text: &str| {
        let refusal = format!("cannot read the field {name}: {text:?} is invalid");
        text.parse().map_err(|_| Failure::usage(refusal).into())
    };
    text.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_time_is_stated_with_its_cause() {
        let limit = Duration::from_mins(2);
        let texts = [PageError::TooSlow(limit), PageError::Undecided(limit)].map(|error| {
            let (text, causes, hints) = error.texts();
            [vec![text], causes, hints].concat().join("\n")
        });
        insta::assert_snapshot!(texts.join("\n"), @"
        cannot show this page: it was not complete after 120 s
        the cloud answers slowly, or not at all
        check the network of this machine, and the state of the cloud service
        run 'packcast status' to see the answer of the cloud
        cannot show the effect: it was not known after 120 s
        the effect depends on the records of many devices or packages, or the cloud answers slowly
        name fewer devices or groups, and make the change in several parts
        make the change on the command line, which waits without a limit
        ");
    }
}
