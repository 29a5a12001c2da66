//! A second machine that changes a target.

use packcast_protocol::state::{CommitId, TrustedRoots};
use packcast_tests::process::text;
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
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let state = world.state();
        let config = format!(
            "[target.second]\ntable = {:?}\nendpoint = {:?}\ndirectory = {:?}\nkey_file = {:?}\n",
            state.table,
            state.endpoint,
            text(&state.objects_dir),
            text(&world.local_dir().join("packcast.key")),
        );
        world.configure_machine(&config);
        Self { world }
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
