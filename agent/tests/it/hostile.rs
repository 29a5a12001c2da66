//! Archives with forbidden content.
#![cfg(unix)]

use std::io::Cursor;

use packcast_archive::{ArchiveError, Content, Entry, EntryKind, Limits, walk};
use packcast_protocol::ArchiveFormat::{self, TarGz, Zip};
use packcast_protocol::with_causes;
use tar::EntryType;

use crate::archives::{Tar, ZipEntry, gzip, look, raw_zip, zip};
use crate::surroundings::Surroundings;

/// An archive, and a part of the expected error. The text is empty if the archive is accepted.
struct Attack {
    name: String,
    format: ArchiveFormat,
    bytes: Vec<u8>,
    refusal: &'static str,
}

const LIMITS: Limits = Limits {
    entries: 200,
    unpacked_bytes: 1 << 20,
};

/// Unpacks each archive, and checks the error. No archive may change files outside the folder.
fn check(attacks: impl IntoIterator<Item = Attack>) {
    for attack in attacks {
        let Attack {
            name,
            format,
            bytes,
            refusal,
        } = attack;
        let result = Surroundings::new().unpack(format, &bytes, &LIMITS);
        let text = result.map_or_else(
            |unfinished| with_causes(&unfinished.cause),
            |_| String::new(),
        );
        if refusal.is_empty() {
            assert_eq!(text, "", "{format}: {name}");
        } else {
            assert!(text.contains(refusal), "{format}: {name}: {text:?}");
        }
    }
}

fn tar(name: &str, archive: Tar, refusal: &'static str) -> Attack {
    Attack {
        name: name.to_owned(),
        format: TarGz,
        bytes: archive.gz(),
        refusal,
    }
}

fn zipped(name: &str, entries: &[ZipEntry], refusal: &'static str) -> Attack {
    Attack {
        name: name.to_owned(),
        format: Zip,
        bytes: raw_zip(entries),
        refusal,
    }
}

fn file(name: &str) -> ZipEntry {
    ZipEntry::new(name, b"x")
}

fn link(name: &str, target: &str) -> ZipEntry {
    let mut entry = ZipEntry::new(name, target.as_bytes());
    entry.mode = 0o120_777;
    entry
}

/// Returns a changed entry.
fn with(mut entry: ZipEntry, change: impl FnOnce(&mut ZipEntry)) -> ZipEntry {
    change(&mut entry);
    entry
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    let paths = [
        ("../x", "contains '..'"),
        ("..", "contains '..'"),
        ("a/../../x", "contains '..'"),
        ("a/..", "contains '..'"),
        ("a\u{1}b", "control character"),
        ("a\nb", "control character"),
        (".packcast.part-0", "reserved for incomplete files"),
        ("d/.PACKCAST.part/x", "reserved for incomplete files"),
    ];
    check(paths.into_iter().flat_map(|(path, refusal)| {
        let entries = [file("good"), file(path)];
        [
            tar(path, Tar::new().file("good", b"").file(path, b"x"), refusal),
            zipped(path, &entries, refusal),
        ]
    }));
}

