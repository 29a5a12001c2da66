//! The steps of a publication, in the order in which they become visible.
//!
//! The steps are: reserve the package, store its fragments, its manifest, the signature and
//! `info`, and at last write the record, after which the package can be activated. A crash between
//! two steps leaves nothing that a device could see. The same command continues after the last
//! complete step.

use bytes::Bytes;
use packcast_protocol::manifest::ManifestWriteError;
use packcast_protocol::schema::Schema;
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, verify};
use packcast_protocol::{Manifest, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::{PackageRecord, Published};
use packcast_store::key::package_folder;
use packcast_store::objects::{GetError, PutError};
use packcast_store::records::{MAX_AHEAD_S, PublishError, Reservation, ReserveError, Reserved};
use packcast_store::{ObjectKey, RecordsError};
use serde::Serialize;

use super::build::{BuildError, KeptFragments, build};
use super::info::{self, InfoPublishError};
use super::plan::Plan;
use super::source::Source;
use crate::progress::Progress;
use crate::signing::{KeyError, SigningKey};
use crate::target::Target;
use crate::text::time;

/// The allowed difference between the clocks of two publishers, in seconds.
const CLOCKS_DIFFER_S: u64 = 300;

/// The result of a publication.
#[derive(Debug, Serialize)]
pub struct Publication {
    pub package: PackageRecord,
    /// The progress of an earlier run with the same content.
    #[serde(rename = "resumed")]
    pub earlier: Earlier,
    /// The fragments that were not uploaded again.
    pub kept: KeptFragments,
}

/// The progress of an earlier run of a publication. It serializes as a boolean: `false` if there
/// was no earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "bool")]
pub enum Earlier {
    /// There was no earlier run.
    None,
    /// An earlier run reserved the package at least.
    Begun,
    /// An earlier run completed the publication.
    Published,
}

impl From<Earlier> for bool {
    fn from(earlier: Earlier) -> Self {
        earlier != Earlier::None
    }
}

/// Errors from publishing a package.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    #[error(
        "cannot publish package {id}: the record says that the package was reserved {}, which contradicts the package id or the current time {}",
        time(*reserved),
        time(*now)
    )]
    Times {
        id: PackageId,
        reserved: UnixTime,
        now: UnixTime,
    },
    #[error("cannot upload the package")]
    Build(#[from] BuildError),
    #[error("cannot upload package {id}: somebody else has stored an object at its path")]
    Replaced { id: PackageId, source: PutError },
    #[error(transparent)]
    Manifest(#[from] ManifestWriteError),
    #[error("cannot sign the manifest")]
    Sign(#[source] KeyError),
    #[error("cannot store the manifest")]
    PutManifest(#[source] PutError),
    #[error("cannot read the stored signature")]
    GetSignature(#[source] GetError),
    #[error("cannot store the signature of the manifest")]
    PutSignature(#[source] PutError),
    #[error(transparent)]
    Info(#[from] InfoPublishError),
    #[error(transparent)]
    Record(#[from] PublishError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("cannot use the prefix of the target for object paths")]
    Prefix(#[source] packcast_protocol::location::ObjectPathError),
}

impl PublicationError {
    /// Returns true if the same command can complete the publication after the cause is fixed.
    pub const fn is_resumable(&self) -> bool {
        matches!(
            self,
            Self::Build(_)
                | Self::PutManifest(_)
                | Self::PutSignature(_)
                | Self::GetSignature(_)
                | Self::Info(_)
        )
    }

    /// Returns true if a retry may succeed without any change.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Build(error) => error.is_retryable(),
            Self::PutManifest(error) | Self::PutSignature(error) => error.is_retryable(),
            Self::GetSignature(error) => error.is_retryable(),
            Self::Info(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Publishes a plan. `segment` is 16 random bytes, so that nobody can guess the paths of the
/// objects.
pub async fn publish(
    target: &Target,
    plan: &Plan,
    source: Option<&Source>,
    key: &SigningKey,
    segment: [u8; 16],
    now: UnixTime,
    progress: &Progress,
) -> Result<Publication, PublicationError> {
    let reservation = Reservation {
        name: plan.name.clone(),
        version: plan.version.clone(),
        priority: plan.priority,
        action: plan.action.clone().map_archive(|planned| planned.record()),
        audience: plan.terms.audience.clone(),
        windows: plan.terms.windows.clone(),
        platform: plan.terms.platform,
        success_codes: plan.terms.success_codes.clone(),
        reboot_codes: plan.terms.reboot_codes.clone(),
        timeout_s: plan.terms.timeout_s,
        rerun_after_interruption: plan.terms.rerun_after_interruption,
        content: plan.content,
        folder: package_folder(&target.prefix, segment).map_err(PublicationError::Prefix)?,
    };
    let reserved = match plan.id {
        Some(id) => target.records.reserve_id(&reservation, id, now).await?,
        None => target.records.reserve(&reservation, now).await?,
    };
    let (package, earlier) = match reserved {
        Reserved::New(package) => (package, Earlier::None),
        Reserved::Resumed(package) => (package, Earlier::Begun),
    };
    check_times(&package, plan.id, now)?;
    // An earlier run has completed the publication.
    if let Some(published) = package.published() {
        let bytes = package.action.archive().map_or(0, |archive| archive.bytes);
        let kept = KeptFragments {
            fragments: published.fragments,
            bytes,
        };
        return Ok(Publication {
            package,
            earlier: Earlier::Published,
            kept,
        });
    }
    let kept = match (plan.action.archive(), source) {
        (Some(planned), Some(source)) => {
            let (folder, objects) = (&package.folder, &target.objects);
            build(
                source,
                &planned.archive,
                folder,
                package.id,
                objects,
                progress,
            )
            .await
            .map_err(|error| match error {
                BuildError::Put(source @ PutError::Conflict { .. }) => PublicationError::Replaced {
                    id: package.id,
                    source,
                },
                error => error.into(),
            })?
        }
        _ => KeptFragments::default(),
    };
    let published = sign_manifest(target, plan, &package, key, now).await?;
    // `activate` publishes `info` again, including for locations that are added later.
    for at in target.records.locations().await? {
        info::publish(&target.objects, &package, &published, &at).await?;
    }
    let by = target.changed_by();
    let package = target.records.publish(package.id, &published, &by).await?;
    Ok(Publication {
        package,
        earlier,
        kept,
    })
}

/// Writes, signs and stores the manifest.
///
/// The manifest depends on the draft and the plan only, so a second run writes the same bytes.
/// Each signature is different, so a stored signature that verifies is kept.
async fn sign_manifest(
    target: &Target,
    plan: &Plan,
    package: &PackageRecord,
    key: &SigningKey,
    now: UnixTime,
) -> Result<Published, PublicationError> {
    let manifest = manifest(plan, package);
    let archive = plan.action.archive();
    let published = |digest, signature| Published {
        manifest: digest,
        signature,
        signer: key.public().clone(),
        md5: archive.map(|planned| planned.md5),
        fragments: archive.map_or(0, |planned| planned.archive.fragment_count().get()),
        expires: manifest.expires,
        published_at: now,
    };
    let bytes = Bytes::from(manifest.to_bytes()?);
    let place = ObjectKey::manifest(&package.folder, package.id);
    target
        .objects
        .put_bytes(&place, bytes.clone())
        .await
        .map_err(PublicationError::PutManifest)?;
    let signature = store_signature(target, package, &bytes, key).await?;
    Ok(published(
        Sha256Digest::of(&bytes),
        Sha256Digest::of(&signature),
    ))
}

/// Returns the stored signature. The function signs the manifest if no signature is stored that
/// verifies.
async fn store_signature(
    target: &Target,
    package: &PackageRecord,
    manifest: &[u8],
    key: &SigningKey,
) -> Result<Bytes, PublicationError> {
    let place = ObjectKey::signature(&package.folder, package.id);
    let stored = target
        .objects
        .get(&place, MAX_SIGNATURE_BYTES as u64)
        .await
        .map_err(PublicationError::GetSignature)?;
    let verifies = |signature: &Bytes| {
        let signature = String::from_utf8_lossy(signature);
        verify(manifest, &signature, std::slice::from_ref(key.public())).is_ok()
    };
    if let Some(signature) = stored.filter(verifies) {
        return Ok(signature);
    }
    let comment = format!(
        "packcast {} {}@{}",
        package.id, package.name, package.version
    );
    let signature = key
        .sign(manifest, &comment)
        .map_err(PublicationError::Sign)?;
    let signature = Bytes::from(signature);
    target
        .objects
        .put_bytes(&place, signature.clone())
        .await
        .map_err(PublicationError::PutSignature)?;
    Ok(signature)
}

/// Refuses a draft whose id does not match the time of its reservation, or that was reserved in the
/// future.
///
/// Somebody who controls the records could otherwise choose an id that no later package exceeds, or
/// a time that makes the package valid for years. The plan itself may name an `imported` id.
fn check_times(
    package: &PackageRecord,
    imported: Option<PackageId>,
    now: UnixTime,
) -> Result<(), PublicationError> {
    let (reserved, id) = (package.created_at, UnixTime(package.id.get().into()));
    let is_of_its_time = match imported {
        Some(imported) => package.id == imported,
        None => (reserved..=reserved.plus(MAX_AHEAD_S)).contains(&id),
    };
    if is_of_its_time && reserved <= now.plus(CLOCKS_DIFFER_S) {
        return Ok(());
    }
    Err(PublicationError::Times {
        id: package.id,
        reserved,
        now,
    })
}

/// Returns the manifest of a plan, with the id and the time of its reservation.
///
/// The function ignores the rest of the record, because the record is not signed.
fn manifest(plan: &Plan, package: &PackageRecord) -> Manifest {
    Manifest {
        schema: Schema,
        id: package.id,
        name: plan.name.clone(),
        version: plan.version.clone(),
        priority: plan.priority,
        action: plan.action.clone().map_archive(|planned| planned.archive),
        platform: plan.terms.platform,
        success_codes: plan.terms.success_codes.clone(),
        reboot_codes: plan.terms.reboot_codes.clone(),
        timeout_s: plan.terms.timeout_s,
        rerun_after_interruption: plan.terms.rerun_after_interruption,
        expires: plan
            .terms
            .validity_s
            .map(|seconds| package.created_at.plus(seconds)),
        audience: plan.terms.audience.clone(),
    }
}
