//! The agent's program, from check-in to report.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use packcast_agent::event::Event;
use packcast_protocol::manifest::Platform;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{Action, PackageId, Priority, UnixTime};
use rustix::process::{Pid, Signal, kill_process};

use crate::archives::Tar;
use crate::edge::Commits;
use crate::lab::{Lab, Package};
use crate::packages::{execute, launch, package, script};
use crate::publisher::unix_now;

#[test]
fn launch_reports_the_exit_code_and_the_output() {
    for code in [0, 7, 255] {
        let lab = Lab::new();
        let text = format!(
            "#!/bin/sh\necho \"$PACKCAST_PACKAGE_NAME $1|$2\"\ntest -f data && exit {code}\n"
        );
        lab.assign(launch("run.sh 'a b' c"), package(1, Some(script(&text))));
        let report = lab.result();
        assert_eq!(report.code.to_string(), format!("SUCCESS_{code}"));
        assert_eq!(report.output_tail.unwrap().as_str(), "lab a b|c\n");
    }
}

#[test]
fn events_are_logged_in_order() {
    let lab = Lab::new();
    lab.assign(
        launch("run.sh"),
        package(1, Some(Tar::new().program("run.sh", "#!/bin/sh\n"))),
    );
    let names: Vec<String> = lab
        .run()
        .events
        .iter()
        .map(|event| {
            serde_json::to_value(event).unwrap()["event"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected = [
        "keys_followed",
        "commit_held",
        "checked_in",
        "manifest_verified",
        "fragment_verified",
        "archive_verified",
        "unpacked",
        "started",
        "finished",
        "reported",
    ];
    assert_eq!(names, expected);
}

#[test]
fn execute_needs_no_archive() {
    let check = |command: &str, expected: &str| {
        let lab = Lab::new();
        lab.assign(execute(command), package(1, None));
        assert_eq!(lab.result().code.to_string(), expected, "{command}");
    };
    check("true && test -z \"$CARGO\"", "SUCCESS");
    check("exit 7", "EXIT_CODE_7");
    check("kill -9 $$", "ERR_SIGNAL");
}

#[test]
fn a_program_that_runs_too_long_is_ended() {
    let lab = Lab::new();
    let change = |manifest: &mut packcast_protocol::Manifest| manifest.timeout_s = 1;
    lab.assign(
        execute("echo begun; sleep 1000"),
        Package {
            change,
            ..package(1, None)
        },
    );
    let report = lab.result();
    assert_eq!(report.code.to_string(), "ERR_EXECUTE_TIMEOUT");
    assert_eq!(report.output_tail.unwrap().as_str(), "begun\n");
}

#[test]
fn store_puts_files_where_they_belong_and_runs_nothing() {
    let lab = Lab::new();
    let folder = "INSTALL_PATH/a b".parse().unwrap();
    let archive = script("#!/bin/sh\ntouch ran\n").file(".hidden", b"h");
    lab.assign(
        Action::Store {
            archive: (),
            folder,
        },
        package(1, Some(archive)),
    );
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    let stored = lab.state().join("installed/a b");
    assert_eq!(std::fs::read(stored.join(".hidden")).unwrap(), b"h");
    assert!(stored.join("run.sh").exists() && !stored.join("ran").exists());
}

#[test]
fn a_missing_program_is_an_error() {
    let lab = Lab::new();
    lab.assign(launch("other.sh"), package(1, Some(script("#!/bin/sh\n"))));
    let report = lab.result();
    assert_eq!(report.code.to_string(), "ERR_EXECUTE");
    assert!(report.detail.unwrap().as_str().contains("other.sh"));
}

#[test]
fn priorities_are_served_in_order() {
    let lab = Lab::new();
    let changes: [fn(&mut packcast_protocol::Manifest); 3] = [
        |manifest| {
            manifest.priority = Priority::try_from(10).unwrap();
            manifest.name = "last".parse().unwrap();
        },
        |manifest| manifest.name = "second".parse().unwrap(),
        |manifest| manifest.priority = Priority::HIGHEST,
    ];
    for (n, change) in (1..).zip(changes) {
        lab.assign(
            execute("true"),
            Package {
                change,
                ..package(n, None)
            },
        );
    }
    assert_eq!(lab.run().code, 0);
    let order: Vec<u32> = lab
        .world()
        .reports
        .iter()
        .map(|report| report.id.get() % 10)
        .collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn a_wrong_fragment_is_fetched_again_alone() {
    let lab = Lab::new();
    let id = lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))));
    let name = format!("{id}/{id}-2");
    let good = lab.edge.get(&name);
    let mut bad = good.clone();
    bad[17] ^= 1;
    lab.edge.put(&name, &[&bad, &good[..100], &good]);
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
    let count = |n: usize| lab.edge.gets(&format!("{id}/{id}-{n}"));
    assert_eq!((count(1), count(2), count(3)), (1, 3, 1));
}