#[test]
fn names_are_text_of_bounded_length() {
    let long = |entry: Tar| entry.file("x", b"");
    let gnu = |name: &[u8]| {
        long(Tar::new().entry(EntryType::GNULongName, "././@LongLink", "", 0o644, name))
    };
    let pax = |name: &str| long(Tar::new().extended(EntryType::XHeader, "path", name));
    let deep = "d/".repeat(65) + "x";
    let invalid = with(file("x"), |entry| {
        entry.name = b"a\xff".to_vec();
        entry.local_name = entry.name.clone();
    });
    check([
        tar("a long name", gnu(&[b'n'; 256]), "longer than"),
        tar("a long path", gnu(&b"n/".repeat(2100)), "longer than"),
        tar(
            "a name of 64 MiB",
            gnu(&vec![b'n'; 64 << 20]),
            "too many headers",
        ),
        tar("a pax path", pax("../x"), "contains '..'"),
        tar(
            "a pax path of 4 MiB",
            pax(&"n".repeat(4 << 20)),
            "too many headers",
        ),
        tar("NUL", pax("a\0b"), "control character"),
        tar("not UTF-8", gnu(b"a\xff"), "not UTF-8"),
        tar("deep", pax(&deep), "names deep"),
        zipped("a long name", &[file(&"n".repeat(256))], "longer than"),
        zipped("a long path", &[file(&"n/".repeat(2100))], "longer than"),
        zipped("NUL", &[file("a\0b")], "control character"),
        zipped("not UTF-8", &[invalid], ""),
        zipped("deep", &[file(&deep)], "names deep"),
    ]);
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    let targets = [
        ("/etc/passwd", "outside"),
        ("..", "outside"),
        ("../outside", "outside"),
        ("a/../../x", "detour"),
    ];
    check(targets.into_iter().flat_map(|(target, refusal)| {
        [
            tar(target, Tar::new().link("link", target), refusal),
            zipped(target, &[link("link", target)], refusal),
        ]
    }));
    let up = Tar::new().link("a/b/up", "../..").link("out", "a/b/up/..");
    let chain = [link("a/b/up", "../.."), link("out", "a/b/up/..")];
    check([
        tar("a chain", up, "detour"),
        zipped("a chain", &chain, "detour"),
        tar("a pax target", pax_link("../outside"), "outside"),
        zipped("no target", &[link("link", "")], "empty"),
        zipped(
            "a long target",
            &[link("link", &"n".repeat(5000))],
            "longer than",
        ),
    ]);
}

fn pax_link(target: &str) -> Tar {
    let header = Tar::new().extended(EntryType::XHeader, "linkpath", target);
    header.link("link", "inside")
}

#[test]
fn nothing_is_written_through_a_link() {
    let through = "leads through";
    let twice = "duplicate path";
    check([
        tar(
            "a link, then through it",
            Tar::new().link("l", "d").file("l/x", b"x"),
            through,
        ),
        tar(
            "the link comes later",
            Tar::new().file("l/x", b"x").link("l", "d"),
            twice,
        ),
        tar(
            "a file in place of a link",
            Tar::new().link("l", "d").file("l", b"x"),
            twice,
        ),
        tar(
            "through two",
            Tar::new().link("a", "b").link("b", ".").file("a/x", b"x"),
            through,
        ),
        zipped(
            "a link, then through it",
            &[link("l", "d"), file("l/x")],
            through,
        ),
        zipped(
            "the link comes later",
            &[file("l/x"), link("l", "d")],
            twice,
        ),
        zipped(
            "a file in place of a link",
            &[link("l", "d"), file("./l")],
            twice,
        ),
    ]);
}

#[test]
fn duplicate_paths_of_files_are_refused() {
    let twice = "duplicate path";
    let folder = || Tar::new().of_kind(EntryType::Directory, "d/");
    check([
        tar(
            "a file, then a link",
            Tar::new().file("x", b"1").link("x", "y"),
            twice,
        ),
        tar(
            "a folder, then a file",
            Tar::new().file("x/y", b"1").file("x", b"2"),
            twice,
        ),
        tar(
            "a file, then a folder",
            Tar::new().file("x", b"1").file("x/y", b"2"),
            "leads through",
        ),
        tar(
            "a folder twice",
            folder()
                .of_kind(EntryType::Directory, "d/")
                .file("d/x", b""),
            "",
        ),
        tar("a folder as a file", folder().file("d", b""), twice),
        zipped("a file twice", &[file("x"), file("x")], twice),
        zipped("spelled otherwise", &[file("x"), file("./x")], twice),
        zipped("with a leading slash", &[file("d/x"), file("/d/x")], twice),
        zipped("a folder, then a file", &[file("x/y"), file("x")], twice),
        zipped(
            "a file, then a folder",
            &[file("x"), file("x/y")],
            "leads through",
        ),
    ]);
}

