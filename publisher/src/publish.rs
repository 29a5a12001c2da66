//! Publishes a package: turns an archive into objects that devices can fetch.

pub mod agent_builds;
pub mod build;
pub mod command_line;
pub mod failing_program;
mod file_state;
pub mod info;
pub mod inspect;
mod links;
pub mod name_encoding;
pub mod ocs_limits;
mod pack;
mod page_aligned;
mod pass;
pub mod plan;
pub mod publication;
pub mod source;
mod staged;
pub mod thread;

use packcast_archive::Limits;
use packcast_protocol::{FragmentSize, PackageName, PackageRef, PackageVersion};
use packcast_store::Objects;
pub use packcast_store::objects::{Staging, StagingArea};
use packcast_store::records::{PublishError, ReserveError};

use self::inspect::{InspectError, Inspection};
use self::plan::{Plan, PlanError};
use self::publication::{Publication, PublicationError};
use self::source::{Source, SourceError};
use crate::clock::now;
use crate::failure::{Failure, Kind, kind};
use crate::progress::{Progress, Work};
use crate::signing::SigningKey;
use crate::state::check_clock;
use crate::target::Target;

/// Creates a place for the fragments of a package, which are then written while its source is
/// inspected.
///
/// Returns `None` if the objects are in a bucket, or if the package is on record: its stored fragments
/// need not be written again. Returns `None` after an error, too: the publication then reads the source
/// twice, and reports the cause if the cause persists.
pub async fn stage(
    target: &Target,
    name: &PackageName,
    version: &PackageVersion,
) -> Option<Staging> {
    let Objects::Directory(_) = &target.objects else {
        return None;
    };
    let named = PackageRef::Named(name.clone(), version.clone());
    match target.records.find(&named).await {
        Ok(None) => target.objects.stage().ok().flatten(),
        Ok(Some(_)) | Err(_) => None,
    }
}

/// Reads the whole archive with the agents' archive reader, before the first upload. Files are packed
/// meanwhile.
pub fn inspect(
    source: &Source,
    fragment_size: Option<FragmentSize>,
    progress: &Progress,
) -> Result<Inspection, InspectError> {
    let (work, bytes) = source.work();
    progress.begin(work, bytes);
    let inspection = source.inspect(&Limits::default(), fragment_size, progress)?;
    progress.end();
    Ok(inspection)
}

/// Publishes a plan with the archive in `source`. The same call completes an interrupted
/// publication.
pub async fn publish(
    target: &Target,
    plan: &Plan,
    source: Option<&Source>,
    key: &SigningKey,
    progress: &Progress,
) -> Result<Publication, Failure> {
    let mut segment = [0; 16];
    getrandom::fill(&mut segment)
        .map_err(|error| Failure::failed(format!("cannot get random numbers: {error}")))?;
    // The id of the package and its expiry follow from the clock.
    check_clock(target, false).await?;
    progress.begin(Work::Publishing, source.map_or(0, Source::bytes));
    let publication =
        publication::publish(target, plan, source, key, segment, now(), progress).await?;
    progress.end();
    Ok(publication)
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let is_not_read = matches!(error, SourceError::Format { .. });
        let failure = Self::failed(error);
        if is_not_read {
            failure.hint("pack its files as .tar.gz (for Unix) or .zip (for Windows); to publish the file itself, put it into a directory")
        } else {
            failure
        }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        Self::failed(error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let hint = match &error {
            PlanError::Unfit { .. } => "rename the entry, or choose another --platform",
            PlanError::AgentName => "choose another --name, or use 'packcast publish-agent'",
            PlanError::Info(_) => "use a shorter command, folder or text",
            _ => return Self::usage(error),
        };
        Self::usage(error).hint(hint)
    }
}

