//! Agents that follow the signed state of a target.
#![cfg(unix)]

use std::fs;
use std::process::Stdio;

use packcast_agent::event::Event;
use packcast_agent::target_state::{FileChange, TargetStateFiles};
use packcast_protocol::manifest::Audience;
use packcast_protocol::state::exchange::{WaitWord, WaitingPackage};
use packcast_protocol::state::{
    LeafName, Mandate, PartialTree, StateEntry, StateReply, StateText, Terms, VerifiedState,
};
use packcast_protocol::{Assignee, GroupName, Manifest, UnixTime};

use crate::lab::{Lab, Package};
use crate::packages::{execute, package};
use crate::publisher::StatePublisher;
use crate::rounds::{
    check_ins, commit, content, counting, counting_with, device, entry, expect, expect_wait,
    forced, next_attempt, round, runs, set, state_folder, status,
};

#[test]
fn an_entry_is_acted_on_once_even_after_the_state_is_lost() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let once = content(&lab).with("all", &[entry(&lab, id, 7)]);
    commit(&lab, once.clone());
    let first = round(&lab);
    assert_eq!(first.codes, ["EXIT_CODE_3"]);
    assert_eq!(check_ins(&lab), 2, "the second one asks for the location");
    let mandate = Mandate {
        assignee: Assignee::Group(GroupName::all()),
        seq: 7,
    };
    assert_eq!(first.mandates[0].as_slice(), [mandate]);
    next_attempt(&lab);
    expect_wait(&lab, WaitWord::Used);
    assert_eq!(check_ins(&lab), 1);
    fs::remove_dir_all(state_folder(&lab)).unwrap();
    expect_wait(&lab, WaitWord::Used);
    // The content is the same, so the mandate is, too.
    commit(&lab, once);
    expect_wait(&lab, WaitWord::Used);
    commit(
        &lab,
        content(&lab).with("all", &[forced(entry(&lab, id, 7))]),
    );
    expect_wait(&lab, WaitWord::Used);
    assert_eq!(runs(&lab), ["1"]);
    let again = content(&lab).with("all", &[entry(&lab, id, 8)]);
    commit(&lab, again);
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab), ["1", "1"]);
}

#[test]
fn an_older_commit_is_refused_after_the_state_is_lost() {
    let lab = Lab::with_commits();
    let (old, new) = (counting(&lab, 1), counting(&lab, 2));
    commit(&lab, content(&lab).with("all", &[entry(&lab, old, 1)]));
    commit(&lab, content(&lab).with("all", &[entry(&lab, new, 2)]));
    let all = std::mem::take(&mut lab.world().tasks);
    lab.world().tasks = vec![all[1].clone()];
    expect(&lab, &["EXIT_CODE_3"]);
    fs::remove_dir_all(state_folder(&lab)).unwrap();
    lab.world().tasks = vec![all[0].clone()];
    set(&lab, |target| target.shown = Some(0));
    let round = round(&lab);
    assert_eq!(
        (round.codes.len(), &round.waits[..]),
        (0, &[WaitWord::NoCommit][..])
    );
    let refusals = round.refusals();
    assert!(
        refusals[0].contains("has accepted the later commit"),
        "{refusals:?}"
    );
    assert_eq!(runs(&lab), ["2"]);
}

#[test]
fn a_commit_is_not_replaced_by_an_older_one() {
    let lab = Lab::with_commits();
    let bad = counting(&lab, 1);
    commit(&lab, content(&lab).with("all", &[entry(&lab, bad, 1)]));
    let withdrawn = commit(&lab, content(&lab).with("all", &[]));
    expect_wait(&lab, WaitWord::NotAssigned);
    set(&lab, |target| target.shown = Some(0));
    let round = round(&lab);
    assert_eq!(
        (round.codes.len(), &round.waits[..]),
        (0, &[WaitWord::NotAssigned][..])
    );
    let refusals = round.refusals();
    assert!(
        refusals[0].contains(&format!("later commit {withdrawn}")),
        "{refusals:?}"
    );
    assert!(runs(&lab).is_empty());
}

