//! Signed documents in the table.
//!
//! A document is stored with the records that the function announces, and only a publisher with
//! the key can add to it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use packcast_protocol::assignments::{
    Assignee, Assignments, Held, SignedAssignments, VerifiedAssignments,
};
use packcast_protocol::keys::SignedKeyList;
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest};
use packcast_rollout::GroupState;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::assignments::VerifiedPackages;
use packcast_rollout::unassign::Unassigned;
use packcast_store::RecordsError;
use packcast_store::records::{
    AssignError, GroupError, Joined, NumberedKeyList, PublisherMemory, Signing, SigningError,
    SigningOutcome, SigningScope,
};
use packcast_testing::service::Service;
use packcast_testing::signing::{another_signing, signing, signing_at, trusted};
use packcast_testing::table::{NOW, Table};
use serde_json::json;

fn lab() -> GroupName {
    "lab".parse().unwrap()
}

async fn with_lab(service: Service, seed: u64) -> Table {
    let table = Table::start_on(service, seed).await;
    table.records.create_group(&lab(), signing()).await.unwrap();
    table
}

fn verified(signed: &SignedAssignments) -> VerifiedAssignments {
    signed.verify(trusted()).unwrap()
}

/// Returns packages and the revisions that added them, counted from the first one of the assignee.
fn brought(assignments: &Assignments) -> Vec<(PackageId, u64)> {
    let packages = assignments.packages().iter();
    packages.map(|one| (one.package, one.seq - NOW.0)).collect()
}

/// Returns the packages in the signed state of a group, with their revisions.
fn signed_packages(state: &GroupState) -> Vec<(PackageId, u64)> {
    let assignments = verified(&state.signed().unwrap());
    assert_eq!(assignments.recipient(), &Assignee::Group(lab()));
    assert_eq!(assignments.held().revision, state.revision);
    brought(&assignments)
}

/// Returns the groups and packages in the device assignments of a device.
async fn own(table: &Table, device: &DeviceId) -> (Vec<String>, Vec<(PackageId, u64)>) {
    let signed = table.records.device_assignments(device).await.unwrap();
    let assignments = verified(&signed.unwrap());
    let device_state = table.records.device_state(device).await.unwrap();
    assert_eq!(device_state.signed, Some(assignments.held()));
    let DeviceId::Agent(agent) = device else {
        panic!("{device} has none")
    };
    assert_eq!(assignments.recipient(), &Assignee::Device(agent.clone()));
    let groups = assignments.groups().iter().map(ToString::to_string);
    (groups.collect(), brought(&assignments))
}

async fn each_change_of_a_group_is_signed(service: Service) {
    let table = with_lab(service, 100).await;
    let (records, lab) = (&table.records, &lab());
    let package = table.package("vlc", 5).await;
    let created = records.group(lab).await.unwrap().unwrap();
    assert_eq!(signed_packages(&created), []);
    let assigned = records.assign_group(lab, &package, false, signing()).await;
    assert_eq!(signed_packages(&assigned.unwrap().state), [(package.id, 1)]);
    let preferred = records.prefer(lab, None, signing()).await.unwrap();
    assert_eq!(signed_packages(&preferred.state), [(package.id, 1)]);
    let unassigned = records.unassign_group(lab, package.id, signing()).await;
    assert_eq!(signed_packages(&unassigned.unwrap().state), []);
    let state = records.group(lab).await.unwrap().unwrap();
    let versions = records.versions(std::slice::from_ref(lab)).await.unwrap();
    assert_eq!(versions.groups[lab], state.signed_revision());
    assert_eq!(state.signed_revision().issued, Some(NOW));
}

async fn each_change_of_a_device_with_a_packcast_agent_is_signed(service: Service) {
    let table = with_lab(service, 101).await;
    let (records, lab) = (&table.records, &lab());
    let device = table.agent(1).await;
    let [vlc, news] = [
        table.package("vlc", 5).await,
        table.package("news", 5).await,
    ];
    assert_eq!(records.device_assignments(&device).await.unwrap(), None);

    let joined = records.join(&device, lab, signing()).await.unwrap();
    assert_eq!(joined, Joined::New);
    assert_eq!(own(&table, &device).await, (vec!["lab".to_owned()], vec![]));
    for (package, expected) in [
        (&vlc, vec![(vlc.id, 1)]),
        (&news, vec![(vlc.id, 1), (news.id, 2)]),
    ] {
        let assigned = records.assign(&device, package, false, signing()).await;
        assert_eq!(assigned.unwrap(), AssignOutcome::New { attempt: 1 });
        assert_eq!(own(&table, &device).await.1, expected);
    }
    let unassigned = records.unassign(&device, &vlc, signing()).await.unwrap();
    assert_eq!(unassigned, Unassigned::Dropped);
    assert!(records.leave(&device, lab, signing()).await.unwrap());
    assert_eq!(own(&table, &device).await, (vec![], vec![(news.id, 2)]));
}