impl From<PublicationError> for Failure {
    fn from(error: PublicationError) -> Self {
        match error {
            PublicationError::Reserve(error @ ReserveError::Conflict { .. }) => Self::conflict(error)
                .hint("choose another --version for other content: a published version never changes"),
            PublicationError::Reserve(error @ ReserveError::Deleted { .. }) => {
                Self::conflict(error).hint("choose another --version")
            }
            PublicationError::Record(error @ PublishError::Deleted { id }) => Self::conflict(error)
                .hint(format!("run 'packcast delete {id}' to remove the objects that were uploaded meanwhile")),
            PublicationError::Reserve(ReserveError::Records(error))
            | PublicationError::Record(PublishError::Records(error))
            | PublicationError::Records(error) => error.into(),
            PublicationError::Reserve(error @ ReserveError::LaterVersion { .. }) => Self::conflict(error)
                .hint("correct the clock of this machine if it is slow; otherwise a publisher's clock was fast, and the package needs another --name"),
            PublicationError::Reserve(error @ ReserveError::IdTaken { .. }) => Self::conflict(error)
                .hint("delete the package that has the id, or import without this package"),
            PublicationError::Reserve(error @ ReserveError::NoFreeId { .. }) => {
                Self::new(Kind::TryLater, error)
            }
            error @ PublicationError::Times { id, .. } => Self::failed(error).hint(format!(
                "correct the clock of this machine, or run 'packcast delete {id}' and publish the package under another name"
            )),
            error @ PublicationError::Replaced { id, .. } => Self::conflict(error).hint(format!(
                "run 'packcast delete {id}', find out who can write to the store, and publish the package under another version"
            )),
            error if error.is_resumable() => {
                let is_signature = matches!(error, PublicationError::PutSignature(_));
                let failure = Self::new(kind(error.is_retryable()), error).hint(
                    "run the same command again to continue: complete objects are kept, and no device sees the package yet",
                );
                if is_signature {
                    failure.hint("use --key to pass the key that the publication was begun with")
                } else {
                    failure
                }
            }
            error => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::build::BuildError;
    use super::command_line::CommandError;
    use super::*;
    use crate::rendered::{converted, next_steps, package_record};
    use packcast_rollout::record::PackageState;

    fn io() -> std::io::Error {
        std::io::Error::other("cause")
    }

    #[test]
    fn errors_of_sources_and_plans_have_next_steps() {
        let path = || "/x".into();
        let errors = [
            SourceError::Missing { path: path() },
            SourceError::Read {
                path: path(),
                source: io(),
            },
            SourceError::Empty { path: path() },
            SourceError::Format { path: path() },
            SourceError::EncodingOfTar { path: path() },
            SourceError::Recode {
                path: path(),
                source: self::name_encoding::NameEncodingError::Again(io()),
            },
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot read /x: the file does not exist
        Failed: cannot read /x
        Failed: cannot publish /x: the file is empty
        Failed: cannot publish /x: agents unpack only zip archives and gzip-compressed tar archives
          hint: pack its files as .tar.gz (for Unix) or .zip (for Windows); to publish the file itself, put it into a directory
        Failed: cannot publish /x: --name-encoding is only for zip archives
        Failed: cannot copy /x with paths in UTF-8
        ");
        let errors = [
            PlanError::NoArchive { action: "store" },
            PlanError::NoCommand { action: "launch" },
            PlanError::NoCommand { action: "execute" },
            PlanError::AgentName,
            PlanError::NoFolder,
            PlanError::CommandOfStore,
            PlanError::FolderOfOther { action: "launch" },
            PlanError::NoSuchProgram {
                program: "run.sh".to_owned(),
                found: "\"setup\"".to_owned(),
            },
            PlanError::LinkToNoFile {
                program: "run.sh".to_owned(),
                target: "bin/run".to_owned(),
            },
            PlanError::Unfit {
                entry: "aux".to_owned(),
                system: packcast_archive::System::Windows,
                reason: packcast_archive::NameError::Reserved {
                    name: "aux".to_owned(),
                },
            },
            PlanError::Command(CommandError::LineBreak),
            PlanError::Info(packcast_protocol::info::InfoError::TooLarge { bytes: 1 }),
        ];
        insta::assert_snapshot!(converted(errors), @r#"
        Usage: store needs an archive, a directory or another file as its source
        Usage: launch needs --command: the name of a file at the top of the archive, and its arguments
        Usage: execute needs --command: a command for the shell of the device
        Usage: cannot publish a package with the name packcast-agent: the name is for updates of the Packcast agent
          hint: choose another --name, or use 'packcast publish-agent'
        Usage: store needs --path: the folder on the device
        Usage: store runs nothing and takes no --command: use launch or execute
        Usage: launch takes no --path: the archive is unpacked into a temporary folder
        Usage: launch cannot find "run.sh" at the top of the archive: found "setup"
        Usage: launch cannot run "run.sh": it is a link to "bin/run", which is not a file of the archive
        Usage: cannot store entry "aux" of the archive on Windows
          hint: rename the entry, or choose another --platform
        Usage: the command has a line break: put the lines into a script inside the archive, or join them with '&&'
        Usage: cannot fit the package into info for OCS agents
          hint: use a shorter command, folder or text
        "#);
    }

    #[test]
    fn errors_of_inspections_name_the_archive() {
        let path = || "/x".into();
        let errors = [
            InspectError::Read {
                path: path(),
                source: io(),
            },
            InspectError::Archive {
                path: path(),
                source: packcast_archive::ArchiveError::Unreadable {
                    format: packcast_protocol::ArchiveFormat::Zip,
                    source: io(),
                },
            },
            InspectError::Changed { path: path() },
            InspectError::NoFiles { path: path() },
            InspectError::Thread(thread::ThreadError::Panicked),
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot read /x
        Failed: cannot publish /x
        Failed: cannot publish /x: the file changed while it was read
        Failed: cannot publish /x: the archive has no files
        Failed: cannot read the archive: a thread of the publisher panicked
        ");
    }

    #[test]
    fn errors_of_publications_have_next_steps() {
        let id = "1795000000".parse().unwrap();
        let put = || packcast_store::objects::PutError::Conflict {
            path: "p".to_owned(),
        };
        let errors = [
            PublicationError::Times {
                id,
                reserved: packcast_protocol::UnixTime(1_895_000_000),
                now: packcast_protocol::UnixTime(1_795_000_000),
            },
            PublicationError::Build(BuildError::Changed { path: "/x".into() }),
            PublicationError::Replaced { id, source: put() },
            PublicationError::Sign(crate::signing::KeyError::EmptyPassphrase),
            PublicationError::PutManifest(put()),
            PublicationError::GetSignature(packcast_store::objects::GetError::TooLarge {
                path: "p".to_owned(),
                limit: 1,
            }),
            PublicationError::PutSignature(put()),
            PublicationError::Prefix("//".parse::<packcast_protocol::ObjectPath>().unwrap_err()),
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot publish package 1795000000: the record says that the package was reserved 2030-01-18 20:53:20 UTC, which contradicts the package id or the current time 2026-11-18 11:06:40 UTC
          hint: correct the clock of this machine, or run 'packcast delete 1795000000' and publish the package under another name
        Failed: cannot upload the package
          hint: run the same command again to continue: complete objects are kept, and no device sees the package yet
        Conflict: cannot upload package 1795000000: somebody else has stored an object at its path
          hint: run 'packcast delete 1795000000', find out who can write to the store, and publish the package under another version
        Failed: cannot sign the manifest
        Failed: cannot store the manifest
          hint: run the same command again to continue: complete objects are kept, and no device sees the package yet
        Failed: cannot read the stored signature
          hint: run the same command again to continue: complete objects are kept, and no device sees the package yet
        Failed: cannot store the signature of the manifest
          hint: run the same command again to continue: complete objects are kept, and no device sees the package yet
          hint: use --key to pass the key that the publication was begun with
        Failed: cannot use the prefix of the target for object paths
        ");
        let now = packcast_protocol::UnixTime(1_795_000_000);
        let existing = || Box::new(package_record(PackageState::Draft));
        let errors = [
            ReserveError::Conflict {
                existing: existing(),
            },
            ReserveError::Deleted {
                existing: existing(),
            },
            ReserveError::Clock { now },
            ReserveError::LaterVersion {
                name: "tool".parse().unwrap(),
                latest: id,
                now,
            },
            ReserveError::NoFreeId { now },
            ReserveError::IdTaken {
                existing: existing(),
            },
        ];
        insta::assert_snapshot!(next_steps(errors.map(PublicationError::from)), @r"
        Reserve Conflict: Conflict
          hint: choose another --version for other content: a published version never changes
        Reserve Deleted: Conflict
          hint: choose another --version
        Reserve Clock: Failed
        Reserve LaterVersion: Conflict
          hint: correct the clock of this machine if it is slow; otherwise a publisher's clock was fast, and the package needs another --name
        Reserve NoFreeId: TryLater
        Reserve IdTaken: Conflict
          hint: delete the package that has the id, or import without this package
        ");
        let errors = [
            PublishError::NoPackage { id },
            PublishError::Conflict { id },
            PublishError::Deleted { id },
        ];
        insta::assert_snapshot!(next_steps(errors.map(PublicationError::from)), @r"
        Record NoPackage: Failed
        Record Conflict: Failed
        Record Deleted: Conflict
          hint: run 'packcast delete 1795000000' to remove the objects that were uploaded meanwhile
        ");
    }
}
