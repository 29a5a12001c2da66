//! Replacement of a leaked key, on an embedded engine.

use packcast_protocol::AgentId;
use packcast_protocol::manifest::AnnouncedManifest;
use packcast_protocol::state::held::{DeploymentFacts, VerifiedState};
use packcast_protocol::state::{StateReply, StateText};

use super::*;
use crate::owned_commit::CommitOwner;
use crate::signing::key::SigningKey;
use crate::signing::publisher_keys::{self, ListKeys};
use crate::signing::replace::{KeptState, ReplaceRequest, ReplacedKey, plan, replace};
use crate::signing::rotate::rotate;
use crate::signing::signer::state_signer;
use crate::state::removal::Removal;
use crate::state::{StateChanger, StateKey};

/// A target with one administrator, a device, and a thief who has a copy of the key.
struct Leak {
    table: Table,
    folder: TempDir,
    target: Target,
    thief: Target,
    /// The package that the administrator has assigned.
    tool: PackageId,
    wipe: PackageId,
    device: VerifiedState,
}

fn agent() -> AgentId {
    AgentId::of_public_key(&[1; 32])
}

/// Returns a target on another machine, with a copy of the key.
fn copy_of(target: &Target, table: &Table, folder: &Path) -> Target {
    let copy = new_target(table, folder);
    std::fs::remove_file(&copy.state_memory).unwrap();
    std::fs::copy(&target.key_file, &copy.key_file).unwrap();
    key_files::accept_trust(&copy.state_memory, target.trust().unwrap()).unwrap();
    copy
}

async fn accept_any_head(target: &Target) {
    let head = accept::shown_head(target).await.unwrap();
    accept::accept_head(target, head.commit).await.unwrap();
}

impl Leak {
    /// Starts with a device that has followed the state before the leak.
    async fn start(seed: u64) -> Self {
        let table = Table::without_target(seed).await;
        let folder = tempfile::tempdir().unwrap();
        let target = new_target(&table, &folder.path().join("own"));
        let tool = table.package("tool", 5).await.id;
        let wipe = table.package("wipe", 5).await.id;
        let member = StateChange::Join {
            group: lab(),
            devices: [DeviceId::Agent(agent())].into(),
        };
        change(&target, &[create_lab(), member, assign(tool, false)])
            .await
            .unwrap();
        let thief = copy_of(&target, &table, &folder.path().join("thief"));
        let device = VerifiedState::new(agent(), target.trust().unwrap(), UnixTime(0), []);
        let mut leak = Self {
            table,
            folder,
            target,
            thief,
            tool,
            wipe,
            device,
        };
        assert_eq!(leak.check_in().await, Vec::<String>::new());
        leak
    }

    async fn state(&self) -> TargetState {
        let trust = self.target.trust().unwrap();
        TargetState::read(&self.table.records, &trust)
            .await
            .unwrap()
    }

    async fn head(&self) -> CommitId {
        self.state().await.head.unwrap().commit.id()
    }

    async fn packages(&self) -> Vec<PackageId> {
        let mut state = self.state().await;
        let names = BTreeSet::from([LeafName::Group(lab())]);
        let part = state.trees.part(&self.table.records, names).await.unwrap();
        let document = part.group(&lab()).unwrap().unwrap();
        let entries = document.packages.as_slice().iter();
        entries.map(|entry| entry.package).collect()
    }

    /// Returns a reply with the whole state of the head.
    async fn reply(&self) -> StateReply {
        let records = &self.table.records;
        let mut state = self.state().await;
        let trees = &mut state.trees;
        trees.load_all(records, |it| &mut it.groups).await.unwrap();
        trees.load_all(records, |it| &mut it.devices).await.unwrap();
        trees.load_ancestors(records).await.unwrap();
        let of_each = [&trees.groups, &trees.devices].map(|tree| tree.tree().leaves());
        let digests = of_each.into_iter().flatten().map(|(_, digest)| digest);
        let digests: BTreeSet<Sha256Digest> = digests.collect();
        let digests: Vec<Sha256Digest> = digests.into_iter().collect();
        let head = state.head.as_ref().unwrap();
        StateReply {
            lists: state.chain.lists().cloned().collect(),
            of: Some(head.commit.id()),
            commit: Some(head.stored.commit.signed.clone()),
            groups: Some(state.trees.groups.tree().clone()),
            devices: Some(state.trees.devices.tree().clone()),
            ancestors: Some(state.trees.ancestors.tree().clone()),
            documents: records.documents(&digests).await.unwrap(),
            more: false,
        }
    }

