//! One uploaded file: its bytes arrive in order, in any number of requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use packcast_protocol::Sha256Digest;
use tempfile::TempDir;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter, SeekFrom};
use tokio::sync::Mutex;

use super::file_name::FileName;
use super::room::Room;
use super::start_digest::StartDigest;
use super::upload_error::{MAX_BYTES, UploadError};
use super::upload_folder::UploadFolder;

/// The time in which the next part of a body must arrive.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

const BUFFER: usize = 256 << 10;

/// The identity of a file, as the browser sees it before the upload. A file with the same identity
/// continues an upload if it also begins with the stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: FileName,
    pub(crate) bytes: u64,
    /// The time of the last change, in milliseconds.
    pub(crate) modified_ms: u64,
}

/// The first bytes of a file in the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) bytes: u64,
    /// As [`StartDigest`] computes it.
    pub(crate) digest: Sha256Digest,
}

/// A file in the private folder of the console. It is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Upload {
    name: FileName,
    /// `None` for an upload in one request, which cannot be continued.
    identity: Option<Identity>,
    folder: TempDir,
    room: Room,
    stored: std::sync::Mutex<Stored>,
    /// Only one request at a time writes.
    writing: Mutex<()>,
}

/// The bytes that are stored.
#[derive(Clone, Debug, Default)]
struct Stored {
    bytes: u64,
    start: StartDigest,
}

impl Upload {
    /// Begins an upload that several requests can complete.
    pub(crate) fn begin(identity: Identity, folder: &UploadFolder) -> Result<Self, UploadError> {
        if identity.bytes == 0 {
            return Err(UploadError::Empty {
                name: identity.name,
            });
        }
        if identity.bytes > MAX_BYTES {
            return Err(UploadError::TooLarge);
        }
        let upload = Self::new(identity.name.clone(), Some(identity.clone()), folder)?;
        upload.room.check(identity.bytes)?;
        Ok(upload)
    }

    /// Begins an upload of a file whose length is not known.
    pub(crate) fn begin_plain(name: FileName, folder: &UploadFolder) -> Result<Self, UploadError> {
        Self::new(name, None, folder)
    }

    fn new(
        name: FileName,
        identity: Option<Identity>,
        uploads: &UploadFolder,
    ) -> Result<Self, UploadError> {
        let (folder, room) = uploads.folder()?;
        let upload = Self {
            name,
            identity,
            folder,
            room,
            stored: std::sync::Mutex::default(),
            writing: Mutex::new(()),
        };
        create_private(&upload.path()).map_err(|source| upload.room.error(source))?;
        Ok(upload)
    }

    pub(crate) const fn name(&self) -> &FileName {
        &self.name
    }

