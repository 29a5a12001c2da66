//! Whether a package is still what was published, wherever it is served.
//!
//! What the record says of a package is what everything that is fetched back is held against.

mod archive;
mod package;
mod source;

use bytes::Bytes;
use packcast_protocol::manifest::MAX_MANIFEST_BYTES;
use packcast_protocol::signature::{self, MAX_SIGNATURE_BYTES, PublicKey, SignatureError};
use packcast_protocol::{Manifest, Md5Digest, Sha256Digest};
use packcast_rollout::record::ArchiveRecord;
use packcast_rollout::{LocationRecord, PackageRecord, Published};
use packcast_store::ObjectKey;
use packcast_store::objects::GetError;

pub use self::package::{Through, Verification, VerifiedSource, verify};
pub use self::source::Source;
use crate::probe::ProbeError;
use crate::progress::Progress;
use crate::publish::info;

/// How many problems of one source are listed: enough to see what is wrong with it.
pub const MAX_PROBLEMS: usize = 20;

/// What a package is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub package: &'a PackageRecord,
    pub published: &'a Published,
    /// The keys that may have signed the manifest.
    pub keys: &'a [PublicKey],
}

/// Something that is not what was published.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Served(#[from] ProbeError),
    #[error(transparent)]
    Stored(#[from] GetError),
    #[error("object {path} is not stored")]
    Missing { path: String },
    #[error("{object} has other bytes than were published")]
    Bytes { object: String },
    #[error(
        "object {path} has {bytes} bytes, which are too many to read from the store at once: verify it through a location"
    )]
    TooLarge { path: String, bytes: u64 },
    #[error("the manifest's signature was refused")]
    Signature(#[source] SignatureError),
    #[error("the manifest does not read as one")]
    Manifest(#[source] serde_json::Error),
    #[error("the manifest describes another package than the record does")]
    OtherPackage,
    #[error("info cannot be written")]
    Info(#[from] packcast_protocol::info::InfoError),
    #[error("the whole archive has the SHA-256 {actual}, published was {expected}")]
    Sha256 {
        actual: Sha256Digest,
        expected: Sha256Digest,
    },
    #[error("the whole archive has the MD5 {actual}, published was {expected}")]
    Md5 {
        actual: Md5Digest,
        expected: Md5Digest,
    },
    #[error("a part of the verification stopped")]
    Stopped,
}

impl Problem {
    /// Tells whether the same source may have what is missing a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Served(error) => error.is_retryable(),
            Self::Stored(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// What was found at each source.
#[derive(Debug, Default)]
pub struct Findings {
    /// The problems of each source, in the order of the sources; at most [`MAX_PROBLEMS`] or
    /// a few more of each.
    pub problems: Vec<Vec<Problem>>,
    /// Whether the archive could be looked at, if there is one: that takes one source with
    /// the right manifest.
    pub archive_checked: bool,
}

/// Fetches everything back from each source, and compares it with what was published.
///
/// `progress` advances by the bytes of the archive that arrive.
pub async fn verify_all(
    expected: Expected<'_>,
    sources: &[Source],
    progress: &Progress,
) -> Findings {
    let mut findings = Findings::default();
    let mut manifest = None;
    for source in sources {
        let mut problems = Vec::new();
        let found = documents(expected, source, &mut problems).await;
        manifest = manifest.or(found);
        findings.problems.push(problems);
    }
    let Some(manifest) = manifest else {
        return findings;
    };
    findings.archive_checked = true;
    let Some(archive) = manifest.action.archive() else {
        return findings;
    };
    for (source, problems) in sources.iter().zip(&mut findings.problems) {
        archive::check(expected, archive, source, problems, progress).await;
    }
    findings
}

/// Fetches the manifest of a package, which one of the keys has to have signed and which has to
/// say of the package what its record says.
pub async fn signed_manifest(expected: Expected<'_>, source: &Source) -> Result<Manifest, Problem> {
    let (manifest, signature) = manifest_and_signature(expected, source).await;
    let (manifest, signature) = (manifest?, signature?);
    holds(expected, &manifest, &signature)?;
    read(&manifest, expected.package)
}

async fn manifest_and_signature(
    expected: Expected<'_>,
    source: &Source,
) -> (Result<Bytes, Problem>, Result<Bytes, Problem>) {
    let Expected {
        package, published, ..
    } = expected;
    let manifest = ObjectKey::manifest(&package.folder, package.id);
    let signature = ObjectKey::signature(&package.folder, package.id);
    let limits = (MAX_MANIFEST_BYTES as u64, MAX_SIGNATURE_BYTES as u64);
    let manifest = source.document(&manifest, limits.0, published.manifest);
    let manifest = manifest.await;
    let signature = source.document(&signature, limits.1, published.signature);
    (manifest, signature.await)
}

fn holds(expected: Expected<'_>, manifest: &[u8], signature: &[u8]) -> Result<(), Problem> {
    let signature = String::from_utf8_lossy(signature);
    signature::verify(manifest, &signature, expected.keys).map_err(Problem::Signature)
}

/// Checks manifest, signature and `info`, and returns the manifest if it is the published one.
async fn documents(
    expected: Expected<'_>,
    source: &Source,
    problems: &mut Vec<Problem>,
) -> Option<Manifest> {
    let (manifest, signature) = manifest_and_signature(expected, source).await;
    let signed = match (&manifest, &signature) {
        (Ok(manifest), Ok(signature)) => holds(expected, manifest, signature),
        _ => Ok(()),
    };
    let manifest = manifest.and_then(|bytes| read(&bytes, expected.package));
    problems.extend(signature.err());
    problems.extend(signed.err());
    for at in source.infos() {
        problems.extend(info_at(expected, source, at).await.err());
    }
    match manifest {
        Ok(manifest) => Some(manifest),
        Err(problem) => {
            problems.insert(0, problem);
            None
        }
    }
}

/// Reads a manifest, which has to say the same of the package as its record.
fn read(bytes: &[u8], package: &PackageRecord) -> Result<Manifest, Problem> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(Problem::Manifest)?;
    let action = manifest
        .action
        .clone()
        .map_archive(|archive| ArchiveRecord {
            format: archive.format(),
            bytes: archive.bytes(),
            sha256: archive.sha256(),
            fragment_size: archive.fragment_size(),
        });
    let is_same = manifest.id == package.id
        && manifest.name == package.name
        && manifest.version == package.version
        && manifest.priority == package.priority
        && manifest.audience == package.audience
        && action == package.action;
    is_same.then_some(manifest).ok_or(Problem::OtherPackage)
}

async fn info_at(
    expected: Expected<'_>,
    source: &Source,
    at: &LocationRecord,
) -> Result<Bytes, Problem> {
    let package = expected.package;
    let xml = info::document(package, expected.published, at).to_xml()?;
    let key = ObjectKey::info(&package.folder, at, package.id);
    let digest = Sha256Digest::of(xml.as_bytes());
    source.document(&key, xml.len() as u64, digest).await
}
