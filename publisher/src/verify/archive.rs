//! The fragments of an archive, and the whole that they make: several on their way at once,
//! and the whole's digests taken in order, in bounded memory.

use std::collections::VecDeque;

use bytes::Bytes;
use md5::Md5;
use packcast_protocol::{Archive, FragmentNumber, Md5Digest, Sha256Digest};
use packcast_store::ObjectKey;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Expected, MAX_PROBLEMS, Problem, Source};
use crate::progress::Progress;

/// How many fragments are on their way at once.
const PARALLEL: usize = 4;

/// How many chunks of a fragment wait for those before it.
const WAITING_CHUNKS: usize = 32;

/// A fragment on its way.
struct Fetching {
    chunks: mpsc::Receiver<Bytes>,
    checked: JoinHandle<Result<(), Problem>>,
}

/// The digests of the whole archive, as far as it has come.
#[derive(Default)]
struct Whole {
    sha256: Sha256,
    md5: Md5,
}

/// Checks every fragment at a source, and the whole; gives up after many problems.
pub(super) async fn check(
    expected: Expected<'_>,
    archive: &Archive,
    source: &Source,
    problems: &mut Vec<Problem>,
    progress: &Progress,
) {
    let before = problems.len();
    let parallel = source.parallel(archive.fragment_size().get(), PARALLEL);
    let mut fragments = archive.fragments();
    let mut under_way = VecDeque::new();
    let mut whole = Whole::default();
    while problems.len() < MAX_PROBLEMS {
        let free = parallel - under_way.len();
        let started = fragments.by_ref().take(free);
        under_way.extend(started.map(|fragment| start(expected, source, fragment)));
        let Some(next) = under_way.pop_front() else {
            break;
        };
        problems.extend(finish(next, &mut whole, progress).await.err());
    }
    if problems.len() == before {
        problems.extend(whole.problems(expected, archive));
    }
}

fn start(
    expected: Expected<'_>,
    source: &Source,
    (number, bytes, digest): (FragmentNumber, u64, Sha256Digest),
) -> Fetching {
    let package = expected.package;
    let key = ObjectKey::fragment(&package.folder, package.id, number);
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    let source = source.clone();
    let checked = tokio::spawn(async move { source.fragment(&key, bytes, digest, sender).await });
    Fetching { chunks, checked }
}

async fn finish(
    mut fetching: Fetching,
    whole: &mut Whole,
    progress: &Progress,
) -> Result<(), Problem> {
    while let Some(chunk) = fetching.chunks.recv().await {
        whole.sha256.update(&chunk);
        whole.md5.update(&chunk);
        progress.advance(chunk.len() as u64);
    }
    fetching.checked.await.map_err(|_| Problem::Stopped)?
}

impl Whole {
    /// Compares the digests of an archive of which every fragment has come.
    fn problems(self, expected: Expected<'_>, archive: &Archive) -> Vec<Problem> {
        let sha256 = Sha256Digest::from_bytes(self.sha256.finalize().into());
        let md5 = Md5Digest::from_bytes(self.md5.finalize().into());
        let mut problems = Vec::new();
        if sha256 != archive.sha256() {
            problems.push(Problem::Sha256 {
                actual: sha256,
                expected: archive.sha256(),
            });
        }
        if let Some(published) = expected.published.md5.filter(|published| *published != md5) {
            problems.push(Problem::Md5 {
                actual: md5,
                expected: published,
            });
        }
        problems
    }
}
