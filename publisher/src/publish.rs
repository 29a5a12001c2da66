//! Publishing: from a source to objects that a device can fetch.

pub mod build;
pub mod info;
pub mod inspect;
pub mod ocs_limits;
mod pack;
pub mod plan;
pub mod publication;
pub mod source;

use packcast_archive::Limits;
use packcast_protocol::FragmentSize;
use packcast_store::records::{PublishError, ReserveError};

use self::inspect::{InspectError, Inspection};
use self::plan::{Plan, PlanError};
use self::publication::{Publication, PublicationError};
use self::source::{Source, SourceError};
use crate::clock::now;
use crate::failure::{Failure, Kind, kind};
use crate::progress::{Progress, Work};
use crate::signing::SigningKey;
use crate::target::Target;

/// Reads the whole archive as agents will, before anything is uploaded.
pub fn inspect(
    source: &Source,
    fragment_size: Option<FragmentSize>,
    progress: &Progress,
) -> Result<Inspection, InspectError> {
    progress.begin(Work::Checking, source.bytes());
    let read = |bytes| progress.advance(bytes);
    let inspection = source.inspect(&Limits::default(), fragment_size, read)?;
    progress.end();
    Ok(inspection)
}

/// Publishes a plan whose archive is `source`; the same call completes a publication that was
/// interrupted.
pub async fn publish(
    target: &Target,
    plan: &Plan,
    source: Option<&Source>,
    key: &SigningKey,
    progress: &Progress,
) -> Result<Publication, Failure> {
    let mut segment = [0; 16];
    getrandom::fill(&mut segment)
        .map_err(|error| Failure::failed(format!("no random numbers can be had: {error}")))?;
    progress.begin(Work::Publishing, source.map_or(0, Source::bytes));
    let publication =
        publication::publish(target, plan, source, key, segment, now(), progress).await?;
    progress.end();
    Ok(publication)
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::failed(error)
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        Self::failed(error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::usage(error)
    }
}

impl From<PublicationError> for Failure {
    fn from(error: PublicationError) -> Self {
        match error {
            PublicationError::Reserve(error @ ReserveError::Conflict { .. }) => Self::conflict(error)
                .hint("a published version never changes: choose another --version for other content"),
            PublicationError::Reserve(error @ ReserveError::Deleted { .. }) => {
                Self::conflict(error).hint("choose another --version")
            }
            PublicationError::Record(error @ PublishError::Deleted { id }) => Self::conflict(error)
                .hint(format!("'packcast delete {id}' removes what was uploaded meanwhile")),
            PublicationError::Reserve(ReserveError::Records(error))
            | PublicationError::Record(PublishError::Records(error))
            | PublicationError::Records(error) => error.into(),
            PublicationError::Reserve(error @ ReserveError::NoFreeId { .. }) => {
                Self::new(Kind::TryLater, error)
            }
            error if error.is_resumable() => Self::new(kind(error.is_retryable()), error).hint(
                "no device sees any of it; what is complete was kept: run the same command again to go on from there",
            ),
            error => Self::failed(error),
        }
    }
}
