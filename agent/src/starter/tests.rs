use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use packcast_protocol::Sha256Digest;
use tokio::time::Instant;

use super::Invocation;
use super::choice::{OtherVersion, choose, protect_identity};
use super::version_process::VersionProcess;
use super::watch::watch;
use crate::command::version_role::VersionRole;
use crate::event::Observer;
use crate::service::ServiceManager;
use crate::signals::Controls;
use crate::state::StateDir;
use crate::update::{News, StagedUpdate, StoredBuild, UpdateTask, VersionFiles};

fn chosen(files: &VersionFiles) -> Option<OtherVersion> {
    let ignore: Observer = std::sync::Arc::new(|_| {});
    choose(files, &ignore)
}

/// Returns a version on trial that is this script.
fn on_trial(dir: &Path, script: &str) -> OtherVersion {
    let root = dir.canonicalize().unwrap();
    let files = VersionFiles::at(root.join("versions"));
    let program = root.join("program");
    fs::write(&program, script).unwrap();
    let staged = StagedUpdate {
        task: UpdateTask {
            package: "1795000000".parse().unwrap(),
            attempt: 1,
        },
        build: StoredBuild {
            version: "999.0.0".parse().unwrap(),
            sha256: Sha256Digest::of(script.as_bytes()),
        },
    };
    files.stage(&program, &staged).unwrap();
    chosen(&files).unwrap()
}

async fn start(version: &OtherVersion) -> VersionProcess {
    let invocation = Invocation {
        config_file: "agent.toml".into(),
        is_json: true,
        once: false,
    };
    let started = VersionProcess::start(&version.program, &invocation, version.role);
    started.await.unwrap()
}

/// A program that runs until it is killed.
const SILENT: &str = "#!/bin/sh\nexec sleep 1000\n";

#[tokio::test(start_paused = true)]
async fn a_silent_version_goes_back_after_ten_minutes_with_a_reachable_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut version = on_trial(dir.path(), SILENT);
    let mut process = start(&version).await;
    let looks = Cell::new(0);
    // For two hours there is no network.
    let reach = async || {
        looks.set(looks.get() + 1);
        looks.get() > 120
    };
    let begun = Instant::now();
    let controls = Controls::default();
    let ended = watch(
        &mut process,
        &mut version,
        &controls,
        &ServiceManager::default(),
        reach,
    )
    .await;
    assert_eq!(ended.unwrap().code(), None, "killed");
    assert_eq!(looks.get(), 130);
    assert!(begun.elapsed() >= Duration::from_mins(130));
    assert!(
        chosen(&version.files).is_none(),
        "the installed version runs"
    );
    let memory = version.files.memory().unwrap().0.unwrap();
    assert!(memory.trial.is_none() && memory.kept.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut version = on_trial(dir.path(), "#!/bin/sh\nread -r line\nexit 7\n");
    let mut process = start(&version).await;
    let task = version.trial().unwrap();
    let controls = Controls::default();
    let files = version.files.clone();
    let looks = Cell::new(0);
    let reach = async || {
        looks.set(looks.get() + 1);
        match looks.get() {
            // The version is slower than the tenth look, but checks in before its answer.
            10 => files.confirm(task).unwrap(),
            11.. => panic!("the version has checked in"),
            _ => {}
        }
        true
    };
    let stop = controls.stop.clone();
    let stopping = async {
        tokio::time::sleep(Duration::from_hours(1)).await;
        stop.cancel();
    };
    let begun = Instant::now();
    let manager = ServiceManager::default();
    let watching = watch(&mut process, &mut version, &controls, &manager, reach);
    let (ended, ()) = tokio::join!(watching, stopping);
    assert!(begun.elapsed() >= Duration::from_hours(1));
    // The end of its input has stopped the version.
    assert_eq!(ended.unwrap().code(), Some(7));
    let next = chosen(&version.files).unwrap();
    assert_eq!(next.role, VersionRole::Kept);
}

#[tokio::test(start_paused = true)]
async fn only_a_version_that_has_checked_in_gets_time_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    for checks_in in [false, true] {
        let mut version = on_trial(dir.path(), SILENT);
        let mut process = start(&version).await;
        if checks_in {
            version.files.note_check_in(version.build.sha256).unwrap();
        }
        let controls = Controls::default();
        controls.stop.cancel();
        let manager = ServiceManager::default();
        let reach = async || panic!("the starter stops");
        let watching = watch(&mut process, &mut version, &controls, &manager, reach);
        // The version does not react to the request, so only a kill ends it.
        if checks_in {
            let ended = tokio::time::timeout(Duration::from_hours(1), watching).await;
            assert!(ended.is_err());
        } else {
            assert_eq!(watching.await.unwrap().code(), None);
        }
    }
}

