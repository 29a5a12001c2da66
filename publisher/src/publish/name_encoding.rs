//! Paths of zip archives in an encoding that the archive does not name.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::PathBuf;
use std::str::FromStr;

use encoding_rs::Encoding;
use packcast_archive::{ArchiveError, Content, Entry, Limits, walk};
use packcast_protocol::ArchiveFormat;
use zip::result::ZipError;
use zip::{ZipArchive, ZipWriter};

/// The encoding of paths, by a name of the WHATWG encoding standard, such as `shift_jis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameEncoding(&'static Encoding);

/// The error of an unknown encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown encoding {name:?}: expected a name such as shift_jis, gbk, big5, euc-kr, windows-1252 or ibm866"
)]
pub struct UnknownEncoding {
    name: String,
}

impl FromStr for NameEncoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let encoding = Encoding::for_label_no_replacement(name.as_bytes());
        encoding.map(Self).ok_or_else(|| UnknownEncoding {
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for NameEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name())
    }
}

/// Errors from copying an archive with paths in UTF-8.
#[derive(Debug, thiserror::Error)]
pub enum NameEncodingError {
    #[error("cannot read the archive")]
    Archive(#[from] ArchiveError),
    #[error("cannot read or write entry {entry:?}")]
    Entry { entry: String, source: io::Error },
    #[error("the path {entry:?} is not in the encoding {encoding}")]
    Encoding {
        entry: String,
        encoding: NameEncoding,
    },
    #[error("cannot read the archive again")]
    Again(#[source] io::Error),
    #[error("cannot write a temporary archive in {}: set TMPDIR to a folder with free space", folder.display())]
    Write { folder: PathBuf, source: io::Error },
}

impl NameEncoding {
    /// Copies a zip archive to a temporary file without a name, with all paths in UTF-8.
    ///
    /// The contents are copied as they are. Paths that are marked as UTF-8 stay as they are.
    pub(super) fn recode(
        self,
        archive: impl io::Read + io::Seek,
    ) -> Result<File, NameEncodingError> {
        let mut archive = BufReader::new(archive);
        // Checks the archive first, because the copy has no limits.
        let visit = |_: &Entry, _: &mut Content<'_>| Ok::<_, ArchiveError>(());
        walk(ArchiveFormat::Zip, &mut archive, &Limits::default(), visit)?;
        let again = |error: ZipError| NameEncodingError::Again(error.into());
        let mut archive = ZipArchive::new(archive).map_err(again)?;
        let folder = tempfile::env::temp_dir();
        let write = |source| NameEncodingError::Write {
            folder: folder.clone(),
            source,
        };
        let file = tempfile::tempfile_in(&folder).map_err(write)?;
        let mut copy = ZipWriter::new(BufWriter::new(file));
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(again)?;
            let name = self.decode(entry.name_raw())?;
            copy.raw_copy_file_rename(entry, name.as_str())
                .map_err(|error| NameEncodingError::Entry {
                    entry: name.clone(),
                    source: error.into(),
                })?;
        }
        let writer = copy.finish().map_err(|error| write(error.into()))?;
        let file = writer.into_inner();
        file.map_err(|error| write(error.into_error()))
    }

    fn decode(self, name: &[u8]) -> Result<String, NameEncodingError> {
        if let Ok(name) = str::from_utf8(name) {
            return Ok(name.to_owned());
        }
        let decoded = self
            .0
            .decode_without_bom_handling_and_without_replacement(name);
        decoded
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| NameEncodingError::Encoding {
                entry: String::from_utf8_lossy(name).into_owned(),
                encoding: self,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use packcast_protocol::manifest::Platform;

    use super::*;
    use crate::Progress;
    use crate::publish::inspect::Contents;
    use crate::publish::source::{Source, SourceError};
    use crate::rendered::messages;

    /// The Japanese word for "file", in Shift-JIS. Its last byte would be a letter in ASCII.
    const SHIFT_JIS: &[u8] = b"\x83t\x83@\x83C\x83\x8b.txt";

    /// Writes a zip archive with a path that is not marked as UTF-8.
    fn write(path: &Path, name: &[u8]) {
        let mut archive = ZipWriter::new(io::Cursor::new(Vec::new()));
        let placeholder = "n".repeat(name.len());
        archive
            .start_file(
                placeholder.as_str(),
                zip::write::SimpleFileOptions::default(),
            )
            .unwrap();
        archive.write_all(b"content").unwrap();
        let mut bytes = archive.finish().unwrap().into_inner();
        for at in 0..bytes.len() - name.len() {
            if bytes[at..].starts_with(placeholder.as_bytes()) {
                bytes[at..at + name.len()].copy_from_slice(name);
            }
        }
        std::fs::write(path, bytes).unwrap();
    }

    fn contents(name: &[u8], encoding: Option<&str>) -> Result<Contents, SourceError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), name);
        let encoding = encoding.map(|name| name.parse().unwrap());
        let source = Source::open(file.path(), Platform::Any, encoding)?;
        let inspected = source.inspect(&Limits::default(), None, &Progress::none());
        Ok(inspected.unwrap().contents)
    }

    #[test]
    fn paths_in_a_named_encoding_are_read() {
        let contents = contents(SHIFT_JIS, Some("Shift_JIS")).unwrap();
        assert_eq!(contents.top_files, ["ファイル.txt"]);
        assert_eq!(contents.warnings(), []);
    }

    #[test]
    fn paths_in_an_unknown_encoding_are_a_warning() {
        let unknown = contents(SHIFT_JIS, None).unwrap();
        let warnings: Vec<_> = unknown.warnings().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(warnings.join("\n"), @r#"
        warning: the archive does not name the encoding of its paths: read the first one as "âtâ@âCâï.txt", from code page 437
        hint: use --name-encoding to name the encoding, such as shift_jis, gbk or windows-1252
        "#);
        let utf8 = contents("ü.txt".as_bytes(), None).unwrap();
        assert_eq!(utf8.top_files, ["ü.txt"]);
        assert_eq!(utf8.warnings(), []);
    }

    #[test]
    fn a_path_in_another_encoding_is_an_error() {
        let refused = contents(b"\xff\xff", Some("shift_jis"));
        assert!(matches!(
            refused,
            Err(SourceError::Recode {
                source: NameEncodingError::Encoding { .. },
                ..
            })
        ));
    }

    #[test]
    fn messages_of_encoding_errors() {
        let entry = || "x".to_owned();
        let errors = [
            NameEncodingError::Archive(ArchiveError::GoesOn),
            NameEncodingError::Entry {
                entry: entry(),
                source: io::Error::other("cause"),
            },
            NameEncodingError::Encoding {
                entry: entry(),
                encoding: "gbk".parse().unwrap(),
            },
            NameEncodingError::Again(io::Error::other("cause")),
            NameEncodingError::Write {
                folder: "/tmp".into(),
                source: io::Error::other("cause"),
            },
        ];
        insta::assert_snapshot!(messages(errors), @r#"
        cannot read the archive
        cannot read or write entry "x"
        the path "x" is not in the encoding GBK
        cannot read the archive again
        cannot write a temporary archive in /tmp: set TMPDIR to a folder with free space
        "#);
        let unknown = "cp932x".parse::<NameEncoding>().unwrap_err();
        insta::assert_snapshot!(unknown, @r#"unknown encoding "cp932x": expected a name such as shift_jis, gbk, big5, euc-kr, windows-1252 or ibm866"#);
    }
}
