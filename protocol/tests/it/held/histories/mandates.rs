//! Each mandate counts once, and single entries wait for themselves.

use std::collections::BTreeSet;

use packcast_protocol::Sha256Digest;
use packcast_protocol::manifest::{AnnouncedManifest, Audience};
use packcast_protocol::state::{DeploymentFacts, StateEntry, Terms, Waiting};

use super::{OTHER, WIPE, content, deliver, followed};
use crate::held::world::{
    Draft, NOW, begin, begin_after, device, entry, group, key, manifest, new_device, package,
};

#[test]
fn m8_a_group_that_is_left_and_joined_again_assigns_nothing_anew() {
    let lab = content().with_group("lab", &[entry(WIPE, NOW.0)]);
    let member = Draft::first(lab.clone().with_member(&["lab"])).sign();
    let left = Draft::after(&member, lab.clone().with_member(&[])).sign();
    let joined = Draft::after(&left, lab.with_member(&["lab"])).sign();
    let mut state = followed();
    deliver(&mut state, &member);
    let used = begin(&state, WIPE, NOW).unwrap().mandates;
    deliver(&mut state, &left);
    deliver(&mut state, &joined);
    let waiting = begin_after(&state, WIPE, &used, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::Used), "{waiting}");
}

/// Decides on the package `OTHER` of device 1, with one entry in the group `all`.
fn decide(
    entry: StateEntry,
    is_downgrade: bool,
    audience: Option<&Audience>,
) -> Result<bool, Waiting> {
    let commit = Draft::first(content().with_group("all", &[entry])).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    let facts = DeploymentFacts {
        used: &BTreeSet::new(),
        is_downgrade,
        audience,
        locations: &BTreeSet::new(),
    };
    let whole = state.whole(&BTreeSet::new(), NOW)?;
    whole
        .before_begin(manifest(OTHER), facts)
        .map(|begin| begin.force)
}

#[test]
fn terms_and_audience_make_single_entries_wait() {
    let plain = || entry(OTHER, NOW.0);
    let with = |terms| StateEntry { terms, ..plain() };
    let unknown: Terms = serde_json::from_str(r#"{"window":"night"}"#).unwrap();
    assert!(matches!(decide(plain(), false, None), Ok(false)));
    assert!(matches!(
        decide(plain(), true, None),
        Err(Waiting::Downgrade)
    ));
    assert!(decide(with(Terms::allowing_downgrade()), true, None).is_ok());
    assert!(matches!(
        decide(with(unknown), false, None),
        Err(Waiting::UnknownTerms { .. })
    ));
    let mut forced = plain();
    forced.force = true;
    assert!(matches!(decide(forced, false, None), Ok(true)));
    let mut other = plain();
    other.manifest = Sha256Digest::of(b"other");
    assert!(matches!(
        decide(other, false, None),
        Err(Waiting::OtherManifest { .. })
    ));
    for (audience, included) in [
        (Audience::Any, true),
        (Audience::Devices([device(1)].into()), true),
        (Audience::Devices([device(2)].into()), false),
        (Audience::Groups([group("all")].into()), true),
        (Audience::Groups([group("lab")].into()), false),
    ] {
        assert_eq!(decide(plain(), false, Some(&audience)).is_ok(), included);
    }
}

#[test]
fn acting_uses_up_every_mandate_of_the_package() {
    let waits: Terms = serde_json::from_str(r#"{"window":"night"}"#).unwrap();
    let mut waiting = entry(WIPE, NOW.0 + 1);
    waiting.terms = waits;
    let content = content()
        .with_member(&["lab"])
        .with_own(&[entry(WIPE, NOW.0)])
        .with_group("lab", &[waiting])
        .with_group("all", &[entry(WIPE, NOW.0 + 2), entry(OTHER, NOW.0)]);
    let expected = content.mandates(&device(1)).into_keys();
    let expected: BTreeSet<_> = expected
        .filter(|(id, _)| *id == package(WIPE))
        .map(|(_, mandate)| mandate)
        .collect();
    let commit = Draft::first(content).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    let begun = begin(&state, WIPE, NOW).unwrap();
    assert_eq!(begun.mandates, expected);
    assert_eq!(begun.mandates.len(), 3);
    assert_eq!(begun.under.highest.commit, commit.id);
    assert_eq!(begun.under.highest.key, key(1).public);
    assert!(matches!(
        begin_after(&state, WIPE, &begun.mandates, NOW),
        Err(Waiting::Used)
    ));
    assert!(begin_after(&state, OTHER, &begun.mandates, NOW).is_ok());
}

#[test]
fn a_package_that_is_not_assigned_waits_for_itself_only() {
    let commit = Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)])).sign();
    let mut state = followed();
    let waiting = begin(&state, OTHER, NOW).unwrap_err();
    assert!(
        matches!(waiting, Waiting::NoCommit { list: 1 }),
        "{waiting}"
    );
    let unlisted = new_device(&device(1), []);
    let waiting = begin(&unlisted, OTHER, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::NoKeyList), "{waiting}");
    deliver(&mut state, &commit);
    assert!(begin(&state, WIPE, NOW).is_err());
    assert!(begin(&state, OTHER, NOW).is_ok());
    let other = AnnouncedManifest {
        manifest: Sha256Digest::of(b"other"),
        ..manifest(OTHER)
    };
    let facts = DeploymentFacts {
        used: &BTreeSet::new(),
        is_downgrade: false,
        audience: None,
        locations: &BTreeSet::new(),
    };
    let whole = state.whole(&BTreeSet::new(), NOW).unwrap();
    assert!(whole.before_begin(other, facts).is_err());
}
