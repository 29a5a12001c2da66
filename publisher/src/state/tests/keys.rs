//! Rotated and added keys, on an embedded engine.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::TrustedRoots;
use packcast_store::records::SignError;
use packcast_testing::fault::FaultRates;

use super::*;
use crate::log::{LogRequest, log};
use crate::signing::key::SigningKey;
use crate::signing::publisher_keys::{ListKeys, revoke, trust, trusted_keys};
use crate::signing::replace::{KeptState, ReplaceRequest, plan, replace};
use crate::signing::rotate::rotate;
use crate::signing::signer::state_signer;
use crate::state::key_list::{KeyChange, ListChange};
use crate::state::rotate::rotate as rotate_state;
use crate::state::{Scope, StateChanger, StateKey};
use crate::status::of_newest;

async fn read(table: &Table, trust: &TrustedRoots) -> TargetState {
    TargetState::read(&table.records, trust).await.unwrap()
}

async fn rotated(target: &Target) -> Result<TrustedRoots, Failure> {
    let rotated = rotate(target, None, true, None).await?;
    Ok(rotated.trust)
}

/// Returns the public key in the key file of a target.
fn current_key(target: &Target) -> PublicKey {
    let key = SigningKey::read(&target.key_file, &NoSecrets).unwrap();
    key.public().clone()
}

#[tokio::test]
async fn a_rotated_key_signs_for_both_trust_lines() {
    let table = Table::without_target(320).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let old = target.trust().unwrap();
    change(&target, &[create_lab()]).await.unwrap();
    let before = read(&table, &old).await.head.unwrap().commit;

    let new = rotated(&target).await.unwrap();
    assert_eq!(new.target(), old.target());
    assert_eq!(new.roots(), [current_key(&target)]);
    assert_eq!(target.trust().unwrap(), old);
    change(&target, &[join([1])]).await.unwrap();
    for trust in [&old, &new] {
        let mut state = read(&table, trust).await;
        assert_eq!(state.chain.signing(), new.roots());
        assert_eq!(state.chain.named().len(), 2);
        assert_eq!(state.chain.newest().unwrap().signer(), &new.roots()[0]);
        let head = &state.head.as_ref().unwrap().commit;
        assert_eq!(head.signer(), &new.roots()[0]);
        // A device that holds the last commit of the old key accepts the head.
        let name = LeafName::Commit(before.id().name());
        let digests = state.trees.digests(&table.records, [name].into()).await;
        let digest = digests.unwrap().into_values().next();
        assert_eq!(digest, Some(Some(before.id().digest)));
    }
}

#[tokio::test]
async fn an_interrupted_rotation_continues() {
    let table = Table::without_target(321).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let old = target.trust().unwrap();
    let old_key = current_key(&target);
    let refuse = |conflicts| {
        table.faults.set_rates(FaultRates {
            conflicts,
            ..FaultRates::default()
        });
    };
    refuse(1_000);
    rotated(&target).await.unwrap_err();
    refuse(0);
    assert_eq!(current_key(&target), old_key);
    assert_eq!(target.trust().unwrap(), old);
    // The first list is that of the old key, whose unfinished commit comes first.
    change(&target, &[create_lab()]).await.unwrap();
    assert_eq!(
        read(&table, &old).await.chain.signing(),
        std::slice::from_ref(&old_key)
    );
    let new = rotated(&target).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(read(&table, &old).await.chain.serial(), 3);

    // Without the last step, the old key is still in its file.
    let next = folder.path().join("prod-next.key");
    std::fs::rename(&target.key_file, &next).unwrap();
    let kept = std::fs::read_dir(folder.path()).unwrap();
    let mut kept = kept.map(|entry| entry.unwrap().path());
    let is_old = |path: &PathBuf| path.to_string_lossy().contains("prod-was-");
    let kept = kept.find(|path| is_old(path) && path.extension().is_some_and(|end| end == "key"));
    std::fs::copy(kept.unwrap(), &target.key_file).unwrap();
    let refused = change(&target, &[join([1])]).await.unwrap_err();
    assert!(
        refused.to_string().contains("'packcast keys rotate'"),
        "{refused}"
    );
    assert_eq!(rotated(&target).await.unwrap(), new);
    change(&target, &[join([1])]).await.unwrap();
    assert_eq!(read(&table, &new).await.chain.serial(), 3);
}