    /// Shows the head to the device, and returns the refusals.
    async fn check_in(&mut self) -> Vec<String> {
        let reply = self.reply().await;
        self.show(&reply)
    }

    fn show(&mut self, reply: &StateReply) -> Vec<String> {
        let text = StateText::new(reply).unwrap();
        let accepted = self.device.accept(&text, &BTreeSet::new());
        accepted
            .refused
            .iter()
            .map(|it| format!("{it:?}"))
            .collect()
    }

    /// Returns true if the device begins with a package.
    fn begins(&self, id: PackageId) -> bool {
        let manifest = Sha256Digest::of(b"manifest");
        let facts = DeploymentFacts {
            used: &BTreeSet::new(),
            is_downgrade: false,
            audience: None,
            locations: &BTreeSet::new(),
        };
        let whole = self.device.whole(&BTreeSet::new(), crate::clock::now());
        let begun = whole.and_then(|it| it.before_begin(AnnouncedManifest { id, manifest }, facts));
        begun.is_ok()
    }

    /// The thief assigns a package, and the device follows.
    async fn wipe(&mut self) {
        accept_any_head(&self.thief).await;
        change(&self.thief, &[assign(self.wipe, true)])
            .await
            .unwrap();
        assert_eq!(self.check_in().await, Vec::<String>::new());
        assert!(self.begins(self.wipe));
    }

    async fn replace(&self, kept: KeptState) -> Result<ReplacedKey, Failure> {
        replaced(&self.target, &own(kept)).await
    }
}

async fn replaced(target: &Target, request: &ReplaceRequest) -> Result<ReplacedKey, Failure> {
    let planned = plan(target, request).await?;
    replace(target, request, &planned, &Progress::none()).await
}

fn own(kept: KeptState) -> ReplaceRequest {
    ReplaceRequest {
        lost: None,
        file: None,
        unencrypted: true,
        root: None,
        kept,
    }
}

