//! The least time in which the machine can publish an archive, each part measured alone.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use packcast_protocol::digest::Md5Hasher;
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

use crate::FRAGMENT_MIB;
use crate::archive::{ArchiveKind, TestArchive};

/// The parts of the floor. That of `md5sum` is one of the compared sides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Floor {
    /// Writing the same fragments from memory, without a wait for the disk.
    pub(crate) write: Duration,
    /// Processor time of MD5, SHA-256 and inflating, divided by the number of processors.
    pub(crate) cpu: Duration,
    /// Processor time of inflating alone, which one processor does: the archive is one stream.
    pub(crate) inflating: Duration,
}

impl Floor {
    pub(crate) fn measure(folder: &Path, archive: &TestArchive) -> io::Result<Self> {
        let processors = std::thread::available_parallelism()?;
        let processors = u32::try_from(processors.get()).unwrap_or(1);
        let inflating = inflating(archive)?;
        Ok(Self {
            write: write(&folder.join("floor"), archive.bytes)?,
            cpu: (digests(archive)? + inflating) / processors,
            inflating,
        })
    }
}

fn write(folder: &Path, bytes: u64) -> io::Result<Duration> {
    fs::create_dir(folder)?;
    let content = vec![7; (FRAGMENT_MIB as usize) << 20];
    let started = Instant::now();
    let mut left = bytes;
    for number in 0.. {
        let length = content
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        File::create(folder.join(number.to_string()))?.write_all(&content[..length])?;
        left -= length as u64;
        if left == 0 {
            break;
        }
    }
    let took = started.elapsed();
    fs::remove_dir_all(folder)?;
    Ok(took)
}

/// Returns the processor time of MD5 and SHA-256. Reading the file is not counted.
fn digests(archive: &TestArchive) -> io::Result<Duration> {
    let mut file = File::open(archive.path())?;
    let (mut md5, mut sha256) = (Md5Hasher::default(), Sha256::new());
    let (mut used, mut buffer) = (Duration::ZERO, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let started = processor_time();
        md5.update(&buffer[..read]);
        sha256.update(&buffer[..read]);
        used += processor_time().saturating_sub(started);
    }
    Ok(used)
}

fn inflating(archive: &TestArchive) -> io::Result<Duration> {
    if archive.kind != ArchiveKind::DeflatedTarGz {
        return Ok(Duration::ZERO);
    }
    let started = processor_time();
    let file = io::BufReader::with_capacity(256 << 10, File::open(archive.path())?);
    io::copy(&mut GzDecoder::new(file), &mut io::sink())?;
    Ok(processor_time().saturating_sub(started))
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
