//! A device acts only on a whole state of one commit.

use std::collections::BTreeSet;

use packcast_protocol::state::exchange::RefusalWord;
use packcast_protocol::state::held::MAX_ASKS;
use packcast_protocol::state::{
    DeploymentFacts, DocumentText, LeafName, Lookup, PartialTree, Refusal, StateReply, StateText,
    VerifiedCommit, VerifiedState, Waiting,
};

use super::{OTHER, WIPE, check_refused, content, deliver, followed, lab_name, own_name};
use crate::held::world::{
    Content, Draft, NOW, accept, accept_for, begin, device, entry, group, loaded, location,
    manifest, new_device,
};

#[test]
fn h1_a_removed_member_gets_no_later_assignment() {
    let member = Draft::first(content().with_member(&["lab"])).sign();
    let removed = Draft::after(&member, content().with_member(&[])).sign();
    let assigned = content()
        .with_member(&[])
        .with_group("lab", &[entry(WIPE, NOW.0 + 120)]);
    let wipes = Draft::after(&removed, assigned).sign();
    let mut state = followed();
    deliver(&mut state, &member);
    deliver(&mut state, &removed);
    // The table owner puts the device's leaf of the first commit beside the groups of the last.
    let mixed = StateReply {
        devices: Some(member.device_part(&device(1))),
        groups: Some(wipes.groups.prove(&[lab_name()]).unwrap()),
        documents: [member.documents.clone(), wipes.documents.clone()]
            .into_iter()
            .flat_map(std::collections::BTreeMap::into_values)
            .collect(),
        ..wipes.reply_to(&state, &device(1))
    };
    let refused = accept(&mut state, &mixed);
    assert!(matches!(
        refused[..],
        [Refusal::OtherState {
            kind: "devices",
            ..
        }]
    ));
    let waiting = begin(&state, WIPE, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
    // The first commit as a whole is refused, too.
    let refusal = check_refused(&mut state, &member, WIPE);
    assert!(matches!(refusal, Refusal::NotLater { .. }), "{refusal}");
    deliver(&mut state, &wipes);
    let waiting = begin(&state, WIPE, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::NotAssigned { .. }), "{waiting}");
}

#[test]
fn h1_a_group_name_that_is_used_again_has_no_old_members() {
    let member = Draft::first(content().with_member(&["lab"])).sign();
    let mut deleted = content();
    deleted.groups.remove(&group("lab"));
    let deleted = Draft::after(&member, deleted).sign();
    let again = content().with_group("lab", &[entry(WIPE, NOW.0 + 120)]);
    let again = Draft::after(&deleted, again).sign();
    let mut state = followed();
    deliver(&mut state, &member);
    deliver(&mut state, &again);
    assert!(begin(&state, WIPE, NOW).is_err());
    let old_leaf = StateReply {
        of: Some(again.id),
        devices: Some(member.device_part(&device(1))),
        groups: Some(again.groups.prove(&[lab_name()]).unwrap()),
        documents: member.documents.values().cloned().collect(),
        ..StateReply::default()
    };
    let refused = accept(&mut state, &old_leaf);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let waiting = begin(&state, WIPE, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::NotAssigned { .. }), "{waiting}");
}

#[test]
fn a_group_without_a_leaf_is_no_group_of_the_device() {
    let mut content = content().with_member(&["lab", "gone"]);
    content = content.with_group("lab", &[entry(WIPE, NOW.0)]);
    let commit = Draft::first(content).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    let whole = state.whole(&BTreeSet::new(), NOW).unwrap();
    assert_eq!(whole.groups(), [group("all"), group("lab")].into());
    assert!(begin(&state, WIPE, NOW).is_ok());
}

