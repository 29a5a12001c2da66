//! Tests of inspections: of archives, and of files that are packed meanwhile.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use packcast_store::{Directory, Objects};

use super::*;
use crate::Step;
use crate::progress::Work;

fn open(path: &Path) -> Source {
    Source::open(path, Platform::Any, None).unwrap()
}

#[test]
fn an_archive_that_changes_its_length_is_an_error() {
    let folder = folder();
    let path = folder.path().join("growing.tar.gz");
    let packed = open(folder.path());
    let mut packed = packed.archive(&Progress::none()).unwrap().reader();
    io::copy(&mut packed, &mut File::create(&path).unwrap()).unwrap();
    let source = open(&path);
    for change in [1_i64, -1] {
        let length = source.bytes().checked_add_signed(change).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        let inspected = source.inspect(&Limits::default(), None, &Progress::none());
        let Err(InspectError::Changed { path: changed }) = inspected else {
            panic!("{length} bytes are accepted");
        };
        assert_eq!(changed, path);
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("run.sh"), "exit 0\n").unwrap();
    std::fs::write(folder.path().join("data/a b"), "x").unwrap();
    folder
}

#[test]
fn an_inspection_lists_the_files_at_the_top() {
    let folder = folder();
    let source = open(folder.path());
    let contents = source
        .inspect(&Limits::default(), None, &Progress::none())
        .unwrap()
        .contents;
    assert_eq!(
        (contents.top_files, contents.files),
        (vec!["run.sh".to_owned()], 2)
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_a_file_at_the_top_counts_as_a_file() {
    let folder = folder();
    for (name, target) in [
        ("start", "run.sh"),
        ("again", "current/a b"),
        ("current", "data"),
        ("broken", "none"),
    ] {
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    }
    let source = open(folder.path());
    let contents = source
        .inspect(&Limits::default(), None, &Progress::none())
        .unwrap();
    let contents = contents.contents;
    assert_eq!(contents.top_files, ["run.sh", "again", "start"]);
    let others = [("broken", "none"), ("current", "data")];
    let others = others.map(|(name, target)| (name.to_owned(), target.to_owned()));
    assert_eq!(contents.top_links, others);
}

#[test]
fn an_inspection_keeps_the_first_bytes_of_files_at_the_top() {
    let folder = folder();
    std::fs::write(folder.path().join("big"), "x".repeat(1000)).unwrap();
    let source = open(folder.path());
    let inspection = source
        .inspect(&Limits::default(), None, &Progress::none())
        .unwrap();
    let top = inspection.contents.top;
    let names: Vec<&str> = top.keys().map(String::as_str).collect();
    assert_eq!(names, ["big", "data", "run.sh"]);
    let head = |name: &str| top[name].as_ref().map(|file| file.head.len());
    assert_eq!(
        [head("big"), head("data"), head("run.sh")],
        [Some(256), None, Some(7)]
    );
}

#[test]
fn an_inspection_finds_names_that_other_systems_cannot_hold() {
    let unfit = |names: &[&str]| -> Vec<(System, String)> {
        let folder = folder();
        for name in names {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let source = open(folder.path());
        let inspection = source
            .inspect(&Limits::default(), None, &Progress::none())
            .unwrap();
        let unfit = inspection.contents.unfit.into_iter();
        unfit.map(|unfit| (unfit.system, unfit.entry)).collect()
    };
    assert_eq!(unfit(&["x"]), []);
    if System::here().is_none() {
        let windows = |name: &str| (System::Windows, name.to_owned());
        assert_eq!(unfit(&["aux.txt", "log:x"]), [windows("aux.txt")]);
        let run = || "run.sh".to_owned();
        let both = [(System::Windows, run()), (System::Macos, run())];
        assert_eq!(unfit(&["Run.SH"]), both);
    }
}

#[test]
fn a_truncated_archive_is_refused() {
    let folder = folder();
    let cut = folder.path().join("cut.tar.gz");
    std::fs::write(&cut, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    let inspected = open(&cut).inspect(&Limits::default(), None, &Progress::none());
    assert!(matches!(inspected, Err(InspectError::Archive { .. })));
}

#[test]
fn a_zip_archive_without_entries_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("setup.zip");
    let archive = zip::ZipWriter::new(File::create(&path).unwrap());
    archive.finish().unwrap();
    let inspected = open(&path).inspect(&Limits::default(), None, &Progress::none());
    assert!(matches!(inspected, Err(InspectError::NoFiles { path: refused }) if refused == path));
}

/// A folder with content that fills several blocks and fragments.
fn large_folder() -> tempfile::TempDir {
    let folder = folder();
    let bytes: Vec<u8> = (0..1_500_000_u32)
        .map(|at| (at / 5).wrapping_mul(at).to_le_bytes()[1])
        .collect();
    std::fs::write(folder.path().join("large"), bytes).unwrap();
    folder
}

#[test]
fn files_are_packed_and_staged_in_the_pass_that_inspects_them() {
    let folder = large_folder();
    let size = FragmentSize::try_from(100_000).unwrap();
    for platform in [Platform::Linux, Platform::Windows] {
        let place = tempfile::tempdir().unwrap();
        let objects = Objects::Directory(Directory::new(place.path().join("objects")));
        let staging = objects.stage().unwrap().unwrap();
        let mut source = Source::open(folder.path(), platform, None).unwrap();
        source.stage_in(staging.area());
        let silent = Progress::none();
        let inspected = source.inspect(&Limits::default(), Some(size), &silent);
        let inspected = inspected.unwrap();
        assert!(source.staged.get().is_some());

        // The archive is the one of packing alone, and the same again.
        let again = Source::open(folder.path(), platform, None).unwrap();
        let path = place.path().join("packed");
        let mut packed = again.archive(&silent).unwrap().reader();
        io::copy(&mut packed, &mut File::create(&path).unwrap()).unwrap();
        for source in [again, open(&path), source] {
            let again = source.inspect(&Limits::default(), Some(size), &silent);
            let again = again.unwrap();
            assert_eq!(again.archive, inspected.archive, "{platform:?}");
            assert_eq!(again.contents.top_files, ["large", "run.sh"]);
        }
    }
}

#[test]
fn the_progress_of_packing_covers_all_files() {
    let folder = large_folder();
    for platform in [Platform::Linux, Platform::Windows] {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        let progress = Progress::new(move |step| seen.lock().unwrap().push(step));
        let source = Source::open(folder.path(), platform, None).unwrap();
        crate::publish::inspect(&source, None, &progress).unwrap();
        let steps = steps.lock().unwrap();
        let (work, total) = (Work::Packing, 1_500_000 + 7 + 1);
        assert_eq!(steps.first(), Some(&Step::Begin { work, total }));
        assert_eq!(steps.last(), Some(&Step::End));
        let sum = |steps: &[Step]| -> u64 {
            let advanced = steps.iter().map(|step| match step {
                Step::Advance(bytes) => *bytes,
                _ => 0,
            });
            advanced.sum()
        };
        // A zip archive is checked after it is packed.
        let is_checking = |step: &Step| {
            matches!(
                step,
                Step::Begin {
                    work: Work::Checking,
                    ..
                }
            )
        };
        let (packing, checking) = match steps.iter().position(is_checking) {
            Some(begin) => steps.split_at(begin),
            None => (&steps[..], &[][..]),
        };
        assert_eq!(checking.is_empty(), platform == Platform::Linux);
        assert_eq!(sum(packing), total);
        if let Some(Step::Begin { total, .. }) = checking.first() {
            assert_eq!(sum(checking), *total);
        }
    }
}

/// Packs the folder, and changes its large file while the file is read.
fn changed_meanwhile(platform: Platform, change: fn(&File)) -> InspectError {
    let folder = large_folder();
    let source = Source::open(folder.path(), platform, None).unwrap();
    let large = folder.path().join("large");
    let file = Mutex::new(File::options().write(true).open(large).ok());
    let progress = Progress::new(move |step| {
        // The first bytes are those of another file.
        if let Step::Advance(2..) = step
            && let Some(file) = file.lock().unwrap().take()
        {
            change(&file);
        }
    });
    let inspected = source.inspect(&Limits::default(), None, &progress);
    inspected.unwrap_err()
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_refused() {
    for platform in [Platform::Linux, Platform::Windows] {
        let longer = changed_meanwhile(platform, |file| file.set_len(2_000_000).unwrap());
        let shorter = changed_meanwhile(platform, |file| file.set_len(300_000).unwrap());
        for (error, expected) in [(longer, true), (shorter, false)] {
            let InspectError::Pack(PackError::Changed { is_longer, .. }) = error else {
                panic!("{error:?}");
            };
            assert_eq!(is_longer, expected);
        }
        // Two changes within one tick of the clock have the same time.
        let error = changed_meanwhile(platform, |file| {
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
            file.set_modified(later).unwrap();
        });
        assert!(
            matches!(error, InspectError::Pack(PackError::Written { .. })),
            "{error:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn files_that_agents_refuse_are_refused_while_they_are_packed() {
    let folder = large_folder();
    std::os::unix::fs::symlink("../../outside", folder.path().join("a")).unwrap();
    for platform in [Platform::Linux, Platform::Windows] {
        let source = Source::open(folder.path(), platform, None).unwrap();
        let refused = source.inspect(&Limits::default(), None, &Progress::none());
        assert!(
            matches!(refused, Err(InspectError::Archive { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn the_length_of_the_archive_limits_the_number_of_fragments() {
    let folder = folder();
    let file = File::create(folder.path().join("large")).unwrap();
    file.set_len(52_000_000).unwrap();
    let size = FragmentSize::try_from(1024).unwrap();
    let source = open(folder.path());
    let inspected = source.inspect(&Limits::default(), Some(size), &Progress::none());
    // Zeros become shorter: the length of the archive counts.
    assert!(inspected.unwrap().archive.archive.bytes() < 1_000_000);
}

/// A folder with a file that deflate cannot make smaller, and one of zeros.
fn folder_with_noise(noise: usize, zeros: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1_u64;
    let numbers = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = numbers.take(noise / 8).flatten().collect();
    std::fs::write(folder.path().join("a"), bytes).unwrap();
    let file = File::create(folder.path().join("b")).unwrap();
    file.set_len(zeros).unwrap();
    folder
}

/// Inspects a folder with fragments of a KiB. Returns the error, and the number of bytes of its files that
/// were read.
fn refused(folder: &Path, platform: Platform) -> (InspectError, u64) {
    let read = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&read);
    let progress = Progress::new(move |step| {
        if let Step::Advance(bytes) = step {
            *counted.lock().unwrap() += bytes;
        }
    });
    let size = FragmentSize::try_from(1024).unwrap();
    let source = Source::open(folder, platform, None).unwrap();
    let inspected = source.inspect(&Limits::default(), Some(size), &progress);
    let read = *read.lock().unwrap();
    (inspected.unwrap_err(), read)
}

#[test]
fn too_many_fragments_are_refused_while_files_are_packed() {
    const NOISE: usize = 52_000_000;
    let zeros = 64 << 20;
    let folder = folder_with_noise(NOISE, zeros);
    for platform in [Platform::Linux, Platform::Windows] {
        let (error, read) = refused(folder.path(), platform);
        assert!(
            matches!(
                error,
                InspectError::Pack(PackError::TooManyFragments { size: 1024 })
            ),
            "{platform:?}: {error:?}"
        );
        // The blocks that wait for their turn are read, too.
        assert!(read < NOISE as u64 + zeros / 2, "{platform:?}: {read}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_are_too_long_for_any_compression_are_not_read() {
    let longest = FragmentSize::try_from(1024).unwrap().longest_archive();
    // The file system stores no zeros.
    let folder = folder_with_noise(0, longest * 1033);
    for platform in [Platform::Linux, Platform::Windows] {
        let source = Source::open(folder.path(), platform, None).unwrap();
        let progress = Progress::new(|step| assert!(!matches!(step, Step::Advance(1..))));
        let size = FragmentSize::try_from(1024).unwrap();
        let inspected = source.inspect(&Limits::default(), Some(size), &progress);
        assert!(
            matches!(
                inspected,
                Err(InspectError::Pack(PackError::TooManyFragments { .. }))
            ),
            "{platform:?}: {inspected:?}"
        );
    }
}

#[test]
fn the_automatic_size_follows_from_the_length_before_packing() {
    let folder = folder_with_noise(0, 65 << 20);
    for platform in [Platform::Linux, Platform::Windows] {
        let source = Source::open(folder.path(), platform, None).unwrap();
        let inspected = source.inspect(&Limits::default(), None, &Progress::none());
        let archive = inspected.unwrap().archive.archive;
        assert_eq!(archive.fragment_size().get(), 2 << 20);
        assert_eq!(archive.fragment_count().get(), 1);
    }
}
