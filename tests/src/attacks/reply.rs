//! The function in an attacker's hands: what the device is told.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use packcast_protocol::api::CHECK_IN_PATH;
use packcast_protocol::assignments::{Assigned, Held};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::{AgentId, Assignee, Assignments, GroupName, KeyList, UnixTime};
use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use super::function::{Asked, OwnedFunction, redirect, said};
use super::stage::{Stage, Tried, tasks};

/// Past the end of what anybody signs here.
const LATE: UnixTime = UnixTime(4_102_444_800);

/// Returns the signed assignments that a device without any is sent.
pub fn documents(stage: &Stage) -> Vec<Value> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    stage.function.edit(move |reply| {
        tasks(reply).clear();
        if let Some(Value::Array(sent)) = reply
            .as_object_mut()
            .and_then(|it| it.remove("assignments"))
        {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        }
    });
    stage.device.run();
    stage.function.edit(|_| {});
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!seen.is_empty(), "something is assigned");
    seen
}

/// Tells of a package with these documents in the place of the genuine ones.
fn tell(stage: &Stage, package: &PackageRecord, documents: Vec<Value>) -> Tried {
    let task = stage.task(package);
    stage.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["cancel"] = json!([]);
        reply["assignments"] = json!(documents);
    });
    stage.attempt()
}

fn agent(stage: &Stage) -> AgentId {
    let id = stage.device.id().strip_prefix("key:");
    id.and_then(|id| id.parse().ok()).expect("our agent's id")
}

fn says(to: Assignee, package: &PackageRecord, expires: UnixTime) -> Assignments {
    let state = Held {
        revision: 1_000,
        issued: UnixTime(1_790_000_000),
    };
    let published = package.published().expect("it is published");
    let assigned = Assigned {
        package: package.id,
        manifest: published.manifest,
        seq: 1_000,
        force: true,
    };
    Assignments::new(to, state, BTreeSet::new(), vec![assigned], expires)
        .expect("one package is not too many")
}

fn to_device(stage: &Stage) -> Assignee {
    Assignee::Device(agent(stage))
}

fn to_group(name: &str) -> Assignee {
    let name: GroupName = name.parse().expect("a group's name");
    Assignee::Group(name)
}

pub fn task_in_no_document(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    tell(stage, &package, Vec::new())
}

pub fn document_edited(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let other = stage.package("other", &[]);
    let mut documents = documents(stage);
    for document in &mut documents {
        let text = document["document"].as_str().expect("it is text");
        let edited = text.replace(&package.id.to_string(), &other.id.to_string());
        document["document"] = edited.into();
    }
    tell(stage, &other, documents)
}

pub fn document_signed_by_another_key(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let forged = says(to_device(stage), &package, LATE);
    let forged = Stage::signed(&stage.attackers_key(), &forged);
    tell(stage, &package, vec![forged])
}

pub fn document_of_another_device(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let other = Assignee::Device(AgentId::of_public_key(&[9; 32]));
    let signed = Stage::signed(&stage.key(), &says(other, &package, LATE));
    tell(stage, &package, vec![signed])
}

pub fn document_of_a_group_that_the_device_is_not_in(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let signed = says(to_group("tills"), &package, LATE);
    tell(stage, &package, vec![Stage::signed(&stage.key(), &signed)])
}

pub fn document_expired(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let signed = says(to_device(stage), &package, UnixTime(1_790_000_001));
    tell(stage, &package, vec![Stage::signed(&stage.key(), &signed)])
}

/// The assignment was taken back, and the device has heard of that.
pub fn document_of_an_older_revision(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let old = documents(stage);
    let device = stage.device.id();
    stage.world.ok(&["unassign", "tool@1", "--device", device]);
    stage.function.edit(|reply| reply["cancel"] = json!([]));
    stage.device.run();
    tell(stage, &package, old)
}

pub fn manifest_as_document(stage: &Stage) -> Tried {
    let package = stage.package("tool", &[]);
    let read = |path| std::fs::read_to_string(path).expect("it is published");
    let document = read(stage.manifest_file(&package));
    let signature = read(stage.signature_file(&package));
    let moved = json!({ "document": document, "signature": signature });
    tell(stage, &package, vec![moved])
}

