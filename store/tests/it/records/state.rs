//! The signed state: head, commits, pages, documents and key lists.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use futures_util::future::join_all;
use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{
    DocumentText, KeyListId, LeafName, Lookup, NodeHash, PagedTree, PartialTree, SignedKeyList,
};
use packcast_rollout::ChangedBy;
use packcast_store::Records;
use packcast_store::records::{
    CommitRecord, Head, HeadChange, HeadChanged, OrderedCommit, Pause, RecordedHead, ServiceTime,
};
use packcast_testing::commits::commit_after;
use packcast_testing::fault::{FaultRates, until_answered};
use packcast_testing::service::Service;
use packcast_testing::table::{NOW, Table, device, mia};
use serde_json::json;

fn first_commit(commit: &CommitRecord) -> HeadChange<'_> {
    HeadChange {
        replaced: None,
        commit,
        at: None,
        assigned: &[],
        lists: &[],
    }
}

async fn changed(table: &Table, change: HeadChange<'_>) -> Head {
    match table.records.change_head(change).await.unwrap() {
        HeadChanged::Done(head) => head,
        refused => panic!("{refused:?}"),
    }
}

/// Returns a table with a first commit.
async fn with_head(service: Service, seed: u64) -> (Table, Head) {
    let table = Table::without_target_on(service, seed).await;
    let commit = commit_after(None, NodeHash::EMPTY, NOW);
    let head = changed(&table, first_commit(&commit)).await;
    (table, head)
}

fn root(number: u8) -> NodeHash {
    NodeHash::from_bytes([number; 32])
}

async fn of_many_changes_of_one_head_exactly_one_is_made(service: Service) {
    let (table, head) = with_head(service, 200).await;
    assert_eq!(head.order, 1);
    let commits: Vec<_> = (1..=6)
        .map(|number| commit_after(Some(&head), root(number), NOW))
        .collect();
    let changes = commits.iter().map(|commit| {
        table.records.change_head(HeadChange {
            replaced: Some(&head),
            ..first_commit(commit)
        })
    });
    let answers: Vec<HeadChanged> = join_all(changes)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let done: Vec<&Head> = answers
        .iter()
        .filter_map(|answer| match answer {
            HeadChanged::Done(head) => Some(head),
            refused => {
                assert_eq!(*refused, HeadChanged::OtherHead);
                None
            }
        })
        .collect();
    assert_eq!(done.len(), 1);
    assert_eq!(table.records.head().await.unwrap().as_ref(), Some(done[0]));
    assert_eq!(done[0].order, 2);
    let listed = table.records.commits(u64::MAX, 10).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|one| one.commit.id).collect();
    assert_eq!(
        ids,
        [done[0].commit.id, head.commit.id],
        "lost commits leave no trace"
    );
    let again = table.records.change_head(first_commit(&commits[0])).await;
    assert_eq!(again.unwrap(), HeadChanged::OtherHead);
}

async fn commits_are_listed_from_the_newest(service: Service) {
    let (table, first) = with_head(service, 201).await;
    let mut heads = vec![first];
    for number in 1..=4 {
        let before = heads.last().unwrap();
        let commit = commit_after(Some(before), root(number), NOW.plus(u64::from(number)));
        let change = HeadChange {
            replaced: Some(before),
            ..first_commit(&commit)
        };
        heads.push(changed(&table, change).await);
    }
    let ids = |listed: Vec<OrderedCommit>| -> Vec<_> {
        listed.into_iter().map(|one| one.commit.id).collect()
    };
    let expected: Vec<_> = heads.iter().rev().map(|head| head.commit.id).collect();
    let records = &table.records;
    assert_eq!(
        ids(records.commits(u64::MAX, 3).await.unwrap()),
        expected[..3]
    );
    let before = expected[2].number;
    assert_eq!(
        ids(records.commits(before, 9).await.unwrap()),
        expected[3..]
    );
    let named = records
        .commit_named(&expected[1].name())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((named.order, named.replaced), (4, Some(expected[2])));
    assert_eq!(named.commit, heads[3].commit);
}

async fn a_head_that_was_put_back_is_recognised_by_its_order(service: Service) {
    let (table, first) = with_head(service, 202).await;
    let old = table.item("HEAD", "HEAD").await;
    let second = commit_after(Some(&first), root(1), NOW);
    let second = changed(
        &table,
        HeadChange {
            replaced: Some(&first),
            ..first_commit(&second)
        },
    )
    .await;
    table.put(&old).await;
    assert_eq!(table.records.head().await.unwrap(), Some(first.clone()));
    let third = commit_after(Some(&second), root(2), NOW);
    let change = HeadChange {
        replaced: Some(&second),
        ..first_commit(&third)
    };
    assert_eq!(
        table.records.change_head(change).await.unwrap(),
        HeadChanged::OtherHead
    );
}