#[test]
fn a_package_without_an_entry_waits_and_holds_up_no_other() {
    let lab = Lab::with_commits();
    let (first, second) = (counting(&lab, 1), counting(&lab, 2));
    lab.world().tasks[0].priority = "0".parse().unwrap();
    commit(&lab, content(&lab).with("all", &[entry(&lab, second, 1)]));
    let waiting = round(&lab);
    assert_eq!(waiting.codes, ["EXIT_CODE_3"]);
    assert_eq!(waiting.waits, [WaitWord::NotAssigned]);
    assert_eq!(lab.edge.gets(&format!("{first}/manifest.json")), 0);
    let detail = waiting.events.iter().find_map(|event| match event {
        Event::Waits { detail, .. } => Some(detail),
        _ => None,
    });
    assert!(
        detail.unwrap().ends_with("assign the package"),
        "{detail:?}"
    );
    let text = status(&lab);
    assert!(
        text.contains(&format!("package {first}: waits: {}", detail.unwrap())),
        "{text}"
    );
    assert!(text.contains("groups: all\n"), "{text}");
    lab.world().tasks.pop();
    let assigned = content(&lab).with("all", &[entry(&lab, first, 2)]);
    let number = commit(&lab, assigned);
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab), ["2", "1"]);
    let text = status(&lab);
    assert!(!text.contains("waits"), "{text}");
    assert!(text.contains(&format!("commit {number}-")), "{text}");
    let trust = lab.world().target.as_ref().unwrap().trust();
    for expected in [
        format!("target {}\n", trust.target()),
        format!("root key {}\n", trust.roots()[0]),
        "key list 1: valid until ".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected} in {text}");
    }
}

#[test]
fn a_package_that_is_announced_no_more_does_not_wait() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    commit(&lab, content(&lab));
    expect_wait(&lab, WaitWord::NotAssigned);
    assert!(status(&lab).contains(&format!("package {id}: waits")));
    let json = lab.agent(&["status", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let target = lab.world().target.as_ref().unwrap().trust().target();
    assert_eq!(json["state"]["target"], target.to_string());
    assert_eq!(json["state"]["groups"][0], "all");
    assert_eq!(json["waiting"][0]["reason"], "not_assigned");
    lab.world().tasks.clear();
    expect(&lab, &[]);
    // The check-in has named the package, before the reply announced no package.
    let expected = WaitingPackage {
        package: id,
        attempt: 1,
        reason: WaitWord::NotAssigned,
        until: None,
    };
    assert_eq!(lab.world().waits, [expected]);
    assert!(!status(&lab).contains("waits"));
    expect(&lab, &[]);
    assert_eq!(lab.world().waits, []);
}

#[test]
fn a_device_without_a_state_waits() {
    let lab = Lab::with_commits();
    counting(&lab, 1);
    expect_wait(&lab, WaitWord::NoKeyList);
    assert_eq!(
        check_ins(&lab),
        1,
        "the same question would get the same answer"
    );
    let text = status(&lab);
    assert!(
        text.contains("key list: none yet\ncommit: none yet\n"),
        "{text}"
    );
    assert!(
        text.contains("no package begins: the device follows no key list yet"),
        "{text}"
    );
}

#[test]
fn only_the_entry_can_force() {
    let lab = Lab::with_commits();
    let id = counting_with(&lab, 1, |manifest| manifest.success_codes = [3].into());
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    expect(&lab, &["EXIT_CODE_3"]);
    next_attempt(&lab);
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 2)]));
    expect(&lab, &["SUCCESS_ALREADY_SETUP"]);
    next_attempt(&lab);
    let force = forced(entry(&lab, id, 3));
    commit(&lab, content(&lab).with("all", &[force]));
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab).len(), 2);
}

#[test]
fn a_success_is_no_result_of_a_forced_entry_that_has_not_arrived() {
    let lab = Lab::with_commits();
    let id = counting_with(&lab, 1, |manifest| manifest.success_codes = [3].into());
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    expect(&lab, &["EXIT_CODE_3"]);
    next_attempt(&lab);
    let force = forced(entry(&lab, id, 2));
    commit(&lab, content(&lab).with("all", &[force]));
    set(&lab, |target| target.shown = Some(0));
    expect_wait(&lab, WaitWord::Used);
    set(&lab, |target| target.shown = None);
    expect(&lab, &["EXIT_CODE_3"]);
}