#[test]
fn damaged_fragments_are_fetched_again_at_once() {
    let lab = Lab::new();
    let id = lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))));
    let fragments = lab.state().join(format!("packages/{id}/fragments"));
    std::fs::create_dir_all(&fragments).unwrap();
    let good = |n: usize| lab.edge.get(&format!("{id}/{id}-{n}"));
    let mut flipped = good(1);
    flipped[17] ^= 1;
    for (name, content) in [("1", &flipped[..]), ("2", &good(2)[..100]), ("3", &good(3))] {
        std::fs::write(fragments.join(name), content).unwrap();
    }
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
    let count = |n: usize| lab.edge.gets(&format!("{id}/{id}-{n}"));
    assert_eq!((count(1), count(2), count(3)), (1, 1, 0));
}

#[test]
fn a_permanently_wrong_fragment_is_named() {
    let lab = Lab::new();
    let id = lab.assign(
        launch("run.sh"),
        package(1, Some(script("#!/bin/sh\ntouch ran\n"))),
    );
    let mut bad = lab.edge.get(&format!("{id}/{id}-2"));
    bad[17] ^= 1;
    lab.edge.put(&format!("{id}/{id}-2"), &[&bad]);
    let report = lab.result();
    assert_eq!(report.code.to_string(), "ERR_BAD_DIGEST");
    assert!(report.detail.unwrap().as_str().contains(&format!("{id}-2")));
}

#[test]
fn a_changed_manifest_is_refused() {
    let lab = Lab::new();
    let id = lab.assign(execute("true"), package(1, None));
    let path = format!("{id}/manifest.json");
    let mut bytes = lab.edge.get(&path);
    bytes[100] ^= 1;
    lab.edge.put(&path, &[&bytes]);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_MANIFEST");
}

#[test]
fn expired_packages_and_those_for_other_platforms_are_refused() {
    let check = |change: fn(&mut packcast_protocol::Manifest), expected: &str| {
        let lab = Lab::new();
        lab.assign(
            execute("true"),
            Package {
                change,
                ..package(1, None)
            },
        );
        assert_eq!(lab.result().code.to_string(), expected);
    };
    check(
        |manifest| manifest.expires = Some(UnixTime(1)),
        "ERR_EXPIRED",
    );
    check(
        |manifest| manifest.platform = Platform::Windows,
        "ERR_WRONG_PLATFORM",
    );
}

#[test]
fn a_harmful_archive_is_refused() {
    let lab = Lab::new();
    lab.assign(
        launch("run.sh"),
        package(1, Some(script("#!/bin/sh\n").file("../x", b"x"))),
    );
    let report = lab.result();
    assert_eq!(report.code.to_string(), "ERR_UNSAFE_ARCHIVE");
    assert!(report.detail.unwrap().as_str().contains("../x"));
}