#[test]
fn t2_a_joiner_does_not_get_the_old_state_of_its_group() {
    let bad = content().with_group("lab", &[entry(WIPE, NOW.0)]);
    let bad = Draft::first(bad).sign();
    let withdrawn = Draft::after(&bad, content()).sign();
    let joined = Draft::after(&withdrawn, content().with_member(&["lab"])).sign();
    let mut state = followed();
    deliver(&mut state, &withdrawn);
    // The commit in which the device joins, with the path to the group of the first commit.
    let mixed = StateReply {
        groups: Some(bad.groups.prove(&[lab_name()]).unwrap()),
        documents: joined
            .documents
            .values()
            .chain(bad.documents.values())
            .cloned()
            .collect(),
        ..joined.reply_to(&state, &device(1))
    };
    let refused = accept(&mut state, &mixed);
    assert!(matches!(
        refused[..],
        [Refusal::OtherState { kind: "groups", .. }]
    ));
    assert!(begin(&state, WIPE, NOW).is_err());
    assert!(
        state
            .completeness(&BTreeSet::new())
            .lacks
            .contains(&lab_name())
    );
    deliver(&mut state, &joined);
    let waiting = begin(&state, WIPE, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::NotAssigned { .. }), "{waiting}");
}

#[test]
fn absence_of_a_leaf_that_exists_cannot_be_claimed() {
    let content = content()
        .with_member(&["lab"])
        .with_group("all", &[entry(OTHER, NOW.0)])
        .with_group("lab", &[entry(WIPE, NOW.0)]);
    let commit = Draft::first(content).sign();
    let shown: Vec<LeafName> = commit
        .groups
        .leaves()
        .map(|(name, _)| name.clone())
        .collect();
    let without = commit
        .groups
        .leaves()
        .filter(|(name, _)| **name != lab_name());
    let without = PartialTree::from_leaves(without.map(|(name, digest)| (name.clone(), digest)));
    let hidden: Vec<&LeafName> = shown
        .iter()
        .filter(|name| **name != lab_name())
        .take(1)
        .collect();
    for (part, refusals) in [
        (without, 1),
        (commit.groups.prove(hidden).unwrap(), 0),
        (PartialTree::hidden(commit.groups.root()), 0),
    ] {
        let mut state = followed();
        let reply = StateReply {
            groups: Some(part),
            ..commit.reply_to(&state, &device(1))
        };
        assert_eq!(accept(&mut state, &reply).len(), refusals);
        let waiting = begin(&state, OTHER, NOW).unwrap_err();
        assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
        let lacks = state.completeness(&BTreeSet::new()).lacks;
        assert!(lacks.contains(&lab_name()), "{lacks:?}");
    }
}

#[test]
fn two_of_three_groups_are_not_enough() {
    let content = content()
        .with_member(&["lab", "other-1", "other-2"])
        .with_group("lab", &[entry(WIPE, NOW.0)]);
    let commit = Draft::first(content).sign();
    let names = ["all", "lab", "other-1"].map(|name| LeafName::Group(group(name)));
    let mut state = followed();
    let reply = StateReply {
        groups: Some(commit.groups.prove(&names).unwrap()),
        ..commit.reply_to(&state, &device(1))
    };
    assert!(accept(&mut state, &reply).is_empty());
    let missing = LeafName::Group(group("other-2"));
    let lacks = state.completeness(&BTreeSet::new()).lacks;
    assert_eq!(lacks, [missing.clone()].into());
    assert!(state.summary(&BTreeSet::new()).lacks.contains(&missing));
    assert!(begin(&state, WIPE, NOW).is_err());
    // The last path arrives alone.
    let part = commit.groups.prove([&missing]).unwrap();
    let reply = StateReply {
        of: Some(commit.id),
        groups: Some(part),
        ..StateReply::default()
    };
    assert!(accept(&mut state, &reply).is_empty());
    assert!(begin(&state, WIPE, NOW).is_ok());
}