#[test]
fn only_files_folders_and_links_are_unpacked() {
    let tars = [
        (EntryType::Link, "not an earlier file"),
        (EntryType::new(b'M'), "another volume"),
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "named pipe"),
        (EntryType::new(b'Z'), "unknown kind"),
        (EntryType::GNUSparse, "not a number"),
    ];
    check(tars.map(|(kind, refusal)| tar(refusal, Tar::new().of_kind(kind, "odd"), refusal)));
    let hard = |target: &str| {
        let base = Tar::new().file("x", b"x").link("l", "x");
        base.entry(EntryType::Link, "d/h", target, 0o644, b"")
    };
    check([
        tar("to a file", hard("./x"), ""),
        tar("to a link", hard("l"), "not an earlier file"),
        tar("to itself", hard("d/h"), "not an earlier file"),
        tar("out of the folder", hard("../x"), "contains '..'"),
        tar(
            "to a file of the device",
            hard("/etc/passwd"),
            "not an earlier file",
        ),
        tar(
            "with content",
            Tar::new()
                .file("x", b"x")
                .entry(EntryType::Link, "h", "x", 0o644, b"other"),
            "expected 0 bytes",
        ),
    ]);
    let sparse = |key: &str, value: &str| Tar::new().extended(EntryType::XHeader, key, value);
    check([
        tar(
            "a sparse file without a length",
            sparse("GNU.sparse.major", "1").file("x", b"x"),
            "length of a sparse file is missing",
        ),
        tar(
            "a name in the description of a sparse file",
            sparse("GNU.sparse.name", "../x").file("x", b"x"),
            "contains '..'",
        ),
    ]);
}

/// Common programs unpack these archives, with the same result.
#[test]
fn honest_archives_of_common_programs_are_read() {
    let read = |format, bytes: Vec<u8>| -> Vec<String> {
        let (entries, _) = look(format, &bytes, &LIMITS).unwrap();
        entries.iter().map(|it| it.path.to_string()).collect()
    };
    for name in ["B::Deparse.3", "C:/x", "a\\b", "..\\x", "c:"] {
        assert_eq!(read(TarGz, Tar::new().file(name, b"x").gz()), [name]);
        assert_eq!(read(Zip, raw_zip(&[file(name)])), [name]);
    }
    for (name, expected) in [("/etc/x", "etc/x"), ("//h/x", "h/x")] {
        assert_eq!(read(TarGz, Tar::new().file(name, b"x").gz()), [expected]);
        assert_eq!(read(Zip, raw_zip(&[file(name)])), [expected]);
    }
    // As systemctl makes it.
    let target = "dev-disk-by\\x2dlabel.swap";
    assert_eq!(read(TarGz, Tar::new().link("l", target).gz()), ["l"]);
    // A later file of a tar replaces an earlier one.
    let updated = Tar::new().file("x", b"1").file("./x", b"2");
    assert_eq!(read(TarGz, updated.gz()), ["x", "x"]);
    for mode in [0o010_644, 0o020_644, 0o060_644, 0o140_644] {
        let entry = with(file("-"), |entry| entry.mode = mode);
        assert_eq!(read(Zip, raw_zip(&[entry])), ["-"], "{mode:o}");
    }
    let label = Tar::new().of_kind(EntryType::new(b'V'), "label");
    let incremental = label.entry(EntryType::new(b'D'), "d/", "", 0o755, b"Yx\0\0");
    assert_eq!(
        read(TarGz, incremental.file("d/x", b"x").gz()),
        ["d", "d/x"]
    );
}

#[test]
fn an_archive_beyond_its_limits_is_refused() {
    let large = vec![0; 2 << 20];
    let half = vec![0; 600 << 10];
    let bytes = "more than 1048576 bytes";
    let many = (0..=LIMITS.entries).map(|n| n.to_string());
    let tars = many
        .clone()
        .fold(Tar::new(), |tar, name| tar.file(&name, b""));
    let folders = many
        .clone()
        .fold(Tar::new(), |tar, _| tar.of_kind(EntryType::Directory, "d/"));
    let zips: Vec<ZipEntry> = many.map(|name| ZipEntry::new(&name, b"")).collect();
    let deflated = |name: &str, entries: &[(&str, u32, &[u8])]| Attack {
        name: name.to_owned(),
        format: Zip,
        bytes: zip(entries),
        refusal: bytes,
    };
    check([
        tar("a bomb", Tar::new().file("bomb", &large), bytes),
        tar(
            "two files beyond the limit",
            Tar::new().file("a", &half).file("b", &half),
            bytes,
        ),
        tar(
            "content of a folder",
            Tar::new().entry(EntryType::Directory, "d", "", 0o755, &large),
            bytes,
        ),
        tar("many entries", tars, "more than 200 entries"),
        tar("the same folder often", folders, "more than 200 entries"),
        tar(
            "padding",
            Tar::new().file("x", b"x").raw(&vec![0; 4 << 20]),
            "padding",
        ),
        deflated("a bomb", &[("bomb", 0o644, &large)]),
        deflated(
            "two files beyond the limit",
            &[("a", 0o644, &half), ("b", 0o644, &half)],
        ),
        zipped("many entries", &zips, "more than 200 entries"),
    ]);
}

