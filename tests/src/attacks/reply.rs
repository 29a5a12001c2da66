//! The function under an attacker's control: forged replies to the device.

use std::net::TcpListener;

use packcast_protocol::api::CHECK_IN_PATH;
use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem, tasks};
use super::function::{OwnedFunction, SeenRequest, redirect, response};

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

/// The folder of the package below the locations is not signed.
pub fn folder_that_climbs(system: &AttackedSystem) -> AttackResult {
    system.assigned("tool");
    system.function.edit(move |reply| {
        for task in tasks(reply) {
            task["folder"] = "../../v1".into();
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
    let to = format!("https://localhost:{}", elsewhere.address().port());
    let mut tried = redirected(system, to);
    let asked = elsewhere.requests().into_iter();
    let asked = asked.map(|asked| format!("a request for {}", asked.path));
    tried.leaked.extend(asked);
    tried
}

fn redirected(system: &AttackedSystem, to: String) -> AttackResult {
    system.package("tool", &[]);
    let world = &system.world;
    let here = system.function.address().to_string();
    world.ok(&["location", "add", "owned", &here]);
    world.ok(&["activate", "tool@1", "--location", "owned"]);
    world.assign("tool@1", &system.device);
    system.function.edit(|reply| {
        for task in tasks(reply) {
            task["locations"] = json!(["owned"]);
        }
    });
    system.function.answer(move |asked| {
        let is_object = asked.path != CHECK_IN_PATH;
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