pub fn task_told_twice(stage: &Stage) -> Tried {
    stage.assigned("tool");
    stage.function.edit(|reply| {
        let all = tasks(reply);
        all.extend(all.clone());
    });
    stage.attempt().allowing(1)
}

pub fn attempt_raised(stage: &Stage) -> Tried {
    again(stage, |task| task["attempt"] = 7.into())
}

pub fn force_where_the_document_has_none(stage: &Stage) -> Tried {
    again(stage, |task| {
        task["attempt"] = 2.into();
        task["force"] = true.into();
    })
}

/// Tells of a package that was set up, once more.
fn again(stage: &Stage, change: fn(&mut Value)) -> Tried {
    let package = stage.assigned("tool");
    let mut task = stage.task(&package);
    stage.device.run();
    assert_eq!(stage.runs("tool"), 1, "the publisher wants it once");
    change(&mut task);
    stage
        .function
        .edit(move |reply| reply["tasks"] = json!([task]));
    stage.attempt()
}

/// The attacker serves a package of their own under the id of one that is assigned.
pub fn locations_of_another_host(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let genuine = std::fs::read(stage.manifest_file(&package)).expect("it is published");
    stage.publish_again(&package, &stage.attackers_key(), None, |_| {});
    let forged = stage.task(&package);
    super::stage::store(&stage.manifest_file(&package), &genuine);
    let evil = OwnedFunction::before(&stage.world);
    let manifest = serde_json::from_slice::<Value>(&genuine).expect("it is JSON");
    evil.answer(move |_| Some(said(200, manifest.to_string())));
    let place = format!("{}/evil", evil.address());
    stage.function.edit(move |reply| {
        for task in tasks(reply) {
            *task = forged.clone();
            task["locations"] = json!([place]);
        }
    });
    let tried = stage.attempt();
    assert!(!evil.heard().is_empty(), "it was asked");
    leaking(tried, &evil.heard())
}

pub fn location_of_plain_http(stage: &Stage) -> Tried {
    located(stage, "http://127.0.0.1:1/d")
}

pub fn location_of_a_file(stage: &Stage) -> Tried {
    located(stage, "file:///etc")
}

pub fn location_that_climbs(stage: &Stage) -> Tried {
    located(stage, "127.0.0.1:1/../../v1")
}

fn located(stage: &Stage, place: &'static str) -> Tried {
    stage.assigned("tool");
    stage.function.edit(move |reply| {
        for task in tasks(reply) {
            task["locations"] = json!([place]);
        }
    });
    stage.attempt()
}

/// Whoever listens on plain HTTP hears nothing at all.
pub fn objects_redirected_to_plain_http(stage: &Stage) -> Tried {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .set_nonblocking(true)
        .expect("a listener can be asked");
    let address = listener.local_addr().expect("a listener has an address");
    let mut tried = redirected(stage, format!("http://{address}"));
    if listener.accept().is_ok() {
        tried.leaked.push("it was asked over plain HTTP".to_owned());
    }
    tried
}

pub fn objects_redirected_to_another_host(stage: &Stage) -> Tried {
    let elsewhere = OwnedFunction::before(&stage.world);
    elsewhere.answer(|_| Some(said(200, "nothing that counts")));
    let tried = redirected(stage, format!("https://{}", elsewhere.address()));
    assert!(!elsewhere.heard().is_empty(), "it follows to HTTPS");
    leaking(tried, &elsewhere.heard())
}

fn redirected(stage: &Stage, to: String) -> Tried {
    stage.assigned("tool");
    let here = stage.function.address();
    stage.function.edit(move |reply| {
        for task in tasks(reply) {
            task["locations"] = json!([format!("{here}/objects")]);
        }
    });
    stage.function.answer(move |asked| {
        let is_object = asked.path.starts_with("/objects");
        is_object.then(|| redirect(&format!("{to}{}", asked.path)))
    });
    stage.attempt()
}

/// The check-in itself, with the device's pass and signature.
pub fn check_in_redirected_to_another_host(stage: &Stage) -> Tried {
    let elsewhere = OwnedFunction::before(&stage.world);
    stage.assigned("tool");
    let to = format!("https://{}{CHECK_IN_PATH}", elsewhere.address());
    stage.function.answer(move |_| Some(redirect(&to)));
    let tried = stage.attempt();
    leaking(tried, &elsewhere.heard())
}