#[test]
fn verified_fragments_are_never_fetched_again() {
    let lab = Lab::new();
    let archive = script("#!/bin/sh\nexit 4\n");
    let id = lab.assign(launch("run.sh"), package(1, Some(archive)));
    let stuck = format!("{id}/{id}-3");
    let content = lab.edge.get(&stuck);
    lab.edge.put_status(&stuck, 503);
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(matches!(run.events.last(), Some(Event::Deferred { .. })));
    assert!(lab.world().reports.is_empty());
    let verified = std::fs::read_dir(lab.state().join(format!("packages/{id}/fragments")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.parse::<u32>().is_ok())
        .collect::<Vec<_>>();
    assert!(verified.len() > 1 && !verified.contains(&"3".to_owned()));
    lab.world().gets.clear();
    lab.edge.put(&stuck, &[&content]);
    assert_eq!(lab.result().code.to_string(), "SUCCESS_4");
    for fragment in &verified {
        assert_eq!(
            lab.edge.gets(&format!("{id}/{id}-{fragment}")),
            0,
            "{fragment}"
        );
    }
    assert_eq!(lab.edge.gets(&stuck), 1);
}

#[test]
fn a_full_disk_is_reported_and_freed() {
    let lab = Lab::new();
    let id = lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))));
    let fragments = lab.state().join(format!("packages/{id}/fragments"));
    std::fs::create_dir_all(&fragments).unwrap();
    std::os::unix::fs::symlink("/dev/full", fragments.join("2.part")).unwrap();
    lab.world().refuse_reports = true;
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!fragments.exists());
    lab.world().tasks.clear();
    assert_eq!(lab.result().code.to_string(), "ERR_OUT_OF_SPACE");
}

