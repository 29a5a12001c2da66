//! Temporary files of a STORE whose agent was killed, and that is not completed.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_protocol::api::Cancel;
use packcast_protocol::{Action, PackageId};

use crate::archives::Tar;
use crate::lab::Lab;
use crate::packages::package;

/// The beginning of the names of temporary files.
const PART: &str = ".packcast.part";

/// A device whose agent was killed while it stored the files of a package.
struct Story {
    lab: Lab,
    id: PackageId,
    /// The folder of STORE.
    folder: PathBuf,
}

impl Story {
    fn new() -> Self {
        let lab = Lab::new();
        let folder = lab.state().with_file_name("stored");
        let files = Tar::new().file("first", b"1").file("a/1", b"1");
        let files = files.file("a/b/2", b"2").file("big", &vec![7; 2 << 20]);
        let action = Action::Store {
            archive: (),
            folder: folder.to_str().unwrap().parse().unwrap(),
        };
        let id = lab.assign(action, package(1, Some(files)));
        let story = Self { lab, id, folder };
        story.kill();
        assert_eq!(story.parts().len(), 4);
        // The archive names no file in this folder.
        fs::create_dir(story.folder.join("other")).unwrap();
        fs::write(story.folder.join("other").join(PART), "").unwrap();
        story
    }

    /// Runs the agent until the system kills it, because `big` is larger than a file may be.
    fn kill(&self) {
        let agent = self.lab.command(&["run", "--once"]);
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -c 0; ulimit -f 512; exec "$@""#, "sh"]);
        command.arg(agent.get_program()).args(agent.get_args());
        command.env("NO_PROXY", "127.0.0.1").env_remove("RUST_LOG");
        let output = command.output().unwrap();
        assert!(output.status.signal().is_some(), "{output:?}");
    }

    fn cancel(&self) {
        let mut world = self.lab.world();
        world.tasks.clear();
        world.cancel = vec![Cancel {
            id: self.id,
            attempt: 1,
        }];
    }

    fn state(&self) -> PathBuf {
        self.lab.state().join(format!("packages/{}", self.id))
    }

    /// Returns the temporary files in the folder of STORE, with their paths below it.
    fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                } else if entry.file_name().to_str().unwrap().starts_with(PART) {
                    let below = path.strip_prefix(&self.folder).unwrap();
                    parts.push(below.display().to_string());
                }
            }
        }
        parts
    }

    /// Expects that only the file of somebody else is left, and nothing in the state folder.
    fn expect_clean(&self) {
        assert_eq!(self.parts(), [format!("other/{PART}")]);
        assert!(!self.state().exists());
    }
}

#[test]
fn a_withdrawn_store_leaves_no_temporary_files() {
    let story = Story::new();
    story.cancel();
    assert_eq!(story.lab.result().code.to_string(), "ERR_INTERRUPTED");
    story.expect_clean();
}

#[test]
fn a_store_that_fails_after_an_interruption_leaves_no_temporary_files() {
    let story = Story::new();
    // The next run of STORE ends before it reaches the other folders.
    fs::create_dir(story.folder.join("first")).unwrap();
    fs::write(story.folder.join("a/b/2"), "of another program").unwrap();
    assert_eq!(story.lab.result().code.to_string(), "ERR_STORE");
    story.expect_clean();
    assert!(story.folder.join("a/b/2").exists());
}

#[test]
fn a_store_that_was_killed_too_often_leaves_no_temporary_files() {
    let story = Story::new();
    for _ in 0..3 {
        story.kill();
    }
    assert_eq!(story.lab.run().code, 0);
    // The result may arrive twice.
    let reports = std::mem::take(&mut story.lab.world().reports);
    let codes = reports.iter().map(|report| report.code.to_string());
    assert!(codes.eq(vec!["ERR_INTERRUPTED"; reports.len()]));
    story.expect_clean();
}

#[test]
fn a_store_that_continues_leaves_no_temporary_files() {
    let story = Story::new();
    assert_eq!(story.lab.result().code.to_string(), "SUCCESS");
    story.expect_clean();
    assert_eq!(fs::read(story.folder.join("a/b/2")).unwrap(), b"2");
}

#[test]
fn a_store_whose_journal_is_lost_or_damaged_leaves_no_temporary_files() {
    let story = Story::new();
    fs::remove_file(story.state().join("journal")).unwrap();
    story.lab.world().tasks.clear();
    assert_eq!(story.lab.run().code, 0);
    assert_eq!(story.parts(), [format!("other/{PART}")]);
    let story = Story::new();
    story.lab.tear_journal(story.id);
    assert_eq!(story.lab.result().code.to_string(), "ERR_INTERRUPTED");
    story.expect_clean();
}

#[test]
fn the_removal_of_temporary_files_follows_no_link_out_of_the_folder() {
    let story = Story::new();
    let outside = tempfile::tempdir().unwrap();
    let kept = outside.path().join(format!("{PART}-0"));
    fs::write(&kept, "of somebody else").unwrap();
    let replace = |folder: &str| {
        let path = story.folder.join(folder);
        fs::remove_dir_all(&path).unwrap();
        symlink(outside.path(), path).unwrap();
    };
    replace("a/b");
    story.cancel();
    assert_eq!(story.lab.result().code.to_string(), "ERR_INTERRUPTED");
    story.expect_clean();
    let story = Story::new();
    fs::rename(&story.folder, story.folder.with_file_name("moved")).unwrap();
    story.cancel();
    assert_eq!(story.lab.result().code.to_string(), "ERR_INTERRUPTED");
    assert!(!story.state().exists() && !story.folder.exists());
    assert!(kept.exists());
}

#[test]
fn a_damaged_list_of_folders_holds_up_nothing() {
    let story = Story::new();
    let list = story.state().join("store");
    let whole = fs::read(&list).unwrap();
    fs::write(&list, &whole[..whole.len() / 2]).unwrap();
    story.cancel();
    let run = story.lab.run();
    assert!(
        run.stderr
            .contains("list of the folders of STORE is damaged"),
        "{}",
        run.stderr
    );
    assert_eq!(story.lab.world().reports.len(), 1);
    assert!(!story.state().exists());
    assert!(has_parts(&story.folder));
}

fn has_parts(folder: &Path) -> bool {
    let mut entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.any(|entry| entry.file_name().to_str().unwrap().starts_with(PART))
}
