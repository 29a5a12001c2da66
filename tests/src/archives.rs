//! Archives for the stories, valid and malicious.

use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// An entry of a tar archive: kind, name, target of the link, mode and content.
pub(crate) type Entry<'a> = (EntryType, &'a str, &'a str, u32, &'a [u8]);

/// Packs programs as `.tar.gz`. Names are written as given, so they may contain `..`.
pub fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<Entry> = entries
        .iter()
        .map(|(name, content)| (EntryType::Regular, *name, "", 0o755, *content))
        .collect();
    tar_of(&entries, Compression::none())
}

/// Packs entries of any kind as `.tar.gz`.
pub(crate) fn tar_of(entries: &[Entry<'_>], compression: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), compression);
    for (kind, name, target, mode, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(*mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let padding = content.len().next_multiple_of(512) - content.len();
        for part in [header.as_bytes(), *content, &[0; 512][..padding]] {
            encoder
                .write_all(part)
                .expect("writing into memory succeeds");
        }
    }
    encoder
        .write_all(&[0; 1024])
        .expect("writing into memory succeeds");
    encoder.finish().expect("writing into memory succeeds")
}

/// Packs files as `.zip`.
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in entries {
        writer
            .start_file(*name, options)
            .expect("writing into memory succeeds");
        writer
            .write_all(content)
            .expect("writing into memory succeeds");
    }
    writer
        .finish()
        .expect("writing into memory succeeds")
        .into_inner()
}

/// Returns incompressible bytes, equal for equal seeds.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut noise);
    noise
}
