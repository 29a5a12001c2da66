//! Texts about the daily facts of a device.

use packcast_protocol::api::{FactValues, VolumeFact};
use packcast_rollout::FactsRecord;

use crate::output;

/// Writes the facts with the time at which the device stated them.
pub(super) fn section(stated: &FactsRecord) -> String {
    let values = stated.facts.values();
    output::fields([
        ("facts", format!("stated {}", output::time(stated.at))),
        ("operating system", system(values)),
        ("domain", text(values.domain.as_ref())),
        ("address", text(values.address.as_ref())),
        ("site", text(values.site.as_ref())),
        ("time zone", text(values.time_zone.as_ref())),
        ("model", text(values.model.as_ref())),
        ("memory", memory(values.memory_mib)),
        ("volumes", volumes(values.volumes.as_slice())),
        ("known terms", terms(values)),
    ])
}

fn text(value: Option<&impl ToString>) -> String {
    value.map_or_else(String::new, ToString::to_string)
}

fn system(values: &FactValues) -> String {
    let words = [
        text(values.os_name.as_ref()),
        text(values.os_version.as_ref()),
    ];
    words.join(" ").trim().to_owned()
}

fn memory(mib: Option<u32>) -> String {
    mib.map_or_else(String::new, |mib| output::bytes(u64::from(mib) << 20))
}

fn volumes(volumes: &[VolumeFact]) -> String {
    let words: Vec<String> = volumes.iter().map(volume).collect();
    words.join(", ")
}

/// Writes a volume, such as `/ 234 GiB (40 % free)`.
fn volume(volume: &VolumeFact) -> String {
    let free = match volume.free_percent.get() {
        0 => "less than 10 %".to_owned(),
        percent => format!("{percent} %"),
    };
    format!("{} {} GiB ({free} free)", volume.path, volume.size_gib)
}

fn terms(values: &FactValues) -> String {
    let terms = values.terms.as_slice().iter();
    let terms: Vec<String> = terms.map(ToString::to_string).collect();
    terms.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, AGENT};

    #[test]
    fn facts_are_shown_with_their_time() {
        let stated = fixtures::facts(AGENT);
        insta::assert_snapshot!(section(&stated), @"
        facts             stated 2026-11-18 11:06:40 UTC
        operating system  Debian GNU/Linux 12 (bookworm)
        domain            branch.example
        address           192.0.2.7
        site              Zürich
        time zone         Europe/Zurich
        model             Dell Inc. Latitude 7490
        memory            15.56 GiB
        volumes           / 234 GiB (40 % free), /var 930 GiB (less than 10 % free)
        known terms       downgrade, rollout
        ");
    }

    #[test]
    fn absent_facts_are_left_out() {
        let stated: FactsRecord = fixtures::read(json!({
            "device": AGENT,
            "at": fixtures::NOON,
            "os_name": "Plan 9",
            "volumes": [{ "path": "/", "size_gib": 8, "free_percent": 0 }],
        }));
        insta::assert_snapshot!(section(&stated), @"
        facts             stated 2026-11-18 11:06:40 UTC
        operating system  Plan 9
        volumes           / 8 GiB (less than 10 % free)
        ");
    }
}