#[test]
fn packages_are_fetched_from_signed_locations_only() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let task = |names: &[&str]| {
        let task = &mut lab.world().tasks[0];
        task.attempt += 1;
        task.locations = names.iter().map(|name| name.parse().unwrap()).collect();
    };
    let assign = |seq| {
        let entry = entry(&lab, id, seq);
        commit(&lab, content(&lab).with("all", &[entry]));
    };
    assign(1);
    task(&["gone"]);
    expect_wait(&lab, WaitWord::Incomplete);
    task(&["gone", "main"]);
    let skipped = round(&lab);
    assert_eq!(skipped.codes, ["EXIT_CODE_3"], "{}", skipped.stderr);
    let gone = "gone".parse().unwrap();
    let expected = Event::LocationSkipped { id, location: gone };
    assert!(skipped.events.contains(&expected), "{:?}", skipped.events);
    // Below the folder that the task names, on the signed host.
    assign(2);
    task(&["main"]);
    lab.world().tasks[0].folder = "objects/folder/a".parse().unwrap();
    let manifest = lab.edge.get(&format!("{id}/manifest.json"));
    lab.edge.put_status(&format!("{id}/manifest.json"), 404);
    lab.edge
        .put(&format!("folder/a/{id}/manifest.json"), &[&manifest]);
    expect(&lab, &["EXIT_CODE_3"]);
}

#[test]
fn a_device_with_two_of_three_groups_waits() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let groups = ["one", "two", "three"];
    let mut state = content(&lab).with_member(device(&lab), &groups);
    for (group, seq) in groups.into_iter().zip(1..) {
        let entries = [entry(&lab, id, seq)];
        // One group does not assign the package, but may withhold something else.
        state = state.with(group, if seq == 3 { &[] } else { &entries });
    }
    commit(&lab, state);
    // Documents without an entry are those of the device and of the third group.
    set(&lab, |target| {
        target.change = Some(|reply| {
            let text = r#""packages":[]"#;
            let is_third = |text: &str| text.contains("created");
            reply.documents.retain(|document| {
                !(document.as_str().contains(text) && is_third(document.as_str()))
            });
        });
    });
    expect_wait(&lab, WaitWord::Incomplete);
    assert!(runs(&lab).is_empty());
    let text = status(&lab);
    assert!(
        text.contains("no package begins: the device lacks parts of commit"),
        "{text}"
    );
    assert!(text.contains("group/three"), "{text}");
    // The path to the group is hidden, too.
    set(&lab, |target| {
        target.change = Some(|reply| {
            let groups = reply.groups.as_ref().unwrap();
            let two: Vec<LeafName> = ["one", "two"].map(in_tree).into();
            reply.groups = Some(
                groups
                    .prove(&two)
                    .unwrap_or_else(|_| PartialTree::hidden(groups.root())),
            );
        });
    });
    fs::remove_dir_all(state_folder(&lab)).unwrap();
    expect_wait(&lab, WaitWord::Incomplete);
    set(&lab, |target| target.change = None);
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab), ["1"]);
}

fn in_tree(group: &str) -> LeafName {
    LeafName::Group(group.parse().unwrap())
}

