//! The connections of the agent.
#![cfg(unix)]

use std::collections::BTreeSet;

use hyper::Version;
use packcast_agent::event::Event;
use packcast_protocol::{
    Action, Archive, ArchiveFormat, FragmentSize, Manifest, PackageId, Sha256Digest,
};

use crate::archives::Tar;
use crate::lab::{Lab, Package};
use crate::packages::{launch, noise, package, script};

fn small(lab: &Lab) -> PackageId {
    lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))))
}

/// Expects that the package waits, and returns the reason.
fn waits(lab: &Lab) -> String {
    match lab.run().events.pop() {
        Some(Event::Deferred { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fragments_share_one_connection_and_are_bounded() {
    let lab = Lab::new();
    lab.configure("parallel_downloads = 3");
    let archive = Tar::new()
        .program("run.sh", "#!/bin/sh\n")
        .file("data", &noise(60_000));
    lab.assign(launch("run.sh"), package(1, Some(archive)));
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
    let world = lab.world();
    assert!(world.requests.len() > 60);
    assert!(
        world
            .requests
            .iter()
            .all(|request| request.version == Version::HTTP_2)
    );
    assert_eq!(
        world.connections, 2,
        "one to the function, one to the location"
    );
    assert!(
        (2..=3).contains(&world.most_under_way),
        "{}",
        world.most_under_way
    );
}

#[test]
fn a_redirect_does_not_reveal_the_device() {
    let lab = Lab::new();
    small(&lab);
    let (front, back) = (lab.other(), lab.other());
    front.world().moved_to = Some(back.address);
    lab.only(&front.location());
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
    let world = back.world();
    let headers: BTreeSet<&str> = world
        .requests
        .iter()
        .flat_map(|request| {
            request
                .headers
                .keys()
                .map(hyper::header::HeaderName::as_str)
        })
        .collect();
    assert_eq!(Vec::from_iter(headers), ["accept", "user-agent"]);
}

#[test]
fn a_redirect_of_the_function_is_not_followed() {
    let lab = Lab::new();
    small(&lab);
    let other = lab.other();
    lab.world().moved_to = Some(other.address);
    let run = lab.run();
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("status 307"), "{}", run.stderr);
    let world = other.world();
    assert_eq!((world.enrolments, world.connections), (0, 0));
}

#[test]
fn proxies_of_the_environment_are_used() {
    let lab = Lab::new();
    small(&lab);
    let proxy = lab.behind_a_proxy();
    let run = lab.run_with(&[("HTTPS_PROXY", &proxy.url), ("NO_PROXY", "")]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(lab.world().reports[0].code.to_string(), "SUCCESS_0");
    let asked = proxy.asked();
    assert_eq!(
        asked.len(),
        2,
        "one connection to the function, one to the location"
    );
    for head in asked {
        let head = head.to_lowercase();
        assert!(head.starts_with("connect packcast.invalid:"), "{head}");
        assert!(
            head.contains("proxy-authorization: basic dxnlcjpzzwnyzxq="),
            "{head}"
        );
    }
    let world = lab.world();
    let reveals =
        |request: &crate::edge::RequestHead| request.headers.contains_key("proxy-authorization");
    assert!(
        !world.requests.iter().any(reveals),
        "only the proxy receives its password"
    );
}

#[test]
fn no_proxy_bypasses_the_proxy() {
    let lab = Lab::new();
    small(&lab);
    let proxy = lab.behind_a_proxy();
    let run = lab.run_with(&[("HTTPS_PROXY", &proxy.url), ("NO_PROXY", ".invalid")]);
    assert_eq!(run.code, 75, "{}", run.stderr);
    assert_eq!(proxy.asked(), [""; 0]);
}

#[test]
fn transport_errors_are_distinguished() {
    let check = |change: fn(&Lab, PackageId), expected: &str| {
        let lab = Lab::new();
        let id = small(&lab);
        change(&lab, id);
        let detail = waits(&lab);
        assert!(detail.contains(expected), "{expected}: {detail}");
    };
    check(|lab, _| lab.hide_location(), "DNS: cannot resolve the name");
    check(
        |lab, _| {
            lab.only(&lab.untrusted_second().location());
        },
        "TLS: the server's certificate does not match the certificate of the same name in ca_file",
    );
    check(
        |lab, _| {
            lab.world().tasks[0].locations.clear();
            drop(lab.add_dead());
        },
        ": connection refused",
    );
    check(
        |lab, id| lab.edge.put_status(&format!("{id}/{id}-2"), 503),
        "status 503",
    );
    check(
        |lab, id| lab.edge.put_status(&format!("{id}/{id}-2"), 429),
        "status 429",
    );
}

#[test]
fn missing_and_forbidden_files_are_distinguished() {
    let check = |status, expected: &str| {
        let lab = Lab::new();
        let id = small(&lab);
        lab.edge.put_status(&format!("{id}/{id}-2"), status);
        let report = lab.result();
        assert_eq!(report.code.to_string(), "ERR_DOWNLOAD_PACK");
        let detail = report.detail.unwrap();
        assert!(detail.as_str().contains(expected), "{expected}: {detail}");
    };
    check(404, "not found (status 404)");
    check(403, "not public (status 403)");
}

#[test]
fn a_wrong_fragment_is_fetched_alone_and_a_limited_number_of_times() {
    let lab = Lab::new();
    let id = small(&lab);
    let name = format!("{id}/{id}-2");
    let good = lab.edge.get(&name);
    lab.edge.put(&name, &[b"bad", b"bad", &good]);
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
    assert_eq!(
        (lab.edge.gets(&name), lab.edge.gets(&format!("{id}/{id}-1"))),
        (3, 1)
    );

    let lab = Lab::new();
    let id = small(&lab);
    lab.edge.put(&name, &[b"bad"]);
    let report = lab.result();
    assert_eq!(report.code.to_string(), "ERR_BAD_DIGEST");
    assert!(report.detail.unwrap().as_str().contains("3 of 1024 bytes"));
    assert_eq!(lab.edge.gets(&format!("{id}/{id}-2")), 3);
}

/// Describes an archive that is too large for any disk.
fn enormous(manifest: &mut Manifest) {
    let size = FragmentSize::try_from(1 << 32).unwrap();
    let (count, digest) = (20_000, Sha256Digest::of(b""));
    let archive = Archive::new(
        ArchiveFormat::TarGz,
        count << 32,
        digest,
        size,
        vec![digest; 20_000],
    );
    manifest.action = manifest.action.clone().map_archive(|_| archive.unwrap());
}

#[test]
fn a_package_without_space_is_not_fetched() {
    let store = |folder: &str| Action::Store {
        archive: (),
        folder: folder.parse().unwrap(),
    };
    for action in [launch("run.sh"), store("INSTALL_PATH/x")] {
        let lab = Lab::new();
        let id = lab.assign(
            action,
            Package {
                change: enormous,
                ..package(1, Some(script("#!/bin/sh\n")))
            },
        );
        let report = lab.result();
        assert_eq!(report.code.to_string(), "ERR_OUT_OF_SPACE");
        let detail = report.detail.unwrap();
        let needed = 2 * (20_000_u64 << 32);
        assert!(
            detail.as_str().contains(&format!("{needed} bytes needed")),
            "{detail}"
        );
        assert_eq!(lab.edge.gets(&format!("{id}/{id}-1")), 0);
    }
}

#[test]
fn a_rate_limit_does_not_lose_data() {
    let lab = Lab::new();
    lab.configure("max_download_rate = \"1Gbit/s\"");
    small(&lab);
    assert_eq!(lab.result().code.to_string(), "SUCCESS_0");
}
