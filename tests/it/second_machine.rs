//! A second machine that changes a target.

use std::collections::BTreeSet;
use std::process::Stdio;

use packcast_protocol::PackageId;
use packcast_protocol::state::{CommitId, TrustedRoots};
use packcast_tests::process::{Process, eventually, text};
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use serde::Deserialize;

use crate::PROGRAM;

/// A target, and the same target as a machine sees it that has only its key.
struct TwoMachines {
    world: World,
}

#[derive(Deserialize)]
struct ShownTrust {
    trust: TrustedRoots,
}

#[derive(Deserialize)]
struct ShownCommit {
    commit: CommitId,
}

impl TwoMachines {
    /// Starts a target, of which the second machine knows nothing.
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        world.configure_machine(&configuration(&world));
        Self { world }
    }

    /// Starts a target, of which the second machine knows trust line and head.
    fn informed() -> Self {
        let story = Self::begin();
        let head = story.sign().to_string();
        let _: ShownTrust = story.second(&["keys", "accept-trust", &story.trust()]);
        let _: ShownCommit = story.second(&["keys", "accept-head", &head]);
        story
    }

    /// Starts a target whose machines share the file with their memory.
    fn sharing() -> Self {
        let world = World::start(PROGRAM);
        world.configure(&configuration(&world));
        Self { world }
    }

    /// Lets both machines assign packages to one group and withdraw others, always at the same time.
    fn change_at_the_same_time(&self) {
        let world = &self.world;
        let device = world.device("pc");
        world.ok(&["group", "create", "lab"]);
        world.ok(&["group", "add", "lab", "--device", device.id()]);
        let packages: Vec<PackageId> = (0..6)
            .map(|number| world.execute(&format!("package-{number}"), "true"))
            .collect();
        let change = |verb: &str, first: usize| {
            let start = |number: usize, target: &str| {
                let package = format!("package-{number}@1");
                let mut command = world.command(&[verb, &package, "--group", "lab", target]);
                Process::start(command.stdout(Stdio::null()).stderr(Stdio::inherit()))
            };
            for mut process in [start(first, LOCAL), start(first + 1, SECOND)] {
                let status = eventually("the command ends", || process.ended());
                assert!(status.success(), "{verb} {first}: {status}");
            }
        };
        let before = Tree::of(world).order();
        for (verb, first) in [("assign", 0), ("assign", 2), ("unassign", 0), ("assign", 4)] {
            change(verb, first);
        }
        let tree = Tree::of(world);
        let expected: BTreeSet<PackageId> = packages[2..].iter().copied().collect();
        assert_eq!(tree.assigned(device.id()), expected);
        assert_eq!(tree.order(), before + 8, "each change is one commit");
        for target in [LOCAL, SECOND] {
            world.ok(&["audit", target]);
        }
        device.run();
        let finished = world.device_state(&device).finished.into_iter();
        let finished: BTreeSet<PackageId> = finished.map(|task| task.package).collect();
        assert_eq!(finished, expected);
    }

    fn trust(&self) -> String {
        let shown: ShownTrust = self.world.json(&["keys", "show"]);
        shown.trust.to_string()
    }

    /// Signs the state on the first machine.
    fn sign(&self) -> CommitId {
        self.world.json::<ShownCommit>(&["sign"]).commit
    }

    /// Refuses a command on the second machine with this code and these words.
    fn refuses(&self, code: i32, arguments: &[&str], words: &[&str]) {
        let arguments = [arguments, &["--target=second"]].concat();
        let refusal = self.world.refused(code, &arguments);
        for word in words {
            assert!(refusal.contains(word), "no {word:?} in {refusal}");
        }
    }

    fn second<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> T {
        self.world.json(&[arguments, &["--target=second"]].concat())
    }
}

const LOCAL: &str = "--target=local";
const SECOND: &str = "--target=second";

/// Returns the configuration of the second machine, which has the key of the first.
fn configuration(world: &World) -> String {
    let state = world.state();
    format!(
        "[target.second]\ntable = {:?}\nendpoint = {:?}\ndirectory = {:?}\nkey_file = {:?}\n",
        state.table,
        state.endpoint,
        text(&state.objects_dir),
        text(&world.local_dir().join("packcast.key")),
    )
}

#[test]
fn two_machines_with_one_memory_lose_no_change() {
    let story = TwoMachines::sharing();
    story.change_at_the_same_time();
    // Each command has waited for the other, so every signed commit was the head.
    let memory = story.world.local_dir().join("commits.jsonl");
    let memory = std::fs::read_to_string(memory).unwrap();
    assert!(memory.contains(r#""event":"stored""#) && !memory.contains(r#""event":"lost""#));
}

#[test]
fn two_machines_with_memories_of_their_own_lose_no_change() {
    TwoMachines::informed().change_at_the_same_time();
}

#[test]
fn a_second_machine_takes_over_trust_line_and_head() {
    let story = TwoMachines::begin();
    let commit = story.sign();
    let id = commit.to_string();
    story.refuses(
        1,
        &["sign"],
        &["'packcast --target second keys accept-trust"],
    );
    let trust = story.trust();
    let accepted: ShownTrust = story.second(&["keys", "accept-trust", &trust]);
    assert_eq!(accepted.trust.to_string(), trust);
    story.refuses(3, &["sign"], &[&id, "keys accept-head"]);
    // Nobody is asked without a terminal.
    story.refuses(2, &["keys", "accept-head"], &[&id, "there is no terminal"]);
    let other = id.replace(&id[id.len() - 8..], "00000000");
    story.refuses(3, &["keys", "accept-head", &other], &[&id]);
    // The head may have been changed since a person has looked at it.
    let later = story.sign();
    let head: ShownCommit = story.second(&["keys", "accept-head", &id]);
    assert_eq!(head.commit, later);
    let second: ShownCommit = story.second(&["sign"]);
    assert!(second.commit > later);
    assert!(story.sign() > second.commit);
}

#[test]
fn a_trust_line_of_another_target_is_refused() {
    let story = TwoMachines::begin();
    story.sign();
    let trust = story.trust();
    let other = format!("{}:{}", "a".repeat(26), trust.split_once(':').unwrap().1);
    let accept = ["keys", "accept-trust", &other];
    story.world.refused(1, &accept);
    // A machine that believes a false trust line finds no key list of that target.
    let _: ShownTrust = story.second(&accept);
    story.refuses(
        1,
        &["sign"],
        &["has no key list that its root keys have signed"],
    );
    story.refuses(1, &["keys", "accept-head"], &["keys show"]);
}
