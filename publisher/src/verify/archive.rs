//! Verifies the fragments of an archive, and the whole archive.
//!
//! Several fragments are fetched at a time. The digests of the whole archive are computed in the
//! order of the fragments, in bounded memory.

use std::collections::VecDeque;

use bytes::Bytes;
use packcast_protocol::digest::Md5Hasher;
use packcast_protocol::{Archive, FragmentNumber, Sha256Digest};
use packcast_store::ObjectKey;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{ExpectedPackage, MAX_PROBLEMS, ObjectSource, VerifyProblem};
use crate::progress::Progress;

/// The number of fragments that are fetched at a time.
const PARALLEL: usize = 4;

/// The number of chunks of a fragment that wait until the fragments before it are complete.
const WAITING_CHUNKS: usize = 32;

/// A fragment that is being fetched.
struct FragmentFetch {
    chunks: mpsc::Receiver<Bytes>,
    checked: JoinHandle<Result<(), VerifyProblem>>,
}

/// The digests of the whole archive, up to the last received chunk.
#[derive(Default)]
struct WholeDigests {
    sha256: Sha256,
    md5: Md5Hasher,
}

/// Verifies all fragments of an archive at a source, and the whole archive. The function stops after
/// [`MAX_PROBLEMS`] problems.
pub(super) async fn check(
    expected: ExpectedPackage<'_>,
    archive: &Archive,
    source: &ObjectSource,
    problems: &mut Vec<VerifyProblem>,
    progress: &Progress,
) {
    let before = problems.len();
    let parallel = source.parallel(archive.fragment_size().get(), PARALLEL);
    let mut fragments = archive.fragments();
    let mut under_way = VecDeque::new();
    let mut whole = WholeDigests::default();
    while problems.len() < MAX_PROBLEMS {
        let free = parallel - under_way.len();
        let started = fragments.by_ref().take(free);
        under_way.extend(started.map(|fragment| start(expected, source, fragment)));
        let Some(next) = under_way.pop_front() else {
            break;
        };
        problems.extend(finish(next, &mut whole, progress).await.err());
    }
    // A damaged fragment also changes the digests of the whole archive: report it only once.
    if problems.len() == before {
        problems.extend(whole.problems(expected, archive));
    }
}

fn start(
    expected: ExpectedPackage<'_>,
    source: &ObjectSource,
    (number, bytes, digest): (FragmentNumber, u64, Sha256Digest),
) -> FragmentFetch {
    let package = expected.package;
    let key = ObjectKey::fragment(&package.folder, package.id, number);
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    let source = source.clone();
    let checked = tokio::spawn(async move { source.fragment(&key, bytes, digest, sender).await });
    FragmentFetch { chunks, checked }
}

async fn finish(
    mut fetching: FragmentFetch,
    whole: &mut WholeDigests,
    progress: &Progress,
) -> Result<(), VerifyProblem> {
    while let Some(chunk) = fetching.chunks.recv().await {
        whole.sha256.update(&chunk);
        whole.md5.update(&chunk);
        progress.advance(chunk.len() as u64);
    }
    fetching.checked.await.map_err(|_| VerifyProblem::Stopped)?
}

impl WholeDigests {
    /// Compares the digests of a completely fetched archive with the publication.
    fn problems(self, expected: ExpectedPackage<'_>, archive: &Archive) -> Vec<VerifyProblem> {
        let sha256 = Sha256Digest::from_bytes(self.sha256.finalize().into());
        let md5 = self.md5.finish();
        let mut problems = Vec::new();
        if sha256 != archive.sha256() {
            problems.push(VerifyProblem::Sha256 {
                actual: sha256,
                expected: archive.sha256(),
            });
        }
        if let Some(published) = expected.published.md5.filter(|published| *published != md5) {
            problems.push(VerifyProblem::Md5 {
                actual: md5,
                expected: published,
            });
        }
        problems
    }
}
