//! The log file of a service whose system keeps no log for it, as on Windows.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The size limit of the file, in bytes. The log has at most two files of this size.
const MAX_BYTES: u64 = 4 << 20;

/// Returns the path of the log file of a service with this configuration file.
pub(crate) fn path(config: &Path) -> PathBuf {
    config.with_file_name("agent.log")
}

/// The log file, which is renamed when it is full. The file replaces the one that was renamed before.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens the file, and creates it if it is missing.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes })
    }

    /// Begins a new file.
    fn rotate(&mut self) -> io::Result<()> {
        // Without the right to rename the file, the log loses its lines so far.
        if std::fs::rename(&self.path, earlier(&self.path)).is_err() {
            self.file.set_len(0)?;
        }
        self.file = append(&self.path)?;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(event.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes.saturating_add(length) > MAX_BYTES {
            self.rotate()?;
        }
        self.file.write_all(event)?;
        self.bytes = self.bytes.saturating_add(length);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Returns the path of the file before the present one.
fn earlier(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".1");
    name.into()
}

/// A reader of the log.
#[derive(Debug)]
pub(crate) struct LogReader {
    path: PathBuf,
    /// The number of bytes of the present file that were read.
    read: u64,
}

impl LogReader {
    /// Returns the newest lines of the log, and a reader of the lines that follow.
    pub(crate) fn newest(path: PathBuf, lines: usize) -> io::Result<(String, Self)> {
        let mut text = match std::fs::read(earlier(&path)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut reader = Self { path, read: 0 };
        text.extend(reader.further()?);
        let text = String::from_utf8_lossy(&text);
        let shown = text.lines().count().saturating_sub(lines);
        let newest: String = text.split_inclusive('\n').skip(shown).collect();
        Ok((newest, reader))
    }

    /// Returns the text that was written since the last call.
    pub(crate) fn further(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.read {
            // Another file has begun.
            self.read = 0;
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        self.read += u64::try_from(file.read_to_end(&mut text)?).unwrap_or(u64::MAX);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_keeps_the_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("agent.toml"));
        let mut log = LogFile::open(file.clone()).unwrap();
        let filler = "x".repeat(1 << 20);
        for n in 0..20 {
            writeln!(log, "{n} {filler}").unwrap();
        }
        drop(log);
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(size(&file) <= MAX_BYTES && size(&earlier(&file)) <= MAX_BYTES);
        // The next process continues the file.
        writeln!(LogFile::open(file.clone()).unwrap(), "last").unwrap();
        let (text, _) = LogReader::newest(file, 4).unwrap();
        let firsts: Vec<_> = text.lines().map(|line| &line[..2]).collect();
        assert_eq!(firsts, ["17", "18", "19", "la"]);
    }

    #[test]
    fn a_reader_follows_the_log_into_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir.path().join("agent.toml"));
        let mut log = LogFile::open(file.clone()).unwrap();
        log.write_all(b"one\ntwo\n").unwrap();
        let (text, mut reader) = LogReader::newest(file, 1).unwrap();
        assert_eq!(text, "two\n");
        assert_eq!(reader.further().unwrap(), b"");
        log.write_all(b"three\n").unwrap();
        assert_eq!(reader.further().unwrap(), b"three\n");
        log.rotate().unwrap();
        log.write_all(b"four\n").unwrap();
        assert_eq!(reader.further().unwrap(), b"four\n");
    }
}