#[test]
fn a_large_state_arrives_in_several_check_ins() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let names: Vec<String> = (0..30).map(|n| format!("g{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut state = content(&lab).with_member(device(&lab), &names);
    for (group, seq) in names.iter().zip(1..) {
        // A different document for each group.
        state = state.with(group, &[entry(&lab, id, seq)]);
    }
    commit(&lab, state);
    set(&lab, |target| target.documents_at_once = 1);
    expect_wait(&lab, WaitWord::Incomplete);
    assert_eq!(check_ins(&lab), 20, "the rest follows later");
    expect(&lab, &["EXIT_CODE_3"]);
    assert!(check_ins(&lab) <= 20);
}

#[test]
fn a_function_that_always_promises_more_is_not_asked_for_ever() {
    let lab = Lab::with_commits();
    counting(&lab, 1);
    commit(&lab, content(&lab));
    expect_wait(&lab, WaitWord::NotAssigned);
    check_ins(&lab);
    commit(&lab, content(&lab).with("all", &[]));
    set(&lab, |target| {
        target.change = Some(|reply| reply.more = true);
    });
    expect_wait(&lab, WaitWord::NotAssigned);
    assert_eq!(
        check_ins(&lab),
        3,
        "for the commit, for the location, and once without a change"
    );
}

#[test]
fn an_expired_commit_begins_nothing() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let assigned = content(&lab).with("all", &[entry(&lab, id, 1)]);
    set(&lab, |target| {
        (target.signed_days_ago, target.valid_days) = (3, 2);
    });
    commit(&lab, assigned.clone());
    expect_wait(&lab, WaitWord::CommitExpired);
    assert!(status(&lab).contains("expired on"));
    set(&lab, |target| target.signed_days_ago = 1);
    commit(&lab, assigned);
    expect(&lab, &["EXIT_CODE_3"]);
}

#[test]
fn a_package_for_others_or_older_than_its_successor_waits() {
    let lab = Lab::with_commits();
    let tills = |manifest: &mut Manifest| {
        manifest.audience = Audience::Groups(["tills".parse().unwrap()].into());
    };
    let old = counting_with(&lab, 1, tills);
    let new = counting_with(&lab, 2, |manifest| manifest.success_codes = [3].into());
    let both = [entry(&lab, old, 1), entry(&lab, new, 2)];
    commit(&lab, content(&lab).with("all", &both));
    let first = round(&lab);
    assert_eq!(first.codes, ["EXIT_CODE_3"]);
    assert_eq!(first.waits, [WaitWord::OtherAudience]);
    let till = content(&lab)
        .with_member(device(&lab), &["tills"])
        .with("tills", &[])
        .with("all", &both);
    commit(&lab, till.clone());
    lab.world().tasks.pop();
    expect_wait(&lab, WaitWord::Downgrade);
    let downgrade = StateEntry {
        terms: Terms::allowing_downgrade(),
        ..entry(&lab, old, 3)
    };
    commit(&lab, till.with("all", &[downgrade]));
    expect(&lab, &["EXIT_CODE_3"]);
    let manifest = format!("{old}/manifest.json");
    assert_eq!(lab.edge.gets(&manifest), 1, "the device keeps the manifest");
    assert_eq!(runs(&lab), ["2", "1"]);
}

#[test]
fn an_older_package_replaces_a_newer_one_only_as_a_downgrade() {
    let lab = Lab::with_commits();
    let assign = |command: &str, n, terms, change: fn(&mut Manifest)| {
        lab.world().tasks.clear();
        let content_of_package = package(n, None);
        let package = Package {
            change,
            ..content_of_package
        };
        let id = lab.assign(execute(command), package);
        let entry = StateEntry {
            terms,
            ..entry(&lab, id, n.into())
        };
        commit(&lab, content(&lab).with("all", &[entry]));
    };
    let (plain, downgrade) = (Terms::default, Terms::allowing_downgrade);
    // A failed package is no successor.
    assign("false", 9, plain(), |_| {});
    expect(&lab, &["EXIT_CODE_1"]);
    assign("true", 5, plain(), |_| {});
    expect(&lab, &["SUCCESS"]);
    assign("true", 4, plain(), |_| {});
    expect_wait(&lab, WaitWord::Downgrade);
    assign("true", 3, downgrade(), |_| {});
    expect(&lab, &["SUCCESS"]);
    assign("true", 1, plain(), |manifest| {
        manifest.name = "x".parse().unwrap();
    });
    expect(&lab, &["SUCCESS"]);
    assign("true", 6, plain(), |_| {});
    expect(&lab, &["SUCCESS"]);
}