async fn concurrent_changes_of_one_device_are_all_signed(service: Service) {
    let table = with_lab(service, 102).await;
    let site: GroupName = "site".parse().unwrap();
    let records = &table.records;
    records.create_group(&site, signing()).await.unwrap();
    let packages = [
        table.package("vlc", 5).await,
        table.package("news", 5).await,
    ];
    // The device has no signed document yet, so that its first changes conflict.
    for number in 0..8 {
        let device = &table.agent(number).await;
        let assigned = packages.iter().map(async |package| {
            let assigned = records.assign(device, package, false, signing()).await;
            assert_eq!(assigned.unwrap(), AssignOutcome::New { attempt: 1 });
        });
        let joined = [lab(), site.clone()].map(async |group| {
            let joined = records.join(device, &group, signing()).await;
            assert_eq!(joined.unwrap(), Joined::New);
        });
        futures_util::join!(join_all(assigned), join_all(joined));
        let (groups, signed) = own(&table, device).await;
        assert_eq!(groups, ["lab", "site"]);
        let signed: BTreeSet<PackageId> = signed.into_iter().map(|(id, _)| id).collect();
        assert_eq!(signed, packages.iter().map(|package| package.id).collect());
    }
}

async fn a_group_that_another_key_has_changed_is_not_signed(service: Service) {
    let table = Table::start_on(service, 103).await;
    let (records, lab) = (&table.records, &lab());
    let [planted, wanted] = [
        table.package("vlc", 5).await,
        table.package("news", 5).await,
    ];
    let other = another_signing();
    records.create_group(lab, other).await.unwrap();
    records
        .assign_group(lab, &planted, false, other)
        .await
        .unwrap();

    let refused = records.assign_group(lab, &wanted, false, signing()).await;
    let not_ours = SigningError::NotOurs {
        recipient: Assignee::Group(lab.clone()),
    };
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), not_ours.to_string());
    // Changes that add no package are still possible; the empty group is signed again.
    let preferred = records.prefer(lab, None, signing()).await.unwrap();
    assert_eq!(preferred.state.signature, None);
    let unassigned = records.unassign_group(lab, planted.id, signing()).await;
    assert_eq!(signed_packages(&unassigned.unwrap().state), []);
    records
        .assign_group(lab, &wanted, false, signing())
        .await
        .unwrap();
}

async fn a_device_that_another_key_has_changed_is_not_signed(service: Service) {
    let table = with_lab(service, 104).await;
    let (records, lab) = (&table.records, &lab());
    let device = &table.agent(1).await;
    let [planted, wanted] = [
        table.package("vlc", 5).await,
        table.package("news", 5).await,
    ];
    let other = another_signing();
    records
        .assign(device, &planted, false, other)
        .await
        .unwrap();
    let refusals = [
        records
            .assign(device, &wanted, false, signing())
            .await
            .err(),
        records.unassign(device, &planted, signing()).await.err(),
        records.leave(device, lab, signing()).await.err(),
    ];
    for refused in refusals {
        let not_ours = AssignError::Signing(SigningError::NotOurs {
            recipient: assignee_of(device),
        });
        assert_eq!(refused.unwrap().to_string(), not_ours.to_string());
    }
    let refused = records.join(device, lab, signing()).await;
    assert!(
        matches!(refused, Err(GroupError::Signing(_))),
        "{refused:?}"
    );
}

fn assignee_of(device: &DeviceId) -> Assignee {
    match device {
        DeviceId::Agent(agent) => Assignee::Device(agent.clone()),
        DeviceId::Ocs(_) => panic!("{device} has no signed assignments"),
    }
}

async fn devices_with_ocs_agents_need_no_key(service: Service) {
    let table = with_lab(service, 105).await;
    let (records, lab) = (&table.records, &lab());
    let (device, package) = (table.device(1).await, table.package("vlc", 5).await);
    let without = Signing::without_key(NOW);
    records.join(&device, lab, without).await.unwrap();
    records
        .assign(&device, &package, false, without)
        .await
        .unwrap();
    records.unassign(&device, &package, without).await.unwrap();
    assert!(records.leave(&device, lab, without).await.unwrap());
    assert_eq!(records.device_assignments(&device).await.unwrap(), None);
    assert_eq!(
        records.device_state(&device).await.unwrap().signed,
        None::<Held>
    );
}

