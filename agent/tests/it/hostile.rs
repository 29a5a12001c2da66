//! What archives may not do.

use packcast_agent::archive::{ArchiveError, EntryKind, Limits};
use packcast_protocol::ArchiveFormat::{self, TarGz, Zip};
use tar::EntryType;

use crate::archives::{Tar, gzip, look, renamed, zip};

/// Expects a refusal that names `entry`.
fn check(format: ArchiveFormat, bytes: &[u8], entry: &str, harmful: bool) {
    let error = look(format, bytes, &Limits::default()).unwrap_err();
    assert!(
        error.to_string().contains(entry),
        "{error} has to name {entry:?}"
    );
    assert_eq!(error.is_unsafe(), harmful, "{error:?}");
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    for name in [
        "../x",
        "/etc/x",
        "a/../../x",
        "C:\\x",
        "C:/x",
        "..\\x",
        "a\\..\\..\\x",
        "a\u{1}b",
    ] {
        let good = Tar::new().file("good", b"").file(name, b"x").gz();
        let shown = format!("{name:?}");
        check(TarGz, &good, &shown, true);
        let plain = "p".repeat(name.len());
        let archive = renamed(
            zip(&[("good", 0o644, b""), (&plain, 0o644, b"x")]),
            &plain,
            name,
        );
        check(Zip, &archive, &shown, true);
    }
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    for target in ["/etc/passwd", "..", "../x", "a/../../x", "..\\x", "C:\\x"] {
        check(
            TarGz,
            &Tar::new().link("link", target).gz(),
            "\"link\"",
            true,
        );
        let archive = zip(&[("link", 0o120_777, target.as_bytes())]);
        check(Zip, &archive, "\"link\"", true);
    }
}

#[test]
fn links_that_leave_through_another_link_are_refused() {
    let archive = Tar::new()
        .link("a/b/up", "../..")
        .link("out", "a/b/up/..")
        .gz();
    check(TarGz, &archive, "\"out\"", true);
}

#[test]
fn nothing_is_written_through_a_link() {
    let inside = Tar::new().link("l", "d").file("l/x", b"x").gz();
    check(TarGz, &inside, "\"l/x\"", true);
    let archive = zip(&[("l", 0o120_777, b"d"), ("l/x", 0o644, b"x")]);
    check(Zip, &archive, "\"l/x\"", true);
    // The same with the link after what leads through it.
    let later = Tar::new().file("l/x", b"x").link("l", "d").gz();
    check(TarGz, &later, "\"l\"", true);
}

#[test]
fn a_file_can_be_there_once() {
    let twice = Tar::new().file("x", b"1").file("./x", b"2").gz();
    check(TarGz, &twice, "\"./x\"", true);
    let folder_too = Tar::new().file("x/y", b"1").file("x", b"2").gz();
    check(TarGz, &folder_too, "\"x\"", true);
    let archive = renamed(zip(&[("aa", 0o644, b"1"), ("bb", 0o644, b"2")]), "bb", "aa");
    assert!(look(Zip, &archive, &Limits::default()).is_err());
    let folder_twice = Tar::new()
        .of_kind(EntryType::Directory, "d/")
        .of_kind(EntryType::Directory, "d/")
        .file("d/x", b"");
    assert!(look(TarGz, &folder_twice.gz(), &Limits::default()).is_ok());
}

