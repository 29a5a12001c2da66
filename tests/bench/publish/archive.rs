//! The archives that are published.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_protocol::digest::Md5Hasher;
use packcast_tests::world::World;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// Length of the pieces in which content is created.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    /// Content that cannot be compressed, as it is.
    StoredZip,
    /// Content that compresses to about half its length, as programs do.
    DeflatedTarGz,
}

impl fmt::Display for ArchiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StoredZip => "stored zip",
            Self::DeflatedTarGz => "deflated tar.gz",
        })
    }
}

/// An archive on disk, with the facts that each side is checked by.
#[derive(Debug)]
pub(crate) struct TestArchive {
    path: PathBuf,
    pub(crate) kind: ArchiveKind,
    pub(crate) bytes: u64,
    /// MD5 of the file, in hexadecimal digits.
    pub(crate) md5: String,
}

impl TestArchive {
    /// Writes an archive of about this size into the folder of the world.
    pub(crate) fn write(world: &World, kind: ArchiveKind, mib: u32) -> io::Result<Self> {
        let name = match kind {
            ArchiveKind::StoredZip => "large.zip",
            ArchiveKind::DeflatedTarGz => "large.tar.gz",
        };
        let path = world.directory().join(name);
        let file = BufWriter::with_capacity(PIECE_BYTES, File::create(&path)?);
        match kind {
            ArchiveKind::StoredZip => zip(file, mib)?,
            ArchiveKind::DeflatedTarGz => tar_gz(file, mib)?,
        }
        let md5 = md5(&mut File::open(&path)?)?;
        Ok(Self {
            bytes: path.metadata()?.len(),
            path,
            kind,
            md5,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the MD5 of all bytes up to the end, in hexadecimal digits.
pub(crate) fn md5(reader: &mut impl io::Read) -> io::Result<String> {
    let (mut digest, mut buffer) = (Md5Hasher::default(), vec![0; PIECE_BYTES]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(digest.finish().to_string()),
            read => digest.update(&buffer[..read]),
        }
    }
}

fn zip(file: impl Write + io::Seek, mib: u32) -> io::Result<()> {
    let mut archive = zip::ZipWriter::new(file);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    archive.start_file("content", options)?;
    let (mut random, mut piece) = (fastrand::Rng::with_seed(1), vec![0; PIECE_BYTES]);
    for _ in 0..mib {
        random.fill(&mut piece);
        archive.write_all(&piece)?;
    }
    archive.finish()?.flush()
}

fn tar_gz(file: impl Write, mib: u32) -> io::Result<()> {
    let content_mib = u64::from(mib) * 2;
    let mut header = tar::Header::new_gnu();
    header.set_size(content_mib * PIECE_BYTES as u64);
    header.set_mode(0o644);
    let gzip = GzEncoder::new(file, Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    let content = Repeats::new().take(header.size()?);
    archive.append_data(&mut header, "content", content)?;
    archive.into_inner()?.finish()?.flush()
}

/// Random bytes, each block of which appears twice in a row.
struct Repeats {
    random: fastrand::Rng,
    block: [u8; 4096],
    /// Position in the two copies of the block.
    position: usize,
}

impl Repeats {
    fn new() -> Self {
        Self {
            random: fastrand::Rng::with_seed(2),
            block: [0; 4096],
            position: 0,
        }
    }
}

impl io::Read for Repeats {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == 0 {
            self.random.fill(&mut self.block);
        }
        let rest = &self.block[self.position % self.block.len()..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.position = (self.position + length) % (2 * self.block.len());
        Ok(length)
    }
}