/// Notes what a stranger was told that only the function may know.
fn leaking(mut tried: Tried, heard: &[Asked]) -> Tried {
    const SECRET: [&str; 5] = [
        "authorization",
        "cookie",
        "signature",
        "signature-input",
        "referer",
    ];
    for asked in heard {
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

fn replied(stage: &Stage, body: impl Fn() -> String + Send + 'static) -> Tried {
    stage.assigned("tool");
    stage
        .function
        .answer(move |asked| (asked.path == CHECK_IN_PATH).then(|| said(200, body())));
    stage.attempt()
}

pub fn reply_of_64_mib(stage: &Stage) -> Tried {
    replied(stage, || " ".repeat(64 << 20))
}

pub fn reply_100_000_levels_deep(stage: &Stage) -> Tried {
    replied(stage, || "[".repeat(100_000))
}

pub fn reply_that_is_no_json(stage: &Stage) -> Tried {
    replied(stage, || "<html>run this</html>".to_owned())
}

pub fn next_check_in_in_a_hundred_years(stage: &Stage) -> Tried {
    stage
        .function
        .edit(|reply| reply["next_check_in_s"] = u32::MAX.into());
    stage.attempt()
}

fn key_list(serial: u64, keys: Vec<PublicKey>) -> KeyList {
    KeyList::new(serial, keys, UnixTime(1_790_000_000)).expect("a few keys")
}

/// Sends lists of keys, and a package that the attacker has signed with a document of theirs.
fn with_keys(stage: &Stage, lists: Vec<Value>) -> Tried {
    let package = stage.package("tool", &[]);
    let key = stage.attackers_key();
    let document = Stage::signed(&key, &says(to_device(stage), &package, LATE));
    stage.publish_again(&package, &key, None, |_| {});
    let task = stage.task(&package);
    stage.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["keys"] = json!(lists);
        reply["assignments"] = json!([document]);
    });
    stage.attempt()
}

fn another_key(stage: &Stage) -> packcast_publisher::signing::SigningKey {
    let file = stage.world.place().join("another.key");
    packcast_publisher::signing::SigningKey::generate(&file, None).expect("anybody can make a key")
}

pub fn key_list_signed_by_its_own_key(stage: &Stage) -> Tried {
    let own = another_key(stage);
    let list = Stage::signed(&own, &key_list(1, vec![own.public().clone()]));
    with_keys(stage, vec![list])
}

/// The second list, by a key of the first, without the first.
pub fn key_list_after_a_gap(stage: &Stage) -> Tried {
    let second = another_key(stage);
    let list = Stage::signed(&second, &key_list(2, vec![second.public().clone()]));
    with_keys(stage, vec![list])
}

pub fn key_list_of_an_older_serial(stage: &Stage) -> Tried {
    let (key, other) = (stage.key(), another_key(stage));
    let both = vec![key.public().clone(), other.public().clone()];
    let older = Stage::signed(&key, &key_list(1, both));
    let newer = Stage::signed(&key, &key_list(2, vec![key.public().clone()]));
    stage
        .function
        .edit(move |reply| reply["keys"] = json!([newer]));
    stage.device.run();
    // Were it followed, the other key could sign.
    with_keys(stage, vec![older])
}

pub fn package_of_a_revoked_key(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let (old, new) = (stage.key(), another_key(stage));
    let list = Stage::signed(&old, &key_list(1, vec![new.public().clone()]));
    let document = Stage::signed(&new, &says(to_device(stage), &package, LATE));
    let task = stage.task(&package);
    stage.function.edit(move |reply| {
        reply["tasks"] = json!([task]);
        reply["keys"] = json!([list]);
        reply["assignments"] = json!([document]);
    });
    stage.attempt()
}

pub fn assignments_of_a_revoked_key(stage: &Stage) -> Tried {
    stage.assigned("tool");
    let (old, new) = (stage.key(), another_key(stage));
    let list = Stage::signed(&old, &key_list(1, vec![new.public().clone()]));
    stage
        .function
        .edit(move |reply| reply["keys"] = json!([list]));
    stage.attempt()
}
