//! Archives with random damage: unpacking must not panic, leave its folder or exceed its limits.
#![cfg(unix)]

use packcast_archive::Limits;
use packcast_protocol::ArchiveFormat::{self, TarGz, Zip};
use proptest::collection::vec;
use proptest::prelude::*;
use tar::EntryType;

use crate::archives::{Tar, ZipEntry, gzip, raw_zip};
use crate::surroundings::Surroundings;

const LIMITS: Limits = Limits {
    entries: 16,
    unpacked_bytes: 64 << 10,
};

/// The position and the new value of a changed byte.
type Change = (prop::sample::Index, u8);

/// Bytes with a meaning in names, headers and lengths.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(b"./\\:\0 0178PKxLg\xff".to_vec())
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    vec((any::<prop::sample::Index>(), byte()), 1..12)
}

fn tar() -> Vec<u8> {
    Tar::new()
        .of_kind(EntryType::Directory, "d/")
        .program("d/run.sh", "#!/bin/sh\n")
        .extended(EntryType::XHeader, "path", "d/../x")
        .file("d/x", &[7; 700])
        .entry(
            EntryType::GNULongName,
            "././@LongLink",
            "",
            0o644,
            b"d/long\0",
        )
        .file("long", b"l")
        .link("d/link", "../d/x")
        .plain()
}

fn zip() -> Vec<u8> {
    let mut link = ZipEntry::new("d/link", b"../d/x");
    link.mode = 0o120_777;
    raw_zip(&[
        ZipEntry::new("d/", b""),
        ZipEntry::new("d/x", &[7; 700]),
        link,
        ZipEntry::piped("y", b"piped"),
    ])
}

fn apply(bytes: &mut [u8], changes: &[Change]) {
    for (at, byte) in changes {
        bytes[at.index(bytes.len())] = *byte;
    }
}

/// Corrects the checksums of all blocks that look like headers, so that the reader accepts the
/// changed headers.
fn correct(plain: &mut [u8]) {
    for block in plain.chunks_exact_mut(512) {
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        let sum = |block: &[u8]| block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = sum(&block[..148]) + 8 * 32 + sum(&block[156..]);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Checks that the surroundings are unchanged and that the content inside is bounded.
fn check(format: ArchiveFormat, bytes: &[u8]) -> Result<(), TestCaseError> {
    let surroundings = Surroundings::new();
    let result = surroundings.unpack(format, bytes, &LIMITS);
    let (files, bytes) = surroundings.count();
    prop_assert!(files <= LIMITS.entries, "{files} files");
    prop_assert!(bytes <= LIMITS.unpacked_bytes, "{bytes} bytes");
    match result {
        Ok(summary) => prop_assert_eq!(
            (files <= summary.entries, bytes <= summary.bytes),
            (true, true)
        ),
        Err(unfinished) => prop_assert!(files <= unfinished.written.count),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_tar_is_harmless(changes in changes()) {
        let mut plain = tar();
        apply(&mut plain, &changes);
        correct(&mut plain);
        check(TarGz, &gzip(&plain))?;
    }

    #[test]
    fn a_changed_or_cut_tar_gz_is_harmless(changes in changes(), cut in any::<prop::sample::Index>()) {
        let mut bytes = gzip(&tar());
        apply(&mut bytes, &changes);
        check(TarGz, &bytes)?;
        check(TarGz, &bytes[..cut.index(bytes.len())])?;
    }

    #[test]
    fn a_changed_or_cut_zip_is_harmless(changes in changes(), cut in any::<prop::sample::Index>()) {
        let mut bytes = zip();
        apply(&mut bytes, &changes);
        check(Zip, &bytes)?;
        check(Zip, &bytes[..cut.index(bytes.len())])?;
    }

    #[test]
    fn random_bytes_are_harmless(bytes in vec(byte(), 0..2000)) {
        check(TarGz, &gzip(&bytes))?;
        check(Zip, &bytes)?;
    }
}

#[test]
fn the_unchanged_archives_can_be_unpacked() {
    let mut plain = tar();
    correct(&mut plain);
    // Without the climbing path.
    let at = plain
        .windows(6)
        .position(|window| window == b"d/../x")
        .unwrap();
    plain[at..at + 6].copy_from_slice(b"d/.//x");
    for (format, bytes) in [(TarGz, gzip(&plain)), (Zip, zip())] {
        let summary = Surroundings::new().unpack(format, &bytes, &LIMITS).unwrap();
        assert!(summary.entries >= 4, "{summary:?}");
    }
}