#[tokio::test]
async fn a_replaced_key_takes_the_thief_s_changes_with_it() {
    let mut leak = Leak::start(330).await;
    let good = leak.head().await;
    leak.wipe().await;
    let stolen = leak.head().await;
    let request = own(KeptState::Of(good.number));
    let planned = plan(&leak.target, &request).await.unwrap();
    let shown: Vec<_> = planned
        .commits
        .iter()
        .map(|it| (it.commit.commit, it.owner, it.commit.lines.len()))
        .collect();
    let expected = vec![(stolen, CommitOwner::Unknown, 1)];
    assert_eq!((shown, planned.kept), (expected, good));
    let replaced = leak.replace(KeptState::Of(good.number)).await.unwrap();

    assert_eq!(leak.packages().await, [leak.tool]);
    let state = leak.state().await;
    assert_eq!(state.chain.named().len(), 1, "the lost key is removed");
    assert_eq!(state.chain.roots(), replaced.trust.roots());
    assert_eq!(state.chain.newest().unwrap().from(), replaced.commit.number);
    let table = leak.table.records.clone();
    assert_eq!(
        table.recorded_head().await.unwrap(),
        state.head.map(|head| head.recorded())
    );
    // The new trust line leads to the same head.
    let by_line = TargetState::read(&table, &replaced.trust).await.unwrap();
    assert_eq!(by_line.head.unwrap().commit.id(), leak.head().await);

    let mut reply = leak.reply().await;
    let refused = leak.show(&reply);
    assert!(
        refused.iter().all(|it| it.starts_with("KeyRemoved")),
        "{refused:?}"
    );
    assert_eq!(leak.device.commit().unwrap().id(), leak.head().await);
    assert!(leak.begins(leak.tool) && !leak.begins(leak.wipe));
    // Neither the publisher nor the device believes later commits of the thief.
    let refused = change(&leak.thief, &[assign(leak.wipe, true)])
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("does not name your key"),
        "{refused}"
    );
    let commit = table
        .commit_named(&stolen.name())
        .await
        .unwrap()
        .unwrap()
        .commit;
    reply.of = Some(stolen);
    reply.commit = Some(commit.signed);
    assert!(!leak.show(&reply).is_empty());
    assert!(leak.begins(leak.tool) && !leak.begins(leak.wipe));
    change(&leak.target, &[join([1])]).await.unwrap();
    assert_eq!(leak.check_in().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_head_that_leaves_out_this_machine_s_commits_is_replaced() {
    let mut leak = Leak::start(331).await;
    let old = leak.table.item("HEAD", "HEAD").await;
    change(&leak.target, &[join([1])]).await.unwrap();
    let good = leak.head().await;
    leak.table.put(&old).await;
    leak.wipe().await;
    let refused = change(&leak.target, &[join([2])]).await.unwrap_err();
    assert!(
        refused.to_string().contains("leaves out commit"),
        "{refused}"
    );
    let replaced = leak.replace(KeptState::Of(good.number)).await.unwrap();
    assert!(replaced.commit.number > good.number);
    assert_eq!(leak.packages().await, [leak.tool]);
    leak.check_in().await;
    assert!(leak.begins(leak.tool) && !leak.begins(leak.wipe));
    change(&leak.target, &[join([2])]).await.unwrap();
}

#[tokio::test]
async fn a_number_in_the_future_is_no_longer_counted() {
    let leak = Leak::start(332).await;
    let good = leak.head().await;
    accept_any_head(&leak.thief).await;
    let key = Arc::new(SigningKey::read(&leak.thief.key_file, &NoSecrets).unwrap());
    let sign = state_signer(Arc::clone(&key));
    let trust = leak.thief.trust().unwrap();
    let mut memory = memory(&leak.thief.state_memory, &trust).await;
    let far = || crate::clock::now().plus(50 * 86_400);
    let mut committer = Committer {
        records: &leak.table.records,
        trust: &trust,
        key: key.public(),
        sign: &*sign,
        memory: &mut memory,
        clock: &far,
    };
    let request = CommitRequest {
        changes: &[assign(leak.wipe, true)],
        about: AboutDocument::shortened("ada", "laptop", "packcast assign", ""),
        valid_for_s: 3_600,
    };
    committer.commit(&request).await.unwrap();
    let refused = leak.replace(KeptState::Head).await.unwrap_err();
    assert!(
        refused.to_string().contains("more than a day ahead"),
        "{refused}"
    );
    leak.replace(KeptState::Of(good.number)).await.unwrap();
    let head = leak.head().await;
    assert!(head.number <= crate::clock::now().0 + 60, "{head}");
    assert_eq!(leak.packages().await, [leak.tool]);
}

/// This machine does not know of the leak when it withdraws a package.
#[tokio::test]
async fn withdrawals_that_the_lost_key_has_signed_on_this_machine_stay() {
    let mut leak = Leak::start(338).await;
    let good = leak.head().await;
    leak.wipe().await;
    let stolen = leak.head().await;
    change(&leak.target, &[unassign(leak.tool)]).await.unwrap();
    let own_commit = leak.head().await;
    let other = leak.table.package("other", 5).await.id;
    change(&leak.target, &[assign(other, false)]).await.unwrap();
    let last = leak.head().await;
    let kept = KeptState::Of(good.number);
    let planned = plan(&leak.target, &own(kept)).await.unwrap();
    let shown: Vec<_> = planned
        .commits
        .iter()
        .map(|it| (it.commit.commit, it.owner))
        .collect();
    let expected = [
        (last, CommitOwner::ThisMachine),
        (own_commit, CommitOwner::ThisMachine),
        // A command of this machine has read the head since, so the machine remembers it.
        (stolen, CommitOwner::OtherMachine),
    ];
    assert_eq!(shown, expected);
    leak.target.warnings.take();
    leak.replace(kept).await.unwrap();
    assert_eq!(leak.packages().await, []);
    assert_eq!(leak.target.warnings.take(), []);
    leak.check_in().await;
    assert!(!leak.begins(leak.tool) && !leak.begins(leak.wipe));
}

/// The package was assigned again, to retry its failures, before it was withdrawn.
#[tokio::test]
async fn a_withdrawn_package_does_not_come_back_with_its_first_assignment() {
    let mut leak = Leak::start(339).await;
    let good = leak.head().await;
    leak.wipe().await;
    change(&leak.target, &[assign(leak.tool, false)])
        .await
        .unwrap();
    change(&leak.target, &[unassign(leak.tool)]).await.unwrap();
    leak.target.warnings.take();
    leak.replace(KeptState::Of(good.number)).await.unwrap();
    assert_eq!(leak.packages().await, []);
    assert_eq!(leak.target.warnings.take(), []);
    leak.check_in().await;
    assert!(!leak.begins(leak.tool) && !leak.begins(leak.wipe));
}

#[tokio::test]
async fn the_present_state_can_be_kept() {
    let mut leak = Leak::start(333).await;
    accept_any_head(&leak.thief).await;
    change(&leak.thief, &[join([1])]).await.unwrap();
    let kept = leak.head().await;
    let replaced = leak.replace(KeptState::Head).await.unwrap();
    let table = &leak.table.records;
    let commit = table
        .commit_named(&replaced.commit.name())
        .await
        .unwrap()
        .unwrap();
    let commit: packcast_protocol::state::Commit =
        serde_json::from_str(commit.commit.signed.text()).unwrap();
    assert_eq!(commit.parent, Some(kept));
    assert_eq!(leak.packages().await, [leak.tool]);
    leak.check_in().await;
    assert!(leak.begins(leak.tool));
}

#[tokio::test]
async fn an_interrupted_replacement_is_completed() {
    let mut leak = Leak::start(334).await;
    let good = KeptState::Of(leak.head().await.number);
    leak.wipe().await;
    let stolen = leak.head().await;
    let refuse = |conflicts| {
        leak.table.faults.set_rates(FaultRates {
            conflicts,
            ..FaultRates::default()
        });
    };
    // After the memory line, before the new head.
    refuse(1_000);
    leak.replace(good).await.unwrap_err();
    refuse(0);
    assert_eq!(leak.head().await, stolen);
    let trust = leak.target.trust().unwrap();
    let remembered = memory(&leak.target.state_memory, &trust).await;
    let signed = remembered.memory().lines().last().unwrap().commit;
    drop(remembered);
    let key = std::fs::read(&leak.target.key_file).unwrap();
    let replaced = leak.replace(good).await.unwrap();
    let table = &leak.table.records;
    assert_eq!(replaced.commit, signed, "the same commit is stored");
    assert_eq!(leak.packages().await, [leak.tool]);
    // After the list of the new root key, before the key file was replaced.
    let files = leak.folder.path().join("own");
    std::fs::rename(&leak.target.key_file, files.join("prod-next.key")).unwrap();
    std::fs::write(&leak.target.key_file, key).unwrap();
    restrict(&leak.target.key_file);
    std::fs::remove_file(leak.target.key_file.with_extension("pub")).unwrap();
    let head = leak.head().await;
    let again = leak.replace(good).await.unwrap();
    assert_eq!(
        (again.public_key, leak.head().await),
        (replaced.public_key, head)
    );
    assert_eq!(table.lists_after(0).await.unwrap().len(), 3);
    leak.check_in().await;
    assert!(leak.begins(leak.tool) && !leak.begins(leak.wipe));
}

#[tokio::test]
async fn a_replacement_that_stopped_after_its_commit_is_completed() {
    let mut leak = Leak::start(337).await;
    let state = leak.state().await;
    let good = (*state.head.unwrap().commit).clone();
    leak.wipe().await;
    let old = Arc::new(SigningKey::read(&leak.target.key_file, &NoSecrets).unwrap());
    let next = leak.folder.path().join("own").join("prod-next.key");
    let new = Arc::new(SigningKey::generate(&next, None).unwrap());
    let [sign_old, sign_new] = [&old, &new].map(|key| state_signer(Arc::clone(key)));
    let removal = Removal {
        lost: old.public(),
        root: StateKey {
            public: old.public(),
            sign: &*sign_old,
        },
        good: &good,
    };
    let changer = StateChanger::open(&leak.target, new.public(), &*sign_new, false).await;
    let made = changer
        .unwrap()
        .remove_key(&removal, "packcast keys replace")
        .await;
    let made = made.unwrap();
    let records = &leak.table.records;
    let recorded = records.recorded_head().await.unwrap();
    assert!(recorded.is_none_or(|head| head.order < made.order));

    let kept = KeptState::Of(good.number);
    let planned = plan(&leak.target, &own(kept)).await.unwrap();
    assert!(planned.is_made());
    let replaced = leak.replace(kept).await.unwrap();
    assert_eq!(replaced.public_key, new.public().to_string());
    assert!(!next.exists());
    let head = leak.state().await.head.unwrap();
    assert_eq!(head.commit.parent, Some(made.commit.id));
    let recorded = records.recorded_head().await.unwrap();
    assert_eq!(recorded, Some(head.recorded()));
    assert_eq!(leak.packages().await, [leak.tool]);
}

/// An earlier command has removed the key, so the command makes no commit of its own.
#[tokio::test]
async fn a_repeated_replacement_compares_the_head() {
    let leak = Leak::start(340).await;
    let good = (*leak.state().await.head.unwrap().commit).clone();
    let old = Arc::new(SigningKey::read(&leak.target.key_file, &NoSecrets).unwrap());
    let next = leak.folder.path().join("own").join("prod-next.key");
    let new = Arc::new(SigningKey::generate(&next, None).unwrap());
    let [sign_old, sign_new] = [&old, &new].map(|key| state_signer(Arc::clone(key)));
    let removal = Removal {
        lost: old.public(),
        root: StateKey {
            public: old.public(),
            sign: &*sign_old,
        },
        good: &good,
    };
    let changer = async || {
        let changer = StateChanger::open(&leak.target, new.public(), &*sign_new, false);
        changer.await.unwrap()
    };
    let remove = async || {
        let mut changer = changer().await;
        changer.remove_key(&removal, "packcast keys replace").await
    };
    let made = remove().await.unwrap();
    assert_eq!(remove().await.unwrap(), made);
    let item = leak.table.item("HEAD", "HEAD").await;
    let mut other = changer().await;
    let joined = other.change(&[join([1])], "packcast group add lab").await;
    drop(joined.unwrap().committed);
    leak.table.put(&item).await;
    let refused = remove().await.unwrap_err();
    assert!(
        refused.to_string().contains("leaves out commit"),
        "{refused}"
    );
}

fn restrict(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn the_commits_of_other_publishers_are_adopted() {
    let mut leak = Leak::start(335).await;
    let own_key = Arc::new(SigningKey::read(&leak.target.key_file, &NoSecrets).unwrap());
    let other = new_target(&leak.table, &leak.folder.path().join("other"));
    std::fs::remove_file(&other.state_memory).unwrap();
    key_files::accept_trust(&other.state_memory, leak.target.trust().unwrap()).unwrap();
    let public = SigningKey::read(&other.key_file, &NoSecrets)
        .unwrap()
        .public()
        .clone();
    let keys = ListKeys {
        own: Arc::clone(&own_key),
        root: None,
    };
    publisher_keys::trust(&leak.target, &public, &keys)
        .await
        .unwrap();
    let good = leak.head().await;
    leak.check_in().await;
    // The key of the other publisher leaks; this machine withdraws a package after the thief.
    leak.thief = copy_of(
        &other,
        &leak.table,
        &leak.folder.path().join("second thief"),
    );
    leak.wipe().await;
    change(&leak.target, &[unassign(leak.tool)]).await.unwrap();
    let own_commit = leak.head().await;
    leak.check_in().await;

    let request = ReplaceRequest {
        lost: Some(public.clone()),
        ..own(KeptState::Of(good.number))
    };
    let made = replaced(&leak.target, &request).await.unwrap();
    assert_eq!(made.public_key, own_key.public().to_string());
    assert_eq!(made.old_secret_key_file, None);
    assert_eq!(leak.packages().await, [], "the withdrawal stays");
    let mut state = leak.state().await;
    let name = LeafName::Commit(own_commit.name());
    let digests = state
        .trees
        .digests(&leak.table.records, [name].into())
        .await;
    assert_eq!(
        digests.unwrap().into_values().next(),
        Some(Some(own_commit.digest))
    );
    // The list keeps out the held commit, whose content the new commit contains.
    let refused = leak.check_in().await;
    assert!(
        matches!(&refused[..], [only] if only.starts_with("Discarded")),
        "{refused:?}"
    );
    assert_eq!(leak.device.commit().unwrap().id(), leak.head().await);
    assert!(!leak.begins(leak.wipe) && !leak.begins(leak.tool));
    // The other publisher cannot remove the root key.
    let lost = Some(own_key.public().clone());
    let request = ReplaceRequest {
        lost,
        ..own(KeptState::Head)
    };
    accept_any_head(&other).await;
    let refused = replaced(&other, &request).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("not a root key"), "{refused}");
    // A key that was never named cannot be removed, and neither can this machine's own by its name.
    for named in [another_signing().key, own_key.public()] {
        let request = ReplaceRequest {
            lost: Some(named.clone()),
            ..own(KeptState::Head)
        };
        plan(&leak.target, &request).await.unwrap_err();
    }
}

#[tokio::test]
async fn the_thief_of_the_only_root_key_can_keep_the_target() {
    let mut leak = Leak::start(336).await;
    let good = leak.head().await;
    leak.wipe().await;
    // The thief has the only root key, and signs a list first.
    rotate(&leak.thief, None, true, None).await.unwrap();
    let refused = leak.replace(KeptState::Of(good.number)).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is not a root key of the target"),
        "{refused}"
    );
}
