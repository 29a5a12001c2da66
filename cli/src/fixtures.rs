//! Records for the tests of rendered results.

use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::{PackageId, UnixTime};
use packcast_publisher::local_clock::LocalClock;
use packcast_publisher::pause::Pause;
use packcast_rollout::{
    DeviceRecord, Exclusion, FactsRecord, FinishedTask, GroupState, OpenTask, PackageRecord,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::globals::Globals;
use crate::output::Format;

/// The public key in most examples.
pub(crate) const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
/// A device with a Packcast agent.
pub(crate) const AGENT: &str = "key:abcdefghijklmnopqrstuvwxya";
/// A device with an OCS agent.
pub(crate) const OCS: &str = "ocs:web01-2026-03-04-05-06-07";
/// 2026-11-18 11:06:40 UTC.
pub(crate) const NOON: u64 = 1_795_000_000;

/// Returns the clock of a machine two hours east of UTC.
pub(crate) fn east() -> LocalClock {
    LocalClock::east_of_utc(2)
}

/// Reads a record from its stored form, which changes less often than the names of its fields.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Removes the colours of a table.
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Returns the options of a command without any option.
pub(crate) fn globals() -> Globals {
    Globals::new("local", None, Format::Text)
}

/// Returns the pause of a target.
pub(crate) fn pause() -> Pause {
    Pause {
        since: UnixTime(NOON),
        user: "mia".to_owned(),
        host: "desk".to_owned(),
    }
}

pub(crate) fn id() -> PackageId {
    read(json!("1795327754"))
}

/// Returns a package with an archive in the state that `state` describes.
fn package_in(state: &Value, active: bool) -> PackageRecord {
    let digest = "5f".repeat(32);
    read(json!({
        "id": id(),
        "name": "vlc",
        "version": "3.0.21",
        "priority": 5,
        "action": {
            "type": "launch",
            "archive": {
                "format": "zip",
                "bytes": 45_000_000,
                "sha256": digest,
                "fragment_size": 1_048_576,
            },
            "command": "setup.exe /S",
        },
        "platform": "windows",
        "success_codes": [0, 3010],
        "reboot_codes": [1641],
        "timeout_s": 7200,
        "rerun_after_interruption": false,
        "content": digest,
        "folder": "p/x",
        "created_at": NOON,
        "state": state,
        "active": active,
        "locations": if active {
            json!([{ "name": "cdn", "location": "cdn.example.net" }])
        } else {
            json!([])
        },
    }))
}

/// Returns a package that is published and active at one location.
pub(crate) fn active() -> PackageRecord {
    package_in(&published(None), true)
}

/// Returns an active package that expires at this time.
pub(crate) fn expiring(expires: u64) -> PackageRecord {
    package_in(&published(Some(expires)), true)
}

/// Returns the state of a published package.
fn published(expires: Option<u64>) -> Value {
    let digest = "5f".repeat(32);
    json!({
        "state": "published",
        "manifest": digest,
        "signature": digest,
        "signer": KEY,
        "md5": null,
        "fragments": 43,
        "expires": expires,
        "published_at": NOON,
    })
}

/// Returns a package whose publication is not complete.
pub(crate) fn draft() -> PackageRecord {
    package_in(&json!({ "state": "draft" }), false)
}

/// Returns a package that was deleted an hour after its creation.
pub(crate) fn deleted() -> PackageRecord {
    let state = json!({ "state": "deleted", "deleted_at": NOON + 3_600 });
    package_in(&state, false)
}

pub(crate) fn device(id: &str) -> DeviceRecord {
    read(json!({
        "device": id,
        "host_name": "web01",
        "agent": if id == AGENT { "packcast-agent 0.1.0" } else { "OCS-NG_unified_unix_agent_v2.10.0" },
        "os": "Debian GNU/Linux 12",
        "first_seen": NOON - 86_400,
        "last_seen": NOON,
        "inventory_asked": null,
        "inventory_received": null,
        "machine": (id == AGENT).then(|| json!({
            "platform": "linux-x86_64",
            "ids": ["hardware:4c4c4544-0042-3510-8051-b4c04f4b3732"],
        })),
        "facts": (id == AGENT).then(|| json!({
            "digest": "5f5f5f5f5f5f5f5f",
            "at": NOON,
            "site": "Zürich",
        })),
    }))
}

/// Returns the daily facts of a device.
pub(crate) fn facts(id: &str) -> FactsRecord {
    read(json!({
        "device": id,
        "at": NOON,
        "os_name": "Debian GNU/Linux",
        "os_version": "12 (bookworm)",
        "domain": "branch.example",
        "terms": ["downgrade", "rollout"],
        "model": "Dell Inc. Latitude 7490",
        "memory_mib": 15_936,
        "volumes": [
            { "path": "/", "size_gib": 234, "free_percent": 40 },
            { "path": "/var", "size_gib": 930, "free_percent": 0 },
        ],
        "time_zone": "Europe/Zurich",
        "address": "192.0.2.7",
        "site": "Zürich",
    }))
}

/// Returns the package of [`task`], which waits because the state of the device has expired.
pub(crate) fn waiting() -> WaitingPackage {
    read(json!({ "package": id(), "attempt": 1, "reason": "commit_expired" }))
}

/// Returns the exclusion of a blocked device.
pub(crate) fn blocked() -> Exclusion {
    read(json!({ "kind": "blocked", "since": NOON, "reason": "stolen" }))
}

/// Returns an open task in the state that `state` describes.
pub(crate) fn task(state: &Value) -> OpenTask {
    read(json!({
        "package": id(),
        "priority": 5,
        "attempt": 1,
        "state": state,
        "force": false,
        "direct": true,
        "assigned_at": NOON,
    }))
}

/// Returns the three states of an open task.
pub(crate) fn task_states() -> [Value; 3] {
    [
        json!({ "state": "held" }),
        json!({ "state": "announced", "announced_at": NOON }),
        json!({ "state": "withdrawn", "announced_at": NOON }),
    ]
}

/// Returns the result of a program that ended with an error.
pub(crate) fn failed() -> FinishedTask {
    read(json!({
        "package": id(),
        "attempt": 2,
        "code": "ERR_EXIT_CODE_7",
        "outcome": "failed",
        "detail": null,
        "output_tail": "unpacking\ndisk full\n",
        "finished_at": NOON,
    }))
}

/// Returns the result of a program that succeeded.
pub(crate) fn succeeded() -> FinishedTask {
    read(json!({
        "package": id(),
        "attempt": 1,
        "code": "SUCCESS",
        "outcome": "succeeded",
        "detail": null,
        "output_tail": null,
        "finished_at": NOON,
    }))
}

/// Returns a group with one package and its own pacing.
pub(crate) fn group() -> GroupState {
    read(json!({
        "group": "lab",
        "revision": 7,
        "assignments": [{
            "package": id(),
            "manifest": "5f".repeat(32),
            "priority": 5,
            "seq": 7,
            "force": true,
            "assigned_at": NOON,
        }],
        "preferred": "site-berlin",
        "pacing": { "fragment_pause_s": 2, "cycle_pause_s": 5 },
        "created_at": NOON - 86_400,
        "seal": {
            "issued": NOON,
            "expires": NOON + 180 * 86_400,
            "signature": "untrusted comment: none",
        },
    }))
}
