//! Properties of the history under damage of its files.

use std::collections::BTreeMap;
use std::fs;

use packcast_protocol::result::NamedCode;
use proptest::prelude::*;

use super::*;
use crate::state::journal::Permission;

const NOW: UnixTime = UnixTime(1_795_000_900);

fn id(n: u32) -> PackageId {
    PackageId::try_from(1_795_000_000 + n).unwrap()
}

/// One change of the history's files that the agent did not make.
#[derive(Clone, Debug)]
enum Damage {
    /// Flips one bit of each file, or of one of them.
    Flip([Option<(usize, u8)>; 2]),
    /// Cuts a file off.
    Cut {
        file: usize,
        at: usize,
    },
    /// Replaces a file by an earlier version of it.
    Restore {
        file: usize,
        version: usize,
    },
    /// Replaces a part of a file by the same part of an earlier version.
    RestorePart {
        file: usize,
        version: usize,
        at: usize,
        bytes: usize,
    },
    Remove {
        file: usize,
    },
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let (file, at) = (0..2_usize, any::<usize>());
    let flip = || proptest::option::of((any::<usize>(), 0..8_u8));
    prop_oneof![
        4 => [flip(), flip()].prop_map(Damage::Flip),
        2 => (file.clone(), at).prop_map(|(file, at)| Damage::Cut { file, at }),
        2 => (file.clone(), at).prop_map(|(file, version)| Damage::Restore { file, version }),
        2 => (file.clone(), at, at, 1..400_usize).prop_map(|(file, version, at, bytes)| {
            Damage::RestorePart { file, version, at, bytes }
        }),
        1 => file.prop_map(|file| Damage::Remove { file }),
    ]
}

/// A result: package, action or not, and a detail.
fn any_result() -> impl Strategy<Value = (u32, bool, String)> {
    (0..5_u32, any::<bool>(), "[ -~]{0,20}")
}

fn finished(n: u32, attempt: u32, acted: bool, detail: &str) -> Finished {
    let now = UnixTime(NOW.0 + u64::from(attempt));
    Finished {
        acted: acted.then(|| Permission::of_all(attempt.into())),
        ..Finished::concluded(id(n), attempt, NamedCode::Execute, detail, now)
    }
}

/// The files of a device, with all their earlier versions.
struct Files {
    _dir: tempfile::TempDir,
    state: StateDir,
    results: Vec<Finished>,
    versions: Vec<Vec<u8>>,
}

impl Files {
    /// Remembers these results, one after the other, with limits for the harmless attempts.
    fn write(results: &[(u32, bool, String)], limits: (usize, usize)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let (mut history, damaged) = History::open(&state, NOW).unwrap();
        assert_eq!(damaged, []);
        let mut files = Self {
            _dir: dir,
            state,
            results: Vec::new(),
            versions: Vec::new(),
        };
        for ((n, acted, detail), attempt) in results.iter().zip(1..) {
            let finished = finished(*n, attempt, *acted, detail);
            history.remember(&files.state, &finished).unwrap();
            files.keep_version();
            if history.drop_harmless(limits.0, limits.1) {
                history.write_files(&files.state).unwrap();
                files.keep_version();
            }
            files.results.push(finished);
        }
        files
    }

    fn keep_version(&mut self) {
        self.versions.push(fs::read(self.state.history()).unwrap());
    }

    fn path(&self, file: usize) -> PathBuf {
        paths(&self.state)[file].clone()
    }