async fn a_commit_does_not_assign_a_deleted_package(service: Service) {
    let (table, head) = with_head(service, 203).await;
    let kept = table.package("vlc", 5).await;
    let unknown = kept.id.next().unwrap();
    let commit = commit_after(Some(&head), root(1), NOW);
    let assigned = [kept.id, unknown];
    let change = |assigned| HeadChange {
        replaced: Some(&head),
        assigned,
        ..first_commit(&commit)
    };
    let refused = table.records.change_head(change(&assigned)).await.unwrap();
    assert_eq!(refused, HeadChanged::Deleted(unknown));
    assert_eq!(table.records.head().await.unwrap(), Some(head.clone()));
    changed(&table, change(&assigned[..1])).await;
}

fn list(serial: u64) -> (KeyListId, SignedKeyList) {
    let text = format!("list {serial}");
    let id = KeyListId {
        serial,
        digest: Sha256Digest::of(text.as_bytes()),
    };
    (
        id,
        SignedKeyList::new(text, "signature".to_owned()).unwrap(),
    )
}

async fn key_lists_are_in_the_order_of_their_serial_numbers(service: Service) {
    let (table, head) = with_head(service, 204).await;
    let records = &table.records;
    for serial in [2, 10, 1] {
        let (id, signed) = list(serial);
        assert!(records.add_list(&id, &signed).await.unwrap());
        assert!(!records.add_list(&id, &signed).await.unwrap());
    }
    let lists =
        |serials: &[u64]| -> Vec<_> { serials.iter().map(|serial| list(*serial).1).collect() };
    assert_eq!(records.lists_after(0).await.unwrap(), lists(&[1, 2, 10]));
    assert_eq!(records.lists_after(2).await.unwrap(), lists(&[10]));

    let commit = commit_after(Some(&head), root(1), NOW);
    let (id, signed) = list(11);
    let change = HeadChange {
        replaced: Some(&head),
        lists: &[(id, &signed)],
        ..first_commit(&commit)
    };
    let next = changed(&table, change).await;
    assert_eq!(next.list, Some(id));
    assert_eq!(records.lists_after(10).await.unwrap(), lists(&[11]));
    let commit = commit_after(Some(&next), root(2), NOW);
    let change = HeadChange {
        replaced: Some(&next),
        lists: &[(id, &signed)],
        ..first_commit(&commit)
    };
    assert_eq!(
        records.change_head(change).await.unwrap(),
        HeadChanged::Exists
    );
    let change = HeadChange {
        replaced: Some(&next),
        ..first_commit(&commit)
    };
    assert_eq!(
        changed(&table, change).await.list,
        Some(id),
        "the newest list stays"
    );
}

async fn a_recorded_head_is_replaced_by_later_ones(service: Service) {
    let (table, _) = with_head(service, 205).await;
    let records = &table.records;
    assert_eq!(records.recorded_head().await.unwrap(), None);
    let head = |order: u8| RecordedHead {
        order: order.into(),
        commit: commit_after(None, root(order), NOW).id,
    };
    table.faults.set_rates(FaultRates {
        update_conflicts: 300,
        ..FaultRates::default()
    });
    for (order, expected) in [(3, 3), (2, 3), (7, 7), (7, 7)] {
        records.record_head(&head(order)).await.unwrap();
        let recorded = records.recorded_head().await.unwrap();
        assert_eq!(recorded, Some(head(expected)));
    }
    // A forged one is replaced in any case.
    records.replace_recorded_head(&head(2)).await.unwrap();
    assert_eq!(records.recorded_head().await.unwrap(), Some(head(2)));
    assert!(table.faults.injected().update_conflicts > 0);
}

fn devices(count: u32) -> PartialTree {
    let leaves = (0..count).map(|number| {
        let name = LeafName::Device(device(number).device);
        (name, Sha256Digest::of(&number.to_be_bytes()))
    });
    PartialTree::from_leaves(leaves)
}

/// Loads the pages on the paths to these names, and returns the number of reads.
async fn load(table: &Table, tree: &mut PagedTree, names: &[LeafName]) -> usize {
    let mut reads = 0;
    loop {
        let missing = tree.missing(names);
        if missing.is_empty() {
            return reads;
        }
        reads += 1;
        let pages = table.records.pages(&missing).await.unwrap();
        assert_eq!(pages.len(), missing.len());
        for (hash, bytes) in pages {
            tree.insert_page(hash, &bytes).unwrap();
        }
    }
}