#[test]
fn only_files_folders_and_links_are_unpacked() {
    let kinds = [
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::new(b'Z'),
    ];
    for kind in kinds {
        let archive = Tar::new().of_kind(kind, "odd").gz();
        let error = look(TarGz, &archive, &Limits::default()).unwrap_err();
        assert!(
            matches!(
                error,
                ArchiveError::Kind { .. } | ArchiveError::Unreadable { .. }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let limits = Limits {
        entries: 10,
        unpacked_bytes: 1 << 20,
    };
    let megabytes = vec![0; 8 << 20];
    let check = |format, bytes: &[u8]| {
        let error = look(format, bytes, &limits).unwrap_err();
        assert!(
            matches!(
                error,
                ArchiveError::TooLarge {
                    limit: 1_048_576,
                    ..
                }
            ),
            "{error:?}"
        );
    };
    check(TarGz, &Tar::new().file("bomb", &megabytes).gz());
    check(Zip, &zip(&[("bomb", 0o644, &megabytes)]));
    // Many small files count together.
    let half = vec![0; 600 << 10];
    check(TarGz, &Tar::new().file("a", &half).file("b", &half).gz());
}

#[test]
fn long_names_are_bounded_too() {
    let name = vec![b'n'; 64 << 20];
    let archive = Tar::new()
        .entry(EntryType::GNULongName, "././@LongLink", "", 0o644, &name)
        .file("x", b"")
        .gz();
    assert!(look(TarGz, &archive, &Limits::default()).is_err());
}

#[test]
fn entries_are_counted() {
    let limits = Limits {
        entries: 3,
        ..Limits::default()
    };
    let archive = |count: usize| {
        (0..count)
            .fold(Tar::new(), |tar, n| tar.file(&n.to_string(), b""))
            .gz()
    };
    assert_eq!(look(TarGz, &archive(3), &limits).unwrap().1.entries, 3);
    let error = look(TarGz, &archive(4), &limits).unwrap_err();
    assert!(matches!(error, ArchiveError::TooManyEntries { limit: 3 }));
}

#[test]
fn deep_paths_are_refused() {
    let deep = "a/".repeat(40) + "x";
    assert!(look(Zip, &zip(&[(&deep, 0o644, b"")]), &Limits::default()).is_ok());
    let deep = "a/".repeat(2000) + "x";
    check(Zip, &zip(&[(&deep, 0o644, b"")]), "a/a/a/", true);
}

#[test]
fn a_zip_with_too_many_entries_is_refused_before_it_is_in_memory() {
    let limits = Limits {
        entries: 10,
        ..Limits::default()
    };
    let names: Vec<String> = (0..400).map(|n| format!("{n:04000}")).collect();
    let entries: Vec<_> = names
        .iter()
        .map(|name| (&name[..], 0o644, &b""[..]))
        .collect();
    let error = look(Zip, &zip(&entries), &limits).unwrap_err();
    assert!(
        matches!(error, ArchiveError::Unreadable { .. }),
        "{error:?}"
    );
}

#[test]
fn whatever_is_cut_short_is_refused() {
    let noise: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes())
        .collect();
    let whole = Tar::new().file("a", &noise).file("b", b"b").gz();
    assert!(look(TarGz, &whole, &Limits::default()).is_ok());
    for length in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
        assert!(
            look(TarGz, &whole[..length], &Limits::default()).is_err(),
            "{length}"
        );
    }
    let whole = zip(&[("a", 0o644, &noise), ("b", 0o644, b"b")]);
    assert!(look(Zip, &whole, &Limits::default()).is_ok());
    for length in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
        assert!(
            look(Zip, &whole[..length], &Limits::default()).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_tar_that_ends_within_a_file_is_refused() {
    let whole = Tar::new().file("a", &[1; 4000]).gz();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&whole[..]), &mut plain).unwrap();
    let cut = gzip(&plain[..2000]);
    assert!(look(TarGz, &cut, &Limits::default()).is_err());
}

#[test]
fn a_wrong_checksum_is_refused() {
    let content = b"content that is stored as it is, or nearly so: 0123456789";
    let mut archive = zip(&[("a", 0o644, content)]);
    let crc = archive.windows(4).position(|w| w == b"PK\x01\x02").unwrap() + 16;
    archive[crc] ^= 1;
    check(Zip, &archive, "\"a\"", false);
    let mut archive = Tar::new().file("a", content).gz();
    let crc = archive.len() - 8;
    archive[crc] ^= 1;
    assert!(look(TarGz, &archive, &Limits::default()).is_err());
}

#[test]
fn other_kinds_of_files_are_refused() {
    for format in [TarGz, Zip] {
        for bytes in [
            &b""[..],
            b"plain text",
            &gzip(b"no tar in here"),
            &[0; 5000],
        ] {
            let error = look(format, bytes, &Limits::default()).unwrap_err();
            assert!(!error.is_unsafe(), "{error:?}");
        }
    }
}

#[test]
fn honest_archives_are_shown_as_they_are() {
    let tar = Tar::new()
        .of_kind(EntryType::Directory, "./bin/")
        .program("./bin/run.sh", "#!/bin/sh\n")
        .file("dir with space/.hidden", b"x")
        .link("current", "bin/run.sh")
        .gz();
    let archive = zip(&[
        ("bin/", 0o040_755, b""),
        ("bin/run.sh", 0o755, b"#!/bin/sh\n"),
        ("dir with space/.hidden", 0o644, b"x"),
        ("current", 0o120_777, b"bin/run.sh"),
    ]);
    for (format, bytes) in [(TarGz, tar), (Zip, archive)] {
        let (entries, summary) = look(format, &bytes, &Limits::default()).unwrap();
        let shown: Vec<String> = entries
            .iter()
            .map(|entry| {
                let kind = match &entry.kind {
                    EntryKind::File {
                        executable: true,
                        bytes,
                    } => format!("program {bytes}"),
                    EntryKind::File { bytes, .. } => format!("file {bytes}"),
                    EntryKind::Directory => "folder".to_owned(),
                    EntryKind::Symlink { target } => format!("-> {}", target.as_str()),
                };
                format!("{}: {kind}", entry.path)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "bin: folder",
                "bin/run.sh: program 10",
                "dir with space/.hidden: file 1",
                "current: -> bin/run.sh"
            ]
        );
        assert_eq!((summary.entries, summary.bytes), (4, 11));
    }
}