#[test]
fn a_commit_without_one_of_its_documents_begins_nothing_for_ever() {
    let before = Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)])).sign();
    let mut state = followed();
    deliver(&mut state, &before);
    let content = content()
        .with_member(&["lab"])
        .with_group("lab", &[entry(3, NOW.0 + 60)])
        .with_group("all", &[entry(OTHER, NOW.0), entry(WIPE, NOW.0 + 60)]);
    let after = Draft::after(&before, content).sign();
    let Lookup::Present(lab) = after.groups.lookup(&lab_name()) else {
        panic!("the group has a leaf");
    };
    let mut asked = 0;
    loop {
        asked += 1;
        let mut reply = after.reply_to(&state, &device(1));
        reply.documents.retain(|text| text.digest() != lab);
        assert!(accept(&mut state, &reply).is_empty());
        assert_eq!(state.commit().map(VerifiedCommit::id), Some(after.id));
        for package in [WIPE, OTHER] {
            let waiting = begin(&state, package, NOW).unwrap_err();
            assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
        }
        let completeness = state.completeness(&BTreeSet::new());
        assert_eq!(completeness.lacks, [lab_name()].into());
        if !completeness.asks_again(asked, false) {
            break;
        }
    }
    assert_eq!(asked, MAX_ASKS);
    // The device never returns to the earlier state, not even from its stored form.
    let (same, discarded) = loaded(&state, new_device(&device(1), []));
    assert!(discarded.is_empty(), "{discarded:?}");
    assert_eq!(same, state);
    assert!(begin(&same, OTHER, NOW).is_err());
    let refusal = check_refused(&mut state, &before, OTHER);
    assert!(matches!(refusal, Refusal::NotLater { .. }), "{refusal}");
}

#[test]
fn only_signed_locations_have_an_address() {
    let mut content = content().with_group("all", &[entry(OTHER, NOW.0)]);
    let url = "cdn.example.net/p".parse().unwrap();
    content.locations.insert(location("cdn"), url);
    let commit = Draft::first(content).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    let decide = |state: &VerifiedState, names: &[&str]| {
        let locations = names.iter().map(|name| location(name)).collect();
        let facts = DeploymentFacts {
            used: &BTreeSet::new(),
            is_downgrade: false,
            audience: None,
            locations: &locations,
        };
        let whole = state.whole(&locations, NOW)?;
        whole.before_begin(manifest(OTHER), facts)
    };
    // The path to a location of a task is withheld: only this task waits.
    let waiting = decide(&state, &["cdn", "evil"]).unwrap_err();
    assert!(matches!(waiting, Waiting::Lacks { .. }), "{waiting}");
    assert!(decide(&state, &[]).is_ok());
    let needed = BTreeSet::from([location("cdn"), location("evil")]);
    let names = ["cdn", "evil"].map(|name| LeafName::Location(location(name)));
    assert_eq!(state.completeness(&needed).lacks, names.clone().into());
    let reply = StateReply {
        of: Some(commit.id),
        groups: Some(commit.groups.prove(&names).unwrap()),
        documents: commit.documents.values().cloned().collect(),
        ..StateReply::default()
    };
    let accepted = accept_for(&mut state, &reply, &needed);
    assert!(accepted.refused.is_empty());
    assert_eq!(accepted.added.len(), 1);
    let begun = decide(&state, &["cdn", "evil"]).unwrap();
    let addresses: Vec<String> = begun.locations.values().map(ToString::to_string).collect();
    assert_eq!(addresses, ["cdn.example.net/p"]);
    let waiting = decide(&state, &["evil"]).unwrap_err();
    assert!(matches!(waiting, Waiting::NoLocation { .. }), "{waiting}");
}

#[test]
fn a_lacking_location_holds_up_no_other_package() {
    let mut content = content().with_group("all", &[entry(OTHER, NOW.0)]);
    content.groups.get_mut(&group("all")).unwrap().prefer = Some(location("cdn"));
    let commit = Draft::first(content).sign();
    let mut state = followed();
    let all = LeafName::Group(group("all"));
    let reply = StateReply {
        groups: Some(commit.groups.prove([&all]).unwrap()),
        ..commit.reply_to(&state, &device(1))
    };
    assert!(accept(&mut state, &reply).is_empty());
    let lacks = state.completeness(&BTreeSet::new()).lacks;
    assert_eq!(lacks, [LeafName::Location(location("cdn"))].into());
    assert!(begin(&state, OTHER, NOW).is_ok());
}