/// Returns an updated version that is this script, and has proved itself.
fn kept(dir: &Path, script: &str) -> OtherVersion {
    let trial = on_trial(dir, script);
    trial.files.confirm(trial.trial().unwrap()).unwrap();
    let kept = chosen(&trial.files).unwrap();
    assert_eq!(kept.role, VersionRole::Kept);
    kept
}

#[tokio::test(start_paused = true)]
async fn a_silent_updated_version_is_ended_without_a_watchdog() {
    let dir = tempfile::tempdir().unwrap();
    let mut version = kept(dir.path(), SILENT);
    let mut process = start(&version).await;
    let looks = Cell::new(0);
    // For two hours there is no network.
    let reach = async || {
        looks.set(looks.get() + 1);
        looks.get() > 120
    };
    let controls = Controls::default();
    let manager = ServiceManager::default();
    let ended = watch(&mut process, &mut version, &controls, &manager, reach).await;
    assert_eq!(ended.unwrap().code(), None, "killed");
    assert_eq!(looks.get(), 130);
    assert!(version.is_silent());
}

#[tokio::test(start_paused = true)]
async fn only_starts_that_nobody_has_stopped_count_against_an_updated_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut version = kept(dir.path(), SILENT);
    for _ in 0..4 {
        let mut process = start(&version).await;
        let controls = Controls::default();
        controls.stop.cancel();
        let manager = ServiceManager::default();
        let reach = async || panic!("the starter stops");
        let watching = watch(&mut process, &mut version, &controls, &manager, reach);
        assert_eq!(watching.await.unwrap().code(), None);
        version = chosen(&version.files).unwrap();
    }
    // The starter is killed together with the version.
    for _ in 0..2 {
        version = chosen(&version.files).unwrap();
    }
    version.files.note_check_in(version.build.sha256).unwrap();
    for _ in 0..3 {
        version = chosen(&version.files).unwrap();
        assert_eq!(version.role, VersionRole::Kept);
    }
    assert!(
        chosen(&version.files).is_none(),
        "the installed version runs"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_counts_for_no_start_although_its_time_limit_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut version = on_trial(dir.path(), SILENT);
    for _ in 0..4 {
        assert_eq!(version.role, VersionRole::Trial);
        let mut process = start(&version).await;
        // The version has a package under way, so it has the time of any agent.
        version.files.note_check_in(version.build.sha256).unwrap();
        let controls = Controls::default();
        controls.stop.cancel();
        let manager = ServiceManager::default();
        let reach = async || panic!("the starter stops");
        let watching = watch(&mut process, &mut version, &controls, &manager, reach);
        let limit = tokio::time::timeout(Duration::from_mins(15), watching);
        assert!(limit.await.is_err());
        version = chosen(&version.files).unwrap();
    }
}

#[test]
fn identity_and_pass_are_restored_after_a_failed_trial_only() {
    use crate::state::{checked_file, identity};

    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
    let pass = "0123456789abcdef".parse().unwrap();
    let load = || identity::load_pass(&state).unwrap();
    for succeeds in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        identity::store_pass(&state, &pass).unwrap();
        let mut version = on_trial(dir.path(), SILENT);
        protect_identity(&version.files, &state, Some(&version));
        // The version on trial uses another form.
        checked_file::replace(&state.pass(), &["another form"]).unwrap();
        if succeeds {
            version.files.confirm(version.trial().unwrap()).unwrap();
        } else {
            version.memory.go_back("it ended");
            version.note();
        }
        let files = version.files;
        for _ in 0..2 {
            protect_identity(&files, &state, chosen(&files).as_ref());
            assert_eq!(load().is_some(), !succeeds);
        }
    }
}

#[test]
fn a_version_on_trial_has_three_starts() {
    let dir = tempfile::tempdir().unwrap();
    let version = on_trial(dir.path(), SILENT);
    for _ in 0..2 {
        let again = chosen(&version.files).unwrap();
        assert_eq!(again.role, VersionRole::Trial);
    }
    assert!(chosen(&version.files).is_none());
}

#[test]
fn a_trial_whose_start_cannot_be_recorded_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let version = on_trial(dir.path(), SILENT);
    // A folder in the place of the temporary file makes every write of the memory fail.
    let obstacle = dir.path().join("versions/memory.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(chosen(&version.files).is_none());
    fs::remove_dir(&obstacle).unwrap();
    let news = version.files.news().unwrap();
    assert_eq!(news, News::default());
    assert_eq!(chosen(&version.files).unwrap().role, VersionRole::Trial);
}