async fn without_a_key_packcast_agents_get_no_package(service: Service) {
    let table = with_lab(service, 106).await;
    let (records, lab) = (&table.records, &lab());
    let (device, package) = (table.agent(1).await, table.package("vlc", 5).await);
    let without = Signing::without_key(NOW);
    let refused = records.assign(&device, &package, false, without).await;
    assert!(matches!(
        refused,
        Err(AssignError::Signing(SigningError::Sign(_)))
    ));
    let refused = records.assign_group(lab, &package, false, without).await;
    assert!(matches!(
        refused,
        Err(GroupError::Signing(SigningError::NotOurs { .. }))
    ));
    assert_eq!(table.task(&device, package.id).await, None);
}

async fn documents_that_expire_soon_are_signed_again_as_later_ones(service: Service) {
    let table = with_lab(service, 107).await;
    let (records, lab) = (&table.records, &lab());
    let (device, package) = (table.agent(1).await, table.package("vlc", 5).await);
    records
        .assign_group(lab, &package, false, signing())
        .await
        .unwrap();
    records.join(&device, lab, signing()).await.unwrap();
    let Assignee::Device(agent) = assignee_of(&device) else {
        panic!("the device has a Packcast agent")
    };
    let renew = async |days: u64| {
        let signing = signing_at(NOW.plus(days * 24 * 3600));
        let group = records.sign_group(lab, SigningScope::Due, signing).await;
        let device = records
            .sign_device(&agent, SigningScope::Due, signing)
            .await;
        [group.unwrap(), device.unwrap()]
    };
    let expires = NOW.plus(180 * 24 * 3600);
    assert_eq!(renew(89).await, [SigningOutcome::Good { expires }; 2]);
    let before = records.group(lab).await.unwrap().unwrap();
    let expires = NOW.plus(271 * 24 * 3600);
    assert_eq!(renew(91).await, [SigningOutcome::Signed { expires }; 2]);
    let after = records.group(lab).await.unwrap().unwrap();
    assert_eq!(signed_packages(&after), signed_packages(&before));
    assert!(after.held() > before.held() && after.revision == before.revision);
    assert_eq!(own(&table, &device).await.0, ["lab"]);
}

async fn a_publisher_can_sign_the_verified_records_of_another_key(service: Service) {
    let table = with_lab(service, 108).await;
    let (records, lab) = (&table.records, &lab());
    let (device, package) = (table.agent(1).await, table.package("vlc", 5).await);
    let other = another_signing();
    records.join(&device, lab, other).await.unwrap();
    records
        .assign(&device, &package, false, other)
        .await
        .unwrap();
    let Assignee::Device(agent) = assignee_of(&device) else {
        panic!("the device has a Packcast agent")
    };
    let renew = async |renewal| records.sign_device(&agent, renewal, signing()).await;
    for renewal in [SigningScope::Due, SigningScope::All] {
        let refused = renew(renewal).await;
        assert!(
            matches!(
                refused,
                Err(AssignError::Signing(SigningError::NotOurs { .. }))
            ),
            "{refused:?}"
        );
    }
    let manifest = package.published().unwrap().manifest;
    let seen = VerifiedPackages::from([(package.id, manifest)]);
    let signed = renew(SigningScope::AsRecorded(&seen)).await.unwrap();
    assert!(
        matches!(signed, SigningOutcome::Signed { .. }),
        "{signed:?}"
    );
    let expected = (vec!["lab".to_owned()], vec![(package.id, 2)]);
    assert_eq!(own(&table, &device).await, expected);

    let group = async |renewal| records.sign_group(lab, renewal, signing()).await;
    records
        .assign_group(lab, &package, false, signing())
        .await
        .unwrap();
    let other = VerifiedPackages::from([(package.id, Sha256Digest::of(b"other"))]);
    let none = VerifiedPackages::new();
    for unverified in [&none, &other] {
        let refused = group(SigningScope::AsRecorded(unverified)).await;
        assert!(
            matches!(
                refused,
                Err(GroupError::Signing(SigningError::Unverified { .. }))
            ),
            "{refused:?}"
        );
    }
    group(SigningScope::AsRecorded(&seen)).await.unwrap();
}