#[test]
fn another_target_sets_the_state_and_its_mandates_aside() {
    let mut lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let assigned = content(&lab).with("all", &[entry(&lab, id, 7)]);
    commit(&lab, assigned.clone());
    expect(&lab, &["EXIT_CODE_3"]);
    let kept = state_folder(&lab);
    let before = lab.world().target.as_ref().unwrap().trust().target();
    let content_before = fs::read(kept.join("state")).unwrap();

    // The same key signs for another target.
    let second = StatePublisher::new(2, lab.signer.clone());
    let target = second.trust().target();
    let first = lab.follow(second).unwrap();
    next_attempt(&lab);
    commit(&lab, assigned.clone());
    let changed = round(&lab);
    assert_eq!(changed.codes, ["EXIT_CODE_3"], "{}", changed.stderr);
    let expected = Event::TargetChanged {
        before,
        target,
        kept: kept.clone(),
    };
    assert!(changed.events.contains(&expected), "{:?}", changed.events);
    assert_eq!(fs::read(kept.join("state")).unwrap(), content_before);
    next_attempt(&lab);
    let again = round(&lab);
    assert_eq!(again.waits, [WaitWord::Used]);
    assert!(!again.events.contains(&expected), "it is reported once");

    // A commit of the first target is refused by the second.
    lab.world().target = Some(first);
    commit(&lab, assigned.clone());
    let mixed = round(&lab);
    let refusals = mixed.refusals().join("\n");
    let expected = format!("another target: expected {target}, found {before}");
    assert!(refusals.contains(&expected), "{refusals}");
    assert!(mixed.codes.is_empty());

    // Back at the first target, its mandates still count.
    let first = lab.world().target.take().unwrap();
    lab.follow(first);
    let back = round(&lab);
    assert_eq!(back.waits, [WaitWord::Used]);
    let returned = back
        .events
        .iter()
        .any(|event| matches!(event, Event::TargetChanged { target, .. } if *target == before));
    assert!(returned, "{:?}", back.events);
    assert_eq!(runs(&lab).len(), 2);
}

#[test]
fn an_option_of_an_older_agent_is_refused() {
    let lab = Lab::with_commits();
    lab.configure("trusted_keys = []\n");
    let run = lab.run();
    assert_eq!(run.code, 2, "{}", run.stderr);
    let expected = "trusted_keys is not an option any more: remove it, and set trust to";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    lab.configure("");
    expect(&lab, &[]);
}

#[test]
fn time_without_a_permission_does_not_count_as_waiting_for_locations() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let deferred = || {
        let round = round(&lab);
        let last = round.events.last();
        assert!(matches!(last, Some(Event::Deferred { .. })), "{last:?}");
    };
    lab.edge.put_status(&format!("{id}/manifest.json"), 503);
    let assigned = content(&lab).with("all", &[entry(&lab, id, 1)]);
    commit(&lab, assigned.clone());
    deferred();
    lab.begun_days_ago(id, 31);
    commit(&lab, content(&lab).with("all", &[]));
    expect_wait(&lab, WaitWord::NotAssigned);
    commit(&lab, assigned);
    deferred();
    lab.begun_days_ago(id, 31);
    expect(&lab, &["ERR_TIMEOUT"]);
}

#[test]
fn a_damaged_state_file_is_kept_and_reported() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    expect(&lab, &["EXIT_CODE_3"]);
    let path = state_folder(&lab).join("state");
    let mut damaged = fs::read(&path).unwrap();
    damaged[200] ^= 1;
    fs::write(&path, &damaged).unwrap();
    next_attempt(&lab);
    let found = round(&lab);
    assert_eq!(found.waits, [WaitWord::Used], "the state has arrived again");
    let kept = found.events.iter().find_map(|event| match event {
        Event::StateDamaged { path: of, kept, .. } => (*of == path).then_some(kept),
        _ => None,
    });
    assert_eq!(fs::read(kept.unwrap()).unwrap(), damaged);
    let again = round(&lab);
    assert!(
        !again
            .events
            .iter()
            .any(|event| matches!(event, Event::StateDamaged { .. }))
    );
    // A damaged document is asked for again.
    let documents = fs::read_dir(state_folder(&lab)).unwrap();
    for path in documents.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("document-") {
            fs::write(&path, "{").unwrap();
        }
    }
    let again = round(&lab);
    assert_eq!(again.waits, [WaitWord::Used], "{}", again.stderr);
    assert_eq!(runs(&lab), ["1"]);
}