#[test]
fn partial_fragments_are_removed() {
    let lab = Lab::new();
    let id = PackageId::try_from(1_795_000_001).unwrap();
    let package = lab.state().join(format!("packages/{id}"));
    lab.write_journal(id, r#"{"stage":"fetching","attempt":1}"#);
    std::fs::create_dir_all(package.join("fragments")).unwrap();
    for name in ["1", "2.part"] {
        std::fs::write(package.join("fragments").join(name), "x").unwrap();
    }
    assert_eq!(lab.run().code, 0);
    assert!(package.join("fragments/1").exists());
    assert!(!package.join("fragments/2.part").exists());
}

#[test]
fn a_waiting_package_blocks_lower_priorities() {
    let lab = Lab::new();
    let change = |manifest: &mut packcast_protocol::Manifest| manifest.priority = Priority::HIGHEST;
    let first = lab.assign(
        execute("true"),
        Package {
            change,
            ..package(1, None)
        },
    );
    let second = lab.assign(execute("true"), package(2, None));
    lab.edge.put_status(&format!("{first}/manifest.json"), 503);
    assert_eq!(lab.run().code, 0);
    assert!(lab.world().reports.is_empty());
    lab.edge.put_status(&format!("{first}/manifest.json"), 404);
    assert_eq!(lab.run().code, 0);
    let waits: Vec<_> = lab
        .world()
        .waits
        .iter()
        .map(|it| (it.package, it.reason))
        .collect();
    let expected = [(first, WaitWord::Unreachable), (second, WaitWord::Behind)];
    assert_eq!(waits, expected);
    let codes: Vec<String> = lab
        .world()
        .reports
        .iter()
        .map(|report| report.code.to_string())
        .collect();
    assert_eq!(codes, ["ERR_DOWNLOAD_PACK", "SUCCESS"]);
}

#[test]
fn a_package_that_waits_for_a_month_has_failed() {
    let lab = Lab::new();
    let id = lab.assign(execute("true"), package(1, None));
    lab.edge.put_status(&format!("{id}/manifest.json"), 503);
    let run = lab.run();
    assert!(matches!(run.events.last(), Some(Event::Deferred { .. })));
    lab.begun_days_ago(id, 29);
    let run = lab.run();
    assert!(matches!(run.events.last(), Some(Event::Deferred { .. })));
    lab.begun_days_ago(id, 30);
    let report = lab.result();
    assert_eq!(report.code.to_string(), "ERR_TIMEOUT");
    assert!(report.detail.unwrap().as_str().contains("503"));
}

#[test]
fn nothing_runs_twice() {
    let lab = Lab::new();
    let count = lab.state().join("count");
    lab.assign(
        execute(&format!("echo x >> '{}'", count.display())),
        package(1, None),
    );
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    lab.world().tasks[0].attempt = 2;
    assert_eq!(lab.result().code.to_string(), "SUCCESS_ALREADY_SETUP");
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\n");
    lab.world().tasks[0].attempt = 3;
    lab.world().commits = Commits::OfTasks { force: true };
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    assert_eq!(std::fs::read_to_string(&count).unwrap(), "x\nx\n");
}

#[test]
fn an_unaccepted_result_goes_with_the_next_check_in() {
    let lab = Lab::new();
    lab.assign(execute("exit 9"), package(1, None));
    lab.world().refuse_reports = true;
    let run = lab.run();
    assert_eq!(run.code, 0);
    assert!(matches!(
        run.events.last(),
        Some(Event::Reported {
            accepted: false,
            ..
        })
    ));
    lab.world().tasks.clear();
    assert_eq!(lab.result().code.to_string(), "EXIT_CODE_9");
    let status = lab.agent(&["status"]);
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(
        text.contains("EXIT_CODE_9") && text.contains("lab@1.0"),
        "{text}"
    );
}

#[test]
fn a_result_that_is_too_large_is_sent_without_its_output() {
    let lab = Lab::new();
    lab.assign(execute("head -c 4096 /dev/zero"), package(1, None));
    lab.world().refuse_reports = true;
    assert_eq!(lab.run().code, 0);
    lab.world().tasks.clear();
    lab.world().body_limit = Some(8 << 10);
    let report = lab.result();
    assert_eq!(report.code.to_string(), "SUCCESS");
    assert_eq!(report.output_tail, None);
}

#[test]
fn an_interrupted_package_is_reported_and_not_run_again() {
    let lab = Lab::new();
    let id = lab.assign(execute("true"), package(1, None));
    lab.write_acting(id, false);
    let reports = || {
        assert_eq!(lab.run().code, 0);
        std::mem::take(&mut lab.world().reports)
    };
    assert!(
        reports()
            .iter()
            .all(|report| report.code.to_string() == "ERR_INTERRUPTED")
    );
    // A truncated journal does not show if the agent acted.
    lab.world().tasks[0].attempt = 2;
    lab.write_acting(id, false);
    lab.tear_journal(id);
    let codes: Vec<String> = reports()
        .iter()
        .map(|report| report.code.to_string())
        .collect();
    assert_eq!(codes, ["ERR_INTERRUPTED"]);
}

#[test]
fn the_token_is_shown_until_there_is_a_pass() {
    let lab = Lab::new();
    for _ in 0..2 {
        assert_eq!(lab.run().code, 0);
    }
    assert_eq!(lab.world().enrolments, 1);
    lab.world().forget_pass = true;
    assert_eq!(lab.run().code, 0);
    assert_eq!(lab.world().enrolments, 2);
}

#[test]
fn a_wrong_clock_is_corrected_for_the_signature() {
    let lab = Lab::new();
    for days_ahead in [89, 0] {
        lab.world().clock = Some(UnixTime(unix_now() + days_ahead * 24 * 3600));
        let run = lab.run();
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    // Without the correction, the function would refuse the first check-in.
    assert_eq!(lab.world().skewed.len(), 1);
}

/// Sets the clock of the function 26 hours back, so that the device's clock is ahead. Returns the
/// function's time.
fn set_clock_ahead(lab: &Lab) -> UnixTime {
    let function = UnixTime(unix_now() - 26 * 3600);
    let mut world = lab.world();
    world.clock = Some(function);
    world.target.as_mut().unwrap().signed_days_ago = 2;
    function
}

/// Runs the agent once, and returns the reason for which its only package waits.
fn waits(lab: &Lab) -> (WaitWord, String) {
    let run = lab.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut events = run.events.into_iter();
    let waits = events.find_map(|event| match event {
        Event::Waits { reason, detail, .. } => Some((reason, detail)),
        _ => None,
    });
    waits.unwrap()
}

#[test]
fn a_package_that_has_expired_by_a_wrong_clock_only_waits_and_both_times_are_named() {
    let lab = Lab::new();
    let function = set_clock_ahead(&lab);
    let change = |manifest: &mut packcast_protocol::Manifest| {
        manifest.expires = Some(UnixTime(unix_now() - 13 * 3600));
    };
    let content = package(1, None);
    lab.assign(execute("true"), Package { change, ..content });
    let (reason, detail) = waits(&lab);
    assert_eq!(reason, WaitWord::Clock);
    for time in [function, UnixTime(unix_now())] {
        assert!(detail.contains(&time.day()), "{detail}");
    }
    assert!(lab.world().reports.is_empty());
    // With a right clock, the package has expired.
    lab.world().clock = None;
    assert_eq!(lab.result().code.to_string(), "ERR_EXPIRED");
}

#[test]
fn a_device_with_a_wrong_clock_names_both_times_when_its_commit_has_expired() {
    let lab = Lab::new();
    let function = set_clock_ahead(&lab);
    lab.world().target.as_mut().unwrap().valid_days = 1;
    lab.assign(execute("true"), package(1, None));
    let (reason, detail) = waits(&lab);
    assert_eq!(reason, WaitWord::CommitExpired);
    for time in [function, UnixTime(unix_now())] {
        assert!(detail.contains(&time.day()), "{detail}");
    }
}

/// The function asks for signatures of times that a device must not sign for.
#[test]
fn no_request_is_signed_for_a_distant_time() {
    let lab = Lab::new();
    let now = unix_now();
    for asked in [
        now + 91 * 24 * 3600,
        4_000_000_000,
        u64::MAX,
        1_700_000_000,
        0,
    ] {
        lab.world().clock = Some(UnixTime(asked));
        let run = lab.run();
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(
            run.stderr.contains("set the device's clock"),
            "{}",
            run.stderr
        );
        let skewed = std::mem::take(&mut lab.world().skewed);
        assert_eq!(skewed.len(), 1, "the agent does not sign again");
        assert!(skewed[0].since(UnixTime(now)) < 3600, "{skewed:?}");
    }
}

#[test]
fn a_request_is_retried_while_the_server_is_unavailable() {
    let lab = Lab::new();
    lab.world().statuses = [503, 429].into();
    assert_eq!(lab.run().code, 0);
    lab.world().statuses = [503; 4].into();
    assert_eq!(lab.run().code, 75);
}

#[test]
fn the_loop_continues_after_an_invalid_reply() {
    let lab = Lab::new();
    lab.world().statuses = [403].into();
    let mut agent = lab.command(&["run"]);
    let mut agent = agent.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(agent.stderr.take().unwrap()).lines();
    let failed = lines
        .map(Result::unwrap)
        .find(|line| line.contains("cannot complete the check-in"));
    assert!(failed.unwrap().contains("status 403"));
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

/// A terminal that is closed sends SIGHUP.
#[test]
fn a_program_that_runs_finishes_after_any_signal_to_stop() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let lab = Lab::new();
        let (ran, go) = (lab.state().join("ran"), lab.state().join("go"));
        let command = format!(
            "echo x >> '{}'; until [ -e '{}' ]; do sleep 0.01; done",
            ran.display(),
            go.display()
        );
        lab.assign(execute(&command), package(1, None));
        let mut agent = lab.command(&["run"]);
        let mut agent = agent.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(agent.stderr.take().unwrap()).lines();
        let mut says = |text: &str| lines.any(|line| line.unwrap().contains(text));
        assert!(says("started"), "{signal:?}");
        kill_process(Pid::from_child(&agent), signal).unwrap();
        assert!(says("stopping after the package under way"), "{signal:?}");
        std::fs::write(&go, "").unwrap();
        assert_eq!(agent.wait().unwrap().code(), Some(0), "{signal:?}");
        // The next agent process sends the result, and does not run the program again.
        lab.world().tasks.clear();
        assert_eq!(lab.result().code.to_string(), "SUCCESS", "{signal:?}");
        assert_eq!(std::fs::read_to_string(&ran).unwrap(), "x\n");
    }
}

#[test]
fn the_id_does_not_change() {
    let lab = Lab::new();
    let id = lab.agent(&["id"]).stdout;
    assert!(id.starts_with(b"key:"));
    assert_eq!(lab.agent(&["id"]).stdout, id);
}

#[test]
fn text_of_the_server_is_printed_without_control_characters() {
    let lab = Lab::new();
    lab.world().body_limit = Some(1);
    let output = lab.agent(&["run", "--once"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(r"refused by the lab\u{1b}[2J\nforged"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(
        !text.lines().any(|line| line.starts_with("forged")),
        "{text}"
    );
}
