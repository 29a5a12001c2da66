//! The function under an attacker's control: forged replies to the device.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use packcast_protocol::api::CHECK_IN_PATH;
use packcast_protocol::assignments::{AssignedPackage, Held};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::{AgentId, Assignee, Assignments, GroupName, KeyList, UnixTime};
use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem, tasks};
use super::function::{OwnedFunction, SeenRequest, redirect, response};

/// A time after the expiry of all documents here.
const LATE: UnixTime = UnixTime(4_102_444_800);

/// Returns the signed assignments that a device without any document receives.
pub fn documents(system: &AttackedSystem) -> Vec<Value> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&seen);
    system.function.edit(move |reply| {
        tasks(reply).clear();
        if let Some(Value::Array(sent)) = reply
            .as_object_mut()
            .and_then(|it| it.remove("assignments"))
        {
            *copy.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        }
    });
    system.device.run();
    system.function.edit(|_| {});
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!seen.is_empty(), "a package is assigned");
    seen
}

/// Announces a package with these documents instead of the genuine ones.
fn announce_with(
    system: &AttackedSystem,
    package: &PackageRecord,
    documents: Vec<Value>,
) -> AttackResult {
    let task = system.task(package);
    system.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["cancel"] = json!([]);
        reply["assignments"] = json!(documents);
    });
    system.attempt()
}

fn agent(system: &AttackedSystem) -> AgentId {
    let id = system.device.id().strip_prefix("key:");
    id.and_then(|id| id.parse().ok())
        .expect("the id of a Packcast agent")
}

fn assignments_of(to: Assignee, package: &PackageRecord, expires: UnixTime) -> Assignments {
    let state = Held {
        revision: 1_000,
        issued: UnixTime(1_790_000_000),
    };
    let published = package.published().expect("the package is published");
    let assigned = AssignedPackage {
        package: package.id,
        manifest: published.manifest,
        seq: 1_000,
        force: true,
    };
    Assignments::new(to, state, BTreeSet::new(), vec![assigned], expires)
        .expect("one package is not too many")
}

fn to_device(system: &AttackedSystem) -> Assignee {
    Assignee::Device(agent(system))
}

fn to_group(name: &str) -> Assignee {
    let name: GroupName = name.parse().expect("a group's name");
    Assignee::Group(name)
}

pub fn task_in_no_document(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    announce_with(system, &package, Vec::new())
}

pub fn document_edited(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let other = system.package("other", &[]);
    let mut documents = documents(system);
    for document in &mut documents {
        let text = document["document"].as_str().expect("a document is text");
        let edited = text.replace(&package.id.to_string(), &other.id.to_string());
        document["document"] = edited.into();
    }
    announce_with(system, &other, documents)
}

pub fn document_signed_by_another_key(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let forged = assignments_of(to_device(system), &package, LATE);
    let forged = AttackedSystem::signed(&system.attackers_key(), &forged);
    announce_with(system, &package, vec![forged])
}

pub fn document_of_another_device(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let other = Assignee::Device(AgentId::of_public_key(&[9; 32]));
    let signed = AttackedSystem::signed(&system.key(), &assignments_of(other, &package, LATE));
    announce_with(system, &package, vec![signed])
}

pub fn document_of_a_group_that_the_device_is_not_in(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let signed = assignments_of(to_group("tills"), &package, LATE);
    announce_with(
        system,
        &package,
        vec![AttackedSystem::signed(&system.key(), &signed)],
    )
}

pub fn document_expired(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let signed = assignments_of(to_device(system), &package, UnixTime(1_790_000_001));
    announce_with(
        system,
        &package,
        vec![AttackedSystem::signed(&system.key(), &signed)],
    )
}

/// The assignment was withdrawn, and the device has received the newer document.
pub fn document_of_an_older_revision(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let old = documents(system);
    let device = system.device.id();
    system.world.ok(&["unassign", "tool@1", "--device", device]);
    system.function.edit(|reply| reply["cancel"] = json!([]));
    system.device.run();
    announce_with(system, &package, old)
}

pub fn manifest_as_document(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let read = |path| std::fs::read_to_string(path).expect("the package is published");
    let document = read(system.manifest_file(&package));
    let signature = read(system.signature_file(&package));
    let moved = json!({ "document": document, "signature": signature });
    announce_with(system, &package, vec![moved])
}

pub fn task_announced_twice(system: &AttackedSystem) -> AttackResult {
    system.assigned("tool");
    system.function.edit(|reply| {
        let all = tasks(reply);
        all.extend(all.clone());
    });
    system.attempt().allowing(1)
}