    pub(crate) const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(self.name.as_str())
    }

    /// Returns the number of bytes that are stored.
    pub(crate) fn received(&self) -> u64 {
        self.stored().bytes
    }

    fn stored(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the stored bytes with the start of a file; `None` if their lengths differ.
    pub(crate) fn is_start(&self, start: Start) -> Option<bool> {
        let stored = self.stored();
        (stored.bytes == start.bytes).then(|| stored.start.digest() == start.digest)
    }

    /// Stores the next part of the file, which begins at `offset`. A part that is cut off is kept until
    /// there.
    pub(crate) async fn continue_at<E>(
        &self,
        offset: u64,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), UploadError> {
        let _writing = self.writing.lock().await;
        let expected = self.received();
        if offset != expected {
            return Err(UploadError::Offset {
                expected,
                found: offset,
            });
        }
        let bytes = self.identity.as_ref().map_or(0, |identity| identity.bytes);
        self.append(bytes, body).await
    }

    /// Stores a whole file.
    pub(crate) async fn receive<E>(
        &self,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), UploadError> {
        let _writing = self.writing.lock().await;
        self.append(MAX_BYTES, body).await?;
        match self.received() {
            0 => Err(UploadError::Empty {
                name: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Appends a body, at most until the file has `most` bytes.
    async fn append<E>(
        &self,
        most: u64,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), UploadError> {
        let before = self.stored().clone();
        let opened = self.open(before.bytes).await;
        let mut file = opened.map_err(|it| self.room.error(it))?;
        let (stored, copied) = self.copy(before, most, body, &mut file).await;
        // Without this, the bytes in the buffer would be lost, and counted.
        file.flush().await.map_err(|it| self.room.error(it))?;
        *self.stored() = stored;
        copied
    }

    /// Opens the file for writing at a place. An earlier request that failed may have written more.
    async fn open(&self, start: u64) -> io::Result<BufWriter<File>> {
        let mut file = OpenOptions::new().write(true).open(self.path()).await?;
        file.set_len(start).await?;
        file.seek(SeekFrom::Start(start)).await?;
        Ok(BufWriter::with_capacity(BUFFER, file))
    }

    /// Copies a body, and returns the bytes that are stored then, with the result.
    async fn copy<E>(
        &self,
        before: Stored,
        most: u64,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        file: &mut BufWriter<File>,
    ) -> (Stored, Result<(), UploadError>) {
        let mut stored = before.clone();
        let mut checked = None;
        loop {
            let part = match tokio::time::timeout(PART_TIMEOUT, body.next()).await {
                Ok(None) => return (stored, Ok(())),
                Ok(Some(Ok(part))) => part,
                Ok(Some(Err(_))) | Err(_) => {
                    let received = stored.bytes;
                    return (stored, Err(UploadError::Cut { received }));
                }
            };
            let length = part.len() as u64;
            if stored.bytes + length > most {
                let error = if most == MAX_BYTES {
                    UploadError::TooLarge
                } else {
                    UploadError::Longer { bytes: most }
                };
                return (stored, Err(error));
            }
            if checked.is_none_or(|at| stored.bytes - at >= Room::STEP) {
                if let Err(error) = self.room.check(0) {
                    return (stored, Err(error));
                }
                checked = Some(stored.bytes);
            }
            if let Err(error) = file.write_all(&part).await {
                return (before, Err(self.room.error(error)));
            }
            stored.start.add(&part);
            stored.bytes += length;
        }
    }
}

/// Creates an empty file that only its owner can read.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn identity(name: &str, content: &[u8]) -> Identity {
        Identity {
            name: name.parse().unwrap(),
            bytes: content.len() as u64,
            modified_ms: 1,
        }
    }

    fn start(bytes: &[u8]) -> Start {
        let mut start = StartDigest::default();
        start.add(bytes);
        Start {
            bytes: bytes.len() as u64,
            digest: start.digest(),
        }
    }

    fn parts(parts: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, ()>> + Unpin {
        let parts: Vec<_> = parts.iter().map(|it| Ok(Bytes::from_static(it))).collect();
        stream::iter(parts)
    }

    fn cut(part: &'static [u8]) -> impl Stream<Item = Result<Bytes, ()>> + Unpin {
        stream::iter([Ok(Bytes::from_static(part)), Err(())])
    }

    #[tokio::test]
    async fn an_upload_continues_where_it_was_cut() {
        let parent = tempfile::tempdir().unwrap();
        let folder = UploadFolder::new(parent.path().to_owned());
        let upload = Upload::begin(identity("a.zip", b"0123456789"), &folder).unwrap();
        let error = upload.continue_at(0, cut(b"0123")).await.unwrap_err();
        assert!(matches!(error, UploadError::Cut { received: 4 }), "{error}");
        for offset in [0, 3, 5, 10, u64::MAX] {
            let error = upload.continue_at(offset, parts(&[b"4"])).await;
            let error = error.unwrap_err();
            assert!(
                matches!(error, UploadError::Offset { expected: 4, .. }),
                "{error}"
            );
        }
        upload.continue_at(4, parts(&[b"45", b"67"])).await.unwrap();
        assert_eq!(upload.received(), 8);
        let error = upload.continue_at(8, parts(&[b"89", b"x"])).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, UploadError::Longer { bytes: 10 }),
            "{error}"
        );
        assert_eq!(upload.received(), 10);
        assert_eq!(std::fs::read(upload.path()).unwrap(), b"0123456789");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&upload.path()), 0o600);
            let own = upload.path().parent().unwrap().to_owned();
            assert_eq!(mode(&own), 0o700);
            assert_eq!(mode(own.parent().unwrap()), 0o700);
        }
        let path = upload.path();
        drop(upload);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn the_stored_bytes_are_compared_with_the_start_of_a_file() {
        let parent = tempfile::tempdir().unwrap();
        let folder = UploadFolder::new(parent.path().to_owned());
        let upload = Upload::begin(identity("a.zip", b"0123"), &folder).unwrap();
        assert_eq!(upload.is_start(start(b"")), Some(true));
        upload.continue_at(0, cut(b"01")).await.unwrap_err();
        assert_eq!(upload.is_start(start(b"01")), Some(true));
        assert_eq!(upload.is_start(start(b"0x")), Some(false));
        assert_eq!(upload.is_start(start(b"")), None);
        assert_eq!(upload.is_start(start(b"012")), None);
        upload.continue_at(2, parts(&[b"23"])).await.unwrap();
        assert_eq!(upload.is_start(start(b"0123")), Some(true));
        assert_eq!(upload.is_start(start(b"0124")), Some(false));
    }

    #[tokio::test]
    async fn empty_and_too_large_files_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = UploadFolder::new(parent.path().to_owned());
        let empty = Upload::begin(identity("a.zip", b""), &folder);
        assert!(matches!(empty, Err(UploadError::Empty { .. })));
        let large = Identity {
            bytes: MAX_BYTES + 1,
            ..identity("a.zip", b"x")
        };
        let large = Upload::begin(large, &folder);
        assert!(matches!(large, Err(UploadError::TooLarge)));
        let plain = Upload::begin_plain("a.zip".parse().unwrap(), &folder).unwrap();
        let error = plain.receive(parts(&[])).await;
        assert!(matches!(error, Err(UploadError::Empty { .. })));
    }
}