#[test]
fn a_tar_that_programs_read_differently_is_refused() {
    let twice = |key: &str| {
        let record = format!("8 {key}\n").repeat(2);
        Tar::new().entry(EntryType::XHeader, "pax", "", 0o644, record.as_bytes())
    };
    let second = Tar::new().file("y", b"y").plain();
    let joined = |between: &[u8]| Tar::new().file("x", b"x").raw(between).raw(&second);
    let of_all = |key: &str, value: &str| Tar::new().extended(EntryType::XGlobalHeader, key, value);
    check([
        tar(
            "two paths",
            twice("path=").file("x", b"x"),
            "more than once",
        ),
        tar(
            "a path for all",
            of_all("path", "y").file("x", b"x"),
            "to all entries",
        ),
        tar(
            "a comment for all",
            of_all("comment", "y").file("x", b"x"),
            "",
        ),
        tar("a second archive", joined(&[0; 1024]), "data after its end"),
        tar("one empty block", joined(&[0; 512]), "data after its end"),
        tar(
            "garbage",
            Tar::new().file("x", b"x").raw(&[0; 1024]).raw(b"garbage"),
            "data after its end",
        ),
    ]);
    let (first, rest) = second.split_at(512);
    let plain = |bytes: Vec<u8>, name: &str, refusal| Attack {
        name: name.to_owned(),
        format: TarGz,
        bytes,
        refusal,
    };
    let both = |a: &[u8], b: &[u8]| [gzip(a), gzip(b)].concat();
    let mut trailing = gzip(&second);
    trailing.extend(b"garbage");
    check([
        plain(both(first, rest), "one archive in two members", ""),
        plain(
            both(&second, &second),
            "two archives in two members",
            "data after its end",
        ),
        plain(
            trailing,
            "garbage after the last member",
            "cannot read the archive",
        ),
    ]);
}

#[test]
fn a_tar_with_wrong_sizes_is_refused() {
    let size = |text: &str| {
        let mut plain = Tar::new().file("x", b"x").plain();
        plain[124..136].copy_from_slice(text.as_bytes());
        fix_checksum(&mut plain);
        plain
    };
    let numeric = {
        let mut plain = size("000000000000");
        plain[124..136].fill(0xff);
        fix_checksum(&mut plain);
        plain
    };
    let attack = |name: &str, plain: &[u8], refusal| Attack {
        name: name.to_owned(),
        format: TarGz,
        bytes: gzip(plain),
        refusal,
    };
    let pax = Tar::new().extended(EntryType::XHeader, "size", "18446744073709551615");
    let longer = Tar::new().extended(EntryType::XHeader, "size", "5000");
    check([
        attack("8 GiB", &size("77777777777\0"), "cut off"),
        attack("negative", &numeric, "cannot read the archive"),
        attack(
            "no number",
            &size("abcdefghijk\0"),
            "cannot read the archive",
        ),
        tar(
            "the largest size",
            pax.file("x", b"x"),
            "cannot read the archive",
        ),
        tar("a size beyond the end", longer.file("x", b"x"), "cut off"),
    ]);
}