pub fn attempt_raised(system: &AttackedSystem) -> AttackResult {
    again(system, |task| task["attempt"] = 7.into())
}

pub fn force_added_to_a_task(system: &AttackedSystem) -> AttackResult {
    again(system, |task| {
        task["attempt"] = 2.into();
        task["force"] = true.into();
    })
}

/// Announces a package a second time after it was set up.
fn again(system: &AttackedSystem, change: fn(&mut Value)) -> AttackResult {
    let package = system.assigned("tool");
    let mut task = system.task(&package);
    system.device.run();
    assert_eq!(system.runs("tool"), 1, "the publisher intends one run");
    change(&mut task);
    system
        .function
        .edit(move |reply| reply["tasks"] = json!([task]));
    system.attempt()
}

/// The attacker serves a package of their own with the id of an assigned package.
pub fn locations_of_another_host(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let genuine = std::fs::read(system.manifest_file(&package)).expect("the package is published");
    system.publish_again(&package, &system.attackers_key(), None, |_| {});
    let forged = system.task(&package);
    super::attacked_system::store(&system.manifest_file(&package), &genuine);
    let evil = OwnedFunction::before(&system.world);
    let manifest = serde_json::from_slice::<Value>(&genuine).expect("a manifest is JSON");
    evil.answer(move |_| Some(response(200, manifest.to_string())));
    let location = format!("{}/evil", evil.address());
    system.function.edit(move |reply| {
        for task in tasks(reply) {
            *task = forged.clone();
            task["locations"] = json!([location]);
        }
    });
    let tried = system.attempt();
    assert!(
        !evil.requests().is_empty(),
        "the agent asks the attacker's host"
    );
    leaking(tried, &evil.requests())
}

pub fn location_of_plain_http(system: &AttackedSystem) -> AttackResult {
    located(system, "http://127.0.0.1:1/d")
}

pub fn location_of_a_file(system: &AttackedSystem) -> AttackResult {
    located(system, "file:///etc")
}

pub fn location_that_climbs(system: &AttackedSystem) -> AttackResult {
    located(system, "127.0.0.1:1/../../v1")
}

fn located(system: &AttackedSystem, location: &'static str) -> AttackResult {
    system.assigned("tool");
    system.function.edit(move |reply| {
        for task in tasks(reply) {
            task["locations"] = json!([location]);
        }
    });
    system.attempt()
}

/// A listener on plain HTTP must not get a single connection.
pub fn objects_redirected_to_plain_http(system: &AttackedSystem) -> AttackResult {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .set_nonblocking(true)
        .expect("a listener can be set non-blocking");
    let address = listener.local_addr().expect("a listener has an address");
    let mut tried = redirected(system, format!("http://{address}"));
    if listener.accept().is_ok() {
        tried.leaked.push("a request over plain HTTP".to_owned());
    }
    tried
}

pub fn objects_redirected_to_another_host(system: &AttackedSystem) -> AttackResult {
    let elsewhere = OwnedFunction::before(&system.world);
    elsewhere.answer(|_| Some(response(200, "no genuine object")));
    let tried = redirected(system, format!("https://{}", elsewhere.address()));
    assert!(
        !elsewhere.requests().is_empty(),
        "the agent follows to HTTPS"
    );
    leaking(tried, &elsewhere.requests())
}

fn redirected(system: &AttackedSystem, to: String) -> AttackResult {
    system.assigned("tool");
    let here = system.function.address();
    system.function.edit(move |reply| {
        for task in tasks(reply) {
            task["locations"] = json!([format!("{here}/objects")]);
        }
    });
    system.function.answer(move |asked| {
        let is_object = asked.path.starts_with("/objects");
        is_object.then(|| redirect(&format!("{to}{}", asked.path)))
    });
    system.attempt()
}

/// Redirects the check-in itself, which contains the device's pass and signature.
pub fn check_in_redirected_to_another_host(system: &AttackedSystem) -> AttackResult {
    let elsewhere = OwnedFunction::before(&system.world);
    system.assigned("tool");
    let to = format!("https://{}{CHECK_IN_PATH}", elsewhere.address());
    system.function.answer(move |_| Some(redirect(&to)));
    let tried = system.attempt();
    leaking(tried, &elsewhere.requests())
}

