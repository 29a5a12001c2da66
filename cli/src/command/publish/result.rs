//! The result of `packcast publish`: the facts that the next step needs. `packcast show` has the
//! others.

use packcast_protocol::UnixTime;
use packcast_protocol::manifest::{Audience, Platform};
use packcast_publisher::package::{named, state};
use packcast_publisher::text as words;
use packcast_rollout::PackageRecord;

use super::fragments;
use crate::command::show;
use crate::output;

pub(in crate::command) fn text(package: &PackageRecord, now: UnixTime) -> String {
    let archive = package.action.archive();
    let archive = archive.map_or_else(String::new, |archive| {
        let unit = match fragments(package) {
            1 => "fragment",
            _ => "fragments",
        };
        let bytes = output::bytes(archive.bytes);
        format!("{bytes} in {} {unit}", fragments(package))
    });
    let platform = match package.platform {
        Platform::Any => "",
        other => words::platform(other),
    };
    let audience = match &package.audience {
        Audience::Any => String::new(),
        limited => show::audience(limited),
    };
    let expires = package.published().and_then(|published| published.expires);
    let locations: Vec<String> = package.locations.iter().map(show::location).collect();
    output::fields([
        ("package", format!("{} {}", package.id, named(package))),
        ("state", state(package, now).to_owned()),
        ("action", show::action(&package.action)),
        ("archive", archive),
        ("platform", platform.to_owned()),
        ("audience", audience),
        ("expires", expires.map_or_else(String::new, output::time)),
        ("locations", locations.join(", ")),
    ])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, NOON, active, expiring};

    #[test]
    fn a_publication_has_a_few_lines() {
        assert_snapshot!(text(&active(), UnixTime(NOON)), @"
        package    1795327754 vlc@3.0.21
        state      active
        action     LAUNCH setup.exe /S
        archive    42.92 MiB in 43 fragments
        platform   Windows
        locations  cdn (cdn.example.net)
        ");
        let mut small = expiring(NOON + 86_400);
        small.action = fixtures::read(json!({
            "type": "execute", "archive": null, "command": "apt-get -y upgrade",
        }));
        small.platform = Platform::Any;
        small.locations.clear();
        small.active = false;
        small.audience = Audience::Groups(["lab".parse().unwrap()].into());
        assert_snapshot!(text(&small, UnixTime(NOON)), @"
        package    1795327754 vlc@3.0.21
        state      published
        action     EXECUTE apt-get -y upgrade
        audience   devices in lab
        expires    2026-11-19 11:06:40 UTC
        ");
    }
}
