//! Verifies a published package: fetches it from its locations or from the store, and compares
//! every byte with the publication.
//!
//! The digests in the record of the package are the reference for all fetched bytes.

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
pub use self::source::ObjectSource;
use crate::probe::ProbeError;
use crate::progress::Progress;
use crate::publish::info;

/// The number of problems after which the verification of a source ends.
pub const MAX_PROBLEMS: usize = 20;

/// The package that a source must have.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedPackage<'a> {
    pub package: &'a PackageRecord,
    pub published: &'a Published,
    /// The keys that may have signed the manifest.
    pub keys: &'a [PublicKey],
}

/// Differences between a source and the publication.
#[derive(Debug, thiserror::Error)]
pub enum VerifyProblem {
    #[error(transparent)]
    Served(#[from] ProbeError),
    #[error(transparent)]
    Stored(#[from] GetError),
    #[error("cannot find object {path} in the store")]
    Missing { path: String },
    #[error("the content of {object} differs from the published object")]
    Bytes { object: String },
    #[error(
        "cannot read object {path} from the store at once: {bytes} bytes are too many; verify the package through a location"
    )]
    TooLarge { path: String, bytes: u64 },
    #[error("cannot verify the signature of the manifest")]
    Signature(#[source] SignatureError),
    #[error("cannot parse the manifest")]
    Manifest(#[source] serde_json::Error),
    #[error("the manifest describes another package than the record")]
    OtherPackage,
    #[error("cannot write info")]
    Info(#[from] packcast_protocol::info::InfoError),
    #[error("SHA-256 mismatch of the archive: expected {expected}, found {actual}")]
    Sha256 {
        actual: Sha256Digest,
        expected: Sha256Digest,
    },
    #[error("MD5 mismatch of the archive: expected {expected}, found {actual}")]
    Md5 {
        actual: Md5Digest,
        expected: Md5Digest,
    },
    #[error("cannot complete the verification: a task of the publisher stopped")]
    Stopped,
}

impl VerifyProblem {
    /// Returns true if a retry may succeed without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Served(error) => error.is_retryable(),
            Self::Stored(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// The problems of each source.
#[derive(Debug, Default)]
pub struct Findings {
    /// The problems in the order of the sources: for each source at most [`MAX_PROBLEMS`], or a few
    /// more.
    pub problems: Vec<Vec<VerifyProblem>>,
    /// The archive was verified, or the package has no archive. The digests of the fragments come
    /// from the manifest, so at least one source must have an intact manifest.
    pub archive_checked: bool,
}

/// Fetches all objects of a package from each source, and compares them with the publication.
///
/// `progress` advances by the bytes of the archive that arrive.
pub async fn verify_all(
    expected: ExpectedPackage<'_>,
    sources: &[ObjectSource],
    progress: &Progress,
) -> Findings {
    let mut findings = Findings::default();
    let mut manifest = None;
    for source in sources {
        let mut problems = Vec::new();
        let found = documents(expected, source, &mut problems).await;
        // The digest in the record makes all intact manifests equal.
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

/// Fetches the manifest of a package.
///
/// # Errors
/// One of the keys must have signed the manifest, and the manifest must describe the same package
/// as the record.
pub async fn signed_manifest(
    expected: ExpectedPackage<'_>,
    source: &ObjectSource,
) -> Result<Manifest, VerifyProblem> {
    let (manifest, signature) = manifest_and_signature(expected, source).await;
    let (manifest, signature) = (manifest?, signature?);
    verify_signature(expected, &manifest, &signature)?;
    read(&manifest, expected)
}

async fn manifest_and_signature(
    expected: ExpectedPackage<'_>,
    source: &ObjectSource,
) -> (Result<Bytes, VerifyProblem>, Result<Bytes, VerifyProblem>) {
    let ExpectedPackage {
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

fn verify_signature(
    expected: ExpectedPackage<'_>,
    manifest: &[u8],
    signature: &[u8],
) -> Result<(), VerifyProblem> {
    let signature = String::from_utf8_lossy(signature);
    signature::verify(manifest, &signature, expected.keys).map_err(VerifyProblem::Signature)
}

/// Verifies manifest, signature and `info`, and returns the manifest if it is the published one.
async fn documents(
    expected: ExpectedPackage<'_>,
    source: &ObjectSource,
    problems: &mut Vec<VerifyProblem>,
) -> Option<Manifest> {
    let (manifest, signature) = manifest_and_signature(expected, source).await;
    let signed = match (&manifest, &signature) {
        (Ok(manifest), Ok(signature)) => verify_signature(expected, manifest, signature),
        _ => Ok(()),
    };
    let manifest = manifest.and_then(|bytes| read(&bytes, expected));
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

/// Parses a manifest, which must describe the same package as the record.
fn read(bytes: &[u8], expected: ExpectedPackage<'_>) -> Result<Manifest, VerifyProblem> {
    let package = expected.package;
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(VerifyProblem::Manifest)?;
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
        && manifest.platform == package.platform
        && manifest.success_codes == package.success_codes
        && manifest.reboot_codes == package.reboot_codes
        && manifest.timeout_s == package.timeout_s
        && manifest.rerun_after_interruption == package.rerun_after_interruption
        && manifest.expires == expected.published.expires
        && action == package.action;
    is_same
        .then_some(manifest)
        .ok_or(VerifyProblem::OtherPackage)
}

async fn info_at(
    expected: ExpectedPackage<'_>,
    source: &ObjectSource,
    at: &LocationRecord,
) -> Result<Bytes, VerifyProblem> {
    let package = expected.package;
    let xml = info::document(package, expected.published, at).to_xml()?;
    let key = ObjectKey::info(&package.folder, at, package.id);
    let digest = Sha256Digest::of(xml.as_bytes());
    source.document(&key, xml.len() as u64, digest).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    #[test]
    fn messages_of_problems() {
        let path = || "d/x/1795000000-1".to_owned();
        let digests = [&b"a"[..], b"b"].map(Sha256Digest::of);
        let md5s = [1, 2].map(|byte| Md5Digest::from_bytes([byte; 16]));
        let problems = [
            VerifyProblem::Missing { path: path() },
            VerifyProblem::Bytes {
                object: "object d/x/1795000000-1".to_owned(),
            },
            VerifyProblem::TooLarge {
                path: path(),
                bytes: 1 << 32,
            },
            VerifyProblem::Signature(SignatureError::Mismatch),
            VerifyProblem::Manifest(serde_json::from_str::<()>("").unwrap_err()),
            VerifyProblem::OtherPackage,
            VerifyProblem::Info(packcast_protocol::info::InfoError::TooLarge { bytes: 1 }),
            VerifyProblem::Sha256 {
                actual: digests[0],
                expected: digests[1],
            },
            VerifyProblem::Md5 {
                actual: md5s[0],
                expected: md5s[1],
            },
            VerifyProblem::Stopped,
        ];
        insta::assert_snapshot!(messages(problems), @r"
        cannot find object d/x/1795000000-1 in the store
        the content of object d/x/1795000000-1 differs from the published object
        cannot read object d/x/1795000000-1 from the store at once: 4294967296 bytes are too many; verify the package through a location
        cannot verify the signature of the manifest
        cannot parse the manifest
        the manifest describes another package than the record
        cannot write info
        SHA-256 mismatch of the archive: expected 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d, found ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb
        MD5 mismatch of the archive: expected 02020202020202020202020202020202, found 01010101010101010101010101010101
        cannot complete the verification: a task of the publisher stopped
        ");
    }
}