/// Corrects the checksum of the header at the start.
fn fix_checksum(plain: &mut [u8]) {
    plain[148..156].fill(b' ');
    let sum: u32 = plain[..512].iter().map(|byte| u32::from(*byte)).sum();
    plain[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn a_zip_that_programs_read_differently_is_refused() {
    let differently = "read the archive differently";
    let other = |change: fn(&mut ZipEntry)| [file("good"), with(file("x"), change)];
    check([
        zipped(
            "another name in the local header",
            &other(|it| it.local_name = b"y".to_vec()),
            differently,
        ),
        zipped(
            "climbing in the local header",
            &other(|it| it.local_name = b"../x".to_vec()),
            differently,
        ),
        zipped(
            "climbing in the central directory",
            &other(|it| it.name = b"../x".to_vec()),
            differently,
        ),
        zipped("overlapping", &other(|it| it.begins = Some(0)), differently),
        zipped("not listed", &other(|it| it.listed = false), differently),
        zipped(
            "an offset without a header",
            &other(|it| it.begins = Some(1)),
            differently,
        ),
        zipped(
            "an offset beyond the end",
            &other(|it| it.begins = Some(1 << 30)),
            differently,
        ),
        zipped("piped", &[ZipEntry::piped("x", b"x"), file("y")], ""),
    ]);
}

#[test]
fn a_zip_with_a_wrong_description_of_its_content_is_refused() {
    let one = |change: fn(&mut ZipEntry)| [with(file("x"), change)];
    check([
        zipped("checksum", &one(|it| it.crc ^= 1), "cannot read entry"),
        zipped(
            "less than declared",
            &one(|it| it.bytes = 2),
            "cannot read entry",
        ),
        zipped(
            "more than declared",
            &one(|it| it.bytes = 0),
            "cannot read entry",
        ),
        zipped("encrypted", &one(|it| it.flags = 1), "encrypted"),
        zipped(
            "strongly encrypted",
            &one(|it| it.flags = 0x41),
            "encrypted",
        ),
        zipped(
            "another compression",
            &one(|it| it.method = 12),
            "compressed in an unsupported way",
        ),
        zipped(
            "not compressed",
            &one(|it| it.method = 8),
            "cannot read entry",
        ),
    ]);
    let mut disks = raw_zip(&[file("x")]);
    let end = disks.len() - 22;
    disks[end + 4] = 1;
    let mut count = raw_zip(&[file("x")]);
    count[end + 10] = 9;
    let mut shifted = raw_zip(&[file("x")]);
    shifted[end + 16] ^= 0xff;
    for (name, bytes) in [
        ("two disks", disks),
        ("nine entries", count),
        ("shifted", shifted),
    ] {
        let format = Zip;
        let (name, refusal) = (name.to_owned(), "cannot read the archive");
        check([Attack {
            name,
            format,
            bytes,
            refusal,
        }]);
    }
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
fn a_zip_with_too_many_entries_is_refused_before_the_first_is_visited() {
    let limits = Limits {
        entries: 2,
        ..Limits::default()
    };
    let bytes = zip(&[("a", 0o644, b""), ("b", 0o644, b""), ("c", 0o644, b"")]);
    let unseen = |_: &Entry, _: &mut Content<'_>| panic!("an entry was visited");
    let error = walk::<_, ArchiveError>(Zip, Cursor::new(bytes), &limits, unseen).unwrap_err();
    assert!(
        matches!(error, ArchiveError::TooManyEntries { limit: 2 }),
        "{error:?}"
    );
}

#[test]
fn truncated_archives_are_refused() {
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
fn files_that_are_not_archives_are_refused() {
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
fn honest_archives_are_read_completely() {
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
                    EntryKind::File { mode, bytes } => format!("{:o} {bytes}", mode.bits()),
                    EntryKind::Directory { .. } => "folder".to_owned(),
                    EntryKind::Symlink { target } => format!("-> {}", target.as_str()),
                    EntryKind::HardLink { target } => format!("= {target}"),
                };
                format!("{}: {kind}", entry.path)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "bin: folder",
                "bin/run.sh: 755 10",
                "dir with space/.hidden: 644 1",
                "current: -> bin/run.sh"
            ]
        );
        assert_eq!((summary.entries, summary.bytes), (4, 11));
    }
}