async fn a_state_that_was_rolled_back_is_not_signed(service: Service) {
    let table = with_lab(service, 110).await;
    let (records, lab) = (&table.records, &lab());
    let [vlc, news] = [
        table.package("vlc", 5).await,
        table.package("news", 5).await,
    ];
    let known = PublisherMemory::default();
    let signing = Signing {
        memory: Some(&known),
        ..signing()
    };
    records
        .assign_group(lab, &vlc, false, signing)
        .await
        .unwrap();
    let items = [
        table.item("GROUP#lab", "STATE").await,
        table.item("GROUP#lab", "REVISION").await,
    ];
    records.unassign_group(lab, vlc.id, signing).await.unwrap();
    for item in &items {
        table.put(item).await;
    }
    let refused = records.assign_group(lab, &news, false, signing).await;
    assert!(
        matches!(
            refused,
            Err(GroupError::Signing(SigningError::RolledBack { .. }))
        ),
        "{refused:?}"
    );
    for renewal in [SigningScope::Due, SigningScope::All] {
        let refused = records.sign_group(lab, renewal, signing).await;
        assert!(
            matches!(
                refused,
                Err(GroupError::Signing(SigningError::RolledBack { .. }))
            ),
            "{refused:?}"
        );
    }
    // After a restore of the table, the new document is later than all documents known earlier.
    let latest = known.latest(&Assignee::Group(lab.clone())).unwrap();
    records
        .sign_group(lab, SigningScope::Restored, signing)
        .await
        .unwrap();
    let after = records.group(lab).await.unwrap().unwrap();
    assert!(after.held() > Some(latest));
    records
        .assign_group(lab, &news, false, signing)
        .await
        .unwrap();
}

async fn an_expired_state_is_signed_only_by_a_machine_that_knows_it(service: Service) {
    let table = with_lab(service, 111).await;
    let (records, lab) = (&table.records, &lab());
    let package = table.package("vlc", 5).await;
    let late = NOW.plus(181 * 24 * 3600);
    let assign = async |memory| {
        let signing = Signing {
            memory,
            ..signing_at(late)
        };
        records.assign_group(lab, &package, false, signing).await
    };
    let unknown = PublisherMemory::default();
    let refused = assign(Some(&unknown)).await;
    assert!(
        matches!(
            refused,
            Err(GroupError::Signing(SigningError::Expired { .. }))
        ),
        "{refused:?}"
    );
    // The machine that signed the state knows that it is only old.
    let held = records.group(lab).await.unwrap().unwrap().held().unwrap();
    let known = PublisherMemory::from_iter([(Assignee::Group(lab.clone()), held)]);
    assign(Some(&known)).await.unwrap();
}

async fn a_record_under_the_key_of_another_is_corrupt(service: Service) {
    let table = with_lab(service, 112).await;
    let (records, lab) = (&table.records, &lab());
    let mut state = table.item("GROUP#lab", "STATE").await;
    state["group"] = json!({ "S": "all" });
    table.put(&state).await;
    let read = records.group(lab).await;
    assert!(
        matches!(read, Err(RecordsError::Corrupt { .. })),
        "{read:?}"
    );
    let read = records.group_states(std::slice::from_ref(lab)).await;
    assert!(
        matches!(read, Err(RecordsError::Corrupt { .. })),
        "{read:?}"
    );
}

async fn of_two_concurrent_key_lists_one_is_published(service: Service) {
    let table = Table::start_on(service, 109).await;
    let records = &table.records;
    let list = |serial| NumberedKeyList {
        serial,
        signed: SignedKeyList::new(format!("list {serial}"), String::new()).unwrap(),
    };
    let [one, two, three] = [list(1), list(2), list(3)];
    let pair = [one.clone(), two.clone()];
    assert!(records.add_key_lists(&[], &pair).await.unwrap());
    assert!(
        !records
            .add_key_lists(&[], std::slice::from_ref(&one))
            .await
            .unwrap()
    );
    assert!(
        records
            .add_key_lists(&pair, std::slice::from_ref(&three))
            .await
            .unwrap()
    );
    let all = vec![one, two, three];
    assert_eq!(records.key_lists().await.unwrap(), all);
    let versions = records.versions(&[lab(), GroupName::all()]).await.unwrap();
    assert_eq!((versions.groups.len(), versions.key_lists), (0, Some(all)));
    let versions = records.versions(&[lab()]).await.unwrap();
    assert_eq!(versions.key_lists, None);
}

packcast_testing::on_each_service! {
    documents_that_expire_soon_are_signed_again_as_later_ones
    a_publisher_can_sign_the_verified_records_of_another_key
    a_state_that_was_rolled_back_is_not_signed
    an_expired_state_is_signed_only_by_a_machine_that_knows_it
    a_record_under_the_key_of_another_is_corrupt
    of_two_concurrent_key_lists_one_is_published
    each_change_of_a_group_is_signed
    each_change_of_a_device_with_a_packcast_agent_is_signed
    concurrent_changes_of_one_device_are_all_signed
    a_group_that_another_key_has_changed_is_not_signed
    a_device_that_another_key_has_changed_is_not_signed
    devices_with_ocs_agents_need_no_key
    without_a_key_packcast_agents_get_no_package
}