#[test]
fn an_agent_that_was_killed_while_a_program_ran_does_not_use_its_entry_again() {
    let lab = Lab::with_commits();
    let (begun, go) = (lab.state().join("begun"), lab.state().join("go"));
    let line = format!(
        "echo x >> '{}'; until [ -e '{}' ]; do sleep 0.01; done",
        begun.display(),
        go.display()
    );
    let id = lab.assign(execute(&line), package(1, None));
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    let mut agent = lab.command(&["run", "--once"]);
    let mut agent = agent.stderr(Stdio::null()).spawn().unwrap();
    while fs::read(&begun).unwrap_or_default().is_empty() {
        std::thread::yield_now();
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    fs::write(&go, "").unwrap();
    fs::remove_dir_all(state_folder(&lab)).unwrap();
    // The function announces the attempt once more after it has the result.
    let mut codes = round(&lab).codes;
    codes.dedup();
    assert_eq!(codes, ["ERR_INTERRUPTED"]);
    next_attempt(&lab);
    expect_wait(&lab, WaitWord::Used);
    assert_eq!(fs::read_to_string(&begun).unwrap(), "x\n");
}

/// Returns the writes with which the device accepts the shown state.
fn changes(lab: &Lab, files: &TargetStateFiles) -> Vec<FileChange> {
    let device = device(lab);
    let world = lab.world();
    let target = world.target.as_ref().unwrap();
    let empty = VerifiedState::new(device.clone(), target.trust(), UnixTime(0), []);
    let mut state = files.load(empty).unwrap().state;
    let names = ["main".parse().unwrap()].into();
    let reply: StateReply = target.reply_to(&device, &state.summary(&names)).unwrap();
    let accepted = state.accept(&StateText::new(&reply).unwrap(), &names);
    assert!(accepted.refused.is_empty());
    TargetStateFiles::changes(&state, &accepted)
}

#[test]
fn an_agent_that_stopped_between_two_writes_follows_the_new_state() {
    let writes = 4;
    for written in 0..=writes {
        let lab = Lab::with_commits();
        let (old, new) = (counting(&lab, 1), counting(&lab, 2));
        let before = content(&lab).with("all", &[entry(&lab, old, 1)]);
        let after = content(&lab).with("all", &[entry(&lab, new, 2)]);
        let tasks = std::mem::take(&mut lab.world().tasks);
        commit(&lab, before);
        expect(&lab, &[]);
        commit(&lab, after);
        let files = TargetStateFiles::new(&state_folder(&lab));
        let changes = changes(&lab, &files);
        assert_eq!(changes.len(), writes, "{changes:?}");
        for change in &changes[..written] {
            files.perform(change).unwrap();
        }
        lab.world().tasks = tasks;
        let round = round(&lab);
        assert_eq!(round.codes, ["EXIT_CODE_3"], "{written}: {}", round.stderr);
        assert_eq!(round.waits, [WaitWord::NotAssigned], "{written}");
        assert_eq!(runs(&lab), ["2"], "{written}");
        let left = fs::read_dir(state_folder(&lab)).unwrap().count();
        assert_eq!(left, 3, "the state, the group and the location");
    }
}

/// A group's name has a meaning only together with the commit that created the group.
#[test]
fn a_removed_member_does_not_run_a_later_package_of_the_group() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let member = content(&lab).with_member(device(&lab), &["tills"]);
    commit(&lab, member.with("tills", &[]));
    expect_wait(&lab, WaitWord::NotAssigned);
    let removed = content(&lab).with("tills", &[entry(&lab, id, 1)]);
    commit(&lab, removed);
    expect_wait(&lab, WaitWord::NotAssigned);
    let tills: GroupName = "tills".parse().unwrap();
    assert!(!status(&lab).contains(tills.as_str()));
    assert!(runs(&lab).is_empty());
}
