//! One uploaded file: its bytes arrive in order, in any number of requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use packcast_protocol::Sha256Digest;
use tempfile::TempDir;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, BufWriter, SeekFrom};
use tokio::sync::Mutex;

use super::file_name::FileName;
use super::room::Room;
use super::upload_error::{MAX_BYTES, UploadError};
use super::upload_folder::UploadFolder;

/// The length of each end of a file that identifies it.
const END: u64 = 1 << 20;

/// The time in which the next part of a body must arrive.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

const BUFFER: usize = 256 << 10;

/// The identity of a file, as the browser sees it before the upload. A file with the same identity
/// continues an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: FileName,
    pub(crate) bytes: u64,
    /// The time of the last change, in milliseconds.
    pub(crate) modified_ms: u64,
    /// The digest of the first and the last MiB of the file, one after the other.
    pub(crate) ends: Sha256Digest,
}

/// A file in the private folder of the console. It is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct Upload {
    name: FileName,
    /// `None` for an upload in one request, which cannot be continued.
    identity: Option<Identity>,
    folder: TempDir,
    room: Room,
    received: AtomicU64,
    /// Only one request at a time writes.
    writing: Mutex<()>,
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
            received: AtomicU64::new(0),
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
        self.received.load(Ordering::SeqCst)
    }

    /// Returns true if all bytes are stored.
    pub(crate) fn is_complete(&self) -> bool {
        let identity = self.identity.as_ref();
        identity.is_none_or(|identity| identity.bytes == self.received())
    }

    /// Stores the next part of the file, which begins at `offset`, and checks the file after the last
    /// part. A part that is cut off is kept until there.
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
        self.append(bytes, body).await?;
        if self.is_complete() {
            self.check_ends().await?;
        }
        Ok(())
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
        let start = self.received();
        let mut file = self.open(start).await.map_err(|it| self.room.error(it))?;
        let (end, copied) = self.copy(start, most, body, &mut file).await;
        // Without this, the bytes in the buffer would be lost, and counted.
        file.flush().await.map_err(|it| self.room.error(it))?;
        self.received.store(end, Ordering::SeqCst);
        copied
    }

    /// Opens the file for writing at a place. An earlier request that failed may have written more.
    async fn open(&self, start: u64) -> io::Result<BufWriter<File>> {
        let mut file = OpenOptions::new().write(true).open(self.path()).await?;
        file.set_len(start).await?;
        file.seek(SeekFrom::Start(start)).await?;
        Ok(BufWriter::with_capacity(BUFFER, file))
    }

    /// Copies a body, and returns the end of the stored bytes with the result.
    async fn copy<E>(
        &self,
        start: u64,
        most: u64,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        file: &mut BufWriter<File>,
    ) -> (u64, Result<(), UploadError>) {
        let mut end = start;
        let mut checked = None;
        loop {
            let part = match tokio::time::timeout(PART_TIMEOUT, body.next()).await {
                Ok(None) => return (end, Ok(())),
                Ok(Some(Ok(part))) => part,
                Ok(Some(Err(_))) | Err(_) => {
                    return (end, Err(UploadError::Cut { received: end }));
                }
            };
            let length = part.len() as u64;
            if end + length > most {
                let error = if most == MAX_BYTES {
                    UploadError::TooLarge
                } else {
                    UploadError::Longer { bytes: most }
                };
                return (end, Err(error));
            }
            if checked.is_none_or(|at| end - at >= Room::STEP) {
                if let Err(error) = self.room.check(0) {
                    return (end, Err(error));
                }
                checked = Some(end);
            }
            if let Err(error) = file.write_all(&part).await {
                return (start, Err(self.room.error(error)));
            }
            end += length;
        }
    }

    /// Compares the stored file with its identity.
    async fn check_ends(&self) -> Result<(), UploadError> {
        let Some(identity) = &self.identity else {
            return Ok(());
        };
        let found = ends(&self.path(), identity.bytes).await;
        if found.map_err(|it| self.room.error(it))? == identity.ends {
            return Ok(());
        }
        // The file is worth nothing: the next request starts again.
        self.received.store(0, Ordering::SeqCst);
        Err(UploadError::Changed {
            name: self.name.clone(),
        })
    }
}

/// Computes the digest of the first and the last MiB of a file.
async fn ends(path: &Path, bytes: u64) -> io::Result<Sha256Digest> {
    let mut file = File::open(path).await?;
    let mut read = Vec::new();
    (&mut file).take(END).read_to_end(&mut read).await?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(END)))
        .await?;
    file.take(END).read_to_end(&mut read).await?;
    Ok(Sha256Digest::of(&read))
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
            ends: Sha256Digest::of(&[content, content].concat()),
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
        assert!(!upload.is_complete());
        let error = upload.continue_at(8, parts(&[b"89", b"x"])).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, UploadError::Longer { bytes: 10 }),
            "{error}"
        );
        assert!(upload.is_complete());
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
    async fn a_file_that_changed_meanwhile_is_uploaded_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = UploadFolder::new(parent.path().to_owned());
        let upload = Upload::begin(identity("a.zip", b"0123"), &folder).unwrap();
        let error = upload.continue_at(0, parts(&[b"0124"])).await.unwrap_err();
        assert!(matches!(error, UploadError::Changed { .. }), "{error}");
        upload.continue_at(0, parts(&[b"0123"])).await.unwrap();
        assert!(upload.is_complete());
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
