//! The steps of a publication, in the order in which they become visible.
//!
//! Reserve, fragments, manifest, signature, `info`, and only then the record that makes the
//! package one that can be activated. A crash between any two leaves nothing that a device
//! could see; the same command goes on from there.

use bytes::Bytes;
use packcast_protocol::manifest::ManifestWriteError;
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, verify};
use packcast_protocol::signed::SchemaNumber;
use packcast_protocol::{Manifest, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::{PackageRecord, Published};
use packcast_store::key::package_folder;
use packcast_store::objects::{GetError, PutError};
use packcast_store::records::{PublishError, Reservation, ReserveError, Reserved};
use packcast_store::{ObjectKey, RecordsError};
use serde::Serialize;

use super::build::{BuildError, Kept, build};
use super::info::{self, InfoPublishError};
use super::plan::Plan;
use super::source::Source;
use crate::progress::Progress;
use crate::signing::{KeyError, SigningKey};
use crate::target::Target;

/// How far the clocks of two publishers may be apart, in seconds. Ids are at most a minute
/// later than the time at which they were reserved.
const CLOCKS_DIFFER_S: u64 = 300;

/// The result of a publication.
#[derive(Debug, Serialize)]
pub struct Publication {
    pub package: PackageRecord,
    /// The progress of an earlier run with the same content.
    #[serde(rename = "resumed")]
    pub earlier: Earlier,
    /// The part that was not uploaded again.
    pub kept: Kept,
}

/// The progress of an earlier run of a publication. It serializes as a boolean: `false` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "bool")]
pub enum Earlier {
    /// There was none.
    None,
    /// It had reserved the package, at least.
    Begun,
    /// It had done everything.
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
        "the record of package {id} says that it was reserved at {reserved}, which does not go with its id and the time {now}: set the clock right, or delete the package and publish it anew"
    )]
    Times {
        id: PackageId,
        reserved: UnixTime,
        now: UnixTime,
    },
    #[error("the package could not be built")]
    Build(#[from] BuildError),
    #[error(transparent)]
    Manifest(#[from] ManifestWriteError),
    #[error("the manifest could not be signed")]
    Sign(#[source] KeyError),
    #[error("the manifest could not be stored")]
    PutManifest(#[source] PutError),
    #[error("the signature could not be looked for")]
    GetSignature(#[source] GetError),
    #[error(
        "the signature could not be stored; a draft must be finished with the key that it was begun with"
    )]
    PutSignature(#[source] PutError),
    #[error(transparent)]
    Info(#[from] InfoPublishError),
    #[error(transparent)]
    Record(#[from] PublishError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error("the target's prefix is too long")]
    Prefix(#[source] packcast_protocol::location::ObjectPathError),
}

impl PublicationError {
    /// Tells whether the same command can complete what was begun, once its cause is gone.
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

    /// Tells whether its cause may be gone later, without anything being done about it.
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

/// Publishes a plan. `segment` is 16 random bytes that nobody can guess.
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
        success_codes: plan.terms.success_codes.clone(),
        content: plan.content,
        folder: package_folder(&target.prefix, segment).map_err(PublicationError::Prefix)?,
    };
    let (package, earlier) = match target.records.reserve(&reservation, now).await? {
        Reserved::New(package) => (package, Earlier::None),
        Reserved::Resumed(package) => (package, Earlier::Begun),
    };
    check_times(&package, now)?;
    if let Some(published) = package.published() {
        let bytes = package.action.archive().map_or(0, |archive| archive.bytes);
        let kept = Kept {
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
            .await?
        }
        _ => Kept::default(),
    };
    let published = seal(target, plan, &package, key, now).await?;
    for at in target.records.locations().await? {
        info::publish(&target.objects, &package, &published, &at).await?;
    }
    let package = target.records.publish(package.id, &published).await?;
    Ok(Publication {
        package,
        earlier,
        kept,
    })
}

/// Writes, signs and stores the manifest.
///
/// The manifest depends on nothing but the draft, so that a second run writes the same bytes.
/// A signature is different each time, so one that is there and holds is kept.
async fn seal(
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
    let signature = sign(target, package, &bytes, key).await?;
    Ok(published(
        Sha256Digest::of(&bytes),
        Sha256Digest::of(&signature),
    ))
}

/// Returns the signature that is stored, which is a new one if none that holds was there.
async fn sign(
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
    let holds = |signature: &Bytes| {
        let signature = String::from_utf8_lossy(signature);
        verify(manifest, &signature, std::slice::from_ref(key.public())).is_ok()
    };
    if let Some(signature) = stored.filter(holds) {
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

/// Refuses a draft that was not reserved before now: who owns the records could have put an id
/// there that no later package ever exceeds, or a time from which it is good for years.
fn check_times(package: &PackageRecord, now: UnixTime) -> Result<(), PublicationError> {
    let (reserved, id) = (package.created_at, UnixTime(package.id.get().into()));
    let is_of_its_time = (reserved..=reserved.plus(CLOCKS_DIFFER_S)).contains(&id);
    if is_of_its_time && reserved <= now.plus(CLOCKS_DIFFER_S) {
        return Ok(());
    }
    Err(PublicationError::Times {
        id: package.id,
        reserved,
        now,
    })
}

/// States what the plan says, under the id and as of the time that were reserved for it. The
/// rest of the record is not looked at: it is not signed.
fn manifest(plan: &Plan, package: &PackageRecord) -> Manifest {
    Manifest {
        schema: SchemaNumber,
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
        going_back: plan.terms.going_back,
        expires: package.created_at.plus(plan.terms.validity_s),
        audience: plan.terms.audience.clone(),
    }
}