    fn change(&self, file: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(file)).unwrap();
        change(&mut bytes);
        fs::write(self.path(file), bytes).unwrap();
    }

    fn damage(&self, damage: &Damage) {
        let version = |version: usize| self.versions[version % self.versions.len()].clone();
        match damage {
            Damage::Flip(flips) => {
                for (flip, file) in flips.iter().zip(0..) {
                    let Some((at, bit)) = flip else { continue };
                    self.change(file, |bytes| {
                        // Without a harmless attempt that is kept, a file can be empty.
                        let at = at % bytes.len().max(1);
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 1 << bit;
                        }
                    });
                }
            }
            Damage::Cut { file, at } => {
                self.change(*file, |bytes| bytes.truncate(at % bytes.len().max(1)));
            }
            Damage::Restore { file, version: n } => {
                self.change(*file, |bytes| *bytes = version(*n));
            }
            Damage::RestorePart {
                file,
                version: n,
                at,
                bytes: length,
            } => {
                let old = version(*n);
                self.change(*file, |bytes| {
                    let from = at % bytes.len().min(old.len()).max(1);
                    let to = (from + length).min(bytes.len()).min(old.len());
                    bytes[from..to].copy_from_slice(&old[from..to]);
                });
            }
            Damage::Remove { file } => fs::remove_file(self.path(*file)).unwrap(),
        }
    }

    /// Expects that each package shows all mandates that its attempts used up, or is barred.
    fn check(&self, history: &History) {
        let mut used: BTreeMap<PackageId, BTreeSet<Mandate>> = BTreeMap::new();
        for finished in &self.results {
            let acted = finished.acted.iter().flat_map(|acted| &acted.mandates);
            used.entry(finished.report.id)
                .or_default()
                .extend(acted.cloned());
        }
        for (id, used) in used {
            let past = history.past(id);
            assert!(
                past.is_barred() || past.used_up(Permission::TARGET).is_superset(&used),
                "package {id} may run again: {past:?}"
            );
        }
    }
}

/// Returns the packages that are barred.
fn barred(history: &History) -> Vec<PackageId> {
    let all = (0..5).map(id);
    all.filter(|id| history.past(*id).is_barred()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_damage_makes_a_package_run_again(
        results in proptest::collection::vec(any_result(), 1..12),
        kept in 0..4_usize,
        damage in any_damage(),
    ) {
        let files = Files::write(&results, (kept + 3, kept));
        files.damage(&damage);
        let read = History::load(&files.state, NOW).unwrap();
        files.check(&read);
        let (opened, _) = History::open(&files.state, NOW).unwrap();
        files.check(&opened);
        prop_assert_eq!(barred(&opened), barred(&read));
        // The files are repaired, and the barriers stay.
        let (again, damaged) = History::open(&files.state, NOW).unwrap();
        prop_assert_eq!(damaged, []);
        prop_assert_eq!(&again.records, &opened.records);
        let [first, second] = paths(&files.state).map(|path| fs::read(path).unwrap_or_default());
        prop_assert_eq!(first, second);
    }

    /// A change of one file loses nothing, except after a rewrite without the harmless attempts.
    #[test]
    fn damage_of_one_file_is_repaired(
        results in proptest::collection::vec(any_result(), 1..12),
        file in 0..2_usize,
        at in any::<usize>(),
        bit in proptest::option::of(0..8_u8),
    ) {
        let files = Files::write(&results, (100, 50));
        files.change(file, |bytes| {
            let at = at % bytes.len();
            match bit {
                Some(bit) => bytes[at] ^= 1 << bit,
                None => bytes.truncate(at),
            }
        });
        let (history, _) = History::open(&files.state, NOW).unwrap();
        prop_assert_eq!(barred(&history), []);
        prop_assert_eq!(history.iter().count(), results.len());
    }

    /// The package of the torn line still has its journal, and the other packages are untouched.
    #[test]
    fn a_torn_append_loses_nothing(
        results in proptest::collection::vec(any_result(), 1..12),
        at in any::<usize>(),
        second in any::<bool>(),
    ) {
        let (last, before) = results.split_last().unwrap();
        let files = Files::write(before, (100, 50));
        let (mut history, _) = History::open(&files.state, NOW).unwrap();
        let length = |file| fs::read(files.path(file)).unwrap_or_default().len();
        let before_append = length(0);
        let attempt = u32::try_from(results.len()).unwrap();
        let finished = finished(last.0, attempt, last.1, &last.2);
        history.remember(&files.state, &finished).unwrap();
        let written = length(0) - before_append;
        let kept = before_append + at % written;
        if second {
            files.change(1, |bytes| bytes.truncate(kept));
        } else {
            files.change(0, |bytes| bytes.truncate(kept));
            files.change(1, |bytes| bytes.truncate(before_append));
        }
        let (history, damaged) = History::open(&files.state, NOW).unwrap();
        prop_assert_eq!(damaged, []);
        prop_assert_eq!(barred(&history), []);
        prop_assert_eq!(history.iter().count(), before.len() + usize::from(second));
        files.check(&history);
    }
}