#[test]
fn h1_a_membership_does_not_outlive_its_group() {
    let member = Draft::first(content().with_member(&["lab"])).sign();
    // The publisher deletes the group, and the table hides a member. A later group has its name.
    let mut again = member.draft.content.clone();
    again = again.with_group("lab", &[entry(WIPE, NOW.0 + 60)]);
    again.groups.get_mut(&group("lab")).unwrap().created = NOW.0 + 60;
    let again = Draft::after(&member, again).sign();
    let mut state = followed();
    deliver(&mut state, &member);
    deliver(&mut state, &again);
    let waiting = begin(&state, WIPE, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::NotAssigned { .. }), "{waiting}");
    let whole = state.whole(&BTreeSet::new(), NOW).unwrap();
    assert_eq!(whole.groups(), [group("all")].into());
}

#[test]
fn a_reply_with_parts_of_another_commit_changes_nothing() {
    let commit = Draft::first(content().with_member(&["lab"])).sign();
    let other = Draft::after(&commit, content().with_member(&["lab"])).sign();
    let mut state = followed();
    let reply = StateReply {
        groups: None,
        ..commit.reply_to(&state, &device(1))
    };
    assert!(accept(&mut state, &reply).is_empty());
    let before = state.stored();
    let reply = StateReply {
        commit: None,
        ..other.reply_to(&state, &device(1))
    };
    let refused = accept(&mut state, &reply);
    assert!(matches!(refused[..], [Refusal::OtherCommit { .. }]));
    assert_eq!(state.stored(), before);
}