/// Adds the secrets that another host has received and that only the function may know.
fn leaking(mut tried: AttackResult, requests: &[SeenRequest]) -> AttackResult {
    const SECRET: [&str; 6] = [
        "authorization",
        "cookie",
        "packcast-admission",
        "signature",
        "signature-input",
        "referer",
    ];
    for asked in requests {
        let named = SECRET
            .iter()
            .filter(|name| asked.headers.contains_key(**name));
        tried.leaked.extend(named.map(|name| (*name).to_owned()));
        if !asked.body.is_empty() {
            tried.leaked.push(format!("the body for {}", asked.path));
        }
    }
    tried
}

fn answered_with(
    system: &AttackedSystem,
    body: impl Fn() -> String + Send + 'static,
) -> AttackResult {
    system.assigned("tool");
    system
        .function
        .answer(move |asked| (asked.path == CHECK_IN_PATH).then(|| response(200, body())));
    system.attempt()
}

pub fn reply_of_64_mib(system: &AttackedSystem) -> AttackResult {
    answered_with(system, || " ".repeat(64 << 20))
}

pub fn reply_100_000_levels_deep(system: &AttackedSystem) -> AttackResult {
    answered_with(system, || "[".repeat(100_000))
}

pub fn reply_that_is_not_json(system: &AttackedSystem) -> AttackResult {
    answered_with(system, || "<html>run this</html>".to_owned())
}

pub fn next_check_in_in_a_hundred_years(system: &AttackedSystem) -> AttackResult {
    system
        .function
        .edit(|reply| reply["next_check_in_s"] = u32::MAX.into());
    system.attempt()
}

fn key_list(serial: u64, keys: Vec<PublicKey>) -> KeyList {
    KeyList::new(serial, keys, UnixTime(1_790_000_000)).expect("a few keys")
}

/// Sends key lists, and a package and an assignment that the attacker's key has signed.
fn with_keys(system: &AttackedSystem, lists: Vec<Value>) -> AttackResult {
    let package = system.package("tool", &[]);
    let key = system.attackers_key();
    let document = AttackedSystem::signed(&key, &assignments_of(to_device(system), &package, LATE));
    system.publish_again(&package, &key, None, |_| {});
    let task = system.task(&package);
    system.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["keys"] = json!(lists);
        reply["assignments"] = json!([document]);
    });
    system.attempt()
}

fn another_key(system: &AttackedSystem) -> packcast_publisher::signing::SigningKey {
    let file = system.world.directory().join("another.key");
    packcast_publisher::signing::SigningKey::generate(&file, None).expect("a key can be generated")
}

pub fn key_list_signed_by_its_own_key(system: &AttackedSystem) -> AttackResult {
    let own = another_key(system);
    let list = AttackedSystem::signed(&own, &key_list(1, vec![own.public().clone()]));
    with_keys(system, vec![list])
}

/// The second list, signed by a key of the first, is sent without the first.
pub fn key_list_after_a_gap(system: &AttackedSystem) -> AttackResult {
    let second = another_key(system);
    let list = AttackedSystem::signed(&second, &key_list(2, vec![second.public().clone()]));
    with_keys(system, vec![list])
}

pub fn key_list_of_an_older_serial(system: &AttackedSystem) -> AttackResult {
    let (key, other) = (system.key(), another_key(system));
    let both = vec![key.public().clone(), other.public().clone()];
    let older = AttackedSystem::signed(&key, &key_list(1, both));
    let newer = AttackedSystem::signed(&key, &key_list(2, vec![key.public().clone()]));
    system
        .function
        .edit(move |reply| reply["keys"] = json!([newer]));
    system.device.run();
    // An agent that followed the older list would trust the other key as well.
    with_keys(system, vec![older])
}

pub fn package_of_a_revoked_key(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let (old, new) = (system.key(), another_key(system));
    let list = AttackedSystem::signed(&old, &key_list(1, vec![new.public().clone()]));
    let document = AttackedSystem::signed(&new, &assignments_of(to_device(system), &package, LATE));
    let task = system.task(&package);
    system.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["keys"] = json!([list]);
        reply["assignments"] = json!([document]);
    });
    system.attempt()
}

pub fn assignments_of_a_revoked_key(system: &AttackedSystem) -> AttackResult {
    system.assigned("tool");
    let (old, new) = (system.key(), another_key(system));
    let list = AttackedSystem::signed(&old, &key_list(1, vec![new.public().clone()]));
    system
        .function
        .edit(move |reply| reply["keys"] = json!([list]));
    system.attempt()
}