async fn a_stored_tree_is_read_and_changed_page_by_page(service: Service) {
    let table = Table::without_target_on(service, 206).await;
    let whole = devices(3_000);
    let leaves: BTreeMap<_, _> = whole
        .leaves()
        .map(|(name, digest)| (name.clone(), Some(digest)))
        .collect();
    let stored = PagedTree::new(NodeHash::EMPTY).update(&leaves).unwrap();
    assert_eq!(stored.tree.root(), whole.root());
    table.records.put_pages(&stored.pages).await.unwrap();

    let one = LeafName::Device(device(17).device);
    let absent = LeafName::Device(device(5_000).device);
    let names = [one.clone(), absent.clone()];
    let mut tree = PagedTree::new(whole.root());
    assert!(load(&table, &mut tree, &names).await <= 4);
    assert_eq!(tree.tree().lookup(&absent), Lookup::Absent);
    let digest = Sha256Digest::of(b"changed");
    let changed = tree
        .update(&BTreeMap::from([(one.clone(), Some(digest))]))
        .unwrap();
    assert!(changed.pages.len() <= 4, "only the path is stored again");
    table.records.put_pages(&changed.pages).await.unwrap();
    let mut again = PagedTree::new(changed.tree.root());
    load(&table, &mut again, std::slice::from_ref(&one)).await;
    assert_eq!(again.tree().lookup(&one), Lookup::Present(digest));
}

async fn contents_are_complete_although_many_requests_fail(service: Service) {
    let table = Table::without_target_on(service, 207).await;
    table.faults.set_rates(FaultRates {
        conflicts: 0,
        update_conflicts: 0,
        throttles: 150,
        lost_answers: 150,
        unprocessed: 300,
        index_lag: 0,
    });
    let texts: Vec<DocumentText> = (0..300)
        .map(|number| DocumentText::new(format!("{{\"document\":{number}}}")).unwrap())
        .collect();
    until_answered(async || table.records.put_documents(&texts).await).await;
    let mut digests: Vec<Sha256Digest> = texts.iter().map(DocumentText::digest).collect();
    digests.push(Sha256Digest::of(b"unknown"));
    let read = until_answered(async || table.records.documents(&digests).await).await;
    let as_set = |texts: &[DocumentText]| -> BTreeSet<String> {
        texts.iter().map(|text| text.as_str().to_owned()).collect()
    };
    assert_eq!(as_set(&read), as_set(&texts));
    let injected = table.faults.injected();
    assert!(
        injected.throttles > 0 && injected.lost_answers > 0 && injected.unprocessed > 0,
        "{injected:?}"
    );
}

async fn a_document_with_another_digest_than_its_key_is_an_error(service: Service) {
    let table = Table::without_target_on(service, 208).await;
    let text = DocumentText::new("{}".to_owned()).unwrap();
    table
        .records
        .put_documents(std::slice::from_ref(&text))
        .await
        .unwrap();
    let key = format!("DOC#{}", text.digest());
    table
        .put(&json!({ "pk": { "S": key }, "sk": { "S": "DOC" }, "text": { "S": "{\"a\":1}" } }))
        .await;
    let error = table.records.documents(&[text.digest()]).await.unwrap_err();
    assert!(error.to_string().contains(&key), "{error}");
}

async fn the_earliest_pause_stays(service: Service) {
    let table = Table::without_target_on(service, 215).await;
    let ben = ChangedBy::shortened("ben", "", mia().at);
    let by = |user: &str, host: &str| Pause {
        since: NOW,
        user: user.to_owned(),
        host: host.to_owned(),
    };
    let (by_mia, by_ben) = (by("mia", "desk"), by("ben", ""));
    let records = &table.records;
    let begun = records.begin_pause(&mia()).await.unwrap();
    assert_eq!(begun, (by_mia.clone(), true));
    let begun = records.begin_pause(&ben).await.unwrap();
    assert_eq!(begun, (by_mia, false));
    assert!(records.end_pause(&mia()).await.unwrap());
    assert!(!records.end_pause(&mia()).await.unwrap());
    assert_eq!(records.pause().await.unwrap(), None);
    let begun = records.begin_pause(&ben).await.unwrap();
    assert_eq!(begun, (by_ben.clone(), true));
    assert_eq!(records.pause().await.unwrap(), Some(by_ben));
}

packcast_testing::on_each_service! {
    the_earliest_pause_stays
    of_many_changes_of_one_head_exactly_one_is_made
    commits_are_listed_from_the_newest
    a_head_that_was_put_back_is_recognised_by_its_order
    a_commit_does_not_assign_a_deleted_package
    key_lists_are_in_the_order_of_their_serial_numbers
    a_recorded_head_is_replaced_by_later_ones
    a_stored_tree_is_read_and_changed_page_by_page
    contents_are_complete_although_many_requests_fail
    a_document_with_another_digest_than_its_key_is_an_error
}

#[tokio::test]
async fn an_answer_tells_the_time_unless_the_service_is_on_this_machine() {
    let (table, head) = with_head(Service::Embedded, 214).await;
    let on_this_machine = table.records.head_with_time().await.unwrap();
    assert_eq!(
        on_this_machine,
        (Some(head.clone()), ServiceTime::ThisMachine)
    );
    // These records do not know that the service is on this machine.
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("local"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(&table.endpoint);
    let client = Client::from_conf(config.build());
    let records = Records::new(client, table.records.table());
    let (found, time) = records.head_with_time().await.unwrap();
    assert_eq!(found, Some(head));
    assert!(matches!(time, ServiceTime::Told(_)), "{time:?}");
}