#[tokio::test]
async fn a_rotation_that_stopped_before_its_commit_continues_at_once() {
    let table = Table::without_target(323).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let old = target.trust().unwrap();
    let (mut signer, progress) = (Signer::new(&target, None), Progress::none());
    let changed = signer.change(&target, &[StateChange::Renew], "packcast", &progress);
    changed.await.unwrap();
    table.faults.set_rates(FaultRates {
        conflicts: 1_000,
        ..FaultRates::default()
    });
    rotated(&target).await.unwrap_err();
    table.faults.set_rates(FaultRates::default());
    let unfinished = {
        let memory = memory(&target.state_memory, &old).await;
        memory.memory().lines().last().unwrap().commit
    };
    let new = rotated(&target).await.unwrap();
    assert_eq!(new.roots(), [current_key(&target)]);
    let mut state = read(&table, &new).await;
    assert_eq!(state.chain.serial(), 3);
    let name = LeafName::Commit(unfinished.name());
    let digests = state.trees.digests(&table.records, [name].into()).await;
    let digest = digests.unwrap().into_values().next();
    assert_eq!(
        digest,
        Some(Some(unfinished.digest)),
        "the same commit is stored"
    );
}

#[tokio::test]
async fn an_added_publisher_signs_commits_until_its_key_is_revoked() {
    let table = Table::without_target(322).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let line = target.trust().unwrap();
    let file = folder.path().join("other.key");
    let other = Arc::new(SigningKey::generate(&file, None).unwrap());
    let own = Arc::new(SigningKey::read(&target.key_file, &NoSecrets).unwrap());
    let own = ListKeys { own, root: None };
    trust(&target, other.public(), &own).await.unwrap();
    let change_by_other = |changes: Vec<StateChange>| {
        let mut signer = Signer::new(&target, Some(file.clone()));
        let target = &target;
        async move {
            let mut state = signer.changer(target).await?;
            let changed = state.change(&changes, "packcast group create lab").await?;
            Ok::<_, Failure>(changed.committed)
        }
    };
    change_by_other(vec![create_lab()]).await.unwrap();
    let state = read(&table, &line).await;
    assert_eq!(state.head.unwrap().commit.signer(), other.public());
    assert_eq!(state.chain.roots(), line.roots());
    let signer = Arc::clone(&other);
    let sign = move |text: &str| {
        let signature = signer.sign(text.as_bytes(), "test");
        signature.map_err(SignError::new)
    };
    let by_other = StateKey {
        public: other.public(),
        sign: &sign,
    };
    let new = SigningKey::generate(&folder.path().join("new.key"), None).unwrap();
    let by_new = StateKey {
        public: new.public(),
        sign: &sign,
    };
    let refused = rotate_state(&target, by_other, by_other, by_new).await;
    let refused = refused
        .unwrap_err()
        .to_string()
        .replace(&by_other.public.to_string(), "KEY");
    insta::assert_snapshot!(refused, @"
    your key KEY is not a root key of the target, so it cannot change the key list
    hint: pass the root key with --root-key, or ask its owner to change the key list
    ");
    assert_eq!(read(&table, &line).await.chain.serial(), 2);

    let keys = async || -> Vec<(bool, bool, bool)> {
        let listed = trusted_keys(&target).await.unwrap().keys;
        let mut keys: Vec<_> = listed
            .iter()
            .map(|key| (key.signs, key.root, key.retired))
            .collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys().await, [(false, false, false), (true, true, false)]);
    let own_key = own.own.public().clone();
    let changed = revoke(&target, other.public(), &own).await;
    assert_eq!(changed.unwrap().trusted, [own_key.to_string()]);
    assert_eq!(keys().await, [(false, false, true), (true, true, false)]);
    revoke(&target, other.public(), &own).await.unwrap_err();
    revoke(&target, &own_key, &own).await.unwrap_err();
    let refused = change_by_other(vec![join([1])]).await.unwrap_err();
    assert!(refused.to_string().contains("is retired"), "{refused}");
    change(&target, &[join([1])]).await.unwrap();
}

/// The list has the change already, so the command makes no commit.
#[tokio::test]
async fn a_repeated_change_of_the_list_compares_the_head() {
    let table = Table::without_target(325).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    change(&target, &[create_lab()]).await.unwrap();
    let own = Arc::new(SigningKey::read(&target.key_file, &NoSecrets).unwrap());
    let sign = state_signer(Arc::clone(&own));
    let root = StateKey {
        public: own.public(),
        sign: &*sign,
    };
    let other = another_signing().key;
    let add = async || {
        let change = ListChange {
            root,
            keys: KeyChange::Add(other),
        };
        let changer = StateChanger::open(&target, root.public, root.sign, false);
        let mut changer = changer.await.unwrap();
        changer.change_list(&change, "packcast keys trust").await
    };
    add().await.unwrap();
    let old = table.item("HEAD", "HEAD").await;
    change(&target, &[join([1])]).await.unwrap();
    let head = table.records.head().await.unwrap();
    add().await.unwrap();
    assert_eq!(table.records.head().await.unwrap(), head);
    table.put(&old).await;
    let refused = add().await.unwrap_err();
    assert!(
        refused.to_string().contains("leaves out commit"),
        "{refused}"
    );
}

/// A target with an offline root key.
#[tokio::test]
async fn a_root_key_apart_signs_the_key_lists() {
    let table = Table::without_target(324).await;
    let folder = tempfile::tempdir().unwrap();
    let target = target_in(&table, folder.path());
    let root_file = folder.path().join("root.key");
    let new = key_files::NewKeys {
        file: target.key_file.clone(),
        memory: Some(target.state_memory.clone()),
        root: Some(root_file.clone()),
        unencrypted: true,
    };
    key_files::generate(new, &NoSecrets).unwrap();
    let line = target.trust().unwrap();
    let root = Arc::new(SigningKey::read(&root_file, &NoSecrets).unwrap());
    let own_key = || Arc::new(SigningKey::read(&target.key_file, &NoSecrets).unwrap());
    let chain = async || read(&table, &line).await.chain;

    let refused = change(&target, &[create_lab()]).await.unwrap_err();
    assert!(refused.to_string().contains("--root-key FILE"), "{refused}");
    let progress = Progress::none();
    for serial in [1, 2] {
        let signer = Signer::new(&target, None);
        let mut signer = signer.with_root(Some(Arc::clone(&root)));
        renew(&target, &mut signer, 3_600, Scope::Changed, &progress)
            .await
            .unwrap();
        let chain = chain().await;
        assert_eq!(chain.serial(), serial, "each command renews the list");
        assert_eq!(chain.roots(), std::slice::from_ref(root.public()));
        assert_eq!(chain.signing(), [own_key().public().clone()]);
    }
    change(&target, &[create_lab()]).await.unwrap();
    assert_eq!(chain().await.serial(), 2);

    let other = SigningKey::generate(&folder.path().join("other.key"), None).unwrap();
    let mut keys = ListKeys {
        own: own_key(),
        root: None,
    };
    let refused = trust(&target, other.public(), &keys).await.unwrap_err();
    assert!(
        refused.to_string().contains("is not a root key"),
        "{refused}"
    );
    keys.root = Some(Arc::clone(&root));
    let changed = trust(&target, other.public(), &keys).await.unwrap();
    assert_eq!(changed.trusted.len(), 2);
    let changed = revoke(&target, other.public(), &keys).await.unwrap();
    assert_eq!(changed.trusted, [own_key().public().to_string()]);

    let before = own_key().public().clone();
    let apart = Some(Arc::clone(&root));
    let rotated = rotate(&target, None, true, apart.clone()).await.unwrap();
    assert_eq!(rotated.trust, line, "the root key has not changed");
    let rotated = chain().await;
    assert_eq!(rotated.signing(), [own_key().public().clone()]);
    assert_eq!(rotated.newest().unwrap().signer(), root.public());
    assert!(rotated.named().contains(&before));

    let lost = own_key().public().clone();
    let request = ReplaceRequest {
        lost: None,
        file: None,
        unencrypted: true,
        root: apart,
        kept: KeptState::Head,
    };
    let planned = plan(&target, &request).await.unwrap();
    let replaced = replace(&target, &request, &planned, &progress).await;
    assert_eq!(replaced.unwrap().trust, line);
    let named = chain().await.named();
    assert!(!named.contains(&lost) && named.contains(own_key().public()));
    change(&target, &[join([1])]).await.unwrap();
}

#[tokio::test]
async fn commands_that_read_warn_of_a_state_that_expires_soon() {
    let table = Table::without_target(326).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let (mut signer, progress) = (Signer::new(&target, None), Progress::none());
    renew(&target, &mut signer, 3_600, Scope::Changed, &progress)
        .await
        .unwrap();
    let warned = || {
        let warnings = target.warnings.take();
        let soon = warnings.iter().filter(|it| it.text.contains("expires"));
        soon.count()
    };
    assert_eq!(warned(), 1);
    let request = LogRequest {
        limit: 1,
        before: None,
        after: None,
        is_signed_only: false,
        package: None,
        group: None,
        device: None,
        most_reads: None,
    };
    log(&target, &request).await.unwrap();
    assert_eq!(warned(), 1);
    trusted_keys(&target).await.unwrap();
    assert_eq!(warned(), 1);
    of_newest(&target, 5).await.unwrap();
    assert_eq!(warned(), 1);
    renew(&target, &mut signer, 90 * 86_400, Scope::Changed, &progress)
        .await
        .unwrap();
    of_newest(&target, 5).await.unwrap();
    log(&target, &request).await.unwrap();
    assert_eq!(warned(), 0);
}

#[tokio::test]
async fn new_devices_get_the_present_root_key() {
    let table = Table::without_target(325).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let shown = || {
        let memory = Some(target.state_memory.as_path());
        let files = key_files::show(target.key_file.clone(), memory, &NoSecrets);
        files.unwrap().trust.unwrap()
    };
    let first = target.trust().unwrap();
    assert_eq!(shown(), first);
    change(&target, &[create_lab()]).await.unwrap();
    assert_eq!(shown(), first);
    let new = rotated(&target).await.unwrap();
    assert_eq!((shown(), target.trust().unwrap()), (new, first));
}