#[test]
fn a_reply_that_cannot_be_read_is_one_refusal() {
    let mut state = followed();
    let before = state.stored();
    let text: StateText = serde_json::from_str(r#""{\"lists\":7}""#).unwrap();
    let accepted = state.accept(&text, &BTreeSet::new());
    assert!(matches!(accepted.refused[..], [Refusal::Unreadable(_)]));
    assert!(!accepted.changed);
    assert_eq!(state.stored(), before);
    let reported = state.summary(&BTreeSet::new()).refused.unwrap();
    assert_eq!(reported.reason, RefusalWord::Unreadable);
    // The next accepted state ends the report.
    deliver(&mut state, &Draft::first(content()).sign());
    assert_eq!(state.summary(&BTreeSet::new()).refused, None);
}

#[test]
fn the_parts_of_a_device_in_the_most_groups_fit() {
    let name = |number: u32| format!("g{number:047}");
    let groups: Vec<String> = (0..40).map(name).collect();
    let members: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut content = Content::default().with_member(&members);
    for number in 0..10_000 {
        content = content.with_group(&name(number), &[]);
    }
    let names: BTreeSet<_> = (0..8)
        .map(|number| location(&format!("cdn-{number}")))
        .collect();
    for name in &names {
        let url = format!("{name}.example.net").parse().unwrap();
        content.locations.insert(name.clone(), url);
    }
    let commit = Draft::first(content).sign();
    let mut state = followed();
    let reply = commit.reply_to(&state, &device(1));
    let accepted = accept_for(&mut state, &reply, &names);
    assert!(accepted.refused.is_empty(), "{:?}", accepted.refused);
    assert!(state.completeness(&names).is_complete());
    // Parts of other devices are not kept.
    let stranger = LeafName::Group(group(&name(9_999)));
    let reply = StateReply {
        of: Some(commit.id),
        groups: Some(commit.groups.prove([&stranger]).unwrap()),
        ..StateReply::default()
    };
    assert!(!accept_for(&mut state, &reply, &names).changed);
}

#[test]
fn documents_that_no_leaf_names_are_dropped() {
    let commit = Draft::first(content().with_member(&["lab"])).sign();
    let mut state = followed();
    let stranger = content().with_group("all", &[entry(WIPE, NOW.0)]);
    let stranger = Draft::first(stranger).sign();
    let mut reply = commit.reply_to(&state, &device(1));
    reply.documents.extend(stranger.documents.into_values());
    assert!(accept(&mut state, &reply).is_empty());
    // Those of the device itself, of `all` and of the group.
    assert_eq!(state.summary(&BTreeSet::new()).documents.len(), 3);
    let strangers = Draft::first(content().with_group("all", &[entry(9, 9)])).sign();
    let reply = StateReply {
        of: Some(commit.id),
        documents: strangers.documents.into_values().collect(),
        ..StateReply::default()
    };
    let accepted = accept_for(&mut state, &reply, &BTreeSet::new());
    assert!(!accepted.changed && accepted.added.is_empty());
    // A later commit that no longer names a document lets the device delete it.
    let left = Draft::after(&commit, content()).sign();
    let reply = left.reply_to(&state, &device(1));
    let accepted = accept_for(&mut state, &reply, &BTreeSet::new());
    assert_eq!(accepted.dropped.len(), 2);
}

#[test]
fn a_state_arrives_in_several_replies() {
    let content = content()
        .with_member(&["lab", "other-3"])
        .with_group("lab", &[entry(WIPE, NOW.0)])
        .with_group("other-3", &[entry(OTHER, NOW.0)]);
    let commit = Draft::first(content).sign();
    let mut state = followed();
    let mut whole = commit.reply_to(&state, &device(1));
    let documents = std::mem::take(&mut whole.documents);
    assert!(accept(&mut state, &whole).is_empty());
    for text in documents {
        let reply = StateReply {
            of: Some(commit.id),
            documents: vec![text],
            more: true,
            ..StateReply::default()
        };
        // A document that arrives before the document that names it is asked for again.
        assert!(accept(&mut state, &reply).is_empty());
    }
    let mut asked = 1;
    while state
        .completeness(&BTreeSet::new())
        .asks_again(asked, false)
    {
        deliver(&mut state, &commit);
        asked += 1;
    }
    assert!(begin(&state, WIPE, NOW).is_ok());
    assert!(begin(&state, OTHER, NOW).is_ok());
    // The next commit changes one group, so only its document is sent.
    let mut next = commit.draft.content.clone();
    next = next.with_group("lab", &[entry(3, NOW.0 + 60)]);
    let next = Draft::after(&commit, next).sign();
    let mut reply = next.reply_to(&state, &device(1));
    reply.devices = None;
    reply
        .documents
        .retain(|text| !commit.documents.contains_key(&text.digest()));
    assert!(accept(&mut state, &reply).is_empty());
    assert!(begin(&state, WIPE, NOW).is_err());
    assert!(begin(&state, OTHER, NOW).is_ok());
}

#[test]
fn a_document_with_an_unknown_field_makes_the_device_wait() {
    let commit = Draft::first(content().with_group("all", &[entry(OTHER, NOW.0)])).sign();
    let mut state = followed();
    deliver(&mut state, &commit);
    let text = r#"{"schema":2,"groups":{},"packages":[],"windows":[]}"#.to_owned();
    let document = DocumentText::new(text).unwrap();
    // A later publisher writes the document of this device.
    let later = Draft::after(&commit, commit.draft.content.clone());
    deliver(&mut state, &later.sign_with_own(document));
    let completeness = state.completeness(&BTreeSet::new());
    assert!(!completeness.is_complete());
    assert_eq!(completeness.unreadable, [own_name()].into());
    assert!(!completeness.asks_again(1, false));
    let waiting = begin(&state, OTHER, NOW).unwrap_err();
    assert!(matches!(waiting, Waiting::Unreadable { .. }), "{waiting}");
}
