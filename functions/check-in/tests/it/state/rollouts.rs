//! The calendars of rollouts in the replies to devices whose groups name them.

use packcast_protocol::manifest::AnnouncedManifest;
use packcast_protocol::state::document::{RolloutGroups, WaveDevices, Waves};
use packcast_protocol::state::{
    DeploymentFacts, RolloutDocument, RolloutId, RolloutSeed, Waiting, Wave,
};

use super::*;

const ROLLOUT: RolloutId = RolloutId::from_bytes([1; 16]);

fn announced() -> AnnouncedManifest {
    AnnouncedManifest {
        id: PackageId::try_from(1_500_000_000).expect("a package id"),
        manifest: Sha256Digest::of(&0_u32.to_be_bytes()),
    }
}

/// Returns a rollout of the first package of the group `lab` to all devices at once.
fn calendar(from: Option<UnixTime>) -> Change {
    let AnnouncedManifest { id, manifest } = announced();
    let groups = RolloutGroups::new([group_name("lab")].into()).expect("one group");
    let devices = WaveDevices::UpTo(10_000);
    let waves = Waves::new(vec![Wave { devices, from }]).expect("one wave");
    let seed = RolloutSeed::from_bytes([7; 16]);
    let document = Document::new(RolloutDocument::new(id, manifest, groups, seed, waves));
    let text = document.text().clone();
    (LeafName::Rollout(ROLLOUT), Some(text))
}

/// Returns the group `lab`, whose first package has the rollout.
fn lab_in_rollout(revision: u64) -> Change {
    let (name, text) = group("lab", revision, 2);
    let text = text.expect("the group has a document");
    let document = Document::<GroupDocument>::read(text).expect("the document can be read");
    let mut document = (*document).clone();
    let mut entries: Vec<StateEntry> = document.packages.into();
    let terms = entries[0].terms.with_rollout(ROLLOUT);
    entries[0].terms = terms.expect("the terms fit");
    document.packages = Entries::new(entries).expect("the entries fit");
    (name, Some(Document::new(document).text().clone()))
}

fn begin(peer: &Peer, now: UnixTime) -> Result<(), Waiting> {
    let state = peer.state().expect("the peer follows the state");
    let whole = state.whole(&BTreeSet::new(), now)?;
    let facts = DeploymentFacts {
        used: &BTreeSet::new(),
        is_downgrade: false,
        audience: None,
        locations: &BTreeSet::new(),
    };
    whole.before_begin(announced(), facts).map(|_| ())
}

#[tokio::test]
async fn a_device_gets_the_calendar_of_its_group_and_each_change_of_it() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    target.commit([lab_in_rollout(2), calendar(None)]).await;
    let started = parts(&target.check_in(&peer, LATER).await);
    assert_eq!(started.documents.len(), 2);
    assert!(!peer.asks_again());
    let closed = begin(&peer, LATER);
    assert!(matches!(closed, Err(Waiting::WaveClosed { .. })));

    // Only the calendar changes: the documents of the group and the device stay as they are.
    let opens = LATER.plus(30);
    target.commit([calendar(Some(opens))]).await;
    let opened = parts(&target.check_in(&peer, LATER.plus(61)).await);
    assert_eq!(opened.documents.len(), 1);
    assert!(!peer.asks_again());
    assert!(begin(&peer, opens).is_ok());
    let early = begin(&peer, LATER);
    assert!(matches!(early, Err(Waiting::WaveNotOpen { .. })));

    // A new calendar at once: this function has not read the commit with it.
    target.commit([lab_in_rollout(3)]).await;
    target.restart();
    assert_eq!(target.converge(&peer, LATER.plus(122)).await, 1);
    assert!(begin(&peer, opens).is_ok());
}

#[tokio::test]
async fn an_idle_device_with_a_rollout_costs_one_query() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.commit([lab_in_rollout(2), calendar(None)]).await;
    target.converge(&peer, LATER).await;
    target.check_in(&peer, LATER).await;
    target.system.operations();
    for _ in 0..2 {
        let reply = target.check_in(&peer, LATER).await;
        assert_eq!(reply.state, None);
        let usage = target.system.table.meter.take();
        assert_eq!(usage.operations, ["Query"]);
        assert!(usage.read_units <= 1.0, "{usage:?}");
        assert!(usage.write_units < f64::EPSILON, "{usage:?}");
    }
    // Once a minute: the revisions of groups, the head, and the key lists, as without a rollout.
    let later = LATER.plus(61);
    assert_eq!(target.check_in(&peer, later).await.state, None);
    let operations = target.system.operations();
    assert_eq!(operations, ["Query", "BatchGetItem", "Query", "Query"]);
}

#[tokio::test]
async fn a_withheld_calendar_is_sent_to_a_device_that_lacks_it() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.commit([lab_in_rollout(2), calendar(None)]).await;
    target.converge(&peer, LATER).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let mut held = peer.state().unwrap().summary(&BTreeSet::new());
    let (name, text) = calendar(None);
    let text = text.unwrap();
    held.lacks.insert(name.clone());
    held.documents
        .remove(&packcast_protocol::state::DigestPrefix::of(&text.digest()));
    let reply = target.answer(&agent, &held).await.unwrap();
    assert_eq!((reply.of, &reply.commit), (held.commit, &None));
    assert_eq!(reply.documents.as_slice(), std::slice::from_ref(&text));
    let groups = reply.groups.unwrap();
    assert_eq!(groups.lookup(&name), Lookup::Present(text.digest()));
}
