//! The effects of LAUNCH, EXECUTE and STORE on a device, and their remains.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use packcast_protocol::api::Report;
use packcast_protocol::{Action, CommandLine, LaunchCommand};

use crate::archives::Tar;
use crate::lab::{Lab, Package};
use crate::packages::{execute, launch, noise, package, script};

fn store(folder: &Path) -> Action<()> {
    Action::Store {
        archive: (),
        folder: folder.to_str().unwrap().parse().unwrap(),
    }
}

fn code_and_detail(report: &Report) -> (String, &str) {
    let detail = report.detail.as_ref().map_or("", |detail| detail.as_str());
    (report.code.to_string(), detail)
}

fn output(report: &Report) -> &str {
    report.output_tail.as_ref().map_or("", |tail| tail.as_str())
}

/// Returns the folders of packages after their results were accepted.
fn kept(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.state().join("packages")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn a_program_runs_in_the_documented_environment() {
    let lab = Lab::new();
    let text = "#!/bin/sh\nenv | sort\numask\nstat -c %a .\ncat | wc -c\n";
    lab.assign(launch("run.sh"), package(1, Some(script(text))));
    let report = lab.result();
    let home = std::env::var("HOME").unwrap();
    let work = lab.state().join("packages/1795000001/work");
    let expected = format!(
        "HOME={home}\nLANG=C\nLC_ALL=C\n\
         PACKCAST_PACKAGE_ID=1795000001\nPACKCAST_PACKAGE_NAME=lab\nPACKCAST_PACKAGE_VERSION=1.0\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD={}\n\
         0022\n700\n0\n",
        work.display(),
    );
    assert_eq!(output(&report), expected);
}

#[test]
fn arguments_are_read_like_in_a_shell() {
    let lab = Lab::new();
    let text = "#!/bin/sh\nfor word; do echo \"<$word>\"; done\nexit $#\n";
    let command = r#"run.sh 'a  b' "$PACKCAST_PACKAGE_NAME" c\ d *.sh"#;
    lab.assign(launch(command), package(1, Some(script(text))));
    let report = lab.result();
    assert_eq!(report.code.to_string(), "SUCCESS_4");
    assert_eq!(output(&report), "<a  b>\n<lab>\n<c d>\n<run.sh>\n");
}

#[test]
fn a_signal_is_reported() {
    let lab = Lab::new();
    let text = "#!/bin/sh\nkill -SEGV $$\n";
    lab.assign(launch("run.sh"), package(1, Some(script(text))));
    let report = lab.result();
    assert_eq!(
        code_and_detail(&report),
        ("ERR_SIGNAL".to_owned(), "killed by signal 11")
    );
}

#[test]
fn execute_runs_commands_of_the_archive_and_of_the_system() {
    let check = |command: &str, code: &str, printed: &str| {
        let lab = Lab::new();
        let archive = script("#!/bin/sh\necho \"own $1\"\nexit 5\n").program("bin/x", "exit 6\n");
        let action = Action::Execute {
            archive: Some(()),
            command: command.parse().unwrap(),
        };
        lab.assign(action, package(1, Some(archive)));
        let report = lab.result();
        assert_eq!(
            (&*report.code.to_string(), output(&report)),
            (code, printed)
        );
    };
    check("./run.sh a", "EXIT_CODE_5", "own a\n");
    check("sh run.sh b | tr o O", "SUCCESS", "Own b\n");
    check("bin/x", "EXIT_CODE_6", "");
    check("wc -c < data", "SUCCESS", "6016\n");
    check("no-such-program 2>/dev/null", "EXIT_CODE_127", "");
}

#[test]
fn a_program_that_cannot_start_is_distinguished_from_a_failed_one() {
    let check = |archive: Tar, reason: &str| {
        let lab = Lab::new();
        lab.assign(launch("run.sh"), package(1, Some(archive)));
        let report = lab.result();
        let (code, detail) = code_and_detail(&report);
        assert_eq!(code, "ERR_EXECUTE");
        assert!(detail.contains(reason), "{detail}");
    };
    check(script("#!/no/such/shell\n"), "\"/no/such/shell\"");
    check(script("#!/bin/sh\r\n"), r#""/bin/sh\r""#);
    check(
        Tar::new().file("bin/run.sh", b""),
        "no file \"run.sh\" at the top level",
    );
    check(
        Tar::new().file("run.sh/x", b""),
        "no file \"run.sh\" at the top level",
    );
}

#[test]
fn the_work_folder_is_removed_with_any_content() {
    for command in ["run.sh", "run.sh x"] {
        let lab = Lab::new();
        let text = "#!/bin/sh\nmkdir -p a/b && echo x > a/b/c\nln -s / root\n\
                    chmod 0 a/b/c a/b\nchmod 555 a .\nexit $#\n";
        lab.assign(launch(command), package(1, Some(script(text))));
        assert!(lab.result().code.to_string().starts_with("SUCCESS_"));
        assert!(kept(&lab).is_empty(), "{:?}", kept(&lab));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn files_mounted_by_a_program_are_not_removed() {
    let lab = Lab::new();
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("precious"), "x").unwrap();
    let command = format!("mkdir m && mount --bind '{}' m", data.path().display());
    lab.assign(execute(&command), package(1, None));
    let Some(run) = lab.run_where_it_can_mount("exec \"$@\"") else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(lab.world().reports.remove(0).code.to_string(), "SUCCESS");
    assert!(data.path().join("precious").exists());
    assert_eq!(kept(&lab), [".left-1795000001-0"]);
    // The mount ended with its namespace.
    lab.world().tasks.clear();
    assert_eq!(lab.run().code, 0);
    assert!(kept(&lab).is_empty(), "{:?}", kept(&lab));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_removed_does_not_delay_the_result() {
    let lab = Lab::new();
    lab.assign(execute("mount -t tmpfs none ."), package(1, None));
    lab.world().refuse_reports = true;
    // The second run finds the result and the folder.
    let Some(run) = lab.run_where_it_can_mount("\"$@\"; exec \"$@\"") else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(lab.world().reports.remove(0).code.to_string(), "SUCCESS");
    assert!(kept(&lab).contains(&".left-1795000001-0".to_owned()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_removed_does_not_block_the_next_attempt() {
    let lab = Lab::new();
    let begun = lab.state().with_file_name("begun");
    let command = format!(
        "test -e '{begun}' || {{ touch '{begun}' && mount -t tmpfs none . && kill -9 $PPID; }}; \
         basename \"$PWD\"",
        begun = begun.display()
    );
    let again = Package {
        change: |manifest| manifest.rerun_after_interruption = true,
        ..package(1, None)
    };
    lab.assign(execute(&command), again);
    let Some(run) = lab.run_where_it_can_mount("\"$@\" || exec \"$@\"") else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = lab.world().reports.remove(0);
    let code_and_output = (report.code.to_string(), output(&report));
    assert_eq!(code_and_output, ("SUCCESS".to_owned(), "work-1\n"));
}

#[test]
fn an_unreadable_journal_does_not_stop_other_packages() {
    let lab = Lab::new();
    fs::create_dir_all(lab.state().join("packages/1795000009/journal")).unwrap();
    lab.assign(execute("true"), package(1, None));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
}

#[test]
fn store_replaces_read_only_files_and_keeps_the_rest() {
    let lab = Lab::new();
    let folder = lab.state().with_file_name("a b/ü");
    fs::create_dir_all(folder.join("sub dir")).unwrap();
    let old = [
        ("sub dir/x y", 0o444),
        (".profile", 0o400),
        ("other", 0o600),
    ];
    for (name, mode) in old {
        fs::write(folder.join(name), "old").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let archive = Tar::new()
        .file("sub dir/x y", b"new")
        .file(".profile", b"new")
        .program("bin/run", "new")
        .link("link", "bin/run");
    lab.assign(store(&folder), package(1, Some(archive)));
    assert_eq!(code_and_detail(&lab.result()), ("SUCCESS".to_owned(), ""));
    // Others get no right that they did not have before.
    for (name, mode) in [("sub dir/x y", 0o644), (".profile", 0o600), ("link", 0o755)] {
        let path = folder.join(name);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let found = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode, "{name}");
    }
    let bin = fs::metadata(folder.join("bin")).unwrap().permissions();
    assert_eq!(bin.mode() & 0o7777, 0o755);
    assert_eq!(fs::read(folder.join("other")).unwrap(), b"old");
}

#[test]
fn a_failed_store_lists_the_stored_files_and_succeeds_later() {
    let lab = Lab::new();
    let outside = tempfile::tempdir().unwrap();
    let folder = lab.state().with_file_name("stored");
    fs::create_dir(&folder).unwrap();
    symlink(outside.path(), folder.join("lib")).unwrap();
    let archive = || {
        Tar::new()
            .file("a", b"a")
            .file("b", b"b")
            .file("lib/x", b"x")
            .file("z", b"z")
    };
    lab.assign(store(&folder), package(1, Some(archive())));
    let report = lab.result();
    let (code, detail) = code_and_detail(&report);
    assert_eq!(code, "ERR_STORE");
    let expected = format!(
        "cannot write {}: a link to something else than a folder inside is in its place, \
         remove or rename it; before the error, 2 files were stored, from \"a\" to \"b\"",
        folder.join("lib/x").display()
    );
    assert_eq!(detail, expected);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    fs::remove_file(folder.join("lib")).unwrap();
    lab.world().tasks[0].attempt = 2;
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    assert_eq!(fs::read(folder.join("lib/x")).unwrap(), b"x");
    assert_eq!(fs::read(folder.join("z")).unwrap(), b"z");
}

#[test]
fn nothing_of_a_harmful_archive_is_stored() {
    let lab = Lab::new();
    let folder = lab.state().with_file_name("stored");
    let archive = Tar::new().file("a", b"a").link("out", "../..");
    lab.assign(store(&folder), package(1, Some(archive)));
    let report = lab.result();
    let (code, detail) = code_and_detail(&report);
    assert_eq!(code, "ERR_UNSAFE_ARCHIVE");
    assert!(detail.contains("\"out\""), "{detail}");
    assert!(!folder.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_during_a_store_keeps_the_old_files() {
    let lab = Lab::new();
    let folder = lab.state().with_file_name("small");
    fs::create_dir(&folder).unwrap();
    let archive = Tar::new()
        .file("a", &noise(8 << 10))
        // There is space for the bytes of this file, but not for another file.
        .file("b", &vec![7; 400 << 10])
        .file("c", b"c");
    lab.assign(store(&folder), package(1, Some(archive)));
    let small = folder.display();
    let script = format!(
        "mount -t tmpfs -o size=900k,nr_inodes=3 none '{small}'; echo old > '{small}/b'; \
         \"$@\" || exit; cat '{small}/b' >&2; ls -A '{small}' >&2"
    );
    let Some(run) = lab.run_where_it_can_mount(&script) else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = lab.world().reports.remove(0);
    let (code, detail) = code_and_detail(&report);
    assert_eq!(code, "ERR_OUT_OF_SPACE");
    assert!(
        detail.ends_with("before the error, 1 file was stored: \"a\""),
        "{detail}"
    );
    assert!(run.stderr.ends_with("old\na\nb\n"), "{}", run.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_of_an_archive_without_space_for_its_content_is_stored() {
    let lab = Lab::new();
    let folder = lab.state().with_file_name("small");
    fs::create_dir(&folder).unwrap();
    // There is space for the archive itself, which is only a few bytes long.
    let archive = Tar::new().file("a", b"a").file("b", &vec![7; 400 << 10]);
    lab.assign(store(&folder), package(1, Some(archive)));
    let small = folder.display();
    let script =
        format!("mount -t tmpfs -o size=300k none '{small}'; \"$@\" || exit; ls -A '{small}' >&2");
    let Some(run) = lab.run_where_it_can_mount(&script) else {
        return;
    };
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = lab.world().reports.remove(0);
    let (code, detail) = code_and_detail(&report);
    assert_eq!(code, "ERR_OUT_OF_SPACE");
    assert!(detail.contains("409601 bytes needed"), "{detail}");
    assert!(!run.stderr.ends_with("a\n"), "{}", run.stderr);
}

#[test]
fn launch_takes_names_only() {
    for command in [
        "bin/run.sh",
        "./run.sh",
        "../run.sh",
        "/bin/sh",
        "C:\\run.exe",
    ] {
        assert!(command.parse::<LaunchCommand>().is_err());
        assert!(command.parse::<CommandLine>().is_ok());
    }
}
